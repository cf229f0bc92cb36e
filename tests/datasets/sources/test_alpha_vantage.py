"""download_prices against a real server: what it accepts, what it refuses, what it never tells."""

import contextlib
import json
import logging
import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foretune.datasets.common.errors import DataError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources import alpha_vantage
from foretune.datasets.sources.alpha_vantage import KEY_VARIABLE, download_prices
from foretune.datasets.sources.readers import read_prices

KEY = "CANARYKEY123"
DEFAULT_NAME = "stock_market_data-AAL.csv"
ROWS = "Time Series (Daily)"


def day(*values: object) -> dict[str, Any]:
    titles = ("1. open", "2. high", "3. low", "4. close", "5. volume")
    return dict(zip(titles, values, strict=True))


# As the service writes them: strings, the newest first.
DAYS = {
    "2020-01-06": day("12.4000", "14.0000", "12.1000", "13.3333", "3000"),
    "2020-01-03": day("11.0000", "13.0000", "10.7500", "12.5000", "2000"),
    "2020-01-02": day("10.5000", "12.2500", "10.0000", "11.0000", "0"),
}
META = {"1. Information": "Daily Prices", "2. Symbol": "AAL", "4. Output Size": "Compact"}
CACHED = """\
Date,Open,High,Low,Close,Volume
2020-01-02,10.5,12.25,10.0,11.0,0.0
2020-01-03,11.0,13.0,10.75,12.5,2000.0
2020-01-06,12.4,14.0,12.1,13.3333,3000.0
"""


def prices(days: object = DAYS, **more: object) -> bytes:
    return json.dumps({"Meta Data": META, ROWS: days} | more).encode()


def changed(date: str, title: str, value: object) -> bytes:
    return prices(DAYS | {date: DAYS[date] | {title: value}})


# ---- A server that answers by script --------------------------------------------------------

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Service:
    """A running server; each request takes the next answer of the script, the last one stays."""

    url: str
    script: list[Answer]
    hits: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def answer(self, *script: Answer | bytes) -> None:
        self.script[:] = [item if callable(item) else ok(item) for item in script]
        self.hits.clear()


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the tests."""


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[Service]:
    service = Service("", [ok(prices())])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            service.hits.append(self.path)
            self.service = service
            self.close_connection = True
            script = service.script
            (script.pop(0) if len(script) > 1 else script[0])(self)

        def log_message(self, *_: object) -> None:
            """Say nothing: the path holds the key."""

    with QuietServer(("127.0.0.1", 0), Handler) as server:
        scheme = "http"
        if certificate is not None:
            scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        service.url = f"{scheme}://127.0.0.1:{server.server_port}/query"
        thread = threading.Thread(target=server.serve_forever, args=(0.001,))
        thread.start()
        try:
            yield service
        finally:
            service.stopped.set()
            server.shutdown()
            thread.join()


def ok(body: bytes, status: int = 200, **headers: str) -> Answer:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return send


def status(code: int, **headers: str) -> Answer:
    return ok(b"<html>" + KEY.encode(), code, **headers)


def unmeasured(body: bytes) -> Answer:
    """Send a body that ends where the connection does."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n" + body)

    return send


def chunked(body: bytes, end: bytes = b"0\r\n\r\n") -> Answer:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n" + end)

    return send


def truncated(handler: BaseHTTPRequestHandler) -> None:
    body = prices()
    ok(body[:-20], Content_Length=str(len(body)))(handler)


