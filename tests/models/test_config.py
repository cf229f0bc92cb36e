"""TrialConfig: text and back without a loss, and every mistake named."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.files import write_atomically
from foretune.models.config import MAX_COUNT, MAX_LAYERS, MAX_UNITS, TrialConfig

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "cell": st.sampled_from(["lstm", "peephole_lstm", "gru"]),
    "units": st.lists(st.integers(1, MAX_UNITS), min_size=1, max_size=MAX_LAYERS).map(tuple),
    "pad_units_to": st.integers(1, MAX_UNITS),
    "unroll_length": st.integers(2, 4096),
    "segment_length": st.integers(1, 4096),
    "head": st.sampled_from(["recursive", "direct"]),
    "head_units": st.integers(1, MAX_UNITS),
    "skip": st.sampled_from(["none", "linear"]),
    "window_scaling": st.sampled_from(["none", "last", "mean", "standard", "step"]),
    "warm_up": st.integers(0, MAX_COUNT),
    "carry_state": st.booleans(),
    "past_covariates": st.booleans(),
    "future_covariates": st.booleans(),
    "static_covariates": st.booleans(),
    "calendar_features": st.booleans(),
    "loss": st.sampled_from(["mse", "mae", "huber"]),
    "batch_size": st.integers(1, 65536),
    "learning_rate": st.floats(0, 10, exclude_min=True),
    "dropout": st.floats(0, 1, exclude_max=True),
    "optimizer": st.sampled_from(["adam", "adamw", "rmsprop", "sgd_momentum"]),
    "clip_norm": st.floats(0, 1e30, exclude_min=True),
    "scaling": st.sampled_from(["log_returns", "windowed_min_max"]),
    "scaling_window": st.integers(2, 10**6),
    "smoothing": st.floats(0, 1, exclude_max=True),
    "averaging": st.floats(0, 1, exclude_max=True),
    "label_offset": st.integers(1, 1000),
    "epochs": st.integers(1, 100_000),
    "steps_per_epoch": st.integers(1, 1_000_000),
    "decay_factor": st.floats(0, 1, exclude_min=True),
    "decay_patience": st.integers(0, 10**6),
    "min_learning_rate": st.floats(0, allow_infinity=False),
    "stop_patience": st.integers(1, 10**6),
    "seed": st.integers(0, 2**32 - 1),
}


def fits(fields: dict[str, Any]) -> bool:
    """Whether these fields can be trained together."""
    direct = fields.get("head") == "direct"
    plain = not direct and fields.get("skip") != "linear" and fields.get("segment_length", 1) == 1
    return (
        (plain or fields.get("label_offset", 1) == 1)
        and (direct or fields.get("window_scaling", "none") == "none")
        and (not direct or fields.get("warm_up", 0) == 0)
        and (not direct or fields.get("carry_state", True))
    )


def without_conflicts(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the others of ``fields`` do not allow."""
    for name in ("label_offset", "window_scaling", "warm_up", "carry_state"):
        if not fits(fields):
            fields = {key: value for key, value in fields.items() if key != name}
    return fields


configs = st.fixed_dictionaries({}, optional=FIELDS).map(
    lambda fields: TrialConfig(**without_conflicts(fields))
)


def test_the_strategy_knows_every_field() -> None:
    # A new field that `configs` never sets would pass the round trip untested.
    assert set(FIELDS) == set(TrialConfig.model_fields)


@given(configs)
def test_text_and_back_is_the_same_config(config: TrialConfig) -> None:
    again = TrialConfig.from_toml(config.to_toml())
    assert again == config
    assert hash(again) == hash(config)
    for name in FIELDS:
        value, expected = getattr(again, name), getattr(config, name)
        assert type(value) is type(expected)
        assert repr(value) == repr(expected)


@given(configs, st.data())
def test_another_value_of_any_field_is_another_config(
    config: TrialConfig, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(FIELDS)))
    value = data.draw(FIELDS[name].filter(lambda value: value != getattr(config, name)))
    fields = config.model_dump() | {name: value}
    assume(fits(fields))
    other = TrialConfig(**fields)
    assert other != config
    assert TrialConfig.from_toml(other.to_toml()) != config


