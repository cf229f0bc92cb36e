"""Trials whose worker is lost: failed, and put in line once more.

A worker that was taken for lost and is not finds its trial failed, and lets go of it.
"""

from collections.abc import Callable
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState, create_trial

from foretune.search.checkpoint_rows import forget_checkpoints
from foretune.search.storage.attributes import set_trial_attrs
from foretune.search.storage.connect import storage_of
from foretune.search.trial_marks import (
    FIRST,
    FIXED,
    GIVEN_UP,
    HISTORY,
    LOSSES,
    REPEATS,
    earlier_trials,
)
from foretune.search.watch import Watch

# How often a config is tried again whose worker was lost. A config may be what kills it.
MOST_RETRIES = 3

INTERRUPTED = "interrupted"


def release_lost_trials(
    study: optuna.Study, watch: Watch, held: Callable[[], bool] = lambda: True
) -> list[FrozenTrial]:
    """Fail the trials whose workers are lost, and let them wait once more.

    The caller holds the study's lock, and ``held`` tells whether it still does. A process that is
    killed in between leaves what the next one finds and finishes: a trial is marked before it
    fails, and repeated if it has failed so marked.

    Returns:
        The study's trials, as they are then.
    """
    trials = study.get_trials(deepcopy=False)
    if lost := watch.lost(trials):
        for trial in lost:
            worker = trial.user_attrs.get("worker", "unknown")
            _fail(study, trial, f"its worker {worker} was lost: killed, out of memory, or cut off")
        trials = study.get_trials(deepcopy=False)
        for trial in (trials[earlier.number] for earlier in lost):
            if trial.state == TrialState.FAIL and not may_be_repeated(trial):
                forget_checkpoints(storage_of(study), study._study_id, trial)
    if _mend_repetitions(study, trials, held):
        trials = study.get_trials(deepcopy=False)
    return trials


def _mend_repetitions(
    study: optuna.Study, trials: list[FrozenTrial], held: Callable[[], bool]
) -> bool:
    """See that every trial which was given up is repeated once; returns whether any was not."""
    mended = False
    repeated = {_repeats(trial) for trial in trials if _is_first(trial, trials)}
    for trial in trials:
        if trial.state == TrialState.WAITING and not _is_first(trial, trials):
            # The answer to a write was lost, and it was made again.
            storage_of(study).set_trial_state_values(trial._trial_id, TrialState.FAIL)
            mended = True
        elif may_be_repeated(trial) and trial.number not in repeated:
            if not held():
                return mended
            study.add_trial(_repetition(trial))
            mended = True
    return mended


def give_up(study: optuna.Study, trial_id: int, reason: str) -> None:
    """Fail a trial that shall be run again; one that has finished meanwhile stays as it is."""
    storage = storage_of(study)
    try:
        set_trial_attrs(storage, trial_id, user={"error": reason}, system={GIVEN_UP: reason})
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        pass


def may_be_repeated(trial: FrozenTrial) -> bool:
    """Whether ``trial`` was given up and its config is not beyond hope."""
    given_up = trial.state == TrialState.FAIL and GIVEN_UP in trial.system_attrs
    return given_up and bool(_known_params(trial)) and _losses(trial) <= MOST_RETRIES


def has_been_repeated(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Whether a trial that repeats ``trial`` has come to its end."""
    return any(
        trial.number in earlier_trials(later)
        and later.state.is_finished()
        and GIVEN_UP not in later.system_attrs
        for later in study.get_trials(deepcopy=False)
    )


def _fail(study: optuna.Study, trial: FrozenTrial, reason: str) -> None:
    if "non_finite" not in trial.user_attrs:
        give_up(study, trial._trial_id, reason)
        return
    # It had come to its end, and would come to the same.
    storage_of(study).set_trial_state_values(trial._trial_id, TrialState.FAIL)


def _is_first(trial: FrozenTrial, trials: list[FrozenTrial]) -> bool:
    """Whether no trial before ``trial`` repeats what it repeats."""
    repeats = _repeats(trial)
    if repeats is None:
        return True
    return not any(_repeats(earlier) == repeats for earlier in trials[: trial.number])


def _repeats(trial: FrozenTrial) -> int | None:
    """Return the number of the trial that ``trial`` repeats."""
    number = trial.system_attrs.get(REPEATS)
    return number if type(number) is int else None


def _losses(trial: FrozenTrial) -> int:
    """Count the workers that this config was lost with; being interrupted is no loss."""
    earlier = trial.system_attrs.get(LOSSES, 0)
    counted = earlier if type(earlier) is int else 0
    return counted + int(trial.system_attrs[GIVEN_UP] != INTERRUPTED)


def _known_params(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters that ``trial`` was given, and those that it has drawn."""
    given = trial.system_attrs.get(FIXED)
    return {**(given if isinstance(given, dict) else {}), **trial.params}


def _of_the_sampler(trial: FrozenTrial) -> dict[str, Any]:
    """Return what the sampler knows the trial by; Optuna's for grids wants it again."""
    others = ("foretune:", "artifacts:", "dashboard:")
    return {
        name: value for name, value in trial.system_attrs.items() if not name.startswith(others)
    }


def _repetition(trial: FrozenTrial) -> FrozenTrial:
    first = trial.system_attrs.get(FIRST)
    return create_trial(
        state=TrialState.WAITING,
        system_attrs={
            **_of_the_sampler(trial),
            FIXED: _known_params(trial),
            FIRST: trial.number if first is None else first,
            HISTORY: [*earlier_trials(trial), trial.number],
            REPEATS: trial.number,
            LOSSES: _losses(trial),
        },
    )
