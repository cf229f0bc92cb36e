"""Forecasts with their intervals, over the actual values or after those that led to them.

Readable without colour: line styles and grey values can be told apart.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from foretune.datasets.calendar import local_clock, zone_name
from foretune.datasets.history import History
from foretune.datasets.transforms import LOG, ErrorSpace
from foretune.models.forecasts.intervals import COVERAGE, interval
from foretune.search.figures.style import BLACK, BLUE, ORANGE, legend_below, literal, page_figure
from foretune.search.figures.times import date_ticks, on_axis, span

if TYPE_CHECKING:  # it imports JAX, and a driver draws no forecast
    from foretune.models.forecaster.forecaster import Forecaster

# Forecasts that a panel has room for.
_ROOM = 5

# Series that a figure of forecasts has room for.
MOST_SERIES = 4

# Known rows shown for each step ahead, and at the least.
_PAST_PER_STEP, _LEAST_PAST = 3, 60


@dataclass(frozen=True, kw_only=True)
class Label:
    """How figures call the target, its unit and a step."""

    target: str = "mid price"
    unit: str | None = "currency of the source"
    step: str = "day"

    @classmethod
    def of(cls, about: Any) -> Self:
        """Take them from what a study says of its data, or from a model's history."""
        step = getattr(about, "step", "") or (about.calendar.step_name if about.calendar else "day")
        target = getattr(about, "target", "") or about.target_name
        of_prices = "currency of the source" if target.endswith(" price") else None
        unit = about.unit or of_prices
        return cls(target=target, unit=unit, step=step)

    def steps(self, count: int) -> str:
        """Return so many steps in words."""
        return f"{count} {self.step}{'s' * (count != 1)}"


# As in the first version.
PRICES = Label()


