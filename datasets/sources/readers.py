"""``read_series``, ``read_panel`` and ``read_prices``: from files to what can be forecast.

A table of cells goes in, checked columns come out; the first cell that cannot be accepted is named.
"""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import STEPS
from foretune.datasets.common.checks import as_names
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.frames import ID, Missing, filled_rows, in_order, read_frame
from foretune.datasets.panel import Panel, series_of
from foretune.datasets.panel_frames import (
    VALUE,
    Short,
    merged_remarks,
    read_panel_frame,
    require_rows_of_times,
)
from foretune.datasets.plausibility import jump_remarks
from foretune.datasets.prices import (
    FIRST_YEAR,
    LAST_YEAR,
    PRICE_FIELDS,
    PRICE_RULE,
    TARGETS,
    VOLUME_RULE,
    PriceSeries,
    bad_prices,
    bad_volumes,
)
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.columns import (
    id_column,
    named_column,
    other_times,
    price_columns,
    require_one_series,
    select_series,
    target_column,
    time_columns,
)
from foretune.datasets.sources.dates import to_times
from foretune.datasets.sources.load import Reading
from foretune.datasets.sources.text_table import Table, is_missing, read_text_table, short
from foretune.datasets.sources.values import Decimal, mostly_numbers, to_numbers

# Columns that prices may have, and no study needs.
_EXTRAS = (("volume", bad_volumes, VOLUME_RULE), ("adj_close", bad_prices, PRICE_RULE))


def read_series(
    path: str | os.PathLike[str],
    *,
    time: str | None = None,
    target: str | None = None,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    freq: str | None = None,
    seasonality: int | None = None,
    missing: Missing = "raise",
    day_first: bool | None = None,
    decimal: Decimal | None = None,
    columns: Mapping[str, str] | None = None,
    series: str | None = None,
    name: str | None = None,
) -> TimeSeries:
    """Read a series from a text file, plain, gzipped or alone in a zip, or from a Parquet file.

    Dates, numbers and missing cells are read as people write them, and a title above the header or
    a note below the rows is left out. A file with open, high, low and close is of prices: the
    target is one of them, and errors are those of logarithms. A column that is not used may hold
    anything.

    Args:
        path: the file.
        time: the column of times; None to find it.
        target: the column to forecast, or "mid" of prices, (high + low) / 2; None to find it.
        past: columns known up to the origin of a forecast.
        future: columns known beyond it; they may go on where the target is missing at the end.
        static: columns with one value.
        freq: a pandas offset alias, "sessions", an exchange such as "XNYS", or "steps", which
            counts rows that follow no calendar; None to infer it.
        seasonality: steps in a season; None for the calendar's own.
        missing: what to do with missing values: "raise" an error, "drop" their rows, or fill
            them, and missing rows of a regular calendar too: "ffill" repeats the last value,
            "interpolate" draws a line between numbers.
        day_first: whether 01/02/2024 is in February; None to find out.
        decimal: "." or ",", what stands before the decimals; None to find out.
        columns: which columns the prices are, such as ``{"open": "Apertura"}``; of open, high, low,
            close, adj_close and volume. None to find them by their names in nine languages.
        series: which one to take, where a column names several, or the names of columns end with
            it ("Close AAPL"); "COLUMN=VALUE", such as "store=1", chooses the rows of any column.
        name: label of the series; by default the name of the file without its suffix.

    Raises:
        DataError: names file, line, column and value that cannot be used, and the option that
            helps.
        ConfigError: an argument is none of its values.

    Warns:
        DataWarning: what was left out, filled or decided, and which prices are hard to believe
            (:meth:`PriceSeries.doubts`); also in ``remarks``.

    Example:
        >>> read_series("load.csv", target="MW", future=["holiday"])  # doctest: +SKIP
        TimeSeries('load', 8760 rows, hourly, 2023-01-01 to 2023-12-31 23:00:00)
    """
    how = Reading(
        time=time,
        target=target,
        past=as_names(past),
        future=as_names(future),
        static=as_names(static),
        freq=freq,
        seasonality=seasonality,
        missing=missing,
        day_first=day_first,
        decimal=decimal,
        columns=dict(columns or {}),
        series=series,
    )
    label = _label(path)
    with _errors_named(label):
        made = _series(select_series(read_text_table(label, path), series), how, name)
    _warn(made.source, made.remarks)
    return replace(made, file=os.path.realpath(path))


