"""A pandas DataFrame of several series in, checked columns of each out.

A long table has a row for each series and time; a wide one a column for each series. Times are read
once for all series, and the longest one says what the calendar is.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import Calendar, row_number
from foretune.datasets.column_names import IDS, plain
from foretune.datasets.common.checks import as_names
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.frames import (
    ID,
    Columns,
    counts_time,
    find_target,
    find_time,
    flat_table,
    is_number,
    parse_times,
    read_frame,
    require_columns,
    to_numbers,
)

Short = Literal["raise", "drop"]

# What the values of a wide table are called, of which each column is called as its series.
VALUE = "value"

# Of many series that cannot be used, a message names so many.
_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class PanelColumns:
    """The series that a table has.

    Args:
        series: the columns of each, by its name.
        id: the column that names them; None of a wide table.
        remarks: what was left out, filled or decided.
    """

    series: dict[str, Columns]
    id: str | None
    remarks: tuple[str, ...]


def read_panel_frame(
    df: pd.DataFrame,
    *,
    id: str | None = None,
    time: str | None = None,
    target: str | None = None,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    wide: bool = False,
    series: str | Sequence[str] | None = None,
    leave_out: str | Sequence[str] = (),
    short: Short = "raise",
    least: int | None = None,
    freq: str | None = None,
    missing: str = "raise",
    day_first: bool | None = None,
    where: Callable[[int], str] = row_number,
    **reading: Any,
) -> PanelColumns:
    """Find series, times and values in a table, with the arguments of `Panel.from_frame`.

    ``where`` says how a message calls a row of ``df``, counted from 0.

    Raises:
        DataError: names series, row, column and value, or lists the columns that may be meant.
        ConfigError: an argument is none of its values.
    """
    check_arguments(short, least)
    table, index, level = _flat(df, id, wide)
    groups = [as_names(names) for names in (past, future, static)]
    chosen = [name for names in groups for name in names] + [*as_names(time)]
    require_columns(table, chosen)
    key, own = None, table
    if wide:
        _require_wide(table, id or level, target)
    else:
        key = _find_id(table, id or level, chosen)
        require_rows_of_times(table[key], where)
        own = table.drop(columns=key)
    remarks: list[str] = []
    when = time or find_time(own, chosen, index, remarks)
    if when not in table:  # rows are counted, those of each series from 0
        table = table.assign(**{when: table.groupby(key, sort=False).cumcount()})
    gaps = missing in ("ffill", "interpolate")
    times, decided = _parse_once(
        table[when], freq=freq, gaps=gaps, day_first=day_first, where=where
    )
    table = table.assign(**{when: times})
    remarks += decided
    if key is None:
        goal, taken = VALUE, list(dict.fromkeys([*chosen, when]))
        columns = _wide_columns(table, taken, remarks, as_names(series))
        parts = {
            name: _of_column(table, name, taken) for name in _choose(columns, series, leave_out)
        }
        later = sum(len(rows) and int(rows[0]) > 0 for rows, _ in parts.values())
        if later:
            remarks.append(f"{later} series begin after the first row, where their values do")
    else:
        goal = target or find_target(table, [*chosen, when, key])
        require_columns(table, [goal])
        table = table.assign(**{goal: to_numbers(table[goal], where)})
        rows_of = _rows_by_name(table[key], table[when], remarks, where)
        table = table[list(dict.fromkeys([when, goal, *chosen]))]
        parts = {
            name: (rows_of[name], table.take(rows_of[name]))
            for name in _choose([*rows_of], series, leave_out)
        }
    parts = _long_enough(parts, goal, short, least, remarks)

    def read(name: str, calendar: Calendar | None) -> Columns:
        rows, part = parts[name]
        try:
            return read_frame(
                part.reset_index(drop=True),
                time=when,
                target=goal,
                past=groups[0],
                future=groups[1],
                static=groups[2],
                freq=freq,
                missing=missing,  # type: ignore[arg-type]
                calendar=calendar,
                has_times=True,
                where=lambda row: where(int(rows[row])),
                **reading,
            )
        except DataError as error:
            raise DataError(f"series {name}: {error}") from None

    longest = max(parts, key=lambda name: len(parts[name][0]))
    found = {longest: read(longest, None)}
    calendar = found[longest].calendar
    for name in parts:
        if name == longest:
            continue
        try:
            found[name] = read(name, calendar)
        except DataError:
            # On a calendar of its own it can be read, and told apart from the others.
            found[name] = read(name, None)
    remarks += merged_remarks({name: found[name].remarks for name in parts})
    return PanelColumns(
        series={name: found[name] for name in parts}, id=key, remarks=tuple(remarks)
    )


def check_arguments(short: str, least: int | None) -> None:
    """Refuse ``short`` and ``least`` that are none of their values."""
    if short not in get_args(Short):
        raise ConfigError(f"short must be 'raise' or 'drop', but got {short!r}")
    if least is not None and (isinstance(least, bool) or not isinstance(least, int) or least < 1):
        raise ConfigError(f"least must be a whole number of rows from 1, but got {least!r}")
    if short == "drop" and least is None:
        raise ConfigError(
            "least must be given with short='drop' (--least with --short drop): the rows that a "
            "series must have"
        )


def require_rows_of_times(ids: "pd.Series[Any]", where: Callable[[int], str]) -> None:
    """Refuse a table in which a row is a series, as M4 has them, and not a time.

    Raises:
        DataError: an id is missing, or no id is there twice.
    """
    if ids.isna().any():
        row = int(ids.isna().to_numpy().argmax())
        raise DataError(f"{where(row)}: {ids.name} must name a series, but is missing")
    if len(ids) > 1 and ids.is_unique:
        raise DataError(
            f"{ids.name} must name the series of several rows, one for each time, but names "
            f"another one in each of {len(ids)} rows; where a row is a whole series, "
            f"df.melt(id_vars={str(ids.name)!r}).dropna() makes a row for each time"
        )


def _flat(
    df: pd.DataFrame, id: str | None, wide: bool
) -> tuple[pd.DataFrame, list[str], str | None]:
    """Return the table, names of its index, and the level of an index by series and time."""
    level = None
    if isinstance(df, pd.DataFrame) and df.index.nlevels == 1 and not wide:
        if df.index.dtype.kind == "i" and df.index.name is None:
            df = df.reset_index(drop=True)  # where the rows of a long table once stood
    elif isinstance(df, pd.DataFrame) and df.index.nlevels == 2 and id not in df.columns:
        names = list(df.index.names)
        known = [name is not None and plain(str(name)) in IDS for name in names]
        dates = [_are_dates(df.index.get_level_values(place)) for place in (0, 1)]
        # By its name, or the one beside the dates, or the first, as most have it.
        place = 1 if known == [False, True] or (not any(known) and dates == [True, False]) else 0
        names[place] = ID if names[place] is None else names[place]
        names[1 - place] = "time" if names[1 - place] is None else names[1 - place]
        df = df.set_axis(df.index.set_names(names), axis=0)
        level = str(names[place]) if id is None else id
    table, index = flat_table(df)
    return table, [name for name in index if name != level], level


def _are_dates(index: pd.Index) -> bool:
    return isinstance(index.dtype, pd.PeriodDtype) or index.dtype.kind == "M"


def _find_id(table: pd.DataFrame, id: str | None, taken: Sequence[str]) -> str:
    """Return the column that names the series: the one that is given, or known by its name."""
    columns = [str(name) for name in table.columns]
    if id is not None:
        if id not in columns:
            raise DataError(
                f"id must be a column of the data, but is {id!r}; there are {', '.join(columns)}"
            )
        return id
    found = [name for name in columns if plain(name) in IDS and name not in taken]
    if len(found) != 1:
        what = f"may be {' or '.join(found)}" if found else "is known by no name"
        raise DataError(
            f"the column that names the series {what} among {', '.join(columns[:10])}"
            + ", ..." * (len(columns) > 10)
            + "; give id= (series_column=, --series-column), or wide=True (--wide) where each "
            "column is a series"
        )
    return found[0]


def _require_wide(table: pd.DataFrame, id: str | None, target: str | None) -> None:
    ids = [name for name in map(str, table.columns) if plain(name) in IDS]
    if id is not None or ids:
        raise DataError(
            f"wide=True reads each column as a series, but {id or ids[0]} names them; leave one out"
        )
    if target not in (None, VALUE):
        raise ConfigError(
            f"target must not be given with wide=True, where each column is a series, but got "
            f"{target!r}; series= (--series) chooses some of them"
        )


def _parse_once(column: "pd.Series[Any]", **how: Any) -> tuple["pd.Series[Any]", tuple[str, ...]]:
    """Read a column of times, each of them once, whichever series has it."""
    if column.dtype.kind == "M":
        return column, ()
    seen = column.drop_duplicates()
    if is_number(column):  # whose order says what they are
        seen = seen.sort_values()
    parsed, remarks = parse_times(seen, **how)
    place = pd.Index(seen).get_indexer(pd.Index(column))
    return pd.Series(parsed.array.take(place), index=column.index, name=column.name), remarks


def _rows_by_name(
    ids: "pd.Series[Any]",
    times: "pd.Series[Any]",
    remarks: list[str],
    where: Callable[[int], str],
) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each series, by its name, in the order of time."""
    codes, keys = pd.factorize(ids)
    names, place = np.unique([str(key) for key in keys], return_inverse=True)
    codes = place[codes]
    clock = pd.factorize(times, sort=True)[0]  # of missing times -1
    grouped = np.argsort(codes, kind="stable")
    steps = np.diff(clock[grouped])
    steps[np.diff(codes[grouped]) != 0] = 0
    order = grouped
    if (steps < 0).any():
        order = np.lexsort((clock, codes))
        if (steps > 0).any():
            row = int(grouped[1:][steps < 0][0])
            count = int((steps < 0).sum())
            remarks.append(
                f"{where(row)} ({times.iloc[row]} of {ids.iloc[row]}) is out of order"
                + f", as are {count - 1} more" * (count > 1)
                + "; the rows were sorted"
            )
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    return dict(zip(map(str, names), np.split(order, starts[1:]), strict=True))


