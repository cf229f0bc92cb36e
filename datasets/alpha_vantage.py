"""`download_prices`: daily prices from Alpha Vantage, downloaded once and then read from a file.

The service takes its key in the query of the address. requests, httpx and urllib3 log that query
at debug level and urllib's errors carry it; `http.client` does neither.
"""

import contextlib
import dataclasses
import http.client
import io
import json
import logging
import os
import re
import socket
import ssl
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlencode, urlsplit

from foretune.datasets.errors import DataError
from foretune.datasets.prices import PRICE_FIELDS, PriceSeries
from foretune.datasets.readers import MAX_BYTES, read_prices

DEFAULT_URL = "https://www.alphavantage.co/query"
KEY_VARIABLE = "ALPHAVANTAGE_API_KEY"

_ROWS = "Time Series (Daily)"
_FIELDS = {name: f"{i}. {name}" for i, name in enumerate((*PRICE_FIELDS, "volume"), start=1)}
_SYMBOL = re.compile(r"[A-Za-z0-9.^=-]{1,20}")
# No quotes and backslashes: escaped in a message, a key with them would not be found there.
_KEY = re.compile(r"[!#-&(-\[\]-~]+")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_LONGEST_WAIT = 60.0
_LONGEST_MESSAGE = 400
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

    The file is read whenever it exists, whatever `outputsize` it was downloaded with, and needs
    no key. It is written only once all prices have been checked, so a failure leaves it as it
    was. The key goes to the host in `url` and into no message, log or file.

    Args:
      symbol: letters, digits and . - ^ =, at most 20 of them, such as "AAL".
      api_key: the key; by default the environment variable `ALPHAVANTAGE_API_KEY`.
      outputsize: "compact" for the latest 100 days; "full" for 20 years, with a paid key only.
      cache: the file; by default "stock_market_data-SYMBOL.csv" in the current folder.
      refresh: download and replace the file even if it exists.
      url: address of the service, http or https; neither redirects nor proxies are followed.
      timeout: seconds to connect, and seconds until the whole answer has to be there.
      retries: how often to try again after HTTP 429 or 5xx or a broken connection, 0 to 20.
      backoff: seconds before the first of those tries, doubled for each further one. A
        `Retry-After` of the server counts if it is longer; no wait is longer than 60 s.

    Returns:
      The series, named `symbol`, not adjusted for splits and dividends. Its source is
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
    source = f"alphavantage:{symbol}"
    if os.path.exists(path) and not refresh:
        return dataclasses.replace(read_prices(path, name=symbol), source=source)
    key = _key(api_key)
    query = {"function": "TIME_SERIES_DAILY", "symbol": symbol, "outputsize": outputsize}
    query |= {"datatype": "json", "apikey": key}
    try:
        _check_place(path)
        service = _service(url)
        label = f"{symbol}: {service.hostname}"
        body = _fetch(label, service, urlencode(query), timeout, retries, backoff)
        series = PriceSeries(name=symbol, source=source, **_columns(symbol, _rows(label, body)))
        _write(path, series)
    except DataError as error:
        message = _without(key, str(error))
    else:
        return series
    # Raised out here, it is linked to none of the errors below, which hold address and answer.
    raise DataError(message)


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
            raise DataError(f"{name} must be {rule}, but got {value!r}.")


def _key(api_key: str | None) -> str:
    key = (api_key or os.environ.get(KEY_VARIABLE, "")).strip()
    if not key:
        raise DataError(
            f"api_key must be given, as an argument or in the environment variable {KEY_VARIABLE}."
        )
    if not _KEY.fullmatch(key):
        raise DataError("api_key must be printable ASCII without blanks, quotes and backslashes.")
    return key


def _without(key: str, message: str) -> str:
    """Replace the key, in any case and also where it is percent-encoded, then shorten."""
    letters = (rf"(?:%(?:25)*{ord(letter):02x}|{re.escape(letter)})" for letter in key)
    message = re.sub("".join(letters), "***", message, flags=re.IGNORECASE)
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 3] + "..."


def _check_place(path: Path) -> None:
    """Refuse a place that cannot take the file before one of the day's 25 requests is spent."""
    if os.path.isdir(path) or not os.path.isdir(path.parent) or path.suffix.lower() == ".gz":
        rule = "a file in an existing folder, not ending in .gz"
        raise DataError(f"cache must be {rule}, but got {str(path)!r}.")


def _write(path: Path, series: PriceSeries) -> None:
    columns = [getattr(series, name).tolist() for name in ("dates", *_FIELDS)]
    rows = (",".join(map(str, row)) for row in zip(*columns, strict=True))
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            temporary = Path(folder) / path.name
            temporary.write_text("\n".join(["Date,Open,High,Low,Close,Volume", *rows, ""]))
            temporary.replace(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path} cannot be written: {reason}.") from None


def _service(url: str) -> SplitResult:
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.username is None
        if usable and parts.port != 0 and re.fullmatch(r"[!-~]+", url):
            return parts
    # The value is not shown, as it may hold a password or a key.
    raise DataError("url must be http:// or https://, a host and a path, without a user name.")


class _BusyError(OSError):
    """The service wants to be asked again, after `seconds` at least."""

    seconds = 0.0


