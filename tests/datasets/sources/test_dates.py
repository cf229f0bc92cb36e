"""Dates as people write them; day and month never change places without a reason."""

import contextlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.common.errors import DataError
from foretune.datasets.sources.dates import to_times
from foretune.datasets.sources.text_table import Table
from foretune.datasets.text_dates import agree, is_time


def table_of(*columns: list[str]) -> Table:
    cells = np.array(list(zip(*columns, strict=True)), dtype=object)
    return Table("f.csv", tuple("abc"[: len(columns)]), cells, np.arange(len(cells)) + 2)


def read(*cells: str, day_first: bool | None = None) -> list[str]:
    index, _ = to_times(table_of(list(cells)), ("a",), day_first=day_first)
    return [str(time).removesuffix(" 00:00:00") for time in index]


ONE = {
    "2020-01-02": "2020-01-02",
    "2020-1-2": "2020-01-02",
    "2020/01/02": "2020-01-02",
    "2020.01.02": "2020-01-02",
    "2020-01-02 03:04": "2020-01-02 03:04:00",
    "2020-01-02T03:04:05": "2020-01-02 03:04:05",
    "2020-01-02T03:04:05.250": "2020-01-02 03:04:05.250000",
    "2020-01-02T03:04:05.123456000": "2020-01-02 03:04:05.123456",
    "2020-01-02T03:04:05Z": "2020-01-02 03:04:05+00:00",
    "2020-01-02 03:04:05 UTC": "2020-01-02 03:04:05+00:00",
    "2020-01-02 03:04:05+05:30": "2020-01-02 03:04:05+05:30",
    "2020-01-02 03:04-0500": "2020-01-02 03:04:00-05:00",
    "13/01/2021": "2021-01-13",
    "01/13/2021": "2021-01-13",
    "1/13/2021 4:00 PM": "2021-01-13 16:00:00",
    "1/13/2021 12:00 AM": "2021-01-13",
    "1/13/2021 12:30:00 p.m.": "2021-01-13 12:30:00",
    "13-01-2021": "2021-01-13",
    "02.01.2020": "2020-01-02",
    "2.1.2020": "2020-01-02",
    "02.01.20 15:30": "2020-01-02 15:30:00",
    "13/01/70": "1970-01-13",
    "20200102": "2020-01-02",
    "20200102 153000": "2020-01-02 15:30:00",
    "20200102153000": "2020-01-02 15:30:00",
    "20200102T1530": "2020-01-02 15:30:00",
    "Apr 21, 2023": "2023-04-21",
    "April 21 2023": "2023-04-21",
    "Sept. 2, 2023": "2023-09-02",
    "21-Apr-23": "2023-04-21",
    "21 apr 2023": "2023-04-21",
    "21/APR/2023 09:30:00": "2023-04-21 09:30:00",
    "2021-02": "2021-02-01",
    "2021/02": "2021-02-01",
    "2021M02": "2021-02-01",
    "02/2021": "2021-02-01",
    "Feb 2021": "2021-02-01",
    "February-2021": "2021-02-01",
    "Feb-21": "2021-02-01",
    "2021 Feb": "2021-02-01",
    "202102": "2021-02-01",
    "2021Q2": "2021-04-01",
    "2021-Q4": "2021-10-01",
    "Q3 2021": "2021-07-01",
    "Mrz 20": "2020-03-01",
    "1. Oktober 2020": "2020-10-01",
    "févr. 2020": "2020-02-01",
    "12-août-20": "2020-08-12",
    "ene 2020": "2020-01-01",
    "2020-W02": "2020-01-06",
    "2020W53": "2020-12-28",
    "2020-W02-3": "2020-01-08",
    "2020-01-02 24:00": "2020-01-03",
    "1949.0": "1949-01-01",
    "1949.083": "1949-02-01",
    "1949.5": "1949-07-01",
    "1949.91666666667": "1949-12-01",
    "1950": "1950-01-01",
    "0": "0",
    "-7": "-7",
    "17": "17",
    "17.0": "17",
    "1609459200": "2021-01-01 00:00:00+00:00",
    "1609459200.0": "2021-01-01 00:00:00+00:00",
    "1609459200000": "2021-01-01 00:00:00+00:00",
    "1609459200000000": "2021-01-01 00:00:00+00:00",
    "1609459200000000001": "2021-01-01 00:00:00.000000001+00:00",
    "1000-01-01": "1000-01-01",
    "8999-12-31": "8999-12-31",
}


@pytest.mark.parametrize("cell", ONE)
def test_reads(cell: str) -> None:
    assert read(cell) == [ONE[cell]]


D, M = "D/M/YYYY", "M/D/YYYY"


