"""A text file as a table of cells that remembers the line of every row.

Bytes -> text -> rows -> header and body. Each step names the first thing it cannot accept.
Shapes: ``R`` rows, ``C`` columns.
"""

import codecs
import csv
import dataclasses
import gzip
import io
import os
import re
import stat
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.text_dates import MONTH

MAX_BYTES = 32 * 2**20
MAX_COLUMNS = 1000

_MISSING = frozenset(
    ("", "-", "--", "—", ".", "..", "?", "na", "n/a", "n.a.", "#n/a", "nan", "nat", "null", "none")
)
_LIKE_TIME = re.compile(
    r"\d{1,4}([-/.])\d{1,2}\1\d{1,4}(?!\d).*|\d{4}(?:[-/]|m)\d\d|\d\d?[-/]\d{4}|\d{8}[ t]\d.*"
    r"|\d{4}[- ]?q[1-4]|q[1-4][- /]?\d{4}|\d{4}-?w\d\d(?:-?\d)?"
    rf"|(?:\d{{1,4}}\.?[-/ ]?)?{MONTH}[-/, ]*\d.*|\d{{4}}[-/ ]{MONTH}",
    re.ASCII | re.IGNORECASE,
)
_LIKE_NUMBER = re.compile(
    r"\W{0,3}(?:[A-Z]{3} ?)?\d[\d.,'\u2019 \u00a0\u202f]*(?:[eE][-+]?\d+)?\W{0,2}[kKMBT]?\W{0,2}"
)
# Bytes that no text of people has; any file is text in latin-1 otherwise.
_CONTROL = re.compile(r"[\0-\x08\x0b\x0e-\x19\x1b-\x1f]")

# Words of any Chinese table; where they are found, the bytes are in no other encoding.
_CHINESE = re.compile("日期|时间|開盤|开盘|收盤|收盘")
_PARQUET = b"PAR1"

# The first line of a row and its cells.
_Row = tuple[int, list[str]]


