"""`read_prices`: daily prices from a CSV file, whoever wrote it.

A file goes through four steps: bytes -> text -> a table of cells that remembers the line of every
row -> checked columns. Each step names the first thing that it cannot accept.
"""

import codecs
import csv
import dataclasses
import gzip
import io
import logging
import os
import re
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import PurePath
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.errors import DataError
from foretune.datasets.prices import (
    PRICE_FIELDS,
    PRICE_RULE,
    VOLUME_RULE,
    PriceSeries,
    bad_prices,
    bad_volumes,
)

# A century of daily prices is about 2 MB; whatever is far larger is not a price file.
MAX_BYTES = 32 * 2**20

_REQUIRED = ("date", *PRICE_FIELDS)
# What each column may be called, lower case and without Stooq's <> or Alpha Vantage's "1. ".
_ALIASES = {field: (field,) for field in PRICE_FIELDS} | {
    "date": ("date", "timestamp", "datetime"),
    "volume": ("volume", "vol"),
    "symbol": ("ticker", "symbol", "name"),
}
_MISSING = frozenset({"", "-", "na", "n/a", "nan", "nat", "null", "none"})
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_TIME = r"(?:[T ]\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)? ?(?:Z|[AP]M|[+-]\d\d:?\d\d)?)?"
_DATES = {
    layout: re.compile(pattern, re.ASCII)
    for layout, pattern in {
        "YYYY-MM-DD": rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d){_TIME}",
        "M/D/YYYY": rf"(?P<month>\d{{1,2}})/(?P<day>\d{{1,2}})/(?P<year>\d{{4}}){_TIME}",
        "YYYYMMDD": r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)",
    }.items()
}
_log = logging.getLogger("foretune")


def read_prices(
    path: str | os.PathLike[str],
    *,
    missing: Literal["raise", "drop"] = "raise",
    name: str | None = None,
) -> PriceSeries:
    """Read daily prices from a CSV file, plain or gzipped.

    Reads the files of Kaggle's stock market set, Yahoo Finance, yfinance (one or three header
    lines), Stooq (web and bulk) and Alpha Vantage, and any other CSV file with these columns:

    - Date (or Timestamp, Datetime), Open, High, Low and Close, in any order and case; Volume (or
      Vol) if there is one. Other columns are ignored, an adjusted close among them.
    - Separated by commas, semicolons or tabs; in UTF-8, with or without a byte order mark.
    - Dates as YYYY-MM-DD, M/D/YYYY or YYYYMMDD, the same in all rows. A time and a time zone
      after the date are ignored: the day counts as written.
    - Rows in any order; they are sorted from the oldest to the newest.

    A cell is missing if it is empty or one of -, NA, N/A, NaN, NaT, null, None. A missing volume
    counts as 0, as Yahoo writes it for an index; a column without any volume is left out.

    Args:
      path: the file.
      missing: what to do with a row whose date or price is missing: "raise" an error, or "drop"
        the row, log a warning on the logger "foretune" and count it in `PriceSeries.dropped`.
      name: label of the series; by default the name of the file without its suffix.

    Returns:
      The series, with the prices of the file as they are: nothing is adjusted or filled in.

    Raises:
      DataError: the file cannot be read as prices; names file, line, column, value and rule.

    Example:
      >>> read_prices("hpq.us.txt", missing="drop")  # doctest: +SKIP
      PriceSeries('hpq.us', 12075 rows, 1970-01-02 to 2017-11-10)

    """
    if missing not in ("raise", "drop"):
        raise DataError(f"missing must be 'raise' or 'drop', but got {missing!r}.")
    # Names that are not valid Unicode could neither be printed nor stored.
    label = os.fspath(path).encode(errors="replace").decode()
    complete = _table(label, _text(label, _content(label, path)))
    table = _without_missing(complete, missing)
    if len(table.lines) < 2:
        raise DataError(
            f"{label}: a price series needs at least 2 rows, but got {len(table.lines)}."
        )
    file = PurePath(label)
    stem = PurePath(file.stem).stem if file.suffix.lower() == ".gz" else file.stem
    return _series(
        table,
        name=stem if name is None else name,
        source=file.name,
        dropped=len(complete.lines) - len(table.lines),
    )


