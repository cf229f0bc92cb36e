"""Columns of text to numbers, as people write them.

A column has one convention: a decimal point (1,234.5) or a decimal comma (1.234,5). The whole
column decides; where it can be read both ways, the other columns and the separator do.
Shapes: ``R`` rows.
"""

import re
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources.text_table import Table, is_missing, short

Decimal = Literal[".", ","]

_NAMES: dict[Decimal, str] = {".": "decimal point", ",": "decimal comma"}
_SCALES = {"K": 3, "M": 6, "B": 9, "T": 12}
_CURRENCY = r"[$€£¥₹]|USD|EUR|GBP|JPY|CHF"
_SAME = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'"})
_CELL = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+]?) ?(?P<before>{_CURRENCY})? ?(?P<inner>[-+]?)"
    r"(?P<digits>[.,]?\d[\d.,' ]*?)(?P<exponent>[eE][-+]?\d+)?"
    rf" ?(?P<scale>[kKMBT])? ?(?P<after>%|{_CURRENCY})?(?(open)\))",
    re.ASCII,
)
_GROUPED = r"[1-9]\d{0,2}(?:G\d{3})+|[1-9]\d{0,2}(?:'\d{3})+|[1-9]\d{0,2}(?: \d{3})+"
_DIGITS: dict[Decimal, re.Pattern[str]] = {  # Indian thousands are 12,34,567
    ".": re.compile(rf"(?:{_GROUPED}|[1-9]\d?(?:G\d\d)+G\d{{3}}|\d*)(?:\.\d*)?".replace("G", ",")),
    ",": re.compile(rf"(?:{_GROUPED}|\d*)(?:,\d*)?".replace("G", r"\.")),
}
# A column of such lines, and a line that a decimal comma does not explain.
_PLAIN = re.compile(r"(?:[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?\n)+", re.ASCII)
_NO_THOUSANDS = re.compile(r"\.(?!\d{3}\n)")
_DAY_WITH_DOTS = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4}\b.*", re.ASCII)


