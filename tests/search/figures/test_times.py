"""Times in figures: an hour after another, read by the local clock."""

import json

import matplotlib.dates
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from foretune.search.figures.forecasts import ForecastWindow
from foretune.search.figures.times import date_ticks, on_axis, span

# In Berlin the hour from 2 to 3 was there twice on 2024-10-27.
AUTUMN = pd.date_range("2024-10-26", periods=60, freq="h", tz="Europe/Berlin")


def window(time: pd.Index) -> ForecastWindow:
    count = len(time)
    return ForecastWindow.of_last(
        time, np.arange(count), np.array([0], np.int32), np.zeros((1, count - 1)), None, overlap=1
    )


def test_no_hour_is_drawn_over_another_when_clocks_go_back() -> None:
    (axes,) = figure_of(AUTUMN).axes
    drawn = axes.lines[0].get_xdata(orig=False)
    np.testing.assert_allclose(np.diff(drawn) * 24, 1, rtol=1e-6)
    first = matplotlib.dates.num2date(drawn[0])
    assert first.isoformat() == "2024-10-25T22:00:00+00:00"
    # Midnights of Berlin, not of Greenwich.
    midnights = [matplotlib.dates.num2date(at, AUTUMN.tz) for at in axes.get_xticks()]
    assert "2024-10-28T00:00:00+01:00" in [at.isoformat() for at in midnights]
    assert axes.get_xlabel() == "date, 2024-10-26 00:00:00 to 2024-10-28 10:00:00, Europe/Berlin"


def figure_of(time: pd.Index) -> Figure:
    figure = Figure()
    window(time).draw(figure.subplots())
    return figure


@pytest.mark.parametrize(
    "time",
    [
        AUTUMN,
        pd.date_range("2024-10-26", periods=60, freq="h"),
        pd.date_range("2024-10-26", periods=60, freq="h", tz="+05:30"),
        pd.date_range("2024-10-26", periods=60),
        pd.RangeIndex(0, 120, 2),
    ],
    ids=lambda time: str(time.dtype),
)
def test_a_window_has_the_same_times_as_json(time: pd.Index) -> None:
    kept = ForecastWindow.from_json(json.loads(json.dumps(window(time).to_json())))
    assert list(kept.time) == list(time)
    assert list(map(str, kept.time)) == list(map(str, time))


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (pd.date_range("2024-01-01", periods=3), "2024-01-01 to 2024-01-03"),
        (pd.date_range("2024-01-01", periods=3, freq="h"), "2024-01-01 00:00:00 to"),
        (pd.RangeIndex(5), "0 to 4"),
    ],
)
def test_a_span_is_as_short_as_its_times(time: pd.Index, text: str) -> None:
    assert span(time).startswith(text)
    assert len(on_axis(time)) == len(time)
    axes = Figure().subplots()
    date_ticks(axes, time)
    axes.plot(on_axis(time), np.arange(len(time)))
    axes.figure.canvas.draw()  # type: ignore[attr-defined]
