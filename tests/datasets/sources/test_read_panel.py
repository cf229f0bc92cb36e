"""Panels from the files that people have: what each series would be alone, or one line."""

import gzip
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.datasets import Panel, as_data, as_series, read_panel
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.sources.load import what_was_read

ROWS = {"BE": 48, "AT": 60, "CH": 30}


def long() -> pd.DataFrame:
    """Hourly loads of three countries, which end together."""
    parts = []
    for number, (key, rows) in enumerate(ROWS.items()):
        when = pd.date_range(end="2024-03-30 23:00", periods=rows, freq="h")
        load = np.random.default_rng(number).normal(1000, 50, rows).round(2)
        parts.append(pd.DataFrame({"unique_id": key, "ds": when, "y": load}))
    return pd.concat(parts, ignore_index=True)


def expected() -> Panel:
    return Panel.from_frame(long())


def german(table: pd.DataFrame) -> str:
    """As Excel writes it there."""
    cells = table.assign(
        ds=table["ds"].dt.strftime("%d.%m.%Y %H:%M"),
        y=[f"{value:,.2f}".translate(str.maketrans(",.", ".,")) for value in table["y"]],
    )
    names = {"unique_id": "Land", "ds": "Zeitpunkt", "y": "Last (MW)"}
    text = cells.rename(columns=names).to_csv(sep=";", index=False)
    return f"Last der Netze\n\n{text}\nQuelle: Netzbetreiber\n"


def write(path: Path, table: pd.DataFrame) -> Path:
    text = table.to_csv(index=False)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("inner.csv", text)
    elif path.suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="pyarrow writes Parquet")
        table.to_parquet(path)
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["l.csv", "l.csv.gz", "l.zip", "l.parquet"])
def test_a_long_file_is_the_panel_of_its_frame(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, long())
    panel = read_panel(path)
    assert panel.digest == expected().digest
    assert (panel.name, panel.source, panel.file) == ("l", name, str(path))
    assert panel.reading == {"series_column": "unique_id"}
    shuffled = long().sample(frac=1, random_state=0)
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        assert read_panel(write(tmp_path / name, shuffled)).digest == panel.digest


def test_a_long_file_as_excel_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "last.csv"
    path.write_text(german(long()), encoding="cp1252")
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        panel = read_panel(path, series_column="Land")
    assert panel.names == ("AT", "BE", "CH")
    for one, other in zip(panel, expected(), strict=True):
        np.testing.assert_array_equal(one.target, other.target)
        assert one.time.equals(other.time)
    assert panel.target_name == "Last (MW)"


def test_days_are_told_from_months_once_for_all_series(tmp_path: Path) -> None:
    """01/02/2024 may be either day; that the rows are hours in a row says which."""
    hours = pd.date_range("2024-02-01", periods=100, freq="h")
    text = hours.strftime("%d/%m/%Y %H:%M")
    parts = [pd.DataFrame({"unique_id": key, "ds": text, "y": np.arange(100.0)}) for key in "ab"]
    path = write(tmp_path / "d.csv", pd.concat(parts))
    with pytest.warns(
        DataWarning, match=r"d\.csv: column 'ds' is read as D/M/YYYY.*its steps are equal"
    ) as said:
        panel = read_panel(path)
    assert panel.time.equals(hours.rename("ds").as_unit("ns"))
    assert len(said) == 1


def test_date_and_time_of_day_may_be_two_columns(tmp_path: Path) -> None:
    table = long()
    table.insert(1, "date", table["ds"].dt.strftime("%Y-%m-%d"))
    table.insert(2, "time", table["ds"].dt.strftime("%H:%M"))
    panel = read_panel(write(tmp_path / "l.csv", table.drop(columns="ds")))
    assert panel["AT"].time.equals(expected()["AT"].time)


def test_a_wide_file_is_the_panel_of_its_long_one(tmp_path: Path) -> None:
    table = long().pivot_table(index="ds", columns="unique_id", values="y").reset_index()
    table["note"] = "as measured"
    path = write(tmp_path / "wide.csv", table)
    with pytest.warns(DataWarning) as said:
        panel = read_panel(path, wide=True)
    assert panel.digest == expected().digest
    assert panel.target_name == "value"
    assert panel.reading == {"wide": True}
    assert [str(warning.message) for warning in said] == [
        "wide.csv: no series, and left out, are the columns note: they are no numbers to forecast",
        "wide.csv: 2 series begin after the first row, where their values do",
    ]
    assert read_panel(path, wide=True, series=["AT"]).names == ("AT",)
    # What is not read may hold anything.
    path.write_text(path.read_text().replace("\n", "\nx", 1).replace("\nx", "\n", 1))
    table["BE"] = table["BE"].astype(object)
    table.loc[40, "BE"] = "1000 oder mehr"
    write(path, table)
    assert read_panel(path, wide=True, series="AT")["AT"].digest == expected()["AT"].digest
    with pytest.raises(DataError, match=r"line 42, column 'BE': must be a number .* '1000 oder me"):
        read_panel(path, wide=True, series=["AT", "BE"])
    with pytest.raises(ConfigError, match=r"target must not be given for a wide file, .* 'AT'; se"):
        read_panel(path, wide=True, target="AT")


