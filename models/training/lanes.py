"""Lanes: several models of one shape trained side by side in one compiled program.

A small LSTM leaves most of an accelerator idle. Under ``vmap`` many of them fill it, each with its
own weights, learning rate, dropout, seed, decay and end. On a CPU, batched small matrix products
run one after another, and processes are the better way.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from foretune.models.runtime.compile import jit_for_backend
from foretune.models.training.epoch import (
    Hyperparameters,
    Program,
    TrainingData,
    TrainState,
    one_epoch,
)
from foretune.models.training.loop import TrainingRun
from foretune.models.training.results import EpochResult, NonFiniteLossError, Snapshot


class LaneShape(NamedTuple):
    """What runs must have in common to be trained side by side."""

    program: Program
    days: int
    origins: int
    steps: int

    @classmethod
    def of(cls, run: TrainingRun) -> "LaneShape":
        """Return the shape of ``run``."""
        return cls(
            program=run.program,
            days=len(run.data.series),
            origins=len(run.data.origins),
            steps=run.config.steps_per_epoch,
        )


# Every lane has its own value of every traced scalar but the number of steps: lanes that stopped at
# different steps would have to be frozen by a selection of all their weights at every step.
_HYPER_AXES = Hyperparameters(*(None if name == "steps" else 0 for name in Hyperparameters._fields))


@jit_for_backend(static_argnames="program")
def _train_lanes(
    program: Program, data: TrainingData, hyper: Hyperparameters, state: TrainState
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Take an epoch in every lane [L, ...]."""
    lanes = jax.vmap(partial(one_epoch, program), in_axes=(0, _HYPER_AXES, 0))
    outcomes: tuple[TrainState, jax.Array, jax.Array] = lanes(data, hyper, state)
    return outcomes


class Lanes:
    """A fixed number of lanes, each holding one run; an ended one is refilled without a compile.

    Args:
        runs: one run per lane, all of one :class:`LaneShape`.

    Example:
        >>> lanes = Lanes([TrainingRun(config, data) for config in configs])
        >>> outcomes = lanes.epoch([True] * len(configs))    # an EpochResult for each lane
        >>> lanes.refill(2, TrainingRun(another, data))
    """

    def __init__(self, runs: Sequence[TrainingRun]) -> None:
        self._runs = list(runs)
        self.shape = LaneShape.of(self._runs[0])
        for run in self._runs:
            self._require_fitting(run)
        self._state = _stacked([run.first_state() for run in self._runs])
        self._data = jax.device_put(_stacked([run.data for run in self._runs]))

    def refill(self, lane: int, run: TrainingRun) -> None:
        """Give ``lane`` to another ``run``."""
        self._require_fitting(run)
        self._runs[lane] = run
        # On the host: a program that writes one lane would be one more to compile.
        self._state = _with_lane(self._state, lane, run.first_state())
        self._data = jax.device_put(_with_lane(self._data, lane, run.data))

    def epoch(self, live: Sequence[bool]) -> list[EpochResult | NonFiniteLossError | None]:
        """Train every lane for one epoch.

        Args:
            live: which lanes hold a run that goes on. The others are trained along, because a
                program has a fixed number of lanes, and what comes of them is dropped.

        Returns:
            For each live lane its result, or the error that ended it; None for the others.
        """
        hyper = [run.hyperparameters() for run in self._runs]
        stacked = _stacked(hyper)._replace(steps=hyper[0].steps)
        self._state, losses, forecasts = _train_lanes(
            self.shape.program, self._data, jax.device_put(stacked), self._state
        )
        losses_of, forecasts_of = np.asarray(losses), np.asarray(forecasts)
        params = jax.tree.map(np.asarray, self._state.params)
        outcomes: list[EpochResult | NonFiniteLossError | None] = []
        for lane, run in enumerate(self._runs):
            if not live[lane]:
                outcomes.append(None)
                continue
            # A copy: a best epoch that is kept must not keep the weights of every lane.
            own = jax.tree.map(lambda leaf, lane=lane: np.array(leaf[lane]), params)
            try:
                outcomes.append(run.record(float(losses_of[lane]), forecasts_of[lane], own))
            except NonFiniteLossError as error:
                outcomes.append(error)
        return outcomes

    def snapshots(self) -> list[Snapshot]:
        """Return all that the next epoch of each lane's run depends on."""
        state = jax.tree.map(np.asarray, self._state)
        # Copies: one lane's snapshot must not keep the state of all.
        return [
            run.snapshot(jax.tree.map(lambda leaf, lane=lane: leaf[lane].copy(), state))
            for lane, run in enumerate(self._runs)
        ]

    def _require_fitting(self, run: TrainingRun) -> None:
        if LaneShape.of(run) != self.shape:
            raise ValueError(f"a run must be of shape {self.shape}, but got {LaneShape.of(run)}")


def _stacked(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _with_lane(tree: Any, lane: int, new: Any) -> Any:
    def replaced(old: Any, leaf: Any) -> Any:
        copy = np.array(old)
        copy[lane] = leaf
        return copy

    return jax.tree.map(replaced, tree, new)
