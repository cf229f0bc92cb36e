"""StudySpec: what a study is about, stored in the study itself."""

from importlib.metadata import version
from typing import Any, Self

import optuna
from pydantic import Field

from foretune.datasets.errors import ConfigError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import Split, chronological_split
from foretune.datasets.strict_model import StrictModel
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

    def store(self, study: optuna.Study) -> None:
        """Write the spec into ``study``."""
        study.set_user_attr(_ATTRIBUTE, self.model_dump(mode="json"))

    @classmethod
    def stored(cls, study: optuna.Study) -> Self | None:
        """Read the spec from ``study``; None if foretune did not make it."""
        document = study.user_attrs.get(_ATTRIBUTE)
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


def current_versions() -> dict[str, str]:
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
