"""StudySpec: what a study is about, stored in the study itself."""

import warnings
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import optuna
from optuna.exceptions import ExperimentalWarning
from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.records import StrictModel, list_to_tuple
from foretune.datasets.sources.load import as_data, load_series_of
from foretune.datasets.splits import (
    DevelopmentData,
    Split,
    chronological_split,
    default_stride,
    development_folds,
)
from foretune.datasets.transforms import SpaceName
from foretune.models.config import MetricName
from foretune.search.space.space import SearchSpace

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries

# The metric of a study that names none.
OBJECTIVE_NAME: MetricName = "relative_mse"

_ATTRIBUTE = "foretune_spec"
# What no series has and no study trains: a document with more is not one of foretune's.
MAX_DAYS, MAX_FOLDS = 10_000_000, 1000
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
    series_count: int = Field(default=1, ge=1, le=MAX_DAYS, description="series of a panel")
    shortest: int | None = Field(
        default=None, ge=1, le=MAX_DAYS, description="rows of its shortest one, where they differ"
    )

    @classmethod
    def of(cls, data: Any) -> Self:
        """Describe a series, a panel, or prices."""
        from foretune.datasets.history import moment
        from foretune.datasets.prices import PriceSeries

        series = data.series() if isinstance(data, PriceSeries) else data
        known: dict[str, Any] = {}
        if (shortest := min(map(len, series.members))) < len(series):
            known["shortest"] = shortest
        if series.error_space != "log" or series.target_name != "mid price":
            known |= {"calendar": str(series.calendar), "unit": series.unit}
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
            series_count=len(series.members),
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

    def series(self, data: Any, **reading: Any) -> "TimeSeries | Panel":
        """Return ``data``, an object or where it is, as the series that this describes.

        ``reading`` takes the place of how the data were read then.
        """
        from foretune.datasets.panel import Panel
        from foretune.datasets.prices import PriceSeries
        from foretune.datasets.series import TimeSeries

        if isinstance(data, TimeSeries | Panel):
            return data
        # How a file was read does not concern prices that have been read.
        of_calendar = {key: self.reading[key] for key in _CALENDAR if key in self.reading}
        known = of_calendar if isinstance(data, PriceSeries) else self.reading
        return as_data(data, **known | {"target": self.target_key} | reading)

    def load(self, study: str, file: str | None = None, **reading: Any) -> "TimeSeries | Panel":
        """Load the data from where the study knows them to be.

        Args:
            study: its name, for messages.
            file: which they were read from, where it is still there.
            **reading: in place of how they were read then.

        Raises:
            ConfigError: the source is no name.
            DataError: there are none.
        """
        known = self.reading | {"target": self.target_key}
        return load_series_of(study, self.source, file, **known | reading)

    @property
    def what(self) -> str:
        """What messages call the data: "prices" or "data"."""
        return "prices" if self.space == "log" else "data"

    @property
    def size(self) -> str:
        """How many rows there are: "17,544 hours", "414 series of 700 to 960 hours"."""
        rows = f"{self.days:,} {self.step}s"
        if self.shortest is not None:
            rows = f"{self.shortest:,} to {rows}"
        return rows if self.series_count == 1 else f"{self.series_count:,} series of {rows}"

    @property
    def in_words(self) -> str:
        """Which data these are, to tell them from others."""
        return format_data(self.target, self.days, self.last_date, self.digest)

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
    store_data: bool = Field(
        default=True,
        exclude_if=lambda stored: stored,  # as in the first version
        description="whether the study holds its data",
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

    @property
    def whole_split(self) -> Split:
        """How the rows of the study are split."""
        return self.split_days(self.prices.days)

    def series(self, data: Any, **reading: Any) -> "TimeSeries | Panel":
        """Return ``data`` as the series that the study forecasts, see :meth:`PricesSpec.series`."""
        return self.prices.series(data, **reading)

    def development(self, data: Any) -> tuple[DevelopmentData, ...]:
        """Return the rows of ``data`` that trials may see, of each fold.

        ``data`` are the study's, or only their rows before the test.
        """
        return development_folds(self.series(data), self.whole_split, self.split.folds)

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
            remedy = "give the same values or another study name"
            if self.prices.digest != other.prices.digest:
                remedy = (
                    "newer data are a new study's, which begins at this one's best config with "
                    f"start_from={study_name!r} (--start-from)"
                )
            raise ConfigError(
                f"study {study_name!r} exists with another spec: {'; '.join(differences[:3])}; "
                f"{remedy}"
            )


def format_data(target: str, rows: int, last: str, digest: str) -> str:
    """Return which data they are, in words."""
    return f"{target} of {rows} rows to {last} (digest {digest[:12]})"


def required_spec(study: optuna.Study) -> StudySpec:
    """Return the spec of ``study``.

    Raises:
        ConfigError: foretune did not make the study.
    """
    spec = StudySpec.stored(study)
    if spec is None:
        raise ConfigError(f"study {study.study_name!r} must be one that foretune made")
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


def _compared(spec: StudySpec) -> dict[str, Any]:
    """Return what must be the same for a study to go on: versions and names need not."""
    document = spec.model_dump(exclude={"versions"})
    document["metric"], document["store_data"] = spec.metric, spec.store_data
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