def _wide_columns(
    table: pd.DataFrame, taken: Sequence[str], remarks: list[str], asked: Sequence[str]
) -> list[str]:
    """Return the columns that are series: those of numbers that are nothing else."""
    free = [name for name in map(str, table.columns) if name not in taken]
    series = [
        name
        for name in free
        if is_number(table[name]) and (name in asked or not counts_time(table[name]))
    ]
    others = [name for name in free if name not in series]
    if not series:
        raise DataError(
            f"no column of numbers is left of {', '.join(map(str, table.columns))} to be a series"
        )
    if others and not asked:
        some = ", ".join(others[:_NAMED]) + ", ..." * (len(others) > _NAMED)
        remarks.append(
            f"no series, and left out, are the columns {some}: they are no numbers to forecast"
        )
    return series


def _of_column(
    table: pd.DataFrame, name: str, taken: Sequence[str]
) -> tuple[NDArray[np.intp], pd.DataFrame]:
    """Return the rows of a series of a wide table, from its first value on."""
    known = table[name].notna().to_numpy()
    first = int(known.argmax()) if known.any() else len(known)
    part = table[[*taken]].assign(**{VALUE: table[name].astype("float64")})
    return np.arange(first, len(table)), part.iloc[first:]


def _choose(
    names: Sequence[str], series: str | Sequence[str] | None, leave_out: str | Sequence[str]
) -> list[str]:
    """Return the names of the series that are asked for, in order."""
    asked, without = as_names(series), as_names(leave_out)
    for option, given in (("series", asked), ("leave_out", without)):
        for name in given:
            if name not in names:
                some = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
                raise DataError(f"{option} must be one of {some}, but got {name!r}")
    kept = [name for name in sorted(names) if (not asked or name in asked) and name not in without]
    if not kept:
        raise DataError("leave_out must leave at least one series, but leaves none")
    return kept


