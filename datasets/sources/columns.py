"""Which column is which: the time, the target, the prices, the name of the series.

Names count without case, accents, blanks and marks. Where several columns come into question, the
error lists them and says which option names one.
Shapes: ``R`` rows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.column_names import IDS, PERHAPS_TIMES, TARGETS, TIMES, plain, words
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources.dates import to_times
from foretune.datasets.sources.text_table import Table, is_missing, short
from foretune.datasets.sources.values import mostly_numbers
from foretune.datasets.text_dates import agree, is_time

_CLOCKS = words("time uhrzeit zeit heure hora ora tijd hour hr he hourending stunde 时间")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?|\d\d?\.\d\d\.\d\d|\d{1,6}", re.ASCII)
# A date in several columns, of which the first two are needed.
_PARTS = (
    words("year yr jahr annee ano anno"),
    words("month mo monat mois mes mese"),
    words("day dy tag jour dia giorno"),
    words("hour hr stunde heure hora ora"),
)

# Of each price the usual names, then those that count where none of them is there.
PRICES: Mapping[str, tuple[str, ...]] = {
    "open": (
        "open openprice openingprice",
        "o eroffn eroffnung eroeffnung eroffnungskurs erster ouv ouverture coursdouverture "
        "apertura preciodeapertura prezzodiapertura abertura precodeabertura "
        "开盘 开盘价 開盤 開盤價 始値",
    ),
    "high": (
        "high highprice highest dayhigh",
        "h hoch hochst hochstkurs tageshoch haut plushaut coursleplushaut max maximo maxima "
        "preciomaximo precomaximo massimo prezzomassimo hoog 高 最高 最高价 最高價 高値",
    ),
    "low": (
        "low lowprice lowest daylow",
        "l tief tiefst tiefstkurs tagestief bas plusbas coursleplusbas min minimo minima "
        "preciominimo precominimo prezzominimo laag 低 最低 最低价 最低價 安値",
    ),
    "close": (
        "close closelast closeprice closingprice",
        "c last price lastprice zuletzt schluss schlusskurs letzter dernier clot cloture "
        "coursdecloture fermeture ultimo cierre preciodecierre fechamento precodefechamento fecho "
        "chiusura prezzodichiusura laatste 收盘 收盘价 收盤 收盤價 終値",
    ),
    "adj_close": ("adjclose adjustedclose adjcloseprice closeadj closeadjusted", "复权收盘价"),
    "volume": (
        "volume vol",
        "v stuck stucke stuecke tickvol tickvolume",
        "volumen umsatz handelsvolumen volumeechange volumennegociado quantidade volum volumi "
        "numberofshares 交易量 成交量 成交股數 出来高",
    ),
}


def time_columns(table: Table, time: str | None = None) -> tuple[str, ...]:
    """Find the column of times, or those of the date and of the time of day.

    Args:
        table: the file.
        time: name of the column, where it is given.

    Returns:
        One name; that of a date and that of a time of day; those of year, month, day and hour;
        none where all columns are numbers without a name for times, so that the rows count.

    Raises:
        DataError: there is no such column, or there are several.
    """
    if time is None:
        found = _find_time(table)
        if len(found) != 1:
            return found
        (date,) = found
    else:
        date = named_column(table, time, "time= (--time)")
    days = _known(table, date)
    for name in table.columns:
        cells = _known(table, name)
        if name == date or plain(name) not in _CLOCKS or not all(map(_CLOCK.fullmatch, cells)):
            continue
        # Hours may also be a value of a day.
        hours = max(map(len, cells), default=0) <= 2 and len(set(days)) == len(days)
        if not hours and all(len(day) >= 6 and ":" not in day for day in days[:1]):
            return date, name
    return (date,)


def other_times(table: Table, times: Sequence[str], index: pd.Index) -> tuple[str, ...]:
    """Find further columns that say the same as the time: unix seconds beside dates, a count."""
    found = []
    for name in table.columns:
        other = None if name in times else _index(table, name)
        if other is not None and (agree(index, other) or (name == "column 1" and _steps(other))):
            found.append(name)
    return tuple(found)


def target_column(
    table: Table,
    times: Sequence[str],
    index: pd.Index,
    target: str | None = None,
    taken: Sequence[str] = (),
) -> str:
    """Find the column to forecast: by its name, or the only one of numbers.

    Args:
        table: the file.
        times: the columns of the time.
        index: the times [R].
        target: name of the column, where it is given.
        taken: columns that are used for something else.

    Raises:
        DataError: there is no such column, or there are several.
    """
    if target is not None:
        return named_column(table, target, "target= (--target)")
    used = {*times, *taken, *other_times(table, times, index)}
    free = [name for name in table.columns if name not in used and plain(name) not in IDS]
    # One that is damaged is meant all the same, and another must not take its place.
    numbers = [name for name in free if mostly_numbers(table, name)]
    named = [name for name in numbers if plain(name) in TARGETS]
    counts = {  # the month beside a date
        name
        for name in numbers
        if plain(name) in TIMES | PERHAPS_TIMES and _index(table, name) is not None
    }
    found = named or [name for name in numbers if name not in counts] or numbers
    if not found:
        raise _not_found(table, "numbers to forecast", "target= (--target)")
    wide = "or give wide=True (--wide) where each column is a series"
    return _only(table, found, "the target", f"target= (--target), {wide}")


def price_columns(
    table: Table, required: Sequence[str] = ("close",), columns: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Find the columns of prices and volume by their names in nine languages.

    Args:
        table: the file.
        required: the prices that must be there, of `PRICES`; of others, any that are clear.
        columns: names that are given, as in ``{"open": "Apertura"}``.

    Returns:
        Price -> column.

    Raises:
        DataError: a required price has no column, or several.
        ConfigError: a key of ``columns`` is none of `PRICES`.
    """
    found = {}
    for price, name in (columns or {}).items():
        if price not in PRICES:
            raise ConfigError(f"columns must name {', '.join(PRICES)}, but got {price!r}")
        found[price] = named_column(table, name, _option(price))
    for price, kinds in PRICES.items():
        named = ([n for n in table.columns if plain(n) in kind.split()] for kind in kinds)
        candidates = next((names for names in named if names), [])
        if price not in found and (price in required or len(candidates) == 1):
            if not candidates:
                raise _not_found(table, f"the price {price!r}", _option(price))
            found[price] = _only(table, candidates, f"the price {price!r}", _option(price))
    return found


