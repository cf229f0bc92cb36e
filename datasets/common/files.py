"""Files that are written whole or not at all, and folders to write them into."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from foretune.datasets.common.errors import ConfigError


def require_file_place(path: str | os.PathLike[str]) -> Path:
    """Refuse a path that no file can be written to, before the work whose result it is for.

    Args:
        path: the file, or a link to it.

    Returns:
        Where the file would lie: ``path``, or where a link leads.

    Raises:
        ConfigError: there is a folder or a device, or no folder around it; names the path.

    Example:
        >>> require_file_place("notes.txt")
        PosixPath('notes.txt')
    """
    path = Path(path)
    try:
        place = path.resolve() if path.is_symlink() else path
        if place.is_symlink():  # from Python 3.13 on, pathlib leaves such a link as it is
            raise RuntimeError
        if place.exists() and not place.is_file():
            raise ConfigError(f"{path} cannot be written: it exists and is not a regular file")
        if not place.parent.is_dir():
            raise ConfigError(f"{path} cannot be written: {place.parent} is not a folder")
        if not os.access(place.parent, os.W_OK):
            raise ConfigError(f"{path} cannot be written: {place.parent} is read-only")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None
    except RuntimeError:  # pathlib's for a link that leads back to itself
        raise ConfigError(f"{path} cannot be written: it is a link to itself") from None
    return place


def write_atomically(
    path: str | os.PathLike[str], content: str | bytes | Callable[[Path], object]
) -> None:
    """Write a temporary file beside ``path``, then rename it into place.

    Args:
        path: the file; what was there stays until the new one is complete.
        content: its text or bytes, or what writes it to the path of the temporary file.

    Raises:
        ConfigError: the file cannot be written; names it.

    Example:
        >>> write_atomically("notes.txt", "done")
    """
    path = require_file_place(path)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            temporary = Path(folder) / path.name
            if callable(content):
                content(temporary)
            else:
                data = content.encode() if isinstance(content, str) else content
                temporary.write_bytes(data)
            temporary.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}") from None


def require_folder_place(path: str | os.PathLike[str]) -> Path:
    """Refuse a folder that could not be made and written to, without making it.

    Raises:
        ConfigError: a part of the path is not a folder, or is read-only.
    """
    folder = Path(path)
    try:
        # A link that leads nowhere cannot become a folder either.
        ways = (folder, *folder.absolute().parents)
        existing = next(way for way in ways if way.exists() or way.is_symlink())
    except OSError as error:
        raise ConfigError(f"{path} cannot be a folder: {error.strerror or error}") from None
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ConfigError(f"{path} must be a writable folder, but {existing} is not")
    return folder


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder to write to, and those above it, where they are missing.

    Raises:
        ConfigError: it cannot be made.
    """
    folder = require_folder_place(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be made: {error.strerror or error}") from None
    return folder
