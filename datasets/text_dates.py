"""Text to times, as people write dates; of files and of DataFrames alike.

One layout holds for a whole column. Where day and month could change places, the whole column
decides, then the order of the rows and the calendar; else the user is asked. Unix time is UTC by
its definition, so it becomes aware: beside times of another zone it then stays the same moment.
Shapes: ``R`` rows.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from itertools import takewhile
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import SESSIONS, STEPS, infer_calendar
from foretune.datasets.common.errors import DataError

FIRST_YEAR, LAST_YEAR = 1000, 8999

# Of a row, the rule that its cell breaks, and what to do.
CellError = Callable[[int, str, str], DataError]
# A local clock and, where the cell says one, its seconds before UTC.
_Moment = tuple[datetime, int | None]

# English, German, French, Spanish, Portuguese, Italian.
_MONTH_NAMES = (
    "jan january januar janv janvier ene enero janeiro gen gennaio",
    "feb february februar févr février febrero fev fevereiro febbraio",
    "mar march mär mrz märz mars marzo março",
    "apr april avr avril abr abril aprile",
    "may mai mayo maio mag maggio",
    "jun june juni juin junio junho giu giugno",
    "jul july juli juil juillet julio julho lug luglio",
    "aug august août ago agosto",
    "sep sept september septembre septiembre set setembro settembre",
    "oct october okt oktober octobre octubre out outubro ott ottobre",
    "nov november novembre noviembre novembro",
    "dec december dez dezember déc décembre dic diciembre dezembro dicembre",
)
_MONTHS = {word: i for i, names in enumerate(_MONTH_NAMES, 1) for word in names.split()}
MONTH = rf"(?:{'|'.join(_MONTHS)})\.?"
_CLOCK = (
    r"(?:(?:t|,? +)(?P<hour>\d{1,2}):(?P<minute>\d\d)"
    r"(?::(?P<second>\d\d)(?:[.,](?P<fraction>\d{1,6})0*)?)?"
    r"(?: ?(?P<half>[ap])\.?m\.?)?(?: ?(?P<zone>z|utc|gmt|[-+]\d\d(?::?\d\d)?))?)?"
)
_TWO_DIGITS = r"(?P<month>\d\d)", r"(?P<day>\d\d)"


def _layouts() -> Iterator[tuple[str, str]]:
    """Yield the name and the pattern of each layout; letters may be small or capital."""
    month, day, name = r"(?P<month>\d{1,2})", r"(?P<day>\d{1,2})", rf"(?P<name>{MONTH})"
    year, short_year = r"(?P<year>\d{4})", r"(?P<year>\d\d)"
    for mark in "-/.":
        dot = re.escape(mark)
        yield f"YYYY{mark}MM{mark}DD", dot.join((year, month, day)) + _CLOCK
        for letters, digits in (("YYYY", year), ("YY", short_year)):
            yield f"D{mark}M{mark}{letters}", dot.join((day, month, digits)) + _CLOCK
            yield f"M{mark}D{mark}{letters}", dot.join((month, day, digits)) + _CLOCK
    for letters, digits in (("YYYY", year), ("YY", short_year)):
        yield f"Mmm D, {letters}", rf"{name} {day},? {digits}" + _CLOCK
        yield f"D-Mmm-{letters}", rf"{day}\.?(?P<mark>[- /]){name}(?P=mark){digits}" + _CLOCK
        yield f"Mmm {letters}", rf"{name}[- /]{digits}"
    yield "YY-MM-DD", "-".join((short_year, *_TWO_DIGITS)) + _CLOCK
    yield "YYYYMMDD", year + "".join(_TWO_DIGITS) + _CLOCK
    clock = r"[ t]?(?P<hour>\d\d)(?:(?P<minute>\d\d)(?P<second>\d\d)?)?"
    yield "YYYYMMDD HHMMSS", year + "".join(_TWO_DIGITS) + clock
    yield "YYYY Mmm", rf"{year}[- /]{name}"
    yield "YYYY-MM", rf"{year}[-/m]?{month}"
    yield "MM/YYYY", rf"{month}[-/]{year}"
    yield "YYYY-W01", rf"{year}-?w(?P<week>\d\d)(?:-?(?P<weekday>[1-7]))?"
    yield "YYYYQ1", rf"{year}[- ]?q(?P<quarter>[1-4])"
    yield "Q1 YYYY", rf"q(?P<quarter>[1-4])[- /]?{year}"
    yield "YYYY", year
    yield "YYYY.083 for February", rf"{year}(?:\.(?P<part>\d*))?"


_LAYOUTS = {name: re.compile(text, re.ASCII | re.IGNORECASE) for name, text in _layouts()}
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d*)?", re.ASCII)
_WHOLE = re.compile(r"[-+]?(?:\d{1,18}|[1-8]\d{18})(?:\.0*)?", re.ASCII)
# Whole numbers of these ranges are dates, unless they are none and have one step.
_DIGITS = (
    (1900_01_01_00, 2099_12_31_23, "YYYYMMDD HHMMSS"),
    (17000101, 22001231, "YYYYMMDD"),
    (170001, 220012, "YYYY-MM"),
    (1700, 2200, "YYYY"),
)
# The largest number of a column says the unit: each covers the years 1979 to 2286.
_UNIX = {"s": (3e8, 1e10), "ms": (3e11, 1e13), "us": (3e14, 1e16), "ns": (3e17, 9.2e18)}


def read_times(
    cells: NDArray[np.object_],
    column: str,
    error: CellError,
    *,
    day_first: bool | None = None,
    freq: str | None = None,
    gaps: bool = False,
) -> tuple[pd.Index, tuple[str, ...]]:
    """Read dates, times, unix times or whole numbers.

    Args:
        cells: text, none of it missing [R].
        column: what remarks call the column, such as "column 'date'".
        error: makes the error of a row, from the rule it breaks and what to do.
        day_first: whether 01/02/2020 is 1 February, where the cells leave it open.
        freq: the frequency, where it is known; it may decide whether 01/02/2020 is in February.
        gaps: whether rows may be missing, because they will be filled.

    Returns:
        Dates, with a time zone where the cells have one, or whole numbers, in the order of the
        rows [R]; and what was decided, in words.

    Raises:
        DataError: a cell is no time, has another layout or zone than those above, or the column
            can be read in two ways; names the row.
    """
    codes, unique = pd.factorize(cells)
    if all(map(_WHOLE.fullmatch, unique)):
        unique = np.array([cell.partition(".")[0] for cell in unique], dtype=object)
        index, unit = _counted(unique, codes)
        if index is not None:
            return index, (f"{column} is read as {unit} since 1970, in UTC",) if unit else ()
    readings = _readings(error, unique, codes, day_first)
    layout, remarks = _choose(column, error, readings, codes, freq, gaps)
    clocks, seconds = zip(*readings[layout], strict=True)
    local = pd.DatetimeIndex(np.array(clocks, dtype="datetime64[us]"))[codes]
    if re.search(r"\bYY\b", layout):
        remarks += (f"{column} has years of two digits, {min(clocks).year} to {max(clocks).year}",)
    if not any(value is not None for value in seconds):
        return local, remarks
    index, notes = _in_zone(column, error, local, np.array(seconds, dtype=object)[codes])
    return index, remarks + notes


def _counted(unique: NDArray[np.object_], codes: NDArray[np.intp]) -> tuple[pd.Index | None, str]:
    """Read whole numbers [R] as unix time, and name its unit, or as a count.

    None where they are dates of digits.
    """
    numbers = np.array([int(cell) for cell in unique])
    low, high = int(numbers.min()), int(numbers.max())
    digits = next((layout for a, b, layout in _DIGITS if a <= low and high <= b), None)
    valid = digits and all(_moment(_LAYOUTS[digits], cell) for cell in unique)
    if valid:
        return None, ""
    for unit, (least, most) in _UNIX.items():
        if least <= high < most and low > -most:
            clock = numbers[codes].astype(f"datetime64[{unit}]")
            time = pd.DatetimeIndex(clock, tz="UTC").as_unit("ns" if unit == "ns" else "us")
            return time, {"s": "seconds", "ms": "milliseconds"}.get(unit, unit)
    one_step = len(codes) > 2 and len(set(np.diff(numbers[codes]))) == 1
    if high >= 1e10 or (digits and not one_step):
        return None, ""
    return pd.Index(numbers[codes].astype(np.int64)), ""


def agree(first: pd.Index, second: pd.Index) -> bool:
    """Whether two time indexes [R] are the same but for their zone, or a constant distance."""
    if not (isinstance(first, pd.DatetimeIndex) and isinstance(second, pd.DatetimeIndex)):
        return False
    naive = [index.as_unit("us").tz_localize(None).asi8 for index in (first, second)]
    distance = naive[0] - naive[1]
    return bool(distance.max() - distance.min() <= 3600 * 10**6)


def is_time(cell: str) -> bool:
    """Whether a cell is a date that is not a mere number."""
    return not _NUMBER.fullmatch(cell) and any(
        _moment(layout, cell) is not None for layout in _LAYOUTS.values()
    )


def _moment(layout: re.Pattern[str], cell: str) -> _Moment | None:
    """Read a cell; None where it has another layout or is no day of the years allowed."""
    match = layout.fullmatch(cell)
    if match is None:
        return None
    part = {name: text.lower() for name, text in match.groupdict().items() if text}
    year, hour = int(part["year"]), int(part.get("hour", 0))
    if len(part["year"]) == 2:
        year += 1900 if year >= 69 else 2000
    month = int(part.get("month", 3 * int(part.get("quarter", 1)) - 2))
    if "name" in part:
        month = _MONTHS[part["name"].removesuffix(".")]
    if "part" in part:  # of a year, as R writes a month
        months = 12 * float(f"0.{part['part']}")
        if round(months) == 12 or abs(months - round(months)) > 0.01:
            return None
        month += round(months)
    if "half" in part:
        hour = hour % 12 + 12 * (part["half"] == "p") if 1 <= hour <= 12 else 99
    minute, second = int(part.get("minute", 0)), int(part.get("second", 0))
    fraction = int(part.get("fraction", "").ljust(6, "0"))
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    late = hour == 24 and not (minute or second or fraction)  # the end of the day
    try:
        if "week" in part:
            day = datetime.fromisocalendar(year, int(part["week"]), int(part.get("weekday", 1)))
        else:
            day = datetime(year, month, int(part.get("day", 1)))
        moment = day.replace(
            hour=0 if late else hour, minute=minute, second=second, microsecond=fraction
        )
    except ValueError:
        return None
    moment += timedelta(days=late)
    zone = part.get("zone")
    if zone is None:
        return moment, None
    digits = re.sub(r"\D", "", zone).ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    if seconds > 14 * 3600:
        return None
    return moment, -seconds if zone.startswith("-") else seconds


def _fits_option(layout: str, day_first: bool | None) -> bool:
    """Whether a layout may be meant; dots have the day first unless the option says otherwise."""
    if day_first is None:
        return not layout.startswith("M.D.")
    swappable = re.fullmatch(r"(?:D.M|M.D).YY+|YY-MM-DD", layout)
    return not swappable or layout[0] == ("D" if day_first else "M")


def _readings(
    error: CellError,
    unique: NDArray[np.object_],
    codes: NDArray[np.intp],
    day_first: bool | None,
) -> dict[str, list[_Moment]]:
    """Read the different cells in every layout that fits them all; name the first that none does.

    Jan-20, Jan-21, ... may be days without a year.
    """
    readings, lasting, most = {}, "", 0
    for name, layout in _LAYOUTS.items():
        if not _fits_option(name, day_first):
            continue
        moments = list(takewhile(bool, (_moment(layout, cell) for cell in unique)))
        one_month = name == "Mmm YY" and len({moment[0].month for moment in moments if moment}) == 1
        if len(moments) == len(unique) and not (one_month and len(unique) > 1):
            readings[name] = [moment for moment in moments if moment]
        elif len(moments) > most:
            lasting, most = name, len(moments)
    if readings:
        return readings
    wrong = most or next((i for i, cell in enumerate(unique) if not _WHOLE.fullmatch(cell)), 0)
    row = int((codes == wrong % len(unique)).argmax())
    rule = (
        "a date or time such as 2021-01-31, 1/31/2021, Jan 31, 2021, 2021-01, unix time or a whole "
        "number"
    )
    if lasting and most < len(unique):
        rule = f"a day of the years {FIRST_YEAR} to {LAST_YEAR} as {lasting}, like the ones above"
    raise error(row, rule, "")


def _choose(
    column: str,
    error: CellError,
    readings: dict[str, list[_Moment]],
    codes: NDArray[np.intp],
    freq: str | None,
    gaps: bool,
) -> tuple[str, tuple[str, ...]]:
    """Choose the layout whose rows are in order, or else have equal steps, as the only one."""
    different: dict[str, list[_Moment]] = {}
    for name, moments in readings.items():
        if moments not in different.values():
            different[name] = moments
    if len(different) == 1:
        return next(iter(different)), ()
    times = {
        name: pd.DatetimeIndex(np.array([clock for clock, _ in moments], "datetime64[us]"))[codes]
        for name, moments in different.items()
    }
    found = {
        name: index
        for name, index in times.items()
        if index.is_monotonic_increasing or index.is_monotonic_decreasing
    }
    why = "its rows are in order"
    if len(found) != 1:
        why, times = "its steps are equal", found or times
        found = {
            name: index
            for name, index in times.items()
            if _has_calendar(index.sort_values(), freq, gaps)
        }
    # Years in front, which few write, would give many a column of years equal steps.
    if len(found) == 1 and (why == "its rows are in order" or "YY-MM-DD" not in times):
        (name,) = found
        return name, (f"{column} is read as {name}, for only so {why}",)
    (one, first), (other, second) = list(times.items())[:2]
    row = int((first != second).argmax())
    raise error(
        row,
        "a date that has one reading",
        f", {first[row]:%Y-%m-%d} as {one} and {second[row]:%Y-%m-%d} as {other}, like all rows; "
        "give day_first=True or day_first=False (--day-first, --no-day-first)",
    )


def _has_calendar(time: pd.DatetimeIndex, freq: str | None, gaps: bool) -> bool:
    """Whether times follow the frequency, or else have equal steps.

    One day of each month is enough for that, sessions are not.
    """
    months = np.diff(time.year * 12 + time.month)
    if freq in (None, STEPS):
        if len(time) > 2 and len(set(time.day)) == 1 and len(set(months)) == 1 and months[0] > 0:
            return True
        freq = None
    try:
        return infer_calendar(time, frequency=freq, gaps=gaps).frequency != SESSIONS or bool(freq)
    except DataError:
        return False


def _in_zone(
    column: str, error: CellError, local: pd.DatetimeIndex, seconds: NDArray[np.object_]
) -> tuple[pd.DatetimeIndex, tuple[str, ...]]:
    """Give local clocks [R] the zone that is so many seconds [R] before UTC."""
    wrong = seconds != seconds[0]
    if not wrong.any():
        zone: Any = timezone(timedelta(seconds=seconds[0])) if seconds[0] else "UTC"
        return local.tz_localize(zone), ()
    clear = np.array([value is not None for value in seconds])
    if clear.all():
        utc = local - pd.to_timedelta(seconds.astype(np.int64), unit="s")
        order = utc.argsort()
        changes = np.count_nonzero(np.diff(seconds[order].astype(np.int64)))
        years = (utc[order[-1]] - utc[order[0]]).days / 365
        summer = len(set(seconds)) == 2 and max(seconds) - min(seconds) <= 3600
        if summer and changes <= 2 * years + 2:
            what = f"{column} has summer time"
            if local.normalize().is_unique:
                return local, (f"{what}; its local clock is kept",)
            keeps = "a DataFrame whose times are in a named zone (tz_convert) keeps the local clock"
            return utc.tz_localize("UTC"), (f"{what}; read as UTC: {keeps}",)
    rule = "of the same time zone as in the first row"
    raise error(int(wrong.argmax()), rule, "; write all times in UTC")
