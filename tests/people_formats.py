"""Files as people have them: each format writes the values that it is given.

`PRICES` and `SERIES`: name -> what writes a DataFrame as the bytes of a file. Prices have the
columns date, open, high, low, close and volume; a series date and value. `ASKED` are series that
are refused until the user says what is meant.
"""

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

Writer = Callable[[pd.DataFrame], bytes]
NAMES = ("open", "high", "low", "close", "volume")


def prices(rows: int = 40, start: str = "2023-01-02") -> pd.DataFrame:
    """Trading days: no weekends, no 2023-02-20; prices above and below 1,000."""
    rng = np.random.default_rng(7)
    dates = pd.bdate_range(start, periods=rows + 1).drop(
        pd.Timestamp("2023-02-20"), errors="ignore"
    )
    dates = dates[:rows]
    close = np.round(1000 * np.exp(np.cumsum(rng.normal(0, 0.02, len(dates)))), 2)
    opened = np.round(np.append(1000, close[:-1]) * np.exp(rng.normal(0, 0.005, len(dates))), 2)
    return pd.DataFrame(
        {
            "date": dates,
            "open": opened,
            "high": np.round(np.maximum(opened, close) + rng.uniform(0.25, 5, len(dates)), 2),
            "low": np.round(np.minimum(opened, close) - rng.uniform(0.25, 5, len(dates)), 2),
            "close": close,
            "volume": rng.integers(50, 800, len(dates)) * 10_000.0,
        }
    )


def lines(
    df: pd.DataFrame,
    header: str | None,
    columns: Iterable[Callable[[pd.Series], str]],  # type: ignore[type-arg]
    separator: str = ",",
    *,
    above: str = "",
    below: str = "",
    end: str = "",
    newline: str = "\n",
) -> str:
    columns = list(columns)
    rows = [separator.join(column(row) for column in columns) + end for _, row in df.iterrows()]
    text = above + "".join(f"{line}{newline}" for line in ([header] if header else []) + rows)
    return text + below


def day(layout: str, quote: str = "") -> Callable[[pd.Series], str]:  # type: ignore[type-arg]
    """strftime, in which %-d and %-m have no zero in front."""

    def write(row: pd.Series) -> str:  # type: ignore[type-arg]
        date = row["date"]
        text = layout.replace("%-d", str(date.day)).replace("%-m", str(date.month))
        return quote + str(date.strftime(text)) + quote

    return write


def number(name: str, form: str = "{:.2f}", quote: str = "") -> Callable[[pd.Series], str]:  # type: ignore[type-arg]
    return lambda row: quote + form.format(row[name]) + quote


def all_numbers(form: str = "{:.2f}", volume: str = "{:.0f}", quote: str = "") -> list[Callable]:  # type: ignore[type-arg]
    return [*(number(name, form, quote) for name in NAMES[:4]), number("volume", volume, quote)]


def german(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}".replace(",", "_").replace(".", ",").replace("_", ".")


def decimal_comma(name: str, digits: int = 2, quote: str = "") -> Callable[[pd.Series], str]:  # type: ignore[type-arg]
    return lambda row: quote + german(row[name], digits) + quote


def text(value: str) -> Callable[[pd.Series], str]:  # type: ignore[type-arg]
    return lambda row: value


def short_volume(row: pd.Series, comma: bool = False) -> str:  # type: ignore[type-arg]
    value = row["volume"]
    written = f"{value / 1e6:.2f}M" if value >= 1e6 else f"{value / 1e3:.2f}K"
    return f'"{written.replace(".", ",") if comma else written}"'


def indian_volume(row: pd.Series) -> str:  # type: ignore[type-arg]
    whole = f"{row['volume']:.0f}"
    head, tail = whole[:-3], whole[-3:]
    pairs = [head[max(0, end - 2) : end] for end in range(len(head), 0, -2)][::-1]
    return f'"{",".join([*pairs, tail])}"'


def investing(header: str, layout: str, comma: bool) -> Writer:
    def write(df: pd.DataFrame) -> bytes:
        cell = (
            (lambda name: decimal_comma(name, quote='"'))
            if comma
            else (lambda name: number(name, "{:,.2f}", '"'))
        )
        columns = [
            day(layout, '"'),
            *(cell(name) for name in ("close", "open", "high", "low")),
            lambda row: short_volume(row, comma),
            text('"-0,52%"' if comma else '"-0.52%"'),
        ]
        return lines(df[::-1], header, columns).encode("utf-8-sig")

    return write


