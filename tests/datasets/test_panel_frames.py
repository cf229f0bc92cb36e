"""Panels from the DataFrames that people have: long, wide, by a MultiIndex; and what is refused."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.datasets import Panel, TimeSeries, as_data, as_series
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning

LENGTHS = {"b": 60, "a": 90, "c": 45}


def nixtla(**lengths: int) -> pd.DataFrame:
    """Hours that end together, as StatsForecast and NeuralForecast read them."""
    parts = []
    for number, (key, rows) in enumerate((lengths or LENGTHS).items()):
        when = pd.date_range(end="2024-03-31 12:00", periods=rows, freq="h")
        values = np.random.default_rng(number).normal(size=rows).cumsum()
        parts.append(pd.DataFrame({"unique_id": key, "ds": when, "y": values}))
    return pd.concat(parts, ignore_index=True)


def by_hand(table: pd.DataFrame) -> Panel:
    """The panel of a Nixtla table, each series made by itself."""
    series = [
        TimeSeries.from_frame(rows[["ds", "y"]].reset_index(drop=True), name=str(key))
        for key, rows in table.groupby("unique_id")
    ]
    return Panel(name="by hand", series=tuple(series), source="typed in")


def test_series_are_those_that_each_makes_by_itself() -> None:
    assert Panel.from_frame(nixtla()).digest == by_hand(nixtla()).digest


@pytest.mark.parametrize(
    "other",
    [
        lambda t: t.sample(frac=1, random_state=1),
        lambda t: t.sample(frac=1, random_state=1).reset_index(drop=True),
        lambda t: t[::-1],
        lambda t: t[["y", "unique_id", "ds"]],
        lambda t: t.assign(unique_id=t["unique_id"].astype("category")),
        lambda t: t.assign(ds=t["ds"].astype(str)),
        lambda t: t.assign(ds=t["ds"].dt.strftime("%d.%m.%Y %H:%M")),
        lambda t: t.rename(columns={"unique_id": "item_id", "ds": "timestamp", "y": "target"}),
        # sktime and pandas: both in the index, with names or without, in either order.
        lambda t: t.set_index(["unique_id", "ds"]),
        lambda t: t.set_index(["unique_id", "ds"]).rename_axis([None, None]),
        lambda t: t.set_index(["unique_id", "ds"]).rename_axis(["instances", "timepoints"]),
        lambda t: t.set_index(["ds", "unique_id"]).sort_index(),
        lambda t: t.set_index([t["ds"].dt.to_period("h"), "unique_id"]).drop(columns="ds"),
        lambda t: t.set_index([t["ds"].astype(str), "unique_id"]).drop(columns="ds"),
        # StatsForecast of old: the name alone in the index.
        lambda t: t.set_index("unique_id"),
    ],
)
def test_the_same_values_are_the_same_panel_however_they_lie(other: Any) -> None:
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        assert Panel.from_frame(other(nixtla())).digest == by_hand(nixtla()).digest


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_times_keep_their_zone_through_the_change_of_clocks(zone: str) -> None:
    table = nixtla()
    table["ds"] = table["ds"].dt.tz_localize("UTC").dt.tz_convert(zone)
    panel = Panel.from_frame(table)
    assert str(panel.time.dtype) == f"datetime64[ns, {zone}]"
    assert panel.digest == by_hand(table).digest


def test_rows_out_of_order_are_said_once() -> None:
    table = nixtla()
    table.iloc[[3, 7]] = table.iloc[[7, 3]].to_numpy()
    with pytest.warns(DataWarning, match=r"panel: row 4 \(.* of b\) is out of order.*sorted"):
        panel = Panel.from_frame(table)
    assert len(panel.remarks) == 1


def test_numbers_from_1_are_times_of_each_series() -> None:
    """M4 in Nixtla's form has no dates: every series begins at 1."""
    rows = {"H1": 1850, "H2": 2030}
    table = pd.concat(
        pd.DataFrame({"unique_id": key, "ds": np.arange(1, n + 1), "y": np.arange(n) % 24 / 7})
        for key, n in rows.items()
    )
    panel = Panel.from_frame(table)
    assert not panel.is_aligned
    assert panel.firsts.tolist() == [180, 0]
    assert str(panel.calendar) == "whole numbers, step 1"
    # Numbers that could be years stay what the whole column says that they are.
    absent = (table["unique_id"] == "H1") & ((table["ds"] <= 1800) | (table["ds"] == 1810))
    late = table[~absent]
    with pytest.warns(DataWarning, match=r"^panel: H1: 1 missing rows were added"):
        panel = Panel.from_frame(late, missing="ffill")
    assert panel["H1"].time.tolist() == list(range(1801, 1851))


def wide() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        rng.normal(size=(80, 3)),
        columns=["north", "east", "west"],
        index=pd.date_range("2024-01-01", periods=80, freq="D", name="day"),
    )
    return frame.assign(holiday=np.arange(80) % 7 == 0, price=np.arange(80.0))


