"""Immutable, strictly validated records whose mistakes read as one line."""

import re
import reprlib
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from foretune.datasets.common.errors import ConfigError

# The tags by which a union of a fixed value, choices and a range is told apart.
FIXED, CHOICES, RANGE = "fixed", "choices", "range"
_UNION_TAGS = (FIXED, CHOICES, RANGE)

# So many mistakes are told of one document; a list may hold a hundred thousand of them.
_MOST_MISTAKES = 10


class StrictModel(BaseModel):
    """A frozen pydantic model: no unknown keys, no coercion, no NaN or infinity.

    Raises:
        ConfigError: one line that names each wrong field, its value and what is allowed.

    Example:
        >>> class Dropout(StrictModel):
        ...     rate: float = 0.2
        >>> Dropout(rate="high")
        Traceback (most recent call last):
        foretune.datasets.common.errors.ConfigError: rate must be a valid number, but got 'high'
    """

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    # Hidden from type checkers so that they keep seeing one keyword per field.
    if not TYPE_CHECKING:

        def __init__(self, /, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as error:
                raise ConfigError(format_validation_error(error, type(self))) from None

        # Nested models are then validated without this __init__, and keep their place in the error.
        __init__.__pydantic_base_init__ = True

    def replace(self, **changes: Any) -> Self:
        """Return a copy with fields changed, validated like a new one."""
        return type(self)(**{**dict(self), **changes})


def list_to_tuple(value: Any) -> Any:
    """Return a list, which is all that TOML and JSON have, as the tuple that a model wants."""
    return tuple(value) if isinstance(value, list) else value


def format_validation_error(error: ValidationError, model: type[BaseModel]) -> str:
    """Return one line for all mistakes in ``error``, e.g. ``epochs must be ..., but got -3``."""
    details = error.errors(include_url=False, include_context=False)
    told = [_describe_one(detail, model) for detail in details[:_MOST_MISTAKES]]
    more = len(details) - len(told)
    return "; ".join([*told, f"and {more} more mistakes"] if more else told)


class _Shown(reprlib.Repr):
    """``repr``, cut where a value is long or nested too deep for Python's own."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = 100
        self.maxtuple = self.maxlist = self.maxdict = 10

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write whole numbers of more than 4300 digits.
        return super().repr_int(x, level) if x.bit_length() < 10_000 else "a huge whole number"


def shown(value: object) -> str:
    """Return ``repr(value)``, cut to a length that a line has room for.

    Example:
        >>> shown("x" * 1000)
        "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    return _Shown().repr(value)


def _describe_one(detail: Any, model: type[BaseModel]) -> str:
    # The names in _UNION_TAGS say which kind of value was read; the user wrote no such key.
    parts = [str(part) for part in detail["loc"] if part not in _UNION_TAGS]
    if detail["type"] == "extra_forbidden":
        return f"unknown key {shown('.'.join(parts))}{_allowed_keys(detail, model)}"
    field = ".".join(map(_part, parts)) or model.__name__
    if detail["type"] == "missing":
        return f"{field} is missing"
    rule = re.sub(r"^Value error, ", "be ", re.sub(r"^\w+ should ", "", detail["msg"]))
    return f"{field} must {rule}, but got {shown(detail['input'])}"


def _part(key: str) -> str:
    """Return a key as it is written, but quoted where it is long or odd."""
    return key if len(key) <= 100 and key.isprintable() else shown(key)


def _allowed_keys(detail: Any, model: type[BaseModel]) -> str:
    return f"; allowed are {', '.join(model.model_fields)}" if len(detail["loc"]) == 1 else ""
