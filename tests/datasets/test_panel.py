"""Panels: read from long tables, aligned at the end, and each series as it is alone."""

import numpy as np
import pandas as pd
import pytest

from foretune.datasets import TimeSeries
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.panel import Panel
from foretune.datasets.splits import chronological_split, development

LENGTHS = {"b": 60, "a": 90, "c": 45}


def long(lengths: dict[str, int] | None = None, **columns: str) -> pd.DataFrame:
    """Hours that end together: a row for each series and time."""
    parts = []
    for number, (key, rows) in enumerate((lengths or LENGTHS).items()):
        rng = np.random.default_rng(number)
        when = pd.date_range(end="2024-03-31 12:00", periods=rows, freq="h")
        scale = 10.0**number
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": key,
                    "ds": when,
                    "y": scale * rng.normal(size=rows).cumsum(),
                    "wind": rng.normal(size=rows),
                }
            )
        )
    return pd.concat(parts, ignore_index=True).rename(columns=columns)


def test_a_long_table_is_a_series_a_name() -> None:
    table = long()
    panel = Panel.from_frame(table, target="y", past=["wind"])
    assert panel.names == ("a", "b", "c")
    assert len(panel) == 90
    assert repr(panel) == "Panel('panel', 3 series of 45 to 90 rows, hourly)"
    assert panel.firsts.tolist() == [0, 30, 45]
    assert panel.is_aligned
    assert panel.time.equals(panel["a"].time)
    for number, name in enumerate(panel.names):
        own = table[table["unique_id"] == name]
        first = panel.firsts[number]
        np.testing.assert_array_equal(panel.values[number, first:], own["y"])
        np.testing.assert_array_equal(panel.values[number, :first], [own["y"].iloc[0]] * first)
        np.testing.assert_array_equal(panel[name].past["wind"], own["wind"])


def test_order_of_rows_and_columns_changes_nothing() -> None:
    table = long()
    panel = Panel.from_frame(table, target="y", past=["wind"])
    # Ids in another order, and the columns.
    other = pd.concat([table[table["unique_id"] == name] for name in ("c", "a", "b")])
    again = Panel.from_frame(other[["wind", "y", "ds", "unique_id"]], target="y", past=["wind"])
    assert again.digest == panel.digest
    np.testing.assert_array_equal(again.values, panel.values)
    changed = table.copy()
    changed.loc[3, "y"] += 1e-9
    assert Panel.from_frame(changed, target="y", past=["wind"]).digest != panel.digest


def test_series_that_end_apart_are_counted_from_their_ends() -> None:
    table = long()
    table.loc[table["unique_id"] == "c", "ds"] -= pd.Timedelta(days=3)
    panel = Panel.from_frame(table, target="y")
    assert not panel.is_aligned
    assert panel.time.tolist() == list(range(90))
    assert panel.values[2, -1] == panel["c"].target[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ds": pd.Timedelta(minutes=30)}, None),
        (
            "daily",
            r"but a has hourly and b has daily; freq= \(--freq\) is one for all",
        ),
        ("twice", "b: row .*: time must increase from row to row, but .* is there twice"),
        ("nobody", "row 5: unique_id must name a series, but is missing"),
    ],
)
def test_what_is_no_panel_is_refused(change: object, message: str | None) -> None:
    table = long()
    mine = table["unique_id"] == "b"
    if change == "daily":
        table.loc[mine, "ds"] = pd.date_range("2024-01-01", periods=60, freq="D")
    elif change == "twice":
        table = pd.concat([table, table[mine].tail(1)], ignore_index=True)
    elif change == "nobody":
        table.loc[5, "unique_id"] = None
    if message is None:
        Panel.from_frame(table, target="y")
        return
    with pytest.raises(DataError, match=message):
        Panel.from_frame(table, target="y")


def test_short_series_are_counted_and_named() -> None:
    table = long({"a": 90, "b": 5, "c": 4, "d": 3, "e": 2})
    with pytest.raises(
        DataError,
        match=r"4 of 5 series have fewer than 10 rows: b \(5\), c \(4\), d \(3\), \.\.\.; leave",
    ):
        Panel.from_frame(table, target="y", least=10)
    with pytest.warns(
        DataWarning, match=r"4 of 5 series have fewer than 10 rows: .*; they were left out"
    ):
        panel = Panel.from_frame(table, target="y", least=10, short="drop")
    assert panel.names == ("a",)
    with pytest.raises(ConfigError, match="short must be 'raise' or 'drop', but got 'skip'"):
        Panel.from_frame(table, target="y", short="skip")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has no series 'z'; its 1 are a"):
        print(panel["z"])
    assert "a" in panel
    assert "b" not in panel


def test_series_that_begin_after_the_training_rows_are_named() -> None:
    split = chronological_split(300, horizon=4, history=8)
    rows = 300 - split.train_stop
    panel = Panel.from_frame(long({"a": 300, "b": rows + 2, "c": rows, "d": rows - 4}), target="y")
    with pytest.raises(DataError, match=r"2 of 4 series begin after the .*leave_out=\['c', 'd'\]"):
        development(panel, split)


def test_a_panel_of_one_is_the_series_bit_for_bit() -> None:
    table = long({"a": 300})
    series = TimeSeries.from_frame(
        table.drop(columns="unique_id"), target="y", past=["wind"], name="a"
    )
    panel = Panel.from_frame(table, target="y", past=["wind"])
    split = chronological_split(300, horizon=4, history=8)
    one, other = development(series, split), development(panel, split)
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.spaces, one.encoding, one.starts) == (other.spaces, other.encoding, other.starts)
    for mine, theirs in zip(one.covariates.arrays, other.covariates.arrays, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert one.time.equals(other.time)


def test_each_series_is_scaled_on_its_own_rows_and_covariates_on_all() -> None:
    panel = Panel.from_frame(long({"a": 300, "b": 280, "c": 260}), target="y", past=["wind"])
    split = chronological_split(300, horizon=4, history=8)
    data = development(panel, split)
    assert data.firsts.tolist() == [0, 20, 40]
    stops = [split.train_stop, split.train_stop - 20, split.train_stop - 40]
    for one, space, stop in zip(panel, data.spaces, stops, strict=True):
        assert space.unit == pytest.approx(np.std(one.target[:stop]), rel=1e-12)
    winds = [one.past["wind"] for one in panel]
    every = np.concatenate([wind[:stop] for wind, stop in zip(winds, stops, strict=True)])
    for number, (wind, first) in enumerate(zip(winds, data.firsts, strict=True)):
        expected = (wind[: split.validation_stop - first] - every.mean()) / every.std()
        np.testing.assert_allclose(data.past[number, first:, 0], expected, rtol=1e-12)
    # Other values of one series after the split change nothing, of any series.
    table = long({"a": 300, "b": 280, "c": 260})
    late = table.groupby("unique_id").cumcount(ascending=False) < 300 - split.validation_stop
    table.loc[late & (table["unique_id"] == "b"), ["y", "wind"]] *= 7
    again = development(Panel.from_frame(table, target="y", past=["wind"]), split)
    np.testing.assert_array_equal(again.values, data.values)
    np.testing.assert_array_equal(again.past, data.past)