def to_show(errors: NDArray[np.float64]) -> dict[int, str]:
    """Return which of several series a figure shows, and what they are by their errors [S].

    Example:
        >>> to_show(np.array([0.3, 0.9, 0.5, 0.7]))
        {1: 'the worst', 2: 'the median', 0: 'the best'}
        >>> to_show(np.array([0.3]))
        {0: 'the only one'}
    """
    order = np.argsort(errors, kind="stable").tolist()
    if len(order) == 1:
        return {0: "the only one"}
    places = {order[-1]: "the worst", order[(len(order) - 1) // 2]: "the median"}
    return places | {order[0]: "the best"}


@dataclass(frozen=True, eq=False, kw_only=True)
class ForecastWindow:
    """The last of many forecasts, and the values from the first to the end of the last.

    ``time`` and ``values`` are [N]; forecasts start at the indices ``origins`` [K] into them.
    ``growth`` [K, H] are forecast changes in ``space``, give or take ``widths`` [K, H], or [H] for
    all; NaN where there is no interval, None where there is none at all.
    """

    time: pd.Index
    values: NDArray[np.float64]
    origins: NDArray[np.int32]
    growth: NDArray[np.float64]
    widths: NDArray[np.float64] | None
    space: ErrorSpace = LOG
    label: Label = PRICES

    @classmethod
    def of_last(
        cls,
        time: pd.Index,
        values: NDArray[np.float64],
        origins: NDArray[np.int32],
        growth: NDArray[np.float64],
        widths: NDArray[np.float64] | None,
        *,
        overlap: int,
        count: int | None = _ROOM,
        space: ErrorSpace = LOG,
        label: Label = Label(),
    ) -> Self:
        """Take every ``overlap``-th of the forecasts ``growth`` [O, H], the last ``count``.

        ``widths`` are [O, H], or [H] for all of them.
        """
        chosen = np.arange(len(origins))[::-overlap][:count][::-1]
        first, last = origins[chosen[0]], origins[chosen[-1]] + growth.shape[1]
        return cls(
            time=time[first : last + 1],
            values=values[first : last + 1],
            origins=origins[chosen] - first,
            growth=growth[chosen],
            widths=widths if widths is None or widths.ndim == 1 else widths[chosen],
            space=space,
            label=label,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the window as what JSON knows."""
        fields = {name: getattr(self, name).tolist() for name in ("origins", "growth")}
        fields["widths"] = None if self.widths is None else self.widths.tolist()
        # Values are called mid, as in the first version, which knew no other space and label.
        fields |= {"mid": self.values.tolist(), "dates": _written(self.time)}
        zone = zone_name(self.time)
        fields |= {"zone": zone} if zone else {}
        if self.space != LOG:
            fields["space"] = asdict(self.space)
        return fields | ({"label": asdict(self.label)} if self.label != PRICES else {})

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the window that :meth:`to_json` described."""
        return cls(
            time=_read(document["dates"], document.get("zone", "")),
            values=np.array(document["mid"]),
            origins=np.array(document["origins"], np.int32),
            growth=np.array(document["growth"]),
            widths=None if document["widths"] is None else np.array(document["widths"]),
            space=ErrorSpace(**document.get("space", {})),
            label=Label(**document.get("label", {})),
        )

    def draw(self, axes: Axes) -> None:
        """Draw values, and for each origin forecast, interval and persistence."""
        times, target = on_axis(self.time), literal(self.label.target)
        axes.plot(times, self.values, color=BLACK, linewidth=0.9, label=target)
        # Every forecast begins at the value that is known, from which nothing has changed yet.
        growth = np.pad(self.growth, ((0, 0), (1, 0)))
        ends: tuple[NDArray[np.float64], ...] = ()
        if self.widths is not None and np.any(np.isfinite(self.widths)):
            widths = np.broadcast_to(self.widths, self.growth.shape)
            ends = interval(growth, np.pad(widths, ((0, 0), (1, 0))))
        lines = [self.space.after(end, self.origins, self.values) for end in (growth, *ends)]
        width = min(1.8, 100 / len(self.origins))  # of many, thin lines
        for number, (origin, *paths) in enumerate(zip(self.origins, *lines, strict=True)):
            ahead = times[origin : origin + growth.shape[1]]
            named = number == 0
            _draw_forecast(axes, ahead, *paths, label=self.label, named=named, width=width)
        _name_axes(axes, self.time, self.label)


def _written(time: pd.Index) -> list[Any]:
    """Return times as what JSON knows: days, moments, those of a zone in UTC, or whole numbers."""
    if not isinstance(time, pd.DatetimeIndex):
        return list(map(int, time))
    clock = on_axis(time) if zone_name(time) else local_clock(time)
    return list(map(str, clock))


def _read(written: list[Any], zone: str) -> pd.Index:
    """Return the times that :func:`_written` wrote."""
    if isinstance(written[0], int):
        numbers: pd.Index = pd.Index(written)
        return numbers
    time = pd.DatetimeIndex(np.array(written, "datetime64[ns]"))
    return time.tz_localize("UTC").tz_convert(zone) if zone else time


def by_series(forecaster: "Forecaster", frame: pd.DataFrame) -> list[tuple[History, pd.DataFrame]]:
    """Return what is known of each series in ``frame``, and its forecast from time to upper end."""
    if forecaster.panel is None:
        return [(forecaster.history, frame)]
    known = {member.history.name: member.history for member in forecaster.members}
    parts = frame.groupby(frame.columns[0], sort=False)
    return [(known[str(name)], own.iloc[:, 1:].reset_index(drop=True)) for name, own in parts]


def forecast_figure(forecaster: "Forecaster", frame: pd.DataFrame) -> Figure:
    """Draw ``frame``, a forecast of ``forecaster``, after the last of its known values.

    Of many series, the first :data:`MOST_SERIES` are drawn.

    Example:
        >>> forecast_figure(forecaster, forecaster.forecast()).savefig("forecast.png")
    """
    every = by_series(forecaster, frame)
    parts = every[:MOST_SERIES]
    figure = page_figure(4.2 if len(parts) == 1 else 0.8 + 2.2 * len(parts))
    for axes, (history, own) in zip(
        figure.subplots(len(parts), squeeze=False)[:, 0], parts, strict=True
    ):
        _draw_after(axes, history, own, forecaster.coverage)
    if len(parts) < len(every):
        figure.suptitle(f"{len(parts)} of {len(every)} series of {literal(forecaster.panel or '')}")
    legend_below(figure, axes)
    return figure


def _draw_after(axes: Axes, history: History, frame: pd.DataFrame, coverage: float) -> None:
    """Draw the forecast of one series after its known values."""
    label = Label.of(history)
    past = slice(-max(_PAST_PER_STEP * len(frame), _LEAST_PAST), None)
    before, ahead = history.time[past], pd.Index(frame.iloc[:, 0])
    values, target = history.values[past], literal(label.target)
    axes.plot(on_axis(before), values, color=BLACK, linewidth=0.9, label=target)
    times = on_axis(before[-1:].append(ahead))
    paths = (np.append(values[-1], frame[name]) for name in ("forecast", "lower", "upper"))
    _draw_forecast(axes, times, *paths, label=label, coverage=coverage)
    _name_axes(axes, before.append(ahead), label)
    axes.set_title(f"{literal(history.name)}: forecast after {history.last}")


def _draw_forecast(
    axes: Axes,
    times: NDArray[Any],
    path: NDArray[np.float64],
    *ends: NDArray[np.float64],
    label: Label,
    coverage: float = COVERAGE,
    named: bool = True,
    width: float = 1.8,
) -> None:
    """Draw a forecast and persistence from the last known value on: all arrays are [H + 1].

    Args:
        axes: where.
        times: of the last known value and the H steps ahead.
        path: that value and the forecast ones.
        ends: the lower and the upper end of the interval, if there is one.
        label: what a step is called.
        coverage: of the interval.
        named: whether the legend names them.
        width: of the line.
    """
    steps = len(times) - 1
    names = (
        f"{coverage:.0%} interval, step by step",
        f"forecast, {label.steps(steps)} ahead",
        "persistence",
    )
    filled, solid, dotted = names if named else (None, None, None)
    if ends:
        low, high = ends
        axes.fill_between(times, low, high, color=ORANGE, alpha=0.25, linewidth=0, label=filled)
    for end in ends:
        axes.plot(times, end, color=ORANGE, linewidth=0.8, linestyle="--")
    axes.plot(times, path, color=ORANGE, linewidth=width, label=solid)
    still = [path[0], path[0]]
    axes.plot(times[[0, -1]], still, color=BLUE, linestyle=":", linewidth=1.4, label=dotted)


def _name_axes(axes: Axes, time: pd.Index, label: Label) -> None:
    kind = "date" if isinstance(time, pd.DatetimeIndex) else "time"
    unit = f"\n({label.unit})" if label.unit else ""
    axes.set(xlabel=f"{kind}, {span(time)}", ylabel=literal(label.target) + literal(unit))
    date_ticks(axes, time)
