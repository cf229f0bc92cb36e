"""StudySpec: what a study is about, stored in the study itself."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.records import StrictModel, list_to_tuple
from foretune.datasets.covariates import covariate_names
from foretune.datasets.sources.load import as_series, load_series_of
from foretune.datasets.splits import (
    DevelopmentData,
    Split,
    chronological_split,
    default_horizon,
    default_stride,
    development_folds,
    parts_of,
)
from foretune.datasets.transforms import LOGARITHMS, SpaceName
from foretune.models.config import COVARIATE_OPTIONS, MetricName
from foretune.models.runtime.versions import versions
from foretune.search.space.default_space import complete_space, space_for
from foretune.search.space.dimensions import ends
from foretune.search.space.space import SearchSpace

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    from foretune.datasets.series import TimeSeries

# The metric of a study that names none.
OBJECTIVE_NAME: MetricName = "relative_mse"

_ATTRIBUTE = "foretune_spec"
# What no series has and no study trains: a document with more is not one of foretune's.
MAX_DAYS, MAX_FOLDS = 10_000_000, 1000
_PARTS = ("split", "train_end", "validation_end", "test_end")
# Of how data were read, what later forecasts and baselines depend on.
_CALENDAR = ("freq", "seasonality")
Rows = Annotated[int, Field(ge=1, le=MAX_DAYS)]


class PricesSpec(StrictModel):
    """Which data: ``digest`` is of their content, wherever the file lies.

    What the first version did not know has its values by default, and is stored where it differs:
    it forecast mid prices of days.
    """

    name: str
    source: str
    digest: str
    days: int = Field(ge=1, le=MAX_DAYS, description="rows")
    first_date: str
    last_date: str
    target: str = Field(default="mid price", min_length=1)
    space: SpaceName = Field(default="log", description="what errors are measured in")
    step: str = Field(default="day", min_length=1, description="what a row is called")
    calendar: str | None = Field(default=None, description="in words")
    unit: str | None = Field(default=None, description="of the target")
    reading: dict[str, Any] = Field(default_factory=dict, description="how they were read")

    @classmethod
    def of(cls, data: Any) -> Self:
        """Describe a series, or prices."""
        from foretune.datasets.history import moment
        from foretune.datasets.prices import PriceSeries

        series = data.series() if isinstance(data, PriceSeries) else data
        known: dict[str, Any] = {}
        if series.error_space != "log" or series.target_name != "mid price":
            known = {"calendar": str(series.calendar), "unit": series.unit}
        return cls(
            name=series.name,
            source=series.source,
            digest=series.digest,
            days=len(series),
            first_date=str(moment(series.time, 0)),
            last_date=str(moment(series.time, -1)),
            target=series.target_name,
            space=series.error_space,
            step=series.calendar.step_name,
            reading={key: v for key, v in series.reading.items() if key != "target"},
            **known,
        )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is as in the first version."""
        fields = type(self).model_fields
        return {
            name: value
            for name, value in handler(self).items()
            if fields[name].is_required()
            or value != fields[name].get_default(call_default_factory=True)
        }

    def series(self, data: Any, **reading: Any) -> "TimeSeries":
        """Return ``data``, an object or where it is, as the series that this describes.

        ``reading`` takes the place of how the data were read then.
        """
        from foretune.datasets.prices import PriceSeries
        from foretune.datasets.series import TimeSeries

        if isinstance(data, TimeSeries):
            return data
        # How a file was read does not concern prices that have been read.
        of_calendar = {key: self.reading[key] for key in _CALENDAR if key in self.reading}
        known = of_calendar if isinstance(data, PriceSeries) else self.reading
        return as_series(data, **known | {"target": self.target_key} | reading)

    def load(self, study: str, **reading: Any) -> "TimeSeries":
        """Load the data from where the study knows them to be.

        Args:
            study: its name, for messages.
            **reading: in place of how they were read then.

        Raises:
            ConfigError: the source is no name.
            DataError: there are none.
        """
        known = self.reading | {"target": self.target_key}
        return load_series_of(study, self.source, **known | reading)

    @property
    def what(self) -> str:
        """What messages call the data: "prices" or "data"."""
        return "prices" if self.space == "log" else "data"

    @property
    def target_key(self) -> str:
        """What reads the target: "mid" of the mid price, a column's name else."""
        if self.space == "log" and self.target.endswith(" price"):
            return self.target.removesuffix(" price").replace("adjusted ", "adj_")
        return self.target


