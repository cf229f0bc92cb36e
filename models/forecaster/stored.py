"""What a forecaster's file of arrays holds: weights, known rows, errors and the linear skip.

Covariates are numbered as the document's encoding lists them, and named there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.calendar import time_numbers
from foretune.datasets.common.errors import ConfigError, DataError, ForetuneError
from foretune.datasets.covariates import GROUPS, Column, CovariateEncoding, Covariates
from foretune.datasets.history import History, moment
from foretune.datasets.series import TimeSeries
from foretune.datasets.transforms import LOG, ErrorSpace
from foretune.models.forecaster.arrays import weights_digest
from foretune.models.forecaster.document import (
    DOCUMENT,
    ForecasterDocument,
    HistoryDocument,
    KindDocument,
    PanelDocument,
    ScalingDocument,
)
from foretune.models.forecaster.state import SeriesState
from foretune.models.forecasts.inputs import architecture_of
from foretune.models.forecasts.intervals import Calibration
from foretune.models.forecasts.ridge import Ridge, column_count
from foretune.models.forecasts.skip import Groups, LinearSkip
from foretune.models.networks.params import (
    Arrays,
    Params,
    initial_params,
    named_arrays,
    tree_of,
)

_TIME, _VALUES = "history.time", "history.values"
_ERRORS, _WIDTHS = "intervals.errors", "intervals.widths"
_SKIP = ("skip.weights", "skip.intercept")
# Format 1 kept the days in a file of their own.
_DAY_1 = np.dtype([("date", "<M8[D]"), ("mid", "<f8")])


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored:
    """What a trained model knows that is arrays.

    Args:
        params: the weights.
        members: its series.
        encoding: how their covariates become numbers.
        skip: the regression beside the network, if there is one.
    """

    params: Params
    members: tuple[SeriesState, ...]
    encoding: CovariateEncoding
    skip: LinearSkip | None

    def arrays(self, *, is_panel: bool) -> Arrays:
        """Return all of it by name; those of a panel's series are numbered."""
        arrays = named_arrays(self.params)
        for number, member in enumerate(self.members):
            own = _arrays_of(member, self.encoding)
            if is_panel:
                own[_WIDTHS] = member.widths
            arrays |= {_numbered(number, is_panel) + name: array for name, array in own.items()}
        if self.skip is not None:
            arrays[_SKIP[0]], arrays[_SKIP[1]] = self.skip.ridge.weights, self.skip.ridge.intercept
        return arrays

    @classmethod
    def of(
        cls,
        place: Path,
        document: ForecasterDocument | PanelDocument,
        arrays: Arrays,
        days: tuple[Path, NDArray[np.void]] | None = None,
    ) -> "Stored":
        """Return what ``document`` says that the arrays are.

        Args:
            place: where the arrays come from.
            document: of the same forecaster.
            arrays: by name, as :meth:`arrays` gives them.
            days: of format 1, the rows and where they come from.

        Raises:
            ConfigError: one is missing, of another kind or shape, or not what ``document`` says.
        """
        arrays, encoding = dict(arrays), document.encoding or CovariateEncoding()
        members = list[SeriesState]()
        for number, said in enumerate(_described(document)):
            prefix = _numbered(number, isinstance(document, PanelDocument))
            own = arrays if not prefix else _taken(prefix, arrays)
            if days is not None:
                own |= {_TIME: days[1]["date"], _VALUES: days[1]["mid"]}
            members.append(_member(place if days is None else days[0], said, encoding, own))
            if prefix and own:
                raise ConfigError(f"{place} must not hold {prefix}{min(own)}, but does")
        try:
            covariates = _one_row(encoding, members[0].history)
        except ForetuneError as error:
            raise ConfigError(f"{place}: {error}") from None
        return cls(
            skip=_skip(place, document, covariates, arrays),
            params=_params(place, document, covariates, arrays),
            members=tuple(members),
            encoding=encoding,
        )


@dataclass(frozen=True, kw_only=True)
class _Said:
    """What a document says of one series."""

    about: KindDocument | None
    history: HistoryDocument
    scaling: ScalingDocument
    space: ErrorSpace
    horizon: int
    widths: tuple[float, ...] | None  # None where they are among the arrays
    first: int | None
    stride: int | None
    since: int | None
    fewest: int  # origins that errors come from