@dataclass(frozen=True)
class Table:
    """The rows of a text file.

    Args:
        label: what messages call the file.
        columns: names of the columns in order, each once.
        cells: text without blanks around it [R, C].
        lines: line of each row in the file [R].
        separator: what stands between the cells.
        remarks: what reading left out or decided.
    """

    label: str
    columns: tuple[str, ...]
    cells: NDArray[np.object_]
    lines: NDArray[np.int64]
    separator: str = ","
    remarks: tuple[str, ...] = ()

    def column(self, name: str) -> NDArray[np.object_]:
        """Return the cells of one column [R]."""
        cells: NDArray[np.object_] = self.cells[:, self.columns.index(name)]
        return cells

    def rows(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return the rows where ``which`` [R] is true, or those of these numbers."""
        return dataclasses.replace(self, cells=self.cells[which], lines=self.lines[which])

    def without(self, column: str) -> Self:
        """Return the table without a column."""
        number = self.columns.index(column)
        columns = (*self.columns[:number], *self.columns[number + 1 :])
        return dataclasses.replace(self, columns=columns, cells=np.delete(self.cells, number, 1))

    def where(self, row: int, column: str) -> str:
        """Say where a cell stands in the file."""
        return f"{self.label}, line {self.lines[row]}, column {short(column)}"

    def error(self, row: int, column: str, rule: str, note: str = "") -> DataError:
        """Return the error that a cell breaks ``rule``; ``note`` says what to do."""
        value = short(self.column(column)[row])
        return DataError(f"{self.where(row, column)}: must be {rule}, but got {value}{note}")


def is_missing(cells: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Mark the cells [R] that stand for no value: empty, -, NA, NaN, null, ..."""
    return np.array([cell.lower() in _MISSING for cell in cells], dtype=np.bool_)


def short(value: str, most: int = 40) -> str:
    """Quote a value from the file, cut to ``most`` characters."""
    return repr(value if len(value) <= most else value[: most - 3] + "...")


def read_text_table(label: str, path: str | os.PathLike[str]) -> Table:
    """Read a file of separated values, plain, gzipped, or alone in a zip archive; or Parquet.

    UTF-8, UTF-16, the GB 18030 of Chinese files, or else Windows-1252; separated by commas,
    semicolons, tabs or bars. Lines above the header and below the rows are left out, which a remark
    says. The rows of Parquet, which pyarrow reads, are those of the CSV file of the same values.

    Args:
        label: what messages call the file.
        path: the file.

    Raises:
        DataError: it is no such file; names file and line.
    """
    content = _content(label, path)
    if content.startswith(_PARQUET):
        return parse_text_table(label, _csv_of_parquet(label, content))
    return parse_text_table(label, *_text(label, content))


def parse_text_table(label: str, text: str, remarks: tuple[str, ...] = ()) -> Table:
    """Find header and rows in the text of a file.

    Raises:
        DataError: there are none, or a row has too many or too few cells; names the line.
    """
    separator = _separator(text)
    rows = _without_tickers(_rows(label, text, separator))
    if not rows:
        raise DataError(f"{label}: must start with a header line, but holds only blank lines")
    counts = Counter(len(cells) for _, cells in rows)
    width = max(counts, key=lambda size: (counts[size] * size, size))
    likeness = _Likeness.of(rows, width)
    first, header = _find_header(label, rows, width, likeness)
    last = len(rows)
    while last > first and likeness.is_footer(rows[last - 1][1]):
        last -= 1
    between = range(first if header is None else header + 1, first)
    kept = [i for i in between if likeness.numbers_in(rows[i][1]) or not _filled(rows[i][1])]
    kept += range(first, last)
    if not kept:
        words = short(separator.join(rows[0 if header is None else header][1]))
        raise DataError(f"{label}: holds no rows below its header {words}")
    body = [rows[i] for i in kept]
    left_out = sorted({*range(len(rows))} - {*kept, header})
    if left_out:
        lines = ", ".join(str(rows[i][0]) for i in left_out[:5]) + ", ..." * (len(left_out) > 5)
        words = short(separator.join(rows[left_out[0]][1]).strip(separator))
        remarks += (f"lines left out, no rows of the table: {lines} (the first is {words})",)
    size = max((_filled_width(cells) for _, cells in body if len(cells) == width), default=width)
    if header is None:
        names, remark = _names_without_header([cells[:size] for _, cells in body])
        remarks += (remark,)
    else:
        cells = rows[header][1]
        size = max(size, _filled_width(cells))
        names = (cells + [""] * size)[:size]
    for line, cells in body:
        if len(cells) < size or any(cells[size:]):
            raise DataError(
                f"{label}, line {line}: must have {size} cells like the header, but got "
                f"{len(cells)}"
            )
    return Table(
        label=label,
        columns=_unique(names),
        cells=np.array([cells[:size] for _, cells in body], dtype=object),
        lines=np.array([line for line, _ in body], dtype=np.int64),
        separator=separator,
        remarks=remarks,
    )


def _content(label: str, path: str | os.PathLike[str]) -> bytes:
    """Read at most ``MAX_BYTES`` bytes, before and after decompression."""
    try:
        about = os.stat(path)
        if not stat.S_ISREG(about.st_mode):
            kind = "a directory" if stat.S_ISDIR(about.st_mode) else "not a regular file"
            raise DataError(f"{label}: must be a text file, but is {kind}")
        _check_size(label, about.st_size)
        with open(path, "rb") as file:
            content = _unpacked(label, file)
    except FileNotFoundError:
        raise DataError(f"{label}: there is no such file") from None
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
        raise DataError(f"{label}: must hold at most {MAX_BYTES >> 20} MiB of text, but has more")


def _unpacked(label: str, file: IO[bytes]) -> bytes:
    magic = file.read(4)
    file.seek(0)
    kind = "zip"
    try:
        if magic == b"PK\3\4":
            with zipfile.ZipFile(file) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/")]
                names = [name for name in names if not name.startswith("__MACOSX/")]
                if len(names) != 1:
                    raise DataError(
                        f"{label}: must be a zip archive of one file, but holds {len(names)} (an "
                        "Excel workbook is one too; save it as CSV)"
                    )
                with archive.open(names[0]) as member:
                    return member.read(MAX_BYTES + 1)
        if magic[:2] == b"\x1f\x8b" or label.lower().endswith(".gz"):
            kind = "gzip"
            with gzip.GzipFile(fileobj=file) as unzipped:
                return unzipped.read(MAX_BYTES + 1)
    except (
        gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError
    ) as error:  # fmt: skip
        raise DataError(f"{label}: is not a valid {kind} file: {error}") from None
    return file.read(MAX_BYTES + 1)


def _csv_of_parquet(label: str, content: bytes) -> str:
    """Write Parquet as CSV, in which every number reads back as it was."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            f"{label}: a Parquet file needs pyarrow; pip install 'foretune[parquet]', or save it "
            "as CSV"
        ) from None
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        # A column of one value may say so in a few bytes; a cell takes two in CSV.
        _check_size(label, 2 * file.metadata.num_rows * file.metadata.num_columns)
        frame = file.read().to_pandas()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{label}: is not a valid Parquet file: {error}") from None
    counts = frame.index.name is None and frame.index.nlevels == 1 and frame.index.dtype.kind == "i"
    # With an exponent, what stands before the decimals is no question.
    text: str = frame.to_csv(index=not counts, float_format="%.16e")
    _check_size(label, len(text))
    return text


def _text(label: str, content: bytes) -> tuple[str, tuple[str, ...]]:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = content.decode("utf-16", errors="replace")
        if "\ufffd" not in text and "\0" not in text:
            return text, ()
    for parity, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        # Every other byte of a table is 0 then, but for letters of other scripts.
        if content[parity::2].count(0) > len(content) / 4 and not content[1 - parity :: 2].count(0):
            text = content.decode(encoding, errors="replace")
            if "\ufffd" not in text:
                return text, ("has no byte order mark; read as UTF-16",)
    content = content.removeprefix(codecs.BOM_UTF8)
    nul = content.find(b"\0")
    wrong = nul if nul >= 0 else len(content)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        wrong = min(wrong, error.start)
        chinese = content.decode("gb18030", errors="replace")
        if _CHINESE.search(chinese) and "\ufffd" not in chinese:
            return chinese, ("is no UTF-8; read as GB 18030",)
        latin = content.decode("cp1252", errors="replace")
        if "\ufffd" not in latin and not _CONTROL.search(latin):
            return latin, ("is no UTF-8; read as Windows-1252 (latin-1)",)
    if wrong < len(content):
        # As an editor counts; what is before the byte is valid, and the mark ends the last line.
        lines = io.StringIO(content[:wrong].decode() + "|", newline=None).readlines()
        raise DataError(
            f"{label}, line {len(lines)}, character {len(lines[-1])}: must be text, UTF-8 or "
            f"UTF-16, but has the byte 0x{content[wrong]:02x}"
        )
    return text, ()


def _separator(text: str) -> str:
    """Choose the separator that most lines hold equally often."""
    unquoted = re.sub(r'"[^"]*"', "", text[: 2**16])
    lines = [line for line in islice(unquoted.splitlines(), 200) if line.strip()]

    def lines_alike(separator: str) -> int:
        counts = Counter(line.count(separator) for line in lines if separator in line)
        return max(counts.values(), default=0)

    return max("\t;|,", key=lines_alike)


def _rows(label: str, text: str, separator: str) -> list[_Row]:
    """Return the first physical line and the cells of each row that is not blank."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True
    )
    rows, line = [], 0
    try:
        for row in reader:
            start, line = line + 1, reader.line_num
            if len(row) > MAX_COLUMNS:
                raise DataError(
                    f"{label}, line {start}: must have at most {MAX_COLUMNS} columns, but has "
                    f"{len(row)}"
                )
            cells = [cell.strip() for cell in row]
            if any(cells):
                rows.append((start, cells))
    except csv.Error as error:
        raise DataError(f"{label}, line {line + 1}: is not valid CSV: {error}") from None
    return rows