class SplitSpec(StrictModel):
    """How the rows are split; see :func:`foretune.datasets.splits.chronological_split`."""

    horizon: int = Field(
        default=50, ge=1, le=MAX_DAYS, description="steps forecast from each origin"
    )
    stride: int = Field(
        default=10,
        ge=1,
        le=MAX_DAYS,
        description="rows from one forecast origin to the next; a fifth of the horizon by default",
    )
    train_fraction: float = Field(default=0.6, gt=0, lt=1)
    validation_fraction: float = Field(default=0.2, gt=0, lt=1)
    folds: int = Field(
        default=1,
        ge=1,
        le=MAX_FOLDS,
        description="blocks of the validation part, each with training of its own",
    )
    gap: int | None = Field(
        default=None, ge=0, le=MAX_DAYS, description="rows between two parts; the horizon if none"
    )
    shared_epoch: bool = Field(
        default=False,
        description="folds decay, stop and choose their best epoch together; not in version 0.1",
    )
    rows: Annotated[tuple[Rows, Rows, Rows], BeforeValidator(list_to_tuple)] | None = Field(
        default=None, description="how many rows train, validate and test, in place of fractions"
    )

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is as in the first version: no rows, no gap, no shared epoch."""
        given = handler(self).items()
        return {name: value for name, value in given if value is not None and value is not False}

    @model_validator(mode="before")
    @classmethod
    def _stride_follows_horizon(cls, given: Any) -> Any:
        horizon = given.get("horizon") if isinstance(given, dict) else None
        if not isinstance(horizon, int) or horizon < 1 or "stride" in given:
            return given
        return given | {"stride": default_stride(horizon)}

    def split(self, days: int, *, history: int) -> Split:
        """Split ``days`` rows, with ``history`` rows before the first origin."""
        return chronological_split(
            days, history=history, **self.model_dump(exclude={"folds", "shared_epoch"})
        )


class StudySpec(StrictModel):
    """Everything that the value of a trial depends on besides its parameters."""

    _TAGS: ClassVar[tuple[str, ...]] = SearchSpace._TAGS

    prices: PricesSpec
    split: SplitSpec
    space: SearchSpace
    seed: int = Field(ge=0, lt=2**32, description="seed of the sampler")
    metric: MetricName = Field(
        default=OBJECTIVE_NAME,
        exclude_if=lambda metric: metric == OBJECTIVE_NAME,  # as in the first version
        description="what a trial's value is",
    )
    versions: dict[str, str]

    @classmethod
    def stored(cls, study: optuna.Study) -> Self | None:
        """Read the spec from ``study``; None if foretune did not make it."""
        document = study.user_attrs.get(_ATTRIBUTE)
        if document is not None and not isinstance(document, dict):
            raise ConfigError(f"{_ATTRIBUTE} of study {study.study_name!r} must be a table")
        try:
            return None if document is None else cls(**document)
        except ConfigError as error:
            raise ConfigError(f"{_ATTRIBUTE} of study {study.study_name!r}: {error}") from None

    def split_days(self, days: int) -> Split:
        """Split this many rows as the study does."""
        return self.split.split(days, history=self.space.history)

    def series(self, data: Any) -> "TimeSeries":
        """Return ``data`` as the series that the study forecasts: of prices its target."""
        return self.prices.series(data)

    def development(self, data: Any) -> tuple[DevelopmentData, ...]:
        """Return the rows of ``data`` that trials may see, of each fold."""
        series = self.series(data)
        return development_folds(series, self.split_days(len(series)), self.split.folds)

    def require_same(self, other: "StudySpec", study_name: str) -> None:
        """Refuse to continue a study under another spec; versions may differ.

        Raises:
            ConfigError: names the first few differences with both values.
        """
        differences = [
            f"{path} is {mine!r} there, but got {theirs!r}"
            for path, mine, theirs in _differences(_compared(self), _compared(other))
        ]
        if differences:
            raise ConfigError(
                f"study {study_name!r} exists with another spec: {'; '.join(differences[:3])}; "
                "give the same values or another study name"
            )


def agreed_spec(
    study: optuna.Study | None,
    data: Any,
    split: Mapping[str, Any],
    *,
    target: str | None = None,
    space: SearchSpace | None,
    epochs: int | None,
    seed: int | None,
    metric: MetricName | None = None,
) -> "tuple[StudySpec, TimeSeries]":
    """Return the spec that ``study`` has, or that a new one would get; nothing is written.

    ``split`` holds fields of :class:`SplitSpec` and arguments of :func:`parts_of`. What is None is
    taken from the study, or is the default for a new one.

    Returns:
        The spec, and the data as a series.

    Raises:
        ConfigError: a value out of range, or one that contradicts the study's own; or the study
            is another program's.
    """
    stored = None if study is None else StudySpec.stored(study)
    if stored is not None and target is None:
        series = stored.series(data)
    else:
        series = as_series(data, target=target)
    given = {key: value for key, value in split.items() if value is not None}
    parts = {key: given.pop(key) for key in _PARTS if key in given}
    before = stored.split.model_dump() if stored else {"horizon": default_horizon(series)}
    agreed = SplitSpec(**before | given)
    if stored is None:
        agreed = agreed.replace(shared_epoch=agreed.folds > 1)
    if parts:
        gap = agreed.horizon if agreed.gap is None else agreed.gap
        agreed = agreed.replace(**parts_of(series.time, gap, **parts))
    default = stored.space if stored else default_space(series, agreed)
    space = default if space is None else complete_space(space, default)
    spec = StudySpec(
        prices=PricesSpec.of(series),
        split=agreed,
        space=space if epochs is None else space.fix(epochs=epochs),
        seed=(stored.seed if stored else 0) if seed is None else seed,
        metric=(stored.metric if stored else OBJECTIVE_NAME) if metric is None else metric,
        versions=versions("optuna"),
    )
    if stored is None:
        _require_positive(spec, series)
        _require_groups(spec.space, series)
        _require_next_label(spec.space)
    if study is None:
        return spec, series
    if stored is not None:
        stored.require_same(spec, study.study_name)
        return stored, series
    if study.get_trials(deepcopy=False) or study.directions != [StudyDirection.MINIMIZE]:
        raise ConfigError(
            f"study {study.study_name!r} was not made by foretune; give another study name"
        )
    return spec, series


def default_space(series: "TimeSeries", split: SplitSpec) -> SearchSpace:
    """Return what a study searches where nothing is said; see :func:`space_for`."""
    return space_for(series, split.split(len(series), history=2))


def _require_positive(spec: StudySpec, series: "TimeSeries") -> None:
    """Refuse scalings that take logarithms of values that have none."""
    rows = spec.split_days(len(series))
    wrong = series.target[: rows.validation_stop] <= 0
    logarithms = [name for name in ends(spec.space.scaling) if name in LOGARITHMS]
    if logarithms and wrong.any():
        row = int(wrong.argmax())
        raise ConfigError(
            f"scaling must not be {logarithms[0]!r} unless all values are above 0, but "
            f"{series.target_name} at {series.time[row]} is {series.target[row]}; differences, "
            "standard and none take any"
        )


def _require_groups(space: SearchSpace, series: "TimeSeries") -> None:
    """Refuse a space that reads covariates which the series does not have."""
    for group, names in covariate_names(series).items():
        option = COVARIATE_OPTIONS[group]
        if True in ends(getattr(space, option)) and not names:
            what = option.replace("_", " ")
            raise ConfigError(f"{option} must be false, because {series.name} has no {what}")


def _require_next_label(space: SearchSpace) -> None:
    """Refuse labels further ahead than the next row where a network reads changes.

    The change from row 4 to row 5 is not the change that follows row 1: on AR(1) returns the
    relative MSE was 0.898 with them and 0.833 without.
    """
    changes = [name for name in ends(space.scaling) if name in ("log_returns", "differences")]
    furthest = max(ends(space.label_offset))
    if furthest > 1 and changes:
        raise ConfigError(
            f"label_offset must be 1 where scaling is {changes[0]!r}, but is {furthest}; labels "
            "further ahead are for networks that read levels"
        )


def required_spec(study: optuna.Study, data: Any = None) -> StudySpec:
    """Return the spec of ``study``.

    Raises:
        ConfigError: foretune did not make the study, or ``data`` are not its own.
    """
    spec = StudySpec.stored(study)
    if spec is None:
        raise ConfigError(f"study {study.study_name!r} must be one that foretune made")
    if data is not None:
        found = spec.series(data).digest
        if spec.prices.digest != found:
            raise ConfigError(
                f"{spec.prices.what} must be those of study {study.study_name!r} (digest "
                f"{spec.prices.digest[:12]}), but got {found[:12]}"
            )
    return spec


def study_metric(study: optuna.Study) -> MetricName:
    """Return what the values of ``study`` are: of every older study the relative MSE."""
    spec = StudySpec.stored(study)
    return OBJECTIVE_NAME if spec is None else spec.metric


def format_value(value: float, metric: str, digits: int, sign: str = "-") -> str:
    """Write a trial's value: a relative MSE with so many decimals, any other with so many digits.

    A relative MSE near 0 keeps two digits: 0.0046 has no place in three decimals. ``sign`` is "+"
    for one that is always shown.
    """
    if metric != OBJECTIVE_NAME:
        return f"{value:{sign}.{digits}g}"
    near_0 = 0 < abs(value) < 10 ** (1 - digits)
    return f"{value:{sign}.2g}" if near_0 else f"{value:{sign}.{digits}f}"


def study_series(study: optuna.Study, where: Any = None, **reading: Any) -> "TimeSeries":
    """Load the data of ``study``.

    Args:
        study: a study of :func:`run_study`.
        where: as for :func:`as_series`; None for where the study knows them to be: a sample, a
            simulation, a download, or a file of that name in this folder.
        **reading: in place of how the study read them, as for :func:`as_series`.

    Raises:
        ConfigError: foretune did not make the study, or these are other data.
        DataError: there are none.
    """
    spec = required_spec(study)
    known = spec.prices
    if where is None:
        series = known.load(study.study_name, **reading)
    else:
        series = known.series(where, **reading)
    required_spec(study, series)
    return series


study_prices = study_series


def _compared(spec: StudySpec) -> dict[str, Any]:
    """Return what must be the same for a study to go on: versions and names need not."""
    document = spec.model_dump(exclude={"versions"})
    document["metric"] = spec.metric
    free = ("name", "source", "calendar", "unit", "step", "reading")
    document["prices"] = {k: value for k, value in spec.prices if k not in free}
    document["prices"] |= {key: spec.prices.reading.get(key) for key in _CALENDAR}
    return document


def store_spec(study: optuna.Study, spec: StudySpec) -> None:
    """Store ``spec`` in a new study, and name its objective for the dashboard."""
    study.set_user_attr(_ATTRIBUTE, spec.model_dump(mode="json", exclude_none=True))
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        study.set_metric_names([spec.metric])


def _differences(
    mine: dict[str, Any], theirs: dict[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    """Return (dotted path, mine, theirs) wherever two nested dicts differ."""
    found = []
    for key in {**mine, **theirs}:
        a, b = mine.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((prefix + key, a, b))
    return found
