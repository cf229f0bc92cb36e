"""Arrays in a folder, by orbax: nothing is pickled, and loading runs nothing."""

import contextlib
import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.models.networks.params import Arrays

FINDER = ".DS_Store"  # the file that macOS leaves in every folder that it shows
_LOCK = threading.Lock()


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name into a new folder.

    Raises:
        OSError: they cannot be written.
    """
    # Where there is no room, this fails; orbax would print the tracebacks of its threads.
    room = folder.with_name(".room")
    room.write_bytes(bytes(sum(array.nbytes for array in arrays.values()) + 2**18))
    room.unlink()
    try:
        with _orbax() as checkpointer:
            checkpointer.save(folder.absolute(), dict(arrays))
    except Exception as error:  # whatever orbax and its storage raise, which they do not document
        code = re.search(r"os_error_code='(\d+)'", str(error))
        raise OSError(os.strerror(int(code[1])) if code else _reason(error)) from None
    # Says where the temporary folder was, and nothing else; stores without rename need it.
    (folder / "commit_success.txt").unlink(missing_ok=True)


def read_arrays(folder: Path) -> Arrays:
    """Return the arrays that :func:`write_arrays` wrote.

    Raises:
        ConfigError: they cannot be restored; names the folder.
    """
    try:
        with _orbax() as checkpointer:
            restored = checkpointer.restore(folder.absolute())
    except Exception as error:  # see above
        raise ConfigError(f"{folder} cannot be restored: {_reason(error)}") from None
    return {name: np.asarray(array) for name, array in restored.items()}


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Give orbax to one thread at a time, because threads disturb one another in it.

    It logs every error that it raises; here the caller tells the user.
    """
    import orbax.checkpoint as ocp  # half a second that only saving and loading wait for

    log = logging.getLogger("absl")
    with _LOCK:
        before, log.disabled = log.disabled, True
        try:
            yield ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
        finally:
            log.disabled = before


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 of the names and the bytes of all files in a folder.

    Raises:
        ConfigError: there is something else than files and folders; names it.
    """
    content = hashlib.sha256(b"foretune arrays 1\n")
    for path in (folder, *sorted(folder.rglob("*"))):
        # A link leads anywhere, and reading a pipe may never end.
        if path.is_symlink() or (path.exists() and not path.is_dir() and not path.is_file()):
            raise ConfigError(f"{path} must be a regular file or folder")
        if path.is_file():
            data = path.read_bytes()
            content.update(f"{path.relative_to(folder).as_posix()} {len(data)}\n".encode() + data)
    return content.hexdigest()


def weights_digest(arrays: Arrays) -> str:
    """Return the SHA-256 of names, shapes and bytes: the same on every machine."""
    content = hashlib.sha256(b"foretune weights 1\n")
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        content.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return content.hexdigest()
