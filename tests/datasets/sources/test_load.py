"""Data by one word or object: what is read, what is said, what is refused."""

import gzip
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import people_formats as people
import pytest

from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.load import (
    Reading,
    as_newer_series,
    as_series,
    load_series_of,
    what_was_read,
)
from foretune.datasets.sources.readers import read_prices, read_series
from foretune.datasets.sources.samples import ar1, load_sample

HOURS = pd.date_range("2024-03-01", periods=48, freq="h")
LOAD = np.arange(48.0)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a file into the working folder, so that messages start with its bare name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes, name: str = "s.csv") -> str:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"time": HOURS, "load": LOAD} | columns)


def csv_of(**columns: Any) -> str:
    return frame(**columns).to_csv(index=False)


@pytest.mark.filterwarnings("ignore::foretune.datasets.common.errors.DataWarning")
@pytest.mark.parametrize("name", people.PRICES)
@pytest.mark.parametrize("rows", [40, 200])
def test_prices_of_all_formats(name: str, rows: int, write: Callable[..., str]) -> None:
    given = people.prices(rows)
    path = write(people.PRICES[name](given))
    prices = read_prices(path)
    assert prices.dates.tolist() == given["date"].dt.date.tolist()
    for field in people.NAMES[:4]:
        np.testing.assert_array_equal(getattr(prices, field), given[field])
    series = as_series(path, "close")
    assert series.digest == as_series(prices, "close").digest
    assert (series.error_space, series.target_name) == ("log", "close price")
    assert series.remarks == prices.remarks
    np.testing.assert_array_equal(series.target, given["close"])


@pytest.mark.filterwarnings("ignore::foretune.datasets.common.errors.DataWarning")
@pytest.mark.parametrize("name", people.SERIES)
def test_series_of_all_formats(name: str, write: Callable[..., str]) -> None:
    frequency, writer = people.SERIES[name]
    given = people.series(frequency)
    series = as_series(write(writer(given)))
    assert isinstance(series.time, pd.DatetimeIndex)
    assert series.time.tz_localize(None).tolist() == given["date"].tolist()
    digits = 1 if "German" in name else 2
    np.testing.assert_array_equal(series.target, given["value"].round(digits))
    assert series.error_space == "value"
    assert series.calendar.frequency.startswith(frequency)


@pytest.mark.filterwarnings("ignore::foretune.datasets.common.errors.DataWarning")
@pytest.mark.parametrize("name", people.ASKED)
def test_series_that_need_an_option_name_it(name: str, write: Callable[..., str]) -> None:
    frequency, writer, option, given = people.ASKED[name]
    values = people.series(frequency)
    path = write(writer(values))
    with pytest.raises(DataError) as caught:
        as_series(path)
    assert str(caught.value).startswith("s.csv")
    assert option in str(caught.value)
    series = as_series(path, **given)
    expected = values[:12] if name == "12 days or 12 months" else values.copy()
    if given.get("missing") == "drop":
        expected = expected.drop(index=7).reset_index(drop=True)
    elif "missing" in given:
        expected.loc[7, "value"] = np.nan
        filled = expected["value"]
        expected["value"] = filled.ffill() if given["missing"] == "ffill" else filled.interpolate()
    assert series.time.tolist() == expected["date"].tolist()
    np.testing.assert_array_equal(series.target, expected["value"])


@pytest.mark.parametrize(
    "text",
    {
        "dates": csv_of(),
        "unix seconds": frame(time=HOURS.as_unit("s").asi8).to_csv(index=False),
        "unix milliseconds": frame(time=HOURS.as_unit("ms").asi8).to_csv(index=False),
        "years": "year,sun\n" + "".join(f"{1900 + i},{i % 11}\n" for i in range(30)),
        "months": "month,sun\n"
        + "".join(f"{2000 + i // 12}{i % 12 + 1:02},{i}\n" for i in range(30)),
        "counts": "step,sun\n" + "".join(f"{i},{i % 11}\n" for i in range(30)),
        "nothing": "sun\n" + "".join(f"{i % 11}\n" for i in range(30)),
        "days or months": "date,y\n" + "".join(f"{i + 1}/1/2024,{i}\n" for i in range(30)),
        "summer time": "date,y\n"
        + "".join(
            f"{time.isoformat()},1\n"
            for time in pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin")
        ),
        "prices": people.PRICES["ISO dates"](people.prices()).decode(),
        "ids": "unique_id,ds,y\n" + "".join(f"a,2024-01-{i:02},{i}\n" for i in range(1, 30)),
    }.items(),
    ids=lambda case: case[0],
)
@pytest.mark.filterwarnings("ignore::foretune.datasets.common.errors.DataWarning")
def test_a_file_and_a_frame_are_the_same_data(
    text: tuple[str, str], write: Callable[..., str]
) -> None:
    path = write(text[1])
    assert as_series(path).digest == as_series(pd.read_csv(path)).digest


