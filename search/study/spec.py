"""StudySpec: what a study is about, stored in the study itself."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.study import StudyDirection
from pydantic import Field, model_validator

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.records import StrictModel
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.load import load_prices, load_prices_of
from foretune.datasets.splits import (
    DevelopmentData,
    Split,
    chronological_split,
    default_stride,
    development_folds,
)
from foretune.models.runtime.versions import versions
from foretune.search.space.space import SearchSpace

# What the value of a study is called, in the dashboard too.
OBJECTIVE_NAME = "relative_mse"

_ATTRIBUTE = "foretune_spec"
# What no series has and no study trains: a document with more is not one of foretune's.
MAX_DAYS, MAX_FOLDS = 10_000_000, 1000


class PricesSpec(StrictModel):
    """Which prices: ``digest`` is of their content, wherever the file lies."""

    name: str
    source: str
    digest: str
    days: int = Field(ge=1, le=MAX_DAYS)
    first_date: str
    last_date: str

    @classmethod
    def of(cls, prices: PriceSeries) -> Self:
        """Describe ``prices``."""
        return cls(
            name=prices.name,
            source=prices.source,
            digest=prices.digest,
            days=len(prices),
            first_date=str(prices.dates[0]),
            last_date=str(prices.dates[-1]),
        )


class SplitSpec(StrictModel):
    """How the days are split; see :func:`foretune.datasets.splits.chronological_split`."""

    horizon: int = Field(
        default=50, ge=1, le=MAX_DAYS, description="days forecast from each origin, and both gaps"
    )
    stride: int = Field(
        default=10,
        ge=1,
        le=MAX_DAYS,
        description="days from one forecast origin to the next; a fifth of the horizon by default",
    )
    train_fraction: float = Field(default=0.6, gt=0, lt=1)
    validation_fraction: float = Field(default=0.2, gt=0, lt=1)
    folds: int = Field(
        default=1,
        ge=1,
        le=MAX_FOLDS,
        description="blocks of the validation part, each with training of its own",
    )

    @model_validator(mode="before")
    @classmethod
    def _stride_follows_horizon(cls, given: Any) -> Any:
        horizon = given.get("horizon") if isinstance(given, dict) else None
        if not isinstance(horizon, int) or horizon < 1 or "stride" in given:
            return given
        return given | {"stride": default_stride(horizon)}

    def split(self, days: int, *, history: int) -> Split:
        """Split ``days`` days, with ``history`` days before the first origin."""
        return chronological_split(days, history=history, **self.model_dump(exclude={"folds"}))


class StudySpec(StrictModel):
    """Everything that the value of a trial depends on besides its parameters."""

    _TAGS: ClassVar[tuple[str, ...]] = SearchSpace._TAGS

    prices: PricesSpec
    split: SplitSpec
    space: SearchSpace
    seed: int = Field(ge=0, lt=2**32, description="seed of the sampler")
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
        """Split this many days as the study does."""
        return self.split.split(days, history=self.space.history)

    def development(self, prices: PriceSeries) -> tuple[DevelopmentData, ...]:
        """Return the days of ``prices`` that trials may see, of each fold."""
        return development_folds(prices, self.split_days(len(prices)), self.split.folds)

    def require_same(self, other: "StudySpec", study_name: str) -> None:
        """Refuse to continue a study under another spec; versions may differ.

        Raises:
            ConfigError: names the first few differences with both values.
        """
        differences = [
            f"{path} is {mine!r} there, but got {theirs!r}"
            for path, mine, theirs in _differences(self.model_dump(), other.model_dump())
            if not path.startswith(("versions", "prices.name", "prices.source"))
        ]
        if differences:
            raise ConfigError(
                f"study {study_name!r} exists with another spec: {'; '.join(differences[:3])}; "
                "give the same values or another study name"
            )


def agreed_spec(
    study: optuna.Study | None,
    prices: PriceSeries,
    split: Mapping[str, int | None],
    *,
    space: SearchSpace | None,
    epochs: int | None,
    seed: int | None,
) -> StudySpec:
    """Return the spec that ``study`` has, or that a new one would get; nothing is written.

    ``split`` holds fields of :class:`SplitSpec`. What is None is taken from the study, or is the
    default for a new one.

    Raises:
        ConfigError: a value out of range, or one that contradicts the study's own; or the study
            is another program's.
    """
    stored = None if study is None else StudySpec.stored(study)
    space = space or (stored.space if stored else SearchSpace())
    given = {key: value for key, value in split.items() if value is not None}
    spec = StudySpec(
        prices=PricesSpec.of(prices),
        split=SplitSpec(**(stored.split.model_dump() if stored else {}) | given),
        space=space if epochs is None else space.fix(epochs=epochs),
        seed=(stored.seed if stored else 0) if seed is None else seed,
        versions=versions("optuna"),
    )
    if study is None:
        return spec
    if stored is not None:
        stored.require_same(spec, study.study_name)
        return stored
    if study.get_trials(deepcopy=False) or study.directions != [StudyDirection.MINIMIZE]:
        raise ConfigError(
            f"study {study.study_name!r} was not made by foretune; give another study name"
        )
    return spec


def required_spec(study: optuna.Study, prices: PriceSeries | None = None) -> StudySpec:
    """Return the spec of ``study``.

    Raises:
        ConfigError: foretune did not make the study, or ``prices`` are not its own.
    """
    spec = StudySpec.stored(study)
    if spec is None:
        raise ConfigError(f"study {study.study_name!r} must be one that foretune made")
    if prices is not None and spec.prices.digest != prices.digest:
        raise ConfigError(
            f"prices must be those of study {study.study_name!r} (digest "
            f"{spec.prices.digest[:12]}), but got {prices.digest[:12]}"
        )
    return spec


def study_prices(study: optuna.Study, where: str | None = None) -> PriceSeries:
    """Load the prices of ``study``.

    Args:
        study: a study of :func:`run_study`.
        where: as for :func:`load_prices`; None for where the study knows them to be: a sample, a
            simulation, a download, or a file of that name in this folder.

    Raises:
        ConfigError: foretune did not make the study, or these are other prices.
        DataError: there are no prices.
    """
    source = required_spec(study).prices.source
    prices = load_prices_of(study.study_name, source) if where is None else load_prices(where)
    required_spec(study, prices)
    return prices


def store_spec(study: optuna.Study, spec: StudySpec) -> None:
    """Store ``spec`` in a new study, and name its objective for the dashboard."""
    study.set_user_attr(_ATTRIBUTE, spec.model_dump(mode="json"))
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        study.set_metric_names([OBJECTIVE_NAME])


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
