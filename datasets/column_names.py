"""What people call the columns of times, targets and series, in several languages."""

import re
import unicodedata


def words(text: str) -> frozenset[str]:
    """Return the words of ``text``."""
    return frozenset(text.split())


TIMES = words(
    "ds date dates datetime dateandtime dateutc timestamp timestamputc opentime gmttime localtime "
    "unix unixtime unixtimestamp observationdate tradedate tradingdate timeperiod datum datumzeit "
    "zeitstempel handelstag datedeseance fecha fechahora datadopregao 日期 交易日期 日付 时间戳"
)
# Names that are believed only where the cells are dates, or no other column is a time.
PERHAPS_TIMES = words(
    "time t day week month quarter year period step index zeit tag woche monat quartal jahr heure "
    "jour semaine mois annee hora dia semana mes ano ora data giorno mese anno tijd 时间 月份 年份"
)
TARGETS = words("y target value")
IDS = words("uniqueid seriesid itemid symbol ticker isin instrument tscode 股票代码 证券代码")


def plain(name: str) -> str:
    """Return a column's name without case, accents, marks, numbering and currency.

    Example:
        >>> [plain(name) for name in ("1. open", "<VOL>", "Adj Close**", "Último", "Price (USD)")]
        ['open', 'vol', 'adjclose', 'ultimo', 'price']
    """
    name = re.sub(r"\((?:[A-Z]{2,5}|column \d+)\)", "", name)
    name = unicodedata.normalize("NFKD", re.sub(r"^\d+[a-z]?\. ", "", name).lower())
    return re.sub(r"[\W_]|[\u0300-\u036f]", "", name)
