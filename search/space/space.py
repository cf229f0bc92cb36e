"""SearchSpace: what a study may choose from, and the config that a trial chose."""

import os
from typing import Annotated, Any, Literal, Self, TypeVar

import tomli_w
from optuna.trial import BaseTrial
from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.html_table import html_table
from foretune.datasets.common.records import (
    CHOICES,
    FIXED,
    RANGE,
    StrictModel,
    format_validation_error,
    list_to_tuple,
)
from foretune.datasets.common.toml_files import parse_toml, read_text
from foretune.datasets.transforms import ScalingName
from foretune.models.config import MAX_LAYERS, CellName, OptimizerName, TrialConfig

Value = TypeVar("Value")

# Every trial stores the choices that it had.
MAX_CHOICES = 1000

_POWERS_OF_TWO: list[int] = [2**power for power in range(3, 13)]


class IntRange(StrictModel):
    """Whole numbers from ``low`` to ``high``, both included, ``step`` apart or log-uniform."""

    low: int
    high: int
    step: int = Field(default=1, ge=1)
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ordered(self)
        if self.log and self.step != 1:
            raise ValueError("a range with either log or a step, not both")
        if (self.high - self.low) % self.step:
            raise ValueError(f"a range whose high is whole steps of {self.step} above its low")
        return self


