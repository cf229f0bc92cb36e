"""Tickets: the trials that a study still wants, as WAITING trials that workers take one by one.

Optuna's own ``n_trials`` counts per process, so that several of them overshoot. A ticket is taken
in one transaction, by one worker.
"""

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


def add_tickets(study: optuna.Study, n_trials: int) -> int:
    """Add the tickets that ``study`` lacks to end with ``n_trials``; returns how many."""
    waiting = len(study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
    missing = max(n_trials - finished_trials(study) - waiting, 0)
    for _ in range(missing):
        study.add_trial(create_trial(state=TrialState.WAITING))
    return missing


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
