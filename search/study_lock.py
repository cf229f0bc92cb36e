"""A lock that the processes at work on a study take turns with, and that no killed one can keep.

Who ends lets go of it: on PostgreSQL it belongs to a transaction, beside SQLite to an open
file. Only the few writes that hand out a trial are made under it.
"""

import errno
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from foretune.datasets.errors import ConfigError
from foretune.search.patience import Patience, storage_full
from foretune.search.storage.connect import behind_cache, is_on_disk, patience_of

# A holder that was cut off from the database loses the lock after so many milliseconds; one that
# waits for it asks again after so many.
_CUT_OFF, _WAIT = 15_000, 2_000

# PostgreSQL's word for a lock that was not to be had in that time.
_NOT_TO_BE_HAD = "55P03"

# After so many seconds of waiting for a lock it is spoken of.
_WORTH_A_WORD = 5

_in_this_process = threading.RLock()


@contextmanager
def study_lock(storage: BaseStorage, study_id: int) -> Iterator[Callable[[], bool]]:
    """Hold a study's lock while the context lasts.

    Args:
        storage: the study's.
        study_id: Optuna's number of the study.

    Yields:
        A function that tells whether the lock is still held: a database that went away in between
        has let go of it, and what was done since may have to be undone.

    Example:
        >>> with study_lock(storage, study_id) as held:
        ...     started = storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        ...     certain = held()
    """
    database = behind_cache(storage)
    with _in_this_process:
        if not isinstance(database, RDBStorage) or not is_on_disk(database.engine.url):
            yield lambda: True
        elif database.engine.dialect.name == "postgresql":
            with _advisory_lock(database, study_id) as held:
                yield held
        else:
            with _file_lock(Path(str(database.engine.url.database)), _heed_of(database)):
                yield lambda: True


def _heed_of(storage: BaseStorage) -> Callable[[], None]:
    """Return what ends a wait, by raising, where somebody has asked for that."""
    patience = patience_of(storage)
    return patience.heed if isinstance(patience, Patience) else lambda: None


class _Wait:
    """What to do each time the lock was not to be had for a while."""

    def __init__(self, lock: str, heed: Callable[[], None]) -> None:
        self._lock = lock
        self._heed = heed
        self._begun = time.monotonic()
        self._said = False

    def __call__(self) -> None:
        """Heed a wish to stop, and say once that another has the lock."""
        self._heed()
        if not self._said and time.monotonic() - self._begun >= _WORTH_A_WORD:
            self._said = True
            print(f"foretune: another process holds {self._lock}; waiting", file=sys.stderr)


@contextmanager
def _file_lock(database: Path, heed: Callable[[], None]) -> Iterator[None]:
    # Followed, because a link to the database is the same database.
    place = database.resolve()
    lock = FileLock(f"{place}.lock", poll_interval=0.01)
    wait = _Wait(f"{place}.lock", heed)
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            wait()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise ConfigError(
                    f"{place}.lock must be a file to lock, but cannot be: {error.strerror}"
                ) from None
            raise storage_full(place, shutil.disk_usage(place.parent).free) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _advisory_lock(database: RDBStorage, study_id: int) -> Iterator[Callable[[], bool]]:
    wait = _Wait(f"the lock of study {study_id}", _heed_of(database))
    connection = None
    while connection is None:
        connection = patience_of(database)(lambda: _connect_and_lock(database.engine, study_id))
        if connection is None:
            wait()

    def held() -> bool:
        try:
            connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    try:
        yield held
    finally:
        with suppress(SQLAlchemyError):
            connection.commit()
        with suppress(SQLAlchemyError):
            connection.close()


def _connect_and_lock(engine: Engine, study_id: int) -> Connection | None:
    """Return a connection whose transaction holds the lock; None if it is another's for long."""
    connection = engine.connect()
    try:
        connection.execute(text(f"SET LOCAL lock_timeout = {_WAIT}"))
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {_CUT_OFF}"))
        key = zlib.crc32(f"foretune study {study_id}".encode())
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    except BaseException as error:
        connection.close()
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") == _NOT_TO_BE_HAD:
            return None
        raise
    return connection
