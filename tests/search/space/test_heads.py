"""Spaces of networks with two heads, skips, covariates; what is searched where nothing is said."""

from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import FixedTrial

from foretune.datasets.calendar import Calendar
from foretune.datasets.common.errors import ConfigError
from foretune.datasets.panel import Panel
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.samples import load_sample
from foretune.datasets.splits import development_folds
from foretune.models import TrialConfig
from foretune.models.config import HeadName
from foretune.models.training.loop import TrainingRun
from foretune.search import FloatRange, SearchSpace, space_around
from foretune.search.space.default_space import complete_space
from foretune.search.space.dimensions import ends
from foretune.search.space.known_configs import enqueue_configs, params_of
from foretune.search.study.agreed import default_space
from foretune.search.study.spec import SplitSpec

DIRECT = ("window_scaling", "head_units")
RECURSIVE = ("warm_up", "carry_state")
BOTH = SearchSpace(
    layers=1,
    units=(8, 16),
    unroll_length=(24, 48),
    segment_length=(1, 4),
    head=("direct", "recursive"),
    head_units=(8, 16),
    skip=("none", "linear"),
    window_scaling=("none", "last", "step"),
    warm_up=(0, 24, 48),
    carry_state=(True, False),
    past_covariates=(True, False),
    loss=("mse", "huber"),
    learning_rate=FloatRange(low=1e-4, high=1e-2, log=True),
    dropout=0.1,
)


@st.composite
def drawn(draw: st.DrawFn) -> dict[str, Any]:
    head = draw(st.sampled_from(("direct", "recursive")))
    names = ["unroll_length", "segment_length", "skip", "past_covariates", "loss"]
    names += DIRECT if head == "direct" else RECURSIVE
    choices = {name: draw(st.sampled_from(getattr(BOTH, name))) for name in names}
    units = draw(st.sampled_from((8, 16)))
    return {"units_1": units, "head": head, "learning_rate": draw(st.floats(1e-4, 1e-2)), **choices}


def test_what_the_drawn_head_does_not_have_is_not_drawn() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(30):
        trial = study.ask()
        config = BOTH.suggest(trial)
        other = RECURSIVE if config.head == "direct" else DIRECT
        own = DIRECT if config.head == "direct" else RECURSIVE
        assert not {*other} & {*trial.params}
        assert {*own} < {*trial.params}
        for name in other:  # it has their defaults
            assert getattr(config, name) == TrialConfig.model_fields[name].default
        seen.add(config.head)
    assert seen == {"direct", "recursive"}


@given(drawn())
def test_params_are_the_inverse_of_suggest(params: dict[str, Any]) -> None:
    config = BOTH.suggest(FixedTrial(params))
    assert params_of(BOTH, config) == params
    study = optuna.create_study()
    enqueue_configs(study, BOTH, [config])
    assert BOTH.suggest(study.ask()) == config


@given(drawn(), st.floats(0.05, 1.0))
def test_the_space_around_a_config_holds_it_and_its_head_alone(
    params: dict[str, Any], width: float
) -> None:
    config = BOTH.suggest(FixedTrial(params))
    narrow = space_around(BOTH, config, width)
    assert (narrow.head, narrow.skip, narrow.loss) == (config.head, config.skip, config.loss)
    suggested = params_of(narrow, config)
    assert {*suggested} <= {"learning_rate"}
    assert narrow.suggest(FixedTrial(suggested)) == config
    assert SearchSpace.from_toml(narrow.to_toml()) == narrow


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window_scaling": ("none", "last")}, "window_scaling must be 'none' with a recursive"),
        ({"head": "direct", "warm_up": 50}, "warm_up must be 0 with a direct head, but is 50"),
        (
            {"head": ("recursive", "direct"), "label_offset": 2},
            "label_offset must be 1 unless head",
        ),
        ({"skip": ("none", "linear"), "label_offset": 2}, "label_offset must be 1 unless head"),
        ({"segment_length": (1, 2), "label_offset": 2}, "label_offset must be 1 unless head"),
        ({"head": ()}, "head must have at least 1 item"),
        ({"past_covariates": "yes"}, "past_covariates must be"),
    ],
)
def test_what_no_head_of_the_space_has_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refusal:
        SearchSpace(**fields)
    assert "\n" not in str(refusal.value)