def test_a_config_can_be_a_key_and_never_changes() -> None:
    config = TrialConfig(units=(4, 2))
    assert {config: 1}[TrialConfig(units=(4, 2))] == 1
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]


def test_the_text_names_every_field_and_can_be_written_by_hand() -> None:
    text = TrialConfig(units=(64, 32), learning_rate=0.5).to_toml()
    assert text.startswith("[config]\n")
    for name in FIELDS:
        assert f"\n{name} = " in text
    by_hand = TrialConfig.from_toml("""
        [config]
        units = [64, 32]   # the rest are defaults
        learning_rate = 1
        [study]
        name = "not looked at"
    """)
    assert by_hand == TrialConfig(units=(64, 32), learning_rate=1.0)


def test_a_list_or_a_whole_number_is_kept_as_what_the_field_is() -> None:
    config = TrialConfig(units=[3, 4], learning_rate=1)  # type: ignore[arg-type]
    assert (config.units, type(config.units)) == ((3, 4), tuple)
    assert type(config.learning_rate) is float


NAN, INF = float("nan"), float("inf")
MISTAKES = [
    ("cell", "rnn", "must be 'lstm', 'peephole_lstm' or 'gru'"),
    ("units", (), "must have at least 1 item"),
    ("units", (1,) * (MAX_LAYERS + 1), f"must have at most {MAX_LAYERS} items"),
    ("units", 3, "must be a valid tuple"),
    ("units", "34", "must be a valid tuple"),
    ("pad_units_to", 0, "must be greater than or equal to 1"),
    ("unroll_length", 1, "must be greater than or equal to 2"),
    ("unroll_length", 4097, "must be less than or equal to 4096"),
    ("unroll_length", 50.0, "must be a valid integer"),
    ("segment_length", 0, "must be greater than or equal to 1"),
    ("segment_length", 4097, "must be less than or equal to 4096"),
    ("head", "both", "must be 'recursive' or 'direct'"),
    ("head_units", 0, "must be greater than or equal to 1"),
    ("head_units", MAX_UNITS + 1, f"must be less than or equal to {MAX_UNITS}"),
    ("skip", "ridge", "must be 'none' or 'linear'"),
    ("window_scaling", "max", "must be 'none', 'last', 'mean', 'standard' or 'step'"),
    ("warm_up", -1, "must be greater than or equal to 0"),
    ("warm_up", 10**6 + 1, "must be less than or equal to 1000000"),
    ("carry_state", 1, "must be a valid boolean"),
    ("past_covariates", "yes", "must be a valid boolean"),
    ("future_covariates", None, "must be a valid boolean"),
    ("static_covariates", 0, "must be a valid boolean"),
    ("calendar_features", ("hour",), "must be a valid boolean"),
    ("loss", "rmse", "must be 'mse', 'mae' or 'huber'"),
    ("batch_size", 0, "must be greater than or equal to 1"),
    ("batch_size", 65537, "must be less than or equal to 65536"),
    ("batch_size", True, "must be a valid integer"),
    ("learning_rate", 0.0, "must be greater than 0"),
    ("learning_rate", -1e-3, "must be greater than 0"),
    ("learning_rate", 10.5, "must be less than or equal to 10"),
    ("learning_rate", NAN, "must be a finite number"),
    ("learning_rate", INF, "must be a finite number"),
    ("learning_rate", "0.1", "must be a valid number"),
    ("learning_rate", True, "must be a valid number"),
    ("learning_rate", None, "must be a valid number"),
    ("dropout", -0.1, "must be greater than or equal to 0"),
    ("dropout", 1.0, "must be less than 1"),
    ("dropout", NAN, "must be a finite number"),
    ("optimizer", "Adam", "must be 'adam', 'adamw', 'rmsprop' or 'sgd_momentum'"),
    ("optimizer", None, "must be 'adam', 'adamw', 'rmsprop' or 'sgd_momentum'"),
    ("clip_norm", 0.0, "must be greater than 0"),
    ("clip_norm", INF, "must be a finite number"),
    ("scaling", "minmax", "must be 'log_returns', 'log', 'differences', "),
    ("scaling_window", 1, "must be greater than or equal to 2"),
    ("scaling_window", 10**6 + 1, "must be less than or equal to 1000000"),
    ("smoothing", -0.1, "must be greater than or equal to 0"),
    ("smoothing", 1.0, "must be less than 1"),
    ("smoothing", NAN, "must be a finite number"),
    ("averaging", -0.1, "must be greater than or equal to 0"),
    ("averaging", 1.0, "must be less than 1"),
    ("label_offset", 0, "must be greater than or equal to 1"),
    ("label_offset", 1001, "must be less than or equal to 1000"),
    ("label_offset", 1.0, "must be a valid integer"),
    ("epochs", 0, "must be greater than or equal to 1"),
    ("epochs", 100_001, "must be less than or equal to 100000"),
    ("epochs", True, "must be a valid integer"),
    ("epochs", "3", "must be a valid integer"),
    ("steps_per_epoch", 0, "must be greater than or equal to 1"),
    ("decay_factor", 0.0, "must be greater than 0"),
    ("decay_factor", 1.5, "must be less than or equal to 1"),
    ("decay_factor", NAN, "must be a finite number"),
    ("decay_patience", -1, "must be greater than or equal to 0"),
    ("decay_patience", 10**6 + 1, "must be less than or equal to 1000000"),
    ("min_learning_rate", -1e-9, "must be greater than or equal to 0"),
    ("min_learning_rate", INF, "must be a finite number"),
    ("stop_patience", 0, "must be greater than or equal to 1"),
    ("stop_patience", 10**6 + 1, "must be less than or equal to 1000000"),
    ("seed", -1, "must be greater than or equal to 0"),
    ("seed", 2**32, f"must be less than {2**32}"),
    ("seed", 1.0, "must be a valid integer"),
]


