"""Artifacts: the small files of trials and studies, kept in the study's own database.

Whoever has the storage's URL has them: workers and dashboard need no folder that they share.
Optuna's own ``upload_artifact`` announces a file before it is written, and a folder can be left
with half of it; here one transaction writes one whole file, which is announced afterwards.
"""

import hashlib
import io
import json
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import count
from mimetypes import guess_type
from typing import Any, BinaryIO
from weakref import WeakKeyDictionary

from optuna.artifacts import ArtifactMeta
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial
from sqlalchemy import (
    Column,
    Engine,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
)
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.schema import CreateTable

from foretune.datasets.errors import ConfigError, ForetuneError
from foretune.search.attributes import set_trial_attrs
from foretune.search.figure_recipes import drawn
from foretune.search.patience import Patiently, at_once
from foretune.search.storage import behind_cache, patience_of

# Under this name and an artifact's id, Optuna and its dashboard find what they know of it.
_ATTRIBUTE = "artifacts:"

_ARTIFACTS = Table(
    "foretune_artifacts",
    MetaData(),
    Column("artifact_id", String(64), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", LargeBinary, nullable=False),
)

# The ids of foretune's artifacts are UUIDs of version 5 below this one.
_NAMESPACE = uuid.UUID("8c1f4f0e-6f0b-4c55-9d3e-2b7a51c0e6d4")

_LONGEST_NAME = 200  # bytes; most file systems allow 255

# How often a row is written again that another process writes at the same moment.
_TRIES = 20

Owner = Trial | FrozenTrial | Study


class DatabaseArtifactStore:
    """An Optuna artifact store in a table of its own, ``foretune_artifacts``, beside Optuna's.

    The table is made when it is missing, by any number of processes at once. An artifact is read
    and written as a whole, in one transaction.

    Args:
        engine: of the database, SQLite or PostgreSQL.
        patience: calls it, see :class:`Patience`; by default straight.

    Example:
        >>> store = DatabaseArtifactStore(create_engine("sqlite:///foretune.db"))
        >>> store.write("c0ffee", io.BytesIO(b"epoch,loss"))
        >>> store.open_reader("c0ffee").read()
        b'epoch,loss'
    """

    def __init__(self, engine: Engine, patience: Patiently = at_once) -> None:
        self._engine = engine
        self._patience = patience
        try:
            patience(lambda: _make_table(engine))
        except (IntegrityError, ProgrammingError):
            # On PostgreSQL, IF NOT EXISTS fails for all but one of those that make it at once, with
            # the one error or the other; by then it is there.
            patience(lambda: _make_table(engine))

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the content of an artifact, to be read as a file; of a recipe, its figure.

        Raises:
            ArtifactNotFound: there is none of this id.
            ForetuneError: the content is not what was once written.
        """
        return io.BytesIO(drawn(self.read(artifact_id)))

    def read(self, artifact_id: str) -> bytes:
        """Return the content of an artifact as it was written.

        Raises:
            ArtifactNotFound: there is none of this id.
            ForetuneError: the content is not what was once written.
        """
        row = _ARTIFACTS.c
        wanted = select(row.content, row.size, row.sha256).where(row.artifact_id == artifact_id)
        found = self._patience(lambda: self._read(wanted))
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
        return content

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write an artifact, in the place of the one of this id, if any."""
        self.write_all({artifact_id: content_body.read()})

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Write artifacts by their ids, all of them in one transaction."""
        for _ in range(_TRIES - 1):
            try:
                return self._patience(lambda: self._replace(contents))
            except IntegrityError:
                continue  # PostgreSQL let another process insert one after our DELETE
        return self._patience(lambda: self._replace(contents))

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact.

        Raises:
            ArtifactNotFound: there is none of this id.
        """
        if not self._patience(lambda: self._remove(artifact_id)):
            raise ArtifactNotFound(f"no artifact {artifact_id}")

    def remove_all(self, artifact_ids: Sequence[str]) -> None:
        """Remove those of some artifacts that are there, in one transaction."""
        chosen = delete(_ARTIFACTS).where(_ARTIFACTS.c.artifact_id.in_(list(artifact_ids)))

        def remove() -> None:
            with self._engine.begin() as connection:
                connection.execute(chosen)

        self._patience(remove)

    def _remove(self, artifact_id: str) -> int:
        with self._engine.begin() as connection:
            return connection.execute(_delete(artifact_id)).rowcount

    def _read(self, wanted: Select[Any]) -> tuple[object, int, str] | None:
        with self._engine.begin() as connection:
            row = connection.execute(wanted).one_or_none()
        return None if row is None else (row.content, row.size, row.sha256)

    def _replace(self, contents: Mapping[str, bytes]) -> None:
        rows = [
            {
                "artifact_id": artifact_id,
                "size": len(content),
                "sha256": _sha256(content),
                "content": content,
            }
            for artifact_id, content in contents.items()
        ]
        with self._engine.begin() as connection:
            connection.execute(_delete(*contents))
            if rows:
                connection.execute(insert(_ARTIFACTS), rows)


class MemoryArtifactStore:
    """An Optuna artifact store in the memory of this process, for storages without a database.

    Example:
        >>> store = MemoryArtifactStore()
        >>> store.write("c0ffee", io.BytesIO(b"epoch,loss"))
        >>> store.open_reader("c0ffee").read()
        b'epoch,loss'
    """

    def __init__(self) -> None:
        self._contents: dict[str, bytes] = {}

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the content of an artifact, to be read as a file; of a recipe, its figure.

        Raises:
            ArtifactNotFound: there is none of this id.
        """
        return io.BytesIO(drawn(self.read(artifact_id)))

    def read(self, artifact_id: str) -> bytes:
        """Return the content of an artifact as it was written.

        Raises:
            ArtifactNotFound: there is none of this id.
        """
        try:
            return self._contents[artifact_id]
        except KeyError:
            raise ArtifactNotFound(f"no artifact {artifact_id}") from None

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write an artifact, in the place of the one of this id, if any."""
        self.write_all({artifact_id: content_body.read()})

    def write_all(self, contents: Mapping[str, bytes]) -> None:
        """Write artifacts by their ids."""
        self._contents |= contents

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact.

        Raises:
            ArtifactNotFound: there is none of this id.
        """
        if self._contents.pop(artifact_id, None) is None:
            raise ArtifactNotFound(f"no artifact {artifact_id}")


ArtifactStore = DatabaseArtifactStore | MemoryArtifactStore

_stores: WeakKeyDictionary[BaseStorage, ArtifactStore] = WeakKeyDictionary()
_stores_lock = threading.Lock()


def artifact_store(storage: BaseStorage) -> ArtifactStore:
    """Return the store of a storage's artifacts, for Optuna's functions and its dashboard.

    A storage with a database keeps them there. Any other has one store in the memory of this
    process for as long as the storage object lives.

    Example:
        >>> storage = open_storage("sqlite:///foretune.db")
        >>> optuna_dashboard.run_server(storage, artifact_store=artifact_store(storage))
    """
    behind = behind_cache(storage)
    with _stores_lock:  # two threads would make two memories, and the first be lost
        if behind not in _stores:
            _stores[behind] = _new_store(behind)
        return _stores[behind]


def save_artifact(
    storage: BaseStorage,
    owner: Owner,
    filename: str,
    content: bytes | str,
    *,
    mimetype: str | None = None,
) -> str:
    """Keep a file with a trial that has not finished, or with a study.

    A file that was saved under this name before is replaced in one transaction, and the artifact
    keeps its id and so its address in the dashboard. The content is written before the dashboard
    is told of it: a process killed in between leaves at most bytes that nobody refers to.

    Args:
        storage: that of ``owner``.
        owner: the trial or study.
        filename: a plain name of at most 200 bytes, without a folder.
        content: text is written as UTF-8.
        mimetype: how a browser takes it; by default guessed from the name.

    Returns:
        The artifact's id, the same for every file of this name and owner, until the user deletes
        it in the dashboard.

    Raises:
        ConfigError: not such a name.
        UpdateFinishedTrialError: the trial has finished, and Optuna lets nothing be added to it.

    Example:
        >>> save_artifact(storage, trial, "curves.csv", "epoch,loss")
        '954dd6d9-e77a-5173-85fe-26f12f89e9a4'
    """
    (artifact_id,) = save_artifacts(
        storage, owner, {filename: content}, mimetypes={filename: mimetype} if mimetype else {}
    )
    return artifact_id


def save_artifacts(
    storage: BaseStorage,
    owner: Owner,
    files: Mapping[str, bytes | str],
    *,
    mimetypes: Mapping[str, str] | None = None,
) -> list[str]:
    """Keep several files at once, as :func:`save_artifact` keeps one, in one transaction.

    Args:
        storage: that of ``owner``.
        owner: the trial or study.
        files: contents by filename.
        mimetypes: by filename, where they are not to be guessed.

    Returns:
        The artifacts' ids.
    """
    for filename in files:
        _require_plain(filename)
    _require_unfinished(storage, owner)
    kept = _filenames(storage, owner)
    ids = {filename: _artifact_id(owner, filename, kept) for filename in files}
    artifact_store(storage).write_all(
        {
            ids[filename]: content.encode() if isinstance(content, str) else content
            for filename, content in files.items()
        }
    )
    announced = {}
    for filename, artifact_id in ids.items():
        guessed, encoding = guess_type(filename)
        meta = ArtifactMeta(
            artifact_id=artifact_id,
            filename=filename,
            mimetype=(mimetypes or {}).get(filename) or guessed or "application/octet-stream",
            encoding=encoding,
        )
        announced[_ATTRIBUTE + artifact_id] = json.dumps(asdict(meta))
    _set_attributes(storage, owner, announced)
    return list(ids.values())


def load_artifact(
    storage: BaseStorage, owner: Owner, filename: str, *, as_written: bool = False
) -> bytes:
    """Return the content of the file that was last saved with a trial or study under a name.

    One that :func:`save_artifact` saved goes before those of the same name that came by other
    ways: uploaded in the dashboard, or copied with a study.

    Args:
        storage: that of ``owner``.
        owner: the trial or study.
        filename: its name.
        as_written: leave the recipe of a figure as it is instead of drawing it.

    Raises:
        ConfigError: the owner has none of that name, or its content is not in this storage.
        ForetuneError: the content is damaged.

    Example:
        >>> load_artifact(storage, trial, "curves.csv")
        b'epoch,loss'
    """
    kept = _filenames(storage, owner)
    ids = [artifact for artifact in kept if kept[artifact] == filename]
    if not ids:
        known = ", ".join(artifact_names(storage, owner)) or "none"
        raise ConfigError(
            f"artifact must be one of {_shown(owner)}, but got {filename!r}; there: {known}"
        )
    ours = _artifact_id(owner, filename, kept)
    try:
        content = artifact_store(storage).read(ours if ours in ids else ids[-1])
        return content if as_written else drawn(content)
    except ArtifactNotFound:
        raise ConfigError(
            f"artifact {filename!r} of {_shown(owner)} must be in this storage, but only its name "
            "is: it was kept in another place, or removed"
        ) from None
    except ForetuneError as error:
        raise ForetuneError(f"{filename!r} of {_shown(owner)}: {error}") from None


def artifact_names(storage: BaseStorage, owner: Owner) -> list[str]:
    """Return the names of a trial's or study's files, sorted.

    Only plain names, which can be written into a folder as they are: :func:`save_artifact` makes
    no others, but the dashboard's upload may.

    Example:
        >>> artifact_names(storage, trial)
        ['config.toml', 'curves.csv']
    """
    names = set(_filenames(storage, owner).values())
    return sorted(name for name in names if name is not None and _is_plain(name))


def _make_table(engine: Engine) -> None:
    # Looked for first: who may only read a PostgreSQL database may not even ask it for a table.
    if not inspect(engine).has_table(_ARTIFACTS.name):
        with engine.begin() as connection:
            connection.execute(CreateTable(_ARTIFACTS, if_not_exists=True))


def _new_store(storage: BaseStorage) -> ArtifactStore:
    if isinstance(storage, RDBStorage):
        return DatabaseArtifactStore(storage.engine, patience_of(storage))
    return MemoryArtifactStore()


def _delete(*artifact_ids: str) -> Any:
    return delete(_ARTIFACTS).where(_ARTIFACTS.c.artifact_id.in_(artifact_ids))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _artifact_id(owner: Owner, filename: str, kept: dict[str, str | None]) -> str:
    """Return the one id of this owner's file of this name; ``kept`` is what the owner has.

    One row and one attribute, written again and again. Optuna cannot delete an attribute, and the
    way its dashboard does, with null in its place, leaves one more behind for every file replaced
    and breaks ``optuna.artifacts.get_all_artifact_meta``. What the dashboard has deleted it does
    not show again, so that the next file gets the next id.

    The owner is named by Optuna's number in the database: the copy of a study does not write over
    the original's files.
    """
    kind, number = _number(owner)
    ids = (str(uuid.uuid5(_NAMESPACE, f"{kind}/{number}/{n}/{filename}")) for n in count())
    return next(artifact for artifact in ids if kept.get(artifact, "") is not None)


def _number(owner: Owner) -> tuple[str, int]:
    """Return what Optuna calls the owner; private, but `optuna.artifacts` has no other way."""
    if isinstance(owner, Study):
        return "study", owner._study_id
    return "trial", owner._trial_id


def _shown(owner: Owner) -> str:
    if isinstance(owner, Study):
        return f"study {owner.study_name!r}"
    return f"trial {owner.number}"


def _filenames(storage: BaseStorage, owner: Owner) -> dict[str, str | None]:
    """Return the names of the owner's artifacts by their ids, None for one that was deleted.

    As ``optuna.artifacts.get_all_artifact_meta``, which fails where the dashboard has deleted one.
    """
    kind, number = _number(owner)
    read = storage.get_study_system_attrs if kind == "study" else storage.get_trial_system_attrs
    attributes = read(number).items()
    return {
        name.removeprefix(_ATTRIBUTE): _filename(value)
        for name, value in attributes
        if name.startswith(_ATTRIBUTE)
    }


def _filename(announced: object) -> str | None:
    """Return the name in what announces an artifact; None where another program wrote no name."""
    try:
        meta = json.loads(announced) if isinstance(announced, str) else None
    except ValueError:
        return None
    name = meta.get("filename") if isinstance(meta, dict) else None
    return name if isinstance(name, str) else None


def _set_attributes(storage: BaseStorage, owner: Owner, attributes: Mapping[str, str]) -> None:
    kind, number = _number(owner)
    if kind == "trial":
        set_trial_attrs(storage, number, system=attributes)
        return
    for name, value in attributes.items():
        storage.set_study_system_attr(number, name, value)


def _require_unfinished(storage: BaseStorage, owner: Owner) -> None:
    """Refuse a finished trial before its file is replaced, not when it is announced."""
    kind, number = _number(owner)
    if kind == "trial":
        storage.check_trial_is_updatable(number, storage.get_trial(number).state)


def _require_plain(filename: str) -> None:
    if not _is_plain(filename):
        raise ConfigError(
            f"filename must be a plain name of at most {_LONGEST_NAME} bytes, without / \\ or :, "
            f"but got {filename!r}"
        )


def _is_plain(name: str) -> bool:
    # A colon is a separator on Windows, where C:x lies on drive C.
    if name in ("", ".", "..") or not name.isprintable() or set(name) & set("/\\:"):
        return False
    return len(name.encode()) <= _LONGEST_NAME
