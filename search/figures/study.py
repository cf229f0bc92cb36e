"""The figures of a study, for people: labelled axes, units, marked splits."""

from collections.abc import Mapping, Sequence

import numpy as np
import optuna
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from optuna.trial import TrialState

from foretune.datasets.calendar import zone_name
from foretune.datasets.splits import DevelopmentData, Split
from foretune.models.config import MetricName
from foretune.models.forecasts.metrics import METRICS
from foretune.models.training.results import EpochResult
from foretune.search.figures.forecasts import PRICES, ForecastWindow, Label
from foretune.search.figures.style import (
    BLACK,
    BLUE,
    GREY,
    ORANGE,
    legend_below,
    literal,
    page_figure,
    whole_number_ticks,
)
from foretune.search.figures.times import date_ticks, on_axis
from foretune.search.study.baselines import best_baseline
from foretune.search.study.best import best_trial
from foretune.search.study.data import StudyData
from foretune.search.study.spec import OBJECTIVE_NAME, study_metric
from foretune.search.study.trials import fold_values, steps_are_folds, stored_number

# Forecasts that the lower panel of a figure of many shows.
_CLOSE = 6


def series_figure(data: StudyData, split: Split, shown: Sequence[int] = (0,)) -> Figure:
    """Draw the target with the parts of the split; the sealed test is left blank.

    Args:
        data: of the study.
        split: where its parts lie.
        shown: which of several series, one below another.
    """
    series, is_log = data.development, data.development.error_space == "log"
    figure = page_figure(4.0 if len(shown) == 1 else 0.8 + 2.2 * len(shown))
    rows: Sequence[Axes] = np.atleast_1d(figure.subplots(len(shown), 1, sharex=True)).tolist()
    times = on_axis(data.time)
    parts = (
        ("train", 0, split.train_stop, BLUE),
        ("validation", split.validation_start, split.validation_stop, ORANGE),
        ("test (sealed)", split.test_start, split.test_stop, GREY),
    )
    unit = series.unit or ("currency of the source" if is_log else "")
    words = ", ".join(filter(None, (unit, "log scale" * is_log)))
    label = series.target_name + f" ({words})" * bool(words)
    for axes, which in zip(rows, shown, strict=True):
        one, first = series.members[which], series.firsts[which]
        axes.plot(times[first : len(series)], one.target, color=BLACK, linewidth=0.8)
        axes.set_yscale("log" if is_log else "linear")
        for name, start, stop, colour in parts:
            axes.axvspan(times[start], times[stop - 1], color=colour, alpha=0.15, linewidth=0)
            if axes is rows[0]:
                middle = times[(start + stop - 1) // 2]
                above = axes.get_xaxis_transform()
                axes.text(middle, 1.01, name, transform=above, ha="center", va="bottom")
        whose = f"{one.name}\n" if len(shown) > 1 else ""
        axes.set_ylabel(literal(whose + label))
    name, zone = str(data.time.name or "time"), zone_name(data.time)
    rows[-1].set_xlabel(literal(name + f", {zone}" * bool(zone)))
    date_ticks(rows[-1], data.time)
    step, count = series.calendar.step_name, len(series.members)
    many = f"{len(shown)} of {count} series, " if count > 1 else ""
    figure.suptitle(
        f"{literal(series.name)}: {many}{split.length:,} {step}s; gaps of {split.gap} {step}s "
        "between"
    )
    return figure


def history_figure(study: optuna.Study) -> Figure:
    """Draw every trial's best validation value, the best so far, and the best baseline's."""
    figure = page_figure(4.0)
    axes = figure.subplots()
    metric = study_metric(study)
    baseline = best_baseline(study, metric)
    every = study.get_trials(deepcopy=False)
    drawn: list[float] = []
    for state, marker, label in (
        (TrialState.COMPLETE, "o", "complete"),
        (TrialState.PRUNED, "x", "pruned (its best epoch)"),
    ):
        stored = {t.number: stored_number(t, metric) for t in every if t.state == state}
        # A trial that was added by hand may have no number to draw.
        values = {number: value for number, value in stored.items() if value is not None}
        axes.plot(list(values), list(values.values()), marker, color=BLUE, label=label)
        drawn += values.values()
    complete = [t for t in every if t.state == TrialState.COMPLETE]
    finite = {t.number: t.value for t in complete if t.value is not None and np.isfinite(t.value)}
    best = np.minimum.accumulate(list(finite.values()))
    axes.step(list(finite), best, where="post", color=ORANGE, label="best so far")
    _draw_baseline(axes, baseline)
    axes.set(xlabel="trial number", ylabel=_value_label(metric))
    _clip_outliers(axes, drawn, baseline)
    axes.set_title(f"study {literal(study.study_name)}: {len(complete)} of {len(every)} complete")
    whole_number_ticks(axes)
    legend_below(figure, axes)
    return figure


def learning_curves_figure(study: optuna.Study, best_run: Sequence[EpochResult]) -> Figure:
    """Draw all trials' validation values by epoch, and the best trial's training loss."""
    figure = page_figure(4.0)
    left, right = figure.subplots(1, 2)
    best, look = best_trial(study), {"color": ORANGE, "marker": "o", "markersize": 3}
    metric = study_metric(study)
    baseline = best_baseline(study, metric)
    curves = {t.number: t.intermediate_values for t in study.get_trials(deepcopy=False)}
    drawn = [value for curve in curves.values() for value in curve.values()]
    values, label = curves.pop(best.number), "other trials"
    for curve in filter(None, curves.values()):
        left.plot(list(curve), list(curve.values()), color=GREY, linewidth=0.8, label=label)
        label = ""
    left.plot(list(values), list(values.values()), label="best trial", **look)
    _draw_baseline(left, baseline)
    left.set(
        xlabel="fold" if steps_are_folds(best) else "epoch",
        ylabel=_value_label(metric),
        title="validation, all trials",
    )
    _clip_outliers(left, drawn, baseline)
    legend_below(figure, left)
    right.plot([r.epoch for r in best_run], [r.train_loss for r in best_run], **look)
    last = ", last fold" if fold_values(best) else ""
    right.set(
        xlabel="epoch",
        ylabel="training loss",
        title=f"training, best trial{last}",
    )
    for axes in (left, right):
        whole_number_ticks(axes)
    return figure


def forecasts_figure(
    data: DevelopmentData,
    forecasts: NDArray[np.float64],
    *,
    title: str,
    label: Label = PRICES,
    shown: Mapping[int, str] | None = None,
) -> Figure:
    """Draw validation forecasts over the actual values, and below the last few of them.

    Args:
        data: training and validation rows.
        forecasts: changes since each validation origin [S, O, H].
        title: what the figure shows.
        label: what the target is called.
        shown: which of several series, and what they are; the last few forecasts of each are drawn.
    """
    every = data.split.overlap  # of overlapping forecasts those that follow one another
    origins = data.split.validation_origins[::every]
    count = min(_CLOSE, len(origins))
    if shown is None or len(shown) == 1:
        drawn = [(0, len(origins), title), (0, _CLOSE, f"the last {count} of them")]
    else:
        last = f": its last {count}" if count < len(origins) else ""
        drawn = [
            (series, _CLOSE, f"{literal(data.names[series])}, {place}{last}")
            for series, place in shown.items()
        ]
    figure = page_figure(3.5 * len(drawn))
    rows: Sequence[Axes] = figure.subplots(len(drawn), 1).tolist()
    for axes, (series, many, text) in zip(rows, drawn, strict=True):
        ForecastWindow.of_last(
            data.time,
            data.values[series],
            origins,
            forecasts[series, ::every],
            None,
            overlap=1,
            count=many,
            space=data.spaces[series],
            label=label,
        ).draw(axes)
        axes.set_title(text)
    if drawn[0][2] != title:
        figure.suptitle(title)
    legend_below(figure, rows[0])
    return figure


def _value_label(metric: MetricName) -> str:
    persistence = " (persistence = 1)" if metric == OBJECTIVE_NAME else ""
    return f"validation {METRICS[metric].label}{persistence}"


def _draw_baseline(axes: Axes, baseline: tuple[str, float] | None) -> None:
    """Draw what trials have to beat; persistence may lie so far above that it hides them."""
    if baseline is not None:
        name, value = baseline
        axes.axhline(value, color=BLACK, linestyle="--", linewidth=1, label=literal(name))


def _clip_outliers(axes: Axes, values: Sequence[float], baseline: tuple[str, float] | None) -> None:
    """Leave out the worst trials where they would press all others into one line."""
    if values:
        known = [] if baseline is None else [baseline[1]]
        low, high = min([*values, *known]), float(np.quantile(values, 0.9))
        high = max([high, *known])
        margin = 0.1 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + 2 * margin)
        above = sum(value > high + 2 * margin for value in values)
        if above:
            axes.set_xlabel(f"{axes.get_xlabel()} ({above} values lie above the figure)")