def test_a_file_says_what_was_read(write: Callable[..., str]) -> None:
    series = as_series(
        write(csv_of(rain=LOAD % 3, sky="clear")), "load", past="rain", future=["sky"]
    )
    assert what_was_read(series) == (
        "s.csv: 48 rows, 2024-03-01 to 2024-03-02 23:00:00, hourly, load, with rain, sky"
    )
    assert series.reading == {"target": "load", "past": ("rain",), "future": ("sky",)}
    assert (series.name, series.source, series.remarks) == ("s", "s.csv", ())
    assert series.past["rain"].tolist() == (LOAD % 3).tolist()
    assert as_series(series).reading == series.reading
    assert (
        read_series("s.csv", target="load", past="rain", future=["sky"]).reading == series.reading
    )
    again = as_series("s.csv", **series.reading)
    assert again.digest == series.digest
    assert load_series_of("study", "s.csv", **series.reading).digest == series.digest


def test_remarks_are_warnings_that_name_the_line(write: Callable[..., str]) -> None:
    text = csv_of().replace("2024-03-01 05:00:00,5.0\n", "2024-03-01 05:00:00,\n")
    text = text.replace("2024-03-01 09:00:00,9.0\n", "")
    with pytest.raises(DataError, match=r"^s\.csv, line 7: load must be given, but is missing"):
        read_series(write(text))
    with pytest.warns(DataWarning) as caught:
        series = read_series("s.csv", missing="interpolate")
    assert series.remarks == (
        "1 missing rows were added (missing='interpolate')",
        "1 missing values of load were filled (missing='interpolate', which looks ahead: 'ffill' "
        "looks back alone)",
    )
    assert [str(warning.message) for warning in caught] == [f"s.csv: {r}" for r in series.remarks]
    assert series.target.tolist() == LOAD.tolist()
    warnings.simplefilter("ignore", DataWarning)  # pytest brings the filters back
    with pytest.raises(DataError, match=r"^s\.csv, line 8: time must be 2024-03-01 05:00:00"):
        read_series("s.csv", missing="drop")


def test_a_missing_time_may_be_dropped(write: Callable[..., str]) -> None:
    path = write(csv_of() + ",49.0\n")
    with pytest.raises(DataError, match=r"line 50, column 'time': must be a time, but got ''"):
        read_series(path)
    with pytest.warns(DataWarning, match="1 of 49 rows were left out, for a cell is missing"):
        assert len(read_series(path, missing="drop")) == 48


def test_none_is_a_category_of_text(write: Callable[..., str]) -> None:
    events = ["None"] * 47 + ["Easter"]
    series = read_series(write(csv_of(event=events)), target="load", future="event")
    assert series.future["event"].tolist() == events
    events[3] = ""
    with pytest.raises(DataError, match=r"line 5: event must be given, .* makes them a category$"):
        read_series(write(csv_of(event=events)), target="load", future="event")


def test_a_typing_error_in_numbers_is_no_category(write: Callable[..., str]) -> None:
    rain = ["0.5"] * 47 + ["o.5"]
    with pytest.raises(DataError, match=r"line 49, column 'rain': must be a number .* 'o\.5'"):
        read_series(write(csv_of(rain=rain)), target="load", past=["rain"])


def test_hourly_prices_are_a_series(write: Callable[..., str]) -> None:
    bars = {"open": LOAD + 2, "high": LOAD + 3, "low": LOAD + 1, "close": LOAD + 2.5}
    path = write(pd.DataFrame({"time": HOURS} | bars).to_csv(index=False))
    series = as_series(path)
    assert (series.error_space, series.target_name, len(series)) == ("log", "close price", 48)
    assert str(series.calendar) == "hourly"
    assert as_series(pd.read_csv(path), "open").target.tolist() == (LOAD + 2).tolist()
    assert as_series(path, "low").target.tolist() == (LOAD + 1).tolist()
    with pytest.raises(DataError, match="'mid' needs one row a day"):
        as_series(path, "mid")
    with pytest.raises(DataError, match="must be a new date, but 2024-03-01 is in line 2 already"):
        read_prices(path)


@pytest.mark.filterwarnings("ignore::foretune.datasets.common.errors.DataWarning")
@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Tokyo", "America/New_York"])
def test_local_times_keep_their_moment_or_their_day(zone: str, write: Callable[..., str]) -> None:
    hours = pd.date_range("2023-01-01", periods=9000, freq="h", tz=zone)
    days = pd.date_range("2023-01-01", periods=400, tz=zone)
    for times in (hours, days):
        text = "".join(f"{time.isoformat()},{i}\n" for i, time in enumerate(times))
        series = as_series(write("date,y\n" + text))
        assert isinstance(series.time, pd.DatetimeIndex)
        if times is hours:
            assert series.time.tz_convert("UTC").tolist() == hours.tz_convert("UTC").tolist()
        else:  # a Tuesday in Berlin is no Monday in UTC
            assert series.time.tz_localize(None).tolist() == days.tz_localize(None).tolist()
        assert series.calendar.frequency == times.freqstr


