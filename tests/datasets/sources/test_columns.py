"""Files as people have them, read from bytes to values; and which column is which."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import people_formats as people
import pytest

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources.columns import (
    named_column,
    other_times,
    plain,
    price_columns,
    require_one_series,
    select_series,
    target_column,
    time_columns,
)
from foretune.datasets.sources.dates import to_times
from foretune.datasets.sources.text_table import Table, parse_text_table, read_text_table
from foretune.datasets.sources.values import to_numbers


def table_of(text: str) -> Table:
    return parse_text_table("f.csv", text)


def times_of(table: Table, **options: Any) -> pd.DatetimeIndex:
    index, _ = to_times(table, time_columns(table), **options)
    assert isinstance(index, pd.DatetimeIndex)
    return index.as_unit("ns")


@pytest.mark.parametrize("name", people.PRICES)
@pytest.mark.parametrize("rows", [40, 200])
def test_prices_are_read_as_they_were_written(name: str, rows: int, tmp_path: Path) -> None:
    given = people.prices(rows)
    (tmp_path / "p.csv").write_bytes(people.PRICES[name](given))
    table = read_text_table("p.csv", tmp_path / "p.csv")
    assert len(table.lines) == len(given)
    times = times_of(table).tz_localize(None)
    order = times.argsort()
    assert times.normalize()[order].tolist() == given["date"].tolist()
    found = price_columns(table, people.NAMES[:4])
    for price in people.NAMES:
        if price in found:
            values, _ = to_numbers(table, found[price])
            np.testing.assert_array_equal(values[order], given[price], err_msg=price)
    assert "volume" in found or name == "CryptoDataDownload"


@pytest.mark.parametrize("name", people.SERIES)
def test_series_are_read_as_they_were_written(name: str, tmp_path: Path) -> None:
    frequency, write = people.SERIES[name]
    given = people.series(frequency)
    (tmp_path / "s.csv").write_bytes(write(given))
    table = read_text_table("s.csv", tmp_path / "s.csv")
    times = times_of(table)
    assert times.tz_localize(None).tolist() == given["date"].tolist()
    target = target_column(table, time_columns(table), times)
    digits = 1 if "German" in name else 2
    np.testing.assert_array_equal(to_numbers(table, target)[0], given["value"].round(digits))


def test_there_are_enough_formats() -> None:
    assert len(people.PRICES) + len(people.SERIES) >= 30


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "1. open": "open",
        "1a. open (USD)": "open",
        "<DATE>": "date",
        "Adj Close**": "adjclose",
        "Close/Last": "closelast",
        " Vol. ": "vol",
        "open_time": "opentime",
        "Último": "ultimo",
        "Eröffn.": "eroffn",
        "日期": "日期",
        "Close (column 5)": "close",
    }.items(),
)
def test_plain_names(name: str, expected: str) -> None:
    assert plain(name) == expected


HEADS = {
    "date,Date2": ("date",),
    "Fecha,x": ("Fecha",),
    "x,open_time": ("open_time",),
    "index,ds": ("ds",),
    "data,Data2": ("data",),
}


@pytest.mark.parametrize("head", HEADS)
def test_the_time_is_found_by_name(head: str) -> None:
    columns = ["2020-01-0{}" if name in HEADS[head] else "{}.5" for name in head.split(",")]
    table = table_of(
        head + "\n" + "".join(",".join(columns).replace("{}", str(i)) + "\n" for i in (1, 2, 3))
    )
    assert time_columns(table) == HEADS[head]


def test_a_column_of_data_is_no_date_in_portuguese() -> None:
    table = table_of("when,data\n2020-01-01,1\n2020-01-02,2\n2020-01-03,3\n")
    assert time_columns(table) == ("when",)
    assert target_column(table, ("when",), times_of(table)) == "data"


def test_the_time_may_be_given_and_be_a_count() -> None:
    table = table_of("id,n,y\n1,5,1.5\n2,6,1.25\n3,7,1\n")
    assert time_columns(table, "N") == ("n",)
    assert to_times(table, ("n",))[0].tolist() == [5, 6, 7]


def test_without_a_time_the_rows_count() -> None:
    assert time_columns(table_of("y\n1\n2\n3\n")) == ()
    table = table_of(",y\n0,1\n1,2\n2,3\n")
    assert time_columns(table) == ("column 1",)
    assert target_column(table, ("column 1",), to_times(table, ("column 1",))[0]) == "y"
    table = table_of(",date,y\n5,2020-01-01,1\n6,2020-01-02,2\n7,2020-01-03,3\n")
    assert target_column(table, ("date",), times_of(table)) == "y"
    assert times_of(table_of(",y\n1999,1\n2000,2\n2001,3\n"))[2].year == 2001


def test_a_date_may_be_in_parts() -> None:
    table = table_of("No,year,month,day,hour,y\n1,2020,1,1,0,5\n2,2020,1,1,1,6\n3,2020,1,1,2,9\n")
    assert time_columns(table) == ("year", "month", "day", "hour")
    assert time_columns(table_of("Jahr;Monat;y\n2020;1;5\n2020;2;6\n")) == ("Jahr", "Monat")
    assert time_columns(table_of("year,day,y\n2020,1,5\n2021,1,6\n"), "year") == ("year",)


def test_a_month_beside_a_date_is_no_target() -> None:
    table = table_of(
        "date,month,day,load\n2020-01-30,1,30,5\n2020-01-31,1,31,7\n2020-02-01,2,1,6\n"
    )
    assert target_column(table, ("date",), times_of(table)) == "load"
    table = table_of("date,time,load\n2020-01-30,9.8,5\n2020-01-31,9.7,7\n2020-02-01,9.9,6\n")
    with pytest.raises(DataError, match="the target may be in the columns 'time', 'load'"):
        target_column(table, ("date",), times_of(table))


def test_a_damaged_column_is_meant_all_the_same() -> None:
    table = table_of("Month,Sales\n1-01,5\n1-02,6\n")
    assert time_columns(table) == ("Month",)  # whose error will name the line
    table = table_of("date,store,sales\n2020-01-01,1,5\n2020-01-02,1,7\n2020-01-03,1,<1\n")
    with pytest.raises(DataError, match="the target may be in the columns 'store', 'sales'"):
        target_column(table, ("date",), times_of(table))
    assert target_column(table, ("date",), times_of(table), taken=["store"]) == "sales"


def test_hours_of_a_day_are_a_value_where_there_is_one_row_a_day() -> None:
    table = table_of("date,hour,y\n2020-01-01,5,1\n2020-01-02,7,2\n")
    assert time_columns(table) == ("date",)


def test_times_that_agree_are_one() -> None:
    days = pd.date_range("2020-01-01", periods=5)
    rows = "".join(
        f"{d:%Y-%m-%d},{int(d.timestamp())},{d:%Y%m%d},{i},{i * i}.5\n" for i, d in enumerate(days)
    )
    table = table_of("date,unix,day,volume,load\n" + rows)
    assert time_columns(table) == ("date",)
    assert other_times(table, ("date",), times_of(table)) == ("unix", "day")


ERRORS = {
    "two times": (
        "date,tradedate,y\n2020-01-01,2021-03-01,1\n2020-01-02,2021-07-09,2\n",
        lambda t: time_columns(t),
        "f.csv: the time may be in the columns 'date', 'tradedate'; name one by time= (--time)",
    ),
    "two columns of dates": (
        "a,b,y\n2020-01-01,2021-03-01,1\n2020-01-02,2021-07-09,2\n",
        lambda t: time_columns(t),
        "f.csv: the time may be in the columns 'a', 'b'; name one by time= (--time)",
    ),
    "no time": (
        "a,y\nx,1\nz,2\n",
        lambda t: time_columns(t),
        "f.csv: no column of times is known by its name; the columns are 'a', 'y'; name one by "
        "time= (--time)",
    ),
    "no such column": (
        "a,y\n1,1\n2,2\n",
        lambda t: time_columns(t, "b"),
        "f.csv: no column 'b', which time= (--time) names; the columns are 'a', 'y'",
    ),
    "two targets": (
        "date,load,wind\n2020-01-01,1,2\n2020-01-02,2,3\n",
        lambda t: target_column(t, ("date",), times_of(t)),
        "f.csv: the target may be in the columns 'load', 'wind'; name one by target= (--target), "
        "or give wide=True (--wide) where each column is a series",
    ),
    "no target": (
        "date,wind\n2020-01-01,strong\n2020-01-02,weak\n",
        lambda t: target_column(t, ("date",), times_of(t)),
        "f.csv: no column of numbers to forecast is known by its name; the columns are 'date', "
        "'wind'; name one by target= (--target)",
    ),
    "two closes": (
        "date,Close,close\n2020-01-01,1,2\n2020-01-02,2,3\n",
        lambda t: price_columns(t),
        "f.csv: the price 'close' may be in the columns 'Close', 'close'; name one by "
        "columns={'close': ...} (--column close=...)",
    ),
    "no close": (
        "date,wert\n2020-01-01,1\n2020-01-02,2\n",
        lambda t: price_columns(t),
        "f.csv: no column of the price 'close' is known by its name; the columns are 'date', "
        "'wert'; name one by columns={'close': ...} (--column close=...)",
    ),
    "two series": (
        "unique_id,ds,y\nA,2020-01-01,1\nB,2020-01-02,2\n",
        lambda t: select_series(t),
        "f.csv: column 'unique_id' must name one series, but names 2: 'A', 'B'; choose one by "
        "series= (--series), or read all as a panel by series_column='unique_id' "
        "(--series-column)",
    ),
    "not this series": (
        "unique_id,ds,y\nA,2020-01-01,1\nB,2020-01-02,2\n",
        lambda t: select_series(t, "C"),
        "f.csv: no column names a series 'C'; COLUMN=VALUE, such as store=1, chooses rows of any "
        "column",
    ),
    "times that stand again": (
        "store,date,y\n1,2020-01-01,1\n1,2020-01-02,2\n1,2020-01-03,2\n2,2020-01-01,1\n"
        "2,2020-01-02,2\n2,2020-01-03,2\n",
        lambda t: require_one_series(t, ("date",), times_of(t)),
        "f.csv, line 5, column 'date': the time is there twice; if column 'store' names 2 series, "
        "choose one by series='store=1' (--series), or read all as a panel by "
        "series_column='store' (--series-column)",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_list_what_there_is_and_name_the_option(case: str) -> None:
    text, call, message = ERRORS[case]
    with pytest.raises(DataError) as caught:
        call(table_of(text))
    assert str(caught.value) == message


def test_prices_by_other_names() -> None:
    table = table_of("date,Apertura,Close,Price,Max\n2020-01-01,1,2,3,4\n2020-01-02,1,2,3,4\n")
    assert price_columns(table, ()) == {"open": "Apertura", "high": "Max", "close": "Close"}
    assert price_columns(table, columns={"close": "price"})["close"] == "Price"
    with pytest.raises(ConfigError, match=r"columns must name open, high, .* but got 'mid'"):
        price_columns(table, columns={"mid": "Close"})


def test_an_unclear_column_that_nobody_needs_is_no_reason_to_refuse() -> None:
    table = table_of("date,close,Volume,volume\n2020-01-01,1,x,y\n2020-01-02,2,x,y\n")
    assert price_columns(table) == {"close": "close"}


def test_one_series_is_chosen() -> None:
    table = table_of("unique_id,ds,y\nA,2020-01-01,1\nB,2020-01-02,2\nB,2020-01-03,3\n")
    assert select_series(table, "B").lines.tolist() == [3, 4]
    assert select_series(table, "y=3").lines.tolist() == [4]
    require_one_series(table, ("ds",), times_of(table))  # no time is there twice
    assert named_column(table, "Y", "target=") == "y"