def _content(label: str, path: str | os.PathLike[str]) -> bytes:
    """Read at most `MAX_BYTES` bytes, after decompression."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise DataError(f"{label}: must be a CSV file, but is {kind}.")
        with open(path, "rb") as file:
            content = _decompressed(label, file)
    except FileNotFoundError:
        raise DataError(f"{label}: there is no such file.") from None
    except DataError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{label}: cannot be read: {reason}.") from None
    if len(content) > MAX_BYTES:
        raise DataError(
            f"{label}: a price file holds at most {MAX_BYTES >> 20} MiB, this one more."
        )
    if not content:
        raise DataError(f"{label}: the file is empty (0 bytes).")
    return content


def _decompressed(label: str, file: BinaryIO) -> bytes:
    magic = file.read(2)
    file.seek(0)
    if magic != b"\x1f\x8b" and not label.lower().endswith(".gz"):
        return file.read(MAX_BYTES + 1)
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            return unzipped.read(MAX_BYTES + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{label}: is not a valid gzip file: {error}.") from None


def _text(label: str, content: bytes) -> str:
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        text = content.decode()
        wrong = content.find(b"\0")
    except UnicodeDecodeError as error:
        wrong = error.start
    if wrong >= 0:
        line = content.count(b"\n", 0, wrong) + 1
        raise DataError(
            f"{label}, line {line}: must be UTF-8 text, but has the byte 0x{content[wrong]:02x}."
        )
    return text


@dataclass(frozen=True)
class _Table:
    """The columns in use: `cells` is `[rows, columns]`, `lines` the line of each row, `[rows]`."""

    label: str
    titles: dict[str, str]  # column -> its name in the file, in the order of `cells`
    cells: NDArray[np.object_]
    lines: NDArray[np.int64]

    def column(self, column: str) -> NDArray[np.object_]:
        cells: NDArray[np.object_] = self.cells[:, list(self.titles).index(column)]
        return cells

    def where(self, row: int, column: str) -> str:
        return f"{self.label}, line {self.lines[row]}, column {_short(self.titles[column])}"

    def error(self, row: int, column: str, rule: str, note: str = "") -> DataError:
        value = _short(self.column(column)[row])
        return DataError(f"{self.where(row, column)}: must be {rule}, but got {value}{note}.")


def _table(label: str, text: str) -> _Table:
    rows = _rows(label, text)
    line, header = next(rows, (0, []))
    if not header:
        raise DataError(f"{label}: must start with a header line, but holds only blank lines.")
    if _plain(header[0]) == "price" and not set(_ALIASES["date"]) & set(map(_plain, header)):
        header = _yfinance_header(label, header, rows)
    positions = _positions(label, line, header)
    lines, cells = [], []
    for line, row in rows:
        lines.append(line)
        cells.append([row[position].strip() for position in positions.values()])
    if not cells:
        raise DataError(f"{label}: holds no rows below its header.")
    titles = {column: header[position].strip() for column, position in positions.items()}
    table = _Table(label, titles, np.array(cells, dtype=object), np.array(lines))
    _check_one_symbol(table)
    return table


def _rows(label: str, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the first physical line and the cells of each row that is not blank."""
    first = text.lstrip().partition("\n")[0]
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True
    )
    width = line = 0
    try:
        for row in reader:
            start, line = line + 1, reader.line_num
            if len(row) < 2 and not "".join(row).strip():
                continue
            width = width or len(row)
            if len(row) != width:
                raise DataError(
                    f"{label}, line {start}: must have {width} cells like the header, but got "
                    f"{len(row)}."
                )
            yield start, row
    except csv.Error as error:
        raise DataError(f"{label}, line {line + 1}: is not valid CSV: {error}.") from None


def _yfinance_header(
    label: str, header: list[str], rows: Iterator[tuple[int, list[str]]]
) -> list[str]:
    """Fold yfinance's three header lines (Price, Ticker, Date) into one."""
    line, tickers = next(rows, (0, [""]))
    if _plain(tickers[0]) != "ticker":
        return header
    symbols = sorted({ticker.strip() for ticker in tickers[1:]} - {""})
    if len(symbols) > 1:
        raise DataError(
            f"{label}, line {line}: must hold one symbol, but got {_short(', '.join(symbols))}."
        )
    _, dates = next(rows, (0, [""]))
    return [dates[0], *header[1:]]


def _positions(label: str, line: int, header: list[str]) -> dict[str, int]:
    """Find the position of each column in use; the required ones come first."""
    names = [_plain(title) for title in header]
    positions = {}
    for column in (*_REQUIRED, "volume", "symbol"):
        name = next((alias for alias in _ALIASES[column] if alias in names), None)
        if name is not None and names.count(name) > 1:
            raise DataError(f"{label}, line {line}: column {name!r} is there more than once.")
        if name is not None:
            positions[column] = names.index(name)
    absent = [column.capitalize() for column in _REQUIRED if column not in positions]
    if not positions and any(map(_NUMBER.fullmatch, names)):
        raise DataError(
            f"{label}, line {line}: must be a header that names the columns {', '.join(absent)}, "
            f"but got {_short(','.join(header))}."
        )
    if absent:
        raise DataError(
            f"{label}, line {line}: no column {' or '.join(absent)}; the columns found are "
            f"{_short(', '.join(title.strip() for title in header), 200)}."
        )
    return positions


def _plain(title: str) -> str:
    return re.sub(r"^\d+\. ", "", title.strip().strip("<>").lower())


