"""A pandas DataFrame in, checked columns out: which column is the time, and which the target.

Shapes: ``N`` is the number of rows.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from foretune.datasets.calendar import (
    STEPS,
    Calendar,
    checked_time,
    infer_calendar,
    row_number,
    shown,
)
from foretune.datasets.column_names import PERHAPS_TIMES, TARGETS, TIMES, plain
from foretune.datasets.common.checks import as_names
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.text_dates import agree, is_time, read_times

Column: TypeAlias = "pd.Series[Any]"
Missing = Literal["raise", "drop", "ffill", "interpolate"]

ID = "unique_id"


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The fields of a `TimeSeries` that a table has."""

    time: pd.Index
    target: NDArray[np.float64]
    calendar: Calendar
    past: dict[str, NDArray[Any]]
    future: dict[str, NDArray[Any]]
    static: dict[str, float | str]
    target_name: str
    remarks: tuple[str, ...]


def read_frame(
    df: pd.DataFrame,
    *,
    time: str | None = None,
    target: str | None = None,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    freq: str | None = None,
    seasonality: int | None = None,
    missing: Missing = "raise",
    series: str | None = None,
    day_first: bool | None = None,
    calendar: Calendar | None = None,
    has_times: bool = False,
    where: Callable[[int], str] = row_number,
) -> Columns:
    """Find time, target and covariates in a table, with the arguments of `TimeSeries.from_frame`.

    ``calendar`` is what the times must follow, where other series say so; ``has_times`` says that
    the column ``time`` has been read already. ``where`` says how a message calls a row of ``df``,
    counted from 0.

    Raises:
        DataError: names row, column and value, or lists the columns that come into question.
        ConfigError: ``missing`` is none of its values.
    """
    if missing not in get_args(Missing):
        raise ConfigError(f"missing must be one of {get_args(Missing)}, but got {missing!r}")
    past, future, static = as_names(past), as_names(future), as_names(static)
    table, index = flat_table(df)
    table = _one_series(table, series)  # its index stays the number of the row in ``df``
    chosen = [*past, *future, *static, *as_names(target), *as_names(time)]
    require_columns(table, chosen)
    remarks: list[str] = []
    time = time or find_time(table, chosen, index, remarks)
    target = target or find_target(table, [*chosen, time])
    data = pd.DataFrame({target: to_numbers(table[target], where)})
    for name in [*past, *future]:
        data[name] = _values(table[name])
    gaps = missing in ("ffill", "interpolate")
    data[time] = table[time]
    if not has_times:
        data[time], decided = parse_times(
            table[time], freq=freq, gaps=gaps, day_first=day_first, where=where
        )
        remarks += decided
    data = in_order(data, time, where, remarks)
    known = data[target].notna().to_numpy()
    beyond = int(known[::-1].argmax()) if future and known.any() else 0  # rows without a target
    data = _without_missing(data, time, beyond, 1 + len(past), missing, where, remarks)
    # Of the rows without a target some may have been left out.
    beyond = min(beyond, int(data[target].isna().to_numpy()[::-1].cumprod().sum()))
    if freq == STEPS and data[time].dtype.kind == "M":
        checked_time(_index(data[time]), lambda row: where(data.index[row]))
        data[time] = np.arange(len(data))
        remarks.append("the times are left out, for rows are counted from 0 (freq='steps')")
    if gaps:
        data, beyond = filled_rows(data, time, beyond, 1 + len(past), missing, freq, where, remarks)
    rows = data.index
    when = _index(data[time])
    if calendar is None:
        calendar = infer_calendar(
            when, frequency=freq, seasonality=seasonality, where=lambda row: where(rows[row])
        )
    else:
        calendar.check(
            checked_time(when, lambda row: where(rows[row])), lambda row: where(rows[row])
        )
    length = len(data) - beyond
    if calendar.exchange is not None:
        # Rows beyond the target are the next steps, one after the other.
        absent = calendar.missing(when[length - 1 :])
        if len(absent):
            raise DataError(
                f"{where(rows[length])}: {future[0]} must be given at each step beyond the target, "
                f"but there is no row of {shown(absent[0])} ({calendar}); add it, or fill missing "
                "rows with missing='ffill' or missing='interpolate'"
            )
        remarks += calendar.remarks(when)
    return Columns(
        time=when[:length],
        target=data[target].to_numpy()[:length],
        calendar=calendar,
        past={name: data[name].to_numpy()[:length] for name in past},
        future={name: data[name].to_numpy() for name in future},
        static={name: _constant(table[name]) for name in static},
        target_name=target,
        remarks=tuple(remarks),
    )


