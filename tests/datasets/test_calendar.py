"""Calendars: what is inferred, what follows, and what is refused. Oracles: pandas and the wall."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.calendar import Calendar, infer_calendar, zone_name
from foretune.datasets.common.errors import ConfigError, DataError

NAMED: dict[str, tuple[str, int | None]] = {  # alias -> in words, season
    "15min": ("every 15 minutes", 96),
    "30min": ("every 30 minutes", 48),
    "min": ("every minute", 1440),
    "h": ("hourly", 24),
    "6h": ("every 6 hours", 4),
    "7h": ("every 7 hours", None),
    "10s": ("every 10 seconds", None),
    "D": ("daily", 7),
    "2D": ("every 2 days", None),
    "B": ("business days (Monday to Friday)", None),
    **{f"W-{day[:3].upper()}": (f"weekly, on {day}s", 52) for day in (
        "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"
    )},
    "2W-FRI": ("every 2 weeks, on Fridays", 26),
    "MS": ("monthly", 12),
    "ME": ("monthly, on the last day", 12),
    "BMS": ("monthly, on the first business day", 12),
    "BME": ("monthly, on the last business day", 12),
    "2MS": ("every 2 months", 6),
    "QS-JAN": ("quarterly", 4),
    "QS-FEB": ("quarterly", 4),
    "QE-DEC": ("quarterly, on the last day", 4),
    "QE-NOV": ("quarterly, on the last day", 4),
    "BQE-DEC": ("quarterly, on the last business day", 4),
    "6ME": ("every 6 months, on the last day", 2),
    "YS-JAN": ("yearly", None),
    "YE-DEC": ("yearly, on the last day", None),
    "YE-JUN": ("yearly, on the last day", None),
    "2YS-JAN": ("every 2 years", None),
}  # fmt: skip
BERLIN, TOKYO, NEW_YORK = "Europe/Berlin", "Asia/Tokyo", "America/New_York"


def shown(times: pd.Index) -> list[str]:
    return [str(time).removesuffix(" 00:00:00") for time in times]


def same(found: pd.Index, wanted: pd.DatetimeIndex) -> bool:
    return found.dtype == wanted.as_unit("ns").dtype and found.equals(wanted.as_unit("ns"))


def rows(frequency: str, count: int, start: str = "2019-03-05", zone: str | None = None) -> Any:
    return pd.date_range(start, periods=count, freq=frequency, tz=zone)


@pytest.mark.parametrize("frequency", NAMED)
@pytest.mark.parametrize("start", ["2019-03-05", "2020-02-29 09:30"])
def test_a_regular_series_continues_as_pandas_has_it(frequency: str, start: str) -> None:
    every = rows(frequency, 60, start)
    calendar = infer_calendar(every[:40])
    assert (calendar.frequency, str(calendar), calendar.seasonality) == (
        frequency, *NAMED[frequency],
    )  # fmt: skip
    assert same(calendar.after(every[39], 20), every[40:])
    assert same(calendar.between(every[5], every[50]), every[5:51])
    assert infer_calendar(every[:40], frequency=frequency) == calendar
    assert len(calendar.after(every[39], 0)) == 0


def test_three_rows_are_enough() -> None:
    for start, frequency in (("2020-07-01", "MS"), ("2021-01-01", "YS-JAN"), ("2020-01-02", "B")):
        assert infer_calendar(rows(frequency, 3, start)).frequency == frequency
    with pytest.raises(DataError, match="at least 3 rows, but has 2; give freq="):
        infer_calendar(rows("D", 2))
    assert infer_calendar(rows("D", 1), frequency="D").frequency == "D"


@given(
    st.sampled_from(["h", "15min", "90min", "D", "B", "W-TUE", "MS", "ME", "QS-FEB", "YE-MAR"]),
    st.datetimes(pd.Timestamp(1950, 1, 1), pd.Timestamp(2100, 1, 1)),
    st.sampled_from([None, BERLIN, TOKYO, NEW_YORK, "America/Sao_Paulo", "Australia/Lord_Howe"]),
    st.integers(12, 60),
)
def test_any_part_of_a_series_has_its_calendar(
    frequency: str, start: pd.Timestamp, zone: str | None, count: int
) -> None:
    day = pd.Timestamp(start).floor("D")
    wall = pd.date_range(day, periods=count + 10, freq=frequency)
    if frequency in ("h", "15min", "90min"):
        every = wall.tz_localize("UTC").tz_convert(zone) if zone else wall
    else:  # midnights, some of which are skipped in São Paulo
        every = wall.tz_localize(
            zone, nonexistent="shift_forward", ambiguous=np.ones(len(wall), bool)
        )
    calendar = infer_calendar(every[:count])
    assert calendar.frequency == frequency
    assert shown(calendar.after(every[count - 1], 10)) == shown(every[count:])


@pytest.mark.parametrize(("zone", "change"), [
    (BERLIN, "2020-03-29"), (BERLIN, "2020-10-25"), (TOKYO, "2020-03-29"),
    (NEW_YORK, "2020-03-08"), (NEW_YORK, "2020-11-01"), ("America/Sao_Paulo", "2018-11-04"),
])  # fmt: skip
def test_the_local_clock_stays_over_a_change_of_summer_time(zone: str, change: str) -> None:
    start = pd.Timestamp(change) - pd.Timedelta(days=4)
    hours = pd.date_range(start, periods=200, freq="h", tz=zone)  # of absolute time
    assert (np.diff(hours.asi8) == np.diff(hours.asi8)[0]).all()
    for stop in (90, 97, 98, 99, 100, 120):
        calendar = infer_calendar(hours[:stop])
        assert str(calendar) == "hourly"
        assert shown(calendar.after(hours[stop - 1], 50)) == shown(hours[stop : stop + 50])
    for clock in (0, 12):
        wall = pd.date_range(start, periods=9, freq="D") + pd.Timedelta(hours=clock)
        days = wall.tz_localize(zone, nonexistent="shift_forward")
        for stop in range(3, 9):
            calendar = infer_calendar(days[:stop])
            assert str(calendar) == "daily"
            assert shown(calendar.after(days[stop - 1], 9 - stop)) == shown(days[stop:])


def test_a_berlin_tuesday_stays_tuesday() -> None:
    weeks = pd.date_range("2020-02-04", periods=20, freq="W-TUE", tz=BERLIN)
    after: Any = infer_calendar(weeks).after(weeks[-1], 30)
    assert set(after.day_of_week) == {1}
    assert set(after.hour) == {0}
    assert str(after.tz) == BERLIN


def test_days_of_24_hours_are_no_local_days() -> None:
    every = pd.date_range("2020-03-25", periods=10, freq="D", tz="UTC").tz_convert(BERLIN)
    calendar = infer_calendar(every)
    assert (calendar.frequency, calendar.seasonality) == ("24h", 7)
    assert calendar.after(every[-1], 1)[0].hour == 2


@pytest.mark.parametrize("step", [1, 10])
def test_whole_numbers(step: int) -> None:
    time = pd.Index(range(5, 5 + 20 * step, step))
    calendar = infer_calendar(time)
    assert calendar == Calendar(frequency="steps", step=step)
    assert str(calendar) == f"whole numbers, step {step}"
    after = calendar.after(int(time[-1]), 3)
    assert after.tolist() == [time[-1] + step * i for i in (1, 2, 3)]
    assert after.dtype == np.int64
    assert calendar.between(5, 5 + 3 * step).tolist() == [5 + i * step for i in range(4)]
    assert infer_calendar(time, frequency="steps", seasonality=12).seasonality == 12


# New York's holidays of 2019 and 2020 on weekdays.
CLOSED = pd.DatetimeIndex([
    "2019-01-01", "2019-01-21", "2019-02-18", "2019-04-19", "2019-05-27", "2019-07-04",
    "2019-09-02", "2019-11-28", "2019-12-25", "2020-01-01", "2020-01-20", "2020-02-17",
    "2020-04-10", "2020-05-25", "2020-07-03", "2020-09-07", "2020-11-26", "2020-12-25",
])  # fmt: skip
TRADED = pd.bdate_range("2019-01-01", "2020-12-31").difference(CLOSED)


@pytest.mark.parametrize("zone", [None, NEW_YORK])
@pytest.mark.parametrize("count", [14, 60, 200, 480])
def test_business_days_with_holidays_are_sessions(zone: str | None, count: int) -> None:
    time = TRADED.tz_localize(zone)
    calendar = infer_calendar(time[:count])
    assert calendar == Calendar(frequency="sessions", weekdays=(0, 1, 2, 3, 4))
    assert str(calendar) == "sessions (Monday to Friday)"
    after = calendar.after(time[count - 1], 300)
    every = pd.bdate_range(TRADED[count - 1], periods=301).tz_localize(zone)
    assert same(after, every[1:])


def test_sessions_of_other_weeks() -> None:
    days = pd.date_range("2019-01-01", "2020-12-31")
    tel_aviv = days[~days.day_of_week.isin([4, 5])]
    without = tel_aviv.delete([20, 21, 100, 300])
    for time in (tel_aviv, without):
        calendar = infer_calendar(time)
        assert str(calendar) == "sessions (Sunday to Thursday)"
        assert calendar.weekdays == (0, 1, 2, 3, 6)
    assert shown(calendar.after(pd.Timestamp("2021-04-01"), 2)) == ["2021-04-04", "2021-04-05"]
    some = days[days.day_of_week.isin([0, 2, 4])]
    assert str(infer_calendar(some)) == "sessions (Monday and Wednesday and Friday)"


def test_a_special_saturday_changes_nothing() -> None:
    saturday = pd.Timestamp("2020-11-14")
    time = TRADED.union([saturday])
    calendar = infer_calendar(time)
    assert calendar.weekdays == (0, 1, 2, 3, 4)
    assert shown(calendar.after(saturday, 2)) == ["2020-11-16", "2020-11-17"]
    calendar.check(time)


def test_two_sessions_on_one_day_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        Calendar(frequency="sessions", weekdays=(0, 1)).check(rows("12h", 3, "2020-01-01"))
    assert str(caught.value) == (
        "row 1: time must be 2020-01-02 (sessions (Monday and Tuesday), one step after "
        "2020-01-01), but got 2020-01-01 12:00:00; remove the row, or give freq=, which may "
        "be 'steps' to count rows"
    )


def test_a_weekday_counts_where_it_is_in_half_of_the_weeks() -> None:
    days = pd.date_range("2020-01-06", periods=70)  # ten weeks from a Monday
    saturdays = days[days.day_of_week == 5]
    time = days[days.day_of_week != 6].difference(saturdays[:5])
    assert infer_calendar(time).weekdays == (0, 1, 2, 3, 4, 5)
    assert infer_calendar(time.difference(saturdays[:6])).weekdays == (0, 1, 2, 3, 4)


def test_saturdays_that_ended_long_ago_are_not_to_come() -> None:
    days = pd.date_range("1951-01-01", "1954-12-31")
    last = pd.Timestamp("1952-09-28")
    time = days[(days.day_of_week < 5) | ((days.day_of_week == 5) & (days < last))]
    assert infer_calendar(time).weekdays == (0, 1, 2, 3, 4)
    assert infer_calendar(time[time < last]).weekdays == (0, 1, 2, 3, 4, 5)


def test_a_given_frequency_is_checked_and_named_in_one_way() -> None:
    assert Calendar(frequency="60min") == Calendar(frequency="h")
    assert Calendar(frequency="W") == Calendar(frequency="W-SUN")
    assert infer_calendar(TRADED[:8], frequency="B", gaps=True).frequency == "B"
    assert infer_calendar(TRADED, frequency="sessions").weekdays == (0, 1, 2, 3, 4)
    with pytest.raises(DataError, match=r"row 0: time must be 2019-01-04 \(weekly, on Fridays\)"):
        infer_calendar(TRADED, frequency="W-FRI")
    for wrong in ("fortnight", "", "-1D", "0h"):
        with pytest.raises(ConfigError, match="freq must be"):
            infer_calendar(TRADED, frequency=wrong)
    with pytest.raises(DataError, match="must be dates where the frequency is 'D'"):
        infer_calendar(pd.Index([1, 2, 3]), frequency="D")
    with pytest.raises(DataError, match="must be whole numbers where the frequency is 'steps'"):
        infer_calendar(TRADED, frequency="steps")
    with pytest.raises(DataError, match="are on no weekday regularly; give freq='B' or freq='D'"):
        infer_calendar(TRADED[:5], frequency="sessions")


REFUSED: dict[str, tuple[Any, str]] = {
    "no rows": (pd.DatetimeIndex([]), "time must have at least one row, but has none"),
    "text": (pd.Index(["a", "b"]), "time must be dates of one time zone or whole numbers, but its"),
    "missing": (
        pd.DatetimeIndex(["2020-01-01", None, "2020-01-03"]),
        "row 1: time must be given, but is missing",
    ),
    "twice": (
        rows("D", 9, "2020-01-01").insert(5, pd.Timestamp("2020-01-05")),
        "row 5: time must increase from row to row, but 2020-01-05 is there twice; keep one row of "
        "each time",
    ),
    "falling": (
        rows("D", 9, "2020-01-01")[::-1],
        "row 1: time must increase from row to row, but 2020-01-08 follows 2020-01-09; sort the "
        "rows",
    ),
    "a day is missing": (
        rows("D", 30, "2020-01-01").delete(3),
        "row 3: time must be 2020-01-04 (daily, one step after 2020-01-03), but got 2020-01-05; "
        "fill missing rows with missing='ffill' or missing='interpolate', or give freq=",
    ),
    "many days are missing": (
        rows("D", 500, "2020-01-01").delete(range(5, 500, 11)),
        "row 5: time must be 2020-01-06 (daily, one step after 2020-01-05), but got 2020-01-07;",
    ),
    "an hour is missing": (
        rows("h", 30, "2020-01-01").delete(3),
        "row 3: time must be 2020-01-01 03:00:00 (hourly, one step after 2020-01-01 02:00:00), but "
        "got 2020-01-01 04:00:00; fill",
    ),
    "an hour too many": (
        rows("h", 30, "2020-01-01").insert(3, pd.Timestamp("2020-01-01 02:30")),
        "row 3: time must be 2020-01-01 03:00:00 (hourly, one step after 2020-01-01 02:00:00), but "
        "got 2020-01-01 02:30:00; remove the row, or give freq=",
    ),
    "a month is missing": (
        rows("ME", 30, "2020-01-01").delete(3),
        "row 3: time must be 2020-04-30 (monthly, on the last day, one step after 2020-03-31), but "
        "got 2020-05-31; fill",
    ),
    "a week is missing": (
        rows("W-FRI", 30, "2020-01-01").delete(9),
        "row 9: time must be 2020-03-06 (weekly, on Fridays, one step after 2020-02-28), but got ",
    ),
    "the first row is off": (
        rows("MS", 30, "2020-02-01").insert(0, pd.Timestamp("2020-01-15")),
        "row 0: time must be 2020-02-01 (monthly), but got 2020-01-15; remove the row, or give",
    ),
    "a number is missing": (
        pd.Index([0, 10, 20, 40]),
        "row 3: time must be 30 (whole numbers, step 10, one step after 20), but got 40; fill",
    ),
    "no calendar": (
        pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-09", "2020-02-01", "2020-02-18"]),
        "time must have equal steps, but they are from 1 days 00:00:00 to 23 days 00:00:00 long "
        "and follow no calendar; give freq=, of which 'steps' counts the rows",
    ),
    "beyond nanoseconds": (
        pd.DatetimeIndex(np.array(["9999-12-31T00", "9999-12-31T01"], dtype="M8[s]")),
        "row 0: time must be of the years 1678 to 2261, but got 9999-12-31",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_first_row_that_does_not_fit_is_refused(case: str) -> None:
    time, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        infer_calendar(time)
    assert str(caught.value).startswith(message)


def test_rows_are_called_as_the_reader_calls_them() -> None:
    with pytest.raises(DataError, match=r"^a\.csv, line 5: time must be"):
        infer_calendar(rows("D", 30).delete(3), where=lambda row: f"a.csv, line {row + 2}")


@given(st.data(), st.sampled_from(["h", "D", "W-FRI", "MS", "QE-DEC"]))
def test_rows_may_be_missing_where_they_will_be_filled(data: Any, frequency: str) -> None:
    every = rows(frequency, 60)
    gone = data.draw(st.sets(st.integers(1, 58), min_size=1, max_size=4))
    some = every.delete(list(gone))
    calendar = infer_calendar(some, gaps=True)
    assert calendar.frequency == frequency
    assert shown(calendar.between(some[0], some[-1])) == shown(every)
    with pytest.raises(DataError, match=f"^row {min(gone)}: time must be"):
        infer_calendar(some)


def test_rows_between_two_times_of_the_calendar_are_refused_with_gaps_too() -> None:
    time = rows("D", 30).delete(3).insert(9, pd.Timestamp("2019-03-14 12:00"))
    with pytest.raises(DataError, match=r"^row 9: .* got 2019-03-14 12:00:00; remove the row"):
        infer_calendar(time, gaps=True)
    with pytest.raises(DataError, match="are more than 10000000 steps"):
        infer_calendar(rows("s", 5).append(rows("s", 5, "2021-01-01")), gaps=True)


def test_features_are_circles() -> None:
    calendar = Calendar(frequency="15min")
    time = pd.date_range("2020-02-29 06:00", periods=4 * 24 * 60, freq="15min", tz=BERLIN)
    names = ("minute", "hour", "weekday", "day_of_month", "month", "day_of_year")
    found = calendar.features(time, names)
    assert list(found) == [f"{name}_{part}" for name in names for part in ("sin", "cos")]
    for name in names:
        np.testing.assert_allclose(found[f"{name}_sin"] ** 2 + found[f"{name}_cos"] ** 2, 1)
    at = {name: values[0] for name, values in found.items()}  # Saturday, 6 o'clock
    angle = 2 * np.pi * np.array([0, 6 / 24, 5 / 7, 28 / 29, 1 / 12, 59 / 366])
    np.testing.assert_allclose([at[f"{name}_sin"] for name in names], np.sin(angle), atol=1e-12)
    np.testing.assert_allclose([at[f"{name}_cos"] for name in names], np.cos(angle), atol=1e-12)
    summer = time[time.hour == 6]
    assert len(set(calendar.features(summer, ["hour"])["hour_sin"].round(12))) == 4  # local clock
    with pytest.raises(ConfigError, match=r"calendar features must be of minute, hour, .* 'moon'"):
        calendar.features(time, ["moon"])
    with pytest.raises(ConfigError, match="got 'hour' for whole numbers, step 1"):
        Calendar(frequency="steps").features(pd.Index([1, 2]), ["hour"])


@pytest.mark.parametrize("fields", [
    {"frequency": "sessions"}, {"frequency": "sessions", "weekdays": (7,)},
    {"frequency": "D", "weekdays": (1,)}, {"frequency": "steps", "step": 0},
    {"frequency": "D", "seasonality": 0}, {"frequency": "D", "seasonality": 1.5},
])  # fmt: skip
def test_a_calendar_refuses_fields_out_of_range(fields: Any) -> None:
    with pytest.raises(ConfigError, match="must be"):
        Calendar(**fields)
    assert Calendar(frequency="sessions", weekdays=(4, 0, 0)).weekdays == (0, 4)


def test_what_ends_beyond_nanoseconds_is_refused() -> None:
    with pytest.raises(DataError, match="500 steps after 2020-01-01 00:00:00 end beyond the year"):
        Calendar(frequency="YS").after(pd.Timestamp("2020-01-01"), 500)


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("+05:30", "UTC+05:30"),
        ("-03:30", "UTC-03:30"),
        ("+00:00", "UTC"),
        (None, ""),
    ],
)
def test_a_zone_is_found_again_by_its_name(zone: str | None, name: str) -> None:
    time = rows("h", 5, zone=zone)
    assert zone_name(time) == name
    if name:
        assert list(map(str, time.tz_convert(name))) == list(map(str, time))