def test_each_column_of_a_wide_table_is_a_series() -> None:
    table = wide().drop(columns=["holiday", "price"])
    table.iloc[:11, 1] = np.nan
    with pytest.warns(DataWarning, match="1 series begin after the first row"):
        panel = Panel.from_frame(table, wide=True)
    assert panel.names == ("east", "north", "west")
    assert panel.target_name == "value"
    assert panel.firsts.tolist() == [11, 0, 0]
    np.testing.assert_array_equal(panel["west"].target, table["west"])
    # As in a column of dates, and in the long form.
    long = table.reset_index().melt("day", var_name="unique_id").dropna()
    assert Panel.from_frame(long).digest == panel.digest
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        assert Panel.from_frame(table.reset_index(), wide=True).digest == panel.digest


def test_covariates_of_a_wide_table_are_those_of_all() -> None:
    panel = Panel.from_frame(wide(), wide=True, past="price", future=["holiday"])
    assert panel.names == ("east", "north", "west")
    for one in panel:
        np.testing.assert_array_equal(one.past["price"], np.arange(80.0))
        assert one.future["holiday"][[0, 1]].tolist() == ["True", "False"]
    assert Panel.from_frame(wide(), wide=True, series=["west", "north"]).names == ("north", "west")
    some = Panel.from_frame(wide(), wide=True, series="price", future="holiday")
    assert some.names == ("price",)
    with pytest.warns(DataWarning, match="left out, are the columns holiday: they are no numbers"):
        rest = Panel.from_frame(wide(), wide=True, leave_out=["north", "price"])
    assert rest.names == ("east", "west")


def changed(what: str) -> pd.DataFrame:
    table = nixtla()
    mine = table["unique_id"] == "b"
    if what == "daily":
        table.loc[mine, "ds"] = pd.date_range("2024-01-01", periods=60, freq="D")
    elif what == "twice":
        table = pd.concat([table, table[mine].tail(1)], ignore_index=True)
    elif what == "nobody":
        table.loc[5, "unique_id"] = None
    elif what == "text":
        table["y"] = table["y"].astype(object)
        table.loc[50, "y"] = "many"
    elif what == "no value":
        table.loc[70, "y"] = np.nan
    elif what == "gap":
        table = table.drop(index=70)
    elif what == "rows are series":
        table = table.pivot_table(index="unique_id", columns="ds", values="y").reset_index()
    elif what == "no name":
        table = table.rename(columns={"unique_id": "shop"})
    return table


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("daily", "must have the same calendar, but a has hourly and b has daily"),
        ("twice", "series b: row 195: time must increase .*, but 2024-03-31 12:00:00 is there"),
        ("nobody", "row 5: unique_id must name a series, but is missing"),
        ("text", "row 50: y must be a number, but got 'many'"),
        ("no value", "series a: row 70: y must be given, but is missing.*missing='drop'"),
        ("gap", "series a: row 70: time must be 2024-03-28 05:00:00.*missing='ffill'"),
        ("rows are series", r"another one in each of 3 rows; .* df\.melt\(id_vars='unique_id'\)"),
        ("no name", r"names the series is known by no name among shop, ds, y; give id= \(series_"),
    ],
)
def test_what_is_no_panel_is_refused_in_one_line(what: str, message: str) -> None:
    with pytest.raises(DataError, match=f"^panel: .*{message}") as caught:
        Panel.from_frame(changed(what), target="y" if what == "text" else None)
    assert "\n" not in str(caught.value)


def test_missing_values_are_treated_series_by_series_and_said_once() -> None:
    table = nixtla()
    table.loc[[70, 71, 10, 160], "y"] = np.nan
    with pytest.warns(DataWarning, match=r"a: 2 missing values of y were filled .*; the like of 2"):
        panel = Panel.from_frame(table, missing="ffill")
    assert panel["a"].target[[10, 11]].tolist() == [panel["a"].target[9]] * 2
    assert len(panel.remarks) == 1


def test_a_series_too_short_to_know_its_calendar_has_that_of_the_longest() -> None:
    days = pd.bdate_range("2024-01-01", periods=60)
    table = pd.concat(
        pd.DataFrame({"unique_id": key, "ds": days[-rows:], "y": np.arange(rows) % 5})
        for key, rows in (("long", 60), ("short", 4))
    )
    panel = Panel.from_frame(table)
    assert panel["short"].calendar == panel["long"].calendar
    assert panel.calendar.weekdays == (0, 1, 2, 3, 4) or panel.calendar.frequency == "B"


