"""A forecaster's folder: ``forecaster.toml``, ``history.npy`` and ``weights``.

The weights are an orbax checkpoint. Nothing here is pickled: loading a file runs none of it.
"""

import hashlib
import os
from pathlib import Path

import numpy as np

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.common.folders import (
    check_folder,
    require_replaceable,
    write_checked_folder,
)
from foretune.datasets.common.toml_files import read_text
from foretune.datasets.history import History
from foretune.models.forecaster.arrays import (
    Arrays,
    named_arrays,
    read_arrays,
    tree_of,
    write_arrays,
)
from foretune.models.forecaster.document import ForecasterDocument
from foretune.models.networks.params import Params, initial_params
from foretune.models.networks.stacked import Architecture

DOCUMENT, HISTORY, WEIGHTS = "forecaster.toml", "history.npy", "weights"

_REQUIRED = (DOCUMENT, HISTORY)
# A window of a scaling is 60 bytes: room for those of any price file.
_MAX_DOCUMENT = 2**23
_DAY = np.dtype([("date", "<M8[D]"), ("mid", "<f8")])


def require_model_place(folder: str | os.PathLike[str]) -> Path:
    """Refuse a place where no model can be saved: before hours of training, not after.

    Raises:
        ConfigError: there is something that is not a saved forecaster, or no folder around it.

    Example:
        >>> require_model_place("model")
        PosixPath('/home/ada/model')
    """
    return require_replaceable(folder, _REQUIRED)


def save_model(
    folder: str | os.PathLike[str], document: ForecasterDocument, params: Params, history: History
) -> None:
    """Write a model folder, whole or not at all; an older model in its place is replaced.

    Raises:
        ConfigError: it cannot be written, or what is in its place is no model; names it.
    """

    def write(new: Path) -> None:
        (new / DOCUMENT).write_text(document.to_toml(), encoding="utf-8")
        days = np.empty(len(history), _DAY)
        days["date"], days["mid"] = history.dates, history.values
        np.save(new / HISTORY, days, allow_pickle=False)
        write_arrays(new / WEIGHTS, named_arrays(params))

    write_checked_folder(folder, write, required=_REQUIRED)


def load_model(folder: str | os.PathLike[str]) -> tuple[ForecasterDocument, Params, History]:
    """Read a model folder, after every byte of it was checked.

    Raises:
        ConfigError: a file is missing, damaged or not what :func:`save_model` writes; names it.
    """
    checked = check_folder(folder, _REQUIRED)
    document = _read_document(checked / DOCUMENT)
    history = _read_history(checked / HISTORY, document)
    most = len(history) - document.scaling.fitted().lag
    if document.config.unroll_length > most:
        raise ConfigError(
            f"{checked / DOCUMENT}: config.unroll_length must be at most {most}, what the "
            f"{len(history)} days of {HISTORY} give, but got {document.config.unroll_length}"
        )
    return document, _read_weights(checked / WEIGHTS, document), history


def weights_digest(arrays: Arrays) -> str:
    """Return the SHA-256 of names, shapes and bytes: the same on every machine."""
    content = hashlib.sha256(b"foretune weights 1\n")
    for name, array in sorted(arrays.items()):
        content.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        content.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return content.hexdigest()


def _read_document(file: Path) -> ForecasterDocument:
    text = read_text(file, "a forecaster", _MAX_DOCUMENT)
    try:
        return ForecasterDocument.from_toml(text)
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _read_history(file: Path, document: ForecasterDocument) -> History:
    try:
        days = np.load(file, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(f"{file} must be an array that np.save wrote: {error}") from None
    if not isinstance(days, np.ndarray) or days.dtype != _DAY or days.ndim != 1:
        raise ConfigError(f"{file} must hold a date and a mid price a day")
    said = document.history
    try:
        history = History.checked(
            name=said.name, digest=said.digest, dates=days["date"], values=days["mid"]
        )
    except DataError as error:
        raise ConfigError(f"{file}: {error}") from None
    if (said.days, said.last_date) != (len(history), history.dates[-1].item()):
        raise ConfigError(
            f"{file} must have {said.days} days to {said.last_date}, as in {DOCUMENT}, but has "
            f"{len(history)} to {history.dates[-1]}"
        )
    return history


def _read_weights(folder: Path, document: ForecasterDocument) -> Params:
    arrays = read_arrays(folder)
    structure = initial_params(Architecture.of(document.config), 0)
    wanted, found = _kinds(named_arrays(structure)), _kinds(arrays)
    differing = sorted({name for name, _ in wanted ^ found})
    if differing:
        raise ConfigError(
            f"{folder} must hold the weights that config asks for, but differs in {differing[0]}"
        )
    digest = weights_digest(arrays)
    if digest != document.weights.digest:
        raise ConfigError(
            f"{folder} must hold weights of SHA-256 {document.weights.digest[:12]}..., as in "
            f"{DOCUMENT}, but has {digest[:12]}..."
        )
    return tree_of(structure, arrays)


def _kinds(arrays: Arrays) -> set[tuple[str, object]]:
    return {(name, (array.shape, array.dtype)) for name, array in arrays.items()}
