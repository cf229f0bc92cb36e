"""Patience: what to do while a database is away, and what to say when its disk is full."""

import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)

from foretune.datasets.errors import ForetuneError

T = TypeVar("T")

# What a database raises that does not answer, or not as it should, through Optuna or beside it.
STORAGE_ERRORS = (StorageInternalError, SQLAlchemyError)

# Seconds between two attempts, at first and at most.
_FIRST, _LONGEST = 0.2, 2.0

# An outage is mentioned when it has lasted so many seconds.
_WORTH_A_WORD = 1.0

# SQLite says that it is full in several ways. With less than this free, all of them mean that.
_FULL = 256 * 1024

# SQLSTATE of PostgreSQL that pass: connection, a standby that takes over, deadlock, resources,
# operator intervention, system.
_PASSING = ("08", "25006", "40", "53", "57P", "58")

# Of these, those that waiting does not cure: a database that was dropped.
_LASTING = ("57P04",)

# Those of the class of no connection at all that do not pass by waiting.
_REFUSED = ("password authentication failed", "does not exist", "no pg_hba.conf entry")


# libpq's settings that are secret, as they may stand in the query of a URL.
SECRET_SETTINGS = ("password", "sslpassword", "passfile")


class Patiently(Protocol):
    """Calls a database, and waits for it if need be."""

    def __call__(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns."""


def at_once(call: Callable[[], T]) -> T:
    """Call a database without patience."""
    return call()


class StorageFullError(ForetuneError):
    """The disk of an SQLite database is full."""


class Patience:
    """Calls a database until it answers.

    Args:
        url: of the database.
        heed: called while waiting; raises to stop that.

    Example:
        >>> patience = Patience("postgresql+psycopg://me@db/studies")
        >>> patience(lambda: storage.get_trial(7))
    """

    def __init__(self, url: str, heed: Callable[[], None] = lambda: None) -> None:
        self._url = make_url(url)
        self.heed = heed
        self.waits = True
        """Whether it waits at all; who was interrupted does not any more."""

    def __call__(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, after as many attempts as the database needs.

        Raises:
            StorageFullError: an SQLite database finds no room.
        """
        away_since: float | None = None
        said = False
        wait = _FIRST
        while True:
            try:
                result = call()
            except STORAGE_ERRORS as error:
                self._require_room(error)
                if not (self.waits and is_outage(error)):
                    raise
                reason = first_line(error)
            else:
                if away_since is not None:
                    self._back(away_since, said)
                return result
            now = time.monotonic()
            away_since = now if away_since is None else away_since
            if not said and now - away_since >= _WORTH_A_WORD:
                said = True
                self._say(f"cannot be reached ({reason}); waiting for it, Ctrl-C stops")
            self._sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 1.5, _LONGEST)

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.heed()
            time.sleep(min(left, 0.2))

    def _back(self, away_since: float, said: bool) -> None:
        if said:
            self._say(f"is back after {time.monotonic() - away_since:.0f} s")

    def _say(self, what: str) -> None:
        print(f"foretune: the database {shown(self._url)} {what}", file=sys.stderr, flush=True)

    def _require_room(self, error: Exception) -> None:
        if self._url.get_backend_name() != "sqlite" or not self._url.database:
            return
        file = Path(self._url.database).absolute()
        try:
            free = shutil.disk_usage(file.parent).free
        except OSError:
            return
        if "is full" in first_line(error) or (free < _FULL and _is_operational(error)):
            raise storage_full(file, free) from None


def storage_full(file: Path, free: int) -> StorageFullError:
    """Return the error of a database file that cannot grow."""
    return StorageFullError(
        f"storage {file} must have room to grow, but its disk has {free} bytes free; nothing that "
        "was stored is lost: make room and run the same again"
    )


def shown(url: URL) -> str:
    """Return a database URL without the secrets in it, those of its query neither."""
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


def _is_operational(error: BaseException) -> bool:
    return isinstance(error, OperationalError) or isinstance(error.__cause__, OperationalError)


def first_line(error: BaseException) -> str:
    """Return what a database said, without the statement it said it about."""
    error = error.__cause__ or error
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__
