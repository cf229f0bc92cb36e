"""Which databases are offered as storages, and how they are opened."""

import re
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, get_storage
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    IntegrityError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_fixed

from foretune.datasets.common.errors import ConfigError
from foretune.search.storage.optuna_internals import RetryingStorage, TrialCache, behind_cache
from foretune.search.storage.retry import SECRET_SETTINGS, RetryPolicy, first_line, redacted

DEFAULT_STORAGE = "sqlite:///foretune.db"

# libpq's settings: without them a driver whose network is cut waits for a quarter of an hour.
_POSTGRESQL = {
    "connect_timeout": 5,
    "tcp_user_timeout": 8000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}


def open_storage(storage: str | BaseStorage, *, timeout: float = 0.0) -> BaseStorage:
    """Open the database of studies at a URL; a storage object is returned as it is.

    Args:
        storage: ``sqlite:///FILE`` or ``postgresql+psycopg://USER@HOST/DATABASE``.
        timeout: seconds to wait for a database that goes away later on; 0 for not at all.

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
    if backend == "sqlite":
        # SQLAlchemy begins transactions itself, see RetryingStorage.
        options: dict[str, Any] = {"connect_args": {"timeout": 30, "isolation_level": None}}
    else:
        # A ping replaces a lost connection without a word; a driver that waits for the database
        # has to learn of it, because its lease may have gone with it.
        options = {"pool_pre_ping": not timeout, "pool_size": 3}
        if url.get_driver_name() in ("psycopg", "psycopg2"):
            options["connect_args"] = {k: v for k, v in _POSTGRESQL.items() if k not in url.query}
    # Another process may be making the database at this moment. Optuna makes its tables one by one
    # and without a lock, so of several first launches some find half of them.
    half_made = Retrying(
        retry=retry_if_exception(_is_half_made),
        stop=stop_after_attempt(20),
        wait=wait_fixed(0.3),
        reraise=True,
    )
    whole = url.render_as_string(hide_password=False)
    try:
        opened = half_made(RetryingStorage, whole, options, RetryPolicy(url, timeout))
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError, TypeError) as error:
        raise ConfigError(
            f"storage {redacted(url)} cannot be opened: {first_line(error)}"
        ) from None
    # With Optuna's cache of finished trials, made once: every Study would make its own.
    return TrialCache(opened)


def _is_half_made(error: BaseException) -> bool:
    return isinstance(error, OperationalError | ProgrammingError | IntegrityError) and bool(
        re.search("already exists|UNIQUE|unique|locked|no such table", str(error))
    )


def has_password(storage: str) -> bool:
    """Whether there is a password in the database URL ``storage``."""
    try:
        url = make_url(storage)
        return url.password is not None or any(n.lower() in SECRET_SETTINGS for n in url.query)
    except (ArgumentError, ValueError):
        return False


def is_on_disk(url: URL) -> bool:
    """Whether other processes, and other threads, can open the database at this URL."""
    if url.get_backend_name() != "sqlite":
        return True
    return url.database not in (None, "", ":memory:") and "mode=memory" not in str(url)


def retry_of(storage: BaseStorage) -> RetryPolicy:
    """Return what calls a storage's database, and again while it is away."""
    behind = behind_cache(storage)
    if isinstance(behind, RetryingStorage):
        return behind.retry
    return RetryPolicy(make_url("sqlite://"), 0.0)


def load_study(name: str, storage: str | BaseStorage = DEFAULT_STORAGE) -> optuna.Study:
    """Load a study that exists.

    Raises:
        ConfigError: there is none of that name; the message lists those there are.
    """
    require_database(storage)
    opened = open_storage(storage)
    study = find_study(name, opened)
    if study is None:
        known = ", ".join(sorted(optuna.get_all_study_names(storage=opened))) or "none yet"
        raise ConfigError(f"study must be in the storage, but got {name!r}; available: {known}")
    return study


def find_study(name: str, storage: BaseStorage) -> optuna.Study | None:
    """Load a study of an opened storage; None if there is none of that name."""
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None


def require_database(storage: str | BaseStorage) -> None:
    """Refuse an SQLite file that is not there, instead of making an empty one.

    Raises:
        ConfigError: it is not there.
    """
    if isinstance(storage, str) and storage.startswith("sqlite:///"):
        file = make_url(storage).database
        if file and not Path(file).exists():
            there = redacted(make_url(storage))
            raise ConfigError(f"storage must be a database that exists, but got {there}")