Parts = dict[str, tuple[NDArray[np.intp], pd.DataFrame]]


def _long_enough(
    parts: Parts, goal: str, short: Short, least: int | None, remarks: list[str]
) -> Parts:
    """Refuse or leave out the series of fewer values than they must have."""
    needed = least or 1
    counts = {name: int(part[goal].notna().sum()) for name, (_, part) in parts.items()}
    too_short = {name: count for name, count in counts.items() if count < needed}
    if not too_short:
        return parts
    what = f"{len(too_short)} of {len(parts)} series have fewer than {needed} rows: "
    what += ", ".join(f"{name} ({count})" for name, count in [*too_short.items()][:_NAMED])
    what += ", ..." * (len(too_short) > _NAMED)
    if len(too_short) == len(parts):
        raise DataError(what)
    if short == "raise":
        raise DataError(
            f"{what}; leave them out with short='drop', least={needed} (--short drop --least "
            f"{needed})"
        )
    remarks.append(f"{what}; they were left out")
    return {name: part for name, part in parts.items() if name not in too_short}


def merged_remarks(remarks: dict[str, tuple[str, ...]]) -> list[str]:
    """Say once what was said of several series: those that differ in numbers alone are alike."""
    alike: dict[str, list[tuple[str, str]]] = {}
    for name, texts in remarks.items():
        for text in texts:
            alike.setdefault(re.sub(r"\d+", "0", text), []).append((name, text))
    said = []
    for found in alike.values():
        (name, text), more = found[0], len(found) - 1
        if more and len({text for _, text in found}) == 1:
            said.append(f"{text} ({len(found)} series)")
        else:
            said.append(f"{name}: {text}" + f"; the like of {more} more series" * (more > 0))
    return said
