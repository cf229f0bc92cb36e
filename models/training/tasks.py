"""A task trains trials a few epochs onward; it knows neither Optuna nor a storage.

JAX is imported inside functions, after its flags are set: an executor may import this module to
read a task before anything of it runs.
"""

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any
from uuid import uuid4

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.training.results import FoldProgress, FoldResults

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
        digest = sha256()
        for fold in folds:
            digest.update(fold.dates.tobytes() + fold.values.tobytes())
            digest.update(repr((fold.split, fold.capacity)).encode())
        return cls(digest=digest.hexdigest(), folds=tuple(folds))


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Where the training of one config is.

    A worker may still hold the state that ``token`` names; ``folds`` say all that another one needs
    to go on from there, and are None where it is sent back by its token alone.
    """

    config: TrialConfig
    one_by_one: bool = False
    token: str | None = None
    folds: tuple[FoldProgress, ...] | None = ()

    def by_token(self) -> "TrainingState":
        """Return the state for the worker that holds it."""
        return self if self.token is None else replace(self, folds=None)


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

    def is_spent(self, started: float, epochs: int) -> bool:
        """Whether a task that has begun at ``started`` has done enough."""
        return time.perf_counter() - started >= self.seconds or epochs == self.epochs


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What a task did for one config.

    ``epochs`` hold numbers, and forecasts where an epoch is a fold's best so far. ``error`` says
    why no epoch can follow. ``state`` is where it goes on; None after an error.
    """

    epochs: tuple[FoldResults, ...]
    state: TrainingState | None
    error: str | None
    parameters: int
    device: str
    seconds: float
    longest_epoch: float
    compiles: int = 0
    cache_hits: int = 0


@dataclass(frozen=True)
class Missing:
    """The answer of a worker that lacks the data, or a state that it was to go on from."""


Answer = tuple[Progress, ...] | Missing


# What this process holds: data by digest, and trainings by the token of their state.
_data: dict[str, tuple[DevelopmentData, ...]] = {}
_trainings: dict[str, Any] = {}
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
    from foretune.models.runtime.compile_cache import use_compile_cache
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


def advance(work: tuple[TrainingState, ...], data: DataRef, budget: Budget) -> Answer:
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
    from foretune.models.training.lane_tasks import advance_lanes

    evict_compiled_programs()
    if budget.lanes > 1:
        return advance_lanes(work, folds[0], budget, device)
    (state,) = work
    return _advance_one(state, folds, budget, device)


class Clock:
    """Counts epochs, seconds and compiles of a task."""

    def __init__(self) -> None:
        self.started = self._last = time.perf_counter()
        self._longest = 0.0
        self._before = _compiles()

    def epoch_ended(self) -> None:
        """Note how long an epoch took."""
        now = time.perf_counter()
        self._longest, self._last = max(self._longest, now - self._last), now

    def measured(self) -> dict[str, Any]:
        """Return the measured fields of :class:`Progress`."""
        compiles, hits = _compiles()
        return {
            "seconds": time.perf_counter() - self.started,
            "longest_epoch": self._longest,
            "compiles": compiles - self._before[0],
            "cache_hits": hits - self._before[1],
        }


def _compiles() -> tuple[int, int]:
    from foretune.models.runtime.compile_count import cache_hits, compile_count

    return compile_count(), cache_hits()


def sent(results: FoldResults) -> FoldResults:
    """Return an epoch as it travels: forecasts where they are a fold's best so far."""
    folds = tuple(result.without_arrays(forecasts=result.is_best) for result in results.folds)
    return replace(results, folds=folds)


def new_token() -> str:
    """Return the name of a state that this process keeps."""
    return uuid4().hex


def _advance_one(
    state: TrainingState, folds: tuple[DevelopmentData, ...], budget: Budget, device: str
) -> Answer:
    from foretune.models.networks.params import parameter_count
    from foretune.models.training.folds import fit_folds
    from foretune.models.training.results import NonFiniteLossError

    clock, epochs = Clock(), list[FoldResults]()
    training = None if state.token is None else _trainings.pop(state.token, None)
    if training is None:
        if state.folds is None:
            return Missing()
        training = fit_folds(state.config, folds, state.folds, one_by_one=state.one_by_one)
    error, parameters = None, 0
    try:
        for results in training:
            clock.epoch_ended()
            parameters = parameter_count(results.folds[-1].params)
            epochs.append(sent(results))
            if budget.is_spent(clock.started, len(epochs)):
                break
    except NonFiniteLossError as failure:
        error = str(failure)
    after = None
    if error is None:
        after = replace(state, token=new_token(), folds=training.progress())
        if not epochs[-1].is_last:
            _keep(_trainings, str(after.token), training, 32)
    return (
        Progress(
            epochs=tuple(epochs),
            state=after,
            error=error,
            parameters=parameters,
            device=device,
            **clock.measured(),
        ),
    )