def reset(handler: BaseHTTPRequestHandler) -> None:
    """Close with RST instead of FIN."""
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    socket.close(handler.connection.detach())


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close without a word."""


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0 " + handler.path.encode() + b"\r\n\r\n")


def dripping(start: bytes, drop: bytes) -> Answer:
    """Send a byte now and then: each arrives in time, all together never do."""

    def send(handler: Any) -> None:
        handler.wfile.write(start)
        for _ in range(200):  # 4 s, so that a client without a deadline fails instead of hanging
            handler.wfile.write(drop)
            if handler.service.stopped.wait(0.02):
                return

    return send


def redirect(where: str) -> Answer:
    def send(handler: BaseHTTPRequestHandler) -> None:
        query = urlsplit(handler.path).query
        status(302, Location=f"{where}?{query}")(handler)

    return send


DRIP_HEAD = dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")
DRIP_BODY = dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" ")


# ---- Running it -----------------------------------------------------------------------------


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    with serving() as service:
        yield service


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were to be waited before each new try, instead of waiting."""
    waits: list[float] = []
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=waits.append)
    monkeypatch.setattr(alpha_vantage, "time", clock)
    return waits


def download(service: Service, symbol: str = "AAL", **options: Any) -> PriceSeries:
    defaults = {"api_key": KEY, "url": service.url, "backoff": 0.0, "retries": 1}
    return download_prices(symbol, **(defaults | options))


def refused(service: Service, **options: Any) -> str:
    """Download, which must fail, and return the one line that says why."""
    with pytest.raises(DataError) as caught:
        download(service, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) <= 400
    return message


def chain(error: BaseException | None) -> Iterator[BaseException]:
    if error is not None:
        yield error
        yield from chain(error.__cause__)
        yield from chain(error.__context__)


# ---- What it returns ------------------------------------------------------------------------


def test_download_returns_the_days_in_ascending_order(service: Service) -> None:
    series = download(service)
    assert series.name == "AAL"
    assert series.source == "alphavantage:AAL"
    assert series.dates.astype(str).tolist() == ["2020-01-02", "2020-01-03", "2020-01-06"]
    assert series.open.tolist() == [10.5, 11.0, 12.4]
    assert series.high.tolist() == [12.25, 13.0, 14.0]
    assert series.low.tolist() == [10.0, 10.75, 12.1]
    assert series.close.tolist() == [11.0, 12.5, 13.3333]
    assert series.volume is not None
    assert series.volume.tolist() == [0.0, 2000.0, 3000.0]


@pytest.mark.parametrize("outputsize", ["compact", "full"])
def test_one_request_asks_for_the_daily_series(service: Service, outputsize: str) -> None:
    download(service, "BRK.B", outputsize=outputsize, url=service.url + "?via=me")
    (path,) = service.hits
    assert urlsplit(path).path == "/query"
    assert parse_qs(urlsplit(path).query) == {
        "via": ["me"],
        "function": ["TIME_SERIES_DAILY"],
        "symbol": ["BRK.B"],
        "outputsize": [outputsize],
        "datatype": ["json"],
        "apikey": [KEY],
    }


@pytest.mark.parametrize("send", [unmeasured, chunked])
def test_answers_of_unknown_length_are_read(service: Service, send: Any) -> None:
    service.answer(send(prices()))
    assert len(download(service)) == 3


def test_key_comes_from_the_argument_or_else_the_environment(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, " FROMENV\n")
    download(service, api_key=None)
    download(service, refresh=True)
    keys = [parse_qs(urlsplit(path).query)["apikey"] for path in service.hits]
    assert keys == [["FROMENV"], [KEY]]


@pytest.mark.parametrize("given_key", [None, "", " "])
def test_missing_key_says_where_to_give_it(service: Service, given_key: str | None) -> None:
    message = refused(service, api_key=given_key)
    assert "api_key" in message
    assert KEY_VARIABLE in message
    assert not service.hits


@pytest.mark.parametrize("bad", [f"{KEY} X", f"{KEY}\nX", f"{KEY}é", f'{KEY}"', f"{KEY}\udcff"])
def test_key_that_no_query_should_hold_is_refused_unseen(service: Service, bad: str) -> None:
    message = refused(service, api_key=bad)
    assert "api_key must be printable ASCII" in message
    assert KEY not in message
    assert not service.hits


# ---- The cache ------------------------------------------------------------------------------


def test_cache_is_written_in_the_tutorials_format_with_volume(service: Service) -> None:
    download(service)
    assert Path(DEFAULT_NAME).read_text() == CACHED
    assert os.listdir() == [DEFAULT_NAME]


