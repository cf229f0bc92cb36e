"""A task trains trials a few epochs onward; it knows neither Optuna nor a storage.

JAX is imported inside functions, after its flags are set: an executor may import this module to
read a task before anything of it runs.
"""

import os
import sys
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from uuid import uuid4

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import MetricName, TrialConfig
from foretune.models.training.results import FoldProgress, FoldResults, NonFiniteLossError

# One thread for XLA: two processes of one thread train nearly twice as fast as one of two.
XLA_ONE_THREAD = {"NPROC": "1"}


@dataclass(frozen=True, kw_only=True)
class DataRef:
    """The data of every fold, by digest; they travel only to a worker that lacks them."""

    digest: str
    folds: tuple[DevelopmentData, ...] | None

    @classmethod
    def of(cls, folds: Sequence[DevelopmentData]) -> "DataRef":
        """Return a reference that holds the data."""
        from foretune.datasets.calendar import time_numbers

        digest = sha256()
        for fold in folds:
            arrays: list[Any] = [
                time_numbers(fold.time),
                fold.values,
                fold.firsts,
                *fold.covariates.arrays,
            ]
            for array in arrays:
                digest.update(repr(array.shape).encode() + array.tobytes())
            digest.update(repr((fold.split, fold.capacity, fold.spaces)).encode())
        return cls(digest=digest.hexdigest(), folds=tuple(folds))


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """Where the training of one config is.

    A worker may still hold the state that ``token`` names; ``folds`` hold all that another one
    needs to go on, and are None where the state is sent by its token alone.
    """

    config: TrialConfig
    shared_epoch: bool = True
    metric: MetricName = "relative_mse"
    token: str | None = None
    folds: tuple[FoldProgress, ...] | None = ()

    def by_token(self) -> "TaskState":
        """Return the state for the worker that holds it."""
        return self if self.token is None else replace(self, folds=None)


# What a compiled program depends on, and its number of steps: all else is traced.
_SHAPE = (
    "cell",
    "padded_units",
    "context",
    "rows_read",
    "segment_length",
    "head",
    "head_units",
    "past_covariates",
    "future_covariates",
    "static_covariates",
    "calendar_features",
    "loss",
    "optimizer",
    "batch_size",
    "steps_per_epoch",
)


def lane_shape(config: TrialConfig) -> Hashable:
    """Return what configs of one study must have in common to be trained side by side."""
    # A direct head's program is the same with and without a skip.
    skip = config.skip if config.head == "recursive" else "none"
    return skip, config.averaging > 0, *(getattr(config, name) for name in _SHAPE)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long a task trains, and how: it ends after the epoch in which a limit is reached.

    ``lanes`` is how many configs a program trains side by side; with ``cache`` compiled programs
    are kept on disk.
    """

    seconds: float
    epochs: int | None = None
    lanes: int = 1
    cache: bool = True


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a task did for one config.

    ``epochs`` hold numbers, and forecasts where an epoch is a fold's best so far. ``error`` says
    why no epoch can follow. ``state`` is where it continues; None after an error.
    """

    epochs: tuple[FoldResults, ...]
    state: TaskState | None
    error: str | None
    parameters: int
    device: str
    seconds: float
    longest_epoch: float
    compiles: int = 0
    cache_hits: int = 0


@dataclass(frozen=True)
class Missing:
    """The answer of a worker that lacks the data, or a state that it was to continue from."""


Answer = tuple[Progress, ...] | Missing


# What this process holds: data by digest, and trainings by the token of their state.
_data: dict[str, tuple[DevelopmentData, ...]] = {}
_trainings: dict[str, Any] = {}
# Those of trials that were pruned stay until others take their place, and of many series they are
# large. One that is gone goes on from its snapshot.
_MOST_TRAININGS = 4
_lock = threading.Lock()


def _keep(held: dict[str, Any], key: str, value: Any, most: int) -> None:
    """Keep a value, and the latest ones beside it; tasks of several threads do so."""
    with _lock:
        held[key] = value
        while len(held) > most:
            del held[next(iter(held))]


def prepare(cache: bool = True) -> str:
    """Import what trains, with its flags set before; returns the device's name.

    Raises:
        ConfigError: JAX does not start.
    """
    if "jax" not in sys.modules:
        for name, value in XLA_ONE_THREAD.items():
            os.environ.setdefault(name, value)
    from foretune.models.runtime.compile import use_compile_cache
    from foretune.models.runtime.device import device_name

    use_compile_cache(on=cache)
    try:
        return device_name()
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or "no such device").splitlines()[0]
        raise ConfigError(
            f"JAX must start on JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')!r}, but does "
            f"not: {reason}"
        ) from None


