"""PriceSeries: what it holds, what it refuses, and what its digest depends on."""

import csv
import dataclasses
import gzip
import hashlib
import struct
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foretune.datasets.common.errors import DataError
from foretune.datasets.prices import PriceSeries, bad_prices, bad_volumes
from foretune.datasets.sources.samples import load_sample

DAYS = ["2020-01-02", "2020-01-03", "2020-01-06"]


def make(**changes: Any) -> PriceSeries:
    fields: dict[str, Any] = {
        "name": "demo",
        "dates": np.array(DAYS, dtype="datetime64[D]"),
        "open": np.array([10.0, 11.0, 12.0]),
        "high": np.array([12.0, 13.0, 14.5]),
        "low": np.array([9.0, 10.0, 11.0]),
        "close": np.array([11.0, 12.0, 13.0]),
        "volume": np.array([100.0, 0.0, 300.0]),
        "source": "by hand",
    }
    return PriceSeries(**(fields | changes))


def test_mid_is_the_middle_of_the_range() -> None:
    series = make()
    np.testing.assert_array_equal(series.mid, [10.5, 11.5, 12.75])
    assert series.mid.dtype == np.float64
    assert len(series) == 3
    assert series.dropped == 0


def test_arrays_are_private_copies_and_read_only() -> None:
    closes = np.array([11.0, 12.0, 13.0])
    series = make(close=closes)
    closes[0] = 99.0
    assert series.close[0] == 11.0
    for array in (series.dates, series.open, series.high, series.low, series.close, series.mid):
        assert not array.flags.writeable
    with pytest.raises(AttributeError):
        series.close = closes  # type: ignore[misc]


def test_casts_what_means_the_same() -> None:
    stamps = pd.DatetimeIndex(["2020-01-02 16:00", "2020-01-03 16:00", "2020-01-06 16:00"])
    series = make(dates=stamps, open=[10, 11, 12], volume=pd.Series([100, 0, 300]))
    assert series.digest == make().digest
    assert (series.dates.dtype, series.open.dtype) == (np.dtype("<M8[D]"), np.dtype("f8"))


def test_open_and_close_may_lie_outside_the_range() -> None:
    series = make(open=[20.0, 11.0, 12.0], close=[1.0, 12.0, 13.0])
    assert (series.open[0], series.close[0]) == (20.0, 1.0)


def test_repr_is_short() -> None:
    assert repr(make()) == "PriceSeries('demo', 3 rows, 2020-01-02 to 2020-01-06)"
    assert repr(make().head(1)) == "PriceSeries('demo', 1 row, 2020-01-02 to 2020-01-02)"


def test_slice_and_head_take_rows() -> None:
    series = make(dropped=4)
    middle = series.slice(1, 3)
    np.testing.assert_array_equal(middle.close, [12.0, 13.0])
    assert middle.volume is not None
    np.testing.assert_array_equal(middle.volume, [0.0, 300.0])
    assert (middle.name, middle.source, middle.dropped) == ("demo", "by hand", 4)
    assert series.head(2).digest == series.slice(0, 2).digest != series.digest
    assert series.slice(0, 3).digest == series.digest
    assert make(volume=None).head(2).volume is None


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (0, 4), (2, 2), (2, 1), (3, 4)])
def test_slice_refuses_rows_that_are_not_there(start: int, stop: int) -> None:
    with pytest.raises(DataError) as caught:
        make().slice(start, stop)
    assert str(caught.value) == (
        f"demo: a slice must satisfy 0 <= start < stop <= 3 (its rows), but got {start=}, {stop=}"
    )


