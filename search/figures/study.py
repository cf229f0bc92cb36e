"""The figures of a study, for people: labelled axes, units, marked splits."""

from collections.abc import Sequence

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.trial import TrialState

from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import DevelopmentData, Split
from foretune.datasets.transforms import prices_after
from foretune.models.training.results import EpochResult
from foretune.search.figures.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    WIDTH,
    literal,
    whole_number_ticks,
)
from foretune.search.study.spec import OBJECTIVE_NAME
from foretune.search.study.stored_numbers import stored_number

VALUE_LABEL = "validation relative MSE (persistence = 1)"


def prices_figure(prices: PriceSeries, split: Split) -> Figure:
    """Draw the mid price with the parts of the split; the sealed test is left blank."""
    figure, axes = _figure(4.0)
    days = slice(0, split.validation_stop)
    axes.semilogy(prices.dates[days], prices.mid[days], color=BLACK, linewidth=0.8)
    parts = (
        ("train", 0, split.train_stop, BLUE),
        ("validation", split.validation_start, split.validation_stop, ORANGE),
        ("test (sealed)", split.test_start, split.length, GREY),
    )
    for name, start, stop, colour in parts:
        first, last = prices.dates[start], prices.dates[stop - 1]
        axes.axvspan(first, last, color=colour, alpha=0.15, linewidth=0)
        middle = prices.dates[(start + stop - 1) // 2]
        above = axes.get_xaxis_transform()
        axes.text(middle, 1.01, name, transform=above, ha="center", va="bottom")
    axes.set(xlabel="date", ylabel="mid price (currency of the source, log scale)")
    figure.suptitle(
        f"{literal(prices.name)}: {split.length:,} days; gaps of {split.horizon} days between"
    )
    return figure


def history_figure(study: optuna.Study) -> Figure:
    """Draw every trial's best validation value, the best so far, and persistence at 1."""
    figure, axes = _figure(4.0)
    # Anyone may have added a trial: what has no number to draw is left out.
    every = study.get_trials(deepcopy=False)
    stored = ((t.number, stored_number(t, OBJECTIVE_NAME)) for t in every)
    shown = {number: value for number, value in stored if value is not None}
    trials = [t for t in every if t.number in shown]
    for state, marker, label in (
        (TrialState.COMPLETE, "o", "complete"),
        (TrialState.PRUNED, "x", "pruned (its best epoch)"),
    ):
        chosen = [t for t in trials if t.state == state]
        values = [shown[t.number] for t in chosen]
        axes.plot([t.number for t in chosen], values, marker, color=BLUE, label=label)
    complete = [t for t in every if t.state == TrialState.COMPLETE]
    finite = {t.number: t.value for t in complete if t.value is not None and np.isfinite(t.value)}
    best = np.minimum.accumulate(list(finite.values()))
    axes.step(list(finite), best, where="post", color=ORANGE, label="best so far")
    axes.axhline(1.0, color=BLACK, linestyle="--", linewidth=1, label="persistence")
    axes.set(xlabel="trial number", ylabel=VALUE_LABEL)
    _clip_outliers(axes, list(shown.values()))
    axes.set_title(f"study {literal(study.study_name)}: {len(complete)} of {len(every)} complete")
    whole_number_ticks(axes)
    axes.legend(loc="upper right")
    return figure


def learning_curves_figure(study: optuna.Study, best_run: Sequence[EpochResult]) -> Figure:
    """Draw all trials' validation values by epoch, and the best trial's training loss."""
    figure = Figure(figsize=(WIDTH, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    curves = [t.intermediate_values for t in study.get_trials(deepcopy=False)]
    for number, curve in enumerate(c for c in curves if c):
        label = "other trials" if number == 0 else None
        left.plot(list(curve), list(curve.values()), color=GREY, linewidth=0.8, label=label)
    epochs = [result.epoch for result in best_run]
    values = [result.relative_mse for result in best_run]
    left.plot(epochs, values, color=ORANGE, marker="o", markersize=3, label="best trial")
    left.axhline(1.0, color=BLACK, linestyle="--", linewidth=1, label="persistence")
    left.set(xlabel="epoch", ylabel=VALUE_LABEL, title="validation, all trials")
    _clip_outliers(left, [value for curve in curves for value in curve.values()])
    left.legend(loc="upper right")
    losses = [result.train_loss for result in best_run]
    right.plot(epochs, losses, color=ORANGE, marker="o", markersize=3)
    right.set(
        xlabel="epoch",
        ylabel="training loss (½ squared scaled error,\nsummed over the unroll)",
        title="training, best trial",
    )
    for axes in (left, right):
        whole_number_ticks(axes)
    return figure


def forecasts_figure(
    data: DevelopmentData, forecasts: NDArray[np.float64], *, title: str, closer: int = 6
) -> Figure:
    """Draw validation forecasts over the prices that came.

    Args:
        data: training and validation days.
        forecasts: log growth since each validation origin [O, H].
        title: what the figure shows.
        closer: how many of the last forecasts the lower panel shows.
    """
    figure = Figure(figsize=(WIDTH, 7.0), layout="constrained")
    whole, close = figure.subplots(2, 1)
    split = data.split
    # Of overlapping forecasts only those are drawn that follow one another.
    every = -(-split.horizon // split.stride)
    origins = split.validation_origins[::every]
    paths = prices_after(forecasts[::every], origins, data.values)
    _draw_forecasts(whole, data, origins, paths)
    _draw_forecasts(close, data, origins[-closer:], paths[-closer:])
    whole.set_title(title)
    close.set_title(f"the last {min(closer, len(origins))} of them")
    whole.legend(loc="upper left")
    return figure


def _draw_forecasts(
    axes: Axes, data: DevelopmentData, origins: NDArray[np.int32], paths: NDArray[np.float64]
) -> None:
    """Draw prices, and one forecast path and persistence per origin."""
    horizon = paths.shape[1]
    days = slice(origins[0], origins[-1] + horizon + 1)
    axes.plot(data.dates[days], data.values[days], color=BLACK, linewidth=0.9, label="mid price")
    for number, (origin, path) in enumerate(zip(origins, paths, strict=True)):
        dates = data.dates[origin : origin + horizon + 1]
        start = data.values[origin]
        label = None if number else f"forecast, {horizon} days ahead"
        axes.plot(dates, [start, *path], color=ORANGE, linewidth=1.6, label=label)
        label = None if number else "persistence"
        axes.plot(
            dates[[0, -1]], [start, start], color=BLUE, linestyle=":", linewidth=1.2, label=label
        )
    axes.set(xlabel="date", ylabel="mid price (currency of the source)")


def _figure(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _clip_outliers(axes: Axes, values: Sequence[float]) -> None:
    """Keep a few hopeless trials from squeezing all others into one line."""
    if values:
        low, high = min(*values, 1.0), float(np.quantile(values, 0.9))
        high = max(high, 1.0)
        margin = 0.1 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + 2 * margin)
        above = sum(value > high + 2 * margin for value in values)
        if above:
            axes.set_xlabel(f"{axes.get_xlabel()} ({above} values lie above the figure)")
