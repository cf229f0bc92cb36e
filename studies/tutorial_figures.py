"""The figures of the tutorial: prices, averages, forecasts over epochs, both columns."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foretune.datasets.splits import DevelopmentData
from foretune.models import EpochResult, TrialConfig
from foretune.models.forecasts.baselines import (
    Baseline,
    ExponentialAverage,
    StandardAverage,
    one_step_forecasts,
)
from foretune.models.forecasts.scoring import scale
from foretune.search.figures.style import BLACK, BLUE, GREY, ORANGE, WIDTH, save_figure

PRICE = "mid price (currency of the source)"
SCALED = "scaled mid price (0 to 1 in each training window)"


def save_all(
    folder: Path,
    config: TrialConfig,
    data: DevelopmentData,
    run: Sequence[EpochResult],
    document: Mapping[str, Any],
) -> None:
    """Write every figure of the tutorial into ``folder``."""
    best = min(run, key=lambda result: result.half_mse)
    figures = {
        "prices.png": prices_figure(data),
        "averages.png": averages_figure(config, data),
        "evolution.png": evolution_figure(data, run),
        "best_epoch.png": best_epoch_figure(data, best),
        "comparison.png": comparison_figure(document, document["corrected"]),
    }
    for name, figure in figures.items():
        save_figure(folder / name, figure)


def prices_figure(data: DevelopmentData) -> Figure:
    """Draw the mid price with a date every 500 days (the tutorial's step 2)."""
    figure = Figure(figsize=(18, 9), layout="constrained")
    axes = figure.subplots()
    (values,) = data.values
    days = np.arange(len(values))
    axes.plot(days, values, color=BLUE)
    axes.axvspan(0, data.split.train_stop, color=GREY, alpha=0.12, linewidth=0, label="train")
    axes.set_xticks(days[::500], [str(date) for date in data.dates[::500]], rotation=45)
    axes.set_xlabel("date", fontsize=18)
    axes.set_ylabel(PRICE, fontsize=18)
    axes.tick_params(labelsize=14)
    axes.legend(fontsize=18)
    return figure


def averages_figure(config: TrialConfig, data: DevelopmentData) -> Figure:
    """Draw both one-day averages over the smoothed training days (steps 7 and 8)."""
    figure = Figure(figsize=(WIDTH, 8.0), layout="constrained")
    train = scale(config, data.values, data.split.train_stop).inputs[0, : data.split.train_stop]
    rules: tuple[Baseline, ...] = (StandardAverage(), ExponentialAverage())
    for axes, rule in zip(figure.subplots(2, 1), rules, strict=True):
        forecasts = one_step_forecasts(rule, train)
        axes.plot(data.dates[: len(train)], train, color=BLACK, linewidth=0.9, label="smoothed")
        dates = data.dates[rule.history : len(train)]
        axes.plot(dates, forecasts, color=ORANGE, linewidth=0.9, label="one day ahead")
        half = 0.5 * np.mean(np.square(forecasts - train[rule.history :]))
        axes.set(xlabel="date", ylabel=SCALED, title=f"{rule.name}: ½ MSE {half:.7f}")
        axes.legend(loc="upper left")
    return figure


def evolution_figure(data: DevelopmentData, run: Sequence[EpochResult]) -> Figure:
    """Draw the test forecasts of a few epochs, older ones fainter (step 14)."""
    figure = Figure(figsize=(WIDTH, 4.5), layout="constrained")
    axes = figure.subplots()
    _draw_actual(axes, data)
    shown = np.unique(np.linspace(0, len(run) - 1, min(len(run), 6)).astype(int))
    for order, number in enumerate(shown, start=1):
        alpha = order / len(shown)
        _draw_paths(axes, data, run[number], ORANGE, alpha, f"epoch {run[number].epoch}")
    axes.set_title("test forecasts over the epochs, 50 days from each of 20 origins")
    axes.legend(loc="upper left", ncols=2)
    return figure


def best_epoch_figure(data: DevelopmentData, best: EpochResult) -> Figure:
    """Draw the forecasts of the epoch that looks best on the test (step 14)."""
    figure = Figure(figsize=(WIDTH, 4.5), layout="constrained")
    axes = figure.subplots()
    _draw_actual(axes, data)
    _draw_paths(axes, data, best, ORANGE, 1.0, f"forecast of epoch {best.epoch}")
    axes.set_title(f"the best epoch, chosen on test: ½ MSE {best.half_mse:.6f}")
    axes.legend(loc="upper left")
    return figure


def comparison_figure(printed: Mapping[str, Any], corrected: Mapping[str, Any]) -> Figure:
    """Draw the tutorial's errors beside everything on equal footing.

    Args:
        printed: the tutorial's numbers, keys as in ``tutorial.json``.
        corrected: its ``corrected`` object.
    """
    figure = Figure(figsize=(WIDTH, 7.0), layout="constrained")
    above, below = figure.subplots(2, 1)
    _draw_printed(above, printed)
    names = sorted(corrected["test"], key=corrected["test"].__getitem__, reverse=True)
    rows = np.arange(len(names))
    for offset, part, colour in ((0.2, "validation", GREY), (-0.2, "test", BLUE)):
        values = [corrected[part][name] for name in names]
        bars = below.barh(rows + offset, values, height=0.38, color=colour, label=part)
        below.bar_label(bars, fmt="%.3f", padding=3)
    below.axvline(1.0, color=BLACK, linestyle="--", linewidth=1)
    below.set_yticks(rows, names)
    below.set_xlabel("relative MSE, 1 to 50 days ahead (persistence = 1; lower is better)")
    below.set_title("put right: everything at the same origins, epoch chosen on validation")
    below.margins(x=0.1)
    below.legend(loc="upper right")
    return figure


def _draw_printed(axes: Axes, printed: Mapping[str, Any]) -> None:
    """Draw the tutorial's errors, each with what it is an error of."""
    rows = {
        "lstm\n50 days ahead, test\nepoch chosen on it": min(printed["lstm_half_mse_by_epoch"]),
        "persistence\n50 days ahead, test\n(not reported)": printed["persistence_half_mse"],
        "standard average\n1 day ahead,\nsmoothed training": printed["standard_average_half_mse"],
        "exponential average\n1 day ahead,\nsmoothed training": printed["ema_half_mse"],
    }
    bars = axes.barh(list(rows), list(rows.values()), color=ORANGE, height=0.6)
    axes.bar_label(bars, fmt="%.6f", padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel("½ MSE in scaled units (log scale)")
    axes.set_title("as printed: errors of different things, which do not compare")


def _draw_actual(axes: Axes, data: DevelopmentData) -> None:
    days = slice(data.split.validation_start - 100, data.split.validation_stop)
    axes.plot(data.dates[days], data.values[0, days], color=BLACK, linewidth=0.9, label="mid price")
    axes.set(xlabel="date", ylabel=PRICE)


def _draw_paths(
    axes: Axes, data: DevelopmentData, result: EpochResult, colour: str, alpha: float, label: str
) -> None:
    for number, origin in enumerate(data.split.validation_origins):
        dates = data.dates[origin + 1 : origin + 1 + result.forecasts.shape[2]]
        path = data.values[0, origin] * np.exp(result.forecasts[0, number])
        axes.plot(
            dates, path, color=colour, alpha=alpha, linewidth=1.5, label=None if number else label
        )
