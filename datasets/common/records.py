"""Immutable, strictly validated records whose mistakes read as one line."""

import re
import reprlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from foretune.datasets.common.errors import ConfigError

_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 100
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = 10


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

    # Tags of unions in the fields: the user wrote no such keys.
    _TAGS: ClassVar[tuple[str, ...]] = ()

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
        """Return a copy with fields changed, validated like a new one.

        A field that was never given stays one that was not.
        """
        given = {name: value for name, value in self if name in self.model_fields_set}
        return type(self)(**{**given, **changes})


def list_to_tuple(value: Any) -> Any:
    """Return a list, which is all that TOML and JSON have, as the tuple that a model wants."""
    return tuple(value) if isinstance(value, list) else value


Item = TypeVar("Item")
Listed = Annotated[tuple[Item, ...], BeforeValidator(list_to_tuple), Field(min_length=1)]


def format_validation_error(error: ValidationError, model: type[StrictModel]) -> str:
    """Return one line for all mistakes in ``error``, e.g. ``epochs must be ..., but got -3``."""
    details = error.errors(include_url=False, include_context=False)
    return "; ".join(_format_one(detail, model) for detail in details)


def _format_one(detail: Any, model: type[StrictModel]) -> str:
    key = ".".join(str(part) for part in detail["loc"] if part not in model._TAGS)
    if detail["type"] in ("extra_forbidden", "unexpected_keyword_argument"):  # of a dataclass
        fields = f"; allowed are {', '.join(model.model_fields)}" if len(detail["loc"]) == 1 else ""
        return f"unknown key {_REPR.repr(key)}{fields}"
    field = key or model.__name__
    if detail["type"] == "missing":
        return f"{field} is missing"
    rule = re.sub(r"^Value error, ", "be ", re.sub(r"^\w+ should ", "", detail["msg"]))
    return f"{field} must {rule}, but got {_REPR.repr(detail['input'])}"
