"""Where artifacts and data are kept: in tables of the study's own database, or of one in memory.

The storage's URL is enough to have them: driver, report and dashboard need no shared folder.
Optuna's own file store can be left with half a file; here one transaction writes a whole one.
"""

import hashlib
import io
import threading
import weakref
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO
from weakref import WeakKeyDictionary

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import (
    Column,
    Delete,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    StaticPool,
    String,
    Table,
    create_engine,
    delete,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from foretune.datasets.common.errors import ForetuneError
from foretune.search.storage.connect import retry_of
from foretune.search.storage.optuna_internals import behind_cache, reading
from foretune.search.storage.retry import RetryPolicy


def _table(name: str) -> Table:
    return Table(
        name,
        MetaData(),
        Column("artifact_id", String(64), primary_key=True),
        Column("size", Integer, nullable=False),
        Column("sha256", String(64), nullable=False),
        Column("content", LargeBinary, nullable=False),
    )


# The dashboard serves what is in the first one, to everybody who can open it. The second has the
# data of studies, with their test parts.
_ARTIFACTS, _DATA = _table("foretune_artifacts"), _table("foretune_data")


class DatabaseArtifactStore:
    """An Optuna artifact store in a table of its own, beside Optuna's tables.

    The table is made when something is written and it is missing, by any number of processes at
    once. An artifact is read and written as a whole, in one transaction.

    Args:
        engine: of the database, SQLite or PostgreSQL.
        retry: calls it, and again while it is away; None for once.
        table: the table.

    Example:
        >>> store = DatabaseArtifactStore(create_engine("sqlite:///foretune.db"))
        >>> store.write("c0ffee", io.BytesIO(b"epoch,loss"))
        >>> store.open_reader("c0ffee").read()
        b'epoch,loss'
    """

    def __init__(
        self, engine: Engine, retry: RetryPolicy | None = None, table: Table = _ARTIFACTS
    ) -> None:
        self._engine, self._table = engine, table
        self._retry = retry or RetryPolicy(engine.url, 0.0)
        self._is_there = False

    def _has_table(self) -> bool:
        if not self._is_there:
            with reading():
                self._is_there = inspect(self._engine).has_table(self._table.name)
        return self._is_there

    def _make_table(self) -> None:
        """Make the table if it is missing; another process may make it at the same moment."""
        if self._retry(self._has_table):
            return
        make = partial(self._table.create, self._engine, checkfirst=True)
        try:
            self._retry(make)
        except (IntegrityError, OperationalError, ProgrammingError):
            self._retry(make)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the content of an artifact, to be read as a file.

        Raises:
            ArtifactNotFound: there is none of this id.
            ForetuneError: the content is not what was once written.
        """
        row = self._table.c
        wanted = select(row.content, row.size, row.sha256).where(row.artifact_id == artifact_id)

        def read() -> Any:
            if not self._has_table():
                return None
            with reading(), self._engine.begin() as connection:
                return connection.execute(wanted).one_or_none()

        found = self._retry(read)
        if found is None:
            raise ArtifactNotFound(f"no artifact {artifact_id}")
        content, size, sha256 = found
        if not isinstance(content, bytes):  # SQLite keeps what it is given, in any column
            raise ForetuneError(f"artifact {artifact_id} must be bytes, but the database has text")
        if (len(content), _sha256(content)) != (size, sha256):
            raise ForetuneError(
                f"artifact {artifact_id} must be {size} bytes with SHA-256 {sha256}, but the "
                f"database has {len(content)} bytes with {_sha256(content)}"
            )
        return io.BytesIO(content)

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write an artifact, in the place of the one of this id, if any."""
        self.write_all({artifact_id: content_body.read()})

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Write artifacts by their ids, all of them in one transaction."""
        rows = [
            {
                "artifact_id": artifact_id,
                "size": len(content),
                "sha256": _sha256(content),
                "content": content,
            }
            for artifact_id, content in contents.items()
        ]

        def replace() -> None:
            with self._engine.begin() as connection:
                connection.execute(self._delete(contents))
                if rows:
                    connection.execute(insert(self._table), rows)

        self._make_table()
        self._retry(replace)

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact.

        Raises:
            ArtifactNotFound: there is none of this id.
        """
        if not self.remove_all([artifact_id]):
            raise ArtifactNotFound(f"no artifact {artifact_id}")

    def remove_all(self, artifact_ids: Collection[str]) -> int:
        """Remove those of some artifacts that are there, in one transaction; returns how many."""

        def remove() -> int:
            if not self._has_table():
                return 0
            with self._engine.begin() as connection:
                return connection.execute(self._delete(artifact_ids)).rowcount

        return self._retry(remove)

    def _delete(self, artifact_ids: Collection[str]) -> Delete:
        return delete(self._table).where(self._table.c.artifact_id.in_(artifact_ids))


@dataclass(frozen=True)
class _Stores:
    artifacts: DatabaseArtifactStore
    data: DatabaseArtifactStore


_stores: WeakKeyDictionary[BaseStorage, _Stores] = WeakKeyDictionary()
_stores_lock = threading.Lock()


def artifact_store(storage: BaseStorage) -> DatabaseArtifactStore:
    """Return the store of a storage's artifacts, for Optuna's functions and its dashboard.

    A storage with a database keeps them there. Any other has one store in the memory of this
    process for as long as the storage object lives. A trial's figures are stored as recipes, and a
    dashboard needs ``figures.deferred.DrawnArtifacts`` around the store to show them.

    Example:
        >>> storage = open_storage("sqlite:///foretune.db")
        >>> store = DrawnArtifacts(artifact_store(storage))
        >>> optuna_dashboard.run_server(storage, artifact_store=store)
    """
    return _stores_of(storage).artifacts


def data_store(storage: BaseStorage) -> DatabaseArtifactStore:
    """Return where a storage keeps the data of its studies, which no dashboard may serve."""
    return _stores_of(storage).data


def _stores_of(storage: BaseStorage) -> _Stores:
    behind = behind_cache(storage)
    with _stores_lock:  # two threads would make two memories, and the first be lost
        if behind not in _stores:
            if isinstance(behind, RDBStorage):
                engine, retry = behind.engine, retry_of(behind)
            else:
                engine, retry = _memory(), None
            stores = [DatabaseArtifactStore(engine, retry, table) for table in (_ARTIFACTS, _DATA)]
            _stores[behind] = _Stores(*stores)
            if retry is None:
                weakref.finalize(_stores[behind], engine.dispose)
        return _stores[behind]


def _memory() -> Engine:
    return create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