def read_panel(
    path: str | os.PathLike[str],
    *,
    series_column: str | None = None,
    wide: bool = False,
    series: str | Sequence[str] | None = None,
    leave_out: str | Sequence[str] = (),
    short: Short = "raise",
    least: int | None = None,
    time: str | None = None,
    target: str | None = None,
    past: Sequence[str] = (),
    future: Sequence[str] = (),
    static: Sequence[str] = (),
    freq: str | None = None,
    seasonality: int | None = None,
    missing: Missing = "raise",
    day_first: bool | None = None,
    decimal: Decimal | None = None,
    columns: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Panel:
    """Read several series from a file of any kind that :func:`read_series` reads.

    A long file has a row for each series and time, a wide one a column for each series.

    Args:
        path: the file.
        series_column: the column that names the series; None to find it.
        wide: every column of numbers that is nothing else is a series, which begins at its first
            value. Covariates are those of all, and the target is called "value".
        series: names of the series to take; None for all.
        leave_out: names of series to leave out.
        short: what to do with series of fewer than ``least`` values: "raise" an error, or "drop"
            them, which is said.
        least: values that a series must have.
        time: as for :func:`read_series`, and all that follow.
        target: a column, and of prices one of the four.
        past: columns known up to the origin of a forecast.
        future: columns known beyond it.
        static: columns with one value a series.
        freq: what the next step is.
        seasonality: steps in a season.
        missing: what to do with missing values.
        day_first: whether 01/02/2024 is in February.
        decimal: what stands before the decimals.
        columns: which columns the prices are.
        name: label of the panel; by default the name of the file without its suffix.

    Raises:
        DataError: names file, series, line, column and value that cannot be used, and the option
            that helps.
        ConfigError: an argument is none of its values.

    Warns:
        DataWarning: what was left out, filled or decided; also in ``remarks``.

    Example:
        >>> read_panel("m4_hourly.csv", series_column="unique_id")  # doctest: +SKIP
        Panel('m4_hourly', 414 series of 700 to 960 rows, hourly)
    """
    how = Reading(
        time=time,
        target=target,
        past=as_names(past),
        future=as_names(future),
        static=as_names(static),
        freq=freq,
        seasonality=seasonality,
        missing=missing,
        day_first=day_first,
        decimal=decimal,
        columns=dict(columns or {}),
        series=as_names(series),
        series_column=series_column,
        wide=wide,
        leave_out=as_names(leave_out),
        short=short,
        least=least,
    )
    label = _label(path)
    with _errors_named(label):
        made = _panel(read_text_table(label, path), how, name)
    _warn(made.source, made.remarks)
    return replace(made, file=os.path.realpath(path))


def read_prices(
    path: str | os.PathLike[str],
    *,
    time: str | None = None,
    missing: Missing = "raise",
    day_first: bool | None = None,
    decimal: Decimal | None = None,
    columns: Mapping[str, str] | None = None,
    series: str | None = None,
    name: str | None = None,
) -> PriceSeries:
    """Read daily prices from a text file, with the arguments of :func:`read_series`.

    Columns are found by their names in nine languages, in any order: the files of Kaggle, Yahoo
    Finance, yfinance, Stooq, Alpha Vantage, Investing.com, Nasdaq.com, MetaTrader, Binance and
    others. The day counts as written: a time and a time zone after it are ignored, which is said
    where a day of another zone may be meant. Rows are sorted from the oldest to the newest.

    A missing volume counts as 0, as Yahoo writes it for an index; a volume or an adjusted close
    that cannot be read is left out.

    Returns:
        The series, with the prices of the file as they are; nothing is adjusted.
        `PriceSeries.dropped` counts the rows that ``missing="drop"`` left out.

    Raises:
        DataError: the file cannot be read as prices; names file, line, column, value and rule.
        ConfigError: an argument is none of its values.

    Warns:
        DataWarning: what was left out, filled or decided, also in ``remarks``; and which rows are
            hard to believe (:meth:`PriceSeries.doubts`).

    Example:
        >>> read_prices("hpq.us.txt", missing="drop")  # doctest: +SKIP
        PriceSeries('hpq.us', 12075 rows, 1970-01-02 to 2017-11-10)
    """
    how = Reading(time=time, missing=missing, day_first=day_first, decimal=decimal)
    label = _label(path)
    with _errors_named(label):
        table = select_series(read_text_table(label, path), series)
        made = _prices(table, price_columns(table, PRICE_FIELDS, columns), how, name, daily=True)
    assert made is not None
    _warn(label, made.remarks + made.doubts())
    return made


def series_of_frame(df: pd.DataFrame, **reading: Any) -> TimeSeries:
    """Read a DataFrame as a file of the same columns is read, with :func:`read_series`' arguments.

    Raises:
        DataError: names row, column and value that cannot be used.
        ConfigError: ``decimal`` is given, which numbers do not have.

    Warns:
        DataWarning: what was left out, filled or decided.
    """
    if "decimal" in reading:
        raise ConfigError("decimal must not be given for a DataFrame, which holds numbers")
    columns, target = reading.pop("columns", None), reading.pop("target", None)
    if reading.get("series") is not None and "unique_id" not in df:
        df = _of_series(df, reading.pop("series"))
    names = tuple(map(str, df.columns))
    table = Table("a DataFrame", names, np.empty((0, len(names)), object), np.empty(0, np.int64))
    found = price_columns(table, PRICE_FIELDS if columns else (), columns)
    price = price_target(table, found, target)
    if price is None:
        return TimeSeries.from_frame(df, target=target, **reading)
    if any(reading.get(group) for group in ("past", "future", "static")):
        made = TimeSeries.from_frame(df, target=found.get(price, price), **reading)
        return _as_prices(made, price, warn="a DataFrame")
    prices = df.rename(columns=str)
    remarks: tuple[str, ...] = ()
    for extra, bad, rule in _EXTRAS:
        if extra not in found or prices[found[extra]].isna().all():
            found.pop(extra, None)
            continue
        values = pd.to_numeric(prices[found[extra]], errors="coerce")
        if extra == "volume":
            values = values.mask(prices[found[extra]].isna(), 0.0)
        if bad(values.to_numpy(np.float64)).any():
            remarks += (f"column {found.pop(extra)!r} is left out, for not all of it is {rule}",)
        else:
            prices[found[extra]] = values
    _warn("a DataFrame", remarks, 4)
    others = [column for name, column in found.items() if name != "close"]
    read = TimeSeries.from_frame(prices, target=found["close"], past=others, **reading)
    if not isinstance(read.time, pd.DatetimeIndex) or read.time.normalize().has_duplicates:
        if price not in found:
            raise DataError(f"the target {price!r} needs one row a day; give another by target=")
        own: Any = read.past.get(found[price], read.target)
        return _as_prices(replace(read, target=own, past={}), price, warn="a DataFrame")
    arrays: dict[str, Any] = {n: read.past.get(c, read.target) for n, c in found.items()}
    daily = PriceSeries(
        name=read.name,
        dates=read.time.tz_localize(None).to_numpy(),
        source=read.source,
        remarks=read.remarks + remarks,
        **{"volume": None} | arrays,
    )
    made = daily.series(price if target else None)
    _warn("a DataFrame", daily.doubts(price), 4)
    return replace(made, calendar=read.calendar)


def _of_series(df: pd.DataFrame, series: str) -> pd.DataFrame:
    """Return the rows of one series of a long DataFrame, of which a column of text names it."""
    words = df.select_dtypes(exclude=["number", "datetime", "datetimetz"])
    if (name := series.partition("=")[0]) in df and name not in words:
        words = words.assign(**{name: df[name]})
    cells = words.astype(str).to_numpy(np.object_)
    table = Table("a DataFrame", tuple(map(str, words.columns)), cells, np.arange(len(df)))
    return df.iloc[select_series(table, series).lines]


def read_future(
    path: str | os.PathLike[str],
    known: TimeSeries,
    *,
    time: str | None = None,
    day_first: bool | None = None,
    decimal: Decimal | None = None,
    of_panel: bool = False,
) -> pd.DataFrame:
    """Read values of future covariates for the steps after a known series from a text file.

    Args:
        path: the file, of any kind that :func:`read_series` takes.
        known: the earlier rows, which say what the covariates are and which of them are text.
        time: the column of times; None for the one called as in ``known``, or to find it.
        day_first: whether 01/02/2024 is in February; None to find out.
        decimal: "." or ",", what stands before the decimals; None to find out.
        of_panel: whether a column ``unique_id`` says which series a row is of.

    Returns:
        A row a step, by time where the file has times: the future covariates that are there, and
        the column ``unique_id`` of a panel.

    Raises:
        DataError: names file, line, column and value that cannot be used.
    """
    label = _label(path)
    with _errors_named(label):
        table = read_text_table(label, path)
        own = known.time.name if known.time.name in table.columns else None
        times = time_columns(table, time or own)
        columns = {
            name: to_numbers(table, name, decimal=decimal)[0]
            if values.dtype.kind == "f"
            else _text(table, name)
            for name, values in known.future.items()
            if name in table.columns
        }
        if of_panel and ID in table.columns:
            columns[ID] = _text(table, ID)
        frame = pd.DataFrame(columns, index=range(len(table.lines)))
        if times:
            frequency = known.calendar.frequency
            frame.index, _ = to_times(table, times, day_first=day_first, freq=frequency)
            frame.index.name = known.time.name or "time"
    return frame


def _label(path: str | os.PathLike[str]) -> str:
    """Return what messages call a file; a name that is not Unicode could not be printed."""
    return os.fspath(path).encode(errors="replace").decode()


def panel_of_frame(df: pd.DataFrame, **reading: Any) -> Panel:
    """Read a DataFrame as a file of the same columns is read, with :func:`read_panel`'s arguments.

    Raises:
        DataError: names series, row, column and value that cannot be used.
        ConfigError: ``decimal`` is given, which numbers do not have.

    Warns:
        DataWarning: what was left out, filled or decided.
    """
    how = Reading(**reading)
    if how.decimal is not None:
        raise ConfigError("decimal must not be given for a DataFrame, which holds numbers")
    given = how.given()
    columns, target = given.pop("columns", None), given.pop("target", None)
    names = tuple(map(str, df.columns))
    table = Table("a DataFrame", names, np.empty((0, len(names)), object), np.empty(0, np.int64))
    found = {} if how.wide else price_columns(table, PRICE_FIELDS if columns else (), columns)
    price = price_target(table, found, target)
    if price is not None and price not in found:
        raise DataError(
            f"the target {price!r} must be a column, where there are several series; give another "
            "by target="
        )
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        made = Panel.from_frame(
            df,
            id=given.pop("series_column", None),
            target=found[price] if price else target,
            **given,
        )
    remarks, series = [*made.remarks], made.series
    if price is not None:
        series = tuple(_as_prices(one, price) for one in series)
        remarks += merged_remarks({one.name: one.remarks for one in series})
        series = tuple(replace(one, remarks=()) for one in series)
    _warn(made.source, remarks, 4)
    reading = {**how.given(), **made.reading}
    return replace(made, series=series, remarks=tuple(remarks), reading=reading)


def _name(label: str, name: str | None) -> str:
    """Return the name of a series: the file's without its suffix."""
    file = PurePath(label)
    packed = file.suffix.lower() in (".gz", ".zip")
    stem = PurePath(file.stem).stem if packed else file.stem
    return name if name is not None else stem if stem.strip() else file.name


def _warn(label: str, remarks: Sequence[str], level: int = 3) -> None:
    for remark in remarks:
        warnings.warn(f"{label}: {remark}", DataWarning, stacklevel=level)


@contextmanager
def _errors_named(label: str) -> Iterator[None]:
    """Put the file in front of what is wrong with its data, unless it is there."""
    try:
        yield
    except DataError as error:
        if str(error).startswith(str(DataError(label))):
            raise
        raise DataError(f"{label}: {error}") from None


def _series(table: Table, how: Reading, name: str | None) -> TimeSeries:
    """Read the rows of a file that are of one series."""
    found = price_columns(table, PRICE_FIELDS if how.columns else (), how.columns)
    price = price_target(table, found, how.target)
    plain = not (how.past or how.future or how.static)
    daily = _prices(table, found, how, name) if price and plain and how.freq != STEPS else None
    if daily is not None:
        made = daily.series(
            price if how.target else None, freq=how.freq, seasonality=how.seasonality
        )
        return replace(made, reading=how.given())
    if price is not None and price not in found:
        raise DataError(
            f"the target {price!r} needs one row a day and no covariates; give another by target= "
            "(--target)"
        )
    remarks = [*table.remarks]
    times = time_columns(table, how.time)
    if how.missing == "drop":
        table = _without_missing(table, times, len(times), "drop", remarks)
    when = None
    index: pd.Index = pd.RangeIndex(len(table.lines))
    if times:
        index, decided = _times(table, times, how)
        remarks += decided
        when = _time_name(times)
    covariates = _covariate_names(table, how)
    taken = [name for names in covariates.values() for name in names]
    goal = found[price] if price else target_column(table, times, index, how.target, taken)
    frame = _frame(table, [goal], taken, how, remarks)
    if when is not None:
        frame[when] = index
    read = read_frame(
        frame,
        time=when,
        target=goal,
        **covariates,
        freq=how.freq,
        seasonality=how.seasonality,
        missing=how.missing,
        where=lambda row: f"{table.label}, line {table.lines[row]}",
    )
    given: dict[str, Any] = {item.name: getattr(read, item.name) for item in fields(read)}
    remarks += [remark.replace(f"{table.label}, line", "line") for remark in read.remarks]
    given["remarks"] = remarks
    source = PurePath(table.label).name
    made = TimeSeries(name=_name(table.label, name), source=source, reading=how.given(), **given)
    return made if price is None else _as_prices(made, price)


def _panel(table: Table, how: Reading, name: str | None) -> Panel:
    """Read all series of a file."""

    def where(row: int) -> str:
        return f"{table.label}, line {table.lines[row]}"

    remarks, key = [*table.remarks], None
    if not how.wide:
        key = id_column(table, how.series_column)
        ids = pd.Series(table.column(key), name=key)
        require_rows_of_times(ids.mask(is_missing(table.column(key))), where)
    rest = table if key is None else table.without(key)
    times = time_columns(rest, how.time)
    if how.missing == "drop":
        table = _without_missing(table, times, len(times), "drop", remarks)
        rest = table if key is None else table.without(key)
    when = None
    index: pd.Index = pd.RangeIndex(len(table.lines))
    if times:
        index, decided = _times_once(table, times, how)
        remarks += decided
        when = _time_name(times)
    covariates = _covariate_names(rest, how)
    taken = [name for names in covariates.values() for name in names]
    price = None
    if key is None:
        goal, numbers = None, _series_columns(table, times, index, how, taken)
    else:
        found = price_columns(rest, PRICE_FIELDS if how.columns else (), how.columns)
        price = price_target(rest, found, how.target)
        if price is not None and price not in found:
            raise DataError(
                f"the target {price!r} must be a column, where there are several series; give "
                "another by target= (--target)"
            )
        goal = found[price] if price else target_column(rest, times, index, how.target, taken)
        numbers = [goal]
    frame = _frame(table, numbers, taken, how, remarks)
    if key is not None:
        frame[key] = table.column(key)
    if when is not None:
        frame[when] = index
    read = read_panel_frame(
        frame,
        id=key,
        time=when,
        target=goal,
        **covariates,
        wide=how.wide,
        series=None if how.wide else how.series,
        leave_out=() if how.wide else how.leave_out,
        short=how.short,
        least=how.least,
        freq=how.freq,
        seasonality=how.seasonality,
        missing=how.missing,
        where=where,
    )
    remarks += [remark.replace(f"{table.label}, line", "line") for remark in read.remarks]
    source = PurePath(table.label).name
    series = [*series_of(read, source)]
    if price is not None:
        series = [_as_prices(one, price) for one in series]
        remarks += merged_remarks({one.name: one.remarks for one in series})
    return Panel(
        name=_name(table.label, name),
        series=tuple(replace(one, remarks=()) for one in series),
        source=source,
        remarks=tuple(remarks),
        # A column that was found is named, so that the file is read as a panel again.
        reading=how.given() if key is None else {**how.given(), "series_column": key},
    )


def _times_once(
    table: Table, times: Sequence[str], how: Reading
) -> tuple[pd.Index, tuple[str, ...]]:
    """Read times [R], each of them once, whichever series has it."""
    cells = table.column(times[0])
    for name in times[1:]:
        cells = cells + "\0" + table.column(name)
    codes = pd.factorize(cells)[0]
    first = np.unique(codes, return_index=True)[1]
    if len(times) == 1 and all(map(str.isdecimal, cells[first])):  # whose order says what they are
        order = np.argsort([int(cell) for cell in cells[first]], kind="stable")
        first, codes = first[order], np.argsort(order)[codes]
    gaps = how.missing in ("ffill", "interpolate")
    index, remarks = to_times(
        table.rows(first), times, day_first=how.day_first, freq=how.freq, gaps=gaps
    )
    return index.take(codes), remarks


def _series_columns(
    table: Table, times: Sequence[str], index: pd.Index, how: Reading, taken: Sequence[str]
) -> list[str]:
    """Return the columns of a wide file that are series, or may be."""
    if how.columns:
        raise ConfigError("columns must not be given for a wide file, whose columns are series")
    if how.target not in (None, VALUE):
        raise ConfigError(
            f"target must not be given for a wide file, in which each column is a series, but got "
            f"{how.target!r}; series= (--series) chooses some of them"
        )
    left_out = [named_column(table, name, "leave_out= (--leave-out)") for name in how.leave_out]
    asked = [named_column(table, name, "series= (--series)") for name in as_names(how.series)]
    used = {*times, *taken, *left_out}
    free = asked or [name for name in table.columns if name not in other_times(table, times, index)]
    return [name for name in free if name not in used]


def _time_name(times: Sequence[str]) -> str:
    return "time" if times[0].startswith("column ") else times[0]


def _covariate_names(table: Table, how: Reading) -> dict[str, Any]:
    """Return the columns of each group of covariates."""
    return {
        group: [named_column(table, name, f"{group}= (--{group})") for name in getattr(how, group)]
        for group in ("past", "future", "static")
    }


def _frame(
    table: Table,
    numbers: Sequence[str],
    covariates: Sequence[str],
    how: Reading,
    remarks: list[str],
) -> pd.DataFrame:
    """Read columns that must be numbers, and covariates; of a wide file the first may be text."""
    columns: dict[str, Any] = {}
    for name in dict.fromkeys([*numbers, *covariates]):
        if name in numbers and (not how.wide or mostly_numbers(table, name)):
            columns[name], decided = to_numbers(table, name, decimal=how.decimal)
        else:
            columns[name], decided = _covariate(table, name, how.decimal)
        remarks += decided
    return pd.DataFrame(columns, index=range(len(table.lines)))


def _as_prices(series: TimeSeries, price: str, warn: str | None = None) -> TimeSeries:
    """Return a series of prices that are not daily, or have covariates, with what is doubtful."""
    made = replace(series, error_space="log", target_name=f"{price} price")
    doubts = jump_remarks(made.time, made.target, what=price)
    if warn is not None:
        _warn(warn, doubts, 5)
    return replace(made, remarks=(*made.remarks, *doubts))


def price_target(table: Table, found: Mapping[str, str], target: str | None) -> str | None:
    """Return which price is the target, of a file that has all four; None of another file."""
    if not set(PRICE_FIELDS) <= set(found):
        return None
    if target is None:
        return "close"
    words = target.removesuffix(" price").replace("adjusted ", "adj_")  # as the series calls it
    if words in TARGETS and target not in table.columns:
        return words
    column = named_column(table, target, "target= (--target)")
    return next((price for price in TARGETS if found.get(price) == column), None)


def _times(table: Table, times: Sequence[str], how: Reading) -> tuple[pd.Index, tuple[str, ...]]:
    gaps = how.missing in ("ffill", "interpolate")
    index, remarks = to_times(table, times, day_first=how.day_first, freq=how.freq, gaps=gaps)
    require_one_series(table, times, index)
    return index, remarks


def _covariate(
    table: Table, column: str, decimal: Decimal | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return numbers, NaN where missing, or text, None where missing [R]; none is a category."""
    if mostly_numbers(table, column):
        return to_numbers(table, column, decimal=decimal)
    return _text(table, column), ()


def _text(table: Table, column: str) -> NDArray[np.object_]:
    """Return text, None where missing [R]."""
    cells = table.column(column).copy()
    cells[is_missing(cells) & [cell.lower() != "none" for cell in cells]] = None
    return cells


def _prices(
    table: Table, found: Mapping[str, str], how: Reading, name: str | None, *, daily: bool = False
) -> PriceSeries | None:
    """Read daily prices; None where a day has several rows, unless ``daily`` says it must not."""
    times = time_columns(table, how.time)
    if not times:
        raise DataError(f"{table.label}: no column of dates; name one by time= (--time)")
    remarks = [*table.remarks]
    complete, prices = table, {price: found[price] for price in PRICE_FIELDS}
    table = _without_missing(table, [*times, *prices.values()], len(times), how.missing, remarks)
    if len(table.lines) < 2:
        raise DataError(
            f"{table.label}: a price series needs at least 2 rows, but got {len(table.lines)}"
        )
    index, decided = _times(table, times, how)
    remarks += decided
    days = _days(table, times[0], index, remarks)
    order = np.argsort(days, kind="stable")
    same = days[order[1:]] == days[order[:-1]]
    if same.any() and not daily and not index.has_duplicates:
        return None
    data = pd.DataFrame(index=range(len(days)))
    for price, column in prices.items():
        values, decided = to_numbers(table, column, decimal=how.decimal)
        wrong = bad_prices(values) & ~np.isnan(values)
        if wrong.any():
            raise table.error(int(wrong.argmax()), column, PRICE_RULE)
        data[price] = values
        remarks += decided
    for extra, bad, _rule in _EXTRAS:
        if extra in found:
            data = data.assign(**_extra(table, found[extra], extra, bad, how.decimal, remarks))
    _check_range(table, data, prices)
    if same.any():
        first, second = order[same.argmax()], order[same.argmax() + 1]
        raise DataError(
            f"{table.where(second, times[0])}: must be a new date, but {days[second]} is in line "
            f"{table.lines[first]} already"
        )
    data["time"] = days.astype("datetime64[s]")
    data = in_order(data, "time", lambda row: f"line {table.lines[row]}", remarks)
    if how.missing in ("ffill", "interpolate"):
        data, _ = filled_rows(
            data,
            "time",
            0,
            len(data.columns) - 1,
            how.missing,
            how.freq,
            lambda row: f"{table.label}, line {table.lines[row]}",
            remarks,
        )
    arrays: dict[str, Any] = {str(column): data[column].to_numpy() for column in data}
    dates = arrays.pop("time")
    return PriceSeries(
        name=_name(table.label, name),
        dates=dates,
        source=PurePath(table.label).name,
        dropped=len(complete.lines) - len(table.lines),
        remarks=tuple(remarks),
        **{"volume": None} | arrays,
    )


def _without_missing(
    table: Table, columns: Sequence[str], times: int, missing: Missing, remarks: list[str]
) -> Table:
    """Refuse or leave out rows without a time, the first ``times`` columns, or without a price."""
    if missing in ("ffill", "interpolate"):
        columns = columns[:times]
    if not columns:
        return table
    gaps = np.array([is_missing(table.column(column)) for column in columns], dtype=np.bool_)
    incomplete = np.asarray(gaps.any(axis=0))
    if not incomplete.any():
        return table
    count, row = int(incomplete.sum()), int(incomplete.argmax())
    if missing == "drop":
        remarks.append(
            f"{count} of {len(table.lines)} rows were left out, for a cell is missing "
            f"(missing='drop'); the first is line {table.lines[row]}"
        )
        return table.rows(~incomplete)
    at = int(gaps[:, row].argmax())
    note = (
        f", a missing cell ({count} of {len(table.lines)} rows have one); missing='drop' "
        "(--missing drop) leaves them out"
    )
    raise table.error(row, columns[at], "a date" if at < times else PRICE_RULE, note)


def _days(table: Table, column: str, index: pd.Index, remarks: list[str]) -> NDArray[np.datetime64]:
    """Return the days of times [R], by their local clock."""
    if not isinstance(index, pd.DatetimeIndex):
        raise table.error(0, column, "a date", "; another column is named by time= (--time)")
    wrong = (index.year < FIRST_YEAR) | (index.year > LAST_YEAR)
    if wrong.any():
        raise table.error(int(wrong.argmax()), column, f"of the years {FIRST_YEAR} to {LAST_YEAR}")
    if index.tz is not None and (index != index.normalize()).any():
        remarks.append(f"the days of column {short(column)} are those of {index.tz}")
    return index.tz_localize(None).to_numpy().astype("datetime64[D]")


def _extra(
    table: Table,
    column: str,
    name: str,
    bad: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    decimal: Decimal | None,
    remarks: list[str],
) -> dict[str, NDArray[np.float64]]:
    """Read volume or adjusted close; nothing where there is none, for a study does not need it."""
    if is_missing(table.column(column)).all():
        return {}
    try:
        values, decided = to_numbers(table, column, decimal=decimal)
    except DataError as error:
        remarks.append(f"column {short(column)} is left out: {error}")
        return {}
    if name == "volume":
        values = np.nan_to_num(values, nan=0.0)
    wrong = bad(values)
    if wrong.any():
        row = int(wrong.argmax())
        remarks.append(
            f"column {short(column)} is left out, for line {table.lines[row]} has "
            f"{short(table.column(column)[row])}"
        )
        return {}
    remarks += decided
    return {name: values}


def _check_range(table: Table, data: pd.DataFrame, prices: Mapping[str, str]) -> None:
    wrong = (data["low"] > data["high"]).to_numpy()
    if wrong.any():
        row, count = int(wrong.argmax()), int(wrong.sum())
        low = table.column(prices["low"])[row]
        note = f"; {count} rows have a high below their low" if count > 1 else ""
        raise table.error(row, prices["high"], f"at least the low of {low}", note)
