"""Times on an axis: drawn as they pass, labelled by the local clock.

Shapes: ``N`` is the number of times.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from numpy.typing import NDArray

from foretune.datasets.calendar import local_clock, zone_name


def on_axis(time: pd.Index) -> NDArray[Any]:
    """Return times [N] as matplotlib counts them: in UTC, so that no hour is drawn over another.

    Example:
        >>> axes.plot(on_axis(series.time), series.target)
    """
    if isinstance(time, pd.DatetimeIndex) and time.tz is not None:
        time = time.tz_convert(None)
    found: NDArray[Any] = time.to_numpy()
    return found


def span(time: pd.Index) -> str:
    """Return the first and the last of times [N] by their local clock, and the zone.

    Example:
        >>> span(pd.date_range("2024-03-31", periods=3, freq="h", tz="Europe/Berlin"))
        '2024-03-31 00:00:00 to 2024-03-31 03:00:00, Europe/Berlin'
    """
    ends = local_clock(time)[[0, -1]]
    first, last = (str(end).removesuffix(".000000000").replace("T", " ") for end in ends)
    zone = zone_name(time)
    return f"{first} to {last}" + f", {zone}" * bool(zone)


def date_ticks(axes: Axes, time: pd.Index) -> None:
    """Put the ticks of the horizontal axis at whole dates and hours, by the clock of ``time`` [N].

    Whole numbers keep matplotlib's.
    """
    if not isinstance(time, pd.DatetimeIndex):
        return
    # Of moments within a few days few ticks are enough, or none would fit.
    fewest = 5 if np.dtype(local_clock(time).dtype) == "datetime64[D]" else 3
    locator = AutoDateLocator(tz=time.tz, minticks=fewest, maxticks=8)  # type: ignore[no-untyped-call]
    formatter = ConciseDateFormatter(locator, tz=time.tz)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)
