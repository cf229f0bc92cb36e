"""What a trial leaves as files for a reviewer: config, error by step, losses by origin, figures."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.forecasts.intervals import conformal_widths
from foretune.models.forecasts.metrics import Assessment, validation_growth
from foretune.models.training.results import EpochResult
from foretune.search.figures.deferred import recipe
from foretune.search.figures.forecasts import ForecastWindow, Label
from foretune.search.storage.artifacts import artifact_names, load_artifact, save_artifacts

CONFIG = "config.toml"
FORECASTS = "forecasts.png"
LEARNING_CURVE = "learning_curve.png"
ERRORS_BY_STEP = "errors_by_step.csv"
LOSSES_BY_ORIGIN = "losses_by_origin.csv"

# More than the square of any number that a network puts out, and squared itself still a number.
MAX_LOSS = 1e100


def save_trial_files(
    trial: Trial,
    config: TrialConfig,
    history: Mapping[int, Sequence[EpochResult]],
    best: Sequence[EpochResult],
    folds: Sequence[DevelopmentData],
    assessment: Assessment,
) -> None:
    """Store the files of a running trial, all of them in one transaction.

    ``history`` holds every epoch of each fold; ``best``, ``folds`` and ``assessment`` are of those
    folds that the trial has seen.
    """
    title = (
        f"trial {trial.number}: relative MSE {assessment.metrics.relative_mse:.4f} on validation"
    )
    save_artifacts(
        trial.storage,
        trial,
        {
            CONFIG: config.to_toml(),
            # Floats are written so that they read back the same.
            ERRORS_BY_STEP: errors_by_step(assessment).to_csv(index=False),
            LOSSES_BY_ORIGIN: losses_by_origin(assessment, folds).to_csv(index=False),
            FORECASTS: recipe("forecasts", title=title, window=_window(best, folds).to_json()),
            LEARNING_CURVE: recipe("learning curve", title=title, folds=_curves(history, best)),
        },
    )


def _window(best: Sequence[EpochResult], folds: Sequence[DevelopmentData]) -> ForecastWindow:
    # Of one series, the first: a figure has no room for more.
    growth = np.concatenate([result.forecasts[0] for result in best])
    actual = np.concatenate([validation_growth(fold)[0] for fold in folds])
    last = folds[-1]
    return ForecastWindow.of_last(
        last.time,
        last.values[0],
        np.concatenate([fold.split.validation_origins for fold in folds]),
        growth,
        conformal_widths(growth, actual),
        overlap=last.split.overlap,
        space=last.spaces[0],
        label=Label.of(last),
    )


def _curves(
    history: Mapping[int, Sequence[EpochResult]], best: Sequence[EpochResult]
) -> list[dict[str, Any]]:
    return [
        {
            "fold": fold + 1,
            "epochs": [result.epoch for result in history[fold]],
            "values": [result.relative_mse for result in history[fold]],
            "losses": [result.train_loss for result in history[fold]],
            "best": chosen.epoch,
        }
        for fold, chosen in enumerate(best)
    ]


def errors_by_step(assessment: Assessment) -> pd.DataFrame:
    """Return one row per step ahead; errors are in the study's space."""
    return pd.DataFrame(
        {
            "step": np.arange(1, len(assessment.mse_by_step) + 1),
            "mse": assessment.mse_by_step,
            "persistence_mse": assessment.persistence_mse_by_step,
            "mae": assessment.mae_by_step,
        }
    )


def losses_by_origin(assessment: Assessment, folds: Sequence[DevelopmentData]) -> pd.DataFrame:
    """Return one row per origin: the last time seen, and the losses in units of persistence's."""
    first, *others = (fold.time[fold.split.validation_origins] for fold in folds)
    return pd.DataFrame(
        {
            "origin": first.append(others),
            "fold": np.repeat(np.arange(1, len(folds) + 1), [len(first), *map(len, others)]),
            "loss": assessment.losses,
            "persistence_loss": assessment.persistence_losses,
        }
    )


def load_losses(
    storage: BaseStorage, trial: FrozenTrial, *columns: str, origins: int | None = None
) -> list[NDArray[np.float64]]:
    """Return columns of a trial's losses by origin [O], to the last bit as they were stored.

    Args:
        storage: the study's.
        trial: one that has ended.
        columns: ``loss``, or ``persistence_loss`` for those of persistence.
        origins: how many there must be, O; None for any number.

    Raises:
        ConfigError: the trial has stored none, or the file is not what foretune writes.
    """
    if LOSSES_BY_ORIGIN not in artifact_names(storage, trial):
        raise ConfigError(f"trial {trial.number} must have stored {LOSSES_BY_ORIGIN}, but has not")
    content = load_artifact(storage, trial, LOSSES_BY_ORIGIN)
    what = f"{LOSSES_BY_ORIGIN} of trial {trial.number}"
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode())))
    except (csv.Error, ValueError):
        raise ConfigError(f"{what} must be a CSV file in UTF-8") from None
    losses = [_losses(rows, column, what) for column in columns]
    if origins not in (None, len(rows)):
        raise ConfigError(f"{what} must have {origins} origins, but has {len(rows)}")
    return losses


def _losses(rows: Sequence[Mapping[str, str]], column: str, what: str) -> NDArray[np.float64]:
    try:
        # Not pandas, whose quick way to read a number can miss its last bit.
        losses = np.array([float(row[column]) for row in rows])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{what} must be a CSV file with a {column!r} in each line") from None
    # A NaN is no number between others.
    wrong = losses[~((losses >= 0) & (losses <= MAX_LOSS))]
    if len(losses) == 0 or len(wrong):
        found = "none" if len(losses) == 0 else f"{wrong[0]}"
        raise ConfigError(
            f"{what} must have a {column} from 0 to {MAX_LOSS:g} in each line, but has {found}"
        )
    return losses
