"""``download_prices``: daily prices from Alpha Vantage, downloaded once and kept in a file."""

import contextlib
import dataclasses
import json
import logging
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.common.files import write_atomically
from foretune.datasets.prices import PRICE_FIELDS, PriceSeries

DEFAULT_URL = "https://www.alphavantage.co/query"
KEY_VARIABLE = "ALPHAVANTAGE_API_KEY"
PREFIX = "alphavantage:"  # before the symbol, where prices are named in one word
# A century of daily prices is about 2 MB; whatever is far larger is none.
MAX_BYTES = 8 * 2**20

_ROWS = "Time Series (Daily)"
_FIELDS = {name: f"{i}. {name}" for i, name in enumerate((*PRICE_FIELDS, "volume"), start=1)}
_SYMBOL = re.compile(r"[A-Za-z0-9.^=-]{1,20}")
# No quotes and backslashes: escaped in a message, a key with them would not be found there.
_KEY = re.compile(r"[!#-&(-\[\]-~]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_LONGEST_MESSAGE = 400
_LONGEST_WAIT = 60.0
_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11")  # a filter skips child loggers
_log = logging.getLogger("foretune")


def download_prices(
    symbol: str,
    *,
    api_key: str | None = None,
    outputsize: Literal["compact", "full"] = "compact",
    cache: str | os.PathLike[str] | None = None,
    refresh: bool = False,
    url: str = DEFAULT_URL,
    timeout: float = 30.0,
    retries: int = 4,
    backoff: float = 1.0,
) -> PriceSeries:
    """Download the daily prices of a symbol, or read them from the file of an earlier download.

    The file is read whenever it exists, whatever ``outputsize`` it was downloaded with, and needs
    no key. It is written only once all prices have been checked, so a failure leaves it as it
    was. The key goes to the host in ``url`` and into no message, log or file.

    Args:
        symbol: letters, digits and . - ^ =, at most 20 of them, such as "AAL".
        api_key: the key; by default the environment variable ``ALPHAVANTAGE_API_KEY``.
        outputsize: "compact" for the latest 100 days; "full" for 20 years, with a paid key only.
        cache: the file; by default "stock_market_data-SYMBOL.csv" in the current folder.
        refresh: download and replace the file even if it exists.
        url: address of the service, http or https; neither redirects nor proxies are followed.
        timeout: seconds to connect, and seconds until the whole answer has to be there.
        retries: how often to try again after HTTP 429 or 5xx or a broken connection, 0 to 20.
        backoff: seconds before the first of those tries, doubled for each further one. A
            ``Retry-After`` of the server counts if it is longer; no wait is longer than 60 s.

    Returns:
        The series, named ``symbol``, not adjusted for splits and dividends. Its source is
        "alphavantage:SYMBOL" and its digest the same when it comes from the file.

    Raises:
        DataError: an argument is not allowed, the service refuses or cannot be reached, or its
            answer or the file does not hold prices; names what is known of host, date and field.

    Source:
        https://www.alphavantage.co/documentation/#daily

    Example:
        >>> download_prices("AAL", api_key="...")  # doctest: +SKIP
        PriceSeries('AAL', 100 rows, 2025-06-24 to 2025-11-13)
    """
    _check_arguments(symbol, outputsize, timeout, retries, backoff)
    path = Path(f"stock_market_data-{symbol}.csv" if cache is None else cache)
    source = f"{PREFIX}{symbol}"
    if os.path.exists(path) and not refresh:
        from foretune.datasets.sources.readers import read_prices

        return dataclasses.replace(read_prices(path, name=symbol), source=source)
    key = _key(api_key)
    query = {"function": "TIME_SERIES_DAILY", "symbol": symbol, "outputsize": outputsize}
    query |= {"datatype": "json", "apikey": key}
    try:
        # A place that cannot take the file would cost one of the day's 25 requests.
        if os.path.isdir(path) or not os.path.isdir(path.parent) or path.suffix.lower() == ".gz":
            rule = "a file in an existing folder, not ending in .gz"
            raise DataError(f"cache must be {rule}, but got {str(path)!r}")
        label = f"{symbol}: {_host(url)}"
        address = f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"
        with _unlogged():
            body = _fetch(label, address, key, timeout, retries, backoff)
        rows = _rows(label, body)
        days = sorted(rows)
        columns: dict[str, Any] = {
            name: [_number(symbol, day, title, rows[day]) for day in days]
            for name, title in _FIELDS.items()
        }
        dates: Any = [_date(symbol, day) for day in days]
        series = PriceSeries(name=symbol, source=source, dates=dates, **columns)
        _write(path, series)
    except DataError as error:
        message = _without(key, str(error))
    else:
        return series
    # Raised out here, it is linked to none of the errors below, which hold address and answer.
    cut = message[: _LONGEST_MESSAGE - 3] + "..."
    raise DataError(message if len(message) <= _LONGEST_MESSAGE else cut)


def _check_arguments(
    symbol: str, outputsize: str, timeout: float, retries: int, backoff: float
) -> None:
    for name, value, allowed, rule in (
        ("symbol", symbol, _SYMBOL.fullmatch(symbol), "1 to 20 letters, digits or . - ^ ="),
        ("outputsize", outputsize, outputsize in ("compact", "full"), "'compact' or 'full'"),
        ("timeout", timeout, 0 < timeout <= 3600, "above 0 and at most 3600 seconds"),
        ("retries", retries, isinstance(retries, int) and 0 <= retries <= 20, "an int, 0 to 20"),
        ("backoff", backoff, 0 <= backoff <= 3600, "from 0 to 3600 seconds"),
    ):
        if not allowed:
            raise DataError(f"{name} must be {rule}, but got {value!r}")


def _key(api_key: str | None) -> str:
    key = (api_key or os.environ.get(KEY_VARIABLE, "")).strip()
    if not key:
        raise DataError(
            f"api_key must be given, as an argument or in the environment variable {KEY_VARIABLE}"
        )
    if not _KEY.fullmatch(key):
        raise DataError("api_key must be printable ASCII without blanks, quotes and backslashes")
    return key


def _host(url: str) -> str:
    """Return the host of an address; refuse what is not http or https, or carries a user name."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
        if usable and parts.port != 0 and re.fullmatch(r"[!-~]+", url):
            return str(parts.hostname)
    # Without the value, which may hold a password or a key.
    raise DataError("url must be http:// or https://, a host and a path, without a user name")


def _without(key: str, message: str) -> str:
    """Replace the key, in any case and also where it is percent-encoded."""
    letters = (rf"(?:%(?:25)*{ord(letter):02x}|{re.escape(letter)})" for letter in key)
    return re.sub("".join(letters), "***", message, flags=re.IGNORECASE)


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Drop what httpx and httpcore log in this thread: the address, with the key in it."""
    thread = threading.get_ident()
    loggers = [logging.getLogger(name) for name in _LOGGERS]

    def elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != thread

    for logger in loggers:
        logger.addFilter(elsewhere)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(elsewhere)


class _BusyError(Exception):
    """No answer: its reason, and the seconds after which the service wants to be asked again."""


def _fetch(
    label: str, address: str, key: str, timeout: float, retries: int, backoff: float
) -> bytes:
    """Ask by GET, again and again with longer waits while the service is busy."""
    for tried in range(retries + 1):
        try:
            return _ask(label, address, timeout)
        except _BusyError as error:
            reason, seconds = error.args
        if tried < retries:
            wait = min(max(backoff * 2**tried, seconds), _LONGEST_WAIT)
            reason = _without(key, reason)
            _log.warning("%s gave no answer: %s; trying again in %g s", label, reason, wait)
            time.sleep(wait)
    raise DataError(f"{label} gave no answer: {reason} (tries: {retries + 1})")


def _ask(label: str, address: str, timeout: float) -> bytes:
    """Ask once; ``timeout`` is for the connection, and then for the whole answer."""
    import httpx

    late, streams = threading.Event(), list[Any]()

    def hang_up() -> None:
        late.set()
        with contextlib.suppress(OSError):
            streams[-1].get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    # httpx limits the wait for the next bytes, not the time that all of them take.
    deadline = threading.Timer(timeout, hang_up)
    deadline.daemon = True

    def trace(event: str, details: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            streams.append(details["return_value"])
        if event == "connection.connect_tcp.complete":
            deadline.start()

    tls = ssl.create_default_context()
    headers = {"Accept-Encoding": "identity", "User-Agent": "foretune"}
    body = bytearray()
    try:
        with (
            httpx.Client(verify=tls, trust_env=False, timeout=timeout) as client,
            client.stream("GET", address, headers=headers, extensions={"trace": trace}) as response,
        ):
            _check_status(label, response.status_code, response.headers.get("Retry-After", ""))
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise DataError(f"{label} sent more than {MAX_BYTES >> 20} MiB")
    except httpx.TransportError as error:
        origin = next(iter(getattr(error.__cause__, "args", ())), error)  # what httpcore met
        if isinstance(origin, ssl.SSLCertVerificationError):
            raise DataError(f"{label} has no valid certificate: {origin.verify_message}") from None
        reason = getattr(origin, "strerror", None) or str(origin).rstrip(".")
        raise _BusyError("timed out" if late.is_set() else reason, 0.0) from None
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: not a host name
        raise DataError(f"{label} cannot be asked by HTTP: {type(error).__name__}") from None
    finally:
        deadline.cancel()
    if late.is_set():  # an answer of unknown length ends where the connection does
        raise _BusyError("timed out", 0.0)
    return bytes(body)


def _check_status(label: str, status: int, retry_after: str) -> None:
    if status == 429 or status >= 500:
        seconds = float(retry_after) if re.fullmatch(r"[0-9]{1,9}", retry_after) else 0.0
        raise _BusyError(f"HTTP {status}", seconds)
    if status != 200:
        # A redirect would take the key along, to wherever it leads.
        note = ", a redirect, which is not followed" if 300 <= status < 400 else ""
        raise DataError(f"{label} answered with HTTP {status}{note}")


def _write(path: Path, series: PriceSeries) -> None:
    columns = [getattr(series, name).tolist() for name in ("dates", *_FIELDS)]
    rows = (",".join(map(str, row)) for row in zip(*columns, strict=True))
    try:
        write_atomically(path, "\n".join(["Date,Open,High,Low,Close,Volume", *rows, ""]))
    except ConfigError as error:
        raise DataError(f"{error}") from None
    except ValueError as error:  # a NUL in the path
        raise DataError(f"{str(path)!r} cannot be written: {error}") from None


def _rows(label: str, body: bytes) -> dict[str, Any]:
    """Find the rows, day -> field -> value; a refusal comes with HTTP 200 too."""
    try:
        answer = json.loads(body.decode())
    except (ValueError, RecursionError):  # ValueError: no UTF-8, no JSON or an endless number
        raise DataError(f"{label} must answer in JSON, but its {len(body)} bytes are not") from None
    if not isinstance(answer, dict):
        raise DataError(f"{label} must answer with a JSON object, but got {_formatted(answer)}")
    for refusal in ("Error Message", "Information", "Note"):
        if refusal in answer:
            raise DataError(f"{label} answered {refusal!r}: {_formatted(answer[refusal])}")
    rows = answer.get(_ROWS)
    if not isinstance(rows, dict):
        raise DataError(f"{label} must answer with {_ROWS!r}, but got the keys {list(answer)}")
    if len(rows) < 2:
        raise DataError(f"{label} must answer with at least 2 days, but got {len(rows)}")
    return rows


def _date(symbol: str, day: str) -> date:
    with contextlib.suppress(ValueError):
        if _DATE.fullmatch(day):
            return date.fromisoformat(day)
    raise DataError(f"{symbol}: each day must be a date written YYYY-MM-DD, but got {day!r}")


def _number(symbol: str, day: str, title: str, row: Any) -> float:
    if isinstance(row, dict) and title not in row:
        raise DataError(f"{symbol}: {title!r} on {day} is missing")
    value = row[title] if isinstance(row, dict) else row
    said = _formatted(value)
    text = value if isinstance(value, str) else said
    if not _NUMBER.fullmatch(text):
        raise DataError(f"{symbol}: {title!r} on {day} must be a number, but got {said}")
    return float(text)


def _formatted(value: object) -> str:
    """Describe a JSON value; what is nested may be too deep to print."""
    return type(value).__name__ if isinstance(value, dict | list) else repr(value)