def test_history_is_in_whole_segments_and_holds_the_warm_up() -> None:
    assert SearchSpace(unroll_length=(10, 30), segment_length=(1, 8)).history == 32
    assert SearchSpace(unroll_length=30, warm_up=(0, 100)).history == 100
    assert SearchSpace(unroll_length=30, warm_up=100, segment_length=8).history == 104
    for params in ({"head": "direct"}, {"head": "recursive", "warm_up": 48}):
        chosen = {name: getattr(BOTH, name)[0] for name in ("window_scaling", "head_units")}
        config = BOTH.suggest(
            FixedTrial(
                chosen
                | {"units_1": 8, "unroll_length": 48, "segment_length": 4, "skip": "none"}
                | {"past_covariates": True, "loss": "mse", "learning_rate": 1e-3}
                | {"carry_state": True}
                | params
            )
        )
        assert config.history <= BOTH.history


VERSION_1: dict[str, Any] = {
    "layers": [1, 2],
    "units": [32, 64],
    "pad_units_to": "auto",
    "unroll_length": [25, 50],
    "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "dropout": {"low": 0.0, "high": 0.5, "log": False},
    "batch_size": 64,
    "cell": "lstm",
    "optimizer": "adam",
    "scaling": "log_returns",
    "scaling_window": 2500,
    "smoothing": 0.0,
    "label_offset": 5,
    "clip_norm": 5.0,
    "epochs": 12,
    "steps_per_epoch": 60,
    "decay_factor": 0.5,
    "decay_patience": 2,
    "min_learning_rate": 1e-6,
    "stop_patience": 5,
    "seed": 0,
}


def test_a_stored_space_of_version_1_is_what_it_was() -> None:
    space = SearchSpace(**VERSION_1)
    assert space == SearchSpace(label_offset=5)
    trial = optuna.create_study().ask()
    config = space.suggest(trial)
    known = {"layers", "units_1", "units_2", "unroll_length", "learning_rate", "dropout"}
    assert {*trial.params} <= known
    old = {name: value for name, value in config.model_dump().items() if name in VERSION_1}
    assert TrialConfig(**old | {"units": config.units}) == config
    assert (config.head, config.skip, config.segment_length) == ("recursive", "none", 1)
    assert (config.rows_read, config.carry_state, config.loss) == (
        config.unroll_length,
        True,
        "mse",
    )


def series_of(index: pd.Index, lowest: float = 1.0, **groups: Any) -> TimeSeries:
    rows = np.arange(len(index))
    frame = pd.DataFrame(
        {
            "y": lowest + 1 + np.sin(rows * np.pi / 6) + 0.1 * np.cos(rows * 1.7),
            "rain": np.sin(rows * 2.1),
            "sun": np.cos(rows * 0.9),
            "area": np.full(len(index), 2.0),
        },
        index=index,
    )
    kept = ["y", *(name for names in groups.values() for name in names)]
    return TimeSeries.from_frame(frame[kept], target="y", **groups)


GROUPS: dict[str, Any] = {"past": ["rain"], "future": ["sun"], "static": ["area"]}
SERIES = {
    "40 rows": (series_of(pd.date_range("2024-01-01", periods=40)), 3),
    "144 months": (series_of(pd.date_range("2010-01", periods=144, freq="MS")), 12),
    "negative": (series_of(pd.date_range("2024-01-01", periods=600, freq="h"), -1.5), 24),
    "covariates": (series_of(pd.date_range("2024-01-01", periods=600, freq="h"), **GROUPS), 24),
    "whole numbers": (series_of(pd.RangeIndex(10, 1010, 2, name="step")), 5),
}


@pytest.mark.parametrize("name", SERIES)
def test_the_default_space_suits_the_series(name: str) -> None:
    series, horizon = SERIES[name]
    spec = SplitSpec(horizon=horizon)
    space = default_space(series, spec)
    split = spec.split(len(series), history=space.history)
    assert 3 * (space.history + horizon) <= split.train_stop + 3
    assert ("log" in ends(space.scaling)) == (name != "negative")
    assert "log_returns" not in ends(space.scaling)
    covariates = name == "covariates"
    for group in ("past_covariates", "future_covariates", "static_covariates"):
        assert (True in ends(getattr(space, group))) == covariates
    if name == "whole numbers":
        assert space.calendar_features is False
    # Its longest context is trained, and so is its shortest.
    (data,) = development_folds(series, split, 1)
    for seed in range(4):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        config = space.suggest(study.ask()).replace(unroll_length=max(ends(space.unroll_length)))
        run = TrainingRun(config.replace(skip="none"), data)
        assert int(run.data.train_length) >= config.context + 1


