"""What people and machines pass off as a price file: read, or refused in one line, and soon.

Every case is a name, what stands in the file, and the refusal; None where it is to be read.
"""

import gzip
import io
import os
import pickle
import socket
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from foretune.datasets.prices import PriceSeries

HEAD = "Date,Open,High,Low,Close,Volume\n"
DAY_1, DAY_2 = "2020-01-02,10,12,9,11,100\n", "2020-01-03,10,12,9,11,100\n"
GOOD = HEAD + DAY_1 + DAY_2


def second(**cells: str) -> str:
    """A file whose second day has other cells."""
    row = {"date": "2020-01-03", "open": "10", "high": "12", "low": "9", "close": "11"} | cells
    return HEAD + DAY_1 + ",".join([*row.values(), "100"]) + "\n"


def sqlite_file() -> bytes:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("CREATE TABLE prices (date, close)")
        return connection.serialize()
    finally:
        connection.close()


def archive(kind: str) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as zipped:
            zipped.writestr("p.csv", GOOD)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            about = tarfile.TarInfo("p.csv")
            about.size = len(GOOD)
            tar.addfile(about, io.BytesIO(GOOD.encode()))
    return buffer.getvalue()


class Trap:
    """Leaves a trace where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("unpickled", "w")


def pickled() -> bytes:
    return pickle.dumps(Trap())


ZIPPED = gzip.compress(GOOD.encode(), mtime=0)
NO_ROWS = ": holds no rows below its header "
TEXT = ": must be text, UTF-8 or UTF-16, but has the byte "
PRICE = ": must be a finite number above 0, but got "
NUMBER = ": must be a number with a decimal point, but got "
DAY = ": must be a day of the years 1000 to 8999 as YYYY-MM-DD, like the ones above, but got "
AT_MOST = ": must hold at most 32 MiB of text, but has more"

# pyarrow is an extra.
PARQUET = (
    ": is not a valid Parquet file: " if find_spec("pyarrow") else ": a Parquet file needs pyarrow"
)
CASES: dict[str, tuple[str | bytes, str | None]] = {
    # whose they are
    "Kaggle": (
        "Date,Open,High,Low,Close,Volume,OpenInt\n" + (DAY_1 + DAY_2),
        ", line 1: must have 6 cells like the rows below, but got 7",
    ),
    "Yahoo": (
        "Date,Open,High,Low,Close,Adj Close,Volume\n2020-01-02,10,12,9,11,5,1\n"
        "2020-01-03,10,12,9,11,5,\n",
        None,
    ),
    "yfinance, three header lines": (
        "Price,Close,High,Low,Open,Volume\nTicker,A,A,A,A,A\nDate,,,,,\n2020-01-02,2,3,1,2,5\n"
        "2020-01-03,2,3,1,2,5\n",
        None,
    ),
    "yfinance, two header lines": (
        "Price,Close,High,Low,Open,Volume\nTicker,A,A,A,A,A\n2020-01-02,2,3,1,2,5\n"
        "2020-01-03,2,3,1,2,5\n",
        None,
    ),
    "yfinance, cut after its first line": ("Price,Close,High,Low,Open\n", NO_ROWS),
    "Alpha Vantage, newest first": (
        "timestamp,open,high,low,close,volume\n" + DAY_2 + DAY_1,
        None,
    ),
    "Alpha Vantage, an error as JSON": (
        '{\n  "Note": "25 a day"\n}\n',
        ", line 2: is not valid CSV: ",
    ),
    "Stooq, no data": ("No data", NO_ROWS + "'No data'"),
    "Stooq, bulk": (
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
        "A.US,D,20200102,000000,2,3,1,2,5,0\nA.US,D,20200103,000000,2,3,1,2,5,0\n",
        None,
    ),
    "Excel's first line": ("sep=;\n" + GOOD.replace(",", ";"), None),
    "a web page": ("<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", ": no column of "),
    # encodings
    "a byte order mark": ("\ufeff" + GOOD, None),
    "two byte order marks": ("\ufeff\ufeff" + GOOD, None),
    "carriage returns and line feeds": (GOOD.replace("\n", "\r\n"), None),
    "carriage returns": (GOOD.replace("\n", "\r"), None),
    "mixed ends of lines": (GOOD.replace("\n", "\r\n", 1).replace("00\n", "00\r", 1), None),
    "UTF-16": (GOOD.encode("utf-16"), None),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), None),
    "UTF-16 without a mark, and a byte": (
        GOOD.encode("utf-16-le") + b"x",
        ", line 1, character 2" + TEXT + "0x00",
    ),
    "UTF-32": (GOOD.encode("utf-32-be"), ", line 1, character 1" + TEXT + "0x00"),
    "Latin-1": (
        GOOD.replace("100", "1\xa000", 1).encode("latin-1"),
        None,
    ),
    "a lone surrogate": (second(open="x").encode() + b"\xed\xa0\x80", ", line 3, column 'Open'"),
    "a NUL in a price": (second(low="9\0"), ", line 3, character 19" + TEXT + "0x00"),
    "NULs at the end": (GOOD + "\0" * 512, ", line 4, character 1" + TEXT + "0x00"),
    # sizes
    "empty": ("", ": the file is empty (0 bytes)"),
    "a blank": (" ", ": must start with a header line"),
    "blank lines": ("\n" * 10**6, ": must start with a header line"),
    "a header": (HEAD, NO_ROWS + "'Date,Open,High,"),
    "a header, thrice": (HEAD * 3, ", line 2, column 'Date': must be a date or time such"),
    "a day": (HEAD + DAY_1, ": a price series needs at least 2 rows, but got 1"),
    "a huge line": ("x" * 10**6, ", line 1: is not valid CSV: field larger than field limit"),
    "a huge line of words": ("x " * 10**6, ", line 1: is not valid CSV: field larger than"),
    "a million columns": ("a," * 10**6, ", line 1: must have at most 1000 columns, but has"),
    "a million columns below the header": (
        GOOD + "1," * 10**6,
        ", line 4: must have at most 1000 columns, but has 1000001",
    ),
    "eight million commas": (b"," * (2**23 - 1), ", line 1: must have at most 1000 columns"),
    "quoted ends of lines": (
        HEAD + '"\n",' * 10**6,
        ", line 2: must have at most 1000 columns, but has 1000001",
    ),
    "a cell that never ends": (GOOD + '"' + "\n" * 10**6, ", line 4: is not valid CSV: field"),
    "too large": (GOOD + "\n" * 2**25, AT_MOST),
    # rows
    "a short row": (GOOD + "2020-01-06,10\n", ", line 4: must have 6 cells like the header"),
    "a long row": (GOOD + DAY_2[:-1] + ",1\n", ", line 4: must have 6 cells like the header"),
    "a comment": ("# from Yahoo\n" + GOOD, None),
    "a sum below": (GOOD + "Total,,,,,200\n", None),
    "quoted ends of a line in a header": (
        'Date,Open,High,Low,Close,"Vol\nume"\n' + DAY_1 + DAY_2,
        None,
    ),
    "a column twice": (
        GOOD.replace("Volume", "CLOSE"),
        ": the price 'close' may be in the columns",
    ),
    "all columns twice": (HEAD[:-1] + "," + HEAD, NO_ROWS),
    "nothing but separators": (",,,,,\n" * 3, ": must start with a header line"),
    "separators in a line of their own": (GOOD + ",,,,,\n", None),
    "two symbols": (
        "Symbol,Date,Open,High,Low,Close\nA,2020-01-02,1,1,1,1\nB,2020-01-03,1,1,1,1\n",
        ": column 'Symbol' must name one series, but names 2: 'A', 'B'",
    ),
    # dates
    "dates out of order": (HEAD + DAY_2 + DAY_1, None),
    "a date twice": (GOOD + DAY_1, ", line 4, column 'Date': must be a new date, but 2020-01-02"),
    "the year 0": (second(date="0000-01-01"), ", line 3, column 'Date': must be a day of the"),
    "the year 1": (
        second(date="0001-01-01"),
        ", line 3, column 'Date'" + DAY + "'0001-01-01'",
    ),
    "the year 9999": (second(date="9999-12-31"), ", line 3, column 'Date'" + DAY),
    "the year 1000": (second(date="1000-01-01"), None),
    "the year 8999": (second(date="8999-12-31"), None),
    "the year 10000": (second(date="10000-01-01"), ", line 3, column 'Date'" + DAY),
    "a year before": (second(date="-2020-01-03"), ", line 3, column 'Date'" + DAY),
    "the 30th of February": (second(date="2020-02-30"), ", line 3, column 'Date': must be a day"),
    "a Roman date": (second(date="III.I.MMXX"), ", line 3, column 'Date'" + DAY),
    "Devanagari digits": (second(date="२०२०-०१-०३"), ", line 3, column 'Date'" + DAY),
    "seconds since 1970": (second(date="1578009600"), ", line 3, column 'Date'" + DAY),
    "no dates": (second(date=""), ", line 3, column 'Date': must be a date, but got ''"),
    # prices
    **{
        f"a price of {price!r}": (second(low=price), ", line 3, column 'Low'" + PRICE + repr(price))
        for price in ("-9", "0", "-0.0", "1e-999", "(9)", ".")
    },
    **{
        f"a price of {price!r}": (
            second(low=price),
            ", line 3, column 'Low'" + NUMBER + repr(price),
        )
        for price in (
            *("inf", "-inf", "Infinity", "1e999", "9_5", "0x9", "९", "=1+8", "=CMD()", "1e"),
            *("9\u200b", "\u202e9", "nine", "1.2.3", "TRUE", "__import__"),
        )
    },
    "a price of 9 %": (second(low="9%"), ", line 3, column 'Low': must be a number without %"),
    "a price of 9 dollars": (second(low="$9"), None),
    "a price with a blank": (second(high="9 000"), None),
    "a price with a tick": (second(high="1'000"), None),
    "a price with its thousands": (second(high='"1,012.5"'), None),
    "decimal commas": (GOOD.replace(",", ";").replace("12", "12,5"), None),
    "a high below its low": (second(high="8"), ", line 3, column 'High': must be at least the low"),
    "a missing price": (second(open="NaN"), ", line 3, column 'Open': must be a finite number"),
    "a colour for the terminal": (
        second(close="\x1b[31m11"),
        ", line 3, column 'Close'" + NUMBER + r"'\x1b[31m11'",
    ),
    "a colour in the header": (
        GOOD.replace("Close", "\x1b[31mClose"),
        ": no column of the price 'close'",
    ),
    "a volume of words": (GOOD + "2020-01-06,10,12,9,11,many\n", None),
    "a negative volume": (GOOD + "2020-01-06,10,12,9,11,-1\n", None),
    # gzip
    "gzip": (ZIPPED, None),
    "gzip in two members": (
        gzip.compress((HEAD + DAY_1).encode()) + gzip.compress(DAY_2.encode()),
        None,
    ),
    **{
        f"gzip cut to {size} bytes": (ZIPPED[:size], ": is not a valid gzip file: ")
        for size in (2, 9, 10, 20, len(ZIPPED) - 8, len(ZIPPED) - 1)
    },
    "gzip and more": (ZIPPED + b"more", ": is not a valid gzip file: "),
    "gzip in gzip": (gzip.compress(ZIPPED), ", line 1, character 2" + TEXT + "0x8b"),
    "a bomb": (gzip.compress(bytes(2**26)), AT_MOST),
    "a bomb of empty members": (gzip.compress(b"") * 10**4, ": the file is empty (0 bytes)"),
    # other things
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ", line 1, character 1" + TEXT + "0x89"),
    "SQLite": (sqlite_file(), ", line 1, character 16" + TEXT + "0x00"),
    "pickle": (pickled(), TEXT + "0x80"),
    "zip": (archive("zip"), None),
    "tar": (archive("tar"), ", line 1, character 6" + TEXT + "0x00"),
    "Parquet": (b"PAR1\x15\x04\x15\0PAR1", PARQUET),
    "Parquet of a mark alone": (b"PAR1", PARQUET),
    "ELF": (b"\x7fELF\x02\x01\x01" + bytes(9), ", line 1, character 8" + TEXT + "0x00"),
    "noise": (bytes(range(256)), ", line 1, character 1" + TEXT + "0x00"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_file_is_read_or_refused(
    case: str,
    read: Callable[..., PriceSeries | str],
    check: Callable[[str, str, bytes], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given, refusal = CASES[case]
    content = given.encode() if isinstance(given, str) else given
    Path("p.csv").write_bytes(content)
    outcome = read("p.csv")
    if refusal is None:
        assert isinstance(outcome, PriceSeries), outcome
    else:
        assert isinstance(outcome, str)
        assert refusal in outcome
        check(outcome, "p.csv", content)
    assert os.listdir() == ["p.csv"], "reading left something behind"


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Take away all permissions; of the superuser, who may read all the same, her identity."""
    path.write_text(GOOD)
    path.chmod(0)
    nobody, somebody = 65534, os.geteuid()
    if somebody == 0:
        os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(somebody)


