"""The JSON Schemas accept what the loaders accept, and refuse what they refuse."""

import tomllib
from typing import Any

import jsonschema
import pytest

from foretune.datasets.common.errors import ConfigError
from foretune.models import TrialConfig
from foretune.search import FloatRange, IntRange, SearchSpace
from foretune.search.space.schema import SCHEMAS, config_schema, space_schema

SPACES = [
    SearchSpace(),
    SearchSpace(layers=1, units=(16, 32), epochs=5),
    SearchSpace(
        units=IntRange(low=16, high=128, step=16),
        learning_rate=FloatRange(low=1e-4, high=1e-2, log=True),
        cell=("lstm", "gru"),
        pad_units_to=32,
    ),
]


def accepts(schema: dict[str, Any], document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schema).is_valid(document))


@pytest.mark.parametrize("name", SCHEMAS)
def test_they_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name]())


@pytest.mark.parametrize("space", SPACES)
def test_what_a_space_writes_is_accepted(space: SearchSpace) -> None:
    assert accepts(space_schema(), tomllib.loads(space.to_toml()))


@pytest.mark.parametrize("config", [TrialConfig(), TrialConfig(units=(8, 4), cell="gru")])
def test_what_a_config_writes_is_accepted(config: TrialConfig) -> None:
    document = tomllib.loads(config.to_toml())
    assert accepts(config_schema(), document)
    assert accepts(config_schema(), document | {"result": {"trial": 3}})


@pytest.mark.parametrize(
    "text",
    [
        "unit = 3",
        'units = "many"',
        "units = {low = 1}",
        "units = {low = 1, high = 2, middle = 3}",
        'cell = "rnn"',
        "learning_rate = {low = 'a', high = 1.0}",
    ],
)
def test_what_a_space_refuses_is_refused(text: str) -> None:
    assert not accepts(space_schema(), tomllib.loads(text))
    with pytest.raises(ConfigError):
        SearchSpace.from_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        "units = [3]",
        "[config]\nunit = [3]",
        "[config]\ndropout = 1.0",
        '[config]\ncell = "rnn"',
        "[config]\nepochs = 0",
        "[config]\nlearning_rate = true",
    ],
)
def test_what_a_config_refuses_is_refused(text: str) -> None:
    assert not accepts(config_schema(), tomllib.loads(text))
    with pytest.raises(ConfigError):
        TrialConfig.from_toml(text)


def test_every_field_of_a_config_is_described() -> None:
    properties = config_schema()["properties"]["config"]["properties"]
    assert set(properties) == set(TrialConfig.model_fields)
    assert all("description" in field for field in properties.values())
