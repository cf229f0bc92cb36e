import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optuna
import pytest

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.errors import ConfigError, DataError
from foretune.datasets.samples import ar1_best_relative_mse
from foretune.datasets.scaling import log_growth_between
from foretune.datasets.splits import chronological_split, development
from foretune.models import fit
from foretune.search import (
    FloatRange,
    SearchSpace,
    best_config,
    finished_trials,
    load_study,
    run_study,
)

COUNTED_PER_RUN = ("seconds", "compiles")


def quietly(name: str, prices: PriceSeries, **kwargs: Any) -> optuna.Study:
    kwargs.setdefault("storage", optuna.storages.InMemoryStorage())
    kwargs.setdefault("horizon", 5)
    return run_study(name, prices, show_progress_bar=False, **kwargs)


def everything(study: optuna.Study) -> Any:
    """Return all that a study stores, but for times."""
    spec = dict(study.user_attrs["foretune_spec"])
    spec["prices"] = {k: v for k, v in spec["prices"].items() if k != "digest"}
    trials = [
        (
            trial.number,
            trial.state,
            trial.values,
            trial.params,
            trial.distributions,
            trial.intermediate_values,
            {k: v for k, v in trial.user_attrs.items() if k not in COUNTED_PER_RUN},
            trial.system_attrs,
        )
        for trial in study.trials
    ]
    attributes = {k: v for k, v in study.user_attrs.items() if k != "foretune_spec"}
    return spec, attributes, trials


def with_prices_from(prices: PriceSeries, start: int, stop: int, seed: int) -> PriceSeries:
    """Replace the days ``start .. stop - 1`` by other valid prices."""
    other = load_sample("random_walk", length=len(prices), seed=seed)
    fields = {}
    for field in ("open", "high", "low", "close"):
        values = getattr(prices, field).copy()
        values[start:stop] = getattr(other, field)[start:stop] * 1.7
        fields[field] = values
    return PriceSeries(
        name=prices.name, dates=prices.dates, volume=prices.volume, source=prices.source, **fields
    )