def future_table(
    future: pd.DataFrame | Mapping[str, Any], names: Collection[str], known: pd.Index
) -> tuple[pd.DataFrame, pd.Index | None]:
    """Find later values of covariates in a table, and their times.

    Args:
        future: columns, or what pandas makes columns of.
        names: the covariates; other columns but that of the time are left out.
        known: earlier times, whose name, kind and zone the times must have.

    Returns:
        The columns of ``names`` that are there, as numbers or text, in which values may be
        missing; and when each row is, or None where it has no times.

    Raises:
        DataError: no such table, no time or times of another kind; names them.
    """
    if not isinstance(future, pd.DataFrame):
        if not isinstance(future, Mapping):
            raise DataError(
                "future covariates must be a DataFrame, or values by name, but got "
                f"{type(future).__name__}"
            )
        wanted = {name: future[name] for name in future if name in {*names, known.name}}
        try:
            future = pd.DataFrame({name: pd.Series(values) for name, values in wanted.items()})
        except (ValueError, TypeError) as error:
            raise DataError(
                f"future covariates must be a list of values each, one a step: {error}"
            ) from None
    if future.empty:
        return future, None
    table, index = flat_table(future)
    is_dates = isinstance(known, pd.DatetimeIndex)
    free = [name for name in _columns(table) if name not in names]
    found = [name for name in free if name == known.name] or (
        [name for name in free if _may_be_dates(table[name])] if is_dates else index
    )
    if len(found) > 1:
        raise DataError(
            f"the time of future covariates may be {' or '.join(found)}; keep one of them"
        )
    times = None
    if found:
        column = table[found[0]]
        if is_dates or not is_number(column):  # else 2020 is a number as good as any
            column, _ = parse_times(column)
        if column.isna().any():
            raise DataError(
                f"{row_number(_first(column.isna()))}: {found[0]} must be given, but is missing"
            )
        times = _index(column)
        zones = [getattr(when, "tz", None) for when in (times, known)]
        if isinstance(times, pd.DatetimeIndex) != is_dates or (None in zones and any(zones)):
            raise DataError(
                f"{found[0]} of future covariates must be of the kind and the time zone of "
                f"{shown(known[-1])}, the last known one, but got {shown(times[0])}"
            )
        if isinstance(times, pd.DatetimeIndex):
            times = (times.tz_convert(zones[1]) if zones[1] else times).as_unit("ns")
    return table[[name for name in names if name in table]].apply(_values), times


