"""Files that are written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from foretune.datasets.errors import ConfigError


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
    path = Path(path)
    try:
        path = path.resolve() if path.is_symlink() else path
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} cannot be written: it is there and not a regular file")
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