def _without_tickers(rows: list[_Row]) -> list[_Row]:
    """Fold the header lines of yfinance (Price, Ticker, Date) and its elders into one."""
    words = [cells[0].lower() for _, cells in rows[:2]]
    if words not in (["price", "ticker"], ["attributes", "symbols"]):
        return rows
    (line, header), (_, tickers), *rest = rows
    names = [header[0], *header[1:]]
    if len({*tickers[1:]} - {""}) > 1:
        names[1:] = [" ".join(pair) for pair in zip(header[1:], tickers[1:], strict=False)]
    names[0] = "Date"
    if rest and not any(rest[0][1][1:]):
        names[0] = rest.pop(0)[1][0]
    return [(line, names), *rest]


def _filled(cells: list[str]) -> int:
    """Count the cells that are not missing."""
    return sum(cell.lower() not in _MISSING for cell in cells)


def _filled_width(cells: list[str]) -> int:
    """Count the cells up to the last that is not empty."""
    return max((i + 1 for i, cell in enumerate(cells) if cell), default=0)


@dataclass(frozen=True)
class _Likeness:
    """What a row of the body looks like: which columns hold times, and which numbers."""

    width: int
    times: list[int]
    numbers: list[int]

    @classmethod
    def of(cls, rows: list[_Row], width: int) -> Self:
        """Look at the first rows; half of a column's cells say what the column is."""
        likeness = cls(width, [], [])
        wide = [c for _, c in rows[:100] if len(c) == width and 2 * _filled(c) >= width]
        for column in range(width):
            cells = [cells[column] for cells in wide]
            if 2 * sum(map(bool, map(_LIKE_TIME.fullmatch, cells))) >= max(len(cells), 1):
                likeness.times.append(column)
            elif 2 * sum(map(bool, map(_LIKE_NUMBER.fullmatch, cells))) >= max(len(cells), 1):
                likeness.numbers.append(column)
        return likeness

    def numbers_in(self, cells: list[str]) -> int:
        """Count the columns of numbers in which there is one."""
        columns = [column for column in self.numbers if column < len(cells)]
        return sum(bool(_LIKE_NUMBER.fullmatch(cells[column])) for column in columns)

    def is_data(self, cells: list[str]) -> bool:
        if self.times:
            columns = [column for column in self.times if column < len(cells)]
            return any(_LIKE_TIME.fullmatch(cells[column]) for column in columns)
        first = cells[self.numbers[0]] if self.numbers and self.numbers[0] < len(cells) else ""
        enough = 2 * self.numbers_in(cells) >= len(self.numbers)
        return bool(_LIKE_NUMBER.fullmatch(first)) and enough

    def is_footer(self, cells: list[str]) -> bool:
        """Whether a last row is none: one cell alone, or words where time or number must be."""
        key = (self.times or self.numbers or [self.width])[0]
        if self.is_data(cells) or key == self.width:
            return False
        cell = cells[key] if key < len(cells) else ""
        words = cell.lower() not in _MISSING and not re.search(r"\d", cell)
        return words or (self.width > 1 and _filled(cells) <= 1 and not self.numbers_in(cells))


