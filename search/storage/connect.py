"""Optuna storages made safe: which are offered, and SQLite's locking put right."""

import re
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage, get_storage
from sqlalchemy import URL, Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)

from foretune.datasets.errors import ConfigError
from foretune.search.patience import (
    SECRET_SETTINGS,
    Patience,
    Patiently,
    at_once,
    first_line,
    shown,
)
from foretune.search.patient_storage import PatientStorage

DEFAULT_STORAGE = "sqlite:///foretune.db"

Heed = Callable[[], None] | None

# How often a half-made database is looked at again, 0.3 s apart.
_TRIES = 20

# libpq's settings: without them a worker whose network is cut waits for a quarter of an hour.
_POSTGRESQL = {
    "connect_timeout": 5,
    "tcp_user_timeout": 8000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


def open_storage(
    storage: str | BaseStorage, *, heed: Heed = None, wait: bool = False
) -> BaseStorage:
    """Open the database of studies at a URL; a storage object is returned as it is.

    Args:
        storage: ``sqlite:///FILE`` or ``postgresql+psycopg://USER@HOST/DATABASE``.
        heed: if given, a database that goes away later on is waited for, as workers do; called
            while waiting, and raises to stop that.
        wait: whether to wait for it already now, as who has seen it before does.

    Raises:
        ConfigError: not such a URL, or the database cannot be opened. A password in the URL is
            never part of the message.

    Example:
        >>> storage = open_storage("sqlite:///foretune.db")
    """
    if isinstance(storage, BaseStorage):
        return get_storage(storage)
    try:
        url = make_url(storage)
    except (ArgumentError, ValueError):
        raise ConfigError(
            f"storage must be a database URL such as {DEFAULT_STORAGE}, but got one that cannot "
            "be read as a URL"
        ) from None
    if "@" in (url.host or ""):
        raise ConfigError("storage must have every @ of a user or password written as %40")
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigError(f"storage must be sqlite:// or postgresql://, but got {backend}://")
    try:
        patience = Patience(storage, heed) if wait and heed is not None else at_once
        opened = patience(
            lambda: _sqlite(storage, heed) if backend == "sqlite" else _postgresql(url, heed)
        )
        # With Optuna's cache of finished trials, made once: every Study would make its own.
        return get_storage(opened)
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(f"storage {shown(url)} cannot be opened: {first_line(error)}") from None


def has_password(storage: str) -> bool:
    """Whether there is a password in the database URL ``storage``."""
    try:
        url = make_url(storage)
        return url.password is not None or any(n.lower() in SECRET_SETTINGS for n in url.query)
    except (ArgumentError, ValueError):
        return False


def is_on_disk(storage: str | URL) -> bool:
    """Whether other processes, and other threads, can open the database at this URL."""
    url = make_url(storage)
    if url.get_backend_name() != "sqlite":
        return True
    return url.database not in (None, "", ":memory:") and "mode=memory" not in str(url)


def behind_cache(storage: BaseStorage) -> BaseStorage:
    """Return the storage behind Optuna's cache of finished trials, for which it has no way."""
    return storage._backend if isinstance(storage, _CachedStorage) else storage


def patience_of(storage: BaseStorage) -> Patiently:
    """Return what calls a storage's database: with its patience, or straight if it has none."""
    behind = behind_cache(storage)
    return behind.patience if isinstance(behind, PatientStorage) else at_once


@contextmanager
def heeding(storage: BaseStorage, heed: Callable[[], None]) -> Iterator[None]:
    """Let ``heed`` end a wait for the database while the context lasts, by raising."""
    patience = patience_of(storage)
    if not isinstance(patience, Patience):
        yield
        return
    before, patience.heed = patience.heed, heed
    try:
        yield
    finally:
        patience.heed = before


def stop_waiting(storage: BaseStorage) -> None:
    """Let a storage wait for its database no longer."""
    patience = patience_of(storage)
    if isinstance(patience, Patience):
        patience.waits = False


def _postgresql(url: URL, heed: Heed) -> RDBStorage:
    whole = url.render_as_string(hide_password=False)
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 3}
    if url.get_driver_name() in ("psycopg", "psycopg2"):
        options["connect_args"] = {k: v for k, v in _POSTGRESQL.items() if k not in url.query}
    return _create_patiently(whole, options, heed)


def _sqlite(url: str, heed: Heed) -> RDBStorage:
    """Open SQLite so that a transaction takes the write lock when it begins.

    Optuna relies on ``SELECT ... FOR UPDATE``, which does nothing on SQLite: two workers can
    take one waiting trial. ``BEGIN IMMEDIATE`` makes them take turns.
    """
    # Who waits anyway says so sooner.
    seconds = 60 if heed is None else 20
    options = {"connect_args": {"timeout": seconds, "isolation_level": None}}
    storage = _create_patiently(url, options, heed)

    @event.listens_for(storage.engine, "begin")
    def _begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return storage


def _create_patiently(url: str, options: dict[str, Any], heed: Heed) -> RDBStorage:
    """Open a database that another process may be making at this moment.

    Optuna makes its tables one by one and without a lock, so of several first launches some find
    half of them; a moment later they find all.
    """

    def create() -> RDBStorage:
        if heed is None:
            storage = RDBStorage(url, engine_kwargs=options)
        else:
            storage = PatientStorage(url, options, Patience(url, heed))
        # Or its connections would be closed by their own end, with a warning each.
        weakref.finalize(storage, storage.engine.dispose)
        return storage

    for _ in range(_TRIES - 1):
        try:
            return create()
        except (OperationalError, ProgrammingError, IntegrityError) as error:
            if not re.search("already exists|UNIQUE|unique|locked|no such table", str(error)):
                raise
            time.sleep(0.3)
    return create()


def load_study(name: str, storage: str | BaseStorage = DEFAULT_STORAGE) -> optuna.Study:
    """Load a study that exists.

    Raises:
        ConfigError: there is none of that name; the message lists those there are.
    """
    require_database(storage)
    opened = open_storage(storage)
    try:
        return optuna.load_study(study_name=name, storage=opened)
    except KeyError:
        known = ", ".join(sorted(optuna.get_all_study_names(storage=opened))) or "none yet"
        raise ConfigError(
            f"study must be one that is in the storage, but got {name!r}; there: {known}"
        ) from None


def require_database(storage: str | BaseStorage) -> None:
    """Refuse an SQLite file that is not there, instead of making an empty one.

    Raises:
        ConfigError: it is not there.
    """
    if isinstance(storage, str) and storage.startswith("sqlite:///"):
        file = make_url(storage).database
        if file and not Path(file).exists():
            there = shown(make_url(storage))
            raise ConfigError(f"storage must be a database that exists, but got {there}")


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage that ``study`` lives in, for which Optuna has no public name."""
    return study._storage