def _short(value: str, most: int = 40) -> str:
    return repr(value if len(value) <= most else value[: most - 3] + "...")


def _check_one_symbol(table: _Table) -> None:
    if "symbol" not in table.titles:
        return
    symbols = table.column("symbol")
    other = symbols != symbols[0]
    if other.any():
        rule = f"the same symbol in all rows, {_short(symbols[0])} as in line {table.lines[0]}"
        raise table.error(int(other.argmax()), "symbol", rule)


def _is_missing(cells: NDArray[np.object_]) -> NDArray[np.bool_]:
    missing = np.frompyfunc(lambda cell: cell.lower() in _MISSING, 1, 1)(cells)
    return np.asarray(missing, dtype=np.bool_)


def _without_missing(table: _Table, missing: Literal["raise", "drop"]) -> _Table:
    gaps = _is_missing(table.cells[:, : len(_REQUIRED)])
    incomplete = gaps.any(axis=1)
    count = int(incomplete.sum())
    if not count:
        return table
    if missing == "raise":
        row = int(incomplete.argmax())
        column = _REQUIRED[gaps[row].argmax()]
        note = (
            f", a missing cell ({count} of {len(table.lines)} rows have one); missing='drop' "
            "leaves them out"
        )
        raise table.error(row, column, "a date" if column == "date" else PRICE_RULE, note)
    _log.warning(
        "%s: left out %d of %d rows, which miss a date or a price.",
        table.label,
        count,
        len(table.lines),
    )
    return dataclasses.replace(
        table, cells=table.cells[~incomplete], lines=table.lines[~incomplete]
    )


def _series(table: _Table, *, name: str, source: str, dropped: int) -> PriceSeries:
    dates = _dates(table)
    prices = {field: _numbers(table, field, bad_prices, PRICE_RULE) for field in PRICE_FIELDS}
    volume = _volume(table)
    _check_range(table, prices["low"], prices["high"])
    order = np.argsort(dates, kind="stable")
    _check_duplicates(table, dates, order)
    return PriceSeries(
        name=name,
        dates=dates[order],
        open=prices["open"][order],
        high=prices["high"][order],
        low=prices["low"][order],
        close=prices["close"][order],
        volume=None if volume is None else volume[order],
        source=source,
        dropped=dropped,
    )


def _dates(table: _Table) -> NDArray[np.datetime64]:
    cells = table.column("date")
    layout = next((key for key, pattern in _DATES.items() if pattern.fullmatch(cells[0])), None)
    if layout is None:
        raise table.error(0, "date", f"a date written {' or '.join(_DATES)}")
    dates = []
    for row, cell in enumerate(cells):
        match = _DATES[layout].fullmatch(cell)
        if match is None:
            rule = f"a date written {layout} like the one in line {table.lines[0]}"
            raise table.error(row, "date", rule)
        year, month, day = (int(match[part]) for part in ("year", "month", "day"))
        try:
            dates.append(date(year, month, day))
        except ValueError:
            hint = "; dates written D/M/YYYY are not read, YYYY-MM-DD are"
            note = hint if layout == "M/D/YYYY" and month > 12 else ""
            raise table.error(row, "date", f"a day of the calendar as {layout}", note) from None
    return np.array(dates, dtype="datetime64[D]")


def _numbers(
    table: _Table, column: str, bad: Callable[[NDArray[np.float64]], NDArray[np.bool_]], rule: str
) -> NDArray[np.float64]:
    values = np.array(
        [float(cell) if _NUMBER.fullmatch(cell) else np.nan for cell in table.column(column)]
    )
    wrong = bad(values)
    if wrong.any():
        raise table.error(int(wrong.argmax()), column, f"{rule}, written like 1234.5")
    return values


def _volume(table: _Table) -> NDArray[np.float64] | None:
    if "volume" not in table.titles:
        return None
    missing = _is_missing(table.column("volume"))
    if missing.all():
        return None
    cells = table.cells.copy()
    cells[missing, list(table.titles).index("volume")] = "0"
    return _numbers(dataclasses.replace(table, cells=cells), "volume", bad_volumes, VOLUME_RULE)


def _check_range(table: _Table, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    wrong = low > high
    if wrong.any():
        row, count = int(wrong.argmax()), int(wrong.sum())
        note = f"; {count} rows have a high below their low" if count > 1 else ""
        raise table.error(row, "high", f"at least the low of {table.column('low')[row]}", note)


def _check_duplicates(
    table: _Table, dates: NDArray[np.datetime64], order: NDArray[np.intp]
) -> None:
    same = dates[order[1:]] == dates[order[:-1]]
    if same.any():
        first, second = order[same.argmax()], order[same.argmax() + 1]
        raise DataError(
            f"{table.where(second, 'date')}: must be a new date, but {dates[second]} is in line "
            f"{table.lines[first]} already."
        )
