"""Ask a web service with a secret in the query, and let nobody else see it.

requests, httpx and urllib3 log the query at debug level and urllib's errors carry it;
`http.client` does neither.
"""

import contextlib
import http.client
import io
import logging
import re
import socket
import ssl
import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from foretune.datasets.common.errors import DataError
from foretune.datasets.sources.csv_table import MAX_BYTES

_LONGEST_WAIT = 60.0
_log = logging.getLogger("foretune")


def service_at(url: str) -> SplitResult:
    """Take an address apart; refuse what is not http or https, or carries a user name."""
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


def fetch(
    label: str, service: SplitResult, query: str, timeout: float, retries: int, backoff: float
) -> bytes:
    """Ask a service by GET, again and again with longer waits while it is busy.

    Args:
      label: what messages and the log call the service; the query is in neither.
      service: where it is.
      query: the query, percent-encoded.
      timeout: seconds for connecting, and then for the whole answer.
      retries: how often to ask again.
      backoff: seconds before asking again the first time; doubled each time.

    Raises:
      DataError: no answer, or a refusal.
    """
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
        """A socket can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what comes before the deadline."""
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