def dates(layout: str, times: pd.DatetimeIndex) -> list[str]:
    return times.strftime("%d/%m/%Y %H:%M" if layout == D else "%m/%d/%Y %H:%M").tolist()


@pytest.mark.parametrize("layout", [D, M])
@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2020-01-01", periods=13, freq="MS"),
        pd.date_range("2020-01-01", periods=14, freq="MS") + pd.Timedelta("4D"),
        pd.date_range("2020-01-01", periods=13, freq="D"),
        pd.date_range("2020-01-01", periods=5, freq="QS"),
        pd.date_range("2020-01-01", periods=9, freq="YS"),
        pd.date_range("2020-02-01", periods=36, freq="h"),
        pd.date_range("2020-02-01", periods=9, freq="B"),
        pd.date_range("2020-01-01", periods=13, freq="MS")[::-1],
        pd.date_range("2020-01-03", periods=40, freq="W-FRI"),
    ],
    ids=["months", "the fifth", "days", "quarters", "years", "hours", "business", "down", "weeks"],
)
def test_day_and_month_by_the_whole_column_and_the_calendar(
    layout: str, times: pd.DatetimeIndex
) -> None:
    index, _ = to_times(table_of(dates(layout, times)), ("a",))
    assert index.tolist() == times.tolist()


@pytest.mark.parametrize("layout", [D, M])
@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2020-01-01", periods=3, freq="MS"),
        pd.date_range("2020-01-01", periods=3, freq="D"),
        pd.date_range("2020-01-01", periods=12, freq="MS"),
        pd.date_range("2020-01-01", periods=12, freq="D"),
        pd.date_range("2020-01-01", periods=10, freq="MS") + pd.Timedelta("4D"),
        pd.date_range("2020-01-01", periods=4, freq="QS"),
        pd.date_range("2020-01-01", periods=4, freq="MS")[[0, 1, 3]],
        pd.date_range("2020-01-01", periods=12, freq="MS")[[3, 1, 0, 2, 8]],
        pd.date_range("2020-01-01", periods=1, freq="MS") + pd.Timedelta("1D"),
    ],
    ids=["3 months", "3 days", "12 months", "12 days", "fifths", "quarters", "gap", "mixed", "one"],
)
def test_where_both_are_possible_it_asks(layout: str, times: pd.DatetimeIndex) -> None:
    """01/01, 01/02, 01/03 are three months or three days, and are never guessed."""
    cells = dates(layout, times)
    with pytest.raises(DataError, match=r"give day_first=True or day_first=False \(--day-first"):
        to_times(table_of(cells), ("a",))
    index, _ = to_times(table_of(cells), ("a",), day_first=layout == D)
    assert index.tolist() == times.tolist()


def test_the_question_shows_both_readings() -> None:
    with pytest.raises(DataError) as caught:
        read("01/01/2020", "01/02/2020", "01/03/2020")
    assert str(caught.value) == (
        "f.csv, line 3, column 'a': must be a date that has one reading, but got '01/02/2020', "
        "2020-02-01 as D/M/YYYY and 2020-01-02 as M/D/YYYY, like all rows; give day_first=True or "
        "day_first=False (--day-first, --no-day-first)"
    )


def test_a_choice_by_the_calendar_is_said() -> None:
    cells = dates(D, pd.date_range("2020-01-01", periods=13, freq="MS"))
    _, remarks = to_times(table_of(cells), ("a",))
    assert remarks == ("column 'a' is read as D/M/YYYY, for only so its steps are equal",)
    index, _ = to_times(table_of(cells[:3]), ("a",), freq="MS")
    assert index[-1] == pd.Timestamp("2020-03-01")


def test_dots_have_the_day_first_unless_told() -> None:
    assert read("01.01.2020", "01.02.2020", "01.03.2020")[1] == "2020-02-01"
    assert read("01.01.2020", "01.02.2020", "01.03.2020", day_first=False)[1] == "2020-01-02"


def test_years_of_two_digits() -> None:
    days = pd.date_range("2020-01-02", periods=60)
    for layout in ("%y-%m-%d", "%d-%m-%y", "%m/%d/%y", "%d/%m/%y", "%d.%m.%y"):
        index, _ = to_times(table_of(days.strftime(layout).tolist()), ("a",))
        assert index.tolist() == days.tolist(), layout


