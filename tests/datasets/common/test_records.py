"""StrictModel: nothing is coerced, nothing is ignored, and a mistake reads as one line."""

import copy
import pickle
from typing import Annotated, Any, ClassVar

import numpy as np
import pytest
from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from foretune.datasets.common.errors import MAX_MESSAGE, ConfigError, DataError, ForetuneError
from foretune.datasets.common.records import StrictModel, format_validation_error


class Range(StrictModel):
    low: int
    high: int = 10

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        if self.low > self.high:
            raise ValueError("a range whose high is at least its low")
        return self


def kind(value: Any) -> str:
    return "range" if isinstance(value, dict | Range) else "one"


class Settings(StrictModel):
    _TAGS: ClassVar[tuple[str, ...]] = ("one", "range")

    rate: float = Field(default=0.5, ge=0, lt=1)
    steps: int = Field(default=3, ge=1)
    name: str = "x"
    widths: Annotated[
        Annotated[int, Tag("one")] | Annotated[Range, Tag("range")], Discriminator(kind)
    ] = 4
    inner: Range = Range(low=1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rate": "high"}, "rate must be a valid number, but got 'high'"),
        ({"rate": 1.0}, "rate must be less than 1, but got 1.0"),
        ({"rate": float("nan")}, "rate must be a finite number, but got nan"),
        ({"rate": float("inf")}, "rate must be a finite number, but got inf"),
        ({"rate": True}, "rate must be a valid number, but got True"),
        ({"rate": None}, "rate must be a valid number, but got None"),
        ({"steps": 0}, "steps must be greater than or equal to 1, but got 0"),
        ({"steps": 3.0}, "steps must be a valid integer, but got 3.0"),
        ({"steps": "3"}, "steps must be a valid integer, but got '3'"),
        ({"steps": True}, "steps must be a valid integer, but got True"),
        ({"name": 3}, "name must be a valid string, but got 3"),
        ({"name": b"x"}, "name must be a valid string, but got b'x'"),
        (
            {"rte": 0.1},
            "unknown key 'rte'; allowed are rate, steps, name, widths, inner",
        ),
        ({"inner": {}}, "inner.low is missing"),
        ({"inner": {"low": 1, "lwo": 1}}, "unknown key 'inner.lwo'"),
        ({"inner": {"low": "a"}}, "inner.low must be a valid integer, but got 'a'"),
        # The names of a union's branches are no keys that anyone wrote.
        ({"widths": "a"}, "widths must be a valid integer, but got 'a'"),
        ({"widths": {"low": "a"}}, "widths.low must be a valid integer, but got 'a'"),
        (
            {"inner": {"low": 11}},
            "inner must be a range whose high is at least its low, but got {'low': 11}",
        ),
        (
            {"rate": 2.0, "steps": 0},
            "rate must be less than 1, but got 2.0; "
            "steps must be greater than or equal to 1, but got 0",
        ),
    ],
)
def test_a_mistake_reads_as_one_line(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        Settings(**fields)
    assert str(refusal.value) == message
    assert refusal.value.__cause__ is None


def test_describe_says_the_same_of_a_validated_document() -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings.model_validate({"steps": 0, "inner": {}})
    assert format_validation_error(refusal.value, Settings) == (
        "steps must be greater than or equal to 1, but got 0; inner.low is missing"
    )


def test_a_mistake_of_the_whole_is_told_by_the_models_name() -> None:
    with pytest.raises(ConfigError, match=r"^Range must be a range whose high is at least its"):
        Range(low=11)


def test_defaults_are_validated_too() -> None:
    class Wrong(StrictModel):
        steps: int = Field(default=0, ge=1)

    with pytest.raises(ConfigError, match=r"steps must be greater than or equal to 1, but got 0"):
        Wrong()


def test_records_are_values() -> None:
    settings = Settings(rate=0.25, inner=Range(low=2))
    assert settings == Settings(rate=0.25, inner=Range(low=2))
    assert hash(settings) == hash(Settings(rate=0.25, inner=Range(low=2)))
    assert settings != Settings(rate=0.25)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert copy.deepcopy(settings) == settings
    with pytest.raises(ValidationError, match="frozen"):
        settings.rate = 0.5  # type: ignore[misc]


def test_numpys_float64_is_kept_as_a_plain_float() -> None:
    rate = Settings(rate=np.float64(0.25)).rate
    assert (type(rate), rate) == (float, 0.25)
    with pytest.raises(ConfigError, match=r"steps must be a valid integer"):
        Settings(steps=np.int64(3))  # type: ignore[arg-type]


def nested(depth: int) -> dict[str, Any]:
    """A table in a table in a table."""
    table: dict[str, Any] = {}
    for _ in range(depth):
        table = {"a": table}
    return table


def test_a_mistake_is_short_whatever_was_given() -> None:
    huge: dict[str, Any] = {"steps": -(10**1000), "rate": "x" * 10**6, "inner": nested(10**5)}
    for name, value in (*huge.items(), ("x" * 10**6, 1), ("widths", [0] * 10**5)):
        with pytest.raises(ConfigError) as refusal:
            Settings(**{name: value})
        assert len(str(refusal.value)) < 400


class Labels(StrictModel):
    labels: dict[str, str]


def test_a_key_that_the_user_wrote_is_printed_in_the_line() -> None:
    with pytest.raises(ConfigError) as refusal:
        Labels(labels={"a\nb\x1b[2J": 1})  # type: ignore[dict-item]
    assert str(refusal.value) == r"labels.a b\x1b[2J must be a valid string, but got 1"


@pytest.mark.parametrize("kind", [ConfigError, DataError, ForetuneError])
def test_an_error_is_one_line_of_its_kind(kind: type[ForetuneError]) -> None:
    error = kind("a file\n  has   two\tlines\r\n")
    assert str(error) == "a file has two lines"
    assert isinstance(error, ForetuneError)
    assert not isinstance(error, ValueError)


def test_an_error_prints_and_has_an_end() -> None:
    assert str(ForetuneError("a\x1b[2J\x00\u2028b\udcff: größe")) == r"a\x1b[2J\x00 b\udcff: größe"
    message = str(ForetuneError("p.csv: " + "x" * 10**6 + " must be short"))
    assert message.startswith("p.csv: xxx")
    assert message.endswith("xxx must be short")
    assert len(message) == MAX_MESSAGE + len(" ... ")
