"""Further files as people have them: of terminals, exchanges, banks and portals, packed, in bytes.

`MORE`: name -> what writes prices as the bytes of a file; `SAID`: name -> what is said of it.
`STOCKS`: name -> what writes two tickers in one file, AAPL at the prices that are given and MSFT at
twice these.
"""

import gzip
import io
import zipfile
from collections.abc import Callable

import pandas as pd
import people_formats as people
from people_formats import (
    HEAD,
    ISO,
    NAMES,
    Writer,
    all_numbers,
    day,
    decimal_comma,
    investing,
    lines,
    number,
    text,
    unix,
)


def packed(write: Writer, name: str = "acme.csv") -> Writer:
    def wrap(df: pd.DataFrame) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, write(df))
        return file.getvalue()

    return wrap


def in_german(
    header: str,
    *columns: str,
    layout: str = "%d.%m.%Y",
    encoding: str = "utf-8",
    above: str = "",
    below: str = "",
) -> Writer:
    return lambda df: lines(
        df[::-1],
        header,
        [day(layout), *(decimal_comma(n, 0 if n == "volume" else 2) for n in columns)],
        ";",
        above=above,
        below=below,
    ).encode(encoding)


MT5 = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
MT5_ROW = [day("%Y.%m.%d"), *all_numbers()[:4], number("volume", "{:.0f}"), text("0"), text("3")]
TV = "time,open,high,low,close,Volume"


Columns = list[Callable[[pd.Series], str]]  # type: ignore[type-arg]


def several(header: str, columns: Columns, at: int, separator: str = ",") -> Writer:
    """Two tickers below one another; the column of their names is at ``at``."""

    def write(df: pd.DataFrame) -> bytes:
        twice = df.assign(**{name: df[name] * 2 for name in NAMES[:4]})
        one, two = (
            lines(rows, head, [*columns[:at], text(ticker), *columns[at:]], separator)
            for rows, head, ticker in ((df, header, "AAPL"), (twice, None, "MSFT"))
        )
        return (one + two).encode()

    return write


def side_by_side(df: pd.DataFrame) -> bytes:
    """Two tickers beside one another."""
    pairs = [c for n in NAMES[:4] for c in (number(n), lambda row, n=n: f"{2 * row[n]:.2f}")]
    names = "".join(f",{name.title()}" * 2 for name in NAMES[:4])
    header = f"Price{names}\nTicker{',AAPL,MSFT' * 4}\nDate{',' * 8}"
    return lines(df, header, [ISO, *pairs]).encode()


