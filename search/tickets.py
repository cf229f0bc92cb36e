"""Tickets: the trials that a study still wants, as WAITING trials that workers take one by one.

Optuna's own ``n_trials`` counts per process, so that several of them overshoot. A ticket is taken
in one transaction, by one worker.
"""

from collections import Counter

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import Trial, TrialState, create_trial


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
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "non_finite" in trial.user_attrs
        for trial in study.get_trials(deepcopy=False)
    )


def add_tickets(
    study: optuna.Study, n_trials: int, *, ahead: int, count_running: bool = True
) -> int:
    """Add tickets to ``study`` until ``ahead`` of them wait, but none beyond ``n_trials``.

    Not all at once: Optuna reads every unfinished trial again whenever it reads the trials, so that
    a thousand waiting ones would take longer than their training.

    Args:
        study: the study.
        n_trials: trials that the study is to end with.
        ahead: tickets that may wait.
        count_running: whether running trials are expected to end. At the start of a launch they may
            be what a killed process left behind, and are not.

    Returns:
        How many were added.
    """
    states = Counter(trial.state for trial in study.get_trials(deepcopy=False))
    waiting = states[TrialState.WAITING]
    under_way = states[TrialState.RUNNING] if count_running else 0
    missing = n_trials - finished_trials(study) - waiting - under_way
    added = max(min(missing, ahead - waiting), 0)
    for _ in range(added):
        study.add_trial(create_trial(state=TrialState.WAITING))
    return added


def take_ticket(
    name: str, storage: BaseStorage, sampler: BaseSampler, pruner: BasePruner
) -> Trial | None:
    """Take the first ticket of study ``name`` and start its trial; None when none is left."""
    study = TicketStudy(name, storage, sampler=sampler, pruner=pruner)
    study_id = storage.get_study_id_from_name(name)
    for ticket in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, ticket.number)
        try:
            if storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                return Trial(study, trial_id)
        except UpdateFinishedTrialError:
            continue  # another worker has taken and finished it meanwhile
    return None
