"""DataFrames as people have them; oracles by hand."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.common.errors import ConfigError, DataError, DataWarning, ForetuneError
from foretune.datasets.frames import Missing, parse_times
from foretune.datasets.series import TimeSeries

N = 12
DAYS = pd.date_range("2024-01-01", periods=N)
Y = np.arange(1.0, N + 1)
read = TimeSeries.from_frame


def text(format_: str, days: pd.DatetimeIndex = DAYS) -> list[str]:
    return list(days.strftime(format_))


GOOD: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "a DatetimeIndex": (pd.DataFrame({"load": Y}, index=DAYS), {}, "daily"),
    "its own name": (pd.DataFrame({"load": Y}, index=DAYS.rename("when")), {}, "daily"),
    "an aware one": (pd.DataFrame({"load": Y}, index=DAYS.tz_localize("Asia/Tokyo")), {}, "daily"),
    "a PeriodIndex": (
        pd.DataFrame({"load": Y}, index=pd.period_range("2024-01", periods=N, freq="M")),
        {},
        "monthly",
    ),
    "periods of weeks": (
        pd.DataFrame({"load": Y}, index=pd.period_range("2024-01", periods=N, freq="W-SUN")),
        {},
        "weekly, on Mondays",
    ),
    "text as index": (pd.DataFrame({"load": Y}, index=text("%Y-%m-%d")), {}, "daily"),
    "ds, y": (pd.DataFrame({"ds": text("%Y-%m-%d"), "y": Y, "z": Y}), {}, "daily"),
    "unique_id, ds, y": (
        pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": Y}),
        {},
        "daily",
    ),
    "unique_id as index": (
        pd.DataFrame({"unique_id": "a", "ds": DAYS, "y": Y}).set_index("unique_id"),
        {},
        "daily",
    ),
    "one of several": (
        pd.DataFrame({"unique_id": [1] * N + [2] * N, "ds": [*DAYS] * 2, "y": [*-Y, *Y]}),
        {"series": "2"},
        "daily",
    ),
    "a name in capitals": (pd.DataFrame({"Date": DAYS, "Value": Y, "x": Y}), {}, "daily"),
    "months": (
        pd.DataFrame({"Month": text("%Y-%m", pd.date_range("1949", periods=N, freq="MS")), "n": Y}),
        {},
        "monthly",
    ),
    "quarters": (
        pd.DataFrame({"t": [f"{2000 + i // 4}Q{i % 4 + 1}" for i in range(N)], "n": Y}),
        {},
        "quarterly",
    ),
    "dates under another name": (
        pd.DataFrame({"jour": text("%d %B %Y"), "sky": "clear", "n": Y}),
        {},
        "daily",
    ),
    "datetime.date": (pd.DataFrame({"t": [day.date() for day in DAYS], "n": Y}), {}, "daily"),
    "hours with an offset": (
        pd.DataFrame({"t": [f"2024-01-01T{hour:02d}:00Z" for hour in range(N)], "n": Y}),
        {},
        "hourly",
    ),
    "an empty column": (pd.DataFrame({"ds": DAYS, "note": np.nan, "n": Y}), {}, "daily"),
    "months as parts of a year": (
        pd.DataFrame({"time": 2024 + np.arange(N) / 12, "n": Y}),
        {},
        "monthly",
    ),
    "two columns that agree": (
        pd.DataFrame({"date": text("%Y-%m-%d"), "time": DAYS, "n": Y}),
        {},
        "daily",
    ),
    "date and unix": (
        pd.DataFrame({"timestamp": DAYS.as_unit("s").asi8, "date": DAYS, "n": Y}),
        {},
        "daily",
    ),
    "YYYYMMDD": (pd.DataFrame({"date": map(int, text("%Y%m%d")), "n": Y}), {}, "daily"),
    "a calendar's columns beside": (
        pd.DataFrame({"month": 1, "hour": 0, "date_time": DAYS, "n": Y}),
        {"target": "n"},
        "daily",
    ),
    "words for time of other languages": (
        pd.DataFrame({"Zeitstempel": text("%Y-%m-%d"), "Último": Y}),
        {},
        "daily",
    ),
    "a count, a year and values": (
        pd.DataFrame({"Index": range(N), "Año": 2024, "Fecha": DAYS, "n": Y}),
        {},
        "daily",
    ),
    "an index of prices": (pd.DataFrame({"ds": DAYS, "Index": Y.astype(int)}), {}, "daily"),
    "values that are called data": (pd.DataFrame({"ds": DAYS, "data": Y}), {}, "daily"),
    "years": (pd.DataFrame({"year": range(1990, 1990 + N), "n": Y}), {}, "yearly"),
    "years as index": (
        pd.DataFrame({"n": Y}, index=[1000 + 10 * i for i in range(N)]),
        {},
        "whole numbers, step 10",
    ),
    "named": (
        pd.DataFrame({"a": DAYS, "b": DAYS.shift(3), "m": -Y, "n": Y}),
        {"time": "a", "target": "n"},
        "daily",
    ),
    "whole numbers that may be missing": (
        pd.DataFrame({"ds": DAYS, "n": pd.array(Y.astype(int), dtype="Int64")}),
        {},
        "daily",
    ),
    "numbers as text": (pd.DataFrame({"ds": DAYS, "y": [*map(str, Y)]}), {"target": "y"}, "daily"),
    "descending": (pd.DataFrame({"ds": DAYS, "y": Y})[::-1], {}, "daily"),
    "columns that are numbers": (pd.DataFrame({0: DAYS, 1: Y}), {}, "daily"),
}


@pytest.mark.parametrize("case", GOOD)
def test_is_read_without_a_word(case: str) -> None:
    frame, options, calendar = GOOD[case]
    before = frame.copy()
    series = read(frame, **options)
    assert series.target.tolist() == Y.tolist()
    assert str(series.calendar) == calendar
    assert series.remarks == ()
    assert str(series.time[0].year if calendar.startswith(("d", "h")) else 2024) == "2024"
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(("unit", "word"), [("s", "seconds"), ("ms", "milliseconds")])
def test_unix_time_is_utc_and_said(unit: str, word: str) -> None:
    frame = pd.DataFrame({"open_time": DAYS.as_unit(unit).asi8.astype(float), "n": Y})
    with pytest.warns(DataWarning, match=f"'open_time' is read as {word} since 1970, in UTC"):
        series = read(frame)
    assert series.time.tolist() == DAYS.tz_localize("UTC").tolist()


def test_a_column_named_time_beside_an_index_of_dates() -> None:
    series = read(pd.DataFrame({"time": Y, "y": Y}, index=DAYS))
    assert series.time.tolist() == DAYS.tolist()


def test_rows_without_a_time_are_counted() -> None:
    with pytest.warns(DataWarning, match="s: no column is the time, so the rows are counted from"):
        series = read(pd.DataFrame({"y": Y}), name="s")
    assert series.time.tolist() == list(range(N))
    assert len(series.remarks) == 1


LISTED: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "no rows": (
        pd.DataFrame({"y": []}),
        {},
        "a DataFrame must have rows and columns, but its shape is (0, 1)",
    ),
    "complex numbers": (
        pd.DataFrame({"ds": DAYS, "y": Y + 1j}),
        {},
        "no column of numbers is left",
    ),
    "no frame": (Y, {}, "a series must be read from a DataFrame whose"),  # type: ignore[dict-item]
    "two headers": (
        pd.DataFrame(np.ones((N, 1)), columns=pd.MultiIndex.from_tuples([("a", "b")])),
        {},
        "a series must be read from a DataFrame whose columns have one name each, but got "
        "DataFrame with several",
    ),
    "a name twice": (
        pd.DataFrame(np.ones((N, 2)), columns=["a", "a"]),
        {},
        "'a' must name one column, but names several",
    ),
    "two times": (
        pd.DataFrame({"a": DAYS, "b": pd.date_range("2024-01-01", periods=N, freq="h"), "n": Y}),
        {},
        "the time may be a or b; choose one, as by time='a'",
    ),
    "no time": (
        pd.DataFrame({"when": ["spring"] * N, "n": Y}),
        {},
        "no column of when, n is known to be the time; give time=",
    ),
    "two targets": (
        pd.DataFrame({"ds": DAYS, "m": Y, "n": Y}),
        {},
        "the target may be m or n; choose one, as by target='m', or give "
        "Panel.from_frame(wide=True) where each column is a series",
    ),
    "no target": (
        pd.DataFrame({"ds": DAYS, "sky": "clear"}),
        {},
        "no column of numbers is left of ds, sky; give target=",
    ),
    "no such column": (
        pd.DataFrame({"ds": DAYS, "y": Y}),
        {"past": ["wind"]},
        "'wind' must be a column, and the columns are ds, y",
    ),
    "a column in two places": (
        pd.DataFrame({"ds": DAYS, "y": Y, "x": Y}),
        {"past": "x", "future": "x"},
        "'x' must be used once, but is named 2 times",
    ),
    "several ids": (
        pd.DataFrame({"unique_id": list("ab") * 6, "ds": DAYS, "y": Y}),
        {},
        "unique_id must be one series, but there are 2: a, b; choose one, as by series='a'",
    ),
    "no such id": (
        pd.DataFrame({"unique_id": list("ab") * 6, "ds": DAYS, "y": Y}),
        {"series": "c"},
        "series must be one of a, b, but got 'c'",
    ),
    "no ids": (
        pd.DataFrame({"ds": DAYS, "y": Y}),
        {"series": "c"},
        "series='c' needs a column unique_id, but there is none",
    ),
    "not static": (
        pd.DataFrame({"ds": DAYS, "y": Y, "x": ["a", *["b"] * 11]}),
        {"static": ["x"]},
        "x must have one value to be static, but has 2: a, b; past= and future= take others",
    ),
    "no number": (
        pd.DataFrame({"ds": DAYS, "y": [*Y[:4], "five", *Y[5:]]}),
        {"target": "y"},
        "row 4: y must be a number, but got 'five'",
    ),
    "no date": (
        pd.DataFrame({"ds": [*text("%Y-%m-%d")[:-1], "total"], "y": Y}),
        {},
        "row 11: ds must be a day of the years 1000 to 8999 as YYYY-MM-DD, like the ones above, "
        "but got 'total'",
    ),
    "no whole number": (
        pd.DataFrame({"year": [*range(11), 11.5], "y": Y}),
        {},
        "row 11: year must be a date or time such as 2021-01-31, 1/31/2021, Jan 31, 2021, 2021-01, "
        "unix time or a whole number, but got '11.5'",
    ),
    "a time that is none": (
        pd.DataFrame({"Month": [f"1-{i}" for i in range(N)], "y": Y}),
        {},
        "row 0: Month must be a date or time such as",
    ),
    "two zones": (
        pd.DataFrame({"ds": ["2024-03-31T00:00+01:00", "2024-03-31T03:00-05:00"], "y": [1.0, 2]}),
        {"time": "ds"},
        "row 1: ds must be of the same time zone as in the first row, but got "
        "'2024-03-31T03:00-05:00'; write all times in UTC",
    ),
    "twice": (
        pd.DataFrame({"ds": DAYS[[0, 1, 2, 2, 3, 4]], "y": Y[:6]}),
        {},
        "row 3: time must increase from row to row, but 2024-01-03 is there twice; keep one row",
    ),
    "a gap": (
        pd.DataFrame({"ds": DAYS.delete(4), "y": Y[1:]}),
        {},
        "row 4: time must be 2024-01-05 (daily, one step after 2024-01-04), but got 2024-01-06; "
        "fill missing rows with missing='ffill' or missing='interpolate', or give freq=",
    ),
    "a gap in falling rows": (
        pd.DataFrame({"ds": DAYS.delete(4)[::-1], "y": Y[1:]}),
        {},
        "row 6: time must be 2024-01-05 (daily, one step after 2024-01-04), but got 2024-01-06;",
    ),
}


@pytest.mark.filterwarnings("ignore:In a future version of pandas:FutureWarning")
@pytest.mark.parametrize("case", LISTED)
def test_what_cannot_be_decided_is_refused(case: str) -> None:
    frame, options, message = LISTED[case]
    with pytest.raises(DataError) as caught:
        read(frame, **options)
    assert str(caught.value).startswith(message)


def times(cells: list[Any], **options: Any) -> list[str]:
    return [
        str(time).removesuffix(" 00:00:00") for time in parse_times(pd.Series(cells), **options)[0]
    ]


MONTHS = [f"01/{month:02d}/2020" for month in range(1, 13)]


def test_a_day_above_12_decides() -> None:
    assert times(["11/12/2020", "12/12/2020", "13/12/2020"])[0] == "2020-12-11"
    assert times(["12/11/2020", "12/12/2020", "12/13/2020"])[0] == "2020-12-11"
    assert times(["30.12.69 5:00 PM", "31.12.69 5:00 PM"])[0] == "1969-12-30 17:00:00"
    assert times(["30-12-68", "31-12-68"])[0] == "2068-12-30"


def test_or_the_calendar() -> None:
    assert times([*MONTHS, "01/01/2021", "01/02/2021"])[1] == "2020-02-01"
    swapped = [f"{cell[3:5]}/01/{cell[6:]}" for cell in [*MONTHS, "01/01/2021", "01/02/2021"]]
    assert times(swapped)[1] == "2020-02-01"
    assert times(MONTHS, freq="MS")[1] == "2020-02-01"
    assert times(MONTHS, freq="D")[1] == "2020-01-02"


def test_or_the_user() -> None:
    with pytest.raises(DataError) as caught:
        read(pd.DataFrame({"date": MONTHS, "y": Y}))
    assert str(caught.value) == (
        "row 1: date must be a date that has one reading, but got '01/02/2020', 2020-02-01 as "
        "D/M/YYYY and 2020-01-02 as M/D/YYYY, like all rows; give day_first=True or "
        "day_first=False (--day-first, --no-day-first)"
    )
    assert str(read(pd.DataFrame({"date": MONTHS, "y": Y}), day_first=True).calendar) == "monthly"
    assert str(read(pd.DataFrame({"date": MONTHS, "y": Y}), day_first=False).calendar) == "daily"
    with pytest.raises(DataError, match=r"row 0: None must be a date or time .* but got '12/13/20"):
        times(["12/13/2020"], day_first=True)


def frame_of(days: Any = DAYS, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"ds": days, **({"y": Y} | columns)})


def test_one_row_out_of_order_is_named() -> None:
    order = [0, 1, 7, 2, 3, 4, 5, 6, 8, 9, 10, 11]
    for rows, row in ((order, 2), (order[::-1], 9)):
        with pytest.warns(DataWarning) as caught:
            series = read(frame_of().iloc[rows])
        assert series.target.tolist() == Y.tolist()
        (remark,) = series.remarks
        assert remark == f"row {row} (2024-01-08 00:00:00) is out of order; the rows were sorted"
        assert str(caught[0].message) == f"series: {remark}"


@given(st.permutations(range(N)))
def test_any_order_is_the_same_data(order: list[int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        series = read(frame_of(x=Y).iloc[order], past=["x"])
    assert series.digest == read(frame_of(x=Y), past=["x"]).digest
    assert len(series.remarks) == (order not in ([*range(N)], [*range(N)[::-1]]))


HOLES = np.where(np.isin(Y, [3, 4, 9]), np.nan, Y)


def test_missing_values_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        read(frame_of(y=HOLES))
    assert str(caught.value) == (
        "row 2: y must be given, but is missing, as is a value in 3 of 12 rows; missing='drop' "
        "leaves such rows out, missing='ffill' or missing='interpolate' fill values whose time is "
        "known"
    )
    with pytest.raises(DataError, match="row 5: sky must be given, but is missing"):
        read(frame_of(sky=[*["clear"] * 5, None, *["clear"] * 6]), past="sky")
    with pytest.raises(DataError, match="row 5: ds must be given, but is missing"):
        read(frame_of(DAYS.insert(5, pd.NaT)[:N]))
    with pytest.raises(ConfigError, match=r"missing must be one of .* but got 'guess'"):
        read(frame_of(), missing="guess")  # type: ignore[arg-type]
    assert len(read(frame_of(other=HOLES), target="y")) == N  # a column that is not used


def test_missing_values_are_filled() -> None:
    cases: dict[Missing, list[int]] = {"ffill": [2, 2, 8], "interpolate": [3, 4, 9]}
    for missing, filled in cases.items():
        with pytest.warns(DataWarning, match="series: 3 missing values of y were filled"):
            series = read(frame_of(y=HOLES), missing=missing)
        assert series.target[[2, 3, 8]].tolist() == filled
        assert series.target[[0, 1, 4, 11]].tolist() == [1, 2, 5, 12]
        (remark,) = series.remarks
        assert remark.startswith(f"3 missing values of y were filled (missing={missing!r}")
        assert ("looks ahead" in remark) == (missing == "interpolate")
        assert read(frame_of(), missing=missing).remarks == ()
        with pytest.raises(
            DataError, match=f"row 0: y must be given in the first row, for missing='{missing}'"
        ):
            read(frame_of(y=[np.nan, *Y[1:]]), missing=missing)
        with pytest.raises(DataError, match="row 5: ds must be given, but is missing"):
            read(frame_of(DAYS.insert(5, pd.NaT)[:N]), missing=missing)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("frequency", ["h", "D", "W-MON", "MS", "QE-DEC", "B"])
def test_missing_rows_are_filled(frequency: str, zone: str | None) -> None:
    days = pd.date_range("2024-03-28", periods=30, freq=frequency, tz=zone)
    frame = pd.DataFrame({"ds": days, "y": np.arange(30.0), "sky": ["a", "b"] * 15})
    some = frame.drop(index=[5, 6, 20]).reset_index(drop=True)
    with pytest.warns(DataWarning):
        series = read(some, past="sky", freq=frequency, missing="interpolate")
    assert series.target.tolist() == list(range(30))
    assert series.time.tolist() == list(days)
    assert series.past["sky"][[4, 5, 6, 20]].tolist() == ["a", "a", "a", "b"]
    assert series.remarks == ("3 missing rows were added (missing='interpolate')",)
    with pytest.warns(DataWarning):
        assert read(some, freq=frequency, target="y", missing="ffill").target[6] == 4


def test_rows_are_dropped_from_sessions() -> None:
    days = pd.bdate_range("2024-01-01", periods=60)
    values = np.where(np.arange(60) % 20 == 7, np.nan, np.arange(60.0))
    with pytest.warns(DataWarning, match="3 of 60 rows were left out, for a value is missing"):
        series = read(pd.DataFrame({"ds": days, "y": values}), missing="drop")
    assert str(series.calendar) == "sessions (Monday to Friday)"
    assert series.target.tolist() == [i for i in range(60) if i % 20 != 7]
    assert series.remarks[0].endswith("(missing='drop'); the first is row 7")
    with pytest.warns(DataWarning):  # sessions have no missing rows, but may have missing values
        filled = read(pd.DataFrame({"ds": days, "y": values}).drop(index=9), missing="ffill")
    assert filled.target[[6, 7, 8]].tolist() == [6, 6, 8]
    assert len(filled) == 59


def test_rows_are_dropped_from_the_ends_of_a_regular_series_only() -> None:
    with pytest.warns(DataWarning):
        assert len(read(frame_of(y=[np.nan, np.nan, *Y[2:]]), missing="drop")) == 10
    with pytest.raises(DataError, match=r"row 4: time must be 2024-01-03 .* but got 2024-01-05"):
        read(frame_of(y=HOLES), missing="drop")
    nothing = frame_of(y=[np.nan] * N)
    with pytest.raises(DataError, match="time must have at least one row"):
        read(nothing, missing="drop")


def test_a_time_that_is_missing_can_be_dropped() -> None:
    days = pd.Series([*DAYS, pd.NaT])
    with pytest.warns(DataWarning, match="the first is row 12"):
        series = read(pd.DataFrame({"ds": days, "y": [*Y, 99.0]}), missing="drop")
    assert series.target.tolist() == Y.tolist()
    counts: list[int | None] = [*range(1, N + 1), None]
    with pytest.warns(DataWarning):
        series = read(pd.DataFrame({"step": counts, "y": [*Y, 99.0]}), time="step", missing="drop")
    assert series.time.tolist() == counts[:-1]


def test_future_covariates_may_go_on() -> None:
    target: list[float | None] = [*Y[:9], None, None, None]
    frame = frame_of(y=target, wind=[*Y[:9], None, None, None], holiday=[False] * 11 + [True])
    series = read(frame, past=["wind"], future=["holiday"])
    assert (len(series), series.beyond) == (9, 3)
    assert series.time.tolist() == DAYS[:9].tolist()
    assert series.future["holiday"].tolist() == ["False"] * 11 + ["True"]
    assert len(series.past["wind"]) == 9
    with pytest.raises(DataError, match="row 9: y must be given, but is missing"):
        read(frame, target="y", past=["holiday"])  # not known beyond, so the target is missing
    with pytest.raises(DataError, match="row 10: holiday must be given, but is missing"):
        read(frame.assign(holiday=[0.0] * 10 + [np.nan, 1.0]), past="wind", future="holiday")
    hole = frame.drop(index=[4, 10])
    with pytest.warns(DataWarning, match="2 missing rows were added"):
        series = read(hole, past="wind", future="holiday", missing="interpolate")
    assert (len(series), series.beyond) == (9, 3)
    assert series.target[4] == series.past["wind"][4] == 5


def test_static_columns_have_one_value() -> None:
    series = read(
        frame_of(region="north", size=3, open=True), target="y", static=["region", "size", "open"]
    )
    assert dict(series.static) == {"region": "north", "size": 3.0, "open": "True"}


def test_options_reach_the_calendar() -> None:
    assert read(frame_of(), seasonality=30).calendar.seasonality == 30
    assert read(frame_of().head(2), freq="D").calendar.seasonality == 7
    with pytest.raises(ConfigError, match="freq must be"):
        read(frame_of(), freq="never")


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.integers(1, 20),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["1/2/2020", "2020-01-01", "2020-06-01T00:00+02:00", "May", "99991231", "NaT"]),
    st.datetimes(),
    st.dates(),
    st.binary(max_size=2),
    st.lists(st.integers(), max_size=1),
)
columns = st.integers(1, 6).flatmap(
    lambda size: st.dictionaries(
        st.sampled_from(["ds", "y", "unique_id", "x", "year", "", 3]),
        st.lists(cells, min_size=size, max_size=size)
        | st.lists(st.integers(0, 2**62), min_size=size, max_size=size)
        | st.just([f"{day + 1}/1/2020" for day in range(size)])
        | st.just([1.5] * size),
        min_size=1,
    )
)


@pytest.mark.filterwarnings("ignore")
@given(columns, st.sampled_from(["raise", "drop", "ffill", "interpolate"]), st.booleans())
def test_whatever_is_in_a_frame_is_read_or_refused(
    columns: Any, missing: Any, covariate: bool
) -> None:
    past = ["x"] if covariate and "x" in columns else []
    try:
        series = read(pd.DataFrame(columns), missing=missing, past=past)
    except ForetuneError:
        return
    again = read(series.to_frame(), target=series.target_name, past=past)
    assert again.digest == series.digest


def test_rows_left_out_beyond_the_target_cost_no_target() -> None:
    hours = pd.date_range("2024-03-01", periods=124, freq="h")
    frame = pd.DataFrame({"when": hours, "y": np.arange(124.0), "plan": np.arange(124.0)})
    frame.loc[100:, "y"] = np.nan
    frame.loc[120:, "plan"] = np.nan
    with pytest.warns(DataWarning, match="4 of 124 rows were left out"):
        series = TimeSeries.from_frame(frame, target="y", future=["plan"], missing="drop")
    assert series.target.tolist() == list(range(100))
    assert len(series.future["plan"]) == 120
