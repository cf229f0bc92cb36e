"""Folders that are written whole or not at all, and every byte of which is checked when read.

The file ``SHA256SUMS`` in such a folder lists all others; ``sha256sum --check SHA256SUMS`` reads it
too. It is also how a folder is known to hold nothing but what was written here, so that it may be
replaced by another.
"""

import ctypes
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from foretune.datasets.common.errors import ConfigError

SUMS = "SHA256SUMS"
_MAX_SUMS = 2**20

_LINE = re.compile(r"([0-9a-f]{64})  (\w[\w./-]*)", re.ASCII)

# renameat2(2): paths are relative to the working folder; swap the two.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def write_checked_folder(
    path: str | os.PathLike[str], write: Callable[[Path], object], *, required: Sequence[str]
) -> None:
    """Write a temporary folder beside ``path``, then put it into its place.

    Until the new folder is complete, the old one stays as it is. On Linux the two are swapped in
    one step; elsewhere two renames follow one another, and a process that is killed between them
    leaves the old folder, whole, beside its place.

    Args:
        path: the folder.
        write: writes everything into a new folder, whose path it is given.
        required: files without which a folder is not one of this kind.

    Raises:
        ConfigError: it cannot be written, or something else is in its place; names it.

    Example:
        >>> write_checked_folder("notes", lambda new: (new / "a").write_text("a"), required=["a"])
    """
    place = require_replaceable(path, required)
    try:
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=".writing-") as beside:
            new = Path(beside) / place.name
            new.mkdir()
            write(new)
            lines = [f"{_digest(new / name)}  {name}\n" for name in _files(new)]
            (new / SUMS).write_bytes("".join(lines).encode("ascii"))
            require_replaceable(place, required)  # again: it took a while
            _put(new, place)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def require_replaceable(path: str | os.PathLike[str], required: Sequence[str]) -> Path:
    """Refuse a place where a folder cannot be put, or only by deleting what is not of its kind.

    Returns:
        The absolute path, symbolic links followed.

    Raises:
        ConfigError: names what is in the way.
    """
    place = Path(path).resolve()
    try:
        if not place.parent.is_dir() or not os.access(place.parent, os.W_OK):
            raise ConfigError(f"{path} cannot be written: {place.parent} is no folder to write to")
        if place.exists() and not place.is_dir():
            raise ConfigError(f"{path} cannot be written: it is there and not a folder")
        foreign = _first_foreign(place, required) if place.exists() else None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None
    if foreign is not None:
        raise ConfigError(
            f"{path} must be a new folder, or one whose {SUMS} lists {', '.join(required)} and all "
            f"else in it, but it holds {foreign}"
        )
    return place


def _first_foreign(folder: Path, required: Sequence[str]) -> str | None:
    """Return a file of ``folder`` that was not written here; None where all of them were."""
    try:
        listed = _listed(folder, required)
    except ConfigError:
        # Not looked through: it may be a whole disk.
        return min((entry.name for entry in folder.iterdir()), default=None)
    return next((name for name in _files(folder) if name not in listed), None)


def check_folder(path: str | os.PathLike[str], required: Sequence[str]) -> Path:
    """Check every byte of a folder that :func:`write_checked_folder` wrote.

    Files at the top of it that it does not list are left alone.

    Raises:
        ConfigError: a file is missing, damaged or one too many; names it.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ConfigError(f"{path} must be a folder with {', '.join((*required, SUMS))}")
    try:
        listed = _listed(folder, required)
        for name in _files(folder):
            if "/" in name and name not in listed:
                raise ConfigError(f"{folder / name} must be listed in {SUMS}, but is not")
        for name, digest in listed.items():
            found = _digest(folder / name)
            if found != digest:
                raise ConfigError(
                    f"{folder / name} is damaged: its SHA-256 must be {digest[:12]}..., as in "
                    f"{SUMS}, but is {found[:12]}..."
                )
    except OSError as error:
        named = error.filename or path
        raise ConfigError(f"{named} cannot be read: {error.strerror or error}") from None
    return folder


def _listed(folder: Path, required: Sequence[str]) -> dict[str, str]:
    """Return the digest of every file that ``SHA256SUMS`` lists."""
    file, listed = folder / SUMS, {}
    try:
        _require_regular(file)
        with file.open("rb") as opened:
            text = opened.read(_MAX_SUMS).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{file} must list the files of the folder: {reason}") from None
    if not text.endswith("\n"):
        raise ConfigError(f"{file} must end with a whole line")
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None or ".." in match[2].split("/"):
            raise ConfigError(f"{file} must have a digest and a file a line, but not line {number}")
        listed[match[2]] = match[1]
    for name in required:
        if name not in listed:
            raise ConfigError(f"{file} must list {name}, but does not")
    return listed


def _files(folder: Path) -> list[str]:
    """Return every file in ``folder`` but its sums, relative to it, in order."""
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted({path.relative_to(folder).as_posix() for path in paths} - {SUMS})


def _digest(file: Path) -> str:
    _require_regular(file)
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _require_regular(file: Path) -> None:
    """Refuse a pipe or a device, of which nothing or everything comes; what is missing is told."""
    if file.exists() and not file.is_file():
        raise ConfigError(f"{file} must be a regular file")


def _put(new: Path, place: Path) -> None:
    """Rename ``new`` to ``place``; what was there ends up beside ``new``, to be removed with it."""
    # A rename takes the place of nothing, or of an empty folder.
    if not place.exists() or not any(place.iterdir()):
        new.rename(place)
    elif not _swap(new, place):
        old = new.with_name(f"old-{new.name}")
        place.rename(old)
        try:
            new.rename(place)
        except OSError:
            old.rename(place)
            raise


def _swap(first: Path, second: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    paths = os.fsencode(first), os.fsencode(second)
    swapped: int = rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE)
    return swapped == 0