@pytest.mark.parametrize(
    ("damage", "reading", "message"),
    [
        (
            lambda text: text.replace("BE,2024-03-29 00:00:00,", "BE,2024-03-29 00:00:00,viel", 1),
            {},
            r"l\.csv, line 2, column 'y': must be a number .*'viel",
        ),
        (
            lambda text: text.replace("BE,2024-03-29 01:00:00", "BE,2024-03-29 00:00:00", 1),
            {},
            r"l\.csv: series BE: .*l\.csv, line 3: time must increase .* 2024-03-29 is there twice",
        ),
        (
            lambda text: text.replace("BE,2024-03-29 01:00:00", ",2024-03-29 01:00:00", 1),
            {},
            r"l\.csv, line 3: unique_id must name a series, but is missing",
        ),
        (
            lambda text: text.replace("2024-03-29 01:00:00", "gestern", 1),
            {},
            r"l\.csv, line 3, column 'ds': must be a da.*'gestern'",
        ),
        (
            lambda text: text,
            {"least": 50},
            r"l\.csv: 2 of 3 series have fewer than 50 rows: BE \(48\), CH \(30\); leave them out "
            r"with short='drop', least=50 \(--short drop --least 50\)",
        ),
        (
            lambda text: text.replace("unique_id", "land"),
            {},
            r"l\.csv: no column of the names of series is known .* name one by series_column= "
            r"\(--series-column\), or give wide=True",
        ),
        (lambda text: text, {"series_column": "z"}, r"l\.csv: no column 'z', which series_column="),
        (lambda text: text, {"series": ["AT", "z"]}, "series must be one of AT, BE, CH, but got"),
    ],
)
def test_what_cannot_be_read_is_named(
    damage: Callable[[str], str], reading: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "l.csv"
    path.write_text(damage(long().to_csv(index=False)))
    with pytest.raises(DataError, match=message) as caught:
        read_panel(path, **reading)
    assert "\n" not in str(caught.value)


def test_short_series_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", long())
    with pytest.warns(DataWarning, match=r"l\.csv: 1 of 3 series have fewer than 40 rows: CH"):
        panel = read_panel(path, short="drop", least=40)
    assert panel.names == ("AT", "BE")
    how = {"series_column": "unique_id", "short": "drop", "least": 40}
    assert panel.reading == how
    assert read_panel(path, leave_out="CH").digest == panel.digest
    # One series of a panel stays a panel, also where the study reads it again.
    one = read_panel(path, series="AT")
    assert as_data(path, **one.reading).digest == one.digest


def test_rows_that_are_series_are_to_be_melted(tmp_path: Path) -> None:
    """The competition's own files of M4."""
    path = tmp_path / "M4-Hourly-train.csv"
    path.write_text('"V1","V2","V3","V4"\n"H1","605","586","586"\n"H2","3124","2990",""\n')
    with pytest.raises(DataError, match=r"another one in each of 2 rows; .*df\.melt\(id_vars='V1'"):
        read_panel(path, series_column="V1")


def test_a_path_is_read_as_its_options_say(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", long())
    panel = as_data(path, series_column="unique_id", series=["BE", "AT"])
    assert panel.names == ("AT", "BE")
    assert as_data(str(path), series=("BE", "AT")).digest == panel.digest
    assert as_data(path, series="BE").digest == expected()["BE"].digest
    with pytest.raises(
        DataError,
        match=r"names 3: 'BE', 'AT', 'CH'; choose one by series= \(--series\), or read all as a "
        r"panel by series_column='unique_id' \(--series-column\)",
    ):
        as_series(path)


def test_covariates_of_each_series_come_along(tmp_path: Path) -> None:
    table = long().assign(plan=np.arange(138.0), zone="CET")
    table.loc[table["ds"] > "2024-03-30 20:00", "y"] = np.nan
    path = write(tmp_path / "l.csv", table)
    panel = read_panel(path, future=["plan"], static="zone", target="y")
    assert [one.beyond for one in panel] == [3, 3, 3]
    np.testing.assert_array_equal(panel["BE"].future["plan"], np.arange(48.0))
    assert panel["CH"].static == {"zone": "CET"}


def test_series_that_end_apart_are_said_to_be_counted_from_their_ends() -> None:
    together = "a DataFrame: 3 series of 30 to 60 rows, 2024-03-28 12:00:00 to 2024-03-30 23:00:00"
    assert what_was_read(expected()) == f"{together}, hourly, y"
    apart = Panel.from_frame(long().iloc[:-1])  # the last hour of CH
    assert what_was_read(apart) == (
        "a DataFrame: 3 series of 29 to 60 rows, counted from the end of each, hourly, y"
    )


def test_a_file_of_shares_is_of_prices(tmp_path: Path) -> None:
    """Kaggle's five years of the S&P 500: date,open,high,low,close,volume,Name."""
    days = pd.bdate_range("2013-02-08", periods=40)
    parts = []
    for number, symbol in enumerate(("AAL", "AAPL")):
        close = (30 * np.exp(np.random.default_rng(number).normal(0, 0.01, 40).cumsum())).round(2)
        bars = {"open": close, "high": close + 0.3, "low": close - 0.2, "close": close}
        parts.append(pd.DataFrame({"date": days, **bars, "volume": 1000, "Name": symbol}))
    path = write(tmp_path / "all_stocks_5yr.csv", pd.concat(parts))
    panel = read_panel(path, series_column="Name")
    assert panel.names == ("AAL", "AAPL")
    assert (panel.error_space, panel.target_name) == ("log", "close price")
    np.testing.assert_array_equal(panel["AAPL"].target, parts[1]["close"])
    with pytest.raises(DataError, match="the target 'mid' must be a column"):
        read_panel(path, series_column="Name", target="mid")
