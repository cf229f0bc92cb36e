import re
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.common.errors import ConfigError
from foretune.models import TrialConfig
from foretune.models.networks.stacked import Architecture
from foretune.search import FloatRange, IntRange, SearchSpace

int_dimensions = st.one_of(
    st.integers(1, 8),
    st.lists(st.integers(1, 8), min_size=1, max_size=3, unique=True).map(tuple),
    st.tuples(st.integers(1, 4), st.integers(0, 2), st.integers(1, 2)).map(
        lambda t: IntRange(low=t[0], high=t[0] + t[1] * t[2], step=t[2])
    ),
)
rates = st.floats(1e-6, 1.0)
float_dimensions = st.one_of(
    rates,
    st.lists(rates, min_size=1, max_size=3, unique=True).map(tuple),
    st.tuples(rates, rates, st.booleans()).map(
        lambda t: FloatRange(low=min(t[:2]), high=max(t[:2]), log=t[2])
    ),
)
spaces = st.builds(
    SearchSpace,
    layers=int_dimensions,
    units=int_dimensions,
    unroll_length=st.sampled_from([8, (8, 16), IntRange(low=4, high=64, log=True)]),
    learning_rate=float_dimensions,
    dropout=st.sampled_from([0.0, (0.1, 0.2), FloatRange(low=0.0, high=0.9)]),
    optimizer=st.sampled_from(["adam", ("adam", "sgd_momentum")]),
    epochs=st.integers(1, 10_000),
)


@given(spaces)
def test_toml_round_trip_is_exact(space: SearchSpace) -> None:
    assert SearchSpace.from_toml(space.to_toml()) == space


@given(spaces, st.integers(0, 2**16))
def test_live_fixed_and_frozen_trials_give_the_same_config(space: SearchSpace, seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trial = study.ask()
    config = space.suggest(trial)
    frozen = study.get_trials()[0]
    assert space.suggest(optuna.trial.FixedTrial(frozen.params)) == config
    assert space.suggest(frozen) == config


def test_every_suggested_value_is_declared() -> None:
    space = SearchSpace(layers=(1, 3), units=IntRange(low=8, high=32, step=8), unroll_length=(5, 7))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs = [space.suggest(study.ask()) for _ in range(60)]
    assert {len(c.units) for c in configs} == {1, 3}
    assert {u for c in configs for u in c.units} == {8, 16, 24, 32}
    assert {c.unroll_length for c in configs} == {5, 7}
    assert all(1e-4 <= c.learning_rate <= 1e-2 for c in configs)
    # Log-uniform: half of the draws lie below the geometric middle, not a tenth.
    assert 15 < sum(c.learning_rate < 1e-3 for c in configs) < 45


def test_cell_optimizer_scaling_and_batch_size_can_be_searched() -> None:
    space = SearchSpace(
        cell=("lstm", "peephole_lstm", "gru"),
        optimizer=("adam", "adamw", "rmsprop", "sgd_momentum"),
        scaling=("log_returns", "windowed_min_max"),
        batch_size=(32, 64),
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs = [space.suggest(study.ask()) for _ in range(60)]
    for name in ("cell", "optimizer", "scaling", "batch_size"):
        assert {getattr(config, name) for config in configs} == set(getattr(space, name))


def test_fixed_values_are_no_parameters_of_the_study() -> None:
    study = optuna.create_study()
    trial = study.ask()
    config = SearchSpace(
        layers=2, units=16, unroll_length=25, learning_rate=1e-3, dropout=0.1
    ).suggest(trial)
    assert trial.params == {}
    assert config == TrialConfig(
        units=(16, 16), unroll_length=25, learning_rate=1e-3, dropout=0.1, epochs=12
    )


def test_fix_replaces_and_checks() -> None:
    assert SearchSpace().fix(dropout=0.2, epochs=3).dropout == 0.2
    with pytest.raises(ConfigError, match="dropout must be less than 1, but got 2"):
        SearchSpace().fix(dropout=2.0)


def test_history_is_what_the_longest_unroll_needs() -> None:
    assert SearchSpace(unroll_length=(10, 30, 20)).history == 30
    assert SearchSpace(unroll_length=IntRange(low=10, high=64), label_offset=5).history == 68


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"layers": 0}, "layers must be 1 to 8, but got 0"),
        ({"layers": [1, 9]}, "layers must be 1 to 8, but got 9"),
        ({"units": 0}, "units.0 must be greater than or equal to 1, but got 0"),
        ({"units": []}, "units must have at least 1 item"),
        ({"units": True}, "units must be a valid integer, but got True"),
        ({"learning_rate": "fast"}, "learning_rate must be a valid number, but got 'fast'"),
        ({"learning_rate": 11}, "learning_rate must be less than or equal to 10, but got 11"),
        ({"learning_rate": {"low": 1.0, "high": 0.1}}, "learning_rate must be a range whose high"),
        ({"learning_rate": {"low": 0.0, "high": 1.0, "log": True}}, "low above 0 where log"),
        ({"learning_rate": {"low": 0.1, "hi": 1.0}}, "learning_rate.high is missing"),
        ({"learning_rate": {"low": 0.1, "high": float("nan")}}, "must be a finite number"),
        ({"unroll_length": {"low": 4, "high": 8, "step": 2, "log": True}}, "either log or a step"),
        ({"units": {"low": 4, "high": 7, "step": 2}}, "units must be a range whose high is whole"),
        ({"dropout": [0.1, 1.0]}, "dropout must be less than 1, but got 1.0"),
        ({"scaling": ["log_returns", "logs"]}, "scaling.1 must be 'log_returns', "),
        ({"epochs": 0}, "epochs must be greater than or equal to 1, but got 0"),
        ({"epochs": [1, 2]}, "epochs must be a valid integer"),
        ({"lerning_rate": 0.1}, "unknown key 'lerning_rate'; allowed are layers, units"),
    ],
)
def test_mistakes_are_one_line_that_names_the_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        SearchSpace(**fields)
    assert "\n" not in str(error.value)