def test_rows_that_follow_no_calendar_may_be_counted(write: Callable[..., str]) -> None:
    days = np.cumsum([0, 2, 7, 31, 1, 90]).astype("m8[D]") + np.datetime64("2020-01-01")
    bars = {"open": 2.0, "high": 3.0, "low": 1.0, "close": np.arange(1.0, 4.0, 0.5).tolist()}
    path = write(pd.DataFrame({"date": days} | bars).to_csv(index=False))
    table = pd.read_csv(path)
    for data, options in ((path, {}), (table, {}), (table[["date", "close"]], {"target": "close"})):
        with pytest.warns(DataWarning, match="the times are left out, for rows are counted from 0"):
            series = as_series(data, freq="steps", **options)
        assert series.time.tolist() == [0, 1, 2, 3, 4, 5]
        assert series.target.tolist() == bars["close"]
    path = write("date,y\n2020-01-01,1\n2020-02-01,2\n2020-05-06,4\n2020-05-09,5\n")
    with pytest.raises(DataError, match="follow no calendar; give freq=, of which 'steps' counts"):
        as_series(path)
    with pytest.raises(DataError, match=r"line 3: time must increase .* is there twice"):
        as_series(write("date,y\n2020-01-01,1\n2020-01-01,2\n2020-01-02,2\n"), freq="steps")


def test_volumes_of_a_frame_that_cannot_be_read_are_left_out() -> None:
    prices = people.prices().set_index("date")
    without = as_series(prices.drop(columns="volume"))
    for volume in ("1,5 Mio", -1.0):
        with pytest.warns(DataWarning, match="column 'volume' is left out, for not all of it is"):
            series = as_series(prices.assign(volume=volume))
        assert series.digest == without.digest
        assert len(series.remarks) == 1
    assert as_series(prices.assign(volume=np.nan)).digest == without.digest


def test_errors_of_data_name_their_file(write: Callable[..., str]) -> None:
    path = write("date,y\n2020-01-01,1\n2020-01-02,2\n", "my  data.csv")
    with pytest.raises(
        DataError, match=r"^my data\.csv: time must have at least 3 rows, but has 2"
    ):
        read_series(path)
    with pytest.raises(DataError, match=r"^my data\.csv: no column 'z', which time="):
        read_series(path, time="z")


def test_prices_with_covariates_keep_their_errors(write: Callable[..., str]) -> None:
    path = write(people.PRICES["ISO dates"](people.prices()))
    for data in (path, pd.read_csv(path)):
        series = as_series(data, "close", past=["Volume"])
        assert (series.error_space, series.target_name) == ("log", "close price")
        assert list(series.past) == ["Volume"]
    volume = as_series(path, "Volume")
    assert (volume.error_space, volume.target_name) == ("value", "Volume")


def test_prices_may_be_filled(write: Callable[..., str]) -> None:
    days = pd.date_range("2024-01-01", periods=30)
    prices = pd.DataFrame({"date": days, "open": 1.5, "high": 2, "low": 1, "close": 1.5})
    prices["close"] = np.linspace(1, 2, 30)
    path = write(prices.drop(index=[7, 8]).to_csv(index=False))
    with pytest.warns(DataWarning, match="2 missing rows were added"):
        filled = read_prices(path, missing="interpolate")
    np.testing.assert_allclose(filled.close, prices["close"])
    with pytest.warns(DataWarning):
        assert str(as_series(path, missing="ffill").calendar) == "daily"


def test_columns_may_be_named(write: Callable[..., str]) -> None:
    path = write(
        people.PRICES["ISO dates"](people.prices())
        .decode()
        .replace("Open,High,Low,Close", "a,b,c,d")
    )
    named = {"open": "a", "high": "b", "low": "c", "close": "d"}
    assert as_series(path, columns=named).target_name.endswith(" price")
    with pytest.raises(DataError, match=r"the target may be in the columns 'a', 'b', 'c', 'd'"):
        as_series(path)
    with pytest.raises(DataError, match=r"no column of the price 'open' is known .*--column open"):
        as_series(path, columns={"close": "d"})