def _find_header(
    label: str, rows: list[_Row], width: int, likeness: _Likeness
) -> tuple[int, int | None]:
    """Return the positions of the first row and of the header, which may be absent."""
    if not likeness.times and not likeness.numbers:
        return 1, 0
    first = next((i for i, (_, cells) in enumerate(rows) if likeness.is_data(cells)), len(rows))
    data = [_filled_width(cells) for _, cells in rows[first:] if len(cells) == width]
    size = max(data, default=width)
    above = [(i, cells) for i, (_, cells) in enumerate(rows[:first])]
    fitting = [
        (not likeness.numbers_in(cells), _filled(cells), i)
        for i, cells in above
        if len(cells) >= size and _filled_width(cells) <= width
        if 2 * _filled(cells) >= size
    ]
    if fitting:
        return first, max(fitting)[2]
    for i, cells in above[::-1]:
        if _filled(cells) > 1:
            raise DataError(
                f"{label}, line {rows[i][0]}: must have {size} cells like the rows below, but got "
                f"{len(cells)}"
            )
    return first, None


def _names_without_header(rows: list[list[str]]) -> tuple[list[str], str]:
    """Name the columns as Binance and MetaTrader order them, where the prices agree with it."""
    size = len(rows[0])
    start = 2 if all(":" in "".join(cells[1:2]) for cells in rows) else 1
    unknown = [""] * size, "has no header; the columns are called column 1, column 2, ..."
    try:
        prices = np.array([cells[start : start + 4] for cells in rows], dtype=np.float64)
        opened, high, low, closed = (prices[::-1] if rows[0] > rows[-1] else prices).T
    except ValueError:
        return unknown
    between = (low <= np.minimum(opened, closed)) & (np.maximum(opened, closed) <= high)
    # A day opens near the close of the day before; else the two have changed places.
    nights, days = np.abs(opened[1:] - closed[:-1]), np.abs(closed[1:] - opened[:-1])
    if not between.all() or nights.sum() > days.sum():
        return unknown
    names = [*("date", "time")[:start], "open", "high", "low", "close", "volume"]
    return (names + [""] * size)[:size], f"has no header; read as {', '.join(names[:size])}"


def _unique(names: list[str]) -> tuple[str, ...]:
    """Name columns without a name by their number, and add it to names that stand twice."""
    return tuple(
        f"column {i}" if not name else f"{name} (column {i})" if names.count(name) > 1 else name
        for i, name in enumerate(names, start=1)
    )
