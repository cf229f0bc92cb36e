"""A CSV file of prices as a table of cells that remembers the line of every row.

Bytes -> text -> rows -> the columns in use. Each step names the first thing it cannot accept.
"""

import codecs
import csv
import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.prices import PRICE_FIELDS

# A century of daily prices is about 2 MB; whatever is far larger is not a price file.
MAX_BYTES = 8 * 2**20
MAX_COLUMNS = 1000

REQUIRED = ("date", *PRICE_FIELDS)
# What each column may be called, lower case and without Stooq's <> or Alpha Vantage's "1. ".
_ALIASES = {field: (field,) for field in PRICE_FIELDS} | {
    "date": ("date", "timestamp", "datetime"),
    "volume": ("volume", "vol"),
    "symbol": ("ticker", "symbol", "name"),
}
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)

# The first line and the cells of each row.
_Rows = Iterator[tuple[int, list[str]]]


def _content(label: str, path: str | os.PathLike[str]) -> bytes:
    """Read at most ``MAX_BYTES`` bytes, before and after decompression."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            kind = "a directory" if stat.S_ISDIR(about.st_mode) else "not a regular file"
            raise DataError(f"{label}: must be a CSV file, but is {kind}")
        _check_size(label, about.st_size)
        with open(path, "rb") as file:
            content = _decompressed(label, file)
    except FileNotFoundError:
        raise DataError(f"{label}: there is no such file") from None
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{label}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise DataError(f"{label}: cannot be read: its name has a NUL in it") from None
    _check_size(label, len(content))
    if not content:
        raise DataError(f"{label}: the file is empty (0 bytes)")
    return content


def _check_size(label: str, size: int) -> None:
    if size > MAX_BYTES:
        raise DataError(
            f"{label}: a price file holds at most {MAX_BYTES >> 20} MiB, but this one is larger"
        )


def _decompressed(label: str, file: BinaryIO) -> bytes:
    magic = file.read(2)
    file.seek(0)
    if magic != b"\x1f\x8b" and not label.lower().endswith(".gz"):
        return file.read(MAX_BYTES + 1)
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            return unzipped.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{label}: is not a valid gzip file: {error}") from None


def _text(label: str, content: bytes) -> str:
    content = content.removeprefix(codecs.BOM_UTF8)
    nul = content.find(b"\0")
    wrong = nul if nul >= 0 else len(content)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        wrong = min(wrong, error.start)
    if wrong < len(content):
        # As an editor counts; what is before the byte is valid, and the mark ends the last line.
        lines = io.StringIO(content[:wrong].decode() + "|", newline=None).readlines()
        raise DataError(
            f"{label}, line {len(lines)}, character {len(lines[-1])}: must be UTF-8 text, but has "
            f"the byte 0x{content[wrong]:02x}"
        )
    return text


@dataclass(frozen=True)
class Table:
    """The columns in use: ``cells`` is [rows, columns], ``lines`` the line of each row, [rows]."""

    label: str
    titles: dict[str, str]  # column -> its name in the file, in the order of ``cells``
    cells: NDArray[np.object_]
    lines: NDArray[np.int64]

    def column(self, column: str) -> NDArray[np.object_]:
        """Return the cells of one column, [rows]."""
        cells: NDArray[np.object_] = self.cells[:, list(self.titles).index(column)]
        return cells

    def where(self, row: int, column: str) -> str:
        """Say where a cell is in the file."""
        return f"{self.label}, line {self.lines[row]}, column {short(self.titles[column])}"

    def error(self, row: int, column: str, rule: str, note: str = "") -> DataError:
        """Return the error that a cell breaks ``rule``."""
        value = short(self.column(column)[row])
        return DataError(f"{self.where(row, column)}: must be {rule}, but got {value}{note}")


def read_table(label: str, path: str | os.PathLike[str]) -> Table:
    """Read the columns in use of a CSV file of prices.

    Args:
        label: what messages call the file.
        path: the file, plain or gzipped.

    Raises:
        DataError: it is no such file; names file, line and column.
    """
    return _table(label, _text(label, _content(label, path)))


def _table(label: str, text: str) -> Table:
    rows = _rows(label, text)
    line, header = next(rows, (0, []))
    if not header:
        raise DataError(f"{label}: must start with a header line, but holds only blank lines")
    if _plain(header[0]) == "price" and not set(_ALIASES["date"]) & set(map(_plain, header)):
        header, rows = _yfinance_header(label, header, rows)
    positions = _positions(label, line, header)
    lines, cells = [], []
    for line, row in rows:
        lines.append(line)
        cells.append([row[position].strip() for position in positions.values()])
    if not cells:
        raise DataError(f"{label}: holds no rows below its header")
    titles = {column: header[position].strip() for column, position in positions.items()}
    table = Table(label, titles, np.array(cells, dtype=object), np.array(lines))
    _check_one_symbol(table)
    return table


def _rows(label: str, text: str) -> _Rows:
    """Yield the first physical line and the cells of each row that is not blank."""
    first = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True
    )
    width = line = 0
    try:
        for row in reader:
            start, line = line + 1, reader.line_num
            if len(row) < 2 and not "".join(row).strip():
                continue
            if not width and len(row) > MAX_COLUMNS:
                raise DataError(
                    f"{label}, line {start}: must have at most {MAX_COLUMNS} columns, but has "
                    f"{len(row)}"
                )
            width = width or len(row)
            if len(row) != width:
                raise DataError(
                    f"{label}, line {start}: must have {width} cells like the header, but got "
                    f"{len(row)}"
                )
            yield start, row
    except csv.Error as error:
        raise DataError(f"{label}, line {line + 1}: is not valid CSV: {error}") from None


def _yfinance_header(label: str, header: list[str], rows: _Rows) -> tuple[list[str], _Rows]:
    """Fold yfinance's three header lines (Price, Ticker, Date), or the first two, into one."""
    line, tickers = next(rows, (0, [""]))
    if _plain(tickers[0]) != "ticker":
        return header, rows
    symbols = sorted({ticker.strip() for ticker in tickers[1:]} - {""})
    if len(symbols) > 1:
        raise DataError(
            f"{label}, line {line}: must hold one symbol, but got {short(', '.join(symbols))}"
        )
    third = list(islice(rows, 1))
    if not third or not any(third[0][1][1:]):
        return [third[0][1][0] if third else "", *header[1:]], rows
    return ["Date", *header[1:]], chain(third, rows)


