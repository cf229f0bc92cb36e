"""TimeSeries: what it holds, what it refuses, and what its digest depends on."""

import datetime
import hashlib
import os
import pickle
import struct
import subprocess
import sys
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import foretune.datasets
from foretune.datasets.calendar import Calendar, infer_calendar
from foretune.datasets.common.errors import DataError
from foretune.datasets.series import TimeSeries

BERLIN = "Europe/Berlin"
DAYS = pd.date_range("2024-01-01", periods=6)


def make(**changes: Any) -> TimeSeries:
    fields: dict[str, Any] = {
        "name": "demo",
        "time": DAYS,
        "target": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "calendar": Calendar(frequency="D", seasonality=7),
        "past": {"wind": [0, 1, 0, 1, 0, 1], "sky": ["clear", "mist", *["clear"] * 4]},
        "future": {"open": [True] * 4 + [False] * 4, "plan": np.arange(8.0)},
        "static": {"region": "north", "size": 3},
        "source": "by hand",
    }
    return TimeSeries(**(fields | changes))


def test_holds_what_it_is_given() -> None:
    series = make(remarks=["2 rows were dropped"])
    assert len(series) == 6
    assert series.beyond == 2
    assert series.target.tolist() == [1, 2, 3, 4, 5, 6]
    assert series.past["wind"].dtype == np.float64
    assert series.past["sky"].tolist() == ["clear", "mist", *["clear"] * 4]
    assert series.future["open"].tolist() == ["True"] * 4 + ["False"] * 4
    assert dict(series.static) == {"region": "north", "size": 3.0}
    assert series.remarks == ("2 rows were dropped",)
    assert repr(series) == "TimeSeries('demo', 6 rows, daily, 2024-01-01 to 2024-01-06)"
    assert repr(series[:1]) == "TimeSeries('demo', 1 row, daily, 2024-01-01 to 2024-01-01)"


def test_never_changes() -> None:
    values, days = np.arange(6.0), DAYS.as_unit("ns").to_numpy(copy=True)
    series = make(time=pd.DatetimeIndex(days), target=values, past={"wind": values})
    values[0], days[0] = 99, days[5]
    assert (series.target[0], series.past["wind"][0]) == (0, 0)
    assert series.time[0] == DAYS[0]
    held: Any
    for held in (series, pickle.loads(pickle.dumps(series))):
        for array in (held.target, *held.past.values(), *held.future.values()):
            assert not array.flags.writeable
        with pytest.raises(AttributeError):
            held.target = values
        with pytest.raises(TypeError):
            held.past["wind"] = values
    assert pickle.loads(pickle.dumps(series)).digest == series.digest


