"""``forecaster.toml``: all about a saved forecaster that is not an array of rows or weights."""

import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PlainValidator

from foretune.datasets.calendar import Calendar, time_index, zone_name
from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.records import Listed, StrictModel, list_to_tuple
from foretune.datasets.common.toml_files import TomlModel
from foretune.datasets.covariates import GROUPS, CovariateEncoding
from foretune.datasets.history import History, Moment, moment
from foretune.datasets.transforms import (
    STANDARDISED,
    ErrorSpace,
    Scaling,
    SpaceName,
    Unscaled,
    WindowedMinMax,
)
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecaster.state import SeriesState
from foretune.models.forecasts.intervals import Calibration
from foretune.models.forecasts.skip import Groups, LinearSkip


def _require_time(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, Moment):
        raise ValueError("a valid date, time or whole number")
    return value


# The name of its file.
DOCUMENT = "forecaster.toml"

# A line of it that no other format has.
_FORMAT_3 = re.compile(rb"(?m)^format = 3\r?$")

Time = Annotated[Moment, PlainValidator(_require_time)]
Row = Annotated[int, Field(ge=0)]
Width = Annotated[float, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class StandardisedDocument(StrictModel):
    """A fitted :class:`Standardised`."""

    mean: float
    std: float = Field(gt=0)


class MinMaxDocument(StrictModel):
    """A fitted :class:`WindowedMinMax`."""

    starts: Listed[Row]
    minima: Listed[float]
    maxima: Listed[float]


class UnscaledDocument(StrictModel):
    """An :class:`Unscaled`, which has no numbers."""


# What each table of a :class:`ScalingDocument` describes, under the name that configs use.
_FITTED: dict[str, type[Any]] = {
    **STANDARDISED,
    "none": Unscaled,
    "windowed_min_max": WindowedMinMax,
}


class ScalingDocument(StrictModel):
    """A fitted transform: the table of that name alone."""

    log_returns: StandardisedDocument | None = None
    log: StandardisedDocument | None = None
    differences: StandardisedDocument | None = None
    standard: StandardisedDocument | None = None
    none: UnscaledDocument | None = None
    windowed_min_max: MinMaxDocument | None = None

    @classmethod
    def of(cls, scaling: Scaling) -> Self:
        """Describe ``scaling``."""
        name = next(name for name, kind in _FITTED.items() if type(scaling) is kind)
        tables: dict[str, Any] = {name: vars(scaling)}
        return cls(**tables)

    def fitted(self) -> Scaling:
        """Return the transform."""
        ((name, table),) = ((name, table) for name, table in self if table is not None)
        scaling: Scaling = _FITTED[name](**dict(table))
        return scaling


class KindDocument(StrictModel):
    """What the known values are: of which target, in which error space, on which calendar.

    ``time`` is the name of the column of times, ``zone`` that of the time zone; ``steps`` says that
    times are whole numbers.
    """

    target: str = Field(min_length=1)
    unit: str | None = None
    space: SpaceName
    time: str | None = None
    zone: str | None = Field(default=None, min_length=1)
    frequency: str
    weekdays: Annotated[tuple[int, ...], BeforeValidator(list_to_tuple)] = ()
    step: int = Field(default=1, ge=1, le=2**31)
    seasonality: int | None = Field(default=None, ge=1, le=2**31)

    def calendar(self) -> Calendar:
        """Return the calendar.

        Raises:
            ConfigError: there is none of that kind; names the field.
        """
        fields = ("frequency", "weekdays", "step", "seasonality")
        try:
            return Calendar(**{name: getattr(self, name) for name in fields})
        except ConfigError as error:
            # Python and the command line call the frequency freq.
            message = f"series.{error}".replace("series.freq ", "series.frequency ")
            raise ConfigError(message) from None

    def index(self, time: NDArray[np.int64]) -> pd.Index:
        """Return the times that are stored as numbers [N], of dates nanoseconds since 1970 in UTC.

        Raises:
            ConfigError: there is no such time zone.
        """
        calendar = self.calendar()
        try:
            return time_index(time, calendar=calendar, name=self.time, zone=self.zone)
        except ConfigError as error:
            raise ConfigError(f"series.{error}") from None

    @classmethod
    def kind_of(cls, history: History) -> dict[str, Any]:
        """Return the fields that describe the series of ``history``."""
        return {
            "target": history.target_name,
            "unit": history.unit,
            "space": history.error_space,
            "time": None if history.time.name is None else str(history.time.name),
            "zone": zone_name(history.time) or None,
            **asdict(history.calendar),
        }


class SeriesDocument(KindDocument):
    """The same of one series; ``space_unit`` is what a change of 1 is in the target's unit."""

    space_unit: float = Field(gt=0)

    def error_space(self) -> ErrorSpace:
        """Return the error space."""
        return ErrorSpace(name=self.space, unit=self.space_unit)


class TrainingDocument(StrictModel):
    """What the weights come from.

    They were trained for ``epochs`` epochs, 0 where the ridge regression alone was best, on the
    ``days`` rows of the series of that ``digest`` from ``first_date`` to ``last_date``; with
    ``refit``, the validation rows are among them. A regression beside the network was fitted to the
    first ``regression_days`` rows. ``relative_mse`` is the value of the chosen epoch
    on the rows of ``validation``, before the refit. Where the epoch was chosen by another
    ``metric``, ``value`` is that.
    """

    digest: Digest
    days: int = Field(ge=1)
    first_date: Time
    last_date: Time
    validation_first_date: Time
    validation_last_date: Time
    epochs: int = Field(ge=0)
    refit: bool
    regression_days: int | None = Field(default=None, ge=1)
    relative_mse: float = Field(ge=0)
    metric: MetricName = Field(
        default="relative_mse", exclude_if=lambda metric: metric == "relative_mse"
    )
    value: float | None = Field(default=None, ge=0)


class HistoryDocument(StrictModel):
    """The known rows; ``digest`` is that of the series they were last taken from."""

    name: str = Field(min_length=1)
    digest: Digest
    days: int = Field(ge=1)
    last_date: Time

    @classmethod
    def of(cls, history: History) -> Self:
        """Describe ``history``."""
        return cls(
            name=history.name,
            digest=history.digest,
            days=len(history),
            last_date=moment(history.time, -1),
        )


class IntervalsDocument(StrictModel):
    """Half-widths of the intervals after the last known row, in the error space, one a step.

    ``first``, ``stride`` and ``since`` are those of their :class:`Calibration`, whose errors are
    among the arrays; all are left out where newer rows do not change the widths.
    """

    coverage: float = Field(gt=0, lt=1)
    widths: Listed[Width]
    first: Row | None = None
    stride: int | None = Field(default=None, ge=1)
    since: Row | None = None

    @classmethod
    def of(
        cls, coverage: float, widths: NDArray[np.float64], calibration: Calibration | None
    ) -> Self:
        """Describe intervals."""
        places: dict[str, Any] = {}
        if calibration is not None:
            places = {name: getattr(calibration, name) for name in ("first", "stride", "since")}
        return cls(coverage=coverage, widths=tuple(map(float, widths)), **places)


class WeightsDocument(StrictModel):
    """What the weights must be: the SHA-256 of their names, shapes and bytes."""

    digest: Digest
    parameters: int = Field(ge=1)


class SkipDocument(StrictModel):
    """The ridge regression beside the network, whose weights are among the arrays.

    It reads the covariates that the config does; ``log`` says that it reads logarithms.
    """

    lags: int = Field(ge=1, le=2**20)
    penalty: float = Field(gt=0)
    log: bool

    @classmethod
    def of(cls, skip: LinearSkip) -> Self:
        """Describe ``skip``, but for the scales of its series."""
        return cls(lags=skip.ridge.lags, penalty=skip.ridge.penalty, log=skip.log)


class ForecasterDocument(TomlModel):
    """A saved forecaster without its arrays.

    ``arrays`` is the SHA-256 of the file of all arrays, weights and rows. Format 1 had none, and no
    ``series``: it knew only the mid prices of days. ``encoding`` says how the covariates that the
    config reads become numbers.

    Example:
        >>> document = ForecasterDocument.from_toml(text)
        >>> document.horizon, document.config.units
        (50, (32, 32))
    """

    _WHAT: ClassVar[str] = "a forecaster"
    _MOST_BYTES: ClassVar[int] = 2**23  # it holds a width a step

    format: Literal[1, 2] = 2
    arrays: Digest | None = None
    horizon: int = Field(ge=1, description="steps ahead")
    config: TrialConfig
    scaling: ScalingDocument
    training: TrainingDocument
    history: HistoryDocument
    series: SeriesDocument | None = None
    encoding: CovariateEncoding | None = None
    skip: SkipDocument | None = None
    intervals: IntervalsDocument
    weights: WeightsDocument
    versions: dict[str, str]

    def _require_consistent(self) -> None:
        """Refuse values that each may have, but not together."""
        intervals = self.intervals
        _require_rules(
            *_common_rules(self, [self.history]),
            *_scaling_rules(self.config, self.scaling, "scaling"),
            (
                (self.arrays is None) == (self.series is None) == (self.format == 1),
                "arrays must be the SHA-256 of the arrays and series what the values are in format "
                "2, and both left out in format 1",
            ),
            (
                len(intervals.widths) == self.horizon,
                f"intervals.widths must hold one width for each of horizon's {self.horizon} steps, "
                f"but got {len(intervals.widths)}",
            ),
            (
                len({n is None for n in (intervals.first, intervals.stride, intervals.since)}) == 1,
                "intervals.first, intervals.stride and intervals.since must be there together, or "
                "none of them",
            ),
        )


class MemberDocument(StrictModel):
    """One series of a panel, but for its rows, errors and widths, which are among the arrays.

    ``space_unit`` is what a change of 1 is in the unit of the target, and ``scale`` what the ridge
    regression divides its levels by. ``first`` and ``since`` are those of its
    :class:`Calibration`, counted from its own first row.
    """

    history: HistoryDocument
    scaling: ScalingDocument
    space_unit: float = Field(gt=0)
    scale: float = Field(default=1.0, gt=0)
    first: Row
    since: Row

    @classmethod
    def of(cls, member: SeriesState, scale: float) -> Self:
        """Describe ``member``."""
        calibration = member.calibration
        assert calibration is not None  # only the first version saved none, and no panels
        return cls(
            history=HistoryDocument.of(member.history),
            scaling=ScalingDocument.of(member.scaling),
            space_unit=member.space.unit,
            scale=scale,
            first=calibration.first,
            since=calibration.since,
        )


class PanelDocument(TomlModel):
    """A saved forecaster of several series: format 3.

    ``training`` counts the rows of the longest series, and has its times where all end together;
    else the numbers of the rows.

    Example:
        >>> document = PanelDocument.from_toml(text)
        >>> document.panel, len(document.members)
        ('m4_hourly', 414)
    """

    _WHAT: ClassVar[str] = "a forecaster"
    _MOST_BYTES: ClassVar[int] = 2**26  # a table for each of a hundred thousand series

    format: Literal[3] = 3
    arrays: Digest
    panel: str = Field(min_length=1)
    horizon: int = Field(ge=1)
    coverage: float = Field(gt=0, lt=1)
    stride: int = Field(ge=1)
    config: TrialConfig
    training: TrainingDocument
    series: KindDocument
    encoding: CovariateEncoding | None = None
    skip: SkipDocument | None = None
    weights: WeightsDocument
    versions: dict[str, str]
    members: Annotated[tuple[MemberDocument, ...], BeforeValidator(list_to_tuple)] = Field(
        min_length=1
    )

    def error_space(self, member: MemberDocument) -> ErrorSpace:
        """Return the error space of one series."""
        return ErrorSpace(name=self.series.space, unit=member.space_unit)

    def _require_consistent(self) -> None:
        """Refuse values that each may have, but not together."""
        names = [member.history.name for member in self.members]
        _require_rules(
            *_common_rules(self, [member.history for member in self.members]),
            (
                names == sorted(set(names)),
                "members must be in the order of their names, each once",
            ),
        )
        for number, member in enumerate(self.members):
            _require_rules(
                *_scaling_rules(self.config, member.scaling, f"members.{number}.scaling")
            )


Rule = tuple[bool, str]


def read_document(file: Path) -> ForecasterDocument | PanelDocument:
    """Read a document of any format.

    Raises:
        ConfigError: the file cannot be read or holds none; names the file.
    """
    try:
        is_panel = file.is_file() and _FORMAT_3.search(file.read_bytes()) is not None
    except OSError:
        is_panel = False  # which is refused below
    return (PanelDocument if is_panel else ForecasterDocument).load(file)


def _require_rules(*rules: Rule) -> None:
    for holds, message in rules:
        if not holds:
            raise ConfigError(message)


def _common_rules(
    document: ForecasterDocument | PanelDocument, histories: Sequence[HistoryDocument]
) -> tuple[Rule, ...]:
    """Return what must hold of every model, whose series have these histories."""
    about, config, training = document.series, document.config, document.training
    if about is not None:
        about.calendar()
        about.index(np.zeros(1, np.int64))
    times = {f"training.{n}": time for n, time in training if n.endswith("_date")}
    last = histories[0].last_date
    kind = date if about is None else type(last)
    if document.format != 3:
        times["history.last_date"] = last
    elif type(training.first_date) is int:  # of series that do not end together, rows
        kind = int
    odd = [f"{name}, {time}" for name, time in times.items() if type(time) is not kind]
    most = max(history.days for history in histories)
    encoding = document.encoding or CovariateEncoding()
    columns = [column for group in GROUPS for column in getattr(encoding, group)]
    return (
        (
            (training.value is None) == (training.metric == "relative_mse"),
            "training.value must be given with a metric other than relative_mse, and only "
            f"then, but metric is {training.metric!r} and value {training.value}",
        ),
        (
            not odd,
            f"training and history.last_date must have times of one kind, {kind.__name__}, but "
            f"got {'; '.join(odd)}",
        ),
        (
            max(training.days, training.regression_days or 0) <= most,
            "training.days and training.regression_days must be at most history.days, "
            f"{most}, but got {training.days} and {training.regression_days}",
        ),
        (
            encoding_read(config, encoding) == encoding,
            "encoding must hold nothing but the groups of covariates that config reads",
        ),
        (
            len({column.name for column in columns}) == len(columns)
            and all(column.std >= 0 for column in columns),
            "encoding must have each name once, and std of at least 0",
        ),
        (
            (document.skip is None) == (config.skip == "none"),
            "skip must be a table where config.skip is 'linear', and left out where it is not, "
            f"but config.skip is {config.skip!r}",
        ),
    )


def _scaling_rules(config: TrialConfig, scaling: ScalingDocument, field: str) -> tuple[Rule, ...]:
    """Return what must hold of the scaling of a series, which the document calls ``field``."""
    windows = scaling.windowed_min_max
    scalings = [name for name, table in scaling if table is not None]
    return (
        (
            scalings == [config.scaling],
            f"{field} must be a table of {config.scaling} alone, as in config.scaling, "
            f"but got {', '.join(scalings) or 'none'}",
        ),
        (
            windows is None or _are_windows(windows),
            f"{field}.windowed_min_max must have windows that start at 0, one after another, "
            "each with a maximum that is not below its minimum",
        ),
    )


def encoding_read(config: TrialConfig, encoding: CovariateEncoding) -> CovariateEncoding:
    """Return the groups of ``encoding`` that ``config`` reads."""
    off = {group: () for group, is_on in asdict(Groups.of(config)).items() if not is_on}
    return replace(encoding, **off)


def _are_windows(windows: MinMaxDocument) -> bool:
    starts = windows.starts
    return (
        len(starts) == len(windows.minima) == len(windows.maxima)
        and starts[0] == 0
        and all(a < b for a, b in pairwise(starts))
        and all(a <= b for a, b in zip(windows.minima, windows.maxima, strict=True))
    )