REFUSED = {
    "words": (["soon"], "line 2, column 'a': must be a date or time such as 2021-01-31"),
    "missing": (
        ["2020-01-01", "-"],
        "line 3, column 'a': must be a time, but got '-'; missing='drop' (--missing drop) leaves "
        "the row out",
    ),
    "mixed layouts": (
        ["2020-01-02", "1/3/2020"],
        "line 3, column 'a': must be a day of the years 1000 to 8999 as YYYY-MM-DD, like the ones "
        "above, but got '1/3/2020'",
    ),
    "mixed marks, as Excel leaves them": (
        ["1/2/2020", "13-01-2020"],
        "line 3, column 'a': must be",
    ),
    "day and month change places": (
        ["13/01/2020", "14/01/2020", "01/15/2020"],
        "line 4, column 'a': must be a day of the years 1000 to 8999 as D/M/YYYY",
    ),
    "no such day": (["2021-02-28", "2021-02-29"], "line 3, column 'a': must be a day"),
    "no such month": (["20200101", "20201301"], "line 3, column 'a': must be a day"),
    "no such hour": (["2020-01-01 24:01"], "line 2, column 'a': must be a date or time"),
    "no such week": (["2021-W52", "2021-W53"], "line 3, column 'a': must be a day"),
    "no month of a year": (["1949.04", "1949.12"], "line 2, column 'a': must be a date or time"),
    "a count with a fraction": (["1", "2", "2.5"], "line 4, column 'a': must be a date or time"),
    "hour 13 pm": (["1/13/2020 13:00 PM"], "line 2, column 'a': must be a date or time"),
    "no such zone": (["2020-01-01 00:00+99:00"], "line 2, column 'a': must be a date or time"),
    "year 999": (["0999-01-01"], "line 2, column 'a': must be a date or time"),
    "year 9999": (["2020-01-01", "9999-12-31"], "line 3, column 'a': must be a day of the years"),
    "days without a year": (["Jan-20", "Jan-21"], "line 2, column 'a': must be a date or time"),
    "syslog": (["Jan 20 10:00"], "line 2, column 'a': must be a date or time"),
    "a word that begins like a month": (["Market 5, 2020"], "line 2, column 'a': must be a date"),
    "fractions": (["1.5", "2.5"], "line 2, column 'a': must be a date or time"),
    "a number too large": (["99999999999"], "line 2, column 'a': must be a date or time"),
    "far beyond": (["9" * 19], "line 2, column 'a': must be a date or time"),
    "other digits": (["२०२०-०१-०१"], "line 2, column 'a': must be a date or time"),
    "mixed zones": (
        ["2020-01-01 00:00+01:00", "2020-01-02 00:00+09:00"],
        "line 3, column 'a': must be of the same time zone as in the first row, but got "
        "'2020-01-02 00:00+09:00'; write all times in UTC",
    ),
    "a zone that comes and goes": (
        [f"2020-01-{i:02d} 00:00+0{i % 2}:00" for i in range(1, 10)],
        "line 3, column 'a': must be of the same time zone",
    ),
    "with and without a zone": (
        ["2020-01-01 00:00Z", "2020-01-02 00:00"],
        "line 3, column 'a': must be of the same time zone",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    cells, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        read(*cells)
    assert message in str(caught.value)
    assert str(caught.value).startswith("f.csv, line ")


def in_zone(times: pd.DatetimeIndex) -> list[str]:
    return [time.isoformat(sep=" ") for time in times]


def test_days_keep_their_local_clock_through_summer_time() -> None:
    days = pd.date_range("2020-01-01", periods=400, tz="Europe/Berlin")
    index, remarks = to_times(table_of(in_zone(days)), ("a",))
    assert index.tolist() == days.tz_localize(None).tolist()
    assert remarks == ("column 'a' has summer time; its local clock is kept",)


def test_hours_with_summer_time_are_read_as_utc() -> None:
    hours = pd.date_range("2020-03-28", periods=72, freq="h", tz="Europe/Berlin")
    index, remarks = to_times(table_of(in_zone(hours)), ("a",))
    assert index.tolist() == hours.tz_convert("UTC").tolist()
    (remark,) = remarks
    assert remark.startswith("column 'a' has summer time; read as UTC: a DataFrame whose times")


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        (["00:00", "09:30"], 9.5),
        (["000000", "093000"], 9.5),
        (["0", "930"], 9.5),
        (["0", "9"], 9),
        (["00:00:00", "09:30:00"], 9.5),
        (["12:00 AM", "09:30 AM"], 9.5),
        (["00.00.00", "09.30.00"], 9.5),
        (["1", "24"], 23),
    ],
)
def test_date_and_time_in_two_columns(clock: list[str], expected: float) -> None:
    for days in (["2020-01-02"] * 2, ["20200102"] * 2, ["2020.01.02"] * 2):
        index, _ = to_times(table_of(days, clock), ("a", "b"))
        assert index[1] - index[0] == pd.Timedelta(hours=expected)


def test_months_years_and_steps_in_digits() -> None:
    assert read("202011", "202012", "202101")[-1] == "2021-01-01"
    assert read("1999", "2000")[-1] == "2000-01-01"
    assert read("1", "2000")[-1] == "2000"
    assert read("202011", "202013", "202015")[-1] == "202015"
    assert read("20209997", "20209998", "20209999")[-1] == "20209999"
    assert to_times(table_of(["5", "6"]), ("a",))[0].dtype == np.int64