def unix(factor: float) -> Callable[[pd.Series], str]:  # type: ignore[type-arg]
    return lambda row: str(int(row["date"].timestamp() * factor))


HEAD = "Date,Open,High,Low,Close,Volume"
ISO = day("%Y-%m-%d")
BINANCE_END = [text("86399999"), text("0.1"), text("7"), text("0.2"), text("0.3"), text("0")]

PRICES: dict[str, Writer] = {
    "ISO dates": lambda df: lines(df, HEAD, [ISO, *all_numbers()]).encode(),
    "byte order mark and \\r\\n": lambda df: lines(
        df, HEAD, [ISO, *all_numbers()], newline="\r\n"
    ).encode("utf-8-sig"),
    "UTF-16 with tabs, as Excel's Unicode text": lambda df: lines(
        df, HEAD.replace(",", "\t"), [ISO, *all_numbers()], "\t"
    ).encode("utf-16"),
    "latin-1": lambda df: lines(
        df,
        "Datum;Eröffnung;Hoch;Tief;Schluß;Schlusskurs;Stück",
        [
            day("%d.%m.%Y"),
            *map(decimal_comma, NAMES[:3]),
            text("é"),
            decimal_comma("close"),
            decimal_comma("volume", 0),
        ],
        ";",
    ).encode("latin-1"),
    "dollars and thousands": lambda df: lines(
        df, HEAD, [day("%-m/%-d/%Y"), *all_numbers("${:,.2f}", "{:,.0f}", '"')]
    ).encode(),
    "Nasdaq.com": lambda df: lines(
        df[::-1],
        "Date,Close/Last,Volume,Open,High,Low",
        [
            day("%m/%d/%Y"),
            *(number(n, "${:.2f}") for n in ("close",)),
            number("volume", "{:.0f}"),
            *(number(n, "${:.2f}") for n in ("open", "high", "low")),
        ],
    ).encode(),
    "Nasdaq.com, elder, with blanks": lambda df: lines(
        df[::-1],
        "Date, Close/Last, Volume, Open, High, Low",
        [
            day("%m/%d/%Y"),
            *(number(n, " ${:.2f}") for n in ("close",)),
            number("volume", " {:.0f}"),
            *(number(n, " ${:.2f}") for n in ("open", "high", "low")),
        ],
    ).encode(),
    "Investing.com": investing(
        '"Date","Price","Open","High","Low","Vol.","Change %"', "%m/%d/%Y", False
    ),
    "Investing.com, elder": investing(
        '"Date","Price","Open","High","Low","Vol.","Change %"', "%b %d, %Y", False
    ),
    "Investing.com, German": investing(
        '"Datum","Zuletzt","Eröffn.","Hoch","Tief","Vol.","+/- %"', "%d.%m.%Y", True
    ),
    "Investing.com, French": investing(
        '"Date","Dernier","Ouv."," Plus Haut","Plus Bas","Vol.","Variation %"', "%d/%m/%Y", True
    ),
    "Investing.com, Spanish": investing(
        '"Fecha","Último","Apertura","Máximo","Mínimo","Vol.","% var."', "%d.%m.%Y", True
    ),
    "Investing.com, Portuguese": investing(
        '"Data","Último","Abertura","Máxima","Mínima","Vol.","Var%"', "%d.%m.%Y", True
    ),
    "Investing.com, Italian": investing(
        '"Data","Ultimo","Apertura","Massimo","Minimo","Vol.","Var. %"', "%d.%m.%Y", True
    ),
    "Investing.com, Chinese": investing(
        '"日期","收盘","开盘","高","低","交易量","涨跌幅"', "%Y-%m-%d", False
    ),
    "East Money": lambda df: lines(
        df, "日期,开盘,最高,最低,收盘,成交量,成交额", [ISO, *all_numbers(), text("1.5E9")]
    ).encode(),
    "Yahoo": lambda df: lines(
        df,
        "Date,Open,High,Low,Close,Adj Close,Volume",
        [ISO, *all_numbers("{:.6f}")[:4], text("1.5"), number("volume", "{:.0f}")],
    ).encode(),
    "Yahoo, copied from the page": lambda df: lines(
        df[::-1],
        "Date\tOpen\tHigh\tLow\tClose*\tAdj Close**\tVolume",
        [
            day("%b %d, %Y"),
            *all_numbers("{:,.2f}")[:4],
            text("1.50"),
            number("volume", "{:,.0f}"),
        ],
        "\t",
        below="*Close price adjusted for splits.**Adjusted close price.\n",
    ).encode(),
    "yfinance, three header lines": lambda df: lines(
        df,
        "Price,Open,High,Low,Close,Volume\nTicker,0700,0700,0700,0700,0700\nDate,,,,,",
        [ISO, *all_numbers()],
    ).encode(),
    "yfinance, with a zone and summer time": lambda df: lines(
        df,
        "Date,Open,High,Low,Close,Volume,Dividends,Stock Splits",
        [
            lambda row: f"{row['date']:%Y-%m-%d} 00:00:00-0{4 if row['date'].month > 2 else 5}:00",
            *all_numbers(),
            text("0.0"),
            text("0.0"),
        ],
    ).encode(),
    "Stooq, bulk": lambda df: lines(
        df,
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>",
        [text("AAPL.US"), text("D"), day("%Y%m%d"), text("000000"), *all_numbers(), text("0")],
    ).encode(),
    "Alpha Vantage": lambda df: lines(
        df[::-1], "timestamp,open,high,low,close,volume", [ISO, *all_numbers("{:.4f}")]
    ).encode(),
    "Alpha Vantage, numbered": lambda df: lines(
        df[::-1],
        "date,1. open,2. high,3. low,4. close,5. volume",
        [ISO, *all_numbers("{:.4f}", "{:.1f}")],
    ).encode(),
    "MetaTrader 5": lambda df: lines(
        df,
        "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>",
        [day("%Y.%m.%d"), *all_numbers()[:4], text("0"), number("volume", "{:.0f}"), text("3")],
        "\t",
    ).encode(),
    "MetaTrader 4, no header": lambda df: lines(
        df, None, [day("%Y.%m.%d"), text("00:00"), *all_numbers()]
    ).encode(),
    "Binance klines, no header": lambda df: lines(
        df, None, [unix(1e3), *all_numbers("{:.8f}", "{:.8f}"), unix(1e3), *BINANCE_END[1:]]
    ).encode(),
    "Binance klines, microseconds": lambda df: lines(
        df,
        "open_time,open,high,low,close,volume,close_time,quote_volume,count,a,b,ignore",
        [unix(1e6), *all_numbers("{:.8f}", "{:.8f}"), *BINANCE_END],
    ).encode(),
    "HistData, no header": lambda df: lines(
        df, None, [day("%Y%m%d 000000"), *all_numbers("{:.6f}")], ";"
    ).encode(),
    "CryptoDataDownload": lambda df: lines(
        df[::-1],
        "unix,date,symbol,open,high,low,close,Volume BTC,Volume USD",
        [
            unix(1),
            day("%Y-%m-%d %H:%M:%S"),
            text("BTC/USD"),
            *all_numbers()[:4],
            text("5.5"),
            number("volume"),
        ],
        above="https://www.CryptoDataDownload.com\n",
    ).encode(),
    "Barchart": lambda df: lines(
        df[::-1],
        "Time,Open,High,Low,Last,Change,%Chg,Volume",
        [
            day("%m/%d/%Y"),
            *all_numbers()[:4],
            text("-1.5"),
            text("-0.5%"),
            number("volume", "{:.0f}"),
        ],
        below='"Downloaded from Barchart.com as of 04-21-2023 10:00am CDT"\n',
    ).encode(),
    "WSJ, years of two digits": lambda df: lines(
        df[::-1],
        "Date, Open, High, Low, Close, Volume",
        [day("%m/%d/%y"), *all_numbers(" {:.2f}", " {:.0f}")],
    ).encode(),
    "Google Sheets": lambda df: lines(
        df, HEAD, [day("%-m/%-d/%Y 16:00:00"), *all_numbers()]
    ).encode(),
    "Kaggle, a trailing comma": lambda df: lines(df, HEAD, [ISO, *all_numbers()], end=",").encode(),
    "pandas, an unnamed counter": lambda df: df.rename(columns=str.title).to_csv().encode(),
    "pandas, unnamed dates": lambda df: df.set_index("date").to_csv(index_label="").encode(),
    "ariva": lambda df: lines(
        df[::-1],
        "Datum;Erster;Hoch;Tief;Schlusskurs;Stuecke;Volumen",
        [
            day("%Y-%m-%d"),
            *map(decimal_comma, NAMES[:4]),
            decimal_comma("volume", 0),
            text("1.234.567"),
        ],
        ";",
    ).encode(),
    "semicolons and thousands by a blank": lambda df: lines(
        df,
        HEAD.replace(",", ";"),
        [
            day("%d/%m/%Y"),
            *(
                lambda row, n=n: f"{row[n]:,.2f}".replace(",", "\u202f").replace(".", ",")
                for n in NAMES[:4]
            ),
            lambda row: f"{row['volume']:,.0f}".replace(",", "\u00a0"),
        ],
        ";",
    ).encode(),
    "Swiss": lambda df: lines(
        df,
        HEAD.replace(",", ";"),
        [
            day("%d.%m.%Y"),
            *(lambda row, n=n: f"{row[n]:,.2f}".replace(",", "'") for n in NAMES[:4]),
            lambda row: f"{row['volume']:,.0f}".replace(",", "\u2019"),
        ],
        ";",
    ).encode(),
    "NSE, Indian thousands": lambda df: lines(
        df,
        '"Date ","OPEN ","HIGH ","LOW ","close ","VOLUME "',
        [
            day("%d-%b-%Y", '"'),
            *all_numbers("{:,.2f}", quote='"')[:4],
            indian_volume,
        ],
    ).encode(),
    "bars": lambda df: lines(
        df, HEAD.replace(",", "|"), [day("%d-%b-%y"), *all_numbers()], "|"
    ).encode(),
    "Excel, padded title and a blank line": lambda df: lines(
        df,
        HEAD,
        [day("%-d/%-m/%Y"), *all_numbers()],
        above="ACME prices,,,,,\n,,,,,\n",
        below=",,,,,\nSource: ACME,,,,,\n",
    ).encode(),
}


