"""What one field of a space may be: a range, choices, or a fixed value."""

from typing import Annotated, Any, Self, TypeVar

from optuna.trial import BaseTrial
from pydantic import Discriminator, Field, Tag, model_validator

from foretune.datasets.common.records import Listed, StrictModel

Value = TypeVar("Value")

# The tags that tell pydantic which of a fixed value, choices and a range was given.
FIXED, CHOICES, RANGE = TAGS = "fixed", "choices", "range"

# Every trial stores the choices that it had.
MAX_CHOICES = 1000


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


Choices = Annotated[Listed[Value], Field(max_length=MAX_CHOICES), Tag(CHOICES)]
IntDimension = Annotated[
    Annotated[int, Tag(FIXED)] | Annotated[IntRange, Tag(RANGE)] | Choices[int],
    Discriminator(_kind),
]
FloatDimension = Annotated[
    Annotated[float, Tag(FIXED)] | Annotated[FloatRange, Tag(RANGE)] | Choices[float],
    Discriminator(_kind),
]
NameDimension = Annotated[Annotated[Value, Tag(FIXED)] | Choices[Value], Discriminator(_kind)]

# A searched or fixed field of a space.
Dimension = IntRange | FloatRange | tuple[Any, ...] | bool | int | float | str


def is_fixed(dimension: Dimension) -> bool:
    """Whether a study has no parameter for ``dimension``."""
    return not isinstance(dimension, IntRange | FloatRange | tuple)


def can_draw(dimension: Dimension, value: Any) -> bool:
    """Whether a trial can choose ``value``."""
    if isinstance(dimension, FloatRange):
        return bool(dimension.low <= value <= dimension.high)
    if isinstance(dimension, IntRange):
        inside = dimension.low <= value <= dimension.high
        return bool(inside and (value - dimension.low) % dimension.step == 0)
    return value in dimension if isinstance(dimension, tuple) else bool(value == dimension)


def ends(dimension: Any) -> tuple[Any, ...]:
    """Return the values of ``dimension`` that a rule on it can fail at."""
    if isinstance(dimension, IntRange | FloatRange):
        return dimension.low, dimension.high
    return dimension if isinstance(dimension, tuple) else (dimension,)


def format_dimension(dimension: Dimension) -> tuple[str, str]:
    """Return the range and the scale of ``dimension``."""
    if isinstance(dimension, tuple):
        return ", ".join(map(str, dimension)), "one of these"
    if not isinstance(dimension, IntRange | FloatRange):
        return str(dimension), "fixed"
    step = dimension.step if isinstance(dimension, IntRange) else 1
    linear = "linear" if step == 1 else f"in steps of {step}"
    return f"{dimension.low} to {dimension.high}", "logarithmic" if dimension.log else linear


def suggest(trial: BaseTrial, name: str, dimension: Any) -> Any:
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
