"""Known configs, enqueued in a study and narrowed to."""

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from foretune.datasets import PriceSeries
from foretune.datasets.common.errors import ConfigError
from foretune.models import TrialConfig
from foretune.search import FloatRange, IntRange, SearchSpace, run_study, space_around
from foretune.search.space.known_configs import params_of

SPACE = SearchSpace(
    layers=(1, 2, 3),
    units=IntRange(low=16, high=128, step=8),
    unroll_length=(25, 50),
    learning_rate=FloatRange(low=1e-4, high=1e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    batch_size=IntRange(low=16, high=256, log=True),
    cell=("lstm", "gru"),
)


@st.composite
def drawn(draw: st.DrawFn) -> dict[str, Any]:
    layers = draw(st.integers(1, 3))
    units = {
        f"units_{n}": draw(st.integers(2, 16).map(lambda k: 8 * k)) for n in range(1, layers + 1)
    }
    return {
        "layers": layers,
        **units,
        "unroll_length": draw(st.sampled_from((25, 50))),
        "learning_rate": draw(st.floats(1e-4, 1e-2)),
        "dropout": draw(st.floats(0.0, 0.5)),
        "batch_size": draw(st.integers(16, 256)),
        "cell": draw(st.sampled_from(("lstm", "gru"))),
    }


@given(drawn())
def test_params_are_the_inverse_of_suggest(params: dict[str, Any]) -> None:
    config = SPACE.suggest(FixedTrial(params))
    assert params_of(SPACE, config) == params


@given(drawn(), st.floats(0.01, 1.0))
def test_a_narrowed_space_holds_its_config_and_nothing_new(
    params: dict[str, Any], width: float
) -> None:
    config = SPACE.suggest(FixedTrial(params))
    narrow = space_around(SPACE, config, width)
    suggested = params_of(narrow, config)
    assert narrow.suggest(FixedTrial(suggested)) == config
    # Within the old one, and of the width asked for, on its own scale.
    rate = narrow.learning_rate
    assert isinstance(rate, FloatRange)
    assert rate.log
    assert 1e-4 <= rate.low <= config.learning_rate <= rate.high <= 1e-2
    assert math.log(rate.high / rate.low) == pytest.approx(width * math.log(100), rel=1e-6)
    dropout = narrow.dropout
    assert isinstance(dropout, FloatRange)
    assert 0.0 <= dropout.low <= dropout.high <= 0.5
    assert dropout.high - dropout.low == pytest.approx(width * 0.5, rel=1e-6)
    units = narrow.units
    if isinstance(units, IntRange):
        assert units.low >= 16
        assert units.high <= 128
        assert units.step == 8
    assert narrow.layers == len(config.units)
    assert narrow.cell == config.cell
    # Read back from a file, it is the same.
    assert SearchSpace.from_toml(narrow.to_toml()) == narrow


def test_narrowing_by_hand() -> None:
    """Log scale: the middle of 1e-4..1e-2 is 1e-3; half the range is one decade around it."""
    config = TrialConfig(units=(64, 64), learning_rate=1e-3, dropout=0.5, batch_size=16)
    narrow = space_around(SPACE, config, 0.5)
    rate, dropout = narrow.learning_rate, narrow.dropout
    assert isinstance(rate, FloatRange)
    assert isinstance(dropout, FloatRange)
    assert (rate.low, rate.high) == pytest.approx((10**-3.5, 10**-2.5))
    # 0.5 is the end of the range: the half that ends there.
    assert (dropout.low, dropout.high) == (0.25, 0.5)
    # 112 wide, half of it 56 around 64: 36 to 92, in steps of 8 from 16 outwards.
    assert narrow.units == IntRange(low=32, high=96, step=8)
    # Log scale again: 16 is the end, half of the range ends at its middle, 64.
    assert narrow.batch_size == IntRange(low=16, high=64, log=True)
    # The whole width is the whole range, to the last bit.
    assert space_around(SPACE, config, 1.0).learning_rate == SPACE.learning_rate


@pytest.mark.parametrize("width", [0, -0.1, 1.01, math.nan])
def test_width_must_be_a_share(width: float) -> None:
    with pytest.raises(ConfigError, match="width must be above 0 and at most 1"):
        space_around(SPACE, TrialConfig(units=(64,)), width)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"units": (64, 60)}, "units of the config must be in IntRange"),
        ({"units": (8,)}, "units of the config must be .* but is 8"),
        ({"units": (16, 16, 16, 16)}, "layers"),
        ({"dropout": 0.6}, "dropout of the config must be in FloatRange.*but is 0.6"),
        ({"unroll_length": 30}, "unroll_length"),
        ({"cell": "peephole_lstm"}, "cell"),
        ({"batch_size": 512}, "batch_size"),
    ],
)
def test_a_config_from_elsewhere_is_refused(changed: dict[str, Any], named: str) -> None:
    config = TrialConfig(**{"units": (64,), **changed})
    with pytest.raises(ConfigError, match=named):
        params_of(SPACE, config)
    with pytest.raises(ConfigError, match=named):
        space_around(SPACE, config)


def test_known_configs_are_trained_first_and_once(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    known = [
        TrialConfig(units=(4,), unroll_length=8, learning_rate=rate, dropout=0.25)
        for rate in (0.05, 0.02)
    ]

    def search(n_trials: int) -> list[optuna.trial.FrozenTrial]:
        return run_study(
            "s",
            walk,
            n_trials=n_trials,
            space=tiny_space,
            horizon=5,
            storage=f"sqlite:///{tmp_path / 'studies.db'}",
            workers=1,
            start_from=known,
            show_progress_bar=False,
            target="mid",
        ).trials

    rates = [trial.params["learning_rate"] for trial in search(4)]
    assert rates[:2] == [0.05, 0.02]
    # What the space fixes is the space's own.
    assert "epochs = 3" in search(4)[0].user_attrs["config"]
    # Resumed with the same, it trains them no more.
    rates = [trial.params["learning_rate"] for trial in search(6)]
    assert len(rates) == 6
    assert sorted(rates.count(rate) for rate in (0.05, 0.02)) == [1, 1]


def test_one_wrong_config_enqueues_none(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    storage = optuna.storages.InMemoryStorage()
    good = TrialConfig(units=(4,), unroll_length=8, learning_rate=0.05, dropout=0.25)
    refused = (
        r"^start_from, number 2: learning_rate of the config must be in .*, but is 0\.5; a new "
        r"study whose space \(--space\) has it can begin there$"
    )
    with pytest.raises(ConfigError, match=refused):
        run_study(
            "s",
            walk,
            n_trials=2,
            space=tiny_space,
            horizon=5,
            storage=storage,
            start_from=[good, good.replace(learning_rate=0.5)],
            show_progress_bar=False,
            target="mid",
            workers=1,
        )
    with pytest.raises(ConfigError, match="start_from must be configs, paths of TOML files or"):
        run_study("s", walk, storage=storage, start_from=[good, None], workers=1)  # type: ignore[list-item]
    assert studies(storage) == []  # nor is there a study that would hold up the right command


def studies(storage: optuna.storages.BaseStorage) -> list[optuna.Study]:
    names = optuna.get_all_study_names(storage=storage)
    return [optuna.load_study(study_name=name, storage=storage) for name in names]
