"""The lease of a study: one driver at a time works on it, and no killed one can keep it.

Beside an SQLite file it is a lock on a file, on PostgreSQL an advisory lock of a connection of its
own: a process gives it back however it ends.
"""

import errno
import os
import platform
import shutil
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeGuard

import optuna
import psutil
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from foretune.datasets.common.errors import ConfigError
from foretune.search.storage.connect import is_on_disk, retry_of
from foretune.search.storage.optuna_internals import (
    STUDY_UUID,
    RetryingStorage,
    TrialCache,
    behind_cache,
    storage_of,
    study_id,
)
from foretune.search.storage.retry import do_nothing, storage_full

# The attribute of a study that names its driver, for people.
_DRIVER = "foretune:driver"

# The first of the two numbers of an advisory lock on PostgreSQL; the second is the study's.
_CLASS = 0x666F7265

# How long to wait for a lease: a look at it may hold it for a moment, and the server gives up a
# connection that was cut after 11 seconds, see _KEEPALIVES.
_MOMENT, _CUT_OFF = 3.0, 20.0

_KEEPALIVES = {"idle": 5, "interval": 2, "count": 3}

# File systems on a network, by the beginnings of their names: the shared memory of SQLite's
# write-ahead log does not work there.
_NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "lustre", "ceph", "glusterfs", "afs", "gpfs")

# The leases that this process holds on storages of its own.
_own: dict[tuple[int, int], object] = {}


class StudyTakenError(ConfigError):
    """Another driver has the study, or has taken it meanwhile."""


@contextmanager
def study_lease(study: optuna.Study) -> Iterator[Callable[[], None]]:
    """Hold the lease of ``study`` while the context lasts, and bind its storage to it.

    Yields:
        What to call before a group of writes: it sees that the lease is still held.

    Raises:
        StudyTakenError: another driver has it, here or later on; names it.

    Example:
        >>> with study_lease(study) as check_lease:
        ...     check_lease()
        ...     study.tell(trial, 0.9)
    """
    storage, number = storage_of(study), study_id(study)

    def taken() -> StudyTakenError:
        return StudyTakenError(
            f"study {study.study_name!r} is already being run by "
            f"{format_driver(_stored_driver(study))}; stop it or wait until it ends"
        )

    with _held(behind_cache(storage), number, taken) as check, _bound(storage, number):
        if isinstance(storage, TrialCache):
            storage.look_again()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        driver: dict[str, Any] = {"host": platform.node(), "pid": os.getpid(), "since": since}
        storage.set_study_system_attr(number, _DRIVER, driver)
        yield check


def driver_of(study: optuna.Study) -> dict[str, Any] | None:
    """Return what is known of the driver that holds the lease of ``study`` now; None if none."""
    is_held = _is_held(behind_cache(storage_of(study)), study_id(study))
    return _stored_driver(study) if is_held else None


def format_driver(driver: Mapping[str, Any]) -> str:
    """Return which process of which host a driver is, and since when it has had the study."""
    host, pid, since = (driver.get(name, "unknown") for name in ("host", "pid", "since"))
    return f"process {pid} of host {host} since {since}"


def _stored_driver(study: optuna.Study) -> dict[str, Any]:
    driver = storage_of(study).get_study_system_attrs(study_id(study)).get(_DRIVER)
    return driver if isinstance(driver, dict) else {}


@contextmanager
def _bound(storage: BaseStorage, number: int) -> Iterator[None]:
    """Let writes reach the study that has this id now, by its UUID, and none made later."""
    study_uuid = storage.get_study_system_attrs(number).get(STUDY_UUID)
    if not isinstance(study_uuid, str):  # it is a new study, or an old one's first driver
        study_uuid = str(uuid.uuid4())
        storage.set_study_system_attr(number, STUDY_UUID, study_uuid)
    database = behind_cache(storage)
    bound = database.bound if isinstance(database, RetryingStorage) else {}
    bound[number] = study_uuid
    try:
        yield
    finally:
        del bound[number]


@contextmanager
def _held(
    database: BaseStorage, number: int, taken: Callable[[], ConfigError]
) -> Iterator[Callable[[], None]]:
    if _is_postgresql(database):
        with _advisory_lock(database, number, taken) as check:
            yield check
    elif place := _sqlite_file(database):
        with _file_lock(_lock_file(place, number), taken), _write_ahead_log(database, place):
            yield do_nothing
    else:
        if not isinstance(database, InMemoryStorage | RetryingStorage):
            print(
                f"foretune: a {type(database).__name__} cannot show whether another process runs "
                "this study; make sure that none does",
                file=sys.stderr,
            )
        key, mine = (id(database), number), object()
        if _own.setdefault(key, mine) is not mine:
            raise taken()
        try:
            yield do_nothing
        finally:
            del _own[key]