@pytest.mark.parametrize(("field", "value", "rule"), MISTAKES)
def test_a_mistake_is_one_line_with_field_rule_and_value(field: str, value: Any, rule: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        TrialConfig(**{field: value})
    message = str(refusal.value)
    assert message.startswith(f"{field} {rule}")
    assert message.endswith(f", but got {value!r}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"window_scaling": "last"},
            "window_scaling must be 'none' with a recursive head, whose state knows no window, but "
            "is 'last'",
        ),
        ({"head": "direct", "warm_up": 9}, "warm_up must be 0 with a direct head, but is 9"),
        (
            {"head": "direct", "carry_state": False},
            "carry_state must be True with a direct head, but is False",
        ),
        *(
            (
                fields | {"label_offset": 2},
                "label_offset must be 1 unless head is 'recursive', skip 'none' and segment_length "
                "1, but is 2",
            )
            for fields in ({"head": "direct"}, {"skip": "linear"}, {"segment_length": 2})
        ),
    ],
)
def test_what_no_program_trains_together_is_refused_in_one_line(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        TrialConfig(**fields)
    # Not vacuous: all but the last of them are allowed together.
    TrialConfig(**dict([*fields.items()][:-1]))


def test_rows_are_whole_segments() -> None:
    plain = TrialConfig(unroll_length=50)
    assert (plain.context, plain.rows_read, plain.history) == (50, 50, 50)
    segments = TrialConfig(unroll_length=50, segment_length=12)
    assert (segments.context, segments.rows_read, segments.history) == (60, 60, 60)
    assert TrialConfig(unroll_length=50, segment_length=12, warm_up=100).rows_read == 108
    assert TrialConfig(unroll_length=50, warm_up=20).rows_read == 20
    # An unroll and its furthest label, or what a forecast reads.
    assert TrialConfig(unroll_length=50, warm_up=20, label_offset=5).history == 54
    assert TrialConfig(unroll_length=50, warm_up=70, label_offset=5).history == 70
    assert TrialConfig(unroll_length=50, segment_length=12, head="direct").rows_read == 60


def test_a_mistake_in_one_layer_names_the_layer() -> None:
    with pytest.raises(ConfigError, match=r"^units\.1 must be greater than .* 1, but got 0$"):
        TrialConfig(units=(8, 0))
    with pytest.raises(ConfigError, match=r"^units\.0 must be a valid integer, but got 8\.0$"):
        TrialConfig(units=(8.0,))  # type: ignore[arg-type]


def test_every_field_has_a_mistake_in_the_table() -> None:
    assert {field for field, _, _ in MISTAKES} == set(FIELDS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[config", "a config must be valid TOML"),
        ("", r"a config must have a \[config\] table, but got the keys \[\]"),
        ("units = [3]", r"a config must have a \[config\] table, but got the keys \['units'\]"),
        ("config = 3", r"a config must have a \[config\] table"),
        ("[config]\nlearning_rat = 0.1", r"^unknown key 'learning_rat'; allowed are cell, units,"),
        ("[config]\nlearning_rate = nan", "learning_rate must be a finite number, but got nan"),
        ("[config]\nclip_norm = inf", "clip_norm must be a finite number, but got inf"),
        ("[config]\nepochs = true", "epochs must be a valid integer, but got True"),
        ("[config]\nepochs = 3.0", "epochs must be a valid integer, but got 3.0"),
        ("[config]\nepochs = '3'", "epochs must be a valid integer, but got '3'"),
        ("[config]\nunits = 3", "units must be a valid tuple, but got 3"),
        ("[config]\nunits = [3, 'a']", "units.1 must be a valid integer, but got 'a'"),
        ("[config]\nseed = 1979-05-27", "seed must be a valid integer, but got datetime"),
    ],
)
def test_a_mistake_in_the_text_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        TrialConfig.from_toml(text)
    assert "\n" not in str(refusal.value)


def test_save_and_load(tmp_path: Path) -> None:
    config = TrialConfig(units=(7, 5), learning_rate=1 / 3)
    config.save(tmp_path / "best.toml")
    assert TrialConfig.load(tmp_path / "best.toml") == config
    assert TrialConfig.load(str(tmp_path / "best.toml")) == config
    other = TrialConfig()
    other.save(tmp_path / "best.toml")  # replaces
    assert TrialConfig.load(tmp_path / "best.toml") == other
    assert os.listdir(tmp_path) == ["best.toml"]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "best.toml"
    path.write_text("before")
    # A lone surrogate cannot be encoded: the first half of the text is buffered, then it fails.
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "x" * 100_000 + "\udcff")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["best.toml"]
    # And where the text is written but cannot be put in its place.
    (tmp_path / "folder").mkdir()
    for wrong in (tmp_path / "folder", tmp_path / "no such folder" / "best.toml"):
        with pytest.raises(ConfigError) as refusal:
            TrialConfig().save(wrong)
        assert str(refusal.value).startswith(f"{wrong} cannot be written: ")
    assert sorted(os.listdir(tmp_path)) == ["best.toml", "folder"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "best.toml"
    path.write_text("before")
    seen = []
    rename = Path.replace

    def spy(self: Path, target: Path) -> Path:
        seen.append((self.read_text(), path.read_text()))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", spy)
    write_atomically(path, "after")
    # Whole beside the old file, then renamed over it.
    assert seen == [("after", "before")]
    assert path.read_text() == "after"


def test_load_names_the_file(tmp_path: Path) -> None:
    missing, folder, broken, wrong, binary = (
        tmp_path / name for name in ("missing", "folder", "broken", "wrong", "binary")
    )
    folder.mkdir()
    broken.write_text("[config")
    wrong.write_text("[config]\nepochs = 0")
    binary.write_bytes(b"\xff\xfe[config]")
    for path, message in (
        (missing, "readable text file"),
        (folder, "regular file"),
        (binary, "readable text file"),
        (broken, "valid TOML"),
        (wrong, "epochs must be greater than or equal to 1, but got 0"),
    ):
        with pytest.raises(ConfigError) as refusal:
            TrialConfig.load(path)
        assert str(refusal.value).startswith(f"{path}: ")
        assert message in str(refusal.value)
        assert "\n" not in str(refusal.value)


def test_a_notebook_shows_every_field() -> None:
    shown = TrialConfig(units=(8, 4))._repr_html_()
    for name, field in TrialConfig.model_fields.items():
        assert f">{name}</th>" in shown
        assert field.description is not None
    assert ">(8, 4)</td>" in shown
    assert 'title="seed of weights, dropout and the cursors&#x27; jumps"' in shown
