"""Optuna storages made safe: which are offered, and SQLite's locking put right."""

import re
import time
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, RDBStorage, get_storage
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
)

from foretune.datasets.errors import ConfigError

DEFAULT_STORAGE = "sqlite:///foretune.db"

# How often a half-made database is looked at again, 0.3 s apart.
_TRIES = 20


def open_storage(storage: str | BaseStorage) -> BaseStorage:
    """Open the database of studies at a URL; a storage object is returned as it is.

    Args:
        storage: ``sqlite:///FILE`` or ``postgresql+psycopg://USER@HOST/DATABASE``.

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
    backend = url.get_backend_name()
    if backend not in ("sqlite", "postgresql"):
        raise ConfigError(f"storage must be sqlite:// or postgresql://, but got {backend}://")
    try:
        opened = _sqlite(storage) if backend == "sqlite" else RDBStorage(storage)
        # With Optuna's cache of finished trials, made once: every Study would make its own.
        return get_storage(opened)
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, TypeError) as error:
        shown = url.render_as_string(hide_password=True)
        raise ConfigError(f"storage {shown} cannot be opened: {first_line(error)}") from None


def is_shareable(storage: str) -> bool:
    """Whether other processes can open the database at this URL."""
    return make_url(storage).database not in (None, "", ":memory:")


def first_line(error: BaseException) -> str:
    """Return what a database said, without the statement it said it about."""
    error = error.__cause__ or error
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def _sqlite(url: str) -> RDBStorage:
    """Open SQLite so that a transaction takes the write lock when it begins.

    Optuna relies on ``SELECT ... FOR UPDATE``, which does nothing on SQLite: two workers can
    take one waiting trial. ``BEGIN IMMEDIATE`` makes them take turns.
    """
    storage = _create_patiently(url)

    @event.listens_for(storage.engine, "begin")
    def _begin_immediate(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return storage


def _create_patiently(url: str) -> RDBStorage:
    """Open a database that another process may be making at this moment.

    Optuna makes its tables one by one and without a lock, so of several first launches some find
    half of them; a moment later they find all.
    """
    options = {"connect_args": {"timeout": 60, "isolation_level": None}}
    for _ in range(_TRIES - 1):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except (OperationalError, IntegrityError) as error:
            if not re.search("already exists|UNIQUE|locked|no such table", str(error)):
                raise
            time.sleep(0.3)
    return RDBStorage(url, engine_kwargs=options)


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
            raise ConfigError(f"storage must be a database that exists, but got {storage}")


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage that ``study`` lives in, for which Optuna has no public name."""
    return study._storage