def _positions(label: str, line: int, header: list[str]) -> dict[str, int]:
    """Find the position of each column in use; the required ones come first."""
    names = [_plain(title) for title in header]
    positions = {}
    for column in (*REQUIRED, "volume", "symbol"):
        name = next((alias for alias in _ALIASES[column] if alias in names), None)
        if name is not None and names.count(name) > 1:
            raise DataError(f"{label}, line {line}: column {name!r} appears more than once")
        if name is not None:
            positions[column] = names.index(name)
    absent = [column.capitalize() for column in REQUIRED if column not in positions]
    if not positions and any(map(NUMBER.fullmatch, names)):
        raise DataError(
            f"{label}, line {line}: must be a header that names the columns {', '.join(absent)}, "
            f"but got {short(','.join(header))}"
        )
    if absent:
        raise DataError(
            f"{label}, line {line}: no column {' or '.join(absent)}; the columns found are "
            f"{short(', '.join(title.strip() for title in header), 200)}"
        )
    return positions


def _plain(title: str) -> str:
    return re.sub(r"^\d+\. ", "", title.strip().strip("<>").lower())


def short(value: str, most: int = 40) -> str:
    """Quote a value from the file, cut to ``most`` characters."""
    return repr(value if len(value) <= most else value[: most - 3] + "...")


def _check_one_symbol(table: Table) -> None:
    if "symbol" not in table.titles:
        return
    symbols = table.column("symbol")
    other = symbols != symbols[0]
    if other.any():
        rule = f"the same symbol in all rows, {short(symbols[0])} as in line {table.lines[0]}"
        raise table.error(int(other.argmax()), "symbol", rule)
