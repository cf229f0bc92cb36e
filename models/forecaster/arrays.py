"""Arrays by name as a file: nothing is pickled, and loading runs nothing."""

import hashlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.models.networks.params import Arrays


def encode_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return arrays by name as an ``.npz`` file, the same bytes for the same arrays."""
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **dict(arrays))
    return content.getvalue()


def decode_arrays(file: Path, content: bytes) -> Arrays:
    """Return the arrays that :func:`encode_arrays` wrote.

    Raises:
        ConfigError: it is no such content; names the file.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays.items())
    except Exception as error:  # whatever zip files and NumPy raise, of which there is much
        raise ConfigError(f"{file} must be an .npz file of NumPy: {first_line(error)}") from None


def read_orbax(folder: Path) -> Arrays:
    """Return the arrays of a folder that orbax wrote, as the first version did.

    Raises:
        ConfigError: they cannot be restored; names the folder.
    """
    import orbax.checkpoint as ocp  # half a second that only old files wait for

    log = logging.getLogger("absl")  # logs every error that is raised
    silence = logging.Filter("nothing")
    log.addFilter(silence)
    try:
        checkpointer = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
        restored = checkpointer.restore(folder.absolute())
    except Exception as error:  # whatever orbax and its storage raise, which they do not document
        raise ConfigError(f"{folder} cannot be restored: {first_line(error)}") from None
    finally:
        log.removeFilter(silence)
    return {name: np.asarray(array) for name, array in restored.items()}


def first_line(error: Exception) -> str:
    """Return the first line of what ``error`` says, or its kind where it says nothing."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]


def weights_digest(arrays: Arrays) -> str:
    """Return the SHA-256 of names, shapes and bytes: the same on every machine."""
    content = hashlib.sha256(b"foretune weights 1\n")
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        content.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return content.hexdigest()
