"""A lock that the processes at work on a study take turns with, and that no killed one can keep.

Who ends lets go of it: on PostgreSQL it belongs to a transaction, beside SQLite to an open
file. Only the few writes that hand out a trial are made under it.
"""

import errno
import shutil
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from foretune.datasets.errors import ConfigError
from foretune.search.patience import Patience, storage_full
from foretune.search.storage import behind_cache, is_on_disk, patience_of

# A holder that was cut off from the database loses the lock after so many milliseconds; one that
# waits for it asks again after so many.
_CUT_OFF, _WAIT = 15_000, 2_000

# After so many seconds of waiting for a file's lock it is spoken of.
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
            patience = patience_of(database)
            heed = patience.heed if isinstance(patience, Patience) else lambda: None
            with _file_lock(Path(str(database.engine.url.database)), heed):
                yield lambda: True


@contextmanager
def _file_lock(database: Path, heed: Callable[[], None]) -> Iterator[None]:
    # Followed, because a link to the database is the same database.
    place = database.resolve()
    lock = FileLock(f"{place}.lock", poll_interval=0.01)
    waited = 0
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            heed()
            waited += 1
            if waited == _WORTH_A_WORD:
                print(f"foretune: another process holds {place}.lock; waiting", file=sys.stderr)
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
    connection = patience_of(database)(lambda: _connect_and_lock(database.engine, study_id))

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


def _connect_and_lock(engine: Engine, study_id: int) -> Connection:
    connection = engine.connect()
    try:
        connection.execute(text(f"SET LOCAL lock_timeout = {_WAIT}"))
        connection.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {_CUT_OFF}"))
        key = zlib.crc32(f"foretune study {study_id}".encode())
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
    except BaseException:
        connection.close()
        raise
    return connection
