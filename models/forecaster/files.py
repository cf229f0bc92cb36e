"""A forecaster's folder: ``forecaster.toml`` and the arrays that it names by their digest.

A save writes new arrays, then renames the document that names them into its place, then removes the
arrays of the one before: a process that is killed leaves the old forecaster or the new one, whole.
Nothing here is pickled: loading a file runs none of it.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.common.files import write_atomically
from foretune.datasets.history import History
from foretune.models.forecaster.arrays import (
    folder_digest,
    read_arrays,
    weights_digest,
    write_arrays,
)
from foretune.models.forecaster.document import ForecasterDocument
from foretune.models.networks.params import Params, initial_params, named_arrays, tree_of
from foretune.models.networks.stacked import Architecture

DOCUMENT = "forecaster.toml"

_DATES, _VALUES = "history.dates", "history.values"
# Format 1 kept the days in a file of their own, and the sums of all files.
_WEIGHTS_1, _HISTORY_1, _SUMS_1 = "weights", "history.npy", "SHA256SUMS"
_DAY_1 = np.dtype([("date", "<M8[D]"), ("mid", "<f8")])


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
    place = Path(folder).resolve()
    try:
        names = sorted(os.listdir(place)) if place.exists() else []
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
    around = place if place.exists() else place.parent
    if not around.is_dir() or not os.access(around, os.W_OK):
        raise ConfigError(f"{folder} cannot be written: {around} is not a folder to write to")
    # A first save that was killed leaves these.
    foreign = [name for name in names if not name.startswith(("arrays-", ".writing-"))]
    if foreign and DOCUMENT not in names:
        raise ConfigError(
            f"{folder} must be a new folder, or one with a {DOCUMENT}, but it holds {foreign[0]}"
        )
    return place


def save_model(
    folder: str | os.PathLike[str], document: ForecasterDocument, params: Params, history: History
) -> None:
    """Write a model folder, whole or not at all; an older model in it is replaced.

    Raises:
        ConfigError: it cannot be written, or something else is in its place; names it.
    """
    place = require_model_place(folder)
    is_new, replaced, new = not place.exists(), _names_of_arrays(place), None
    try:
        place.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place, prefix=".writing-") as scratch:
            days = {_DATES: history.dates.astype(np.int64), _VALUES: history.values}
            write_arrays(Path(scratch) / "arrays", named_arrays(params) | days)
            document = document.replace(arrays=folder_digest(Path(scratch) / "arrays"))
            new = (Path(scratch) / "arrays").rename(place / _arrays_folder(document))
        write_atomically(place / DOCUMENT, document.to_toml())
    except BaseException as error:
        if new is not None and new.name not in _names_of_arrays(place):
            shutil.rmtree(new, ignore_errors=True)
        if is_new:
            with contextlib.suppress(OSError):
                place.rmdir()
        if isinstance(error, OSError):
            raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
        raise
    for name in replaced:
        shutil.rmtree(place / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            (place / name).unlink()


def load_model(folder: str | os.PathLike[str]) -> tuple[ForecasterDocument, Params, History]:
    """Read a model folder.

    Raises:
        ConfigError: a file is missing, damaged or not what :func:`save_model` writes; names it.
    """
    folder = Path(folder)
    if not (folder / DOCUMENT).exists():
        raise ConfigError(f"{folder} must be a folder of a saved forecaster, with a {DOCUMENT}")
    document = ForecasterDocument.load(folder / DOCUMENT)
    place = folder / _arrays_folder(document)
    if document.format == 2 and folder_digest(place) != document.arrays:
        raise ConfigError(f"{place} is damaged: it must have the SHA-256 that {DOCUMENT} says")
    arrays = read_arrays(place)
    if document.format == 1:
        days = _days_1(folder / _HISTORY_1)
        history = _checked_history(folder / _HISTORY_1, days["date"], days["mid"], document)
    else:
        dates = arrays.pop(_DATES).astype("<M8[D]")
        history = _checked_history(place, dates, arrays.pop(_VALUES), document)
    most = len(history) - document.scaling.fitted().lag
    if document.config.unroll_length > most:
        raise ConfigError(
            f"{folder / DOCUMENT}: config.unroll_length must be at most {most}, what the "
            f"{len(history)} known days give, but got {document.config.unroll_length}"
        )
    structure = initial_params(Architecture.of(document.config), 0)
    wanted, found = (
        {(name, array.shape, str(array.dtype)) for name, array in each.items()}
        for each in (named_arrays(structure), arrays)
    )
    if wanted != found:
        raise ConfigError(
            f"{place} must hold the weights that config asks for, but differs in "
            f"{min(wanted ^ found)[0]}"
        )
    if weights_digest(arrays) != document.weights.digest:
        raise ConfigError(
            f"{place} must hold weights of SHA-256 {document.weights.digest[:12]}..., as in "
            f"{DOCUMENT}, but has {weights_digest(arrays)[:12]}..."
        )
    return document, tree_of(structure, arrays), history


def _arrays_folder(document: ForecasterDocument) -> str:
    return _WEIGHTS_1 if document.arrays is None else f"arrays-{document.arrays[:12]}"


def _names_of_arrays(place: Path) -> set[str]:
    """Return the names beside the document in ``place`` that go with it, all written here."""
    try:
        document = ForecasterDocument.load(place / DOCUMENT)
    except ConfigError:
        return set()
    of_format_1 = {_HISTORY_1, _SUMS_1} if document.format == 1 else set()
    return {_arrays_folder(document)} | of_format_1


def _days_1(file: Path) -> NDArray[np.void]:
    """Read the days as format 1 kept them [N]."""
    try:
        if file.exists() and not file.is_file():
            raise ConfigError(f"{file} must be a regular file")
        days = np.load(file, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(f"{file} must be an array that np.save wrote: {error}") from None
    if not isinstance(days, np.ndarray) or days.dtype != _DAY_1 or days.ndim != 1:
        raise ConfigError(f"{file} must hold a date and a mid price a day")
    return days


def _checked_history(
    place: Path,
    dates: NDArray[np.datetime64],
    values: NDArray[np.float64],
    document: ForecasterDocument,
) -> History:
    said = document.history
    try:
        history = History.checked(name=said.name, digest=said.digest, dates=dates, values=values)
    except DataError as error:
        raise ConfigError(f"{place}: {error}") from None
    if (said.days, said.last_date) != (len(history), history.dates[-1].item()):
        raise ConfigError(
            f"{place} must have {said.days} days to {said.last_date}, as in {DOCUMENT}, but has "
            f"{len(history)} to {history.dates[-1]}"
        )
    return history
