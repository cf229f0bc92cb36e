"""What a finished study writes: best.toml, trials.csv and figures."""

import os
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from foretune.datasets.common.files import make_folder, write_atomically
from foretune.models.forecasts.metrics import METRICS, errors_by_series
from foretune.models.training.folds import FoldsTraining
from foretune.search.figures.forecasts import Label, to_show
from foretune.search.figures.study import (
    forecasts_figure,
    history_figure,
    learning_curves_figure,
    series_figure,
)
from foretune.search.figures.style import literal, save_figure
from foretune.search.study.baselines import keep_baselines, stored_baselines
from foretune.search.study.best import save_best, trial_config
from foretune.search.study.data import study_data
from foretune.search.study.spec import format_value, required_spec, study_metric
from foretune.search.trial.record import OnEpoch


def write_results(
    study: optuna.Study,
    data: Any = None,
    out: str | os.PathLike[str] = "results",
    *,
    prices: Any = None,
    on_epoch: OnEpoch | None = None,
) -> list[Path]:
    """Write a study's ``best.toml``, ``trials.csv`` and ``figures/*.png`` into the folder ``out``.

    The best trial is trained once more for its forecasts, of several folds those of the last one;
    the test part stays sealed.

    Args:
        study: a study of :func:`run_study` with a complete trial.
        data: the data it was run on, as :func:`run_study` took them; None for those that the study
            holds, or knows the place of.
        out: a folder, made where it is missing.
        prices: the same as ``data``, as it was first called.
        on_epoch: called with (trial number, config, results) after every epoch.

    Returns:
        The files written.

    Raises:
        ConfigError: no complete trial, other data, or a folder that cannot be written.

    Example:
        >>> write_results(study, load_sample("sp500"), "results")
    """
    held = study_data(study, data if prices is None else prices)
    spec, series = required_spec(study), held.development
    folder = make_folder(out)
    figures = make_folder(folder / "figures")
    best = save_best(study, folder / "best.toml", held)
    folds = spec.development(series)
    part = folds[-1]
    keep_baselines(study, folds)  # of a study that an earlier version ran
    write_atomically(folder / "trials.csv", trials_table(study).to_csv(index=False))
    run, config = [], trial_config(best)
    # The last fold's epoch depends on the others where they share one.
    parts = folds if spec.split.shared_epoch else folds[-1:]
    for results in FoldsTraining(config, parts, metric=spec.metric):
        run.append(results.folds[-1])
        if on_epoch is not None:
            on_epoch(best.number, config, results)
    chosen = [result for result in run if result.is_best][-1]
    which = "validation" if spec.split.folds == 1 else f"last fold's (of {spec.split.folds})"
    title = (
        f"{literal(series.name)}: {which} forecasts of trial {best.number}, "
        f"epoch {chosen.epoch}, {METRICS[spec.metric].label} "
        f"{format_value(chosen.value, spec.metric, 4)}"
    )
    shown = to_show(errors_by_series([part], [chosen.forecasts], spec.metric))
    figure_name = "prices.png" if series.error_space == "log" else "series.png"
    drawn = {
        figure_name: series_figure(held, spec.whole_split, [*shown]),
        "history.png": history_figure(study),
        "validation_forecasts.png": forecasts_figure(
            part, chosen.forecasts, title=title, label=Label.of(spec.prices), shown=shown
        ),
        "learning_curves.png": learning_curves_figure(study, run),
    }
    for name, figure in drawn.items():
        save_figure(figures / name, figure)
    return [folder / "best.toml", folder / "trials.csv", *(figures / name for name in drawn)]


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per trial: number, state, value, parameters, and what the trial stored.

    Below them is one row per baseline: its name in the column ``baseline``, and its metrics. The
    value is the relative MSE; of a study that chose another, the column ``metric`` names it.
    """
    metric = study_metric(study)
    frame = study.trials_dataframe(attrs=("number", "state", "value", "params", "user_attrs"))
    frame = frame.drop(columns="user_attrs_config", errors="ignore")
    frame = frame.rename(columns={f"value_{metric}": "value"})
    frame = frame.rename(columns=lambda c: c.removeprefix("params_").removeprefix("user_attrs_"))
    baselines = [
        {"baseline": name, "state": "BASELINE", "value": metrics[metric], **metrics}
        for name, metrics in stored_baselines(study, metric).items()
    ]
    if not baselines:
        return frame
    # Whole numbers stay whole where a baseline has none.
    whole = dict.fromkeys(frame.select_dtypes("integer"), "Int64")
    return pd.concat([frame.astype(whole), pd.DataFrame(baselines)], ignore_index=True)