def test_shows_itself_in_a_notebook() -> None:
    page = make(unit="km/h", target_name="<speed>", remarks=("sorted",))._repr_html_()
    for text in ("&lt;speed&gt; [km/h]", "daily", "wind, sky", "by hand", "sorted"):
        assert text in page


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": " "}, "name of a series must be a non-empty text, but got ' '"),
    "no source": ({"source": ""}, "source of a series must be a non-empty text, but got ''"),
    "space": (
        {"error_space": "sqrt"},
        "demo: error_space must be 'value' or 'log', but got 'sqrt'",
    ),
    "too few": (
        {"target": [1.0, 2.0]},
        "demo: value must have shape (6,), a value for each time, but got (2,)",
    ),
    "a table": ({"target": np.ones((6, 2))}, "demo: value must have shape (6,), a value for each"),
    "not finite": (
        {"target": [1, 2, 3, np.inf, 5, 6], "target_name": "load"},
        "demo: load in row 3 must be a finite number, but got inf",
    ),
    "text": (
        {"target": ["1", "2", "x", "4", "5", "6"]},
        "demo: value must be numbers: could not convert string to float: 'x'",
    ),
    "not positive": (
        {"error_space": "log", "target": [1, 2, 0, 4, 5, 6]},
        "demo: value at 2024-01-03 must be above 0 where errors are those of logarithms, "
        "but got 0.0; error_space='value' takes any",
    ),
    "a covariate that is missing": (
        {"past": {"wind": [1, 2, np.nan, 4, 5, 6]}},
        "demo: wind in row 2 must be a finite number, but got nan",
    ),
    "text that is missing": (
        {"past": {"sky": ["a", "b", None, "a", "a", "a"]}},
        "demo: sky in row 2 must be text, but is missing",
    ),
    "a covariate that is too short": (
        {"future": {"plan": [1.0] * 8, "open": [1.0] * 7}},
        "demo: open must have shape (8,), a value for each time, but got (7,)",
    ),
    "no future": ({"future": {"plan": [1.0] * 5}}, "demo: plan must have shape (6,)"),
    "a name twice": (
        {"past": {"wind": [0] * 6}, "future": {"wind": [0] * 6}},
        "demo: 'wind' must name one column, but names several",
    ),
    "the target's name": ({"past": {"value": [0] * 6}}, "demo: 'value' must name one column"),
    "static": ({"static": {"size": np.nan}}, "demo: size in row 0 must be a finite number"),
    "a row is missing": (
        {"time": DAYS[:5].append(DAYS[5:].shift(1))},
        "demo, row 5: time must be 2024-01-06 (daily, one step after 2024-01-05), but got 2024",
    ),
    "time is text": ({"time": list("abcdef")}, "time must be dates of one time zone or whole"),
    "calendar of another time": (
        {"calendar": Calendar(frequency="steps")},
        "time must be whole numbers where the frequency is 'steps'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        make(**changes)
    assert str(caught.value).startswith(message)


def test_rows_are_taken_by_slices() -> None:
    series = make()
    part = series[1:4]
    assert part.target.tolist() == [2, 3, 4]
    assert part.time.tolist() == DAYS[1:4].tolist()
    assert part.past["sky"].tolist() == ["mist", "clear", "clear"]
    assert part.future["plan"].tolist() == [1, 2, 3, 4, 5, 6, 7]  # what lies beyond is known
    assert part.beyond == 4
    assert (part.name, part.calendar, part.static) == ("demo", series.calendar, series.static)
    assert series[-2:].target.tolist() == [5, 6]
    assert series[:].digest == series.digest != part.digest
    for wrong in (slice(3, 3), slice(0, 6, 2), 3):
        with pytest.raises(DataError, match="demo: rows"):
            series[wrong]  # type: ignore[index]


finite = st.floats(-1e12, 1e12, allow_subnormal=False)


@given(hnp.arrays(np.float64, 6, elements=finite), hnp.arrays(np.float64, 8, elements=finite))
def test_a_frame_is_read_back(target: Any, plan: Any) -> None:
    series = make(target=target, future={"plan": plan, "open": [True] * 8})
    frame = series.to_frame()
    assert len(frame) == 8
    again = TimeSeries.from_frame(
        frame,
        target="value",
        past=["wind", "sky"],
        future=["plan", "open"],
        static=["region", "size"],
        name="demo",
    )
    assert again.digest == series.digest
    assert again.target_name == "value"
    frame.iloc[0, 0] = 5.0  # a copy


def test_a_frame_of_sessions_goes_on_by_the_calendar() -> None:
    time = pd.bdate_range("2024-01-01", periods=20).delete([3])
    series = make(
        time=time,
        target=np.ones(19),
        calendar=infer_calendar(time),
        past={},
        future={"x": [1] * 21},
    )
    assert series.to_frame().index[-2:].tolist() == list(pd.bdate_range("2024-01-29", periods=2))
    assert series.to_frame().index.name == "time"


DIFFERENT: dict[str, dict[str, Any]] = {
    "time": {"time": DAYS.shift(1)},
    "zone": {"time": DAYS.tz_localize("UTC")},
    "target": {"target": [1, 2, 3, 4, 5, 7]},
    "season": {"calendar": Calendar(frequency="D")},
    "past": {"past": {"wind": [0, 1, 0, 1, 0, 1]}},
    "past is future": {"past": {}, "future": {"wind": [0, 1, 0, 1, 0, 1]}},
    "category": {"past": {"wind": [0, 1, 0, 1, 0, 1], "sky": ["mist", *["clear"] * 5]}},
    "static": {"static": {"region": "south", "size": 3}},
    "number as text": {"static": {"region": "north", "size": "3.0"}},
}
SAME: dict[str, dict[str, Any]] = {
    "names": {"name": "other", "source": "elsewhere", "remarks": ("x",), "target_name": "load"},
    "unit": {"time": DAYS.as_unit("s"), "unit": "m"},
    "whole": {"target": [1, 2, 3, 4, 5, 6]},
    "order": {"future": {"plan": list(range(8)), "open": ["True"] * 4 + ["False"] * 4}},
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_digest_changes_with_the_data(case: str) -> None:
    assert make(**DIFFERENT[case]).digest != make().digest


@pytest.mark.parametrize("case", SAME)
def test_digest_stays(case: str) -> None:
    assert make(**SAME[case]).digest == make().digest
    assert make(target=[-0.0, *[1] * 5]).digest == make(target=[0.0, *[1] * 5]).digest


def test_digest_of_equal_instants_in_other_zones_differs() -> None:
    hours = pd.date_range("2024-03-30", periods=6, freq="h", tz="UTC")
    zones = ["UTC", BERLIN, "Asia/Tokyo"]
    calendar = Calendar(frequency="h")
    found = {make(time=hours.tz_convert(zone), calendar=calendar).digest for zone in zones}
    assert len(found) == 3
    fixed = make(time=hours.tz_convert("+01:00"), calendar=calendar)
    assert fixed.digest not in found
    assert pickle.loads(pickle.dumps(fixed)).digest == fixed.digest
    assert make(time=hours.tz_convert("+00:00"), calendar=calendar).digest in found

    class Here(datetime.tzinfo):
        def utcoffset(self, when: datetime.datetime | None) -> datetime.timedelta | None:
            return None if when is None else datetime.timedelta(hours=1)

        def dst(self, when: datetime.datetime | None) -> None: ...

        def tzname(self, when: datetime.datetime | None) -> str:
            return "here"

    assert make(time=hours.tz_convert(ZoneInfo("UTC")), calendar=calendar).digest in found
    with pytest.raises(DataError, match="must have a time zone with a name"):
        make(time=hours.tz_convert(Here()), calendar=calendar)


PROGRAM = """
import sys
import foretune.datasets
foretune.datasets.__path__ += sys.argv[1:]
import pandas as pd
from foretune.datasets.calendar import infer_calendar
from foretune.datasets.series import TimeSeries
time = pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin")
series = TimeSeries(name="a", time=time, target=range(60), calendar=infer_calendar(time),
    past={"sky": ["klar", "trüb"] * 30}, future={"plan": [0.1] * 70}, static={"n": 1},
    source="a program")
text = TimeSeries.from_frame(pd.DataFrame({"ds": [f"2024-03-{d}" for d in range(10, 32)],
    "y": range(22)}))
unix = TimeSeries.from_frame(pd.DataFrame({"timestamp": range(1711756800, 1711800000, 3600),
    "y": range(12)}))
print(series.digest, text.digest, unix.digest)
"""


def test_digest_is_the_same_everywhere() -> None:
    found = set()
    for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
        run = subprocess.run(
            [sys.executable, "-c", PROGRAM, *foretune.datasets.__path__],
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": str(len(zone))},
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(run.stdout)
    assert len(found) == 1
    assert len(run.stdout.split()) == 3


def test_digest_is_of_these_bytes() -> None:
    """Studies are known by it, so it never changes."""
    calendar = '{"frequency": "steps", "seasonality": null, "step": 2, "weekdays": []}'.replace(
        '"', r"\""
    )
    parts = {
        '"calendar" U': f'"{calendar}"'.encode(),
        '"zone" U': b'""',
        '"time" i': struct.pack("<3q", 5, 7, 9),
        '"target" f': struct.pack("<3d", 0.0, 1.5, 2.0),
        '["past", "a"] f': struct.pack("<3d", 1.0, 2.0, 3.0),
        '["past", "b"] U': rb'["x", "y", "\u00fc"]',
        '["future", "c"] f': struct.pack("<4d", 0.0, 0.0, 0.0, 1.0),
        '["static", "d"] f': struct.pack("<d", 4.0),
    }
    content = b"foretune series 1\n"
    for label, data in parts.items():
        content += f"{label} {len(data)}\n".encode() + data
    series = make(
        time=[5, 7, 9],
        target=[-0.0, 1.5, 2.0],
        calendar=Calendar(frequency="steps", step=2),
        past={"b": ["x", "y", "ü"], "a": [1, 2, 3]},
        future={"c": [0, 0, 0, 1]},
        static={"d": 4},
    )
    assert series.digest == hashlib.sha256(content).hexdigest()


def test_draws_itself() -> None:
    from matplotlib import pyplot as plt

    time = pd.date_range("2024-03-30", periods=60, freq="h", tz=BERLIN)
    series = make(
        time=time, target=np.arange(60), calendar=infer_calendar(time), past={}, future={}
    )
    axes = series.plot()
    (line,) = axes.get_lines()
    np.testing.assert_array_equal(line.get_ydata(), series.target)
    assert axes.get_ylabel() == "value"
    assert replace(series, unit="MW").plot(axes) is axes
    assert axes.get_ylabel() == "value [MW]"
    assert make(time=range(6), calendar=Calendar(frequency="steps")).plot(axes) is axes
    # A dollar is a dollar, and begins no formula.
    replace(series, name=r"$\loss in US$", unit="$").plot(axes).figure.canvas.draw()
    plt.close("all")