def _described(document: ForecasterDocument | PanelDocument) -> Iterator[_Said]:
    """Return what ``document`` says of each of its series."""
    if isinstance(document, PanelDocument):
        for member in document.members:
            yield _Said(
                about=document.series,
                history=member.history,
                scaling=member.scaling,
                space=document.error_space(member),
                horizon=document.horizon,
                widths=None,
                first=member.first,
                stride=document.stride,
                since=member.since,
                fewest=0,  # a series that is new has none
            )
        return
    intervals, about = document.intervals, document.series
    yield _Said(
        about=about,
        history=document.history,
        scaling=document.scaling,
        space=LOG if about is None else about.error_space(),
        horizon=document.horizon,
        widths=intervals.widths,
        first=intervals.first,
        stride=intervals.stride,
        since=intervals.since,
        fewest=1,
    )


def _numbered(number: int, is_panel: bool) -> str:
    return f"{number}." if is_panel else ""


def _taken(prefix: str, arrays: Arrays) -> Arrays:
    """Take those whose names begin so out of ``arrays``, by the rest of their names."""
    names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in names}


def _arrays_of(member: SeriesState, encoding: CovariateEncoding) -> Arrays:
    """Return rows, covariates and errors of one series by name."""
    series = member.history.series
    arrays: Arrays = {_TIME: time_numbers(series.time), _VALUES: series.target}
    for group in GROUPS:
        values = getattr(series, group)
        for number, column in enumerate(getattr(encoding, group)):
            arrays[_covariate(group, number)] = np.atleast_1d(values[column.name])
    if member.calibration is not None:
        arrays[_ERRORS] = member.calibration.errors
    return arrays


def _member(place: Path, said: _Said, encoding: CovariateEncoding, arrays: Arrays) -> SeriesState:
    """Take one series out of ``arrays``."""
    if missing := {_TIME, _VALUES} - set(arrays):
        raise ConfigError(f"{place} must hold {min(missing)}, but does not")
    errors, widths = arrays.pop(_ERRORS, None), said.widths
    history = _checked_history(place, said, encoding, arrays)
    calibration = None
    if errors is not None or said.about is not None:
        calibration = _calibration(place, errors, said)
    if widths is None:
        found = arrays.pop(_WIDTHS, np.empty(0))
        if found.dtype != np.float64 or found.shape != (said.horizon,) or not _are_sizes(found):
            raise ConfigError(
                f"{place} must hold {_WIDTHS}, finite numbers of at least 0 [{said.horizon}], but "
                f"has {found.dtype} {list(found.shape)}"
            )
        widths = tuple(found.tolist())
    return SeriesState(
        history=history,
        scaling=said.scaling.fitted(),
        space=said.space,
        widths=np.array(widths),
        calibration=calibration,
    )


def days_of_format_1(file: Path, days: NDArray[Any]) -> NDArray[np.void]:
    """Refuse what format 1 did not keep [N]."""
    if days.dtype != _DAY_1 or days.ndim != 1:
        raise ConfigError(f"{file} must hold a date and a mid price a day")
    return days


def _covariate(group: str, number: int) -> str:
    return f"history.{group}.{number}"


def _one_row(encoding: CovariateEncoding, history: History) -> Covariates:
    """Return covariates of one row, of as many columns as ``encoding`` makes."""
    counts = {group: sum(len(c.columns) for c in getattr(encoding, group)) for group in GROUPS}
    calendar = history.calendar.features(history.time[:1], encoding.calendar)
    return Covariates(
        past=np.zeros((1, 1, counts["past"])),
        future=np.zeros((1, 1, counts["future"])),
        calendar=np.zeros((1, 1, len(calendar))),
        static=np.zeros((1, counts["static"])),
    )


def _params(
    place: Path,
    document: ForecasterDocument | PanelDocument,
    covariates: Covariates,
    arrays: Arrays,
) -> Params:
    """Return the weights, which are all that is left of ``arrays``."""
    architecture = architecture_of(document.config, covariates, document.horizon)
    structure = initial_params(architecture, 0)
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
            f"{place} must hold weights with SHA-256 {document.weights.digest[:12]}..., as in "
            f"{DOCUMENT}, but has {weights_digest(arrays)[:12]}..."
        )
    return tree_of(structure, arrays)


