"""What the trials of a study hold, and which of them count."""

import math
from collections import Counter

import optuna
from optuna.trial import FrozenTrial, TrialState

from foretune.search.storage.version1 import is_retried
from foretune.search.study.spec import OBJECTIVE_NAME

# The attribute of a trial that a driver runs, a new value each time that one takes it.
DRIVER_MARK = "foretune:driver"

# The attribute of a trial that no worker could bring to its end.
LOST = "lost"


def finished_trials(study: optuna.Study) -> int:
    """Count the trials that need not be run again: complete, pruned, or failed for good.

    A trial fails for good when its loss was not finite, or when every worker that trained it was
    lost. One that was interrupted or that an exception ended does not count, and another takes its
    place.

    Example:
        >>> finished_trials(load_study("sp500"))
        30
    """
    return sum(map(is_finished, study.get_trials(deepcopy=False)))


def is_finished(trial: FrozenTrial) -> bool:
    """Whether ``trial`` counts towards the total of its study."""
    if trial.state == TrialState.FAIL:
        return "non_finite" in trial.user_attrs or LOST in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def counted_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials of ``study`` without those that were run again as another trial."""
    return [trial for trial in study.get_trials(deepcopy=False) if not is_retried(trial)]


def format_states(study: optuna.Study) -> str:
    """Count the trials of ``study`` by state, in words."""
    counts = Counter(trial.state.name.lower() for trial in counted_trials(study))
    return ", ".join(f"{count} {state}" for state, count in counts.most_common())


def stored_number(trial: FrozenTrial, name: str) -> float | None:
    """Return the finite number that ``trial`` stores as its user attribute ``name``.

    Anyone may store anything there; what is no finite number is None, as is nothing at all.

    Example:
        >>> stored_number(study.trials[0], "relative_mse")
        0.9841
    """
    value = trial.user_attrs.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None


def fold_values(trial: FrozenTrial) -> list[float]:
    """Return the relative MSE of each fold that ``trial`` was trained on; none where one was."""
    values: list[float] = []
    while (value := stored_number(trial, f"{OBJECTIVE_NAME}_fold_{len(values) + 1}")) is not None:
        values.append(value)
    return values


def steps_are_folds(trial: FrozenTrial) -> bool:
    """Whether the steps that ``trial`` reported are folds, as once under the Wilcoxon pruner."""
    values = fold_values(trial)
    return bool(values) and list(trial.intermediate_values.values()) == values


def stored_numbers(study: optuna.Study, name: str) -> list[float]:
    """Return that of every trial of ``study`` that has one."""
    found = (stored_number(trial, name) for trial in study.get_trials(deepcopy=False))
    return [value for value in found if value is not None]
