"""Arrays in a folder, by orbax: nothing is pickled, and loading runs nothing."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.models.networks.params import Arrays


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name into a new folder."""
    import orbax.checkpoint as ocp  # half a second that only saving and loading wait for

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), dict(arrays))
    # Says where the temporary folder was, and nothing else; stores without rename need it.
    (folder / "commit_success.txt").unlink(missing_ok=True)


def read_arrays(folder: Path) -> Arrays:
    """Return the arrays that :func:`write_arrays` wrote.

    Raises:
        ConfigError: they cannot be restored; names the folder.
    """
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            restored = checkpointer.restore(folder.absolute())
    except Exception as error:  # whatever orbax and its storage raise, which they do not document
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(f"{folder} cannot be restored: {reason[0][:200]}") from None
    return {name: np.asarray(array) for name, array in restored.items()}


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