def _skip(
    place: Path,
    document: ForecasterDocument | PanelDocument,
    covariates: Covariates,
    arrays: Arrays,
) -> LinearSkip | None:
    """Take the regression out of ``arrays``."""
    said, horizon = document.skip, document.horizon
    if said is None:
        return None
    groups = Groups.of(document.config)
    past, future = (
        0 if each is None else each.shape[-1]
        for each in (groups.known_up_to(covariates), groups.known_ahead(covariates))
    )
    columns = column_count(said.lags, horizon, past=past, future=future)
    found = []
    for name, shape in zip(_SKIP, ((columns, horizon), (horizon,)), strict=True):
        array = arrays.pop(name, np.empty(0))
        # Not a number is not finite, and neither is text.
        if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
            raise ConfigError(
                f"{place} must hold {name}, finite numbers {list(shape)}, but has {array.dtype} "
                f"{list(array.shape)}"
            )
        found.append(array)
    weights, intercept = found
    ridge = Ridge(lags=said.lags, penalty=said.penalty, weights=weights, intercept=intercept)
    scales: tuple[float, ...] = (1.0,)
    if isinstance(document, PanelDocument):
        scales = tuple(member.scale for member in document.members)
    return LinearSkip(ridge=ridge, log=said.log, groups=groups, scales=scales)


def _are_sizes(values: NDArray[np.float64]) -> bool:
    return bool(np.all(np.isfinite(values) & (values >= 0)))


def _calibration(place: Path, errors: NDArray[Any] | None, said: _Said) -> Calibration | None:
    """Refuse errors that the intervals which a document describes cannot come from."""
    first, stride, since = said.first, said.stride, said.since
    if first is None or stride is None or since is None:
        if errors is None:
            return None
    elif (
        errors is not None
        and errors.dtype == np.float64
        and errors.ndim == 2
        and len(errors) >= said.fewest
        and errors.shape[1] == said.horizon
        and _are_sizes(errors)
        and (not len(errors) or first + stride * (len(errors) - 1) + said.horizon <= since)
        and since < said.history.days
    ):
        return Calibration(errors=errors, first=first, stride=stride, since=since)
    raise ConfigError(
        f"{place} must hold {_ERRORS}, finite numbers of at least 0 [O, {said.horizon}] that were "
        f"known at intervals.since, a known row, if {DOCUMENT} has that; and else none"
    )


def _checked_history(
    place: Path, document: _Said, encoding: CovariateEncoding, arrays: Arrays
) -> History:
    """Take the known rows out of ``arrays``."""
    said = document.history
    time, values = arrays.pop(_TIME), arrays.pop(_VALUES)
    try:
        if document.about is None:
            history = History.of_mid_prices(
                name=said.name, digest=said.digest, dates=time, values=values
            )
        else:
            covariates: dict[str, Any] = {
                group: _covariates(group, getattr(encoding, group), arrays) for group in GROUPS
            }
            history = _history(said, document.about, time, values, covariates)
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
    said: HistoryDocument,
    about: KindDocument,
    time: NDArray[Any],
    values: NDArray[np.float64],
    covariates: dict[str, Any],
) -> History:
    """Return the known rows of format 2, validated as any series is."""
    if time.dtype != np.int64 or time.ndim != 1:
        raise DataError(f"{_TIME} must be whole numbers [N], but is {time.dtype} {time.shape}")
    series = TimeSeries(
        name=said.name,
        time=about.index(time),
        target=values,
        calendar=about.calendar(),
        **covariates,
        error_space=about.space,
        target_name=about.target,
        unit=about.unit,
        source=said.name,
        data_digest=said.digest,
    )
    return History.of(series)


def _covariates(group: str, columns: tuple[Column, ...], arrays: Arrays) -> dict[str, Any]:
    """Take the covariates of a group out of ``arrays``, by their own names."""
    found: dict[str, Any] = {}
    for number, column in enumerate(columns):
        name = _covariate(group, number)
        values, kind = arrays.pop(name, np.empty(())), "U" if column.categories else "f"
        if (
            values.dtype.kind != kind
            or values.ndim != 1
            or (group == "static" and values.size != 1)
        ):
            raise DataError(
                f"{name} must be {column.name}, {'text' if kind == 'U' else 'numbers'} "
                f"[{1 if group == 'static' else 'N'}], but is {values.dtype} {values.shape}"
            )
        found[column.name] = values.tolist()[0] if group == "static" else values
    return found
