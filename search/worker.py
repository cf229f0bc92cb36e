"""The worker loop: take a ticket, train, tell, until none is left."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from foretune.datasets.errors import ConfigError, ForetuneError
from foretune.datasets.splits import Development
from foretune.models.compilation import forget_many_programs
from foretune.models.training import NonFiniteLossError
from foretune.search.checkpoint_keeper import DEFAULT_SECONDS
from foretune.search.checkpoint_rows import forget_checkpoints
from foretune.search.heartbeat import Heartbeat
from foretune.search.lost_trials import INTERRUPTED, give_up, has_been_repeated, may_be_repeated
from foretune.search.memory import Growth, WorkerGrownError
from foretune.search.objective import Objective, OnEpoch
from foretune.search.space import SearchSpace
from foretune.search.storage.connect import open_storage
from foretune.search.tickets import TicketStudy, finished_trials, hand_in, take_ticket
from foretune.search.trial_marks import DEFAULT_BEAT, FIXED
from foretune.search.wanted import wanted_trials
from foretune.search.watch import Watch


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every worker of a study needs to know, besides its storage."""

    study_name: str
    n_trials: int | None
    """trials in total; None for what the study wants at the moment"""
    space: SearchSpace
    folds: tuple[Development, ...]
    sampler: BaseSampler
    pruner: BasePruner
    lanes: int = 1
    beat: float = DEFAULT_BEAT
    """seconds between two signs of life"""
    checkpoint_seconds: float = DEFAULT_SECONDS
    """seconds between two checkpoints of a long trial"""
    most_growth: int | None = None
    """bytes that a worker grows by before a new process goes on in its place; None for any"""

    def total(self, study: optuna.Study) -> int:
        """Return how many trials ``study`` shall have."""
        return wanted_trials(study) if self.n_trials is None else self.n_trials


@dataclass(frozen=True)
class Listener:
    """Who is told of a worker's progress; each may raise KeyboardInterrupt to stop it.

    ``on_idle`` is called again and again while other workers run the last trials, and once before a
    worker makes room for a new process.
    """

    on_epoch: OnEpoch
    on_trial: Callable[[FrozenTrial], None]
    on_idle: Callable[[], None]


def run_trials(work: Work, storage: BaseStorage, listener: Listener) -> bool:
    """Run trials until the study has enough.

    Returns:
        Whether the sampler had nothing left to ask for.

    Raises:
        WorkerGrownError: this process has grown by more than ``work.most_growth``.
    """
    growth = None if work.most_growth is None else Growth(work.most_growth)
    objective = Objective(
        work.space,
        work.folds,
        on_epoch=listener.on_epoch,
        checkpoint_seconds=work.checkpoint_seconds,
        forget_checkpoints=False,
    )
    watch = Watch()
    with beating(work, storage, watch) as heart:
        while (trial := next_trial(work, storage, listener, watch)) is not None:
            with heart.beating_for(trial._trial_id), holding(trial):
                listener.on_trial(_run(trial, objective))
            forget_many_programs()
            if sampler_stopped(trial):
                return True
            if growth is not None and growth.is_enough():
                listener.on_idle()  # a wish to stop goes first
                raise WorkerGrownError
    return False


def existing_study(name: str, storage: BaseStorage) -> optuna.Study:
    """Load a study that was there a moment ago.

    Raises:
        ConfigError: it has been deleted.
    """
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        raise ConfigError(f"study {name!r} must be in the storage, but was deleted") from None


def deleted_study(error: Exception, name: str, storage: str | BaseStorage) -> ConfigError | None:
    """Return what to say if ``error`` comes of a study that somebody has deleted."""
    if not isinstance(error, KeyError):
        return None
    try:
        existing_study(name, open_storage(storage))
    except ConfigError as deleted:
        return deleted
    return None


def beating(work: Work, storage: BaseStorage, watch: Watch) -> Heartbeat:
    """Return the heartbeat of a worker that looks at the others' hearts at every beat."""
    study = existing_study(work.study_name, storage)

    def look() -> None:
        watch.lost(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)))

    return Heartbeat(storage, work.beat, look)


@contextmanager
def holding(trial: Trial) -> Iterator[None]:
    """Let go of a trial's ticket at the end of the context, however it ends."""
    try:
        yield
    finally:
        hand_in(trial)