class FloatRange(StrictModel):
    """Numbers from ``low`` to ``high``, both included; log-uniform where ``log``."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _require_ordered(self)
        return self


def _require_ordered(range_: IntRange | FloatRange) -> None:
    if range_.high < range_.low:
        raise ValueError(f"a range whose high is at least its low {range_.low}")
    if range_.log and range_.low <= 0:
        raise ValueError("a range with a low above 0 where log is true")


def _kind(value: Any) -> str:
    if isinstance(value, dict | IntRange | FloatRange):
        return RANGE
    return CHOICES if isinstance(value, tuple | list) else FIXED


Choices = Annotated[
    tuple[Value, ...],
    BeforeValidator(list_to_tuple),
    Field(min_length=1, max_length=MAX_CHOICES),
    Tag(CHOICES),
]
IntDimension = Annotated[
    Annotated[int, Tag(FIXED)] | Annotated[IntRange, Tag(RANGE)] | Choices[int],
    Discriminator(_kind),
]
FloatDimension = Annotated[
    Annotated[float, Tag(FIXED)] | Annotated[FloatRange, Tag(RANGE)] | Choices[float],
    Discriminator(_kind),
]


# A searched or fixed field of a space.
Dimension = IntRange | FloatRange | tuple[Any, ...] | int | float | str


class SearchSpace(StrictModel):
    """What a study searches: each field a range, a tuple of choices, or one fixed value.

    In TOML a range is a table, choices are an array, a fixed value is itself::

        units = [32, 64]
        learning_rate = {low = 1e-4, high = 1e-2, log = true}
        dropout = 0.2

    The fields are those of :class:`TrialConfig`, except that ``layers`` and ``units`` (drawn
    anew for each layer: parameters ``units_1``, ``units_2``, ...) make its ``units``, and that
    ``pad_units_to`` may be ``"auto"``: 1, but for a range of units a multiple that leaves at most
    four widths a layer to compile.

    Example:
        >>> space = SearchSpace(layers=1, units=(16, 32), epochs=5)
        >>> space.suggest(optuna.trial.FixedTrial(
        ...     {"units_1": 32, "unroll_length": 25, "learning_rate": 1e-3, "dropout": 0.1}
        ... )).units
        (32,)
    """

    layers: IntDimension = (1, 2)
    units: IntDimension = (32, 64)
    pad_units_to: int | Literal["auto"] = "auto"
    unroll_length: IntDimension = (25, 50)
    learning_rate: FloatDimension = FloatRange(low=1e-4, high=1e-2, log=True)
    dropout: FloatDimension = FloatRange(low=0.0, high=0.5)
    batch_size: IntDimension = 64
    cell: Annotated[Annotated[CellName, Tag(FIXED)] | Choices[CellName], Discriminator(_kind)] = (
        "lstm"
    )
    optimizer: Annotated[
        Annotated[OptimizerName, Tag(FIXED)] | Choices[OptimizerName], Discriminator(_kind)
    ] = "adam"
    scaling: Annotated[
        Annotated[ScalingName, Tag(FIXED)] | Choices[ScalingName], Discriminator(_kind)
    ] = "log_returns"
    scaling_window: int = 2500
    smoothing: float = 0.0
    label_offset: int = 1
    clip_norm: float = 5.0
    epochs: int = 12
    steps_per_epoch: int = 60
    decay_factor: float = 0.5
    decay_patience: int = 2
    min_learning_rate: float = 1e-6
    stop_patience: int = 5
    seed: int = 0

    @model_validator(mode="after")
    def _every_candidate_is_allowed(self) -> Self:
        """Try the ends of every range and every choice on TrialConfig, whose rules count."""
        for layers in _ends(self.layers):
            if not 1 <= layers <= MAX_LAYERS:
                raise ConfigError(f"layers must be 1 to {MAX_LAYERS}, but got {layers}")
        for name in type(self).model_fields:
            known = name == "layers" or getattr(self, name) == "auto"
            for value in () if known else _ends(getattr(self, name)):
                candidate: dict[str, Any] = {name: (value,) if name == "units" else value}
                TrialConfig(**candidate)
        return self

    def suggest(self, trial: BaseTrial) -> TrialConfig:
        """Return the config that ``trial`` chooses.

        Args:
            trial: a live trial, a ``FixedTrial`` or a stored ``FrozenTrial``; the same
                parameters give the same config from each of them.
        """
        layers = _suggest(trial, "layers", self.layers)
        units = tuple(_suggest(trial, f"units_{n}", self.units) for n in range(1, layers + 1))
        others = {
            name: _suggest(trial, name, getattr(self, name))
            for name in type(self).model_fields
            if name not in ("layers", "units", "pad_units_to")
        }
        return TrialConfig(units=units, pad_units_to=self._padding, **others)

    @property
    def _padding(self) -> int:
        if isinstance(self.pad_units_to, int):
            return self.pad_units_to
        if not isinstance(self.units, IntRange):
            return 1
        low, high, step = self.units.low, self.units.high, self.units.step
        if not self.units.log and (high - low) // step < 4:
            return 1
        # The smallest power of two of which at most four multiples cover the range.
        return min(p for p in _POWERS_OF_TWO if -(-high // p) - (low - 1) // p <= 4)

    def fix(self, **values: Any) -> Self:
        """Return this space with fields replaced, e.g. ``space.fix(dropout=0.2, epochs=20)``."""
        return self.replace(**values)

    @property
    def history(self) -> int:
        """Days that an unroll and its furthest label span, whatever a trial chooses."""
        return int(max(_ends(self.unroll_length)) + max(_ends(self.label_offset)) - 1)

    def _repr_html_(self) -> str:
        """Show every parameter with its range and scale in a notebook."""
        rows = [(name, *_in_words(getattr(self, name))) for name in type(self).model_fields]
        return html_table(rows, header=("parameter", "range", "scale"), caption="SearchSpace")

    def to_toml(self) -> str:
        """Return the space as TOML."""
        return tomli_w.dumps(self.model_dump(mode="json"))

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a space from TOML; fields left out keep their defaults.

        Raises:
            ConfigError: not TOML, an unknown key, a wrong type or a value out of range.
        """
        document = parse_toml(text, "a search space")
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            raise ConfigError(format_validation_error(error, cls)) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the space in the TOML file ``path``.

        Raises:
            ConfigError: the file cannot be read or holds no valid space; names the file.
        """
        text = read_text(path, "a search space")
        try:
            return cls.from_toml(text)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None


def _ends(dimension: Any) -> tuple[Any, ...]:
    """Return the values of ``dimension`` that a rule on it can fail at."""
    if isinstance(dimension, IntRange | FloatRange):
        return dimension.low, dimension.high
    return dimension if isinstance(dimension, tuple) else (dimension,)


def _in_words(dimension: Dimension) -> tuple[str, str]:
    """Return the range and the scale of ``dimension``."""
    if isinstance(dimension, tuple):
        return ", ".join(map(str, dimension)), "one of these"
    if not isinstance(dimension, IntRange | FloatRange):
        return str(dimension), "fixed"
    step = dimension.step if isinstance(dimension, IntRange) else 1
    linear = "linear" if step == 1 else f"in steps of {step}"
    return f"{dimension.low} to {dimension.high}", "logarithmic" if dimension.log else linear


def _suggest(trial: BaseTrial, name: str, dimension: Any) -> Any:
    """Ask ``trial`` for ``name``; a fixed value is no parameter of the study."""
    if isinstance(dimension, FloatRange):
        return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    if isinstance(dimension, IntRange):
        return trial.suggest_int(
            name, dimension.low, dimension.high, step=dimension.step, log=dimension.log
        )
    if isinstance(dimension, tuple):
        return trial.suggest_categorical(name, dimension)
    return dimension
