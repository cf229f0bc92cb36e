"""Artifacts: the small files of trials and studies.

Optuna's own ``upload_artifact`` announces a file before it is written; here it is announced
afterwards.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from itertools import count
from mimetypes import guess_type

from optuna.artifacts import ArtifactMeta
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.optuna_internals import set_trial_attrs, study_id, trial_id

# Under this name and an artifact's id, Optuna and its dashboard find what they know of it.
_ATTRIBUTE = "artifacts:"

# The ids of foretune's artifacts are UUIDs of version 5 below this one.
_NAMESPACE = uuid.UUID("8c1f4f0e-6f0b-4c55-9d3e-2b7a51c0e6d4")

_LONGEST_NAME = 200  # bytes; most file systems allow 255

Owner = Trial | FrozenTrial | Study


def save_artifacts(
    storage: BaseStorage, owner: Owner, files: Mapping[str, bytes | str]
) -> list[str]:
    """Keep files with a trial that has not finished, or with a study.

    Files that were saved under these names before are replaced, all in one transaction, and keep
    their ids and so their addresses in the dashboard. The content is written before the dashboard
    is told of it: a process killed in between leaves at most bytes that nothing refers to.

    Args:
        storage: that of ``owner``.
        owner: the trial or study.
        files: contents by filename, a plain name of at most 200 bytes without a folder. Text is
            written as UTF-8.

    Returns:
        The artifacts' ids, each the same for every file of its name and owner, until the user
        deletes it in the dashboard.

    Raises:
        ConfigError: not such a name.
        UpdateFinishedTrialError: the trial has finished, and Optuna lets nothing be added to it.

    Example:
        >>> save_artifacts(storage, trial, {"curves.csv": "epoch,loss"})
        ['954dd6d9-e77a-5173-85fe-26f12f89e9a4']
    """
    for filename in files:
        if not _is_plain(filename):
            raise ConfigError(
                f"filename must be a plain name of at most {_LONGEST_NAME} bytes, without / \\ or "
                f":, but got {filename!r}"
            )
    kind, number = _number(owner)
    if kind == "trial":  # refused before a file is replaced, not when it is announced
        storage.check_trial_is_updatable(number, storage.get_trial(number).state)
    kept = _filenames(storage, owner)
    ids = {filename: _artifact_id(owner, filename, kept) for filename in files}
    artifact_store(storage).write_all(
        {
            ids[filename]: content.encode() if isinstance(content, str) else content
            for filename, content in files.items()
        }
    )
    announced = {}
    for filename, content in files.items():
        guessed, encoding = guess_type(filename)
        unknown = "text/plain" if isinstance(content, str) else "application/octet-stream"
        meta = ArtifactMeta(ids[filename], filename, guessed or unknown, encoding)
        announced[_ATTRIBUTE + meta.artifact_id] = json.dumps(asdict(meta))
    if kind == "trial":
        set_trial_attrs(storage, number, announced, system=True)
    else:
        for name, value in announced.items():
            storage.set_study_system_attr(number, name, value)
    return list(ids.values())


def load_artifact(storage: BaseStorage, owner: Owner, filename: str) -> bytes:
    """Return the content of the file that was last saved with a trial or study under a name.

    One that :func:`save_artifacts` saved goes before those of the same name that came by other
    ways: uploaded in the dashboard, or copied with a study. Of a trial's figure it is the recipe,
    which ``figures.deferred.drawn`` makes a PNG file of.

    Args:
        storage: that of ``owner``.
        owner: the trial or study.
        filename: its name.

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
            f"artifact must be one of {_shown(owner)}, but got {filename!r}; available: {known}"
        )
    ours = _artifact_id(owner, filename, kept)
    try:
        return artifact_store(storage).open_reader(ours if ours in ids else ids[-1]).read()
    except ArtifactNotFound:
        raise ConfigError(
            f"artifact {filename!r} of {_shown(owner)} must be in this storage, but only its name "
            "is: it was kept in another place, or removed"
        ) from None
    except ForetuneError as error:
        raise ForetuneError(f"{filename!r} of {_shown(owner)}: {error}") from None


def artifact_names(storage: BaseStorage, owner: Owner) -> list[str]:
    """Return the names of a trial's or study's files, sorted.

    Only plain names, which can be written into a folder as they are: :func:`save_artifacts` makes
    no others, but the dashboard's upload may.

    Example:
        >>> artifact_names(storage, trial)
        ['config.toml', 'curves.csv']
    """
    names = set(_filenames(storage, owner).values())
    return sorted(name for name in names if name is not None and _is_plain(name))


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
        return "study", study_id(owner)
    return "trial", trial_id(owner)


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
    return {
        name.removeprefix(_ATTRIBUTE): _filename(value)
        for name, value in read(number).items()
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


def _is_plain(name: str) -> bool:
    # A colon is a separator on Windows, where C:x lies on drive C.
    if name in ("", ".", "..") or not name.isprintable() or set(name) & set("/\\:"):
        return False
    return len(name.encode()) <= _LONGEST_NAME
