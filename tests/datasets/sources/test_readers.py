"""read_prices: every file it accepts, everything it refuses, and that nothing else gets out."""

import csv
import gzip
import io
import os
import tracemalloc
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources import text_table as tables
from foretune.datasets.sources.readers import read_prices

# Two days that every accepted file below holds: date, open, high, low, close, volume.
DAY_1 = ("2020-01-02", 10.5, 12.25, 10.0, 11.0, 1000.0)
DAY_2 = ("2020-01-03", 11.0, 13.0, 10.75, 12.5, 2000.0)

WITH_VOLUME = {
    "Kaggle": """\
Date,Open,High,Low,Close,Volume,OpenInt
2020-01-02,10.5,12.25,10,11,1000,0
2020-01-03,11,13,10.75,12.5,2000,0
""",
    "Yahoo": """\
Date,Open,High,Low,Close,Adj Close,Volume
2020-01-02,10.500000,12.250000,10.000000,11.000000,9.123456,1000
2020-01-03,11.000000,13.000000,10.750000,12.500000,9.654321,2000
""",
    "yfinance, flat": """\
Date,Open,High,Low,Close,Volume,Dividends,Stock Splits
2020-01-02 00:00:00-05:00,10.5,12.25,10.0,11.0,1000,0.0,0.0
2020-01-03 00:00:00-05:00,11.0,13.0,10.75,12.5,2000,0.0,0.0
""",
    "yfinance, three header lines": """\
Price,Close,High,Low,Open,Volume
Ticker,AAPL,AAPL,AAPL,AAPL,AAPL
Date,,,,,
2020-01-02,11.0,12.25,10.0,10.5,1000
2020-01-03,12.5,13.0,10.75,11.0,2000
""",
    "Stooq, web": """\
Date,Open,High,Low,Close,Volume\r
2020-01-02,10.5,12.25,10,11,1000\r
2020-01-03,11,13,10.75,12.5,2000\r
""",
    "Stooq, bulk": """\
<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>
AAPL.US,D,20200102,000000,10.5,12.25,10,11,1000,0
AAPL.US,D,20200103,000000,11,13,10.75,12.5,2000,0
""",
    "Alpha Vantage": """\
timestamp,open,high,low,close,volume
2020-01-03,11.0000,13.0000,10.7500,12.5000,2000
2020-01-02,10.5000,12.2500,10.0000,11.0000,1000
""",
    "Alpha Vantage, numbered keys": """\
date,1. open,2. high,3. low,4. close,5. volume
2020-01-03,11.0000,13.0000,10.7500,12.5000,2000.0
2020-01-02,10.5000,12.2500,10.0000,11.0000,1000.0
""",
    "Google Sheets": """\
Date,Open,High,Low,Close,Volume
1/2/2020 16:00:00,10.5,12.25,10,11,1000
1/3/2020 16:00:00,11,13,10.75,12.5,2000
""",
    "semicolons, quotes, padding and blank lines": """\

 "LOW" ; "volume" ; CLOSE;high;Open;note;Date
+10.;1e3;11;12.25;1.05e1;"a;b
c";01/02/2020

\t
10.75;2E3;12.50; 13 ;11;;1/3/2020

""".replace('" ;', '";')
    .replace('; "', ';"')
    .replace(' "LOW"', '"LOW"'),
    "tabs and a byte order mark": (
        "\ufeffDate\tOpen\tHigh\tLow\tClose\tVol\n"
        "20200102\t10.5\t12.25\t10\t11\t1000\n20200103\t11\t13\t10.75\t12.5\t2000"
    ),
    "carriage returns alone": (
        "Date,Open,High,Low,Close,Volume\r"
        "2020-01-03T23:59:59.999Z,11,13,10.75,12.5,2000\r2020-01-02T00:00Z,10.5,12.25,10,11,1000\r"
    ),
}
WITHOUT_VOLUME = {
    "the tutorial's cache": """\
,Date,Low,High,Close,Open
0,2020-01-02,10.0,12.25,11.0,10.5
1,2020-01-03,10.75,13.0,12.5,11.0
""",
    "Yahoo, a column of nulls": """\
Date,Open,High,Low,Close,Adj Close,Volume
2020-01-02,10.5,12.25,10.0,11.0,11.0,null
2020-01-03,11.0,13.0,10.75,12.5,12.5,null
""",
}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a file into the working folder, so that messages start with its bare name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes, name: str = "p.csv") -> str:
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    return write


