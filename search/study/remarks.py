"""What a trial's epochs say about its config, in sentences."""

from optuna.trial import FrozenTrial

from foretune.datasets.common.errors import ForetuneError
from foretune.models.forecasts.metrics import METRICS
from foretune.search.study.best import trial_config
from foretune.search.study.spec import OBJECTIVE_NAME
from foretune.search.study.trials import stored_number

# The attribute of a trial with a linear skip: the value of that regression alone, its epoch 0.
RIDGE_VALUE = "ridge_value"


def ridge_value(trial: FrozenTrial) -> float | None:
    """Return the value of the ridge regression that the network of ``trial`` starts at, if any."""
    return stored_number(trial, RIDGE_VALUE)


def training_remarks(trial: FrozenTrial) -> list[str]:
    """Say what a network adds to its regression, and whether it was trained for long enough.

    Args:
        trial: one that has ended.

    Example:
        >>> training_remarks(best_trial(study))
        ['The network of trial 7 takes the ridge regression that it starts at from relative MSE
        0.326 to 0.282']
    """
    remarks = []
    ridge, best = ridge_value(trial), stored_number(trial, "best_epoch")
    metric = str(trial.user_attrs.get("metric", OBJECTIVE_NAME))
    value = stored_number(trial, metric)
    name = METRICS[metric].label if metric in METRICS else metric
    network = f"The network of trial {trial.number}"
    if ridge is not None and best == 0:
        remarks.append(
            f"{network} adds nothing to the ridge regression that it starts at: epoch 0, before "
            f"any training, was its best ({name} {ridge:.4g})"
        )
    elif ridge is not None and value is not None:
        before, after = f"{ridge:.4g}", f"{value:.4g}"
        moved = f"from {name} {before} to {after}"
        remarks.append(
            f"{network} takes the ridge regression that it starts at {moved}"
            if before != after
            else f"{network} adds next to nothing to the ridge regression that it starts at: both "
            f"have {name} {after}"
        )
    try:
        most = trial_config(trial).epochs
    except ForetuneError:  # a trial that was added by hand may have no config
        return remarks
    if best == most:
        remarks.append(f"The best epoch of trial {trial.number} was its last, {most}: raise epochs")
    return remarks