def symlink(path: Path, target: str | Path) -> Path:
    path.symlink_to(target)
    return path


def fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def bound(path: Path) -> Path:
    """A socket in the file system."""
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(path))
    return path


NO_FILE = ": must be a text file, but is "
PLACES: dict[str, tuple[Callable[[Path], Path | str], str]] = {
    "nothing": (lambda p: p / "p.csv", ": there is no such file"),
    "a directory": (lambda p: p, NO_FILE + "a directory"),
    "a link to itself": (lambda p: symlink(p / "a", "a"), ": cannot be read: Too many levels of"),
    "links in a circle": (
        lambda p: symlink(p / "a", symlink(p / "b", p / "a")),
        ": cannot be read: Too many levels of symbolic links",
    ),
    "a link to nothing": (lambda p: symlink(p / "a", "b"), ": there is no such file"),
    "a link to a directory": (lambda p: symlink(p / "a", p), NO_FILE + "a directory"),
    "a pipe that nobody writes": (lambda p: fifo(p / "a"), NO_FILE + "not a regular file"),
    "a link to a pipe": (lambda p: symlink(p / "a", fifo(p / "b")), NO_FILE + "not a regular"),
    "a socket": (lambda p: bound(p / "a"), NO_FILE + "not a regular file"),
    "a file as a folder": (lambda p: Path(__file__) / "p.csv", ": cannot be read: Not a directory"),
    "a name too long": (lambda p: p / ("n" * 300), ": cannot be read: File name too long"),
    "a path too long": (lambda p: p / ("n/" * 1000), ": "),
    **{
        device: (lambda p, device=device: device, NO_FILE + "not a regular file")  # type: ignore[misc]
        for device in ("/dev/zero", "/dev/random", "/dev/null", "/dev/full", "/dev/tty")
    },
    # Regular files without a size, of which the first cannot be read and the second has no end.
    "/proc/self/mem": (lambda p: "/proc/self/mem", ": cannot be read: Input/output error"),
    "/proc/self/pagemap": (lambda p: "/proc/self/pagemap", ": "),
    "/proc/self/status": (lambda p: "/proc/self/status", ": must have 2 cells like the header"),
}


