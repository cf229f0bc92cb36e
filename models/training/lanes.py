"""Lanes: several trials of one shape trained side by side in one compiled program.

A small LSTM leaves most of an accelerator idle. Under ``vmap`` many of them fill it, each with its
own weights, learning rate, dropout, seed, decay and end. On a CPU, batched small matrix products
run one after another, and processes are the better way.
"""

import threading
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.forecasts.skip import choose_skips
from foretune.models.runtime.compile import jit_for_backend
from foretune.models.training.epoch import (
    Hyperparameters,
    Program,
    TrainingData,
    TrainState,
    one_epoch,
)
from foretune.models.training.loop import TrainingRun
from foretune.models.training.results import FoldProgress, FoldResults, NonFiniteLossError, Snapshot
from foretune.models.training.tasks import Answer, Budget, Missing, TaskLog, TaskState, lane_shape

# Every lane has its own value of every traced scalar but the number of steps: lanes that stopped at
# different steps would have to be frozen by a selection of all their weights at every step.
_HYPER_AXES: Any = Hyperparameters(
    **{name: None if name == "steps" else 0 for name in Hyperparameters._fields}  # type: ignore[arg-type]
)


@jit_for_backend(static_argnames="program")
def _train_lanes(
    program: Program, data: TrainingData, hyper: Hyperparameters, state: TrainState
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Take an epoch in every lane [L, ...]."""
    lanes = jax.vmap(partial(one_epoch, program), in_axes=(0, _HYPER_AXES, 0))
    outcomes: tuple[TrainState, jax.Array, jax.Array] = lanes(data, hyper, state)
    return outcomes


class Lanes:
    """A fixed number of lanes, each training a config; an ended one is refilled without a compile.

    Args:
        work: configs of one :func:`lane_shape`, and where their trainings are; one a lane.
        fold: training and validation days.
        count: how many lanes; those without a config of their own train the first one along.

    Example:
        >>> lanes = Lanes([TaskState(config=config) for config in configs], data, 8)
        >>> results = lanes.epoch(range(len(configs)))
        >>> lanes.refill(2, TaskState(config=another), data)
    """

    def __init__(self, work: Sequence[TaskState], fold: DevelopmentData, count: int) -> None:
        self.shape = _shape(work[0].config, fold)
        self.tokens: list[str | None] = [None] * count  # of the states that the lanes hold
        filled = [*work, *[work[0]] * (count - len(work))]
        self._runs = [self._run(state, fold) for state in filled]
        self._state = _stacked([run.first_state() for run in self._runs])
        self._data = jax.device_put(_stacked([run.data for run in self._runs]))

    def refill(self, lane: int, state: TaskState, fold: DevelopmentData) -> None:
        """Give ``lane`` to another config.

        Raises:
            ValueError: it is of another shape.
        """
        run = self._runs[lane] = self._run(state, fold)
        # On the host: a program that writes one lane would be one more to compile.
        self._state = _with_lane(self._state, lane, run.first_state())
        self._data = jax.device_put(_with_lane(self._data, lane, run.data))

    def place(self, work: Sequence[TaskState], fold: DevelopmentData) -> list[int]:
        """Return a lane for each of ``work``: the one that holds its state, or a refilled one."""
        wanted = {state.token for state in work}
        free = [n for n, token in enumerate(self.tokens) if token is None or token not in wanted]
        places = []
        for state in work:
            if state.token is not None and state.token in self.tokens:
                places.append(self.tokens.index(state.token))
            else:
                places.append(free.pop(0))
                self.refill(places[-1], state, fold)
        return places

    def skip_epochs(self, places: Sequence[int]) -> list[FoldResults | NonFiniteLossError | None]:
        """Return epoch 0 of those of ``places`` that have one and begin; None of the others."""
        outcomes: list[FoldResults | NonFiniteLossError | None] = []
        for lane in places:
            run = self._runs[lane]
            if not run.at_skip:
                outcomes.append(None)
                continue
            try:
                result = run.skip_epoch(run.first_state().params)
                outcomes.append(FoldResults.of_one(run.decide(result)))
            except NonFiniteLossError as error:
                outcomes.append(error)
        return outcomes

    def epoch(self, places: Sequence[int]) -> list[FoldResults | NonFiniteLossError]:
        """Train every lane for one epoch.

        Args:
            places: the lanes that go on. The others are trained along, because a program has a
                fixed number of lanes; their results are dropped.

        Returns:
            The result of each of ``places``, or the error that ended it.
        """
        hyper = [run.hyperparameters() for run in self._runs]
        stacked = _stacked(hyper)._replace(steps=hyper[0].steps)
        self._state, losses, forecasts = _train_lanes(
            self._runs[0].program, self._data, jax.device_put(stacked), self._state
        )
        losses_of, forecasts_of = np.asarray(losses), np.asarray(forecasts)
        params = jax.tree.map(np.asarray, self._state.forecasting)
        outcomes: list[FoldResults | NonFiniteLossError] = []
        for lane in places:
            # A copy: a best epoch that is kept must not keep the weights of every lane.
            own = jax.tree.map(lambda leaf, lane=lane: np.array(leaf[lane]), params)
            try:
                run = self._runs[lane]
                result = run.record(float(losses_of[lane]), forecasts_of[lane], own)
                outcomes.append(FoldResults.of_one(run.decide(result)))
            except NonFiniteLossError as error:
                outcomes.append(error)
        return outcomes

    def snapshots(self, places: Sequence[int]) -> list[Snapshot]:
        """Return all that the next epoch of each of ``places`` depends on."""
        state = jax.tree.map(np.asarray, self._state)
        # Copies: one lane's snapshot must not keep the state of all.
        return [
            self._runs[lane].snapshot(jax.tree.map(lambda leaf, n=lane: leaf[n].copy(), state))
            for lane in places
        ]

    def _run(self, state: TaskState, fold: DevelopmentData) -> TrainingRun:
        shape = _shape(state.config, fold)
        if shape != self.shape:
            raise ValueError(f"a config must be of shape {self.shape}, but got {shape}")
        snapshot = state.folds[0].snapshot if state.folds else None
        (skip,) = choose_skips(state.config, (fold,))
        return TrainingRun(state.config, fold, state.metric, snapshot=snapshot, skip=skip)


def _shape(config: TrialConfig, fold: DevelopmentData) -> Hashable:
    return lane_shape(config), fold.split, fold.capacity


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _with_lane(tree: Any, lane: int, new: Any) -> Any:
    def replaced(old: Any, leaf: Any) -> Any:
        copy = np.array(old)
        copy[lane] = leaf
        return copy

    return jax.tree.map(replaced, tree, new)


# The lanes of this process.
_held: Lanes | None = None
_lock = threading.Lock()


def advance_lanes(
    work: tuple[TaskState, ...], fold: DevelopmentData, budget: Budget, device: str
) -> Answer:
    """Train configs of one shape side by side, until one of them ends or the budget is spent."""
    global _held
    with _lock:  # one program of lanes fills a device
        log, shape = TaskLog(work, budget, device), _shape(work[0].config, fold)
        if _held is not None and (_held.shape, len(_held.tokens)) != (shape, budget.lanes):
            _held = None
        held = () if _held is None else _held.tokens
        if any(state.folds is None and state.token not in held for state in work):
            return Missing()
        if _held is None:
            _held, places = Lanes(work, fold, budget.lanes), list(range(len(work)))
        else:
            places = _held.place(work, fold)
        going = log.add(_held.skip_epochs(places))
        while going:
            going = log.add(_held.epoch(places))
        answer = log.answer([(FoldProgress(at, None),) for at in _held.snapshots(places)])
        _held.tokens = [None] * budget.lanes
        for lane, made in zip(places, answer, strict=True):
            _held.tokens[lane] = made.state.token if made.state else None
        return answer