def test_to_frame() -> None:
    frame = make().to_frame()
    assert list(frame.columns) == ["open", "high", "low", "close", "volume"]
    assert frame.index.name == "date"
    assert frame.loc["2020-01-06", "high"] == 14.5
    frame.loc["2020-01-06", "high"] = 0.0  # a copy: the series stays as it is
    assert list(make(volume=None).to_frame().columns) == ["open", "high", "low", "close"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"dates": []}, "demo: a price series needs at least one row, but got none"),
    "equal dates": (
        {"dates": ["2020-01-02", "2020-01-03", "2020-01-03"]},
        "demo: dates must be strictly increasing, but 2020-01-03 is followed by 2020-01-03",
    ),
    "falling dates": (
        {"dates": DAYS[::-1]},
        "demo: dates must be strictly increasing, but 2020-01-06 is followed by 2020-01-03",
    ),
    "a year before the thousandth": (
        {"dates": ["0999-12-31", "1000-01-01", "1000-01-02"]},
        "demo: dates must be of the years 1000 to 8999, but got 0999-12-31",
    ),
    "a year after all": (
        {"dates": ["8999-12-30", "8999-12-31", "9000-01-01"]},
        "demo: dates must be of the years 1000 to 8999, but got 9000-01-01",
    ),
    "no date": (
        {"dates": ["2020-01-02", "NaT", "2020-01-06"]},
        "demo: dates[1] must be a date, but got NaT",
    ),
    "nan": (
        {"open": [10.0, np.nan, 12.0]},
        "demo: open on 2020-01-03 must be a finite number above 0, but got nan",
    ),
    "infinite": (
        {"high": [12.0, 13.0, np.inf]},
        "demo: high on 2020-01-06 must be a finite number above 0, but got inf",
    ),
    "zero": (
        {"low": [0.0, 10.0, 11.0]},
        "demo: low on 2020-01-02 must be a finite number above 0, but got 0.0",
    ),
    "negative": (
        {"close": [11.0, -2.5, 13.0]},
        "demo: close on 2020-01-03 must be a finite number above 0, but got -2.5",
    ),
    "the mid would overflow": (
        {"high": [12.0, 13.0, 1.5e308]},
        "demo: high on 2020-01-06 must be a finite number above 0, but got 1.5e+308",
    ),
    "negative volume": (
        {"volume": [100.0, -1.0, 300.0]},
        "demo: volume on 2020-01-03 must be a finite number of at least 0, but got -1.0",
    ),
    "nan volume": (
        {"volume": [100.0, 0.0, np.nan]},
        "demo: volume on 2020-01-06 must be a finite number of at least 0, but got nan",
    ),
    "high below low": (
        {"high": [12.0, 9.5, 14.5]},
        "demo: high on 2020-01-03 must be at least the low of 10.0, but got 9.5",
    ),
    "too few values": (
        {"close": [11.0, 12.0]},
        "demo: close must hold one value per date, but got 2 values for 3 dates",
    ),
    "two dimensions": (
        {"close": [[11.0, 12.0, 13.0]]},
        "demo: close must be one-dimensional, but got shape (1, 3)",
    ),
    "text": (
        {"close": ["11", "x", "13"]},
        "demo: close cannot be read as float64: could not convert string to float: 'x'",
    ),
    "blank name": (
        {"name": " "},
        "name of a price series must be a non-empty string, but got ' '",
    ),
    "no source": (
        {"source": None},
        "source of a price series must be a non-empty string, but got None",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    changes, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        make(**changes)
    assert str(caught.value) == message


@given(hnp.arrays(np.float64, 5))
def test_rules_mark_what_python_calls_wrong(values: np.ndarray[Any, Any]) -> None:
    assert bad_prices(values).tolist() == [not 0 < value < 1e300 for value in values.tolist()]
    infinity = float("inf")
    assert bad_volumes(values).tolist() == [not 0 <= v < infinity for v in values.tolist()]


def test_digest_is_the_hash_of_the_content() -> None:
    content = hashlib.sha256(b"foretune prices 1\n")
    content.update(struct.pack("<3q", 18263, 18264, 18267))  # days since 1970-01-01
    content.update(struct.pack("<3d", 10, 11, 12) + struct.pack("<3d", 12, 13, 14.5))
    content.update(struct.pack("<3d", 9, 10, 11) + struct.pack("<3d", 11, 12, 13))
    assert make(volume=None).digest == content.hexdigest()
    content.update(b"volume" + struct.pack("<3d", 100, 0, 300))
    assert make().digest == content.hexdigest()


def test_digest_of_the_embedded_index_by_another_route() -> None:
    path = resources.files("foretune.datasets").joinpath("data/sp500.csv.gz")
    rows = list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))
    days = np.array([row["Date"] for row in rows], dtype="M8[D]").astype("<i8")
    content = hashlib.sha256(b"foretune prices 1\n" + days.tobytes())
    for column in ("Open", "High", "Low", "Close"):
        content.update(struct.pack(f"<{len(rows)}d", *(float(row[column]) for row in rows)))
    content.update(b"volume")
    content.update(struct.pack(f"<{len(rows)}d", *(float(row["Volume"]) for row in rows)))
    assert load_sample("sp500").digest == content.hexdigest()


def test_digest_ignores_labels_byte_order_and_signed_zero() -> None:
    series = make()
    swapped = {field: getattr(series, field).astype(">f8") for field in ("open", "high", "close")}
    same = make(name="x", source="y", dropped=3, volume=[100.0, -0.0, 300.0], **swapped)
    assert same.digest == series.digest


@given(st.sampled_from(["open", "high", "low", "close", "volume"]), st.integers(0, 2))
def test_digest_sees_the_last_bit_of_every_value(field: str, row: int) -> None:
    values = getattr(make(), field).copy()
    values[row] = np.nextafter(values[row], np.inf)
    assert make(**{field: values}).digest != make().digest


def test_digest_sees_dates_and_the_absence_of_volume() -> None:
    digests = {
        make().digest,
        make(dates=[*DAYS[:2], "2020-01-07"]).digest,
        make(volume=None).digest,
        make(volume=[0.0, 0.0, 0.0]).digest,
    }
    assert len(digests) == 4


def prices_on(dates: Any) -> PriceSeries:
    price = np.linspace(10.0, 20.0, len(dates))
    fields = dict.fromkeys(("open", "high", "low", "close"), price)
    days = np.asarray(dates, "datetime64[D]")
    return PriceSeries(name="p", dates=days, volume=None, source="p", **fields)


def test_weeks_and_months_are_not_continued_by_days() -> None:
    fridays = pd.date_range("2020-01-03", periods=100, freq="W-FRI").to_numpy().copy()
    assert str(prices_on(fridays).series().calendar) == "weekly, on Fridays"
    fridays[40] -= np.timedelta64(1, "D")  # a holiday
    with pytest.raises(DataError, match=r"must be 2020-10-09.* but got 2020-10-08; .*give freq="):
        prices_on(fridays).series()
    assert prices_on(fridays).series(freq="sessions").calendar.step_name == "day"


def test_a_season_changes_no_calendar() -> None:
    days = np.delete(pd.date_range("2022-01-01", periods=300).to_numpy(), 100)
    calendar = prices_on(days).series().calendar
    seasonal = prices_on(days).series(seasonality=7).calendar
    assert seasonal == dataclasses.replace(calendar, seasonality=7)
