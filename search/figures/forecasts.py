"""Forecasts with their intervals, over the actual values or after those that led to them.

Readable without colour: line styles and grey values can be told apart.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from foretune.datasets.calendar import local_clock
from foretune.datasets.transforms import LOG, ErrorSpace
from foretune.models.forecasts.intervals import COVERAGE, interval
from foretune.search.figures.style import BLACK, BLUE, ORANGE, legend_below, literal, page_figure

if TYPE_CHECKING:  # it imports JAX, and a driver draws no forecast
    from foretune.models.forecaster.forecaster import Forecaster

# Forecasts that a panel has room for.
_ROOM = 5

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


@dataclass(frozen=True, eq=False, kw_only=True)
class ForecastWindow:
    """The last of many forecasts, and the values from the first to the end of the last.

    ``dates`` and ``values`` are [N]; forecasts start at the indices ``origins`` [K] into them.
    ``growth`` [K, H] are forecast changes in ``space``, give or take ``widths`` [K, H], or [H] for
    all; NaN where there is no interval, None where there is none at all.
    """

    dates: NDArray[Any]
    values: NDArray[np.float64]
    origins: NDArray[np.int32]
    growth: NDArray[np.float64]
    widths: NDArray[np.float64] | None
    space: ErrorSpace = LOG
    label: Label = PRICES

    @classmethod
    def of_last(
        cls,
        dates: NDArray[Any],
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
            dates=dates[first : last + 1],
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
        fields |= {"mid": self.values.tolist(), "dates": self.dates.astype(str).tolist()}
        if self.dates.dtype.kind == "i":
            fields["dates"] = self.dates.tolist()
        if self.space != LOG:
            fields["space"] = asdict(self.space)
        return fields | ({"label": asdict(self.label)} if self.label != PRICES else {})

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the window that :meth:`to_json` described."""
        return cls(
            dates=_times(document["dates"]),
            values=np.array(document["mid"]),
            origins=np.array(document["origins"], np.int32),
            growth=np.array(document["growth"]),
            widths=None if document["widths"] is None else np.array(document["widths"]),
            space=ErrorSpace(**document.get("space", {})),
            label=Label(**document.get("label", {})),
        )

    def draw(self, axes: Axes) -> None:
        """Draw values, and for each origin forecast, interval and persistence."""
        axes.plot(
            self.dates, self.values, color=BLACK, linewidth=0.9, label=literal(self.label.target)
        )
        # Every forecast begins at the value that is known, from which nothing has changed yet.
        growth = np.pad(self.growth, ((0, 0), (1, 0)))
        ends: tuple[NDArray[np.float64], ...] = ()
        if self.widths is not None:
            widths = np.broadcast_to(self.widths, self.growth.shape)
            ends = interval(growth, np.pad(widths, ((0, 0), (1, 0))))
        lines = [self.space.after(end, self.origins, self.values) for end in (growth, *ends)]
        for number, (origin, *paths) in enumerate(zip(self.origins, *lines, strict=True)):
            dates = self.dates[origin : origin + growth.shape[1]]
            _draw_forecast(axes, dates, *paths, label=self.label, named=number == 0)
        _name_axes(axes, self.dates[[0, -1]], self.label)


def _times(written: list[Any]) -> NDArray[Any]:
    """Return times from what JSON knows: days, moments or whole numbers."""
    if isinstance(written[0], int):
        return np.array(written)
    return np.array(written, "datetime64[D]" if len(written[0]) == 10 else "datetime64[ns]")


def forecast_figure(forecaster: "Forecaster", frame: pd.DataFrame) -> Figure:
    """Draw ``frame``, a forecast of ``forecaster``, after the last of its known values.

    Example:
        >>> forecast_figure(forecaster, forecaster.forecast()).savefig("forecast.png")
    """
    figure = page_figure(4.2)
    axes, history = figure.subplots(), forecaster.history
    label = Label.of(history)
    past = slice(-max(_PAST_PER_STEP * len(frame), _LEAST_PAST), None)
    axes.plot(
        history.dates[past],
        history.values[past],
        color=BLACK,
        linewidth=0.9,
        label=literal(label.target),
    )
    ahead = local_clock(pd.Index(frame.iloc[:, 0]))
    dates = np.append(history.dates[-1:], ahead)
    paths = (np.append(history.values[-1], frame[n]) for n in ("forecast", "lower", "upper"))
    _draw_forecast(axes, dates, *paths, label=label, coverage=forecaster.coverage)
    _name_axes(axes, np.append(history.dates[past][:1], dates[-1:]), label)
    axes.set_title(f"{literal(history.name)}: forecast after {history.last}")
    legend_below(figure, axes)
    return figure


def _draw_forecast(
    axes: Axes,
    dates: NDArray[Any],
    path: NDArray[np.float64],
    *ends: NDArray[np.float64],
    label: Label,
    coverage: float = COVERAGE,
    named: bool = True,
) -> None:
    """Draw a forecast and persistence from the last known value on: all arrays are [H + 1].

    Args:
        axes: where.
        dates: of the last known value and the H steps ahead.
        path: that value and the forecast ones.
        ends: the lower and the upper end of the interval, if there is one.
        label: what a step is called.
        coverage: of the interval.
        named: whether the legend names them.
    """
    steps = len(dates) - 1
    names = (
        f"{coverage:.0%} interval, step by step",
        f"forecast, {label.steps(steps)} ahead",
        "persistence",
    )
    filled, solid, dotted = names if named else (None, None, None)
    if ends:
        low, high = ends
        axes.fill_between(dates, low, high, color=ORANGE, alpha=0.25, linewidth=0, label=filled)
    for end in ends:
        axes.plot(dates, end, color=ORANGE, linewidth=0.8, linestyle="--")
    axes.plot(dates, path, color=ORANGE, linewidth=1.8, label=solid)
    still = [path[0], path[0]]
    axes.plot(dates[[0, -1]], still, color=BLUE, linestyle=":", linewidth=1.4, label=dotted)


def _name_axes(axes: Axes, ends: NDArray[Any], label: Label) -> None:
    is_date = ends.dtype.kind == "M"
    first, last = (str(end).removesuffix(".000000000").replace("T", " ") for end in ends)
    unit = f"\n({label.unit})" if label.unit else ""
    axes.set(
        xlabel=f"{'date' if is_date else 'time'}, {first} to {last}",
        ylabel=literal(label.target) + literal(unit),
    )
    if not is_date:
        return
    # Of moments within a few days few ticks are enough, or none would fit.
    fewest = 5 if ends.dtype == "datetime64[D]" else 3
    locator = AutoDateLocator(minticks=fewest, maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
