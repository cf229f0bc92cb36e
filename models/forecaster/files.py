"""A forecaster's folder: ``forecaster.toml`` and the file of arrays that it names by its digest.

A save writes a new file of arrays, then the document that names it, each whole or not at all, and
then removes the arrays of the one before: a process that is killed leaves the old forecaster or the
new one. The arrays are NumPy's ``.npz``, so that a file is written in one step; orbax writes many.
Nothing here is pickled: loading a file runs none of it.
"""

import contextlib
import hashlib
import io
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.files import write_atomically
from foretune.models.forecaster.arrays import decode_arrays, encode_arrays, first_line, read_orbax
from foretune.models.forecaster.document import (
    DOCUMENT,
    ForecasterDocument,
    PanelDocument,
    read_document,
)
from foretune.models.forecaster.stored import Stored, days_of_format_1

Document = ForecasterDocument | PanelDocument

# What a save that was killed leaves beside the document.
_LEFT = re.compile(r"arrays-[0-9a-f]{12}\.npz|\.writing-\w+")
_FINDER = ".DS_Store"  # the file that macOS leaves in every folder that it shows
_SAVE = "save"  # random bytes, and the digest of the document
# Format 1 kept the days in a file of their own, and the digests of all files.
_WEIGHTS_1, _HISTORY_1, _SUMS_1 = "weights", "history.npy", "SHA256SUMS"


def require_model_place(folder: str | os.PathLike[str]) -> Path:
    """Refuse a place where no model can be saved: before hours of training, not after.

    Returns:
        The absolute path, symbolic links followed.

    Raises:
        ConfigError: there is something that is not a saved forecaster, or no folder around it.

    Example:
        >>> require_model_place("model")
        PosixPath('/home/ada/model')
    """
    names: list[str] = []
    try:
        # Not Path.resolve: what it does with a link to itself depends on the version of Python.
        place = Path(os.path.realpath(folder))
        with contextlib.suppress(FileNotFoundError):
            names = sorted(os.listdir(place))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{folder} cannot be written: {reason}") from None
    around = place if place.exists() else place.parent
    if not around.is_dir() or not os.access(around, os.W_OK):
        raise ConfigError(f"{folder} cannot be written: {around} is not a writable folder")
    foreign = [name for name in names if name != _FINDER and not _LEFT.fullmatch(name)]
    if foreign and DOCUMENT not in names:
        raise ConfigError(
            f"{folder} must be a new folder, or one with a {DOCUMENT}, but it holds {foreign[0]}"
        )
    return place


def save_model(folder: str | os.PathLike[str], document: Document, stored: Stored) -> None:
    """Write a model folder, whole or not at all; an older model in it is replaced.

    Raises:
        ConfigError: it cannot be written, or something else is in its place; names it.
    """
    place = require_model_place(folder)
    is_new = not place.exists()
    # Random bytes, so that no save removes the file of another one that holds the same.
    save = {_SAVE: np.frombuffer(os.urandom(16) + _digest(document.to_toml()), np.uint8)}
    content = encode_arrays(stored.arrays(is_panel=isinstance(document, PanelDocument)) | save)
    document = document.replace(arrays=hashlib.sha256(content).hexdigest())
    new = place / _arrays_of(document)
    try:
        place.mkdir(exist_ok=True)
        replaced = _names_of_arrays(place)
        write_atomically(new, content)
        write_atomically(place / DOCUMENT, document.to_toml())
    except BaseException as error:
        if new.name not in _names_of_arrays(place):
            with contextlib.suppress(OSError):
                new.unlink()
        if is_new:
            with contextlib.suppress(OSError):
                place.rmdir()
        if isinstance(error, OSError):
            raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
        raise
    live = _names_of_arrays(place)
    for path in place.iterdir():
        with contextlib.suppress(OSError):
            # Saves that were killed left it; what another process is saving now is younger.
            left = _LEFT.fullmatch(path.name) and path.lstat().st_mtime < time.time() - 3600
            if path.name not in live and (left or path.name in replaced):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def load_model(folder: str | os.PathLike[str]) -> tuple[Document, Stored]:
    """Read a model folder.

    Raises:
        ConfigError: a file is missing, damaged or not what :func:`save_model` writes; names it.
    """
    folder = Path(folder)
    if not os.path.exists(folder / DOCUMENT):  # for a path that is too long, too
        raise ConfigError(f"{folder} must be a folder of a saved forecaster, with a {DOCUMENT}")
    document = read_document(folder / DOCUMENT)
    while True:
        try:
            return document, _read(folder, document)
        except ConfigError:
            # Another process may have saved since then, and removed what this document names.
            read, document = document, read_document(folder / DOCUMENT)
            if document == read:
                raise


