"""The figures of a report: readable at page width, and without colour."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foretune.models.forecasts.metrics import Assessment
from foretune.search.figures.forecasts import ForecastWindow, Label, to_show
from foretune.search.figures.study import history_figure
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
from foretune.search.report.report import EvaluationSet, Report

# Every figure there may be; a search too small to tell lacks the last one.
FIGURES = ("forecasts", "errors_by_step", "history", "importance")

# Line styles that can be told apart without colour; the winner's first.
_STYLES = (("-", "o", ORANGE), ("--", "s", BLUE), ("-.", "^", GREY))


def report_figures(report: Report) -> dict[str, Figure]:
    """Draw every figure of ``report``, by name."""
    figures = {
        "forecasts": forecasts_with_intervals(report),
        "errors_by_step": errors(report),
        "history": history_figure(report.study),
    }
    if report.importances:
        figures["importance"] = importance(report)
    return figures


def forecasts_with_intervals(report: Report) -> Figure:
    """Draw the winner's last forecasts of each part, with their intervals and what came.

    Of several series those of the worst, the median and the best one, by the winner's error in
    units of the best baseline's.
    """
    shown = [
        (part, *which) for which in to_show(report.relative_errors).items() for part in report.parts
    ]
    is_panel = len(report.names) > 1
    figure = page_figure((2.8 if is_panel else 3.6) * len(shown))
    rows: Sequence[Axes] = np.atleast_1d(figure.subplots(len(shown), 1)).tolist()
    for axes, (part, series, place) in zip(rows, shown, strict=True):
        ForecastWindow.of_last(
            *part.own_rows(series),
            part.growth[series],
            part.widths[series],
            overlap=part.overlap,
            space=part.spaces[series],
            label=Label.of(report.spec.prices),
        ).draw(axes)
        whose = f"{literal(part.names[series])}, {place}, on {part.name}" if is_panel else part.name
        axes.set_title(f"{whose}: the last forecasts that do not overlap")
    legend_below(figure, rows[-1])  # the first forecasts may have no interval yet
    figure.suptitle(f"{literal(report.spec.prices.name)}: trial {report.winner.trial.number}")
    return figure


def errors(report: Report) -> Figure:
    """Draw each step's error relative to persistence: winner, ensemble and best baseline."""
    parts, about = report.parts, report.spec.prices
    figure = page_figure(3.8)
    columns: Sequence[Axes] = np.atleast_1d(figure.subplots(1, len(parts), sharey=True)).tolist()
    for axes, part in zip(columns, parts, strict=True):
        for name, style in zip(_compared(part, report.evidence.benchmark), _STYLES, strict=False):
            _draw_errors(axes, name, part.models[name], style)
        axes.axhline(1.0, color=BLACK, linestyle=":", linewidth=1.2, label="persistence")
        axes.set(
            xlabel="step ahead" if about.step == "step" else f"step ahead ({about.step}s)",
            title=part.name,
        )
        whole_number_ticks(axes)
    of = f" of the log {about.target.removeprefix('mid ')}" if about.space == "log" else ""
    columns[0].set_ylabel(f"MSE{of}\nrelative to persistence")
    legend_below(figure, columns[0])
    return figure


def _compared(part: EvaluationSet, benchmark: str) -> list[str]:
    """Return the names of the trained models and of the best baseline on validation."""
    trained = [name for name in part.models if name.startswith(("trial", "ensemble"))]
    return trained if benchmark == "persistence" else [*trained, benchmark]


def _draw_errors(axes: Axes, name: str, model: Assessment, style: tuple[str, str, str]) -> None:
    line, marker, colour = style
    # Where values stood still at a step from every origin, there is no ratio.
    unit = model.persistence_mse_by_step
    relative = model.mse_by_step / np.where(unit > 0, unit, np.nan)
    steps = np.arange(1, len(relative) + 1)
    every = max(len(steps) // 8, 1)
    axes.plot(
        steps, relative, linestyle=line, marker=marker, markevery=every, color=colour, label=name
    )


def importance(report: Report) -> Figure:
    """Draw how much of the values' differences each parameter explains."""
    names = list(report.importances)[::-1]
    figure = page_figure(0.8 + 0.35 * len(names))
    axes = figure.subplots()
    bars = axes.barh(names, [report.importances[name] for name in names], color=GREY)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(
        xlabel="importance for being among the best (PED-ANOVA; shares add up to 1)", xlim=(0, 1.1)
    )
    return figure