@pytest.mark.parametrize("case", PLACES)
def test_what_is_no_file_is_refused_and_never_waited_for(
    case: str, read: Callable[..., PriceSeries | str], tmp_path: Path
) -> None:
    make, refusal = PLACES[case]
    path = make(tmp_path)
    if str(path).startswith(("/dev", "/proc")) and not Path(path).exists():
        pytest.skip(f"{path} is not there")
    outcome = read(path)
    assert isinstance(outcome, str)
    assert refusal in outcome


def test_a_file_that_may_not_be_read_is_refused(
    read: Callable[..., PriceSeries | str], tmp_path: Path
) -> None:
    with unreadable(tmp_path / "p.csv"):
        outcome = read(tmp_path / "p.csv")
    assert isinstance(outcome, str)
    assert outcome.endswith(": cannot be read: Permission denied")


@pytest.mark.parametrize("name", [" .csv", ".csv", ".gz", "a\nb.csv", "\x1b[2J.csv", "[red].csv"])
def test_a_file_of_an_odd_name_has_a_series_of_a_name(name: str, tmp_path: Path) -> None:
    from foretune.datasets.sources.readers import read_prices

    path = tmp_path / name
    path.write_bytes(ZIPPED if name == ".gz" else GOOD.encode())
    assert read_prices(path).name.strip()
