"""What a trial leaves as files: its error by step and its losses by origin, as CSV artifacts."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
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


def load_curves(storage: BaseStorage, trial: FrozenTrial, name: str) -> pd.DataFrame:
    """Read one of a trial's tables.

    Raises:
        ConfigError: the trial has none of that name.
    """
    content = load_artifact(storage, trial, name)
    return pd.read_csv(io.BytesIO(content), float_precision="round_trip")
