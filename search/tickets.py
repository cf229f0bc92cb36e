"""Tickets: the trials that a study still wants, as WAITING trials that workers take one by one.

Optuna's own ``n_trials`` counts per process, so that several of them overshoot. A ticket is taken
in one transaction, by one worker.
"""

import os
import platform
from collections.abc import Iterable

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

# The attribute that names the process which runs a trial.
_WORKER = "worker"

# Where each process that is about to take a ticket says so, under a name of its own: a trial that
# has just started is somebody's even before its worker is named.
_TAKER = "foretune:taker:"


class TicketStudy(optuna.Study):
    """A study as one trial sees it.

    A new one for each trial: Optuna's keeps the trials that a sampler is shown until its own `ask`.
    """

    stopped = False

    def stop(self) -> None:
        """Note that the sampler has nothing left to ask for; its worker ends."""
        self.stopped = True


def finished_trials(study: optuna.Study) -> int:
    """Count the trials that need not be run again: complete, pruned, or with a loss gone astray.

    The last would fail again. A trial that Ctrl-C stopped, an exception ended or a crash left
    running does not count, and another takes its place.
    """
    return sum(map(_is_finished, study.get_trials(deepcopy=False)))


def still_wanted(study: optuna.Study, n_trials: int) -> int:
    """Return how many more trials may be started, so that ``study`` ends with ``n_trials``."""
    return n_trials - _spoken_for(study.get_trials(deepcopy=False))


def add_tickets(study: optuna.Study, n_trials: int, *, ahead: int) -> int:
    """Add tickets to ``study`` until ``ahead`` of them wait, but none beyond ``n_trials``.

    Not all at once: Optuna reads every unfinished trial again whenever it reads the trials, so that
    a thousand waiting ones would take longer than their training.

    Returns:
        How many were added.
    """
    trials = study.get_trials(deepcopy=False)
    waiting = sum(trial.state == TrialState.WAITING for trial in trials)
    missing = n_trials - _spoken_for(trials) - waiting
    added = max(min(missing, ahead - waiting), 0)
    for _ in range(added):
        study.add_trial(create_trial(state=TrialState.WAITING))
    return added


def take_ticket(
    name: str, n_trials: int, storage: BaseStorage, sampler: BaseSampler, pruner: BasePruner
) -> Trial | None:
    """Take the first ticket of study ``name`` and start its trial.

    A ticket that would lead beyond ``n_trials``, because another worker took one at the same
    moment, is given back.

    Returns:
        The trial, or None when no ticket is left or none is wanted.
    """
    study = TicketStudy(name, storage, sampler=sampler, pruner=pruner)
    study_id = storage.get_study_id_from_name(name)
    for ticket in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, ticket.number)
        try:
            storage.set_trial_system_attr(trial_id, _TAKER + _this_process(), True)
            if not storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                continue
        except UpdateFinishedTrialError:
            continue  # another worker has taken and finished it meanwhile
        try:
            storage.set_trial_user_attr(trial_id, _WORKER, _this_process())
            if still_wanted(study, n_trials) < 0:
                storage.set_trial_state_values(trial_id, TrialState.WAITING)
                return None
            return Trial(study, trial_id)  # asks the sampler
        except BaseException:
            storage.set_trial_state_values(trial_id, TrialState.FAIL)
            raise
    return None


def _is_finished(trial: FrozenTrial) -> bool:
    done = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return done or "non_finite" in trial.user_attrs


def _spoken_for(trials: Iterable[FrozenTrial]) -> int:
    """Count the trials that are finished or that a living process is at work on."""
    return sum(_is_finished(trial) or _is_under_way(trial) for trial in trials)


def _is_under_way(trial: FrozenTrial) -> bool:
    """Whether ``trial`` is running, and not only left so by a process of this machine that died."""
    if trial.state != TrialState.RUNNING:
        return False
    worker = trial.user_attrs.get(_WORKER)
    if worker is not None:
        return _is_alive(str(worker))
    takers = (name for name in trial.system_attrs if name.startswith(_TAKER))
    return any(_is_alive(name.removeprefix(_TAKER)) for name in takers)


def _is_alive(process: str) -> bool:
    host, _, number = process.rpartition(":")
    if host != platform.node() or os.name == "nt":
        return True  # nobody can tell from here; on Windows, signal 0 would end it
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True  # another user's
    return True


def _this_process() -> str:
    return f"{platform.node()}:{os.getpid()}"