def test_test_prices_change_nothing_but_the_digest(
    walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    """The leak test: whatever the test days hold, a study stores the same, bit for bit."""
    split = chronological_split(len(walk), horizon=5, history=8)
    changed = with_prices_from(walk, split.validation_stop, split.length, seed=9)
    first = quietly("leak", walk, n_trials=6, space=tiny_space)
    second = quietly("leak", changed, n_trials=6, space=tiny_space)
    assert everything(first) == everything(second)
    digests = [s.user_attrs["foretune_spec"]["prices"]["digest"] for s in (first, second)]
    assert digests[0] != digests[1]
    assert best_config(first) == best_config(second)
    weights = [
        [result.params for result in fit(best_config(study), development(prices, split))]
        for study, prices in ((first, walk), (second, changed))
    ]
    for a, b in zip(jax.tree.leaves(weights[0]), jax.tree.leaves(weights[1]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_leak_test_can_fail(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    """Its twin one day earlier, inside the validation part, must change what is stored."""
    split = chronological_split(len(walk), horizon=5, history=8)
    last_target = int(split.validation_origins[-1]) + split.horizon
    changed = with_prices_from(walk, last_target, split.length, seed=9)
    first = quietly("leak", walk, n_trials=1, space=tiny_space)
    second = quietly("leak", changed, n_trials=1, space=tiny_space)
    assert everything(first) != everything(second)


def test_resume_runs_what_is_missing_and_repeats_nothing(
    walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    quietly("s", walk, n_trials=3, space=tiny_space, storage=storage)
    # Neither space, horizon nor seed: the study knows its own.
    resumed = run_study("s", walk, n_trials=7, storage=storage, show_progress_bar=False)
    again = run_study("s", walk, n_trials=7, storage=storage, show_progress_bar=False)
    assert len(resumed.trials) == len(again.trials) == 7
    assert everything(resumed) == everything(quietly("s", walk, n_trials=7, space=tiny_space))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 7}, "split.horizon is 5 there, but got 7"),
        ({"seed": 1}, "seed is 0 there, but got 1"),
        ({"epochs": 9}, "space.epochs is 3 there, but got 9"),
        ({"space": SearchSpace(dropout=0.1)}, "space.layers is 1 there, but got"),
    ],
)
def test_another_spec_is_refused_with_both_values(
    walk: PriceSeries, tiny_space: SearchSpace, changes: dict[str, Any], message: str
) -> None:
    storage = optuna.storages.InMemoryStorage()
    quietly("s", walk, n_trials=1, space=tiny_space, storage=storage)
    with pytest.raises(ConfigError, match=message):
        quietly("s", walk, n_trials=2, storage=storage, **changes)
    assert len(optuna.load_study(study_name="s", storage=storage).trials) == 1


def test_other_prices_are_refused(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    storage = optuna.storages.InMemoryStorage()
    quietly("s", walk, n_trials=1, space=tiny_space, storage=storage)
    other = load_sample("random_walk", length=500, seed=4)
    with pytest.raises(ConfigError, match=r"prices.digest is .* there, but got"):
        quietly("s", other, n_trials=2, storage=storage)


def test_a_stranger_s_study_is_refused(walk: PriceSeries) -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage).optimize(lambda _: 1.0, n_trials=1)
    with pytest.raises(ConfigError, match="trials that foretune did not make"):
        quietly("s", walk, storage=storage)


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", "x" * 201, "a\nb", "-rf"])
def test_bad_names_are_refused(name: str, walk: PriceSeries) -> None:
    with pytest.raises(ConfigError, match="study name must be"):
        quietly(name, walk)


def test_nothing_is_stored_of_a_refused_study(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(DataError, match=r"500 days leave .* a horizon of 120"):
        quietly("s", walk, horizon=120, space=tiny_space, storage=storage)
    with pytest.raises(ConfigError, match="n_trials must be at least 1, but got 0"):
        quietly("s", walk, n_trials=0, storage=storage)
    assert optuna.get_all_study_names(storage=storage) == []


def test_optuna_s_logging_is_left_as_it_was(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    before = optuna.logging.get_verbosity()
    quietly("s", walk, n_trials=1, space=tiny_space)
    assert optuna.logging.get_verbosity() == before


def test_ar1_study_finds_most_of_what_there_is() -> None:
    """A short study gains at least four fifths of the possible gain, which is known exactly.

    And hardly more than the true model does on the same origins: that would be a leak.
    """
    space = SearchSpace(
        layers=1,
        units=16,
        unroll_length=20,
        learning_rate=FloatRange(low=3e-3, high=3e-2, log=True),
        dropout=0.0,
        epochs=6,
        steps_per_epoch=40,
    )
    prices = load_sample("ar1", length=12_000, seed=1)
    study = quietly("ar1", prices, n_trials=4, space=space, stride=2)
    gain = 1 - study.best_value
    assert gain >= 0.8 * (1 - ar1_best_relative_mse(0.6, 5))
    origins = chronological_split(len(prices), horizon=5, stride=2).validation_origins
    last_return = np.log(prices.mid[origins] / prices.mid[origins - 1])
    true_model = last_return[:, None] * np.cumsum(0.6 ** np.arange(1, 6))
    came = log_growth_between(prices.mid, origins, 5)
    assert gain <= 1.02 * (1 - np.mean((true_model - came) ** 2) / np.mean(came**2))


SCRIPT = """
from foretune.datasets import load_sample
from foretune.search import SearchSpace, run_study

space = SearchSpace(layers=1, units=4, unroll_length=8, batch_size=8, epochs=20, steps_per_epoch=50)
study = run_study("s", load_sample("random_walk", length=500), n_trials=500, space=space, horizon=5)
print("returned", len(study.trials))
"""


def wait_for_trials(url: str, count: int, process: subprocess.Popen[str]) -> None:
    while True:
        assert process.poll() is None, process.communicate()
        try:
            if finished_trials(load_study("s", url)) >= count:
                return
        except ConfigError:  # the process has not yet made the study
            pass
        time.sleep(0.3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_cleanly_says_how_to_resume_and_resumes(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A real process, a real signal."""
    script = tmp_path / "launch.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    wait_for_trials(url, 2, process)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 0
    assert out.startswith("returned ")
    assert "Traceback" not in err
    assert "trials of study 's' are stored. Run the same again to go on" in err
    stopped = load_study("s", url)
    done = finished_trials(stopped)
    states = [t.state for t in stopped.trials]
    assert optuna.trial.TrialState.RUNNING not in states
    resumed = run_study(
        "s",
        load_sample("random_walk", length=500),
        n_trials=done + 1,
        storage=url,
        show_progress_bar=False,
    )
    assert finished_trials(resumed) == done + 1