def _fetch(
    label: str, service: SplitResult, query: str, timeout: float, retries: int, backoff: float
) -> bytes:
    for tried in range(retries + 1):
        try:
            return _ask(label, service, query, timeout)
        except ssl.SSLCertVerificationError as error:
            raise DataError(f"{label} has no valid certificate: {error.verify_message}.") from None
        except (OSError, http.client.IncompleteRead) as error:
            reason = getattr(error, "strerror", None) or str(error)
            wait = max(backoff * 2**tried, getattr(error, "seconds", 0.0))
        except (http.client.HTTPException, ValueError) as error:  # ValueError: no host name
            raise DataError(f"{label} cannot be asked by HTTP: {type(error).__name__}.") from None
        if tried < retries:
            wait = min(wait, _LONGEST_WAIT)
            _log.warning("%s gave no answer: %s; trying again in %g s.", label, reason, wait)
            time.sleep(wait)
    raise DataError(f"{label} gave no answer: {reason} (tries: {retries + 1}).")


def _ask(label: str, service: SplitResult, query: str, timeout: float) -> bytes:
    connection = _connection(service, timeout)
    target = f"{service.path or '/'}?{service.query and service.query + '&'}{query}"
    headers = {"Accept": "application/json", "Connection": "close", "User-Agent": "foretune"}
    with contextlib.closing(connection):
        connection.request("GET", target, headers=headers)
        with _response(connection.sock, time.monotonic() + timeout) as response:
            _check_status(label, response)
            body = response.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise DataError(f"{label} sent more than {MAX_BYTES >> 20} MiB.")
    if response.length:  # `read` with a limit does not raise when the answer ends early
        raise http.client.IncompleteRead(body, response.length)
    return body


def _connection(service: SplitResult, timeout: float) -> http.client.HTTPConnection:
    connection: http.client.HTTPConnection
    host, port = service.hostname or "", service.port
    if service.scheme == "https":
        context = ssl.create_default_context()  # checks certificate and host name
        connection = http.client.HTTPSConnection(
            host, port or 443, timeout=timeout, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, port or 80, timeout=timeout)
    connection.set_debuglevel(0)  # set on the class, it would print the request with the key
    return connection


class _Timed(io.RawIOBase):
    """The bytes of a socket until a point in time, however slowly they drip."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


def _response(sock: socket.socket, deadline: float) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(sock, method="GET")
    response.fp.close()
    response.fp = io.BufferedReader(_Timed(sock, deadline))
    response.begin()
    return response


def _check_status(label: str, response: http.client.HTTPResponse) -> None:
    status = response.status
    if status == 429 or status >= 500:
        busy = _BusyError(f"HTTP {status}")
        after = re.fullmatch(r"[0-9]{1,9}", response.headers.get("Retry-After", ""))
        busy.seconds = float(after[0]) if after else 0.0
        raise busy
    if status != 200:
        # A redirect would take the key along, to wherever it leads.
        note = ", a redirect, which is not followed" if 300 <= status < 400 else ""
        raise DataError(f"{label} answered with HTTP {status}{note}.")


def _rows(label: str, body: bytes) -> dict[str, Any]:
    """Find the rows, day -> field -> value; a refusal comes with HTTP 200 too."""
    try:
        answer = json.loads(body.decode())
    except (ValueError, RecursionError):  # ValueError: no UTF-8, no JSON or an endless number
        raise DataError(
            f"{label} must answer in JSON, but its {len(body)} bytes are not."
        ) from None
    if not isinstance(answer, dict):
        raise DataError(f"{label} must answer with a JSON object, but got {_shown(answer)}.")
    for refusal in ("Error Message", "Information", "Note"):
        if refusal in answer:
            raise DataError(f"{label} answered {refusal!r}: {_shown(answer[refusal])}.")
    rows = answer.get(_ROWS)
    if not isinstance(rows, dict):
        raise DataError(f"{label} must answer with {_ROWS!r}, but got the keys {list(answer)}.")
    if len(rows) < 2:
        raise DataError(f"{label} must answer with at least 2 days, but got {len(rows)}.")
    return rows


def _columns(symbol: str, rows: dict[str, Any]) -> dict[str, Any]:
    days = sorted(rows)
    columns: dict[str, Any] = {"dates": [_date(symbol, day) for day in days]}
    for name, title in _FIELDS.items():
        columns[name] = [_number(symbol, day, title, rows[day]) for day in days]
    return columns


def _date(symbol: str, day: str) -> date:
    with contextlib.suppress(ValueError):
        if _DATE.fullmatch(day):
            return date.fromisoformat(day)
    raise DataError(f"{symbol}: each day must be a date written YYYY-MM-DD, but got {day!r}.")


def _number(symbol: str, day: str, title: str, row: Any) -> float:
    if isinstance(row, dict) and title not in row:
        raise DataError(f"{symbol}: {title!r} on {day} is missing.")
    value = row[title] if isinstance(row, dict) else row
    text = value if isinstance(value, str) else _shown(value)
    if not _NUMBER.fullmatch(text):
        raise DataError(f"{symbol}: {title!r} on {day} must be a number, but got {_shown(value)}.")
    return float(text)


def _shown(value: object) -> str:
    """Describe a JSON value; what is nested may be too deep to print."""
    return type(value).__name__ if isinstance(value, dict | list) else repr(value)
