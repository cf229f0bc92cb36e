"""What to do while a database is away, and what to say when its disk is full."""

import shutil
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_delay,
    wait_random_exponential,
)

from foretune.datasets.common.errors import ForetuneError

T = TypeVar("T")

# What a database that does not answer, or not properly, raises, through Optuna or directly.
STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError)

# How long a study waits for its database, in seconds, before it gives up.
DEFAULT_TIMEOUT = 600.0

# Seconds that an outage lasts before it is announced.
_ANNOUNCE_AFTER = 1.0

# SQLite says that it is full in several ways. With less than this free, all of them mean that.
_FULL = 256 * 1024

# SQLSTATE of PostgreSQL that pass: connection, a standby that takes over, deadlock, resources,
# operator intervention, system.
_PASSING = ("08", "25006", "40", "53", "57P", "58")

# Of these, those that do not pass: a database that was dropped.
_LASTING = ("57P04",)

# Failed connections that do not pass by waiting.
_REFUSED = ("password authentication failed", "does not exist", "no pg_hba.conf entry")

# libpq's settings that are secret, as they may stand in the query of a URL.
SECRET_SETTINGS = ("password", "sslpassword", "passfile")


class StorageFullError(ForetuneError):
    """The disk of an SQLite database is full."""


class StorageAwayError(ForetuneError):
    """A database was away for longer than the timeout."""


def do_nothing() -> None:
    """Do nothing; a function of its own, because a storage must be picklable."""


class RetryPolicy:
    """Calls a database, and again while it is away.

    Args:
        url: of the database.
        timeout: seconds to wait for it; 0 passes every error on at once.

    Example:
        >>> retry = RetryPolicy(make_url("postgresql+psycopg://me@db/studies"), 600)
        >>> retry(lambda: storage.get_trial(7))
    """

    def __init__(self, url: URL, timeout: float) -> None:
        self._url = url
        self.timeout = timeout
        self.check_stop: Callable[[], None] = do_nothing
        """Called while waiting; raises to stop that."""
        self.reconnected: Callable[[], None] = do_nothing
        """Called before a call is made again."""

    def __call__(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, after as many attempts as the database needs.

        Raises:
            StorageAwayError: the database was away for ``timeout`` seconds.
            StorageFullError: an SQLite database has no room to grow.
        """
        began, attempts, announced = time.monotonic(), count(), False

        def attempt() -> T:
            try:
                if next(attempts):
                    self.reconnected()
                return call()
            except STORAGE_ERRORS as error:
                self._require_room(error)
                raise

        def announce(state: RetryCallState) -> None:
            nonlocal announced
            error = state.outcome and state.outcome.exception()
            if error and not announced and time.monotonic() - began > _ANNOUNCE_AFTER:
                announced = True
                self._say(
                    f"cannot be reached ({first_line(error)}); trying again for "
                    f"{self.timeout:g} s; press Ctrl-C to stop"
                )

        retrying = Retrying(
            retry=retry_if_exception(is_outage),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            stop=stop_after_delay(self.timeout),
            sleep=self._sleep,
            before_sleep=announce,
            reraise=True,
        )
        try:
            answer = retrying(attempt)
        except STORAGE_ERRORS as error:
            if not (self.timeout and is_outage(error)):
                raise
            raise StorageAwayError(
                f"storage {redacted(self._url)} could not be reached for {self.timeout:g} s "
                f"({first_line(error)}); nothing that was stored is lost: run the same command "
                "again to continue"
            ) from None
        if announced:
            self._say(f"is back after {time.monotonic() - began:.0f} s")
        return answer

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.check_stop()
            time.sleep(min(left, 0.2))

    def _say(self, what: str) -> None:
        print(f"foretune: the database {redacted(self._url)} {what}", file=sys.stderr, flush=True)

    def _require_room(self, error: Exception) -> None:
        if self._url.get_backend_name() != "sqlite" or not self._url.database:
            return
        file = Path(self._url.database).absolute()
        try:
            free = shutil.disk_usage(file.parent).free
        except OSError:
            return
        is_operational = OperationalError in (type(error), type(error.__cause__))
        if "is full" in first_line(error) or (free < _FULL and is_operational):
            raise storage_full(file, free) from None


def storage_full(file: Path, free: int) -> StorageFullError:
    """Return the error of a database file that cannot grow."""
    return StorageFullError(
        f"storage {file} must have room to grow, but its disk has {free} bytes free; nothing that "
        "was stored is lost: free some space and run the same command again"
    )


def redacted(url: URL) -> str:
    """Return a database URL without its secrets, those in its query included."""
    hidden = {name: "***" for name in url.query if name.lower() in SECRET_SETTINGS}
    return url.update_query_dict(hidden).render_as_string(hide_password=True)


def is_outage(error: BaseException) -> bool:
    """Whether ``error`` says that a database is away for now, and not that a call was wrong."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    # Optuna asks once more in the session whose connection was lost.
    if isinstance(cause, PendingRollbackError):
        return True
    if not isinstance(cause, DBAPIError):
        return False
    if cause.connection_invalidated:
        return True
    state = getattr(cause.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING) and state not in _LASTING
    message = str(cause.orig)
    if not isinstance(cause, InterfaceError | OperationalError):
        return False
    if type(cause.orig).__module__.startswith("sqlite3"):
        return "locked" in message or "busy" in message
    return not any(words in message for words in _REFUSED)


def first_line(error: BaseException) -> str:
    """Return what a database said, without the statement it said it about."""
    error = error.__cause__ or error
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__