def _read(folder: Path, document: Document) -> Stored:
    """Read the arrays that ``document`` names."""
    place, days, save = folder / _arrays_of(document), None, b""
    if document.format == 1:
        sums = _sums_1(folder / _SUMS_1)
        _content(folder / DOCUMENT, sums.get(DOCUMENT), _SUMS_1)
        arrays = read_orbax(place)
        days = folder / _HISTORY_1, _days_1(folder / _HISTORY_1, sums.get(_HISTORY_1))
    else:
        arrays = decode_arrays(place, _content(place, document.arrays, DOCUMENT))
        if _SAVE not in arrays:
            raise ConfigError(f"{place} must hold {_SAVE}, but does not")
        save = arrays.pop(_SAVE).tobytes()
    stored = Stored.of(place, document, arrays, days)
    _require_rows(folder / DOCUMENT, document, stored)
    text = (folder / DOCUMENT).read_text(encoding="utf-8-sig")
    if document.format > 1 and save[16:] != _digest(text):
        raise ConfigError(f"{folder / DOCUMENT} is damaged: it must be as it was saved")
    return stored


def _require_rows(place: Path, document: Document, stored: Stored) -> None:
    """Refuse a config that reads more rows than are known."""
    config = document.config
    is_panel = isinstance(document, PanelDocument)
    for member in stored.members:
        rows = len(member.history)
        most = rows - member.scaling.lag
        of = f" of {member.history.name}" * is_panel
        if config.rows_read > most:
            field = "warm_up" if config.warm_up else "unroll_length"
            raise ConfigError(
                f"{place}: config.{field} must be at most {most - most % config.segment_length}, "
                f"what the {rows} known rows{of} give, but got "
                f"{getattr(config, field)}"
            )


def _digest(document: str) -> bytes:
    """Return the SHA-256 of a document but for the line that names its arrays."""
    return hashlib.sha256(re.sub("(?m)^arrays = .*\n", "", document).encode()).digest()


def _arrays_of(document: Document) -> str:
    return _WEIGHTS_1 if document.arrays is None else f"arrays-{document.arrays[:12]}.npz"


def _names_of_arrays(place: Path) -> set[str]:
    """Return the names beside the document in ``place`` that go with it, all written here."""
    try:
        document = read_document(place / DOCUMENT)
    except ConfigError:
        return set()
    of_format_1 = {_HISTORY_1, _SUMS_1} if document.format == 1 else set()
    return {_arrays_of(document)} | of_format_1


def _content(file: Path, digest: str | None, source: str) -> bytes:
    """Read a file whose digest is in the file ``source``."""
    content = _regular_content(file)
    if hashlib.sha256(content).hexdigest() != digest:
        raise ConfigError(f"{file} is damaged: its SHA-256 must be the one in {source}")
    return content


def _regular_content(file: Path) -> bytes:
    """Read a regular file: reading a pipe may never end."""
    try:
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise ConfigError(f"{file} must be a regular file")
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror or error}") from None


def _sums_1(file: Path) -> dict[str, str]:
    """Read the digests by file, which format 1 kept as lines of ``sha256sum``."""
    lines = _regular_content(file).decode(errors="replace").splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def _days_1(file: Path, digest: str | None) -> NDArray[np.void]:
    """Read the days as format 1 kept them [N]."""
    content = _content(file, digest, _SUMS_1)
    try:
        days = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception as error:  # whatever NumPy raises for a damaged file
        raise ConfigError(
            f"{file} must be an array that np.save wrote: {first_line(error)}"
        ) from None
    return days_of_format_1(file, days)
