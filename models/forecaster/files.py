"""A forecaster's folder: ``forecaster.toml`` and the arrays that it names by their digest.

A save writes new arrays, then renames the document that names them into its place, then removes the
arrays of the one before: a process that is killed leaves the old forecaster or the new one, whole.
Nothing here is pickled: loading a file runs none of it.
"""

import contextlib
import os
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import STEPS, time_numbers
from foretune.datasets.common.errors import ConfigError, DataError, ForetuneError
from foretune.datasets.common.files import write_atomically
from foretune.datasets.history import History, moment
from foretune.datasets.series import TimeSeries
from foretune.models.forecaster.arrays import (
    FINDER,
    folder_digest,
    read_arrays,
    weights_digest,
    write_arrays,
)
from foretune.models.forecaster.document import (
    ForecasterDocument,
    HistoryDocument,
    SeriesDocument,
)
from foretune.models.networks.params import Params, initial_params, named_arrays, tree_of
from foretune.models.networks.stacked import Architecture

DOCUMENT = "forecaster.toml"

# What saves write beside the document, and leave behind when they are killed.
_LEFT = re.compile(r"arrays-[0-9a-f]{12}.*|\.writing-.*")
_TIME, _VALUES = "history.time", "history.values"
# Format 2 kept days; format 1 in a file of their own, and the sums of all files.
_DATES_2 = "history.dates"
_WEIGHTS_1, _HISTORY_1, _SUMS_1 = "weights", "history.npy", "SHA256SUMS"
_DAY_1 = np.dtype([("date", "<M8[D]"), ("mid", "<f8")])


def require_model_place(folder: str | os.PathLike[str]) -> Path:
    """Refuse a place where no model can be saved: before hours of training, not after.

    Returns:
        The absolute path, symbolic links followed.

    Raises:
        ConfigError: there is something that is not a saved forecaster, no folder around it, or a
            path that orbax cannot write to.

    Example:
        >>> require_model_place("model")
        PosixPath('/home/ada/model')
    """
    # Backslashes become slashes in orbax.
    if re.search("[\0\\\\\ud800-\udfff]", Path(folder).absolute().as_posix()):
        raise ConfigError(
            f"{str(folder)!r} cannot be written: its path must be UTF-8 without backslashes"
        )
    try:
        # Unlike Path.resolve, leaves a link to itself to the system, whose error is the same in
        # every Python.
        place = Path(os.path.realpath(folder))
        names = sorted(os.listdir(place)) if os.path.lexists(place) else []
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}") from None
    around = place if place.exists() else place.parent
    if not around.is_dir() or not os.access(around, os.W_OK):
        raise ConfigError(f"{folder} cannot be written: {around} is not a folder to write to")
    foreign = [name for name in names if name != FINDER and not _LEFT.fullmatch(name)]
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
            # Of dates, nanoseconds since 1970 in UTC.
            rows = {_TIME: time_numbers(history.time), _VALUES: history.values}
            write_arrays(Path(scratch) / "arrays", named_arrays(params) | rows)
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
    _remove_all_but_the_live(place, replaced)


def load_model(folder: str | os.PathLike[str]) -> tuple[ForecasterDocument, Params, History]:
    """Read a model folder.

    Raises:
        ConfigError: a file is missing, damaged or not what :func:`save_model` writes; names it.
    """
    folder = Path(folder)
    if not os.path.exists(folder / DOCUMENT):  # for a path that is too long, too
        raise ConfigError(f"{folder} must be a folder of a saved forecaster, with a {DOCUMENT}")
    document = ForecasterDocument.load(folder / DOCUMENT)
    while True:
        try:
            return document, *_read(folder, document)
        except ConfigError:
            # Another process may have saved since then, and removed what this document names.
            read, document = document, ForecasterDocument.load(folder / DOCUMENT)
            if document == read:
                raise


def _read(folder: Path, document: ForecasterDocument) -> tuple[Params, History]:
    """Read the arrays that ``document`` names."""
    place = folder / _arrays_folder(document)
    if document.format > 1 and folder_digest(place) != document.arrays:
        raise ConfigError(f"{place} is damaged: it must have the SHA-256 that {DOCUMENT} says")
    arrays = read_arrays(place)
    if document.format == 1:
        days = _days_1(folder / _HISTORY_1)
        history = _checked_history(folder / _HISTORY_1, days["date"], days["mid"], document)
    else:
        time = arrays.pop(_TIME if document.format == 3 else _DATES_2)
        history = _checked_history(place, time, arrays.pop(_VALUES), document)
    most = len(history) - document.scaling.fitted().lag
    if document.config.unroll_length > most:
        raise ConfigError(
            f"{folder / DOCUMENT}: config.unroll_length must be at most {most}, what the "
            f"{len(history)} known rows give, but got {document.config.unroll_length}"
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
    return tree_of(structure, arrays), history


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


def _remove_all_but_the_live(place: Path, replaced: set[str]) -> None:
    """Remove what was ``replaced``, and what saves that were killed left behind."""
    live = _names_of_arrays(place)
    for path in place.iterdir():
        with contextlib.suppress(OSError):
            # What another process is saving now looks the same, but is younger.
            left = _LEFT.fullmatch(path.name) and time.time() - path.lstat().st_mtime > 3600
            if path.name not in live and (left or path.name in replaced):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


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
    place: Path, time: NDArray[Any], values: NDArray[np.float64], document: ForecasterDocument
) -> History:
    said = document.history
    try:
        if document.series is None:
            history = History.of_mid_prices(
                name=said.name, digest=said.digest, dates=time.astype("<M8[D]"), values=values
            )
        else:
            history = _history(said, document.series, time, values)
    except ForetuneError as error:
        raise ConfigError(f"{place}: {error}") from None
    last = moment(history.time, -1)
    if (said.days, said.last_date) != (len(history), last):
        raise ConfigError(
            f"{place} must have {said.days} rows to {said.last_date}, as in {DOCUMENT}, but has "
            f"{len(history)} to {last}"
        )
    return history


def _history(
    said: HistoryDocument, about: SeriesDocument, time: NDArray[Any], values: NDArray[np.float64]
) -> History:
    """Return the known rows of format 3, validated as any series is."""
    if time.dtype != np.int64 or time.ndim != 1:
        raise DataError(f"{_TIME} must be whole numbers [N], but is {time.dtype} {time.shape}")
    index = pd.Index(time, name=about.time)
    if about.frequency != STEPS:
        index = pd.DatetimeIndex(time.astype("<M8[ns]"), name=about.time)
        try:
            index = index.tz_localize("UTC").tz_convert(about.zone) if about.zone else index
        except (KeyError, ValueError, OSError):
            raise ConfigError(f"series.zone must be a time zone, but got {about.zone!r}") from None
    series = TimeSeries(
        name=said.name,
        time=index,
        target=values,
        calendar=about.calendar(),
        error_space=about.space,
        target_name=about.target,
        unit=about.unit,
        source=said.name,
        data_digest=said.digest,
    )
    return History.of(series)
