"""Sessions of exchanges. Oracles: the days on which these were closed, as they published them."""

import sys
from typing import Any

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets import Calendar, TimeSeries, as_series, load_sample, read_series
from foretune.datasets.calendar import infer_calendar
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.exchange import load_exchange
from foretune.datasets.sources.load import as_newer_series

NEW_YORK = "America/New_York"
PRICES = ("Open", "High", "Low", "Close")
XNYS = Calendar(frequency="XNYS")

# New York's holidays of 2016 on weekdays; there were 252 sessions.
CLOSED = pd.DatetimeIndex([
    "2016-01-01", "2016-01-18", "2016-02-15", "2016-03-25", "2016-05-30", "2016-07-04",
    "2016-09-05", "2016-11-24", "2016-12-26",
])  # fmt: skip
TRADED = pd.bdate_range("2016-01-01", "2016-12-31").difference(CLOSED)


def days(times: pd.Index) -> list[str]:
    return [str(time).removesuffix(" 00:00:00") for time in times]


def frame(times: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"day": times, "y": np.arange(1.0, len(times) + 1)})


@pytest.mark.parametrize("zone", [None, NEW_YORK, "UTC"])
@pytest.mark.parametrize("clock", [0, 16])
def test_the_year_2016_in_new_york(zone: str | None, clock: int) -> None:
    time = (TRADED + pd.Timedelta(hours=clock)).tz_localize(zone).as_unit("ns")
    last = pd.Timestamp(f"2015-12-31 {clock}:00", tz=zone)
    after = XNYS.after(last, 252)
    assert after.equals(time)
    assert after.dtype == time.dtype
    assert XNYS.between(time[0], time[-1]).equals(time)
    XNYS.check(time)
    assert XNYS.remarks(time) == ()
    gone = time.delete([9, 100, 101])
    assert XNYS.missing(gone).equals(time[[9, 100, 101]])
    assert XNYS.remarks(gone) == (
        f"3 sessions of XNYS have no row; the first is {days(time[[9]])[0]}",
    )


@pytest.mark.parametrize(("name", "last", "following"), [
    ("XNYS", "2001-09-10", ["2001-09-17", "2001-09-18"]),  # four days after the attacks
    ("XNYS", "2012-10-26", ["2012-10-31", "2012-11-01"]),  # a hurricane
    ("XLON", "2022-09-16", ["2022-09-20", "2022-09-21"]),  # the Queen's funeral
    ("XTKS", "2019-04-26", ["2019-05-07", "2019-05-08"]),  # ten days for a new emperor
    ("XHKG", "2023-01-20", ["2023-01-26", "2023-01-27"]),  # the lunar new year
])  # fmt: skip
def test_what_followed_a_day(name: str, last: str, following: list[str]) -> None:
    assert days(Calendar(frequency=name).after(pd.Timestamp(last), 2)) == following


def test_what_such_a_calendar_is() -> None:
    assert str(XNYS) == "sessions of XNYS"
    assert XNYS.step_name == "day"
    assert XNYS.default_features() == ("weekday",)
    assert infer_calendar(TRADED, frequency="XNYS") == XNYS  # without a seasonality
    assert Calendar(frequency="NYSE") == XNYS
    assert len(XNYS.after(TRADED[0], 0)) == 0
    assert days(XNYS.after(pd.Timestamp("2016-01-17"), 1)) == ["2016-01-19"]  # after a Sunday


@given(
    st.sampled_from(["XNYS", "XLON", "XHKG", "XTKS"]),
    st.dates(pd.Timestamp("1997-01-06").date(), pd.Timestamp("2045-01-01").date()),
    st.sampled_from([None, NEW_YORK, "Asia/Tokyo", "America/Sao_Paulo"]),
    st.integers(2, 300),
    st.data(),
)
def test_what_follows_is_sessions_and_all_of_them(
    name: str, last: Any, zone: str | None, count: int, data: Any
) -> None:
    calendar = Calendar(frequency=name)
    after = calendar.after(pd.Timestamp(last, tz=zone), count)
    assert len(after) == count
    assert after.is_monotonic_increasing
    assert after.is_unique
    calendar.check(after)
    assert calendar.remarks(after) == ()
    cut = data.draw(st.integers(1, count))
    assert calendar.after(after[cut - 1], count - cut).equals(after[cut:])


