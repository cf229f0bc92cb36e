"""Which column is which: the time, the target, the prices, the name of the series.

Names count without case, accents, blanks and marks. Where several columns come into question, the
error lists them and says which option names one.
Shapes: ``R`` rows.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources.dates import to_times
from foretune.datasets.sources.text_table import Table, is_missing, short
from foretune.datasets.sources.values import is_number_column
from foretune.datasets.text_dates import agree, is_time


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TIMES = _words(
    "ds date dates datetime dateandtime dateutc timestamp timestamputc opentime gmttime localtime "
    "unix unixtime unixtimestamp observationdate tradedate tradingdate timeperiod datum datumzeit "
    "zeitstempel fecha fechahora 日期 交易日期 日付 时间戳"
)
# Names that are believed only where the cells are dates, or no other column is a time.
_PERHAPS_TIMES = _words(
    "time t day week month quarter year period step index zeit tag woche monat quartal jahr heure "
    "jour semaine mois annee hora dia semana mes ano ora data giorno mese anno tijd 时间 月份 年份"
)
_CLOCKS = _words("time uhrzeit zeit heure hora ora tijd hour hr 时间")
_CLOCK = re.compile(r"\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?|\d{1,6}", re.ASCII)
_TARGETS = ("y", "target", "value")
_IDS = ("uniqueid", "seriesid", "itemid", "symbol", "ticker")

# Of each price the usual names, then those that count where none of them is there.
PRICES: Mapping[str, tuple[str, ...]] = {
    "open": (
        "open openprice openingprice",
        "o eroffn eroffnung eroffnungskurs erster ouv ouverture apertura abertura 开盘 开盘价",
    ),
    "high": (
        "high highprice highest dayhigh",
        "h hoch hochst tageshoch haut plushaut max maximo maxima massimo 高 最高 最高价",
    ),
    "low": (
        "low lowprice lowest daylow",
        "l tief tiefst tagestief bas plusbas min minimo minima minimo 低 最低 最低价",
    ),
    "close": (
        "close closelast closeprice closingprice",
        "c last price lastprice zuletzt schluss schlusskurs letzter dernier cloture fermeture "
        "ultimo cierre fechamento fecho chiusura 收盘 收盘价",
    ),
    "adj_close": ("adjclose adjustedclose adjcloseprice closeadj closeadjusted", "复权收盘价"),
    "volume": (
        "volume vol",
        "v stuck stucke stuecke tickvol tickvolume",
        "volumen umsatz volum volumi 交易量 成交量",
    ),
}


def plain(name: str) -> str:
    """Return a column's name without case, accents, marks, numbering and currency.

    Example:
        >>> [plain(name) for name in ("1. open", "<VOL>", "Adj Close**", "Último", "Price (USD)")]
        ['open', 'vol', 'adjclose', 'ultimo', 'price']
    """
    name = re.sub(r"\((?:[A-Z]{2,5}|column \d+)\)", "", name)
    name = unicodedata.normalize("NFKD", re.sub(r"^\d+[a-z]?\. ", "", name).lower())
    return re.sub(r"[\W_]|[\u0300-\u036f]", "", name)


def time_columns(table: Table, time: str | None = None) -> tuple[str, ...]:
    """Find the column of times, or those of the date and of the time of day.

    Args:
        table: the file.
        time: name of the column, where it is given.

    Returns:
        One name or two; none where all columns are numbers without a name for times, so that
        the rows count.

    Raises:
        DataError: there is no such column, or there are several.
    """
    date = _find_time(table) if time is None else named_column(table, time, "time= (--time)")
    if date is None:
        return ()
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
    table: Table, times: Sequence[str], index: pd.Index, target: str | None = None
) -> str:
    """Find the column to forecast: by its name, or the only one of numbers.

    Args:
        table: the file.
        times: the columns of the time.
        index: the times [R].
        target: name of the column, where it is given.

    Raises:
        DataError: there is no such column, or there are several.
    """
    if target is not None:
        return named_column(table, target, "target= (--target)")
    used = {*times, *other_times(table, times, index)}
    free = [name for name in table.columns if name not in used and plain(name) not in _IDS]
    numbers = [name for name in free if is_number_column(table, name)]
    found = [name for name in numbers if plain(name) in _TARGETS] or numbers
    if not found:
        raise _not_found(table, "numbers to forecast", "target= (--target)")
    return _only(table, found, "the target", "target= (--target)")


def price_columns(
    table: Table, required: Sequence[str] = ("close",), columns: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Find the columns of prices and volume by their names in seven languages.

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


def select_series(table: Table, series: str | None = None) -> Table:
    """Return the rows of one series of a long file, of which a column names the series.

    Raises:
        DataError: there are several and none is chosen, or not the one that is.
    """
    for name in table.columns:
        cells = table.column(name)
        if plain(name) not in (*_IDS, "name", "id"):
            continue
        if series is not None and (cells == series).any():
            return table.rows(cells == series)
        known = list(pd.unique(cells))
        if series is None and plain(name) in _IDS and len(known) > 1:
            raise DataError(
                f"{table.label}: column {short(name)} must name one series, but names "
                f"{len(known)}: {_listed(known)}; choose one by series= (--series)"
            )
    if series is not None:
        raise DataError(f"{table.label}: no column names a series {short(series)}")
    return table


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


def _find_time(table: Table) -> str | None:
    dates, named = [], []
    for name in table.columns:
        known = _known(table, name)
        if len(known) and all(map(is_time, known[[0, len(known) // 2, -1]])):
            dates.append(name)
        if plain(name) in _TIMES:
            named.append(name)
    option = "time= (--time)"
    # Of names that say time, those whose cells are times; dates rather than numbers.
    if named:
        read = [name for name in named if len(named) == 1 or _index(table, name) is not None]
        return _agreed(table, sorted(read, key=lambda name: name not in dates), option) or named[0]
    perhaps = [name for name in table.columns if plain(name) in _PERHAPS_TIMES]
    if dates:
        return _agreed(table, [name for name in dates if name in perhaps] or dates, option)
    counts = [name for name in perhaps if _index(table, name) is not None]
    if counts:
        return _only(table, counts, "the time", option)
    first = _index(table, table.columns[0]) if table.columns[0] == "column 1" else None
    if first is not None and len(table.columns) > 1 and _steps(first):
        return table.columns[0]
    if not all(is_number_column(table, name) for name in table.columns):
        raise _not_found(table, "times", option)
    return None


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