def parse_times(
    column: Column,
    *,
    freq: str | None = None,
    gaps: bool = False,
    day_first: bool | None = None,
    where: Callable[[int], str] = row_number,
) -> tuple[Column, tuple[str, ...]]:
    """Read a column of times: dates, text, whole numbers, or seconds since 1970 and parts of them.

    Args:
        column: the times [N]; its index is the number of each row.
        freq: the frequency, where it is known; it may decide whether 01/02/2024 is in February.
        gaps: whether rows may be missing, because they will be filled.
        day_first: whether it is; None to find out.
        where: how a message calls a row.

    Returns:
        Dates or whole numbers [N], of which one that is missing stays so; and what was decided.

    Raises:
        DataError: names the first row that is no time.
    """
    if isinstance(column.dtype, pd.PeriodDtype):
        return pd.Series(column.dt.to_timestamp()), ()
    if column.dtype.kind == "M":
        return column, ()
    text = _digits(column) if is_number(column) else _text(column)
    text = text[text != ""]
    if text.empty:
        return text.astype("datetime64[ns]").reindex(column.index), ()

    def error(row: int, rule: str, note: str) -> DataError:
        number = text.index[row]
        return DataError(
            f"{where(number)}: {column.name} must be {rule}, but got {text[number]!r}{note}"
        )

    index, remarks = read_times(
        text.to_numpy(),
        f"column {column.name!r}",
        error,
        day_first=day_first,
        freq=freq,
        gaps=gaps,
    )
    return pd.Series(index, index=text.index, name=column.name).reindex(column.index), remarks


def _digits(column: Column) -> Column:
    """Return numbers as text, 1.0 as 1."""
    texts = [
        str(int(number) if number % 1 == 0 and abs(number) < 2**62 else number)
        for number in column.dropna()
    ]
    return pd.Series(texts, index=column.dropna().index, name=column.name, dtype=object)


def _columns(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.columns]


def is_number(column: Column) -> bool:
    """Whether a column holds numbers."""
    return is_numeric_dtype(column.dtype) and column.dtype.kind not in "bc"


def _text(column: Column) -> Column:
    return column.dropna().astype(object).map(str).astype(object).str.strip()


def _first(rows: Column) -> int:
    """Return the number of the first row that is marked."""
    return int(rows.index[int(rows.to_numpy().argmax())])


def require_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Refuse names that are no columns, or are used twice."""
    for name in names:
        if name not in table:
            raise DataError(
                f"{name!r} must be a column, and the columns are {', '.join(_columns(table))}"
            )
        if names.count(name) > 1:
            raise DataError(f"{name!r} must be used once, but is named {names.count(name)} times")


def flat_table(df: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return a table with the index among its columns, unless it counts rows, and its names."""
    if not isinstance(df, pd.DataFrame) or df.columns.nlevels > 1:
        raise DataError(
            "a series must be read from a DataFrame whose columns have one name each, but got "
            f"{type(df).__name__}" + " with several" * isinstance(df, pd.DataFrame)
        )
    if df.empty:
        raise DataError(f"a DataFrame must have rows and columns, but its shape is {df.shape}")
    table = df.rename(columns=str).reset_index(drop=True)
    if not table.columns.is_unique:
        name = table.columns[table.columns.duplicated()][0]
        raise DataError(f"{name!r} must name one column, but names several")
    names: list[str] = []
    if not isinstance(df.index, pd.RangeIndex) or df.index.name is not None:
        for level, label in enumerate(df.index.names):
            name = str(label) if label is not None else "time" if "time" not in table else "index"
            table[name] = df.index.get_level_values(level)
            names.append(name)
    return table, names


def _one_series(table: pd.DataFrame, series: str | None) -> pd.DataFrame:
    """Return the rows of one ``unique_id``."""
    if ID not in table:
        if series is not None:
            raise DataError(f"series={series!r} needs a column {ID}, but there is none")
        return table
    ids = table[ID].map(str)
    known = list(ids.unique())
    if len(known) > 1 and series is None:
        more = ", ..." * (len(known) > 5)
        raise DataError(
            f"{ID} must be one series, but there are {len(known)}: {', '.join(known[:5])}{more}; "
            f"choose one, as by series={known[0]!r}, or read all as a panel by "
            f"Panel.from_frame(df, id={ID!r})"
        )
    if series is not None and str(series) not in known:
        raise DataError(f"series must be one of {', '.join(known[:10])}, but got {series!r}")
    return (table if series is None else table[ids == str(series)]).drop(columns=ID)