def test_the_default_space_of_a_panel_follows_its_median_series() -> None:
    def panel(*lengths: int) -> Panel:
        made = []
        for number, rows in enumerate(lengths):
            time = pd.date_range(end="2024-12-31 23:00", periods=rows, freq="h")
            values = np.random.default_rng(number).uniform(1, 2, rows)
            made.append(
                TimeSeries(
                    name=f"s{number}",
                    time=time,
                    target=values,
                    calendar=Calendar(frequency="h", seasonality=24),
                    source="here",
                )
            )
        return Panel(name="several", series=tuple(made), source="here")

    split = SplitSpec(horizon=48, gap=0, rows=(864, 48, 48))
    long = default_space(panel(960, 960, 700), split)
    # (864 - 48) / 2 rows and more for the context: half of the median series' training rows.
    assert long.unroll_length == (96, 168, 336)
    assert (long.batch_size, long.steps_per_epoch) == (256, 9)  # 2,332 windows
    assert (long.loss, long.units) == ("mae", 128)
    short = default_space(panel(960, 500, 500), split)  # 404 rows train
    assert short.unroll_length == (96,) or short.unroll_length == 96
    one = default_space(panel(960).series[0], split)
    assert (one.batch_size, one.loss, one.unroll_length) == (64, "mse", (48, 96, 168))


def test_prices_are_searched_as_before() -> None:
    prices = load_sample("sp500").series("close")
    assert default_space(prices, SplitSpec()) == SearchSpace()


def test_what_a_space_does_not_say_is_chosen_for_the_data() -> None:
    series, horizon = SERIES["covariates"]
    default = default_space(series, SplitSpec(horizon=horizon))
    assert default.head == "direct"
    assert complete_space(SearchSpace(), default) == default
    said = complete_space(SearchSpace(units=4, dropout=0.0, skip="none"), default)
    assert said == default.fix(units=4, dropout=0.0, skip="none")
    # What was chosen for a direct head is nothing for a recursive one, but for the scaling.
    recursive = complete_space(SearchSpace(head="recursive", units=4), default)
    assert recursive == SearchSpace(head="recursive", units=4, scaling=default.scaling)
    both = complete_space(SearchSpace(head=("recursive", "direct")), default)
    assert both == default.fix(head=("recursive", "direct"))
    own = SearchSpace(head="recursive", scaling="standard")
    assert complete_space(own, default) == own
    # What only a recursive head has asks for one.
    for only in (SearchSpace(warm_up=99), SearchSpace(carry_state=False)):
        assert complete_space(only, default) == only.fix(scaling=default.scaling)
    # No segment is longer than a context that was said.
    assert complete_space(SearchSpace(unroll_length=(10, 40)), default).segment_length == 6
    assert complete_space(SearchSpace(unroll_length=5), default).segment_length == 1


@pytest.mark.parametrize(
    "space",
    [
        SearchSpace(units=(16, 32), layers=1, epochs=4),
        SearchSpace(layers=1, head="direct", skip=("none", "linear")),
        SearchSpace(layers=1, head=("direct", "recursive"), unroll_length=(24, 48)),
    ],
    ids=["nothing", "direct", "both heads"],
)
def test_the_space_around_a_config_keeps_what_was_chosen_for_the_data(space: SearchSpace) -> None:
    series, horizon = SERIES["covariates"]
    whole = complete_space(space, default_space(series, SplitSpec(horizon=horizon)))
    for seed in range(4):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
        config = whole.suggest(study.ask())
        narrow = space_around(space, config)
        assert narrow.suggest(FixedTrial(params_of(narrow, config))) == config


def test_a_recursive_network_of_a_short_series_has_unrolls_that_fit() -> None:
    """20 rows train: a third of them less the horizon of 3 is 3, and 50 have no room."""
    series, horizon = SERIES["40 rows"]
    default = default_space(series, SplitSpec(horizon=horizon))
    found = complete_space(SearchSpace(head="recursive"), default)
    assert found.unroll_length == (2, 3)
    assert complete_space(found, default) == found
    assert complete_space(SearchSpace(head="recursive", unroll_length=9), default).history == 9


@pytest.mark.parametrize("head", ["recursive", "direct"])
def test_a_config_of_the_other_head_is_refused(head: HeadName) -> None:
    space = SearchSpace(head="direct" if head == "recursive" else "recursive")
    config = TrialConfig(units=(32,), head=head, scaling="standard")
    with pytest.raises(ConfigError, match=f"head of the config must be in .*, but is '{head}'"):
        params_of(space, config)
    with pytest.raises(ConfigError, match=f"head of the config must be in .*, but is '{head}'"):
        space_around(space, config)