def test_load_names_the_file(tmp_path: Any) -> None:
    file = tmp_path / "space.toml"
    for content, message in (
        (b"units = [32, 64", "must be valid TOML"),
        (b"epochs = 'x'", "epochs must be a valid integer"),
        (b"\xff\xfe", "must be a readable text file"),
    ):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=f"space.toml: .*{message}"):
            SearchSpace.load(file)
    with pytest.raises(ConfigError, match=r"nowhere.toml: .*No such file"):
        SearchSpace.load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize(
    ("units", "padding"),
    [
        (32, 1),
        ((32, 64, 100), 1),
        (IntRange(low=32, high=128, step=32), 1),
        (IntRange(low=16, high=128), 32),
        (IntRange(low=8, high=64), 16),
        (IntRange(low=100, high=400), 128),
        (IntRange(low=1, high=4096, log=True), 1024),
        (IntRange(low=30, high=33), 1),
    ],
)
def test_a_range_of_units_is_padded_to_at_most_four_widths(units: Any, padding: int) -> None:
    space = SearchSpace(layers=1, units=units)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    configs = [space.suggest(study.ask()) for _ in range(50)]
    assert {config.pad_units_to for config in configs} == {padding}
    widths = {Architecture.of(config).padded(config).units for config in configs}
    assert len(widths) <= 4
    chosen = space.fix(pad_units_to=7)
    assert chosen.suggest(study.ask()).pad_units_to == 7
    assert SearchSpace.from_toml(space.to_toml()).pad_units_to == "auto"


@pytest.mark.parametrize("value", [0, -1, "none", 1.5])
def test_padding_must_be_a_multiple_or_auto(value: Any) -> None:
    with pytest.raises(ConfigError, match="pad_units_to"):
        SearchSpace(pad_units_to=value)


def test_a_notebook_shows_range_and_scale_of_every_parameter() -> None:
    space = SearchSpace(
        layers=(1, 3),
        units=IntRange(low=8, high=32, step=8),
        unroll_length=IntRange(low=4, high=64, log=True),
        batch_size=IntRange(low=16, high=32),
        cell=("lstm", "gru"),
    )
    page = space._repr_html_().replace(' style="text-align: left"', "")
    header = "<tr><th>parameter</th><th>range</th><th>scale</th></tr>"
    assert header in page
    rows = re.findall("<tr><th>(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>", page.split(header)[1])
    assert [name for name, _, _ in rows] == list(SearchSpace.model_fields)
    shown = {name: cells for name, *cells in rows}
    assert shown["layers"] == ["1, 3", "one of these"]
    assert shown["units"] == ["8 to 32", "in steps of 8"]
    assert shown["unroll_length"] == ["4 to 64", "logarithmic"]
    assert shown["batch_size"] == ["16 to 32", "linear"]
    assert shown["cell"] == ["lstm, gru", "one of these"]
    assert shown["learning_rate"] == ["0.0001 to 0.01", "logarithmic"]
    assert shown["dropout"] == ["0.0 to 0.5", "linear"]
    assert shown["epochs"] == ["12", "fixed"]