def test_cache_is_read_instead_of_downloading_and_needs_no_key(service: Service) -> None:
    downloaded = download(service)
    service.answer(status(500))
    cached = download(service, api_key=None)
    assert not service.hits
    assert cached.digest == downloaded.digest
    assert (cached.name, cached.source, cached.dropped) == ("AAL", "alphavantage:AAL", 0)


def test_cache_of_the_tutorial_is_read(service: Service) -> None:
    Path(DEFAULT_NAME).write_text(
        ",Date,Low,High,Close,Open\n0,2020-01-03,1.0,3.0,2.0,1.5\n1,2020-01-02,1.0,2.0,1.25,1.5\n"
    )
    series = download(service, api_key=None)
    assert not service.hits
    assert series.close.tolist() == [1.25, 2.0]
    assert series.volume is None


def test_cache_may_be_elsewhere(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "prices of AAL.csv"
    download(service, cache=path)
    assert os.listdir() == [path.name]
    download(service, cache=str(path), api_key=None)
    assert len(service.hits) == 1


def test_refresh_downloads_and_replaces(service: Service) -> None:
    Path(DEFAULT_NAME).write_text("stale")
    download(service, refresh=True)
    assert len(service.hits) == 1
    assert Path(DEFAULT_NAME).read_text() == CACHED


def test_broken_cache_is_named_and_not_downloaded_over(service: Service) -> None:
    Path(DEFAULT_NAME).write_bytes(b"")
    assert refused(service) == f"{DEFAULT_NAME}: the file is empty (0 bytes)"
    assert not service.hits


def test_cache_is_complete_before_it_takes_its_place(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(DEFAULT_NAME).write_text("old")
    seen = []

    def crash(temporary: Path, target: Path) -> None:
        seen.append((temporary.parent.parent.resolve(), temporary.read_text(), target.read_text()))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", crash)
    message = refused(service, refresh=True)
    assert seen == [(Path.cwd(), CACHED, "old")]
    assert message == f"{DEFAULT_NAME} cannot be written: No space left on device"
    assert Path(DEFAULT_NAME).read_text() == "old"
    assert os.listdir() == [DEFAULT_NAME]


@pytest.mark.parametrize("place", ["absent/prices.csv", ".", "prices.csv.gz"])
def test_impossible_cache_costs_no_request(service: Service, place: str) -> None:
    message = refused(service, cache=place, refresh=True)
    assert message.startswith("cache must be a file in an existing folder")
    assert repr(place) in message
    assert not service.hits


def test_cache_with_a_nul_is_refused(service: Service) -> None:
    assert "cannot be written" in refused(service, cache="a\0b")


# ---- What it refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "symbol", ["", "../AAL", "A/B", "A\\B", "A B", "AAL\n", "Ä", "A" * 21, "A&apikey=x", "A\0"]
)
def test_symbol_must_not_leave_the_folder(service: Service, symbol: str) -> None:
    message = refused(service, symbol=symbol)
    assert message.startswith("symbol must be 1 to 20 letters")
    assert repr(symbol) in message
    assert not service.hits


@pytest.mark.parametrize("symbol", ["AAL", "BRK.B", "^GSPC", "EURUSD=X", "BT-A", "..", "A" * 20])
def test_symbols_of_all_exchanges_stay_in_the_folder(service: Service, symbol: str) -> None:
    assert download(service, symbol).name == symbol
    assert os.listdir() == [f"stock_market_data-{symbol}.csv"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("outputsize", "all"),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("timeout", 1e9),
        ("retries", -1),
        ("retries", 2.0),
        ("retries", 10**6),
        ("backoff", -0.1),
        ("backoff", float("inf")),
    ],
)
def test_arguments_are_checked(service: Service, option: str, value: object) -> None:
    message = refused(service, **{option: value})
    assert message.startswith(f"{option} must be ")
    assert message.endswith(f"but got {value!r}")
    assert not service.hits


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1/query",
        "ftp://127.0.0.1/query",
        "file:///etc/passwd",
        "http:///query",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:PASSWORD456/",
        "http://[::1/",
        "http://me:PASSWORD456@127.0.0.1/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/a\r\nX-Injected: 1",
        "http://ex\u00e4mple.org/",
    ],
)
def test_url_must_be_http_or_https(service: Service, url: str) -> None:
    message = refused(service, url=url)
    assert message.startswith("url must be http:// or https://")
    assert "PASSWORD456" not in message


