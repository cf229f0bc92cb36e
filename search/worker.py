"""The worker loop: take a ticket, train, tell, until none is left."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from foretune.datasets.splits import Development
from foretune.models.compilation import forget_many_programs
from foretune.models.training import NonFiniteLossError
from foretune.search.objective import Objective, OnEpoch
from foretune.search.space import SearchSpace
from foretune.search.tickets import TicketStudy, still_wanted, take_ticket


@dataclass(frozen=True, kw_only=True)
class Work:
    """What every worker of a study needs to know, besides its storage."""

    study_name: str
    n_trials: int
    space: SearchSpace
    folds: tuple[Development, ...]
    sampler: BaseSampler
    pruner: BasePruner
    lanes: int = 1


@dataclass(frozen=True)
class Listener:
    """Who is told of a worker's progress; each may raise KeyboardInterrupt to stop it.

    ``on_idle`` is called when trials are wanted but no ticket waits; False ends the worker.
    """

    on_epoch: OnEpoch
    on_trial: Callable[[FrozenTrial], None]
    on_idle: Callable[[], bool]


def run_trials(work: Work, storage: BaseStorage, listener: Listener) -> bool:
    """Run trials until no ticket is left or the study has enough.

    Returns:
        Whether the sampler had nothing left to ask for.
    """
    objective = Objective(work.space, work.folds, on_epoch=listener.on_epoch)
    while (trial := next_trial(work, storage, listener)) is not None:
        listener.on_trial(_run(trial, objective))
        forget_many_programs()
        if sampler_stopped(trial):
            return True
    return False


def sampler_stopped(trial: Trial) -> bool:
    """Whether the sampler of ``trial`` has nothing left to ask for, as an exhausted grid."""
    return isinstance(trial.study, TicketStudy) and trial.study.stopped


def next_trial(work: Work, storage: BaseStorage, listener: Listener) -> Trial | None:
    """Start the next trial; None when the study has enough."""
    study = optuna.load_study(study_name=work.study_name, storage=storage)
    # A study that once wanted more trials than now has tickets left over: they stay where they are.
    while still_wanted(study, work.n_trials) > 0:
        trial = take_ticket(work.study_name, work.n_trials, storage, work.sampler, work.pruner)
        if trial is not None or not listener.on_idle():
            return trial
    return None


def _run(trial: Trial, objective: Objective) -> FrozenTrial:
    """Run one trial as ``study.optimize`` would, with a loss gone astray as a failed trial."""
    tell = partial(trial.study.tell, trial)
    try:
        value = objective(trial)
    except optuna.TrialPruned:
        return tell(state=TrialState.PRUNED)
    except NonFiniteLossError:
        return tell(state=TrialState.FAIL)
    except BaseException:
        tell(state=TrialState.FAIL)
        raise
    return tell(value)
