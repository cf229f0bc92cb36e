"""``read_prices``: daily prices from the CSV files of many sources.

A table of cells goes in, checked columns come out; the first cell that cannot be accepted is named.
"""

import dataclasses
import logging
import os
import re
from collections.abc import Callable
from datetime import date
from pathlib import PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.prices import (
    FIRST_YEAR,
    LAST_YEAR,
    PRICE_FIELDS,
    PRICE_RULE,
    VOLUME_RULE,
    PriceSeries,
    bad_prices,
    bad_volumes,
)
from foretune.datasets.sources.csv_table import NUMBER, REQUIRED, Table, read_table

_MISSING = frozenset({"", "-", "na", "n/a", "nan", "nat", "null", "none"})
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
            the row, log a warning on the logger "foretune" and count it in ``PriceSeries.dropped``.
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
        raise DataError(f"missing must be 'raise' or 'drop', but got {missing!r}")
    # Names that are not valid Unicode could neither be printed nor stored.
    label = os.fspath(path).encode(errors="replace").decode()
    complete = read_table(label, path)
    table = _without_missing(complete, missing)
    if len(table.lines) < 2:
        raise DataError(
            f"{label}: a price series needs at least 2 rows, but got {len(table.lines)}"
        )
    file = PurePath(label)
    if name is None:
        stem = PurePath(file.stem).stem if file.suffix.lower() == ".gz" else file.stem
        name = stem if stem.strip() else file.name
    return _series(
        table,
        name=name,
        source=file.name,
        dropped=len(complete.lines) - len(table.lines),
    )


def _is_missing(cells: NDArray[np.object_]) -> NDArray[np.bool_]:
    missing = np.frompyfunc(lambda cell: cell.lower() in _MISSING, 1, 1)(cells)
    return np.asarray(missing, dtype=np.bool_)


def _without_missing(table: Table, missing: Literal["raise", "drop"]) -> Table:
    gaps = _is_missing(table.cells[:, : len(REQUIRED)])
    incomplete = gaps.any(axis=1)
    count = int(incomplete.sum())
    if not count:
        return table
    if missing == "raise":
        row = int(incomplete.argmax())
        column = REQUIRED[gaps[row].argmax()]
        note = (
            f", a missing cell ({count} of {len(table.lines)} rows have one); missing='drop' "
            "leaves them out"
        )
        raise table.error(row, column, "a date" if column == "date" else PRICE_RULE, note)
    _log.warning(
        "%s: left out %d of %d rows that lack a date or a price",
        table.label,
        count,
        len(table.lines),
    )
    return dataclasses.replace(
        table, cells=table.cells[~incomplete], lines=table.lines[~incomplete]
    )


def _series(table: Table, *, name: str, source: str, dropped: int) -> PriceSeries:
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


def _dates(table: Table) -> NDArray[np.datetime64]:
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
        if not FIRST_YEAR <= year <= LAST_YEAR:
            raise table.error(row, "date", f"of the years {FIRST_YEAR} to {LAST_YEAR}")
    return np.array(dates, dtype="datetime64[D]")


def _numbers(
    table: Table, column: str, bad: Callable[[NDArray[np.float64]], NDArray[np.bool_]], rule: str
) -> NDArray[np.float64]:
    values = np.array(
        [float(cell) if NUMBER.fullmatch(cell) else np.nan for cell in table.column(column)]
    )
    wrong = bad(values)
    if wrong.any():
        raise table.error(int(wrong.argmax()), column, f"{rule}, written like 1234.5")
    return values


def _volume(table: Table) -> NDArray[np.float64] | None:
    if "volume" not in table.titles:
        return None
    missing = _is_missing(table.column("volume"))
    if missing.all():
        return None
    cells = table.cells.copy()
    cells[missing, list(table.titles).index("volume")] = "0"
    return _numbers(dataclasses.replace(table, cells=cells), "volume", bad_volumes, VOLUME_RULE)


def _check_range(table: Table, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    wrong = low > high
    if wrong.any():
        row, count = int(wrong.argmax()), int(wrong.sum())
        note = f"; {count} rows have a high below their low" if count > 1 else ""
        raise table.error(row, "high", f"at least the low of {table.column('low')[row]}", note)


def _check_duplicates(table: Table, dates: NDArray[np.datetime64], order: NDArray[np.intp]) -> None:
    same = dates[order[1:]] == dates[order[:-1]]
    if same.any():
        first, second = order[same.argmax()], order[same.argmax() + 1]
        raise DataError(
            f"{table.where(second, 'date')}: must be a new date, but {dates[second]} is in line "
            f"{table.lines[first]} already"
        )