# Each answer, the words that the message must hold, and the number of requests with one new try.
REFUSALS: dict[str, tuple[Answer, str, int]] = {
    "bad symbol": (
        ok(b'{"Error Message": "Invalid API call. Please retry."}'),
        "AAL: 127.0.0.1 answered 'Error Message': 'Invalid API call. Please retry.'",
        1,
    ),
    "25 a day, with the key": (
        ok(
            b'{"Information": "We have detected your API key as CANARYKEY123 and our rate limit '
            b'is 25 requests per day. See https://x.org/?apikey=%43anarykey123&k=CANARYKEY123"}'
        ),
        "your API key as *** and our rate limit is 25 requests per day. See "
        "https://x.org/?apikey=***&k=***'",
        1,
    ),
    "throttle": (ok(b'{"Note": "5 calls per minute"}'), "'Note': '5 calls per minute'", 1),
    "note beside prices": (ok(prices(Note="stale")), "answered 'Note': 'stale'", 1),
    "information that is no text": (
        ok(b'{"Information": {"CANARYKEY123": []}}'),
        "'Information': dict",
        1,
    ),
    "404": (status(404), "AAL: 127.0.0.1 answered with HTTP 404", 1),
    "401": (status(401), "AAL: 127.0.0.1 answered with HTTP 401", 1),
    "204": (status(204), "AAL: 127.0.0.1 answered with HTTP 204", 1),
    "redirect": (redirect("/elsewhere"), "HTTP 302, a redirect, which is not followed", 1),
    "503": (status(503), "AAL: 127.0.0.1 gave no answer: HTTP 503 (tries: 2)", 2),
    "429": (status(429), "HTTP 429 (tries: 2)", 2),
    "reset": (reset, "Connection reset by peer (tries: 2)", 2),
    "hang up": (hang_up, "Server disconnected without sending a response (tries: 2)", 2),
    "no HTTP": (no_http, "AAL: 127.0.0.1 gave no answer: illegal status line: bytearray", 2),
    "truncated": (
        truncated,
        f"{len(prices()) - 20} bytes, expected {len(prices())}) (tries: 2)",
        2,
    ),
    "truncated chunks": (
        chunked(prices(), end=b"100\r\n"),
        "incomplete chunked read) (tries: 2)",
        2,
    ),
    "drip": (DRIP_BODY, "AAL: 127.0.0.1 gave no answer: timed out (tries: 2)", 2),
    "drip in the head": (DRIP_HEAD, "AAL: 127.0.0.1 gave no answer: timed out (tries: 2)", 2),
    "empty": (ok(b""), "AAL: 127.0.0.1 must answer in JSON, but its 0 bytes are not", 1),
    "no JSON": (ok(prices()[:-1] + KEY.encode()), "must answer in JSON", 1),
    "no UTF-8": (ok(b'{"\xff": 1}'), "must answer in JSON", 1),
    "too deep": (ok(b"[" * 10**5 + b"]" * 10**5), "must answer in JSON", 1),
    "endless number": (ok(b"1" * 10**4), "must answer in JSON", 1),
    "a list": (ok(b"[]"), "must answer with a JSON object, but got list", 1),
    "null": (ok(b"null"), "must answer with a JSON object, but got None", 1),
    "another shape": (
        ok(b'{"Meta Data": {}, "CANARYKEY123": {}}'),
        "must answer with 'Time Series (Daily)', but got the keys ['Meta Data', '***']",
        1,
    ),
    "no prices": (ok(prices([])), "must answer with 'Time Series (Daily)'", 1),
    "no days": (ok(prices({})), "must answer with at least 2 days, but got 0", 1),
    "one day": (ok(prices({"2020-01-02": DAYS["2020-01-02"]})), "2 days, but got 1", 1),
    "a day that is none": (
        ok(prices(DAYS | {"2020-02-30": DAYS["2020-01-02"]})),
        "AAL: each day must be a date written YYYY-MM-DD, but got '2020-02-30'",
        1,
    ),
    "another date format": (
        ok(prices(DAYS | {"20200102": DAYS["2020-01-02"]})),
        "AAL: each day must be a date written YYYY-MM-DD, but got '20200102'",
        1,
    ),
    "a day without fields": (
        ok(prices(DAYS | {"2020-01-03": None})),
        "AAL: '1. open' on 2020-01-03 must be a number, but got None",
        1,
    ),
    "missing field": (
        ok(prices(DAYS | {"2020-01-03": {"1. open": "1"}})),
        "AAL: '2. high' on 2020-01-03 is missing",
        1,
    ),
    "text": (
        ok(changed("2020-01-03", "4. close", f"x{KEY}")),
        "AAL: '4. close' on 2020-01-03 must be a number, but got 'x***'",
        1,
    ),
    "underscore": (ok(changed("2020-01-03", "3. low", "1_0")), "must be a number", 1),
    "NaN": (ok(changed("2020-01-03", "3. low", float("nan"))), "a number, but got nan", 1),
    "true": (ok(changed("2020-01-03", "3. low", True)), "a number, but got True", 1),
    "too large": (ok(changed("2020-01-03", "2. high", "1e999")), "high on 2020-01-03 must be a", 1),
    "zero": (
        ok(changed("2020-01-03", "1. open", "0.0000")),
        "AAL: open on 2020-01-03 must be a finite number above 0, but got 0.0",
        1,
    ),
    "negative volume": (
        ok(changed("2020-01-03", "5. volume", "-1")),
        "AAL: volume on 2020-01-03 must be a finite number of at least 0, but got -1.0",
        1,
    ),
    "high below low": (
        ok(changed("2020-01-03", "2. high", "10.7")),
        "AAL: high on 2020-01-03 must be at least the low of 10.75, but got 10.7",
        1,
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_is_one_line_and_leaves_the_cache_alone(service: Service, case: str) -> None:
    answer, words, requests = REFUSALS[case]
    service.answer(answer)
    timeout = 0.2 if "drip" in case else 5.0
    assert words in refused(service, timeout=timeout)
    assert len(service.hits) == requests
    assert os.listdir() == []
    Path(DEFAULT_NAME).write_text(CACHED)
    refused(service, timeout=timeout, retries=0, refresh=True)
    assert Path(DEFAULT_NAME).read_text() == CACHED
    assert os.listdir() == [DEFAULT_NAME]


@pytest.mark.parametrize("case", [*REFUSALS, "disk full"])
def test_key_is_told_to_nobody(
    service: Service,
    case: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    # What somebody looking for an error may have switched on.
    for name in ("httpx", "httpcore", "httpcore.connection", "httpcore.http11"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
        monkeypatch.setattr(logging.getLogger(name), "handlers", [caplog.handler])
    if case == "disk full":
        monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(KEY)))
    else:
        service.answer(REFUSALS[case][0])
    with pytest.raises(DataError) as caught:
        download(service, timeout=0.2 if "drip" in case else 5.0)
    assert any(KEY in path for path in service.hits)
    linked = list(chain(caught.value))
    assert linked == [caught.value]
    told = [repr(error) + str(error) + repr(vars(error)) for error in linked]
    told += traceback.format_exception(caught.value)
    told += [record.getMessage() + repr(record.__dict__) for record in caplog.records]
    told += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    told += capfd.readouterr()
    for text in told:
        assert KEY.lower() not in text.lower()


def test_key_stays_out_of_what_succeeds(
    service: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore.connection", "httpcore.http11"):
        caplog.set_level(logging.DEBUG, name)
    service.answer(status(500), prices(Comment=KEY))
    series = download(service)
    # What others ask is logged as before.
    httpx.get(service.url, params={"of": "others"})
    assert "others" in caplog.text
    written = [path.read_text() for path in tmp_path.rglob("*")]
    assert len(written) == 1
    assert KEY not in "".join([repr(vars(series)), repr(series), caplog.text, *written])


@pytest.mark.parametrize("key", ["a+b/c==", "K$(^.*)[x]", "100%25", "*", "<&>"])
def test_keys_with_signs_are_sent_and_hidden(service: Service, key: str) -> None:
    forms = [key, quote(key, safe=""), quote(key, safe="").lower(), quote(quote(key, safe=""))]
    service.answer(json.dumps({"Note": "-".join(forms)}).encode())
    assert refused(service, api_key=key).endswith("'Note': '***-***-***-***'")
    assert parse_qs(urlsplit(service.hits[0]).query)["apikey"] == [key]


@pytest.mark.parametrize("before", range(325, 405, 5))
def test_long_words_are_cut_after_the_key_is_hidden(service: Service, before: int) -> None:
    service.answer(json.dumps({"Information": "." * before + KEY + "." * 1000}).encode())
    message = refused(service)
    assert message.endswith("...")
    assert KEY[:3] not in message


def test_control_characters_of_the_server_are_escaped(service: Service) -> None:
    service.answer(b'{"Note": "a\\u001b[31m\\nb\\u2028c\\ud800"}')
    assert refused(service).endswith(r"'a\x1b[31m\nb\u2028c\ud800'")


# ---- New tries ------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["503", "429", "reset", "hang up", "truncated", "drip"])
def test_what_may_pass_is_tried_again(service: Service, case: str) -> None:
    service.answer(REFUSALS[case][0], prices())
    series = download(service, timeout=0.5 if case == "drip" else 5.0)
    assert len(series) == 3
    assert len(service.hits) == 2
    assert os.listdir() == [DEFAULT_NAME]


def test_waits_double_up_to_a_minute(service: Service, waits: list[float]) -> None:
    service.answer(status(500))
    refused(service, backoff=10.0, retries=4)
    assert waits == [10.0, 20.0, 40.0, 60.0]
    assert len(service.hits) == 5


@pytest.mark.parametrize(
    ("code", "asked", "waited"),
    [
        (429, "7", [7.0, 7.0]),
        (503, "7", [7.0, 7.0]),
        (503, "1", [1.5, 3.0]),
        (503, "86400", [60.0, 60.0]),
        (503, "Wed, 21 Oct 2015 07:28:00 GMT", [1.5, 3.0]),
        (503, "-5", [1.5, 3.0]),
        (503, "²", [1.5, 3.0]),
    ],
)
def test_retry_after_is_honoured_up_to_a_minute(
    service: Service, waits: list[float], code: int, asked: str, waited: list[float]
) -> None:
    service.answer(status(code, Retry_After=asked))
    refused(service, backoff=1.5, retries=2)
    assert waits == waited


def test_each_new_try_is_logged(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.answer(status(503), prices())
    download(service)
    assert caplog.messages == [
        "AAL: 127.0.0.1 gave no answer: HTTP 503; trying again in 0 s",
    ]


def test_refused_connection_names_the_host(service: Service, waits: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    message = refused(service, url=f"http://127.0.0.1:{port}/query", backoff=1.0, retries=2)
    assert message == "AAL: 127.0.0.1 gave no answer: Connection refused (tries: 3)"
    assert waits == [1.0, 2.0]


def test_impossible_host_name_is_no_crash(service: Service) -> None:
    assert "a..b cannot be asked by HTTP: Unicode" in refused(service, url="http://a..b/")


def test_redirect_does_not_carry_the_key_to_another_host(service: Service) -> None:
    with serving() as other:
        service.answer(redirect(other.url.replace("127.0.0.1", "localhost")))
        assert "a redirect, which is not followed" in refused(service)
        assert not other.hits


@pytest.mark.parametrize("send", [ok, unmeasured, chunked])
def test_size_is_limited(service: Service, monkeypatch: pytest.MonkeyPatch, send: Any) -> None:
    limit = 2**20
    monkeypatch.setattr(alpha_vantage, "MAX_BYTES", limit)
    fitting = prices() + b" " * (limit - len(prices()))
    service.answer(send(fitting), send(fitting + b" "))
    assert len(download(service)) == 3
    assert refused(service, refresh=True) == "AAL: 127.0.0.1 sent more than 1 MiB"


# ---- Certificates ---------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody has signed."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", path, "-out", path.with_suffix(".crt")),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + path.with_suffix(".crt").read_text())
    return path


def test_certificate_is_checked(
    service: Service, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(certificate) as secure:
        assert "AAL: 127.0.0.1 has no valid certificate: self" in refused(secure)
        assert not secure.hits
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
        assert len(download(secure)) == 3
        secure.answer(truncated, DRIP_BODY, DRIP_HEAD, prices())
        assert len(download(secure, refresh=True, timeout=0.3, retries=3)) == 3
        assert len(secure.hits) == 4


# ---- Whatever the server sends --------------------------------------------------------------


@pytest.fixture(scope="module")
def forever(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Path]]:
    with serving() as service:
        yield service, tmp_path_factory.mktemp("forever") / "prices.csv"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
cells = st.sampled_from(["1", "2.5", "-1", "0", "1e400", "nan", "", " 1", "1" * 5000, "\u0661"])
rows = st.dictionaries(st.sampled_from(list(DAYS["2020-01-02"])), cells | json_values)
days = st.dictionaries(
    st.sampled_from([*DAYS, "0000-01-01", "0001-01-01", "9999-12-31", "2020-13-01"]) | st.text(),
    rows | json_values | st.sampled_from(list(DAYS.values())),
    max_size=4,
)
answers = st.dictionaries(
    st.sampled_from([ROWS, "Note", "Information", "Error Message"]) | st.text(),
    days | json_values,
    max_size=3,
)
bodies = (answers | json_values | st.builds(dict, **{"Meta Data": json_values})).map(
    lambda value: json.dumps(value).encode()
)


@given(body=bodies | days.map(prices) | st.binary())
@example(body=changed("2020-01-03", "1. open", [[]] * 3))
@example(body=b'{"Time Series (Daily)": {"2020-01-02": ' + b"[" * 900 + b"]" * 900 + b', "b": 1}}')
@settings(deadline=None, max_examples=120)
def test_no_answer_raises_anything_but_a_data_error(
    forever: tuple[Service, Path], body: bytes
) -> None:
    service, path = forever
    path.unlink(missing_ok=True)
    service.answer(body)
    message = None
    try:
        series = download(service, cache=path)
    except DataError as error:
        message = str(error)
    if message is None:
        assert read_prices(path).digest == series.digest
    else:
        assert len(message.splitlines()) == 1
        assert not path.exists()


@given(
    st.dictionaries(
        st.dates(date(1000, 1, 1), date(8999, 12, 31)).map(str),
        st.tuples(
            st.lists(st.floats(1e-300, 1e299), min_size=4, max_size=4).map(sorted),
            st.floats(0, 1e300),
        ),
        min_size=2,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=40)
def test_downloaded_and_cached_prices_are_the_same_floats(
    forever: tuple[Service, Path], table: dict[str, tuple[list[float], float]]
) -> None:
    service, path = forever
    service.answer(
        prices(
            {
                date: day(repr(opening), repr(high), repr(low), repr(closing), repr(volume))
                for date, ((low, opening, closing, high), volume) in table.items()
            }
        )
    )
    downloaded = download(service, cache=path, refresh=True)
    cached = download_prices("AAL", cache=path)
    oracle = np.array([[*table[date][0], table[date][1]] for date in sorted(table)])
    for series in (downloaded, cached):
        assert series.volume is not None
        columns = (series.low, series.open, series.close, series.high, series.volume)
        np.testing.assert_array_equal(np.stack(columns, axis=1), oracle)
    assert cached.digest == downloaded.digest
