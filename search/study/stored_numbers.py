"""Numbers that trials store, read as such whatever else is stored under their name."""

import math

import optuna
from optuna.trial import FrozenTrial


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


def stored_numbers(study: optuna.Study, name: str) -> list[float]:
    """Return that of every trial of ``study`` that has one."""
    found = (stored_number(trial, name) for trial in study.get_trials(deepcopy=False))
    return [value for value in found if value is not None]