def to_numbers(
    table: Table, column: str, *, decimal: Decimal | None = None
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Read a column of numbers.

    Currency signs are left out, 1.5K is 1500 (also M, B, T), (1.5) is -1.5, and 5% is 5.

    Args:
        table: the file.
        column: name of the column.
        decimal: what stands before the decimals, where the file leaves it open.

    Returns:
        The numbers, NaN where one is missing [R]; and what was decided, in words.

    Raises:
        DataError: a cell is no number, or the column can be read in two ways; names the line.
        ConfigError: ``decimal`` is neither "." nor ",".
    """
    if decimal not in (None, ".", ","):
        raise ConfigError(f"decimal must be '.' or ',', but got {decimal!r}")
    cells = table.column(column)
    plain = None if decimal == "," else _plain_numbers(cells)
    if plain is not None:
        return plain, ()
    conventions: tuple[Decimal, ...] = (".", ",") if decimal is None else (decimal,)
    readings = {convention: _read(cells, convention) for convention in conventions}
    good = {key: values for key, (values, bad) in readings.items() if not bad.any()}
    if not good:
        lasting = max(readings, key=lambda key: readings[key][1].argmax())
        raise _unreadable(table, column, lasting, int(readings[lasting][1].argmax()))
    _check_marks(table, column)
    first, *others = good.values()
    differ = [(first != other) & ~np.isnan(first) for other in others]
    if not any(map(np.any, differ)):
        return first, ()
    row = int(differ[0].argmax())
    ways = f"{cells[row]!r} is {good['.'][row]:.15g} or {good[','][row]:.15g}"
    found, why = _evidence(table, column)
    if found is None:
        raise DataError(
            f"{table.where(row, column)}: {ways}, and {why}; give decimal='.' or decimal=',' "
            "(--decimal)"
        )
    return good[found], (f"column {short(column)} has a {_NAMES[found]} for {why}: {ways}",)


def mostly_numbers(table: Table, column: str) -> bool:
    """Whether most cells of a column that are not missing are numbers; then all should be."""
    cells = table.column(column)
    cells = cells[~is_missing(cells)]
    if _plain_numbers(cells) is not None:
        return True
    return any(2 * _read(cells, decimal)[1].sum() < len(cells) for decimal in _DIGITS)


def _plain_numbers(cells: NDArray[np.object_]) -> NDArray[np.float64] | None:
    """Read the usual column at once: digits with a decimal point; None where it is another [R]."""
    text = "\n".join([*cells, ""])
    if text.count("\n") != len(cells) or not _PLAIN.fullmatch(text):
        return None
    if "." in text and not _NO_THOUSANDS.search(text):
        return None  # 1.234 may be 1234
    values = cells.astype(np.float64)
    return values if np.isfinite(values).all() else None


def _read(
    cells: NDArray[np.object_], decimal: Decimal
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the numbers [R], NaN where missing, and the mark of what cannot be read [R]."""
    codes, unique = pd.factorize(cells)
    missing = is_missing(unique)
    numbers = [
        np.nan if gap else _number(cell, decimal) for cell, gap in zip(unique, missing, strict=True)
    ]
    values = np.array([np.nan if number is None else number for number in numbers])
    bad = np.array([number is None for number in numbers])
    return values[codes], bad[codes]


def _number(cell: str, decimal: Decimal) -> float | None:
    match = _CELL.fullmatch(cell.translate(_SAME))
    if match is None or not _DIGITS[decimal].fullmatch(match["digits"]):
        return None
    digits = match["digits"].replace(decimal, "_")
    mantissa = re.sub(r"[^\d_]", "", digits)
    sign = match["sign"] + match["inner"] + "-" * bool(match["open"])
    if len(sign) > 1 or (match["exponent"] and (match["scale"] or mantissa != digits)):
        return None
    exponent = match["exponent"] or f"e{_SCALES.get((match['scale'] or '').upper(), 0)}"
    number = float(sign + mantissa.replace("_", ".") + exponent)
    return number if np.isfinite(number) else None


def _check_marks(table: Table, column: str) -> None:
    """Refuse a column of two currencies, or of numbers with and without %."""
    cells = table.column(column)
    marks = {}
    for cell in pd.unique(cells):
        match = _CELL.fullmatch(cell.translate(_SAME))
        if match is not None:
            marks[cell] = match["before"] or match["after"] or ""
    percent = "%" in marks.values()
    # The first and the last row alone may have a currency; 0 is 0%.
    marks = {c: mark for c, mark in marks.items() if mark or (percent and re.search("[1-9]", c))}
    first = next(iter(marks.values()), "")
    other = next((cell for cell, mark in marks.items() if mark != first), None)
    if other is not None:
        rule = f"a number with {first} like the ones above" if first else "a number without %"
        raise table.error(int((cells == other).argmax()), column, rule)


def _unreadable(table: Table, column: str, decimal: Decimal, row: int) -> DataError:
    other: Decimal = "," if decimal == "." else "."
    readable = _number(table.column(column)[row], other) is not None
    note = f", which has a {_NAMES[other]} (decimal={other!r})" if readable else ""
    return table.error(row, column, f"a number with a {_NAMES[decimal]}", note)


def _evidence(table: Table, column: str) -> tuple[Decimal | None, str]:
    """Say which convention the file has, apart from ``column``, and why, or why not."""
    found: set[Decimal] = set()
    for other in set(table.columns) - {column}:
        bad = {decimal: _read(table.column(other), decimal)[1].any() for decimal in _DIGITS}
        if bad["."] != bad[","]:
            found.add("," if bad["."] else ".")
    if len(found) == 1:
        return found.pop(), "the other columns have one"
    if found:
        return None, "the other columns have both"
    cells = table.column(column)
    below_1000 = any(re.fullmatch(r"\D*[1-9]\d{0,2}\D*", cell) for cell in cells)
    mark: Decimal = "," if table.separator == ";" else "."
    dots = any(_DAY_WITH_DOTS.fullmatch(cell) for cell in table.cells[0])
    alone = not any(other in cell for cell in cells for other in _DIGITS if other != mark)
    if alone and not below_1000 and not (mark == "." and dots):
        return mark, f"the file is separated by {table.separator!r}"
    return None, "nothing in the file says which"
