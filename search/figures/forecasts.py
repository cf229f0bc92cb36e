"""The figure of a forecast: the prices that led to it, what is expected, and how far off it may be.

Readable without colour: line styles and grey values keep apart.
"""

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from foretune.models.forecaster.forecaster import Forecaster
from foretune.search.figures.style import BLACK, BLUE, ORANGE, WIDTH, literal

# Known days shown for each day ahead, and at the least.
_PAST_PER_STEP, _LEAST_PAST = 3, 60


def forecast_figure(forecaster: Forecaster, frame: pd.DataFrame) -> Figure:
    """Draw ``frame``, a forecast of ``forecaster``, after the last of its known prices.

    Example:
        >>> forecast_figure(forecaster, forecaster.forecast()).savefig("forecast.png")
    """
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    history, steps = forecaster.history, len(frame)
    past = slice(-max(_PAST_PER_STEP * steps, _LEAST_PAST), None)
    last_day, last = history.dates[-1], history.values[-1]
    # Everything ahead begins at the last known price.
    dates = np.concatenate([[last_day], frame["date"].to_numpy("datetime64[D]")])
    ahead = {name: [last, *frame[name]] for name in ("forecast", "lower", "upper")}
    axes.plot(
        history.dates[past], history.values[past], color=BLACK, linewidth=1.0, label="mid price"
    )
    axes.fill_between(
        dates,
        ahead["lower"],
        ahead["upper"],
        color=ORANGE,
        alpha=0.25,
        linewidth=0,
        label=f"{forecaster.coverage:.0%} interval, step by step",
    )
    for bound in ("lower", "upper"):
        axes.plot(dates, ahead[bound], color=ORANGE, linewidth=0.8, linestyle="--")
    axes.plot(
        dates,
        ahead["forecast"],
        color=ORANGE,
        linewidth=2.2,
        label=f"forecast, {steps} {'day' if steps == 1 else 'days'} ahead",
    )
    axes.plot(
        dates[[0, -1]],
        [last, last],
        color=BLUE,
        linewidth=1.4,
        linestyle=":",
        label="persistence: as on the last day",
    )
    axes.set(xlabel="date", ylabel="mid price (currency of the source)")
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_title(f"{literal(history.name)}: forecast after {last_day}")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