REFUSED: dict[str, tuple[str, pd.Index, str]] = {
    "a holiday": (
        "XNYS",
        TRADED[:20].union(CLOSED[[1]]),
        "row 10: time must be a session of XNYS, but Monday 2016-01-18 is none; remove the row, "
        "or give freq='sessions', which knows no holidays",
    ),
    "a holiday after a gap": (
        "XNYS",
        pd.DatetimeIndex(["2015-01-02", "2016-01-18"]),
        "row 1: time must be a session of XNYS, but Monday 2016-01-18 is none; remove the row, "
        "or give freq='sessions', which knows no holidays",
    ),
    "a Saturday of a local clock": (
        "XNYS",
        pd.DatetimeIndex(["2016-01-15 23:00", "2016-01-16 23:00"], tz=NEW_YORK),
        "row 1: time must be a session of XNYS, but Saturday 2016-01-16 is none; remove the row, "
        "or give freq='sessions', which knows no holidays",
    ),
    "two rows of a day": (
        "XNYS",
        pd.DatetimeIndex(["2016-01-15 09:30", "2016-01-15 16:00"]),
        "row 1: time must be a session of XNYS, one row each, but Friday 2016-01-15 has two; "
        "remove one",
    ),
    "whole numbers": (
        "XNYS",
        pd.Index([1, 2]),
        "time must be dates where the frequency is 'XNYS', but its type is int64; leave freq= out, "
        "or convert the time",
    ),
    "beyond what is known": (
        "XNYS",
        pd.DatetimeIndex(["2100-12-31", "2101-01-03"]),
        f"row 1: a session on 2101-01-03 cannot be known: exchange_calendars "
        f"{exchange_calendars.__version__} has the sessions of XNYS from 1900-01-01 to 2100-12-31; "
        "upgrade it, or give freq='sessions', which knows no holidays",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_first_row_without_a_session_is_refused(case: str) -> None:
    name, time, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        infer_calendar(time, frequency=name)
    assert str(caught.value) == message


def test_rows_before_a_calendar_begins_may_be_on_any_day() -> None:
    """Tokyo traded on Saturdays in the eighties; the package knows it from 1997 on."""
    saturday = pd.Timestamp("1988-06-04")
    tokyo = Calendar(frequency="XTKS")
    time = pd.DatetimeIndex([saturday, "1996-12-30", "1997-01-06", "1997-01-08"])
    tokyo.check(time)
    assert tokyo.remarks(time) == (
        "2 rows are before 1997-01-01, from when on the sessions of XTKS are known, and not "
        "checked",
        "1 session of XTKS has no row; the first is 1997-01-07",
    )
    with pytest.raises(DataError, match=r"^2 sessions after 1988-06-04 cannot be known: .* 1997"):
        tokyo.after(saturday, 2)
    with pytest.warns(DataWarning):
        filled = TimeSeries.from_frame(frame(time), freq="XTKS", missing="ffill")
    assert days(filled.time) == [*days(time[:3]), "1997-01-07", "1997-01-08"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package
def test_no_forecast_goes_beyond_where_a_calendar_ends() -> None:
    shanghai = exchange_calendars.get_calendar("XSHG")
    end = shanghai.bound_max()
    last = shanghai.sessions_window(shanghai.date_to_session(end, "previous"), -6)[0]
    calendar = Calendar(frequency="XSHG")
    assert len(calendar.after(last, 5)) == 5
    with pytest.raises(DataError, match=rf"^6 sessions after {last:%F} cannot .* to {end:%F}; upg"):
        calendar.after(last, 6)


def test_all_days_of_the_sample_are_sessions() -> None:
    prices = load_sample("sp500")
    with pytest.warns(DataWarning, match="^sp500: 68 sessions of XNYS have no row; the first is"):
        series = as_series(prices, freq="NYSE")
    assert str(series.calendar) == "sessions of XNYS"
    assert len(series.remarks) == 1
    since = series.time[series.time >= "1970"]
    assert len(since) > 11_000
    assert since.equals(XNYS.between(since[0], since[-1]))
    assert series.digest == prices.series().digest


def test_missing_sessions_are_filled_and_no_holidays() -> None:
    time = TRADED.delete([9, 10])
    closes = frame(time).assign(kind=["a", "b"] * 125)
    with pytest.warns(DataWarning, match="2 sessions of XNYS have no row; the first is 2016-01-15"):
        assert len(TimeSeries.from_frame(frame(time), freq="XNYS")) == 250
    with pytest.warns(DataWarning) as warned:
        filled = TimeSeries.from_frame(
            closes, target="y", past=["kind"], freq="XNYS", missing="interpolate"
        )
    assert [str(warning.message) for warning in warned] == [
        "series: 2 missing rows were added (missing='interpolate')"
    ]
    assert days(filled.time) == days(TRADED)
    np.testing.assert_allclose(filled.target[8:12], [9, 9 + 1 / 3, 9 + 2 / 3, 10])
    assert filled.past["kind"][8:12].tolist() == ["a", "a", "a", "b"]


def test_closes_at_other_times_of_the_day_stay_where_rows_are_added() -> None:
    """On 25 November New York closed at 13:00."""
    time = (TRADED + pd.Timedelta(hours=16)).tz_localize(NEW_YORK)
    early = pd.DatetimeIndex(["2016-11-25 13:00"], tz=NEW_YORK)
    time = time[time.normalize() != early.normalize()[0]].delete(3).union(early)
    with pytest.warns(DataWarning, match="1 missing rows were added"):
        filled = TimeSeries.from_frame(frame(time), freq="XNYS", missing="ffill")
    assert len(filled) == 252
    assert set(time) <= set(filled.time)
    assert str(filled.time[3]) == "2016-01-07 16:00:00-05:00"


def test_what_is_known_ahead_is_of_every_session() -> None:
    table = frame(TRADED[:14]).assign(plan=1.0)
    table.loc[10:, "y"] = np.nan
    series = TimeSeries.from_frame(table, future=["plan"], freq="XNYS")
    assert days(series.to_frame().index) == days(TRADED[:14])
    with pytest.raises(DataError) as caught:
        TimeSeries.from_frame(table.drop(index=11), future=["plan"], freq="XNYS")
    assert str(caught.value) == (
        "row 10: plan must be given at each step beyond the target, but there is no row of "
        "2016-01-20 (sessions of XNYS); add it, or fill missing rows with missing='ffill' or "
        "missing='interpolate'"
    )
    with pytest.warns(DataWarning, match="1 missing rows were added"):
        filled = TimeSeries.from_frame(
            table.drop(index=11), future=["plan"], freq="XNYS", missing="ffill"
        )
    assert days(filled.to_frame().index) == days(TRADED[:14])


def test_files_and_newer_data(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = frame(TRADED)
    table.to_csv("year.csv", index=False)
    price = 1000 + table.y
    prices = pd.DataFrame({"Date": table.day, **dict.fromkeys(PRICES, price)})
    prices.to_csv("prices.csv", index=False)
    for file in ("year.csv", "prices.csv"):
        series = read_series(file, freq="XNYS")
        assert (str(series.calendar), series.reading) == ("sessions of XNYS", {"freq": "XNYS"})
        assert as_newer_series(file, series[:100]).calendar == series.calendar
        assert as_series(read_series(file), freq="XNYS").calendar == series.calendar
    with pytest.warns(DataWarning, match="^a DataFrame: 1 session of XNYS has no row"):
        as_series(as_series(table.drop(index=5)), freq="XNYS")
    # Which is the month, the exchange knows: on 2 January 2022 there was no session, nor on 1 May.
    ambiguous = pd.DataFrame({"day": ["01/02/2022", "02/02/2022", "03/02/2022"], "y": [1, 2, 3.0]})
    with pytest.warns(DataWarning):
        read = TimeSeries.from_frame(ambiguous, freq="XNYS")
    assert days(read.time) == ["2022-02-01", "2022-02-02", "2022-02-03"]
    table.loc[9, "day"] = pd.Timestamp("2016-01-18")
    table.to_csv("year.csv", index=False)
    with pytest.raises(DataError, match=r"^year\.csv, line 11: time must be a session of XNYS"):
        read_series("year.csv", freq="XNYS")


def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "freq must be a pandas frequency such as h, 15min, D, B, W-FRI, MS or QE-DEC, sessions, "
    for word, message in {
        "fortnight": "steps, or an exchange such as XNYS or XLON, but got 'fortnight'",
        "LON": "steps, or an exchange such as XLON, but got 'LON'",
        "M": "steps, or an exchange such as XNYS or XLON, but got 'M' ('M' is no longer supported "
        "for offsets. Please use 'ME' instead)",
    }.items():
        with pytest.raises(ConfigError) as caught:
            Calendar(frequency=word)
        assert str(caught.value) == rule + message
    load_exchange.cache_clear()
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    with pytest.raises(ConfigError) as caught:
        Calendar(frequency="XNYS")
    assert str(caught.value) == rule + (
        "steps, or (after pip install 'foretune[exchange]') an exchange such as XNYS or XLON, but "
        "got 'XNYS'"
    )
    with pytest.raises(ConfigError) as caught:  # of a calendar that comes from elsewhere
        XNYS.check(TRADED)
    assert str(caught.value) == (
        "freq='XNYS' needs the package exchange_calendars: pip install 'foretune[exchange]'"
    )
    assert str(Calendar(frequency="h")) == "hourly"


class Broken(exchange_calendars.ExchangeCalendar):
    """As some calendars are where pandas is too new for them."""

    def __new__(cls, **_: Any) -> Any:
        raise NotImplementedError("implemented by subclasses")


def test_a_calendar_that_cannot_be_made_is_refused() -> None:
    exchange_calendars.register_calendar_type("BROKEN", Broken)
    try:
        with pytest.raises(ConfigError) as caught:
            Calendar(frequency="BROKEN").check(TRADED)
    finally:
        exchange_calendars.deregister_calendar("BROKEN")
    assert str(caught.value) == (
        f"exchange_calendars {exchange_calendars.__version__} cannot make the calendar of BROKEN "
        "with this pandas (NotImplementedError: implemented by subclasses); upgrade it, or give "
        "freq='sessions'"
    )