def id_column(table: Table, name: str | None = None) -> str:
    """Find the column that names the series of a long file.

    Args:
        table: the file.
        name: the column, where it is given.

    Raises:
        DataError: there is no such column, or there are several.
    """
    option = "series_column= (--series-column)"
    if name is not None:
        return named_column(table, name, option)
    found = [name for name in table.columns if plain(name) in IDS]
    if not found:
        raise _not_found(table, "the names of series", f"{option}, or give wide=True (--wide)")
    return _only(table, found, "the name of the series", option)


def select_series(table: Table, series: str | None = None) -> Table:
    """Return the rows of one series of a long file, of which a column names the series.

    Args:
        table: the file.
        series: what stands in that column, or behind the names of its columns ("Close AAPL");
            "COLUMN=VALUE" where several columns have it.

    Raises:
        DataError: there are several and none is chosen, or not the one that is.
    """
    for name in table.columns:
        cells = table.column(name)
        if plain(name) not in (*IDS, "name", "id"):
            continue
        if series is not None and (cells == series).any():
            return table.rows(cells == series)
        known = list(pd.unique(cells))
        if series is None and plain(name) in IDS and len(known) > 1:
            raise DataError(
                f"{table.label}: column {short(name)} must name one series, but names "
                f"{len(known)}: {_listed(known)}; choose one by series= (--series), or "
                f"read all as a panel by series_column={name!r} (--series-column)"
            )
    if series is None:
        return table
    name, _, value = series.partition("=")
    if name in table.columns and (table.column(name) == value).any():
        return table.rows(table.column(name) == value)
    wide = _columns_of(table, series)
    if wide is not None:
        return wide
    holds = [name for name in table.columns if (table.column(name) == series).any()]
    named = [name for name in holds if not mostly_numbers(table, name)]
    if not named:
        raise DataError(
            f"{table.label}: no column names a series {short(series)}; COLUMN=VALUE, such as "
            "store=1, chooses rows of any column"
        )
    name = _only(table, named, f"the series {short(series)}", "series='COLUMN=VALUE' (--series)")
    return table.rows(table.column(name) == series)


def _columns_of(table: Table, series: str) -> Table | None:
    """Return the columns that a ticker stands behind, as in "Close AAPL", and the first one."""
    names = [name.removesuffix(f" {series}") for name in table.columns]
    mine = [i for i, name in enumerate(names) if name != table.columns[i]]
    if not mine or 0 in mine:
        return None
    kept = [0, *mine]
    columns = tuple(names[i] for i in kept)
    return replace(table, columns=columns, cells=table.cells[:, kept])