def _is_held(database: BaseStorage, number: int) -> bool:
    if _is_postgresql(database):
        held = text(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted "
            "AND classid = :class AND objid = :study "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        with database.engine.connect() as connection:
            found = connection.execute(held, {"class": _CLASS, "study": number}).scalar()
            return bool(found)
    if place := _sqlite_file(database):
        if not (file := _lock_file(place, number)).exists():
            return False
        try:
            with FileLock(file, timeout=0):
                return False
        except Timeout:
            return True
        except OSError:
            return False
    return (id(database), number) in _own


def _is_postgresql(database: BaseStorage) -> TypeGuard[RDBStorage]:
    return isinstance(database, RDBStorage) and database.engine.name == "postgresql"


def _sqlite_file(database: BaseStorage) -> Path | None:
    """Return the file of an SQLite database, a link's target; None for one in memory."""
    if not isinstance(database, RDBStorage) or database.engine.name != "sqlite":
        return None
    url = database.engine.url
    return Path(str(url.database)).resolve() if is_on_disk(url) else None


def _lock_file(place: Path, number: int) -> Path:
    return place.with_name(f"{place.name}.study-{number}.lock")


@contextmanager
def _write_ahead_log(database: BaseStorage, place: Path) -> Iterator[None]:
    """Let readers not wait for the writer, nor the writer for readers, while the context lasts.

    At rest the database is a single file again, which can be copied and read from anywhere, unless
    somebody else has it open.
    """

    def switch(mode: str) -> None:
        with suppress(sqlite3.Error), closing(sqlite3.connect(place, timeout=0)) as connection:
            connection.execute(f"PRAGMA journal_mode={mode}")

    mounts = [p for p in psutil.disk_partitions(all=True) if place.is_relative_to(p.mountpoint)]
    mount = max(mounts, key=lambda part: len(part.mountpoint), default=None)
    if mount is not None and mount.fstype.lower().startswith(_NETWORK):
        yield
        return
    switch("WAL")
    try:
        yield
    finally:
        if isinstance(database, RDBStorage):
            database.engine.dispose()
        switch("DELETE")


@contextmanager
def _file_lock(file: Path, taken: Callable[[], ConfigError]) -> Iterator[None]:
    lock = FileLock(file)
    try:
        lock.acquire(timeout=_MOMENT, poll_interval=0.05)
    except Timeout:
        raise taken() from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise ConfigError(f"{file} cannot be locked: {error.strerror}") from None
        raise storage_full(file, shutil.disk_usage(file.parent).free) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _advisory_lock(
    database: RDBStorage, number: int, taken: Callable[[], ConfigError]
) -> Iterator[Callable[[], None]]:
    settings = database.engine_kwargs.get("connect_args", {})
    engine = create_engine(database.url, connect_args=settings, poolclass=NullPool)
    retry = retry_of(database)
    connection = retry(lambda: _locked(engine, number, _MOMENT))
    if connection is None:
        raise taken()

    def check() -> None:
        nonlocal connection
        with suppress(SQLAlchemyError):
            if connection is not None:
                connection.execute(text("SELECT 1"))
                return
        retry.reconnected = do_nothing  # it waits for the database itself
        try:
            # The server may take this driver's cut connection for alive a while longer.
            connection = retry(lambda: _locked(engine, number, _CUT_OFF))
        finally:
            retry.reconnected = check
        if connection is None:
            raise taken()

    retry.reconnected = check
    try:
        yield check
    finally:
        retry.reconnected = do_nothing
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()
        engine.dispose()


def _locked(engine: Engine, number: int, seconds: float) -> Connection | None:
    """Return a connection that holds the lock; None if another keeps it for ``seconds``."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    until = time.monotonic() + seconds
    try:
        for name, value in _KEEPALIVES.items():
            connection.execute(text(f"SET tcp_keepalives_{name} = {value}"))
        lock = text("SELECT pg_try_advisory_lock(:class, :study)")
        while not connection.execute(lock, {"class": _CLASS, "study": number}).scalar():
            if time.monotonic() > until:
                connection.close()
                return None
            time.sleep(0.1)
    except BaseException:
        connection.close()
        raise
    return connection
