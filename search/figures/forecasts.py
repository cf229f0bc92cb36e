"""Forecasts with their intervals, over the actual prices or after those that led to them.

Readable without colour: line styles and grey values can be told apart.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from numpy.typing import NDArray

from foretune.datasets.transforms import prices_after
from foretune.models.forecasts.intervals import COVERAGE, interval
from foretune.search.figures.style import BLACK, BLUE, ORANGE, legend_below, literal, page_figure

if TYPE_CHECKING:  # it imports JAX, and a driver draws no forecast
    from foretune.models.forecaster.forecaster import Forecaster

# Forecasts that a panel has room for.
_ROOM = 5

# Known days shown for each day ahead, and at the least.
_PAST_PER_STEP, _LEAST_PAST = 3, 60


@dataclass(frozen=True, eq=False, kw_only=True)
class ForecastWindow:
    """The last of many forecasts, and the prices from the first to the end of the last.

    ``dates`` and ``values`` are [N]; forecasts start at the indices ``origins`` [K] into them.
    ``growth`` [K, H] are forecast log growths, give or take ``widths`` [H], None without intervals.
    """

    dates: NDArray[np.datetime64]
    values: NDArray[np.float64]
    origins: NDArray[np.int32]
    growth: NDArray[np.float64]
    widths: NDArray[np.float64] | None

    @classmethod
    def of_last(
        cls,
        dates: NDArray[np.datetime64],
        values: NDArray[np.float64],
        origins: NDArray[np.int32],
        growth: NDArray[np.float64],
        widths: NDArray[np.float64] | None,
        *,
        overlap: int,
        count: int | None = _ROOM,
    ) -> Self:
        """Take every ``overlap``-th of the forecasts ``growth`` [O, H], the last ``count``."""
        chosen = np.arange(len(origins))[::-overlap][:count][::-1]
        first, last = origins[chosen[0]], origins[chosen[-1]] + growth.shape[1]
        return cls(
            dates=dates[first : last + 1],
            values=values[first : last + 1],
            origins=origins[chosen] - first,
            growth=growth[chosen],
            widths=widths,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the window as what JSON knows."""
        fields = {name: getattr(self, name).tolist() for name in ("origins", "growth")}
        fields["widths"] = None if self.widths is None else self.widths.tolist()
        # Prices are called mid, as in the first version.
        return fields | {"mid": self.values.tolist(), "dates": self.dates.astype(str).tolist()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the window that :meth:`to_json` described."""
        return cls(
            dates=np.array(document["dates"], "datetime64[D]"),
            values=np.array(document["mid"]),
            origins=np.array(document["origins"], np.int32),
            growth=np.array(document["growth"]),
            widths=None if document["widths"] is None else np.array(document["widths"]),
        )

    def draw(self, axes: Axes) -> None:
        """Draw prices, and for each origin forecast, interval and persistence."""
        axes.plot(self.dates, self.values, color=BLACK, linewidth=0.9, label="mid price")
        # Every forecast begins at the price that is known, from which nothing has grown yet.
        growth = np.pad(self.growth, ((0, 0), (1, 0)))
        ends = () if self.widths is None else interval(growth, np.pad(self.widths, (1, 0)))
        lines = [prices_after(end, self.origins, self.values) for end in (growth, *ends)]
        for number, (origin, *paths) in enumerate(zip(self.origins, *lines, strict=True)):
            dates = self.dates[origin : origin + growth.shape[1]]
            _draw_forecast(axes, dates, *paths, named=number == 0)
        _name_axes(axes, *self.dates[[0, -1]])


def forecast_figure(forecaster: "Forecaster", frame: pd.DataFrame) -> Figure:
    """Draw ``frame``, a forecast of ``forecaster``, after the last of its known prices.

    Example:
        >>> forecast_figure(forecaster, forecaster.forecast()).savefig("forecast.png")
    """
    figure = page_figure(4.2)
    axes, history = figure.subplots(), forecaster.history
    past = slice(-max(_PAST_PER_STEP * len(frame), _LEAST_PAST), None)
    axes.plot(
        history.dates[past], history.values[past], color=BLACK, linewidth=0.9, label="mid price"
    )
    dates = np.append(history.dates[-1], frame["date"].to_numpy("datetime64[D]"))
    paths = (np.append(history.values[-1], frame[n]) for n in ("forecast", "lower", "upper"))
    _draw_forecast(axes, dates, *paths, coverage=forecaster.coverage)
    _name_axes(axes, history.dates[past][0], dates[-1])
    axes.set_title(f"{literal(history.name)}: forecast after {history.dates[-1]}")
    legend_below(figure, axes)
    return figure


def _draw_forecast(
    axes: Axes,
    dates: NDArray[np.datetime64],
    path: NDArray[np.float64],
    *ends: NDArray[np.float64],
    coverage: float = COVERAGE,
    named: bool = True,
) -> None:
    """Draw a forecast and persistence from the last known price on: all arrays are [H + 1].

    Args:
        axes: where.
        dates: of the last known price and the H days ahead.
        path: that price and the forecast ones.
        ends: the lower and the upper end of the interval, if there is one.
        coverage: of the interval.
        named: whether the legend names them.
    """
    steps = len(dates) - 1
    names = (
        f"{coverage:.0%} interval, step by step",
        f"forecast, {steps} {'day' if steps == 1 else 'days'} ahead",
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


def _name_axes(axes: Axes, first: np.datetime64, last: np.datetime64) -> None:
    axes.set(xlabel=f"date, {first} to {last}", ylabel="mid price\n(currency of the source)")
    locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
