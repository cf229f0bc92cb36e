"""The figures of a report: readable at page width, and without colour."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from foretune.datasets.scaling import prices_after
from foretune.models.assessment import Assessment
from foretune.models.intervals import interval
from foretune.search.figures import BLACK, BLUE, GREY, ORANGE, WIDTH, literal
from foretune.search.report import COVERAGE, Part, Report

# Forecasts that a panel has room for.
_SHOWN = 5

# Line styles that keep apart without colour; the winner's first.
_STYLES = (("-", "o", ORANGE), ("--", "s", BLUE), ("-.", "^", GREY))


def report_figures(report: Report) -> dict[str, Figure]:
    """Draw every figure of ``report``, by name."""
    figures = {"forecasts": forecasts_with_intervals(report), "errors_by_step": errors(report)}
    if report.importances:
        figures["importance"] = importance(report)
    return figures


def forecasts_with_intervals(report: Report) -> Figure:
    """Draw the winner's last forecasts of each part, with their intervals and what came."""
    parts = report.parts
    figure = Figure(figsize=(WIDTH, 3.6 * len(parts)), layout="constrained")
    rows: Sequence[Axes] = np.atleast_1d(figure.subplots(len(parts), 1)).tolist()
    for axes, part in zip(rows, parts, strict=True):
        _draw_part(axes, part, every=report.validation.overlap)
        axes.set_title(f"{part.name}: the last forecasts that do not overlap")
    figure.legend(*rows[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.suptitle(f"{literal(report.spec.prices.name)}: trial {report.winner.trial.number}")
    return figure


def _draw_part(axes: Axes, part: Part, every: int) -> None:
    chosen = slice(None, None, -every)
    order = np.arange(len(part.origins))[chosen][:_SHOWN][::-1]
    origins, growth = part.origins[order], part.growth[order]
    horizon = growth.shape[1]
    low, high = (prices_after(bound, origins, part.mid) for bound in interval(growth, part.widths))
    paths = prices_after(growth, origins, part.mid)
    days = slice(origins[0], origins[-1] + horizon + 1)
    axes.plot(part.dates[days], part.mid[days], color=BLACK, linewidth=0.9, label="mid price")
    for number, origin in enumerate(origins):
        dates, start = part.dates[origin : origin + horizon + 1], part.mid[origin]
        first = number == 0
        axes.fill_between(
            dates,
            [start, *low[number]],
            [start, *high[number]],
            color=ORANGE,
            alpha=0.25,
            linewidth=0,
            label=f"{COVERAGE:.0%} interval" if first else None,
        )
        axes.plot(
            dates,
            [start, *paths[number]],
            color=ORANGE,
            linewidth=1.8,
            label=f"forecast, {horizon} days ahead" if first else None,
        )
        axes.plot(
            dates[[0, -1]],
            [start, start],
            color=BLUE,
            linestyle=":",
            linewidth=1.4,
            label="persistence" if first else None,
        )
    first, last = part.dates[days][[0, -1]]
    axes.set(xlabel=f"date, {first} to {last}", ylabel="mid price\n(currency of the source)")
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(formatter)


def errors(report: Report) -> Figure:
    """Draw each step's error relative to persistence: winner, ensemble and best baseline."""
    parts = report.parts
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    columns: Sequence[Axes] = np.atleast_1d(figure.subplots(1, len(parts), sharey=True)).tolist()
    for axes, part in zip(columns, parts, strict=True):
        for name, style in zip(_compared(part), _STYLES, strict=False):
            _draw_errors(axes, name, part.models[name], style)
        axes.axhline(1.0, color=BLACK, linestyle=":", linewidth=1.2, label="persistence")
        axes.set(xlabel="step ahead (days)", title=part.name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    columns[0].set_ylabel("MSE of the log price\nrelative to persistence")
    figure.legend(*columns[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _compared(part: Part) -> list[str]:
    """Return the names of the trained models and of the best baseline, persistence aside."""
    trained = [name for name in part.models if name.startswith(("trial", "ensemble"))]
    others = {name: model for name, model in part.models.items() if name not in trained}
    others.pop("persistence")
    best = min(others, key=lambda name: others[name].metrics.relative_mse, default=None)
    return trained if best is None else [*trained, best]


def _draw_errors(axes: Axes, name: str, model: Assessment, style: tuple[str, str, str]) -> None:
    line, marker, colour = style
    relative = model.mse_by_step / model.persistence_mse_by_step
    steps = np.arange(1, len(relative) + 1)
    every = max(len(steps) // 8, 1)
    axes.plot(
        steps, relative, linestyle=line, marker=marker, markevery=every, color=colour, label=name
    )


def importance(report: Report) -> Figure:
    """Draw how much of the values' differences each parameter explains."""
    names = list(report.importances)[::-1]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.35 * len(names)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(names, [report.importances[name] for name in names], color=GREY)
    axes.bar_label(bars, fmt="%.2f", padding=3)
    axes.set(xlabel="importance (PED-ANOVA; shares add up to 1)", xlim=(0, 1.1))
    return figure
