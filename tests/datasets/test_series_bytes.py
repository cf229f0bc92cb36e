"""Series as bytes: whole again from both parts, and the first part knows nothing of the second."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets import Panel, TimeSeries, load_sample
from foretune.datasets.calendar import infer_calendar
from foretune.datasets.common.errors import DataError, ForetuneError
from foretune.datasets.series_bytes import decode_first, decode_series, encode_series


def full(rows: int = 90, beyond: int = 7, zone: str | None = "Europe/Berlin") -> TimeSeries:
    """A series with everything that one can have."""
    rng = np.random.default_rng(rows)
    time = pd.date_range("2024-03-25", periods=rows, freq="h", tz=zone, name="wann")
    return TimeSeries(
        name="full",
        time=time,
        target=rng.normal(size=rows),
        calendar=replace(infer_calendar(time), seasonality=12),
        past={"wind": rng.normal(size=rows), "sky": rng.choice(["clear", "rain"], rows)},
        future={"holiday": rng.choice(["no", "Maifeiertag"], rows + beyond)},
        static={"site": "north", "height": 12.5},
        target_name="load",
        unit="MW",
        source="full.csv",
        remarks=("row 80 was dropped",),
        reading={"past": ["wind", "sky"], "missing": "drop"},
    )


def same(one: Any, other: Any) -> None:
    assert one.digest == other.digest
    assert one.time.equals(other.time)
    assert (one.time.name, one.time.dtype) == (other.time.name, other.time.dtype)
    for field in ("name", "source", "unit", "target_name", "error_space", "calendar", "remarks"):
        assert getattr(one, field) == getattr(other, field), field
    for field in ("static", "reading"):
        assert dict(getattr(one, field)) == dict(getattr(other, field)), field
    for group in ("past", "future"):
        mine, theirs = getattr(one, group), getattr(other, group)
        assert list(mine) == list(theirs)
        for name in mine:
            np.testing.assert_array_equal(mine[name], theirs[name])


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "UTC", "+05:30"])
@pytest.mark.parametrize("stop", [1, 61, 89])
def test_both_parts_are_the_series_again(stop: int, zone: str | None) -> None:
    series = full(zone=zone)
    first, rest = encode_series(series, stop)
    same(decode_series(first, rest), series)
    rows, time = decode_first(first)
    same(rows, series.before(stop))
    assert time.equals(series.time)


@pytest.mark.parametrize("name", ["sp500", "bikes", "ar1", "trend_season"])
def test_samples_are_themselves_again(name: str) -> None:
    sample = load_sample(name)
    series = sample if isinstance(sample, TimeSeries) else sample.series("mid")
    same(decode_series(*encode_series(series, len(series) // 2)), series)


def test_whole_numbers_are_times_too() -> None:
    time = pd.Index(range(10, 400, 10), name="step")
    series = TimeSeries(
        name="s", time=time, target=np.arange(39.0), calendar=infer_calendar(time), source="typed"
    )
    same(decode_series(*encode_series(series, 20)), series)


@given(st.integers(0, 2**32 - 1), st.text("abcdef", min_size=1, max_size=30))
def test_other_rows_after_it_leave_the_first_part_as_it_is(seed: int, text: str) -> None:
    series, stop, rng = full(), 60, np.random.default_rng(seed)

    def later(values: np.ndarray) -> np.ndarray:
        other = values.astype(object)
        for row in range(stop, len(other)):
            other[row] = rng.normal() * 1e6 if values.dtype.kind == "f" else text
        return other.astype(float) if values.dtype.kind == "f" else other

    changed = replace(
        series,
        target=later(series.target),
        past={name: later(values) for name, values in series.past.items()},
        future={name: later(values) for name, values in series.future.items()},
        remarks=("row 81 is 5 and was dropped",),
    )
    first, rest = encode_series(series, stop)
    other_first, other_rest = encode_series(changed, stop)
    assert other_first == first
    assert other_rest != rest
    same(decode_series(other_first, other_rest), changed)
    # One row earlier it is not.
    target = series.target.copy()
    target[stop - 1] += 1
    assert encode_series(replace(series, target=target), stop)[0] != first


def panel_of(lengths: tuple[int, ...], zone: str | None = "Europe/Berlin") -> Panel:
    """Series with everything that one can have, which end together."""
    parts = []
    for number, rows in enumerate(lengths):
        one = full(max(lengths), zone=zone)
        values = np.random.default_rng(number).normal(size=max(lengths))
        parts.append(replace(one, name=f"s{number}", target=values, remarks=())[-rows:])
    return Panel(
        name="full",
        series=tuple(parts),
        source="full.csv",
        remarks=("2 series begin later",),
        reading={"series_column": "site", "series": ["s0", "s1"]},
    )


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "+05:30"])
@pytest.mark.parametrize("lengths", [(90,), (90, 60, 85), (40, 90)])
def test_both_parts_are_the_panel_again(lengths: tuple[int, ...], zone: str | None) -> None:
    panel = panel_of(lengths, zone)
    first, rest = encode_series(panel, 70)
    whole = decode_series(first, rest)
    assert isinstance(whole, Panel)
    assert whole.digest == panel.digest
    for field in ("name", "source", "remarks", "names"):
        assert getattr(whole, field) == getattr(panel, field)
    assert dict(whole.reading) == dict(panel.reading)
    for one, other in zip(whole, panel, strict=True):
        same(one, other)
    rows, time = decode_first(first)
    assert rows.digest == panel.before(70).digest
    assert time.equals(panel.time)


def test_a_panel_whose_rows_are_no_common_times_is_itself_again() -> None:
    panel = panel_of((90, 80))
    late = panel["s1"]
    moved = replace(late, time=late.time + pd.Timedelta(days=9))
    panel = replace(panel, series=(panel["s0"], moved))
    assert not panel.is_aligned
    first, rest = encode_series(panel, 70)
    assert decode_series(first, rest).digest == panel.digest
    assert decode_first(first)[1].tolist() == list(range(90))


@given(st.integers(0, 2**32 - 1), st.integers(0, 2), st.text("abcdef", min_size=1, max_size=30))
def test_other_later_rows_of_one_series_leave_the_first_part_as_it_is(
    seed: int, which: int, text: str
) -> None:
    panel, stop, rng = panel_of((90, 60, 85)), 70, np.random.default_rng(seed)
    one, own = panel.series[which], stop - int(panel.firsts[which])
    target, sky = one.target.copy(), one.past["sky"].astype(object)
    target[own:] = rng.normal(size=len(one) - own) * 1e6
    sky[own:] = text
    other = replace(one, target=target, past={**one.past, "sky": sky}, remarks=("row 99",))
    series = [*panel.series]
    series[which] = other
    changed = replace(panel, series=tuple(series), remarks=("another",))
    first, rest = encode_series(panel, stop)
    other_first, other_rest = encode_series(changed, stop)
    assert other_first == first
    assert other_rest != rest
    assert decode_series(other_first, other_rest).digest == changed.digest
    # One row earlier it is not.
    target[own - 1] += 1
    series[which] = replace(one, target=target)
    assert encode_series(replace(panel, series=tuple(series)), stop)[0] != first


def test_what_is_damaged_is_refused() -> None:
    first, rest = encode_series(full(), 60)
    other_first, _ = encode_series(replace(full(), past={}), 60)
    pickled = io.BytesIO()
    np.savez(pickled, table=np.array([{}], dtype=object))
    for wrong in (b"", b"nonsense", first[:100], pickled.getvalue()):
        with pytest.raises(DataError, match="stored data must be arrays of NumPy"):
            decode_first(wrong)
    with pytest.raises(DataError, match="must have the same columns"):
        decode_series(other_first, rest)


@pytest.mark.parametrize(
    "damage",
    [
        lambda table, arrays: arrays.pop("time"),
        lambda table, arrays: arrays.pop("target"),
        lambda table, arrays: table["past"].append("none"),
        lambda table, arrays: table["calendar"].update(moon="full"),
        lambda table, arrays: table.update(zone="Mars/Phobos"),
        lambda table, arrays: table.update(zone=3),
    ],
)
def test_arrays_and_tables_that_nobody_stored_are_refused(
    damage: Callable[[dict[str, Any], dict[str, Any]], object],
) -> None:
    """Their checksum may be right: a database can come from someone else."""
    first, rest = encode_series(full(), 60)
    with np.load(io.BytesIO(first)) as file:
        arrays = dict(file.items())
    table = json.loads(arrays.pop("table").tobytes())
    damage(table, arrays)
    with pytest.raises(ForetuneError):
        decode_first(packed(table, arrays))
    with pytest.raises(ForetuneError):
        decode_first(packed([table], arrays))
    with pytest.raises(ForetuneError):
        decode_series(packed(table, arrays), rest)


def packed(table: Any, arrays: dict[str, Any]) -> bytes:
    written = io.BytesIO()
    np.savez(written, table=np.frombuffer(json.dumps(table).encode(), np.uint8), **arrays)
    return written.getvalue()
