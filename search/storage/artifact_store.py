"""Where artifacts are kept: in a table of the study's own database, or of one in memory.

The storage's URL is enough to have them: driver, report and dashboard need no shared folder.
Optuna's own file store can be left with half a file; here one transaction writes a whole one.
"""

import hashlib
import io
import threading
import weakref
from collections.abc import Collection, Mapping
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
    select,
)
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from foretune.datasets.common.errors import ForetuneError
from foretune.search.storage.connect import retry_of
from foretune.search.storage.optuna_internals import behind_cache, reading
from foretune.search.storage.retry import RetryPolicy

TABLE = Table(
    "foretune_artifacts",
    MetaData(),
    Column("artifact_id", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
)


class DatabaseArtifactStore:
    """An Optuna artifact store in a table of its own, ``foretune_artifacts``, beside Optuna's.

    The table is made when it is missing, by any number of processes at once. An artifact is read
    and written as a whole, in one transaction.

    Args:
        engine: of the database, SQLite or PostgreSQL.
        retry: calls it, and again while it is away; None for once.

    Example:
        >>> store = DatabaseArtifactStore(create_engine("sqlite:///foretune.db"))
        >>> store.write("c0ffee", io.BytesIO(b"epoch,loss"))
        >>> store.open_reader("c0ffee").read()
        b'epoch,loss'
    """

    def __init__(self, engine: Engine, retry: RetryPolicy | None = None) -> None:
        self._engine = engine
        self._retry = retry = retry or RetryPolicy(engine.url, 0.0)
        # It looks first: a user who may only read a PostgreSQL database may not make a table.
        make = partial(TABLE.create, engine, checkfirst=True)
        try:
            retry(make)
        except (IntegrityError, OperationalError, ProgrammingError):
            retry(make)  # another process has made it meanwhile

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the content of an artifact, to be read as a file.

        Raises:
            ArtifactNotFound: there is none of this id.
            ForetuneError: the content is not what was once written.
        """
        row = TABLE.c
        wanted = select(row.content, row.size, row.sha256).where(row.artifact_id == artifact_id)

        def read() -> Any:
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
                connection.execute(_delete(contents))
                if rows:
                    connection.execute(insert(TABLE), rows)

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
            with self._engine.begin() as connection:
                return connection.execute(_delete(artifact_ids)).rowcount

        return self._retry(remove)


_stores: WeakKeyDictionary[BaseStorage, DatabaseArtifactStore] = WeakKeyDictionary()
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
    behind = behind_cache(storage)
    with _stores_lock:  # two threads would make two memories, and the first be lost
        if isinstance(behind, RDBStorage) and behind not in _stores:
            _stores[behind] = DatabaseArtifactStore(behind.engine, retry_of(behind))
        elif behind not in _stores:
            engine = create_engine(
                "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
            )
            _stores[behind] = DatabaseArtifactStore(engine)
            weakref.finalize(_stores[behind], engine.dispose)
        return _stores[behind]


def _delete(artifact_ids: Collection[str]) -> Delete:
    return delete(TABLE).where(TABLE.c.artifact_id.in_(artifact_ids))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