def sampler_stopped(trial: Trial) -> bool:
    """Whether the sampler of ``trial`` has nothing left to ask for, as an exhausted grid."""
    return isinstance(trial.study, TicketStudy) and trial.study.stopped


def next_trial(
    work: Work, storage: BaseStorage, listener: Listener, watch: Watch, *, wait: bool = True
) -> Trial | None:
    """Start the next trial; None when the study has enough.

    While other workers run the last ones it waits: one of them may be lost, and its trial be left
    to this worker.

    Args:
        work: the study and what its trials need.
        storage: the study's.
        listener: is told while waiting.
        watch: this process's knowledge of the others.
        wait: whether to wait at all; else None is returned.
    """
    study = existing_study(work.study_name, storage)
    for pause in pauses():
        total = work.total(study)
        if finished_trials(study) >= total:
            return None
        trial = take_ticket(
            work.study_name,
            total,
            storage,
            work.sampler,
            work.pruner,
            watch=watch,
            beat=work.beat,
        )
        if trial is not None or not wait:
            return trial
        listener.on_idle()
        time.sleep(pause)
    raise AssertionError  # pauses never end


def pauses() -> Iterator[float]:
    """Return the seconds to wait between looks: longer and longer, and not all workers at once."""
    pause = 0.1
    while True:
        yield random.uniform(0.5, 1) * pause
        pause = min(pause * 1.3, 2.0)


def _run(trial: Trial, objective: Objective) -> FrozenTrial:
    """Run one trial as ``study.optimize`` would, with a loss gone astray as a failed trial."""
    try:
        return end_trial(trial, TrialState.COMPLETE, objective(trial))
    except BaseException as error:
        told = ended_by(trial, error)
        if told is None:
            raise
        return told


def ended_by(trial: Trial, error: BaseException) -> FrozenTrial | None:
    """End a trial that an exception has ended.

    Returns:
        It, if the study goes on after it; None if the exception is to be raised.

    Raises:
        ConfigError: its study has been deleted.
    """
    match error:
        case optuna.TrialPruned():
            return end_trial(trial, TrialState.PRUNED)
        case NonFiniteLossError():
            return end_trial(trial, TrialState.FAIL)
        case UpdateFinishedTrialError():
            return ended_elsewhere(trial)
        case KeyboardInterrupt():
            give_up(trial.study, trial._trial_id, INTERRUPTED)
            return None
        case KeyError():
            existing_study(trial.study.study_name, trial.storage)
        case ForetuneError() | ValueError():
            return _refused(trial, error)
    end_trial(trial, TrialState.FAIL)
    return None


def _refused(trial: Trial, error: Exception) -> FrozenTrial | None:
    """End a trial that an error ended.

    Returns:
        It, if somebody had enqueued parameters that no config can have: the study goes on without
        it. None for an error that may be that of all trials.
    """
    stored = trial.storage.get_trial(trial._trial_id)
    enqueued = FIXED in stored.system_attrs and "config" not in stored.user_attrs
    if enqueued and not stored.state.is_finished():
        trial.set_user_attr("error", f"enqueued parameters: {error}")
    told = end_trial(trial, TrialState.FAIL)
    return told if enqueued else None


def end_trial(trial: Trial, state: TrialState, value: float | None = None) -> FrozenTrial:
    """Tell how a trial has ended; one that another worker has ended stays as that one left it."""
    try:
        told = trial.study.tell(trial, value, state=state, skip_if_finished=True)
    except UpdateFinishedTrialError:
        return ended_elsewhere(trial)
    # Only now: a worker killed before leaves the next one what it needs to go on.
    _forget_checkpoints(trial, told)
    return told


def ended_elsewhere(trial: Trial) -> FrozenTrial:
    """Return ``trial`` as another worker has ended it, which took this one for lost."""
    told = trial.storage.get_trial(trial._trial_id)
    _forget_checkpoints(trial, told)
    return told


def _forget_checkpoints(trial: Trial, told: FrozenTrial) -> None:
    """Remove a trial's checkpoints, unless it is to be repeated and has not been yet."""
    if not may_be_repeated(told) or has_been_repeated(trial.study, told):
        forget_checkpoints(trial.storage, trial.study._study_id, told)