def find_time(
    table: pd.DataFrame, taken: Sequence[str], index: Sequence[str], remarks: list[str]
) -> str:
    """Return the column of times: an index of dates, or by name, or the only one of dates."""
    free = [name for name in _columns(table) if name not in taken]
    named = [name for name in free if plain(name) in TIMES | PERHAPS_TIMES]
    dates = [name for name in free if _may_be_dates(table[name])]
    numbers = [name for name in free if table[name].dtype.kind in "iuf"]
    for found in (
        [name for name in index if name in dates],
        [name for name in named if name in dates],
        dates,
        [name for name in named if name in numbers],
        [name for name in index if name in numbers],
    ):
        if len(found) > 1:
            times = [pd.Index(parse_times(table[name])[0]) for name in found]
            if not all(agree(times[0], other) for other in times[1:]):
                raise DataError(
                    f"the time may be {' or '.join(found)}; choose one, as by time={found[0]!r}, "
                    "or make one column of them"
                )
        if found:
            return found[0]
    if len(named) == 1:  # which cannot be read, as the error will say
        return named[0]
    text = [name for name in free if name not in numbers]
    if text or index:
        raise DataError(
            f"no column of {', '.join(_columns(table))} is known to be the time; give time="
        )
    table["row"] = np.arange(len(table))
    remarks.append("no column is the time, so the rows are counted from 0; time= names one")
    return "row"


def _may_be_dates(column: Column) -> bool:
    """Whether the first value is a date that needs no guessing."""
    if column.dtype.kind == "M" or isinstance(column.dtype, pd.PeriodDtype):
        return True
    if is_numeric_dtype(column.dtype):
        return False
    first = _text(column.dropna().head(1))
    if first.empty:
        return False
    return is_time(first.iloc[0])


def find_target(table: pd.DataFrame, taken: Sequence[str]) -> str:
    """Return the target by its name, or the only column of numbers."""
    numbers = [n for n in _columns(table) if n not in taken and is_number(table[n])]
    known = [name for name in numbers if table[name].notna().any()]
    named = [name for name in numbers if plain(name) in TARGETS]
    found = named or [name for name in known if not counts_time(table[name])] or known
    if len(found) == 1:
        return found[0]
    if not found:
        raise DataError(
            f"no column of numbers is left of {', '.join(_columns(table))}; give target="
        )
    raise DataError(
        f"the target may be {' or '.join(found[:10])}{', ...' * (len(found) > 10)}; choose one, as "
        f"by target={found[0]!r}, or give Panel.from_frame(wide=True) where each column is a series"
    )


def counts_time(column: Column) -> bool:
    """Whether a column holds the year, the month or the number of each row, by its name."""
    return plain(str(column.name)) in TIMES | PERHAPS_TIMES and column.dtype.kind in "iu"


def _values(column: Column) -> Column:
    """Return a covariate as numbers or text; what is missing stays so."""
    if is_number(column):
        return column.astype("float64")
    return column.astype(object).map(str, na_action="ignore")


def to_numbers(column: Column, where: Callable[[int], str]) -> Column:
    """Return numbers, NaN where one is missing; refuse the first that is none."""
    numbers = pd.to_numeric(column, errors="coerce").astype("float64")
    wrong = numbers.isna() & column.notna()
    if wrong.any():
        row = _first(wrong)
        raise DataError(f"{where(row)}: {column.name} must be a number, but got {column[row]!r}")
    return numbers


def _constant(column: Column) -> float | str:
    values = _values(column).dropna().unique()
    if len(values) != 1:
        few = ", ".join(map(str, values[:5]))
        raise DataError(
            f"{column.name} must have one value to be static, but has {len(values)}: {few}; "
            "past= and future= take others"
        )
    value = values[0]
    return value if isinstance(value, str) else float(value)


def _index(times: Column) -> pd.Index:
    if times.dtype.kind == "f":  # whole numbers, some of which were missing
        times = times.astype("int64")
    index: pd.Index = pd.Index(times.array, name=times.name)
    return index


