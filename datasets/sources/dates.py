"""The times of a file: a column of them, or one of dates and one of the time of day."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.sources.text_table import Table, is_missing, short
from foretune.datasets.text_dates import read_times


def to_times(
    table: Table,
    columns: Sequence[str],
    *,
    day_first: bool | None = None,
    freq: str | None = None,
    gaps: bool = False,
) -> tuple[pd.Index, tuple[str, ...]]:
    """Read the times of a file, as :func:`read_times` does.

    Args:
        table: the file of R rows; no time may be missing.
        columns: the column, or one of dates and one of the time of day, or those of year, month,
            day and hour.
        day_first: whether 01/02/2020 is 1 February, where the file leaves it open.
        freq: the frequency, where it is known.
        gaps: whether rows may be missing, because they will be filled.

    Returns:
        Dates or whole numbers in the order of the rows [R]; and what was decided, in words.

    Raises:
        DataError: a cell is no time, or the column can be read in two ways; names the line.
    """
    column, *others = columns
    for name in columns:
        missing = is_missing(table.column(name))
        if missing.any():
            note = "; missing='drop' (--missing drop) leaves the row out"
            raise table.error(int(missing.argmax()), name, "a time", note)
    cells = table.column(column)
    if others and max(map(len, cells)) <= 6:  # a year, which may be 2020.0
        for part in others[:2]:
            cells = _whole(cells) + "-" + _whole(table.column(part))
        others = others[2:]
    if others:
        cells = _with_clock(cells, _whole(table.column(others[0])))
    return read_times(
        cells,
        f"column {short(column)}",
        lambda row, rule, note: DataError(
            f"{table.where(row, column)}: must be {rule}, but got {short(cells[row])}{note}"
        ),
        day_first=day_first,
        freq=freq,
        gaps=gaps,
    )


def _whole(cells: NDArray[np.object_]) -> NDArray[np.object_]:
    return np.array([cell.removesuffix(".0") for cell in cells], dtype=object)


def _with_clock(dates: NDArray[np.object_], clocks: NDArray[np.object_]) -> NDArray[np.object_]:
    """Append hours (9), or times of day (09:30, 930, 093000, 09.30.00), to dates."""
    longest = max(map(len, clocks))
    if all(map(str.isdecimal, clocks)):
        size = 2 if longest <= 2 else 4 if longest <= 4 else 6
        digits = [clock.zfill(size) + "00" * (size == 2) for clock in clocks]
        clocks = np.array([":".join(re.findall("..", text)) for text in digits], dtype=object)
    elif all(clock.count(".") == 2 for clock in clocks):
        clocks = np.array([clock.replace(".", ":") for clock in clocks], dtype=object)
    joined: NDArray[np.object_] = dates + " " + clocks
    return joined
