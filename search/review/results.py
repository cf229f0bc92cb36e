"""What a finished study writes: best.toml, trials.csv and figures."""

import os
from pathlib import Path

import optuna
import pandas as pd
from matplotlib.figure import Figure

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.files import write_atomically
from foretune.datasets.prices import PriceSeries
from foretune.models.training.loop import best_epoch, fit
from foretune.search.figures.study import (
    forecasts_figure,
    history_figure,
    learning_curves_figure,
    prices_figure,
)
from foretune.search.figures.style import literal
from foretune.search.study.best import save_best, trial_config
from foretune.search.study.spec import OBJECTIVE_NAME, required_spec


def write_results(
    study: optuna.Study, prices: PriceSeries, out: str | os.PathLike[str]
) -> list[Path]:
    """Write a study's ``best.toml``, ``trials.csv`` and ``figures/*.png`` into the folder ``out``.

    The best trial is trained once more for its forecasts, with folds in the last one; the test part
    stays sealed.

    Args:
        study: a study of :func:`run_study` with a complete trial.
        prices: the prices it was run on.
        out: a folder, made where it is missing.

    Returns:
        The files written.

    Raises:
        ConfigError: no complete trial, other prices, or a folder that cannot be written.

    Example:
        >>> write_results(study, load_sample("sp500"), "results")
    """
    spec = required_spec(study)
    spec.require_prices(prices, study.study_name)
    folder = make_folder(out)
    figures = make_folder(folder / "figures")
    best = save_best(study, folder / "best.toml", prices=prices)
    table = trials_table(study)
    write_atomically(folder / "trials.csv", lambda path: table.to_csv(path, index=False))
    split = spec.split.split(len(prices), history=spec.space.history)
    data = spec.split.development(prices, history=spec.space.history)[-1]
    run = list(fit(trial_config(best), data))
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


def require_writable(path: str | os.PathLike[str]) -> Path:
    """Refuse a folder that could not be made and written to, without making it.

    Raises:
        ConfigError: something on the way to it is no folder or is read-only.
    """
    folder = Path(path)
    try:
        existing = next(p for p in (folder, *folder.absolute().parents) if _is_there(p))
    except OSError as error:
        raise ConfigError(f"out must be a folder's path: {error.strerror or error}") from None
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"out must be a folder to write to, but {existing} is not one")
    return folder


def _is_there(path: Path) -> bool:
    """Whether something is there, be it a link that leads nowhere: no folder can be made of it."""
    return path.exists() or path.is_symlink()


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder to write to, and those above it, where they are missing.

    Raises:
        ConfigError: it cannot be made.
    """
    folder = require_writable(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"out cannot be made: {folder}: {error.strerror or error}") from None
    return folder


def save_figure(path: Path, figure: Figure) -> None:
    """Write ``figure`` as PNG, whole or not at all."""
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))