def columns(series: PriceSeries) -> list[list[float]]:
    return [column.tolist() for column in (series.open, series.high, series.low, series.close)]


@pytest.mark.filterwarnings("ignore:.* are those of UTC")
@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", [*WITH_VOLUME, *WITHOUT_VOLUME])
def test_accepts(kind: str, zipped: bool, write: Callable[..., str]) -> None:
    content = (WITH_VOLUME | WITHOUT_VOLUME)[kind].encode()
    path = write(gzip.compress(content), "q.us.csv.gz") if zipped else write(content, "q.us.csv")
    # Two rows do not say whether 1/2 and 1/3 are days or months.
    month_first = b"/2020" in content
    if month_first:
        with pytest.raises(DataError, match="give day_first=True or day_first=False"):
            read_prices(path)
    series = read_prices(path, day_first=False if month_first else None)
    assert series.dates.astype(str).tolist() == [DAY_1[0], DAY_2[0]]
    assert columns(series) == [[DAY_1[i], DAY_2[i]] for i in (1, 2, 3, 4)]
    volume = None if series.volume is None else series.volume.tolist()
    assert volume == ([DAY_1[5], DAY_2[5]] if kind in WITH_VOLUME else None)
    assert (series.name, series.source, series.dropped) == ("q.us", Path(path).name, 0)


def test_labels_never_hold_a_folder(write: Callable[..., str], tmp_path: Path) -> None:
    write(WITH_VOLUME["Kaggle"], "hpq.us.txt")
    series = read_prices(tmp_path / "hpq.us.txt")
    assert (series.name, series.source) == ("hpq.us", "hpq.us.txt")
    assert read_prices("hpq.us.txt", name="HP").name == "HP"


def test_a_missing_volume_counts_as_zero(write: Callable[..., str]) -> None:
    text = WITH_VOLUME["Yahoo"].replace(",1000", ",null")
    volume = read_prices(write(text)).volume
    assert volume is not None
    assert volume.tolist() == [0.0, 2000.0]


# Case -> (content, what is read of the second day, what is said).
READ: dict[str, tuple[str, dict[str, Any], str | None]] = {
    "no header": (
        "2020-01-02,10,12,9,11,100\n2020-01-03,11,12,9,11,100\n",
        {"open": 11, "volume": 100},
        "has no header; read as date, open, high, low, close, volume",
    ),
    "decimal commas": (
        "Date;Open;High;Low;Close\n2020-01-02;1,5;2;1;2\n2020-01-03;1,25;2;1;2\n",
        {"open": 1.25},
        None,
    ),
    "thousands": (
        'Date,Open,High,Low,Close\n2020-01-02,1,2,1,2\n2020-01-03,10,"1,012.5",9,11\n',
        {"high": 1012.5},
        None,
    ),
    "the day before the month": (
        "Date,Open,High,Low,Close\n1/2/2020,10,12,9,11\n13/2/2020,10,12,9,11\n",
        {"dates": np.datetime64("2020-02-13")},
        None,
    ),
    "a volume in millions": (
        "Date,Open,High,Low,Close,Vol\n2020-01-02,1,2,1,2,5K\n2020-01-03,1,2,1,2,1.5M\n",
        {"volume": 1.5e6},
        None,
    ),
    "a volume of words": (
        "Date,Open,High,Low,Close,Vol\n2020-01-02,1,2,1,2,few\n2020-01-03,1,2,1,2,some\n",
        {"close": 2},
        "column 'Vol' is left out: p.csv, line 2, column 'Vol': must be a number with a decimal "
        "point, but got 'few'",
    ),
    "a negative volume": (
        "Date,Open,High,Low,Close,Vol\n2020-01-02,1,2,1,2,5\n2020-01-03,1,2,1,2,-5\n",
        {"close": 2},
        "column 'Vol' is left out, for line 3 has '-5'",
    ),
    "an adjusted close": (
        "Date,Open,High,Low,Close,Adj Close\n2020-01-02,1,2,1,2,0.5\n2020-01-03,1,2,1,2,0.75\n",
        {"adj_close": 0.75},
        None,
    ),
    "notes around": (
        "ACME\nDate,Open,High,Low,Close\n2020-01-02,1,2,1,2\n2020-01-03,3,4,3,4\nSource: ACME\n",
        {"close": 4},
        "lines left out, no rows of the table: 1, 5 (the first is 'ACME')",
    ),
    "times of another zone": (
        "Date,Open,High,Low,Close\n2020-01-05T15:00Z,1,2,1,2\n2020-01-06T15:00Z,3,4,3,4\n",
        {"dates": np.datetime64("2020-01-06")},
        "the days of column 'Date' are those of UTC",
    ),
    "a row out of order": (
        "Date,Open,High,Low,Close\n2020-01-03,3,4,3,4\n2020-01-01,1,2,1,2\n2020-01-02,1,2,1,2\n"
        "2020-01-04,1,2,1,2\n",
        {"dates": np.datetime64("2020-01-02")},
        "line 2 (2020-01-03 00:00:00) is out of order; the rows were sorted",
    ),
}