@pytest.mark.parametrize(
    ("reading", "error", "message"),
    [
        ({"series": ["a", "z"]}, DataError, "series must be one of a, b, c, but got 'z'"),
        ({"leave_out": ["z"]}, DataError, "leave_out must be one of a, b, c, but got 'z'"),
        ({"leave_out": ["a", "b", "c"]}, DataError, "must leave at least one series"),
        ({"least": 100}, DataError, r"3 of 3 series have fewer than 100 rows: a \(90\)"),
        ({"least": 0}, ConfigError, "least must be a whole number of rows from 1, but got 0"),
        ({"short": "drop"}, ConfigError, "least must be given with short='drop'"),
        ({"wide": True}, DataError, "wide=True reads each column .*, but unique_id names them"),
        ({"id": "shop"}, DataError, "id must be a column .* 'shop'; there are unique_id, ds, y"),
        ({"target": "z"}, DataError, "'z' must be a column, and the columns are"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    reading: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Panel.from_frame(nixtla(), **reading)


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Index, pd.Series])
def test_series_are_asked_for_by_numbers_where_these_are_their_ids(kind: Any) -> None:
    table = nixtla(a=40, b=50, c=60).replace({"unique_id": {"a": 1, "b": 2, "c": 10}})
    asked: Any = kind([1, 10])
    assert Panel.from_frame(table, series=asked).names == ("1", "10")
    assert Panel.from_frame(table, leave_out=asked).names == ("2",)
    read: Any = as_data(table, series_column="unique_id", series=asked)
    assert read.names == ("1", "10")
    assert Panel.from_frame(table, leave_out=2).names == ("1", "10")  # type: ignore[arg-type]


def test_one_series_is_asked_for_as_one_and_several_as_a_panel() -> None:
    table = nixtla()
    several = as_data(table, series_column="unique_id")
    assert isinstance(several, Panel)
    assert several.reading == {"series_column": "unique_id"}
    assert as_data(table, series=["a", "c"]).members[1].name == "c"
    one = as_data(table, series="a")
    assert isinstance(one, TimeSeries)
    assert one.digest == several["a"].digest
    assert as_data(table, series=["a"]).digest == one.digest
    assert as_data(several) is several
    # Read again as the study's spec has it, after JSON.
    again = as_data(table, target="y", series=["a", "c"], series_column="unique_id")
    assert again.members[0].digest == one.digest
    for panel in (Panel.from_frame(table, series="a"), Panel.from_frame(table.set_index("ds"))):
        assert as_data(table, **panel.reading).digest == several.digest
    with pytest.raises(DataError, match=r"one, as by series='b', or .* Panel\.from_frame\(df, id"):
        as_series(table)
    with pytest.raises(DataError, match=r"panel is a panel of 3: a, b, c; panel\['a'\] is one"):
        as_series(several)
    with pytest.raises(ConfigError, match="series_column must not be given for one series; as_da"):
        as_series(table, series_column="unique_id")
    with pytest.raises(ConfigError, match=r"least must not be given for one series; series_colum"):
        as_data(table, series="a", least=3)
    with pytest.raises(DataError, match="a panel must be read from a DataFrame or a file, but got"):
        as_data("bikes", wide=True)


def test_prices_of_several_symbols_are_prices() -> None:
    """A long table of shares, as people put those of an index together."""
    days = pd.bdate_range("2024-01-01", periods=50)
    parts = []
    for number, symbol in enumerate(("AAL", "MSFT")):
        close = 50 * np.exp(np.random.default_rng(number).normal(0, 0.01, 50).cumsum())
        bars = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
        parts.append(pd.DataFrame({"date": days, **bars, "symbol": symbol}))
    panel = as_data(pd.concat(parts), series_column="symbol")
    assert (panel.error_space, panel.target_name) == ("log", "close price")
    np.testing.assert_array_equal(panel.members[0].target, parts[0]["close"])
    opened = as_data(pd.concat(parts), "open", series_column="symbol")
    assert opened.target_name == "open price"
    with pytest.raises(DataError, match="the target 'mid' must be a column"):
        as_data(pd.concat(parts), "mid", series_column="symbol")


def test_a_panel_as_a_table_reads_back_as_itself() -> None:
    table = nixtla()
    table["wind"] = np.arange(len(table)) % 11
    table["plan"] = np.arange(len(table)) % 13 / 3
    table["site"] = table["unique_id"].map({"a": "north", "b": "south", "c": "north"})
    table.loc[table["ds"] > "2024-03-31 08:00", ["y", "wind"]] = np.nan
    how: dict[str, Any] = {"past": "wind", "future": "plan", "static": "site"}
    panel = Panel.from_frame(table, target="y", **how)
    assert panel["b"].beyond == 4
    assert panel["b"].static == {"site": "south"}
    assert Panel.from_frame(panel.to_frame(), target="y", **how).digest == panel.digest


def test_a_panel_shows_itself() -> None:
    panel = Panel.from_frame(nixtla())
    html = panel._repr_html_()
    assert "3: a, b, c" in html
    assert "45 to 90 rows, all end together" in html
    figure = panel.plot("a", "c")
    assert [axes.get_title() for axes in figure.axes] == ["a", "c"]
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), panel["c"].target)
    assert len(panel.plot().axes) == 3
