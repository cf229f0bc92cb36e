"""What a trial leaves as files for a reviewer: config, error by step, losses by origin, figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from optuna.trial import Trial

from foretune.datasets.splits import DevelopmentData
from foretune.datasets.transforms import levels_of
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecasts.intervals import adaptive_widths, volatility_by_series
from foretune.models.forecasts.metrics import (
    METRICS,
    Assessment,
    errors_by_series,
    validation_growth,
)
from foretune.models.training.results import EpochResult
from foretune.search.figures.deferred import recipe
from foretune.search.figures.forecasts import ForecastWindow, Label, to_show
from foretune.search.storage.artifacts import save_artifacts
from foretune.search.study.losses import LOSSES_BY_ORIGIN
from foretune.search.study.spec import OBJECTIVE_NAME, format_value

CONFIG = "config.toml"
FORECASTS = "forecasts.png"
LEARNING_CURVE = "learning_curve.png"
ERRORS_BY_STEP = "errors_by_step.csv"


def save_trial_files(
    trial: Trial,
    config: TrialConfig,
    history: Mapping[int, Sequence[EpochResult]],
    best: Sequence[EpochResult],
    folds: Sequence[DevelopmentData],
    assessment: Assessment,
    metric: MetricName = OBJECTIVE_NAME,
) -> None:
    """Store the files of a running trial, all of them in one transaction.

    ``history`` holds every epoch of each fold, ``best`` the best one with its forecasts, and
    ``metric`` is what a trial's value is.
    """
    label, value = METRICS[metric].label, format_value(assessment.metrics.of(metric), metric, 4)
    title = f"trial {trial.number}: {label} {value} on validation"
    curves: dict[str, Any] = {"title": title, "folds": _curves(history, best)}
    if metric != OBJECTIVE_NAME:
        curves |= {"label": label, "persistence": assessment.persistence}
    # A figure has room for the forecasts of one series: of three places, the median.
    places = [*to_show(errors_by_series(folds, [r.forecasts for r in best], metric)).items()]
    shown, place = places[len(places) // 2]
    whose = f"\n{folds[-1].names[shown]}, {place} series" if len(places) > 1 else ""
    save_artifacts(
        trial.storage,
        trial,
        {
            CONFIG: config.to_toml(),
            # Floats are written so that they read back the same.
            ERRORS_BY_STEP: errors_by_step(assessment).to_csv(index=False),
            LOSSES_BY_ORIGIN: losses_by_origin(assessment, folds).to_csv(index=False),
            FORECASTS: recipe(
                "forecasts", title=title + whose, window=_window(best, folds, shown).to_json()
            ),
            LEARNING_CURVE: recipe("learning curve", **curves),
        },
    )


def _window(
    best: Sequence[EpochResult], folds: Sequence[DevelopmentData], series: int
) -> ForecastWindow:
    """Return the last validation forecasts of one series."""
    last = folds[-1]
    growth = np.concatenate([result.forecasts for result in best], axis=1)
    actual = np.concatenate([validation_growth(fold) for fold in folds], axis=1)
    origins = np.concatenate([fold.split.validation_origins for fold in folds])
    levels = levels_of(last.spaces, last.values)
    (widths,) = adaptive_widths(
        np.abs(growth - actual),
        origins,
        volatility_by_series(levels, last.firsts)[:, origins],
        overlap=last.split.overlap,
        only=slice(series, series + 1),
    )
    return ForecastWindow.of_last(
        last.time,
        last.values[series],
        origins,
        growth[series],
        widths,
        overlap=last.split.overlap,
        space=last.spaces[series],
        label=Label.of(last),
    )


def _curves(
    history: Mapping[int, Sequence[EpochResult]], best: Sequence[EpochResult]
) -> list[dict[str, Any]]:
    return [
        {
            "fold": fold + 1,
            "epochs": [result.epoch for result in history[fold]],
            "values": [result.value for result in history[fold]],
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