def advance(work: tuple[TaskState, ...], data: DataRef, budget: Budget) -> Answer:
    """Train configs onward from where they are.

    Args:
        work: one config; with lanes several of one shape, which are trained side by side.
        data: training and validation days of each fold.
        budget: when to stop.

    Returns:
        What was done for each, or that this worker lacks something.
    """
    folds = data.folds or _data.get(data.digest)
    if folds is None:
        return Missing()
    _keep(_data, data.digest, folds, 4)
    device = prepare(budget.cache)
    from foretune.models.runtime.compile import evict_compiled_programs
    from foretune.models.training.lanes import advance_lanes

    evict_compiled_programs()
    if budget.lanes > 1:
        return advance_lanes(work, folds[0], budget, device)
    (state,) = work
    return _advance_one(state, folds, budget, device)


class TaskLog:
    """What a task does for each of its configs, epoch by epoch."""

    def __init__(self, work: tuple[TaskState, ...], budget: Budget, device: str) -> None:
        from foretune.models.runtime.compile import cache_hits, compile_count

        self._work, self._budget, self._device = work, budget, device
        self._epochs: list[list[FoldResults]] = [[] for _ in work]
        self._errors: list[str | None] = [None] * len(work)
        self._parameters = [0] * len(work)
        self._counts = {"compiles": compile_count, "cache_hits": cache_hits}
        self._before = {name: count() for name, count in self._counts.items()}
        self._longest = 0.0
        self._started = self._last = time.perf_counter()

    def add(self, outcomes: Sequence[FoldResults | NonFiniteLossError | None]) -> bool:
        """Take in the epoch of each config, or its error; returns whether another one follows.

        A config that had none in a round has None.
        """
        from foretune.models.networks.params import parameter_count

        now = time.perf_counter()
        self._longest, self._last = max(self._longest, now - self._last), now
        going = now - self._started < self._budget.seconds
        for number, outcome in enumerate(outcomes):
            if outcome is None:
                continue
            if isinstance(outcome, NonFiniteLossError):
                self._errors[number], going = str(outcome), False
                continue
            self._parameters[number] = parameter_count(outcome.folds[-1].params)
            # Only the forecasts of a fold's best epoch so far travel, and no weights.
            folds = tuple(fold.without_arrays(forecasts=fold.is_best) for fold in outcome.folds)
            epochs = self._epochs[number]
            epochs.append(replace(outcome, folds=folds))
            going = going and not outcome.is_last and len(epochs) != self._budget.epochs
        return going

    def answer(self, progress: Sequence[tuple[FoldProgress, ...]]) -> tuple[Progress, ...]:
        """Return what was done, and where each config without an error goes on."""
        counts = {name: count() - self._before[name] for name, count in self._counts.items()}
        answer = []
        for number, (state, folds) in enumerate(zip(self._work, progress, strict=True)):
            error = self._errors[number]
            made = Progress(
                epochs=tuple(self._epochs[number]),
                state=None if error else replace(state, token=uuid4().hex, folds=folds),
                error=error,
                parameters=self._parameters[number],
                device=self._device,
                seconds=time.perf_counter() - self._started,
                longest_epoch=self._longest,
                **counts,
            )
            answer.append(made)
            counts = {}  # the first trial counts the compiles of all
        return tuple(answer)


def _advance_one(
    state: TaskState, folds: tuple[DevelopmentData, ...], budget: Budget, device: str
) -> Answer:
    from foretune.models.training.folds import FoldsTraining

    log = TaskLog((state,), budget, device)
    training = None if state.token is None else _trainings.pop(state.token, None)
    if training is None:
        if state.folds is None:
            return Missing()
        training = FoldsTraining(
            state.config,
            folds,
            state.folds,
            shared_epoch=state.shared_epoch,
            metric=state.metric,
        )
    going = True
    while going:
        try:
            going = log.add([next(training)])
        except NonFiniteLossError as error:
            going = log.add([error])
    answer = log.answer([training.progress()])
    after = answer[0].state
    if after is not None and not answer[0].epochs[-1].is_last:
        _keep(_trainings, str(after.token), training, _MOST_TRAININGS)
    return answer