def series(frequency: str = "MS", rows: int = 30, start: str = "2020-01-01") -> pd.DataFrame:
    rng = np.random.default_rng(3)
    dates = pd.date_range(start, periods=rows, freq=frequency)
    return pd.DataFrame({"date": dates, "value": np.round(rng.normal(50, 40, rows), 2)})


VALUE = number("value")
GERMAN = (
    *("Januar", "Februar", "März", "April", "Mai", "Juni"),
    *("Juli", "August", "September", "Oktober", "November", "Dezember"),
)
FRENCH = ("janv", "févr", "mars", "avr", "mai", "juin", "juil", "août", "sept", "oct", "nov", "déc")
# Name -> (frequency, what writes it).
SERIES: dict[str, tuple[str, Writer]] = {
    "AirPassengers": (
        "MS",
        lambda df: lines(df, "Month,#Passengers", [day("%Y-%m"), VALUE]).encode(),
    ),
    "D/M/YYYY": ("MS", lambda df: lines(df, "date,value", [day("%d/%m/%Y"), VALUE]).encode()),
    "M/D/YYYY": ("MS", lambda df: lines(df, "date,value", [day("%m/%d/%Y"), VALUE]).encode()),
    "D-M-YYYY": ("MS", lambda df: lines(df, "date,value", [day("%d-%m-%Y"), VALUE]).encode()),
    "D.M.YYYY": ("MS", lambda df: lines(df, "date,value", [day("%d.%m.%Y"), VALUE]).encode()),
    "Mmm-YY": ("MS", lambda df: lines(df, "Month,Sales", [day("%b-%y"), VALUE]).encode()),
    "Month YYYY": ("MS", lambda df: lines(df, "Month,Sales", [day("%B %Y"), VALUE]).encode()),
    "YYYY Mmm": ("MS", lambda df: lines(df, "Month,Sales", [day("%Y %b"), VALUE]).encode()),
    "MM/YYYY": (
        "MS",
        lambda df: lines(df, "Mois;Ventes", [day("%m/%Y"), decimal_comma("value")], ";").encode(),
    ),
    "YYYYMM": ("MS", lambda df: lines(df, "month\tvalue", [day("%Y%m"), VALUE], "\t").encode()),
    "Eurostat": (
        "MS",
        lambda df: lines(df, "TIME_PERIOD,OBS_VALUE", [day("%YM%m"), VALUE]).encode(),
    ),
    "FRED": ("MS", lambda df: lines(df, "observation_date,CPI", [ISO, VALUE]).encode()),
    "quarters": (
        "QS",
        lambda df: lines(
            df, "quarter,gdp", [lambda r: f"{r['date'].year}Q{r['date'].quarter}", VALUE]
        ).encode(),
    ),
    "Q1 2020": (
        "QS",
        lambda df: lines(
            df, "quarter,gdp", [lambda r: f"Q{r['date'].quarter} {r['date'].year}", VALUE]
        ).encode(),
    ),
    "M/D/YYYY, quarters": (
        "QS",
        lambda df: lines(df, "date,value", [day("%-m/%-d/%Y"), VALUE]).encode(),
    ),
    "years": ("YS", lambda df: lines(df, "Year,spots", [day("%Y"), VALUE]).encode()),
    "hours": ("h", lambda df: lines(df, "date,OT", [day("%Y-%m-%d %H:%M:%S"), VALUE]).encode()),
    "hours, R without midnight": (
        "h",
        lambda df: lines(
            df,
            "date,OT",
            [lambda r: f"{r['date']:%Y-%m-%d}" if r["date"].hour == 0 else str(r["date"]), VALUE],
        ).encode(),
    ),
    "hours, ISO in UTC": (
        "h",
        lambda df: lines(df, "ds,y", [day("%Y-%m-%dT%H:%M:%SZ"), VALUE]).encode(),
    ),
    "hours, 12 of them": (
        "h",
        lambda df: lines(df, "time,load", [day("%m/%d/%Y %I:%M %p"), VALUE]).encode(),
    ),
    "hours, UCI bikes": (
        "h",
        lambda df: lines(df, "dteday,hr,y", [ISO, lambda r: str(r["date"].hour), VALUE]).encode(),
    ),
    "hours, UCI power": (
        "h",
        lambda df: lines(
            df,
            "Date;Time;y;reactive",
            [day("%-d/%-m/%Y"), day("%H:%M:%S"), number("value", "{:.3f}"), text("0.418")],
            ";",
        ).encode(),
    ),
    "quarters of an hour, German": (
        "15min",
        lambda df: lines(
            df,
            "Datum;Uhrzeit;Last",
            [day("%d.%m.%y"), day("%H:%M"), decimal_comma("value", 1)],
            ";",
        ).encode(),
    ),
    "days, month by name": ("D", lambda df: lines(df, "x,y", [day('"%B %d, %Y"'), VALUE]).encode()),
    "unix seconds": ("D", lambda df: lines(df, "timestamp,y", [unix(1), VALUE]).encode()),
    "unix milliseconds with .0": (
        "h",
        lambda df: lines(
            df, "ts,timestamp,y", [text("a"), lambda r: f"{unix(1e3)(r)}.0", VALUE]
        ).encode(),
    ),
    "unix seconds beside dates": (
        "D",
        lambda df: lines(df, "date,unix,load", [ISO, unix(1), VALUE]).encode(),
    ),
    "Nixtla": (
        "h",
        lambda df: lines(
            df, "unique_id,ds,y", [text("H1"), day("%Y-%m-%d %H:%M:%S"), VALUE]
        ).encode(),
    ),
    "pandas Series": (
        "D",
        lambda df: df.set_index("date")["value"].rename(None).to_csv(index_label="").encode(),
    ),
    "a line of units": ("D", lambda df: lines(df, "date,power\n,MW", [ISO, VALUE]).encode()),
    "accounting": (
        "D",
        lambda df: lines(
            df,
            "date,value",
            [ISO, lambda r: f"({-r['value']:.2f})" if r["value"] < 0 else VALUE(r)],
        ).encode(),
    ),
    "percent": ("D", lambda df: lines(df, "date,rate", [ISO, number("value", "{:.2f}%")]).encode()),
    "R, parts of a year": (
        "MS",
        lambda df: lines(
            df,
            '"rownames","time","value"',
            [
                lambda r: str(r.name + 1),
                lambda r: f"{r['date'].year + (r['date'].month - 1) / 12:.15g}",
                VALUE,
            ],
        ).encode(),
    ),
    "year and month": (
        "MS",
        lambda df: lines(df, "Jahr;Monat;Wert", [day("%Y"), day("%-m"), VALUE], ";").encode(),
    ),
    "year, month, day, hour, Beijing": (
        "h",
        lambda df: lines(
            df,
            "year,month,day,hour,pm2.5",
            [day("%Y"), day("%-m"), day("%-d"), lambda r: str(r["date"].hour), VALUE],
        ).encode(),
    ),
    "hours, UCI air": (
        "h",
        lambda df: lines(
            df,
            "Date;Time;CO(GT);;",
            [day("%d/%m/%Y"), day("%H.%M.%S"), decimal_comma("value"), text(""), text("")],
            ";",
            below=";;;;\n",
        ).encode(),
    ),
    "hours, SMARD": (
        "h",
        lambda df: lines(
            df,
            "Datum von;Datum bis;Netzlast [MWh]",
            [
                day("%d.%m.%Y %H:%M"),
                lambda r: f"{r['date'] + pd.Timedelta(hours=1):%d.%m.%Y %H:%M}",
                decimal_comma("value"),
            ],
            ";",
        ).encode("utf-8-sig"),
    ),
    "hours, open-meteo": (
        "h",
        lambda df: lines(
            df,
            "time,temperature_2m (°C)",
            [day("%Y-%m-%dT%H:%M"), VALUE],
            above="latitude,longitude,elevation\n52.5,13.4,38.0\n\n",
        ).encode(),
    ),
    "hours, DWD": (
        "h",
        lambda df: lines(
            df, "STATIONS_ID;date;TT_TU;eor", [text("a"), day("%Y%m%d%H"), VALUE, text("eor")], ";"
        ).encode(),
    ),
    "Monat YYYY": (
        "MS",
        lambda df: lines(
            df,
            "Monat;Wert",
            [lambda r: f"{GERMAN[r['date'].month - 1]} {r['date'].year}", decimal_comma("value")],
            ";",
        ).encode("latin-1"),
    ),
    "mmm-yy, French": (
        "MS",
        lambda df: lines(
            df,
            "Mois;Ventes",
            [
                lambda r: f"{FRENCH[r['date'].month - 1]}-{r['date'].year % 100}",
                decimal_comma("value"),
            ],
            ";",
        ).encode(),
    ),
    "ISO weeks": ("W-MON", lambda df: lines(df, "week,cases", [day("%G-W%V"), VALUE]).encode()),
    "Google Trends": (
        "W-SUN",
        lambda df: lines(
            df, "Week,python: (Worldwide)", [ISO, VALUE], above="Category: All categories\n\n"
        ).encode(),
    ),
}