def test_words_and_objects() -> None:
    walk = ar1(300)
    assert as_series("sp500", "mid").digest == load_sample("sp500").digest
    assert as_series("ar1(length=300)", "mid").digest == walk.digest
    assert as_series(walk, "mid").digest == walk.digest
    series = as_series(walk, "close", seasonality=5)
    assert series.calendar.seasonality == 5
    assert as_series(series) is series
    assert as_series(series, "close price").digest == series.digest
    by_date = pd.Series(LOAD, index=HOURS, name="load")
    assert as_series(by_date).digest == as_series(frame()).digest
    assert as_series(by_date.rename(None)).target_name == "value"
    assert as_series(by_date.to_period("h")).target.tolist() == LOAD.tolist()


NOTHING = (
    "data must be a TimeSeries, a PriceSeries, a DataFrame, a pandas Series by date, a path or"
)


@pytest.mark.parametrize(
    ("data", "reading", "message"),
    [
        (LOAD, {}, f"{NOTHING} a sample's name, but got ndarray of shape (48,);"),
        ([1.0, 2.0], {}, "but got list;"),
        ({"y": LOAD}, {}, "but got dict;"),
        (pd.Series(LOAD), {}, "but got Series of shape (48,) by int64;"),
        (None, {}, "but got NoneType;"),
        ("nowhere.csv", {}, "nowhere.csv: there is no such file"),
        ("sp500", {"target": "volume"}, "target must be one of open, high, low, close, mid"),
        ("sp500", {"time": "date"}, "time must not be given for sp500: it is no file to read"),
        (ar1(300), {"past": ["x"], "missing": "drop"}, "missing and past must not be given"),
        (frame(), {"decimal": ","}, "decimal must not be given for a DataFrame"),
        (frame(), {"tome": "x"}, "unknown key 'tome'; allowed are time, target, past, future"),
        (
            frame(),
            {"missing": "guess"},
            "missing must be 'raise', 'drop', 'ffill' or 'interpolate'",
        ),
        (frame(), {"seasonality": 0}, "seasonality must be greater than or equal to 1, but got 0"),
    ],
)
def test_what_is_nothing_to_read_is_refused_in_one_line(
    data: Any, reading: dict[str, Any], message: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((DataError, ConfigError)) as caught:
        as_series(data, **reading)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_series_has_its_target() -> None:
    series = as_series(ar1(300), "close")
    with pytest.raises(ConfigError, match="target of ar1 must be 'close price', but got 'mid'"):
        as_series(series, "mid")


def test_a_reading_is_stored_as_json() -> None:
    how = Reading(past=["a"], columns={"open": "x"}, day_first=False)
    assert Reading(**json.loads(json.dumps(how.given()))) == how
    assert Reading().given() == {}


def test_a_document_names_no_path(write: Callable[..., str]) -> None:
    write(csv_of())
    with pytest.raises(ConfigError, match="must be a name and not a path"):
        load_series_of("study", "../s.csv")
    with pytest.raises(
        DataError, match=r"the data of study 'study' must be given, as --data: t\.csv"
    ):
        load_series_of("study", "t.csv")


def test_packed_files_have_the_name_of_what_is_in_them(write: Callable[..., str]) -> None:
    series = as_series(write(gzip.compress(csv_of().encode()), "load.csv.gz"))
    assert isinstance(series, TimeSeries)
    assert (series.name, series.source) == ("load", "load.csv.gz")


# Newer rows of a known series


@pytest.mark.filterwarnings("ignore::foretune.datasets.common.errors.DataWarning")
def test_newer_rows_are_read_with_the_known_target_and_covariates(
    write: Callable[..., str],
) -> None:
    wide = frame(wind=LOAD + 1, tide=LOAD + 2, other=LOAD + 3)
    known = as_series(wide[:40], "load", past=["tide"], future=["wind"])
    wide.to_csv(write("", "wide.csv"), index=False)
    for data in (wide, "wide.csv", as_series(wide, "load", past=["tide"], future=["wind"])):
        newer = as_newer_series(data, known)
        assert (newer.target_name, len(newer)) == ("load", 48)
        assert newer.past["tide"].tolist() == (LOAD + 2).tolist()
        assert newer.future["wind"].tolist() == (LOAD + 1).tolist()
    # What is given counts, and words and prices bring their own.
    assert list(as_newer_series(wide, known, future=["other"]).future) == ["other"]
    bikes = load_sample("bikes")
    assert list(as_newer_series("bikes", bikes[:100]).future) == list(bikes.future)
    prices = ar1(60)
    table = pd.DataFrame(
        {name: getattr(prices, name) for name in ("open", "high", "low", "close")},
        index=pd.DatetimeIndex(prices.dates, name="date"),
    )
    for prices_again in (table, prices):
        newer = as_newer_series(prices_again, prices.series("mid"))
        assert (newer.target_name, list(newer.past)) == ("mid price", ["close"])
    with pytest.raises(DataError, match="'tide' must be a column"):
        as_newer_series(wide.drop(columns="tide"), known)