@pytest.mark.parametrize("case", READ)
def test_reads_what_people_write(case: str, write: Callable[..., str]) -> None:
    content, expected, remark = READ[case]
    path = write(content)
    if remark is None:
        series = read_prices(path)
    else:
        with pytest.warns(DataWarning) as caught:
            series = read_prices(path)
        assert [str(warning.message) for warning in caught] == [f"p.csv: {remark}"]
    assert series.remarks == (() if remark is None else (remark,))
    assert {field: getattr(series, field)[1] for field in expected} == expected
    assert (series.volume is None) == ("volume" not in expected)


# Case -> (content, the message after "p.csv").
HEAD = "Date,Open,High,Low,Close,Volume\n"
ROW = "2020-01-02,10,12,9,11,100\n"
NEXT = "2020-01-03,10,12,9,11,100\n"
PRICE = "must be a finite number above 0"
NUMBER = "must be a number with a decimal point"
DAY = "must be a day of the years 1000 to 8999 as YYYY-MM-DD, like the ones above"
TEXT = "must be text, UTF-8 or UTF-16, but has the byte"
GAP = "a missing cell (1 of 2 rows have one); missing='drop' (--missing drop) leaves them out"
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "0 bytes": ("", ": the file is empty (0 bytes)"),
    "blank": ("\n \n\t\n", ": must start with a header line, but holds only blank lines"),
    "header only": (HEAD, ": holds no rows below its header 'Date,Open,High,Low,Close,Volume'"),
    "one row": (HEAD + ROW, ": a price series needs at least 2 rows, but got 1"),
    "missing column": (
        "Date,Open,High,Close,Adj Close\n" + ROW,
        ", line 1: must have 6 cells like the rows below, but got 5",
    ),
    "missing columns below blank lines": (
        "\n\nDay,Open,Price\n",
        ": holds no rows below its header 'Day,Open,Price'",
    ),
    "a message instead of data": (
        "Exceeded the daily hits limit",
        ": holds no rows below its header 'Exceeded the daily hits limit'",
    ),
    "a column twice": (
        "Date,Open,High,Low,Close,close\n2020-01-02,1,1,1,1,1\n",
        ": the price 'close' may be in the columns 'Close', 'close'; name one by "
        "columns={'close': ...} (--column close=...)",
    ),
    "a price that is not there": (
        "Date,Open,High,Close\n2020-01-02,1,1,1\n2020-01-03,1,1,1\n",
        ": no column of the price 'low' is known by its name; the columns are 'Date', 'Open', "
        "'High', 'Close'; name one by columns={'low': ...} (--column low=...)",
    ),
    "a price column without a ticker line": (
        "Price,Close,High,Low,Open\n1,2,3,4,5\n",
        ": no column of dates; name one by time= (--time)",
    ),
    "yfinance without dates": (
        "Price,Close,High,Low,Open\nTicker,A,A,A,A\n",
        ": holds no rows below its header 'Date,Close,High,Low,Open'",
    ),
    "unparsable price": (
        HEAD + ROW + "2020-01-03,10,twelve,9,11,100\n",
        f", line 3, column 'High': {NUMBER}, but got 'twelve'",
    ),
    "underscore": (
        HEAD + ROW + "2020-01-03,1_0,12,9,11,100\n",
        f", line 3, column 'Open': {NUMBER}, but got '1_0'",
    ),
    "foreign digits": (
        HEAD + ROW + "2020-01-03,१०,12,9,11,100\n",
        f", line 3, column 'Open': {NUMBER}, but got '१०'",
    ),
    "infinity": (
        HEAD + ROW + "2020-01-03,10,inf,9,11,100\n",
        f", line 3, column 'High': {NUMBER}, but got 'inf'",
    ),
    "overflow": (
        HEAD + ROW + "2020-01-03,10,1e999,9,11,100\n",
        f", line 3, column 'High': {NUMBER}, but got '1e999'",
    ),
    "zero": (
        HEAD + ROW + "2020-01-03,10,12,0.00,11,100\n",
        f", line 3, column 'Low': {PRICE}, but got '0.00'",
    ),
    "negative": (
        "close,LOW,open,high,date\n11,9,10,12,2020-01-02\n-11,9,10,12,2020-01-03\n",
        f", line 3, column 'close': {PRICE}, but got '-11'",
    ),
    "a very long number": (
        HEAD + ROW + f"2020-01-03,10,12,9,{'1' * 100_000}x,100\n",
        f", line 3, column 'Close': {NUMBER}, but got '{'1' * 37}...'",
    ),
    "an absurdly long field": (
        HEAD + ROW + f"2020-01-03,10,12,9,11,{'1' * 200_000}\n",
        ", line 3: is not valid CSV: field larger than field limit (131072)",
    ),
    "empty cell": (
        HEAD + ROW + "2020-01-03,,12,9,11,100\n",
        f", line 3, column 'Open': {PRICE}, but got '', {GAP}",
    ),
    "nan": (
        HEAD + ROW + "2020-01-03,10,12,NaN,11,100\n",
        f", line 3, column 'Low': {PRICE}, but got 'NaN', {GAP}",
    ),
    "null": (
        HEAD + ROW + "2020-01-03,null,null,null,null,null\n" + "2020-01-04,-,1,1,1,1\n",
        f", line 3, column 'Open': {PRICE}, but got 'null', a missing cell (2 of 3 rows have one); "
        "missing='drop' (--missing drop) leaves them out",
    ),
    "missing date": (
        HEAD + ROW + ",10,12,9,11,100\n",
        f", line 3, column 'Date': must be a date, but got '', {GAP}",
    ),
    "unparsable date": (
        HEAD + "2 Jan 2020,10,12,9,11,100\n" + NEXT,
        ", line 3, column 'Date': must be a day of the years 1000 to 8999 as D-Mmm-YYYY, like the "
        "ones above, but got '2020-01-03'",
    ),
    "no such day": (
        HEAD + ROW + "2021-02-29,10,12,9,11,100\n",
        f", line 3, column 'Date': {DAY}, but got '2021-02-29'",
    ),
    "two date formats": (
        HEAD + ROW + "1/3/2020,10,12,9,11,100\n",
        f", line 3, column 'Date': {DAY}, but got '1/3/2020'",
    ),
    "duplicate date": (
        "timestamp,Open,High,Low,Close\n2020-01-03,1,1,1,1\n2020-01-02,1,1,1,1\n\n"
        "2020-01-03 16:00,1,1,1,1\n",
        ", line 5, column 'timestamp': must be a new date, but 2020-01-03 is in line 2 already",
    ),
    "high below low": (
        HEAD + ROW + "2020-01-03,10,8.5,9,11,100\n",
        ", line 3, column 'High': must be at least the low of 9, but got '8.5'",
    ),
    "high below low in two rows": (
        HEAD + "2020-01-02,10,8.5,9,11,100\n2020-01-03,10,8,9,11,100\n",
        ", line 2, column 'High': must be at least the low of 9, but got '8.5'; "
        "2 rows have a high below their low",
    ),
    "short row": (
        HEAD + ROW + "2020-01-03,10,12\n",
        ", line 3: must have 6 cells like the header, but got 3",
    ),
    "long row": (
        HEAD + "2020-01-02,10,12,9,11,100,7\n",
        ", line 1: must have 7 cells like the rows below, but got 6",
    ),
    "line counted after a multi-line cell": (
        'Date,Open,High,Low,Close,Note\n2020-01-02,1,1,1,1,"a\nb\nc"\n2020-01-03,1,1,x,1,\n',
        f", line 5, column 'Low': {NUMBER}, but got 'x'",
    ),
    "line of a row that spans three": (
        'Date,Open,High,Low,Close,Note\n2020-01-02,1,1,0,1,"a\nb\nc"\n2020-01-03,1,1,1,1,\n',
        f", line 2, column 'Low': {PRICE}, but got '0'",
    ),
    "unclosed quote": (
        HEAD + ROW + '2020-01-03,10,12,9,11,"100\n',
        ", line 3: is not valid CSV: unexpected end of data",
    ),
    "stray quote": (
        HEAD + ROW + '2020-01-03,10,12,9,11,"1"00\n',
        ", line 3: is not valid CSV: ',' expected after '\"'",
    ),
    "two symbols, Stooq": (
        "<TICKER>,<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>\nA.US,20200102,1,1,1,1\n"
        "B.US,20200103,1,1,1,1\n",
        ": column '<TICKER>' must name one series, but names 2: 'A.US', 'B.US'; choose one by "
        "series= (--series), or read all as a panel by series_column='<TICKER>' (--series-column)",
    ),
    "two symbols in another column": (
        "Date,Open,High,Low,Close,Land\n"
        + "".join(f"2020-01-0{day},1,1,1,1,{land}\n" for land in ("A", "B") for day in (1, 2, 3)),
        ", line 5, column 'Date': the time is there twice; if column 'Land' names 2 series, choose "
        "one by series='Land=A' (--series), or read all as a panel by series_column='Land' "
        "(--series-column)",
    ),
    "two symbols, yfinance": (
        "Price,Close,Close,High,High\nTicker,AAPL,MSFT,AAPL,MSFT\nDate,,,,\n2020-01-02,1,2,1,2\n",
        ": no column of the price 'open' is known by its name; the columns are 'Date', "
        "'Close AAPL', 'Close MSFT', 'High AAPL', 'High MSFT'; name one by columns={'open': ...} "
        "(--column open=...)",
    ),
    "NUL": (
        (HEAD + ROW + NEXT).encode() + b"\0\n",
        f", line 4, character 1: {TEXT} 0x00",
    ),
    "too many columns": (
        "\n" + "," * 1000,
        ", line 2: must have at most 1000 columns, but has 1001",
    ),
    "binary": (
        b"\x89PNG\r\n\x1a\n\0\0",
        f", line 1, character 1: {TEXT} 0x89",
    ),
    "gzip cut short": (
        gzip.compress((HEAD + ROW + NEXT).encode())[:-9],
        ": is not a valid gzip file: Compressed file ended before the end-of-stream marker was "
        "reached",
    ),
    "gzip with a wrong block": (
        gzip.compress(b"")[:10] + b"\xff" * 20,
        ": is not a valid gzip file: Error -3 while decompressing data: invalid block type",
    ),
    "gzip with another checksum": (
        gzip.compress((HEAD + ROW + NEXT).encode(), mtime=0)[:-8] + bytes(8),
        ": is not a valid gzip file: CRC check failed 0x0 != 0xbb39d9d4",
    ),
    "gzip of nothing": (gzip.compress(b""), ": the file is empty (0 bytes)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str, write: Callable[..., str]) -> None:
    content, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        read_prices(write(content))
    assert str(caught.value) == "p.csv" + message


def test_refuses_a_gz_that_is_none(write: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=r"^p\.csv\.gz: is not a valid gzip file: Not a gzipped"):
        read_prices(write(HEAD + ROW + NEXT, "p.csv.gz"))
    with pytest.raises(DataError, match=r"^e\.gz: the file is empty \(0 bytes\)$"):
        read_prices(write("", "e.gz"))


def test_refuses_what_is_no_file(write: Callable[..., str], tmp_path: Path) -> None:
    write(HEAD)
    os.mkfifo("pipe")
    for path, message in {
        "no/such.csv": "no/such.csv: there is no such file",
        "p.csv/x": "p.csv/x: cannot be read: Not a directory",
        "n" * 300: f"{'n' * 300}: cannot be read: File name too long",
        "a\0b": "a\\x00b: cannot be read: its name has a NUL in it",
        str(tmp_path): f"{tmp_path}: must be a text file, but is a directory",
        "pipe": "pipe: must be a text file, but is not a regular file",
        "odd\udcff": "odd?: there is no such file",
    }.items():
        with pytest.raises(DataError) as caught:
            read_prices(path)
        assert str(caught.value) == message


def test_refuses_other_arguments(write: Callable[..., str]) -> None:
    path = write(HEAD + ROW + NEXT)
    with pytest.raises(ConfigError, match=r"^missing must be 'raise', 'drop', .*, but got 'fill'$"):
        read_prices(path, missing="fill")  # type: ignore[arg-type]
    with pytest.raises(
        DataError, match=r"^p\.csv: name of a price series must be a non-empty string"
    ):
        read_prices(path, name="")


def test_refuses_a_large_file(write: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 2**20)
    content = HEAD + ROW + NEXT
    content += "\n" * (2**20 - len(content))
    assert len(read_prices(write(content))) == 2
    with pytest.raises(DataError) as caught:
        read_prices(write(content + "\n"))
    assert str(caught.value) == "p.csv: must hold at most 1 MiB of text, but has more"


@pytest.mark.parametrize("name", ["sparse.csv", "bomb.gz"])
def test_a_huge_file_does_not_fill_memory(
    name: str, write: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MAX_BYTES", 2**20)
    path = write(gzip.compress(bytes(2**26)) if name == "bomb.gz" else HEAD, name)
    if name == "sparse.csv":
        os.truncate(path, 2**26)
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"^{name}: must hold at most 1 MiB"):
        read_prices(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23


def test_drop_leaves_out_incomplete_rows(write: Callable[..., str]) -> None:
    gaps = ["2020-01-06,,1,1,1,1", "2020-01-07,1,N/A,1,1,1", "2020-01-08,1,1,-,1,1"]
    gaps += ["null,1,1,1,1,1", "2020-01-09,1,1,1,nan,1"]
    path = write(HEAD + "\n".join([gaps[0], ROW.strip(), *gaps[1:], NEXT]))
    with pytest.warns(DataWarning) as caught:
        series = read_prices(path, missing="drop")
    said = "5 of 7 rows were left out, for a cell is missing (missing='drop'); "
    said += "the first is line 2"
    assert [str(warning.message) for warning in caught] == [f"p.csv: {said}"]
    assert series.remarks == (said,)
    assert series.dropped == 5
    assert series.dates.astype(str).tolist() == ["2020-01-02", "2020-01-03"]
    assert series.digest == read_prices(write(HEAD + ROW + NEXT, "complete.csv")).digest


def test_drop_still_refuses_wrong_cells_and_too_few_rows(write: Callable[..., str]) -> None:
    with pytest.raises(DataError, match=r"^p\.csv, line 4, column 'Open': .* but got '0'$"):
        read_prices(
            write(HEAD + "-,1,1,1,1,1\n" + ROW + NEXT.replace(",10,", ",0,")), missing="drop"
        )
    with pytest.raises(DataError, match=r"^p\.csv: a price series needs at least 2 rows, .* 0$"):
        read_prices(write(HEAD + ",1,1,1,1,1\n"), missing="drop")


PRICES = st.floats(1e-6, 1e9)
DAYS = st.dates(date(1000, 1, 1), date(8999, 12, 31))
LAYOUTS: dict[str, Callable[[Any], str]] = {
    "iso": lambda day: day.isoformat(),
    "iso with zone": lambda day: f"{day.isoformat()} 00:00:00-05:00",
    "american": lambda day: f"{day.month}/{day.day}/{day.year:04}",
    "compact": lambda day: f"{day.year:04}{day.month:02}{day.day:02}",
}


@st.composite
def price_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw rows in ascending order of date, each a mapping from column to value."""
    days = sorted(draw(st.lists(DAYS, min_size=2, max_size=6, unique=True)))
    rows = []
    for day in days:
        low, high = sorted((draw(PRICES), draw(PRICES)))
        row = {"date": day, "open": draw(PRICES), "high": high, "low": low, "close": draw(PRICES)}
        rows.append(row | {"volume": draw(st.floats(0, 1e12))})
    return rows


@settings(deadline=None)
@given(data=st.data(), rows=price_rows())
def test_the_layout_of_a_file_does_not_matter(
    data: st.DataObject, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    order = data.draw(st.permutations(["date", "open", "high", "low", "close", "volume", "extra"]))
    case = data.draw(st.sampled_from([str.lower, str.upper, str.title]))
    digits = all(1700 <= row["date"].year <= 2200 for row in rows)  # of others, 20200102 counts
    layout = LAYOUTS[
        data.draw(st.sampled_from([key for key in LAYOUTS if digits or key != "compact"]))
    ]
    dialect: dict[str, Any] = {
        "delimiter": data.draw(st.sampled_from(",;\t")),
        "quoting": data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        "lineterminator": data.draw(st.sampled_from(["\n", "\r\n", "\r"])),
    }
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, **dialect)
    writer.writerow([case(column) for column in order])
    for row in data.draw(st.permutations(rows)):
        cells = {column: repr(value) for column, value in row.items()}
        cells |= {"date": layout(row["date"]), "extra": data.draw(st.sampled_from(["", "x", "7"]))}
        writer.writerow([cells[column] for column in order])
    content = buffer.getvalue().encode(data.draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    path = tmp_path_factory.mktemp("layout", numbered=True) / "p.csv"
    path.write_bytes(gzip.compress(content) if data.draw(st.booleans()) else content)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # of the order of the rows
        series = read_prices(path, day_first=False, decimal=".")

    fields = ("open", "high", "low", "close", "volume")
    expected = PriceSeries(
        name="expected",
        source="drawn",
        dates=np.array([row["date"] for row in rows], dtype="M8[D]"),
        **{field: np.array([row[field] for row in rows]) for field in fields},  # type: ignore[arg-type]
    )
    assert series.digest == expected.digest
    for field in ("dates", *fields):
        np.testing.assert_array_equal(getattr(series, field), getattr(expected, field), strict=True)


SEEDS = [text.encode() for text in (WITH_VOLUME | WITHOUT_VOLUME).values()]
SEEDS += [gzip.compress(SEEDS[0]), gzip.compress(SEEDS[3])]
SCRAPS = [b"", b",", b"\n", b"\r", b'"', b"\0", b"-", b"e", b"nan", b"1e999", b"99999999", b"\xff"]


@settings(deadline=None, max_examples=300)
@given(
    content=st.sampled_from(SEEDS),
    edits=st.lists(
        st.tuples(
            st.integers(0, 400),
            st.integers(0, 12),
            st.one_of(st.sampled_from(SCRAPS), st.binary(max_size=4)),
        ),
        max_size=4,
    ),
    missing=st.sampled_from(["raise", "drop"]),
)
@example(content=b"", edits=[], missing="drop")
@example(content=b"\x1f\x8b", edits=[], missing="raise")
def test_damaged_files_raise_nothing_but_data_errors(
    content: bytes,
    edits: list[tuple[int, int, bytes]],
    missing: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    for start, length, scrap in edits:
        content = content[:start] + scrap + content[start + length :]
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            outcome: PriceSeries | str = read_prices(path, missing=missing)
    except DataError as error:
        outcome = str(error)
    if isinstance(outcome, str):
        assert outcome.startswith(str(path))
        assert len(outcome.splitlines()) == 1
    else:
        assert len(outcome) >= 2


def test_the_kaggle_file_of_the_tutorial() -> None:
    path = os.environ.get("FORETUNE_HPQ_CSV")
    if not path:
        reason = "FORETUNE_HPQ_CSV is unset: name Kaggle's Stocks/hpq.us.txt there to read it here"
        print(reason)
        pytest.skip(reason)
    series = read_prices(path)
    raw = np.loadtxt(path, delimiter=",", skiprows=1, usecols=(2, 3))
    np.testing.assert_array_equal(series.mid, (raw[:, 0] + raw[:, 1]) / 2)
    assert (str(series.dates[0]), str(series.dates[-1])) == ("1970-01-02", "2017-11-10")
    assert (len(series), series.name) == (12075, "hpq.us")
