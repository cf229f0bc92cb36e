"""What a trial leaves as files: its error by step and its losses by origin, as CSV artifacts."""

import csv
import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial

from foretune.datasets.splits import Development
from foretune.models.assessment import Assessment
from foretune.search.artifacts import load_artifact, save_artifact

ERRORS_BY_STEP = "errors_by_step.csv"
LOSSES_BY_ORIGIN = "losses_by_origin.csv"


def save_curves(trial: Trial, assessment: Assessment, folds: Sequence[Development]) -> None:
    """Store the curves of a running trial; floats are written so that they read back the same."""
    tables = {
        ERRORS_BY_STEP: errors_by_step(assessment),
        LOSSES_BY_ORIGIN: losses_by_origin(assessment, folds),
    }
    for name, table in tables.items():
        content = table.to_csv(index=False)
        save_artifact(trial.storage, trial, name, content, mimetype="text/csv")


def errors_by_step(assessment: Assessment) -> pd.DataFrame:
    """Return one row per step ahead; errors are of log prices."""
    return pd.DataFrame(
        {
            "step": np.arange(1, len(assessment.mse_by_step) + 1),
            "mse": assessment.mse_by_step,
            "persistence_mse": assessment.persistence_mse_by_step,
            "mae": assessment.mae_by_step,
        }
    )


def losses_by_origin(assessment: Assessment, folds: Sequence[Development]) -> pd.DataFrame:
    """Return one row per origin: the last day seen, and the losses in units of persistence's."""
    origins = [fold.dates[fold.split.validation_origins] for fold in folds]
    return pd.DataFrame(
        {
            "origin": np.concatenate(origins),
            "fold": np.repeat(np.arange(1, len(folds) + 1), [len(days) for days in origins]),
            "loss": assessment.losses,
            "persistence_loss": assessment.persistence_losses,
        }
    )


def load_losses(
    storage: BaseStorage, trial: FrozenTrial, column: str = "loss"
) -> NDArray[np.float64]:
    """Return a trial's losses by origin [O], to the last bit as they were stored.

    Args:
        storage: the study's.
        trial: one that has ended.
        column: ``loss``, or ``persistence_loss`` for those of persistence.

    Raises:
        ConfigError: the trial has stored none.
    """
    content = load_artifact(storage, trial, LOSSES_BY_ORIGIN).decode()
    # Not pandas, whose quick way to read a number can miss its last bit.
    return np.array([float(row[column]) for row in csv.DictReader(io.StringIO(content))])
