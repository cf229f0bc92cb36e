"""StudySpec: what a study is about, stored in the study itself."""

import warnings
from importlib.metadata import version
from typing import Any, Self

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from pydantic import Field

from foretune.datasets.errors import ConfigError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import Split, chronological_split
from foretune.datasets.strict_model import StrictModel
from foretune.search.objective import OBJECTIVE_NAME
from foretune.search.space import SearchSpace

_ATTRIBUTE = "foretune_spec"
_VERSIONED = ("foretune", "jax", "flax", "optax", "optuna", "numpy")


class PricesSpec(StrictModel):
    """Which prices: ``digest`` is of their content, wherever the file lies."""

    name: str
    source: str
    digest: str
    days: int
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
        default=50, ge=1, description="days forecast from each origin, and both gaps"
    )
    stride: int = Field(default=10, ge=1, description="days from one forecast origin to the next")
    train_fraction: float = Field(default=0.6, gt=0, lt=1)
    validation_fraction: float = Field(default=0.2, gt=0, lt=1)

    def split(self, days: int, *, history: int) -> Split:
        """Split ``days`` days, with ``history`` days before the first origin."""
        return chronological_split(days, history=history, **dict(self))


class StudySpec(StrictModel):
    """Everything that the value of a trial depends on besides its parameters."""

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
        return None if document is None else cls(**document)

    def require_same(self, other: "StudySpec", study_name: str) -> None:
        """Refuse to go on with a study under another spec; versions may differ.

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
    name: str,
    storage: BaseStorage,
    prices: PriceSeries,
    *,
    space: SearchSpace | None = None,
    epochs: int | None = None,
    horizon: int | None = None,
    stride: int | None = None,
    seed: int | None = None,
) -> StudySpec:
    """Return the spec that study ``name`` has, or would get; nothing is written.

    What is None is taken from the study, or is the default for a new one.

    Raises:
        ConfigError: a value out of range, or one that contradicts the study's own.
    """
    stored = _stored_spec(name, storage)
    space = space or (stored.space if stored else SearchSpace())
    split = stored.split if stored else SplitSpec()
    spec = StudySpec(
        prices=PricesSpec.of(prices),
        split=SplitSpec(
            horizon=split.horizon if horizon is None else horizon,
            stride=split.stride if stride is None else stride,
            train_fraction=split.train_fraction,
            validation_fraction=split.validation_fraction,
        ),
        space=space if epochs is None else space.fix(epochs=epochs),
        seed=(stored.seed if stored else 0) if seed is None else seed,
        versions=_versions(),
    )
    if stored is None:
        return spec
    stored.require_same(spec, name)
    return stored


def store_spec(study: optuna.Study, spec: StudySpec) -> None:
    """Store ``spec`` in a new study, and name its objective for the dashboard."""
    study.set_user_attr(_ATTRIBUTE, spec.model_dump(mode="json"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([OBJECTIVE_NAME])


def _stored_spec(name: str, storage: BaseStorage) -> StudySpec | None:
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
    stored = StudySpec.stored(study)
    minimises = study.directions == [StudyDirection.MINIMIZE]
    if stored is None and (study.get_trials(deepcopy=False) or not minimises):
        raise ConfigError(f"study {name!r} was not made by foretune; give another study name")
    return stored


def _versions() -> dict[str, str]:
    """Return the versions of what computes a trial's value."""
    return {name: version(name) for name in _VERSIONED}


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
