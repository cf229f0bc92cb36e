"""A few forecasts with their intervals over the prices that came: what a figure shows of many."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from numpy.typing import NDArray

from foretune.datasets.transforms import prices_after
from foretune.models.forecasts.intervals import COVERAGE, interval
from foretune.search.figures.style import BLACK, BLUE, ORANGE

# Forecasts that a panel has room for.
_SHOWN = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class ForecastWindow:
    """The last forecasts of many that do not overlap, and the prices from first to last.

    ``dates`` and ``values`` are [N]; forecasts start at the indices ``origins`` [K] into them.
    ``growth`` [K, H] are forecast log growths, give or take ``widths`` [H].
    """

    dates: NDArray[np.datetime64]
    values: NDArray[np.float64]
    origins: NDArray[np.int64]
    growth: NDArray[np.float64]
    widths: NDArray[np.float64]

    @classmethod
    def of_last(
        cls,
        dates: NDArray[np.datetime64],
        values: NDArray[np.float64],
        origins: NDArray[np.int32],
        growth: NDArray[np.float64],
        widths: NDArray[np.float64],
        *,
        overlap: int,
    ) -> Self:
        """Take every ``overlap``-th of the forecasts ``growth`` [O, H], the last few of them."""
        chosen = np.arange(len(origins))[::-overlap][:_SHOWN][::-1]
        first, last = origins[chosen[0]], origins[chosen[-1]] + growth.shape[1]
        return cls(
            dates=dates[first : last + 1],
            values=values[first : last + 1],
            origins=(origins[chosen] - first).astype(np.int64),
            growth=growth[chosen],
            widths=widths,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the window as what JSON knows."""
        fields = {name: getattr(self, name).tolist() for name in ("origins", "growth")}
        fields["mid"] = self.values.tolist()  # as stored since the first version
        return fields | {"widths": self.widths.tolist(), "dates": self.dates.astype(str).tolist()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Self:
        """Return the window that :meth:`to_json` described."""
        return cls(
            dates=np.array(document["dates"], "datetime64[D]"),
            values=np.array(document["mid"]),
            origins=np.array(document["origins"]),
            growth=np.array(document["growth"]),
            widths=np.array(document["widths"]),
        )

    def draw(self, axes: Axes) -> None:
        """Draw prices, and for each origin forecast, interval and persistence."""
        horizon = self.growth.shape[1]
        low, high = (
            prices_after(bound, self.origins.astype(np.int32), self.values)
            for bound in interval(self.growth, self.widths)
        )
        paths = prices_after(self.growth, self.origins.astype(np.int32), self.values)
        axes.plot(self.dates, self.values, color=BLACK, linewidth=0.9, label="mid price")
        for number, origin in enumerate(self.origins):
            dates, start = self.dates[origin : origin + horizon + 1], self.values[origin]
            # Names the first of each kind for the legend.
            named = number == 0
            axes.fill_between(
                dates,
                [start, *low[number]],
                [start, *high[number]],
                color=ORANGE,
                alpha=0.25,
                linewidth=0,
                label=f"{COVERAGE:.0%} interval" if named else None,
            )
            axes.plot(
                dates,
                [start, *paths[number]],
                color=ORANGE,
                linewidth=1.8,
                label=f"forecast, {horizon} days ahead" if named else None,
            )
            axes.plot(
                dates[[0, -1]],
                [start, start],
                color=BLUE,
                linestyle=":",
                linewidth=1.4,
                label="persistence" if named else None,
            )
        first, last = self.dates[[0, -1]]
        axes.set(xlabel=f"date, {first} to {last}", ylabel="mid price\n(currency of the source)")
        locator = AutoDateLocator(maxticks=8)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_formatter(formatter)
