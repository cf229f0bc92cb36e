"""Tickets: who runs which trial, so that a study ends with exactly as many as it shall have.

Optuna's own ``n_trials`` counts per process, so that several of them overshoot. Here every trial is
taken under the study's lock, and only while one is wanted.
"""

from collections.abc import Iterable
from contextlib import suppress

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from foretune.search.lost_trials import INTERRUPTED, give_up, release_lost_trials
from foretune.search.process_identity import ProcessIdentity
from foretune.search.storage.connect import storage_of
from foretune.search.study_lock import study_lock
from foretune.search.ticket_writes import give_back, start_trial
from foretune.search.trial_marks import BEAT, DEFAULT_BEAT, OWNER, TICKET, beat_mark
from foretune.search.watch import Watch, let_go, new_ticket

# The attribute that names the process which runs a trial, for people.
_WORKER = "worker"


class TicketStudy(optuna.Study):
    """A study as one trial sees it.

    A new one for each trial: Optuna's keeps the trials that a sampler is shown until its own `ask`.
    """

    stopped = False
    ticket = ""

    def stop(self) -> None:
        """Note that the sampler has nothing left to ask for; its worker ends."""
        self.stopped = True


def finished_trials(study: optuna.Study) -> int:
    """Count the trials that need not be run again: complete, pruned, or with a loss gone astray.

    The last would fail again. A trial that Ctrl-C stopped, an exception ended or a crash left
    running does not count, and another takes its place.
    """
    return sum(map(is_finished, study.get_trials(deepcopy=False)))


def take_ticket(
    name: str,
    n_trials: int,
    storage: BaseStorage,
    sampler: BaseSampler,
    pruner: BasePruner,
    *,
    watch: Watch,
    beat: float,
) -> Trial | None:
    """Start a trial of study ``name``, the first one that waits or else a new one.

    Before that, trials whose workers are lost are failed, and wait once more.

    Args:
        name: of the study.
        n_trials: how many trials it shall end with.
        storage: the study's.
        sampler: is asked for the trial's parameters.
        pruner: the trial's.
        watch: this process's knowledge of the others.
        beat: seconds between two signs of life that the trial will give.

    Returns:
        The trial, or None when none is wanted now.
    """
    study = TicketStudy(name, storage, sampler=sampler, pruner=pruner)
    study.ticket = new_ticket()
    trial = None
    try:
        trial_id = _started(study, n_trials, watch, beat)
        trial = None if trial_id is None else _asked(study, trial_id)
        return trial
    finally:
        if trial is None:
            let_go(study.ticket)


def hand_in(trial: Trial) -> None:
    """Hand in the ticket of ``trial``: this process is not at work on it any more."""
    if isinstance(trial.study, TicketStudy):
        let_go(trial.study.ticket)


def _started(study: TicketStudy, n_trials: int, watch: Watch, beat: float) -> int | None:
    """Set a trial running under the study's lock; returns its id, None if none is wanted."""
    storage = storage_of(study)
    trials = study.get_trials(deepcopy=False)
    if _spoken_for(trials) >= n_trials and not watch.lost(trials):
        return None  # found out without the lock, as most who wait do
    study_id = storage.get_study_id_from_name(study.study_name)
    with study_lock(storage, study_id) as held:
        trials = release_lost_trials(study, watch, held)
        if _spoken_for(trials) >= n_trials:
            return None
        trial_id = _start(storage, study_id, trials, study.ticket, beat)
        if trial_id is not None and not held():
            # The database was away in between, and another may have taken the last one.
            give_back(storage, trial_id, study.ticket)
            return None
    return trial_id


def _asked(study: TicketStudy, trial_id: int) -> Trial | None:
    """Ask the sampler for a trial's parameters; None if it was taken away meanwhile."""
    try:
        return Trial(study, trial_id)
    except UpdateFinishedTrialError:
        return None
    except KeyboardInterrupt:
        give_up(study, trial_id, INTERRUPTED)
        raise
    except BaseException:
        with suppress(UpdateFinishedTrialError):
            storage_of(study).set_trial_state_values(trial_id, TrialState.FAIL)
        raise


def is_finished(trial: FrozenTrial) -> bool:
    """Whether ``trial`` counts towards the total of its study."""
    if trial.state == TrialState.FAIL:
        return "non_finite" in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def is_under_way(trial: FrozenTrial) -> bool:
    """Whether a worker of foretune's runs ``trial``, as far as anybody knows."""
    return trial.state == TrialState.RUNNING and OWNER in trial.system_attrs


def _start(
    storage: BaseStorage, study_id: int, trials: Iterable[FrozenTrial], ticket: str, beat: float
) -> int | None:
    """Set the first of ``trials`` that waits running, or a new one, and say whose it is.

    Returns:
        Its id, or None if another was quicker.
    """
    me = ProcessIdentity.mine()
    # The heart begins to beat when the sampler has answered, which may take seconds.
    first_beat = beat_mark(0, max(beat, DEFAULT_BEAT))
    waiting = next((trial for trial in trials if trial.state == TrialState.WAITING), None)
    if waiting is not None:
        trial_id = waiting._trial_id
    else:
        trial_id = storage.create_new_trial(study_id, create_trial(state=TrialState.WAITING))
    system = {OWNER: list(me), TICKET: ticket, BEAT: first_beat}
    user = {_WORKER: _shown(me)}
    return trial_id if start_trial(storage, trial_id, user=user, system=system) else None


def _shown(process: ProcessIdentity) -> str:
    return f"{process.machine.split()[0]}:{process.pid}"


def _spoken_for(trials: Iterable[FrozenTrial]) -> int:
    """Count the trials that are finished or in a worker's hands.

    One whose worker may be lost counts until somebody has found that it is; one that a program of
    the user's own runs does not.
    """
    return sum(is_finished(trial) or is_under_way(trial) for trial in trials)
