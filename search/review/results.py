"""What a finished study writes: best.toml, trials.csv and figures."""

import os
from pathlib import Path

import optuna
import pandas as pd

from foretune.datasets.common.files import make_folder, write_atomically
from foretune.datasets.prices import PriceSeries
from foretune.models.training.loop import best_epoch, fit
from foretune.models.training.results import FoldResults
from foretune.search.figures.study import (
    forecasts_figure,
    history_figure,
    learning_curves_figure,
    prices_figure,
)
from foretune.search.figures.style import literal, save_figure
from foretune.search.study.best import save_best, trial_config
from foretune.search.study.spec import OBJECTIVE_NAME, required_spec
from foretune.search.trial.record import OnEpoch


def write_results(
    study: optuna.Study,
    prices: PriceSeries,
    out: str | os.PathLike[str],
    *,
    on_epoch: OnEpoch | None = None,
) -> list[Path]:
    """Write a study's ``best.toml``, ``trials.csv`` and ``figures/*.png`` into the folder ``out``.

    The best trial is trained once more for its forecasts, with folds in the last one; the test part
    stays sealed.

    Args:
        study: a study of :func:`run_study` with a complete trial.
        prices: the prices it was run on.
        out: a folder, made where it is missing.
        on_epoch: called with (trial number, config, results) after every epoch.

    Returns:
        The files written.

    Raises:
        ConfigError: no complete trial, other prices, or a folder that cannot be written.

    Example:
        >>> write_results(study, load_sample("sp500"), "results")
    """
    spec = required_spec(study, prices)
    folder = make_folder(out)
    figures = make_folder(folder / "figures")
    best = save_best(study, folder / "best.toml", prices=prices)
    write_atomically(folder / "trials.csv", trials_table(study).to_csv(index=False))
    split = spec.split_days(len(prices))
    data = spec.development(prices)[-1]
    run, config = [], trial_config(best)
    for result in fit(config, data):
        run.append(result)
        if on_epoch is not None:
            on_epoch(best.number, config, FoldResults.of_one(result))
    chosen = best_epoch(run)
    which = "validation" if spec.split.folds == 1 else f"last fold's (of {spec.split.folds})"
    title = (
        f"{literal(prices.name)}: {which} forecasts of trial {best.number}, "
        f"epoch {chosen.epoch}, relative MSE {chosen.relative_mse:.4f}"
    )
    drawn = {
        "prices.png": prices_figure(prices, split),
        "history.png": history_figure(study),
        "validation_forecasts.png": forecasts_figure(data, chosen.forecasts, title=title),
        "learning_curves.png": learning_curves_figure(study, run),
    }
    for name, figure in drawn.items():
        save_figure(figures / name, figure)
    return [folder / "best.toml", folder / "trials.csv", *(figures / name for name in drawn)]


def trials_table(study: optuna.Study) -> pd.DataFrame:
    """Return one row per trial: number, state, value, parameters, and what the trial stored."""
    frame = study.trials_dataframe(attrs=("number", "state", "value", "params", "user_attrs"))
    frame = frame.drop(columns="user_attrs_config", errors="ignore")
    frame = frame.rename(columns={f"value_{OBJECTIVE_NAME}": "value"})
    return frame.rename(columns=lambda c: c.removeprefix("params_").removeprefix("user_attrs_"))
