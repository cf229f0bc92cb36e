"""Trials whose worker is lost: found, failed, and put in line once more.

A worker is lost when its process has ended, which is known at once on its own machine, or when its
heart has stood still for a while before the eyes of another worker. Only time that a watcher spent
with a database that answers counts: clocks need not agree, and an outage makes nobody seem lost. A
worker that was taken for lost and is not finds its trial failed, and lets go of it.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from foretune.search.attributes import set_trial_attrs
from foretune.search.patience import Patience
from foretune.search.process_identity import ProcessIdentity
from foretune.search.storage import patience_of, storage_of

# System attributes of a trial: the process that runs it, its heartbeat, why it was given up, the
# number of the trial that it repeats, and how many workers its config was lost with.
OWNER = "foretune:owner"
BEAT = "foretune:beat"
GIVEN_UP = "foretune:given_up"
REPEATS = "foretune:repeats"
_LOSSES = "foretune:losses"

# Seconds between two beats of a worker.
DEFAULT_BEAT = 10.0

# The names under which Optuna and its dashboard know a trial that is run again.
_FIXED, _FIRST, HISTORY = "fixed_params", "failed_trial", "retry_history"

# A heart that has missed so many beats stands still.
_MISSED = 6

# How often a config is tried again whose worker was lost. A config may be what kills it.
MOST_RETRIES = 3

INTERRUPTED = "interrupted"


class Watch:
    """What one process has seen of the hearts of the others.

    Args:
        clock: seconds, of this process alone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[int, tuple[object, float]] = {}
        self._patience: Patience | None = None

    def lost(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Return those of ``trials`` whose worker is lost."""
        running = [t for t in trials if t.state == TrialState.RUNNING and OWNER in t.system_attrs]
        now = self._clock()
        before, self._seen = self._seen, {}
        for trial in running:
            beat = trial.system_attrs.get(BEAT)
            known, since = before.get(trial._trial_id, (None, now))
            self._seen[trial._trial_id] = (beat, since if known == beat else now)
        return [trial for trial in running if self._is_lost(trial, now)]

    def _is_lost(self, trial: FrozenTrial, now: float) -> bool:
        owner = ProcessIdentity.read(trial.system_attrs[OWNER])
        if owner is None or owner.is_gone():
            return True
        if owner == ProcessIdentity.mine():
            return False
        _, since = self._seen[trial._trial_id]
        return now - max(since, self._back_at) > seconds_until_lost(trial)

    def during(self, patience: object) -> None:
        """Do not count time before ``patience`` last saw its database come back."""
        self._patience = patience if isinstance(patience, Patience) else None

    @property
    def _back_at(self) -> float:
        return float("-inf") if self._patience is None else self._patience.back_at


def release_lost_trials(study: optuna.Study, watch: Watch) -> None:
    """Fail the trials whose workers are lost, and let them wait once more.

    The caller holds the study's lock. A process that is killed in between leaves what the next one
    finds and finishes: a trial is marked before it fails, and repeated if it has failed so marked.
    """
    storage = storage_of(study)
    watch.during(patience_of(storage))
    for trial in watch.lost(study.get_trials(deepcopy=False)):
        worker = trial.user_attrs.get("worker", "unknown")
        reason = f"its worker {worker} was lost: killed, out of memory, or cut off"
        give_up(study, trial._trial_id, reason)
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.system_attrs.get(REPEATS) for trial in trials}
    for trial in trials:
        if _may_be_repeated(trial) and trial.number not in repeated:
            study.add_trial(_repetition(trial))


def give_up(study: optuna.Study, trial_id: int, reason: str) -> None:
    """Fail a trial that shall be run again; one that has finished meanwhile stays as it is."""
    storage = storage_of(study)
    try:
        set_trial_attrs(storage, trial_id, user={"error": reason}, system={GIVEN_UP: reason})
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        pass


def seconds_until_lost(trial: FrozenTrial) -> float:
    """Return after how many seconds without a beat the worker of ``trial`` is taken for lost."""
    beat = _beat(trial)
    return _MISSED * (DEFAULT_BEAT if beat is None else beat[1])


def seconds_since_beat(trial: FrozenTrial, now: float) -> float | None:
    """Return the seconds since the last beat, by two machines' clocks; None before the first."""
    beat = _beat(trial)
    return None if beat is None else max(now - beat[2], 0.0)


def _beat(trial: FrozenTrial) -> tuple[float, float, float] | None:
    """Return count, seconds between two beats, and the worker's time of the last one."""
    stored = trial.system_attrs.get(BEAT)
    if not isinstance(stored, list) or len(stored) != 3:
        return None
    return stored[0], stored[1], stored[2]


def _may_be_repeated(trial: FrozenTrial) -> bool:
    given_up = trial.state == TrialState.FAIL and GIVEN_UP in trial.system_attrs
    return given_up and bool(_known_params(trial)) and _losses(trial) <= MOST_RETRIES


def _losses(trial: FrozenTrial) -> int:
    """Count the workers that this config was lost with; being interrupted is no loss."""
    earlier = trial.system_attrs.get(_LOSSES, 0)
    return int(earlier) + int(trial.system_attrs[GIVEN_UP] != INTERRUPTED)


def _known_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters that ``trial`` was given, and those that it has drawn."""
    return {**trial.system_attrs.get(_FIXED, {}), **trial.params}


def _repetition(trial: FrozenTrial) -> FrozenTrial:
    attributes = trial.system_attrs
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={
            _FIXED: _known_params(trial),
            _FIRST: attributes.get(_FIRST, trial.number),
            HISTORY: [*attributes.get(HISTORY, []), trial.number],
            REPEATS: trial.number,
            _LOSSES: _losses(trial),
        },
    )