def require_one_series(table: Table, times: Sequence[str], index: pd.Index) -> None:
    """Refuse a long file: its times [R] are there again and again, and a column tells them apart.

    Raises:
        DataError: names the column, and how to choose one of the series.
    """
    again = index.duplicated()
    for name in table.columns if again.any() else ():
        cells = table.column(name)
        known = pd.unique(cells)
        some = name not in times and 1 < len(known) <= len(cells) / 3
        if some and not pd.DataFrame({"time": index, "series": cells}).duplicated().any():
            row = int(again.argmax())
            raise DataError(
                f"{table.where(row, times[0])}: the time is there twice; if column {short(name)} "
                f"names {len(known)} series, choose one by series={f'{name}={known[0]}'!r} "
                f"(--series), or read all as a panel by series_column={name!r} (--series-column)"
            )


def named_column(table: Table, name: str, option: str) -> str:
    """Return the column that is meant by a name, which ``option`` gave.

    Raises:
        DataError: there is none, or several; lists them.
    """
    if name in table.columns:
        return name
    found = [column for column in table.columns if plain(column) == plain(name)]
    if not found:
        raise DataError(
            f"{table.label}: no column {short(name)}, which {option} names; the columns are "
            f"{_listed(table.columns)}"
        )
    return _only(table, found, short(name), option)


def _find_time(table: Table) -> tuple[str, ...]:
    dates, named = [], []
    for name in table.columns:
        known = _known(table, name)
        if len(known) and all(map(is_time, known[[0, len(known) // 2, -1]])):
            dates.append(name)
        if plain(name) in TIMES:
            named.append(name)
    option = "time= (--time)"
    # Of names that say time, those whose cells are times; dates rather than numbers.
    if named:
        read = [name for name in named if len(named) == 1 or _index(table, name) is not None]
        read.sort(key=lambda name: name not in dates)
        return (_agreed(table, read, option) or named[0],)
    perhaps = [name for name in table.columns if plain(name) in PERHAPS_TIMES]
    if dates:
        named = [name for name in dates if name in perhaps] or dates
        return (_agreed(table, named, option) or named[0],)
    parts = [[name for name in table.columns if plain(name) in words] for words in _PARTS]
    if len(parts[0]) == len(parts[1]) == 1:
        return tuple(names[0] for names in takewhile(bool, parts))
    counts = [name for name in perhaps if _index(table, name) is not None]
    if counts or len(perhaps) == 1:  # which cannot be read, as the error will say
        return (_only(table, counts or perhaps, "the time", option),)
    first = _index(table, table.columns[0]) if table.columns[0] == "column 1" else None
    if first is not None and len(table.columns) > 1 and _steps(first):
        return (table.columns[0],)
    if not all(mostly_numbers(table, name) for name in table.columns):
        raise _not_found(table, "times", option)
    return ()


def _known(table: Table, name: str) -> NDArray[np.object_]:
    """Return the cells of a column that are not missing."""
    cells = table.column(name)
    return cells[~is_missing(cells)]


def _agreed(table: Table, names: list[str], option: str) -> str | None:
    """Return the first of some columns of times, if the others agree with it."""
    if len(names) > 1:
        indexes = [_index(table, name) for name in names]
        for other in indexes:
            if indexes[0] is None or other is None or not agree(indexes[0], other):
                return _only(table, names, "the time", option)
    return names[0] if names else None


def _index(table: Table, name: str) -> pd.Index | None:
    """Read a column as times; None where it has none, or may be read in two ways."""
    try:
        return to_times(table, (name,))[0]
    except DataError:
        return None


def _steps(index: pd.Index) -> bool:
    """Whether an unnamed column counts the rows, or has dates of digits."""
    return isinstance(index, pd.DatetimeIndex) or len(set(np.diff(index))) == 1


def _only(table: Table, names: list[str], what: str, option: str) -> str:
    if len(names) > 1:
        raise DataError(
            f"{table.label}: {what} may be in the columns {_listed(names)}; name one by {option}"
        )
    return names[0]


def _not_found(table: Table, what: str, option: str) -> DataError:
    return DataError(
        f"{table.label}: no column of {what} is known by its name; the columns are "
        f"{_listed(table.columns)}; name one by {option}"
    )


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(short, names[:10])) + ", ..." * (len(names) > 10)


def _option(price: str) -> str:
    return f"columns={{{price!r}: ...}} (--column {price}=...)"