def in_order(
    data: pd.DataFrame, time: str, where: Callable[[int], str], remarks: list[str]
) -> pd.DataFrame:
    """Sort rows from the oldest to the newest; a remark names a row that is not in its place."""
    times = data[time].dropna()
    if times.is_monotonic_increasing:
        return data
    if times.iloc[-1] < times.iloc[0]:
        data, times = data[::-1], times[::-1]
    late, early = times < times.cummax(), times > times[::-1].cummin()[::-1]
    wrong = late if late.sum() <= early.sum() else early
    if not wrong.any():
        return data
    row, count = _first(wrong), int(wrong.sum())
    remarks.append(
        f"{where(row)} ({times[row]}) is out of order"
        + f", as are {count - 1} more" * (count > 1)
        + "; the rows were sorted"
    )
    return data.sort_values(time, kind="stable")


def _without_missing(
    data: pd.DataFrame,
    time: str,
    beyond: int,
    known: int,
    missing: Missing,
    where: Callable[[int], str],
    remarks: list[str],
) -> pd.DataFrame:
    """Refuse or drop rows in which a value is missing; where values are filled, those without time.

    Target and past covariates, the first ``known`` columns, are not needed in the last ``beyond``.
    """
    empty = data.isna()
    empty.iloc[len(data) - beyond :, :known] = False
    incomplete = empty.any(axis=1)
    count = int(incomplete.sum())
    if not count or (missing in ("ffill", "interpolate") and not empty[time].any()):
        return data
    if missing == "drop":
        first = where(_first(incomplete))
        remarks.append(
            f"{count} of {len(data)} rows were left out, for a value is missing (missing='drop'); "
            f"the first is {first}"
        )
        return data[~incomplete]
    cells = empty if missing == "raise" else empty[[time]]
    row, column = divmod(int(cells.to_numpy().argmax()), cells.shape[1])
    raise DataError(
        f"{where(data.index[row])}: {cells.columns[column]} must be given, but is missing, as is "
        f"a value in {count} of {len(data)} rows; missing='drop' leaves such rows out, "
        "missing='ffill' or missing='interpolate' fill values whose time is known"
        + ", and a word in empty cells makes them a category"
        * (data.dtypes.iloc[column].kind == "O")
    )


def filled_rows(
    data: pd.DataFrame,
    time: str,
    beyond: int,
    known: int,
    missing: Missing,
    freq: str | None,
    where: Callable[[int], str],
    remarks: list[str],
) -> tuple[pd.DataFrame, int]:
    """Add the missing rows of a regular calendar, and fill values; return how many are beyond."""
    rows = data.index
    when = _index(data[time])
    calendar = infer_calendar(when, frequency=freq, where=lambda row: where(rows[row]), gaps=True)
    every, absent = when, calendar.missing(when)
    if len(absent):
        every = when.union(absent).rename(time)
        remarks.append(f"{len(absent)} missing rows were added (missing={missing!r})")
    end = int(every.get_indexer(when[[len(data) - beyond - 1]])[0]) + 1
    filled = data.drop(columns=time).set_axis(when, axis=0).reindex(every).reset_index(drop=True)
    for column, name in enumerate(filled):
        stop = end if column < known else len(every)
        values = filled[name].iloc[:stop]
        count = int(data[name].iloc[: len(data) - beyond if column < known else None].isna().sum())
        line = missing == "interpolate" and values.dtype.kind == "f"
        values = values.interpolate() if line else values.ffill()
        if values.isna().any():
            raise DataError(
                f"{where(rows[0])}: {name} must be given in the first row, for missing={missing!r} "
                "has nothing before it to fill with; missing='drop' leaves the row out"
            )
        if count:
            looks_ahead = ", which looks ahead: 'ffill' looks back alone" if line else ""
            remarks.append(
                f"{count} missing values of {name} were filled (missing={missing!r}{looks_ahead})"
            )
        filled[name] = values.reindex(filled.index)
    filled[time] = every
    return filled, len(every) - end