def in_parquet(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Writer:
    def write(df: pd.DataFrame) -> bytes:
        file = io.BytesIO()
        change(df).to_parquet(file)
        return file.getvalue()

    return write


MORE: dict[str, Writer] = {
    "MetaTrader 5, UTF-16": lambda df: lines(df, MT5, MT5_ROW, "\t", newline="\r\n").encode(
        "utf-16"
    ),
    "MetaTrader 5, UTF-16 without a header": lambda df: lines(
        df, None, MT5_ROW, "\t", newline="\r\n"
    ).encode("utf-16"),
    "MetaTrader 5, without a header": lambda df: lines(df, None, MT5_ROW, "\t").encode(),
    "MetaTrader 5, a time beside": lambda df: lines(
        df,
        MT5.replace("<OPEN>", "<TIME>\t<OPEN>"),
        [MT5_ROW[0], text("00:00:00"), *MT5_ROW[1:]],
        "\t",
    ).encode("utf-16"),
    "MetaTrader 5, no header, a time": lambda df: lines(
        df, None, [MT5_ROW[0], text("00:00:00"), *MT5_ROW[1:]], "\t"
    ).encode("utf-16"),
    "MetaTrader 4, UTF-16 without a header": lambda df: lines(
        df, None, [day("%Y.%m.%d"), text("00:00"), *all_numbers()]
    ).encode("utf-16"),
    "MetaTrader 5, one bar export, date and time": lambda df: lines(
        df, None, [day("%Y.%m.%d 00:00"), *all_numbers()[:4], number("volume", "{:.0f}"), text("3")]
    ).encode("utf-16"),
    "UTF-16 little endian without a mark": lambda df: lines(df, MT5, MT5_ROW, "\t").encode(
        "utf-16-le"
    ),
    "Binance klines, zip": packed(
        people.PRICES["Binance klines, no header"], "BTCUSDT-1d-2023-01.csv"
    ),
    "Binance klines, microseconds, no header": lambda df: lines(
        df, None, [unix(1e6), *all_numbers("{:.8f}", "{:.8f}"), unix(1e6), *people.BINANCE_END[1:]]
    ).encode(),
    "Binance, python-binance": lambda df: lines(
        df,
        "Open time,Open,High,Low,Close,Volume,Close time,Quote volume,Trades,Base,Quote,Ignore",
        [
            day("%Y-%m-%d 00:00:00"),
            *all_numbers("{:.8f}", "{:.8f}"),
            day("%Y-%m-%d 23:59:59.999"),
            *people.BINANCE_END[1:],
        ],
    ).encode(),
    "Binance, ms with a header": lambda df: lines(
        df,
        "open_time,open,high,low,close,volume,close_time,quote_asset_volume,number_of_trades,a,b,ignore",
        [
            unix(1e3),
            *all_numbers("{:.8f}", "{:.8f}"),
            lambda r: str(int(r["date"].timestamp() * 1e3) + 86399999),
            *people.BINANCE_END[1:],
        ],
    ).encode(),
    "Kraken, no header": lambda df: lines(df, None, [unix(1), *all_numbers(), text("17")]).encode(),
    "TradingView, unix": lambda df: lines(df, TV, [unix(1), *all_numbers()]).encode(),
    "TradingView, ISO in UTC": lambda df: lines(
        df, TV, [day("%Y-%m-%dT00:00:00Z"), *all_numbers()]
    ).encode(),
    "TradingView, ISO days with an indicator": lambda df: lines(
        df,
        "time,open,high,low,close,Volume,Volume MA,RSI,RSI-based MA",
        [ISO, *all_numbers(), text("NaN"), text("55.1"), text("")],
    ).encode(),
    "TradingView, New York": lambda df: lines(
        df,
        TV,
        [
            lambda row: (
                (row["date"] + pd.Timedelta(hours=9.5)).tz_localize("America/New_York").isoformat()
            ),
            *all_numbers(),
        ],
    ).encode(),
    "Investing.com, billions and blanks": lambda df: lines(
        df[::-1],
        '"Date","Price","Open","High","Low","Vol.","Change %"',
        [
            day("%m/%d/%Y", '"'),
            *(number(n, "{:,.2f}", '"') for n in ("close", "open", "high", "low")),
            lambda r: f'"{r["volume"] / 1e9:.5f}B"',
            text('"1.20%"'),
        ],
    ).encode("utf-8-sig"),
    "Investing.com, Dutch": investing(
        '"Datum","Laatste","Open","Hoog","Laag","Vol.","Verschil %"', "%d-%m-%Y", True
    ),
    "Nasdaq.com, thousands": lambda df: lines(
        df[::-1],
        "Date,Close/Last,Volume,Open,High,Low",
        [
            day("%m/%d/%Y"),
            number("close", '"${:,.2f}"'),
            number("volume", '"{:,.0f}"'),
            *(number(n, '"${:,.2f}"') for n in ("open", "high", "low")),
        ],
    ).encode(),
    "Nasdaq.com, an index, N/A volumes": lambda df: lines(
        df[::-1],
        "Date,Close/Last,Volume,Open,High,Low",
        [
            day("%m/%d/%Y"),
            number("close"),
            text("N/A"),
            *(number(n) for n in ("open", "high", "low")),
        ],
    ).encode(),
    "comdirect": in_german(
        "Datum;Eröffnung;Hoch;Tief;Schluss;Volumen",
        *NAMES,
        encoding="latin-1",
        above='"ACME AG (WKN 123456 Börse Xetra)"\n\n',
        below="\n",
    ),
    "finanzen.net": in_german(
        "Datum;Eröffnung;Schluss;Tageshoch;Tagestief", "open", "close", "high", "low"
    ),
    "German, long words": in_german(
        "Handelstag;Eröffnungskurs;Höchstkurs;Tiefstkurs;Schlusskurs;Handelsvolumen", *NAMES
    ),
    "Boursorama": lambda df: lines(
        df,
        "date\touv\thaut\tbas\tclot\tvol\tdevise\t",
        [day("%d/%m/%Y 00:00"), *all_numbers(), text("EUR")],
        "\t",
        end="\t",
    ).encode(),
    "French": in_german(
        "Date;Ouverture;Plus haut;Plus bas;Clôture;Volume", *NAMES, layout="%d/%m/%Y"
    ),
    "French, long words": in_german(
        "Date de séance;Cours d'ouverture;Cours le plus haut;Cours le plus bas;Cours de clôture;"
        "Volume échangé",
        *NAMES,
        layout="%d/%m/%Y",
        encoding="cp1252",
    ),
    "Euronext": lambda df: lines(
        df[::-1],
        'Date;Open;High;Low;Last;Close;"Number of Shares";"Number of Trades";Turnover;vwap',
        [
            day("%d/%m/%Y"),
            *all_numbers()[:3],
            number("close"),
            number("close"),
            number("volume", "{:.0f}"),
            text("17"),
            text("1.5"),
            text("1000.5"),
        ],
        ";",
        above='"Historical Data"\n"From 2023-01-02 to 2023-12-31"\nFR0000120271\n',
    ).encode("utf-8-sig"),
    "Spanish": in_german("Fecha;Apertura;Máximo;Mínimo;Cierre;Volumen", *NAMES, layout="%d/%m/%Y"),
    "Spanish, long words": in_german(
        "Fecha;Precio de apertura;Precio máximo;Precio mínimo;Precio de cierre;Volumen negociado",
        *NAMES,
        layout="%d/%m/%Y",
        encoding="latin-1",
    ),
    "Spanish, short": in_german(
        "Fecha;Último;Apertura;Máx.;Mín.;Vol.",
        "close",
        "open",
        "high",
        "low",
        "volume",
        layout="%d/%m/%Y",
    ),
    "Portuguese": in_german(
        "Data;Abertura;Máximo;Mínimo;Fechamento;Volume", *NAMES, layout="%d/%m/%Y"
    ),
    "Portuguese, long words": in_german(
        "Data do pregão;Preço de abertura;Preço máximo;Preço mínimo;Preço de fechamento;Quantidade",
        *NAMES,
        layout="%d/%m/%Y",
    ),
    "Italian": in_german("Data;Apertura;Massimo;Minimo;Chiusura;Volume", *NAMES, layout="%d/%m/%Y"),
    "Italian, long words": in_german(
        "Data;Prezzo di apertura;Prezzo massimo;Prezzo minimo;Prezzo di chiusura;Volumi",
        *NAMES,
        layout="%d/%m/%Y",
    ),
    "Chinese": lambda df: lines(
        df, "日期,开盘价,最高价,最低价,收盘价,成交量", [day("%Y/%m/%d"), *all_numbers()]
    ).encode("utf-8-sig"),
    "Chinese, GBK": lambda df: lines(
        df[::-1],
        "日期,股票代码,名称,收盘价,最高价,最低价,开盘价,前收盘,成交量,成交金额",
        [
            ISO,
            text("'600000"),
            text("浦发银行"),
            *(number(n) for n in ("close", "high", "low", "open")),
            text("9.9"),
            number("volume", "{:.0f}"),
            text("1.5"),
        ],
    ).encode("gb18030"),
    "Chinese, Tushare": lambda df: lines(
        df[::-1],
        "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount",
        [
            text("600000.SH"),
            day("%Y%m%d"),
            *all_numbers()[:4],
            text("9.9"),
            text("0.1"),
            text("1.2"),
            number("volume"),
            text("5.5"),
        ],
    ).encode(),
    "Chinese, traditional": lambda df: lines(
        df, "日期,開盤價,最高價,最低價,收盤價,成交股數", [day("%Y/%m/%d"), *all_numbers()]
    ).encode(),
    "zip": packed(lambda df: lines(df, HEAD, [ISO, *all_numbers()]).encode()),
    "zip of a text in latin-1": packed(people.PRICES["latin-1"], "kurse.txt"),
    "gzip": lambda df: gzip.compress(people.PRICES["ISO dates"](df)),
    "footer, a disclaimer of several lines": lambda df: lines(
        df,
        HEAD,
        [ISO, *all_numbers()],
        below="\nDisclaimer: prices are delayed, and may be wrong.\nAll rights reserved, 2023.\n",
    ).encode(),
    "footer, a count": lambda df: lines(
        df, HEAD, [ISO, *all_numbers()], below=f"\n{len(df)} rows\n"
    ).encode(),
    "footer, a total": lambda df: lines(
        df, HEAD, [ISO, *all_numbers()], below=f"Total,,,,,{df['volume'].sum():.0f}\n"
    ).encode(),
    "footer, averages": lambda df: lines(
        df, HEAD, [ISO, *all_numbers()], below="Average,1.5,1.6,1.4,1.5,\n"
    ).encode(),
    "footer, a dash line": lambda df: lines(
        df, HEAD, [ISO, *all_numbers()], below="----------\nEnd of data\n"
    ).encode(),
    "Parquet": in_parquet(lambda df: df),
    "Parquet by date": in_parquet(lambda df: df.set_index("date")),
    "Parquet, the newest first": in_parquet(lambda df: df[::-1].rename(columns=str.title)),
}
NO_HEADER = "has no header; read as date, open, high, low, close, volume"
NO_HEADER_TIME = NO_HEADER.replace("date", "date, time")
LEFT_OUT = "lines left out, no rows of the table: "
UNIX = "column {} is read as {} since 1970, in UTC"
WINDOWS = "is no UTF-8; read as Windows-1252 (latin-1)"
# Name -> the beginnings of what is said; nothing is, of all others.
SAID: dict[str, tuple[str, ...]] = {
    "MetaTrader 5, UTF-16 without a header": (NO_HEADER,),
    "MetaTrader 5, without a header": (NO_HEADER,),
    "MetaTrader 5, no header, a time": (NO_HEADER_TIME,),
    "MetaTrader 4, UTF-16 without a header": (NO_HEADER_TIME,),
    "MetaTrader 5, one bar export, date and time": (NO_HEADER,),
    "UTF-16 little endian without a mark": ("has no byte order mark; read as UTF-16",),
    "Binance klines, zip": (NO_HEADER, UNIX.format("'date'", "milliseconds")),
    "Binance klines, microseconds, no header": (NO_HEADER, UNIX.format("'date'", "us")),
    "Binance, ms with a header": (UNIX.format("'open_time'", "milliseconds"),),
    "Kraken, no header": (NO_HEADER, UNIX.format("'date'", "seconds")),
    "TradingView, unix": (UNIX.format("'time'", "seconds"),),
    "TradingView, New York": ("the days of column 'time' are those of ",),
    "comdirect": (WINDOWS, f"{LEFT_OUT}1 (the first is 'ACME AG "),
    "French, long words": (WINDOWS,),
    "Euronext": (f"{LEFT_OUT}1, 2, 3 (the first is 'Historical Data')",),
    "Spanish, long words": (WINDOWS,),
    "Chinese, GBK": ("is no UTF-8; read as GB 18030",),
    "zip of a text in latin-1": (WINDOWS,),
    "footer, a disclaimer of several lines": (f"{LEFT_OUT}43, 44 (the first is 'Disclaimer: ",),
    "footer, a count": (f"{LEFT_OUT}43 (the first is '40 rows')",),
    "footer, a total": (f"{LEFT_OUT}42 (the first is 'Total,",),
    "footer, averages": (f"{LEFT_OUT}42 (the first is 'Average,",),
    "footer, a dash line": (f"{LEFT_OUT}42, 43 (the first is '---",),
}
STOCKS: dict[str, Writer] = {
    "Kaggle": several("date,open,high,low,close,volume,Name", [ISO, *all_numbers()], 6),
    "Stooq": several(
        "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        [text("D"), day("%Y%m%d"), text("000000"), *all_numbers()],
        0,
    ),
    "German": several(
        "Ticker;Datum;Eröffnung;Hoch;Tief;Schluss",
        [day("%d.%m.%Y"), *map(decimal_comma, NAMES[:4])],
        0,
        ";",
    ),
    "symbols": several("Date,Symbol,Open,High,Low,Close", [ISO, *all_numbers()[:4]], 1),
    "Tushare": several(
        "ts_code,trade_date,open,high,low,close", [day("%Y%m%d"), *all_numbers()[:4]], 0
    ),
    "Chinese": several("日期,股票代码,开盘,最高,最低,收盘", [ISO, *all_numbers()[:4]], 1),
    "ISIN": several("Date,ISIN,Open,High,Low,Close", [ISO, *all_numbers()[:4]], 1),
    "any word": several("Date,Aktie,Open,High,Low,Close", [ISO, *all_numbers()[:4]], 1),
    "yfinance, side by side": side_by_side,
}