def test_unix_time_is_utc() -> None:
    index, remarks = to_times(table_of(["-252460800", "1609459200"]), ("a",))
    assert str(index[1]) == "2021-01-01 00:00:00+00:00"
    assert remarks == ("column 'a' is read as seconds since 1970, in UTC",)


def test_the_century_of_two_digits_is_said() -> None:
    index, remarks = to_times(table_of(["31.12.68", "31.12.69"]), ("a",))
    assert index.year.tolist() == [2068, 1969]
    assert remarks == ("column 'a' has years of two digits, 1969 to 2068",)


def test_a_date_in_several_columns() -> None:
    year, month, day = ["2020", "2020"], ["1", "02"], ["31", "1.0"]
    assert to_times(table_of(year, month), ("a", "b"))[0].tolist() == [
        pd.Timestamp("2020-01-01"), pd.Timestamp("2020-02-01")
    ]  # fmt: skip
    assert str(to_times(table_of(year, ["Jan", "Feb"]), ("a", "b"))[0][1]) == "2020-02-01 00:00:00"
    index = to_times(table_of(year, month, day), ("a", "b", "c"))[0]
    assert index.tolist() == [pd.Timestamp("2020-01-31"), pd.Timestamp("2020-02-01")]
    with pytest.raises(DataError, match=r"line 3, column 'a': must be a day .* got '2020-13'"):
        to_times(table_of(year, ["12", "13"]), ("a", "b"))


def test_numbers_too_large_are_no_times() -> None:
    assert read("-999999999999999999", "1609459200") == ["-999999999999999999", "1609459200"]


def test_times_agree() -> None:
    days = pd.date_range("2020-03-25", periods=9)
    assert agree(days, days.tz_localize("UTC"))
    assert agree(days, days + pd.Timedelta("23:59:59"))
    assert agree(days, days.tz_localize("Europe/Berlin").tz_convert("UTC"))
    assert not agree(days, pd.date_range("2020-03-25", periods=9, freq="2D"))
    assert not agree(days, pd.Index(range(9)))


@pytest.mark.parametrize(
    ("cell", "expected"),
    {
        "2020-01-01": True,
        "5.3.2020": True,
        "5": False,
        "12:00": False,
        "x": False,
        "May": False,
    }.items(),
)
def test_is_time(cell: str, expected: bool) -> None:
    assert is_time(cell) is expected


@given(
    st.lists(
        st.dates(pd.Timestamp("1700-01-01").date(), pd.Timestamp("2200-01-01").date()),
        min_size=1,
        max_size=30,
    ),
    st.booleans(),
)
def test_day_and_month_are_right_or_asked(days: list[object], day_first: bool) -> None:
    """Whatever the days, the reading is theirs, or the reader asks."""
    times = pd.DatetimeIndex(days).sort_values()
    cells = times.strftime("%d/%m/%Y" if day_first else "%m/%d/%Y").tolist()
    asked = ""
    try:
        index, _ = to_times(table_of(cells), ("a",))
    except DataError as error:
        asked = str(error)
    assert "day_first=" in asked if asked else index.tolist() == times.tolist()


FREQUENCIES = ("D", "2D", "B", "W-MON", "MS", "2MS", "QS", "YS", "h")


@given(st.data())
def test_series_with_missing_rows_are_read_right_or_asked(data: st.DataObject) -> None:
    """Monthly, daily, ... series from any day, up or down, in layouts that look alike."""
    draw = data.draw
    start = pd.Timestamp("2019-01-01") + pd.Timedelta(days=draw(st.integers(0, 800)))
    shift = pd.Timedelta(days=draw(st.integers(0, 5)))
    times = pd.date_range(start, periods=40, freq=draw(st.sampled_from(FREQUENCIES))) + shift
    rows = draw(st.lists(st.integers(0, 39), min_size=1, unique=True).map(sorted))
    layout = draw(st.sampled_from(("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d")))
    times = times[rows][:: draw(st.sampled_from((1, -1)))].normalize()
    asked = ""
    try:
        index, _ = to_times(table_of(times.strftime(layout).tolist()), ("a",))
    except DataError as error:
        asked = str(error)
    assert "day_first=" in asked if asked else index.tolist() == times.tolist()


@given(st.lists(st.text("0123456789-/.: TJanuryFebQM", max_size=20), min_size=1, max_size=3))
def test_any_text_is_a_time_or_refused(cells: list[str]) -> None:
    with contextlib.suppress(DataError):
        index, _ = to_times(table_of(cells), ("a",))
        assert len(index) == len(cells)