def damaged_cell(row: pd.Series) -> str:  # type: ignore[type-arg]
    return "." if row.name == 7 else VALUE(row)


def twice(df: pd.DataFrame) -> bytes:
    one = lines(df, "Entity,Year,Population", [text("Chad"), day("%Y"), VALUE])
    return (one + lines(df, None, [text("Peru"), day("%Y"), number("value", "{:.1f}")])).encode()


# Name -> (frequency, what writes it, what the message says, the option that makes it readable).
ASKED: dict[str, tuple[str, Writer, str, dict[str, object]]] = {
    "FRED, a point": (
        "MS",
        lambda df: lines(df, "DATE,UNRATE", [ISO, damaged_cell]).encode(),
        "missing='interpolate'",
        {"missing": "interpolate"},
    ),
    "a row is not there": (
        "D",
        lambda df: lines(df.drop(index=7), "date,y", [ISO, VALUE]).encode(),
        "missing='ffill'",
        {"missing": "ffill"},
    ),
    "Our World in Data": ("YS", twice, "series='Entity=Chad'", {"series": "Entity=Chad"}),
    "12 days or 12 months": (
        "D",
        lambda df: lines(df[:12], "date,y", [day("%m/%d/%Y"), VALUE]).encode(),
        "day_first=False",
        {"day_first": False},
    ),
    "1.234 or 1234": (
        "D",
        lambda df: (
            lines(df, "Datum;Besucher", [ISO, decimal_comma("value", 3)], ";")
            .replace(",", ".")
            .encode()
        ),
        "decimal='.'",
        {"decimal": "."},
    ),
    "two columns of numbers": (
        "D",
        lambda df: lines(df, "date,load,wind", [ISO, VALUE, text("5")]).encode(),
        "target=",
        {"target": "load"},
    ),
    "two columns of times": (
        "D",
        lambda df: lines(
            df, "a,b,y", [ISO, lambda r: str(r["date"] + pd.Timedelta(days=r.name)), VALUE]
        ).encode(),
        "time=",
        {"time": "a"},
    ),
}
