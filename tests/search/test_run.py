import contextlib
import signal
import sqlite3
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
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources.samples import ar1_best_relative_mse
from foretune.datasets.splits import chronological_split, development
from foretune.datasets.transforms import LOG
from foretune.models import fit
from foretune.search import (
    FloatRange,
    SearchSpace,
    best_config,
    finished_trials,
    load_study,
    run_study,
)
from foretune.search.study.trials import DRIVER_MARK

COUNTED_PER_RUN = ("seconds", "compiles", "cache_hits")


def quietly(name: str, prices: PriceSeries, **kwargs: Any) -> optuna.Study:
    kwargs.setdefault("storage", optuna.storages.InMemoryStorage())
    kwargs.setdefault("horizon", 5)
    kwargs.setdefault("workers", 1)
    return run_study(name, prices, show_progress_bar=False, **kwargs, target="mid")


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
            # Drawn anew for every driver.
            {k: v for k, v in trial.system_attrs.items() if k != DRIVER_MARK},
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


@pytest.mark.parametrize("scaling", ["log_returns", "windowed_min_max"])
def test_test_prices_change_nothing_but_the_digest(
    walk: PriceSeries, tiny_space: SearchSpace, scaling: str
) -> None:
    """The leak test: whatever the test days hold, a study stores the same, bit for bit."""
    tiny_space = tiny_space.fix(scaling=scaling, scaling_window=100)
    split = chronological_split(len(walk), horizon=5, history=8)
    changed = with_prices_from(walk, split.validation_stop, split.length, seed=9)
    first = quietly("leak", walk, n_trials=6, space=tiny_space)
    second = quietly("leak", changed, n_trials=6, space=tiny_space)
    assert everything(first) == everything(second)
    digests = [s.user_attrs["foretune_spec"]["prices"]["digest"] for s in (first, second)]
    assert digests[0] != digests[1]
    assert best_config(first) == best_config(second)
    weights = [
        [
            result.params
            for result in fit(best_config(study), development(prices.series("mid"), split))
        ]
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
    resumed = run_study(
        "s", walk, n_trials=7, storage=storage, show_progress_bar=False, target="mid"
    )
    again = run_study("s", walk, n_trials=7, storage=storage, show_progress_bar=False, target="mid")
    assert len(resumed.trials) == len(again.trials) == 7
    assert everything(resumed) == everything(quietly("s", walk, n_trials=7, space=tiny_space))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 7}, "split.horizon is 5 there, but got 7"),
        ({"seed": 1}, "seed is 0 there, but got 1"),
        ({"epochs": 9}, "space.epochs is 3 there, but got 9"),
        (
            {"space": SearchSpace(layers=2, dropout=0.1)},
            "space.layers is 1 there, but got 2; space.dropout is .* there, but got 0.1; give",
        ),
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
    with pytest.raises(ConfigError, match="was not made by foretune"):
        quietly("s", walk, storage=storage)


def test_a_study_that_maximises_is_refused(walk: PriceSeries) -> None:
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="s", storage=storage, direction="maximize")
    with pytest.raises(ConfigError, match="was not made by foretune"):
        quietly("s", walk, storage=storage)


def test_sampler_and_pruner_are_the_user_s(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    class PruneAll(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    grid = optuna.samplers.GridSampler({"learning_rate": [0.01, 0.02], "dropout": [0.25]})
    study = quietly("s", walk, n_trials=2, space=tiny_space, sampler=grid, pruner=PruneAll())
    assert {t.params["learning_rate"] for t in study.trials} == {0.01, 0.02}
    assert {t.params["dropout"] for t in study.trials} == {0.25}
    assert {t.state for t in study.trials} == {optuna.trial.TrialState.PRUNED}


def test_pruning_is_on_by_default(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    """Five trials learn; those enqueued after them, at a hopeless learning rate, are pruned."""
    storage = optuna.storages.InMemoryStorage()
    space = tiny_space.fix(
        learning_rate=FloatRange(low=1e-4, high=10.0, log=True), dropout=0.0, epochs=6
    )
    study = quietly("s", walk, n_trials=1, space=space, storage=storage)
    for learning_rate in [1e-3] * 5 + [9.0] * 2:
        study.enqueue_trial({"learning_rate": learning_rate})
    study = quietly("s", walk, n_trials=8, storage=storage)
    assert [t.state.name for t in study.trials[-2:]] == ["PRUNED", "PRUNED"]


def test_what_counts_as_finished() -> None:
    """A diverged trial would diverge again; an interrupted or crashed one is made up for."""
    study = optuna.create_study()
    for state, attributes in (
        ("COMPLETE", {}),
        ("PRUNED", {}),
        ("FAIL", {"error": "the training loss became nan", "non_finite": True}),
        ("FAIL", {"error": "KeyboardInterrupt"}),
        ("FAIL", {}),
        ("RUNNING", {}),
    ):
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState[state],
                value=1.0 if state == "COMPLETE" else None,
                user_attrs=attributes,
            )
        )
    assert finished_trials(study) == 3


def test_a_diverged_trial_does_not_end_the_study(
    walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    space = tiny_space.fix(
        scaling="windowed_min_max",
        optimizer="sgd_momentum",
        learning_rate=(1e-3, 10.0),
        clip_norm=1e30,
        epochs=30,
        steps_per_epoch=40,
        stop_patience=30,
    )
    grid = optuna.samplers.GridSampler({"learning_rate": [10.0, 1e-3], "dropout": [0.0]}, seed=0)
    study = quietly("s", walk, n_trials=2, space=space, sampler=grid)
    failed = [t for t in study.trials if t.state == optuna.trial.TrialState.FAIL]
    assert [t.params["learning_rate"] for t in failed] == [10.0]
    assert "epoch" in failed[0].user_attrs["error"]
    assert study.best_trial.params["learning_rate"] == 1e-3


@pytest.mark.parametrize("name", ["", "  ", "a/b", "..", "x" * 201, "語" * 100, "a\nb", "-rf"])
def test_bad_names_are_refused(name: str, walk: PriceSeries) -> None:
    with pytest.raises(ConfigError, match="study name must be"):
        quietly(name, walk)


def test_nothing_is_stored_of_a_refused_study(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(DataError, match=r"500 rows leave .* a horizon of 120"):
        quietly("s", walk, horizon=120, space=tiny_space, storage=storage)
    with pytest.raises(ConfigError, match="n_trials must be a whole number of at least 1"):
        quietly("s", walk, n_trials=0, storage=storage)
    with pytest.raises(ConfigError, match=r"n_trials must be .* but got '3'"):
        quietly("s", walk, n_trials="3", storage=storage)
    with pytest.raises(DataError, match="an unroll of 407 rows"):
        quietly("s", walk, space=tiny_space.fix(label_offset=400), storage=storage)
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
    came = LOG.changes(prices.mid, origins, 5)
    assert gain <= 1.02 * (1 - np.mean((true_model - came) ** 2) / np.mean(came**2))


def test_sine_and_random_walk_studies_end_where_theory_says() -> None:
    """A short study finds the sine, and nothing in a random walk, where there is nothing."""
    space = SearchSpace(
        layers=1,
        units=8,
        unroll_length=50,
        batch_size=32,
        learning_rate=FloatRange(low=5e-3, high=2e-2, log=True),
        dropout=0.0,
        epochs=8,
    )
    sine = quietly("sine", load_sample("noisy_sine"), n_trials=2, space=space, horizon=50)
    assert 0.005 < sine.best_value < 0.2
    walk = load_sample("random_walk", length=20_000)
    study = quietly("walk", walk, n_trials=3, space=space.fix(unroll_length=10))
    assert 0.97 < study.best_value < 1.03


SCRIPT = """
from foretune.datasets import load_sample
from foretune.search import SearchSpace, run_study

space = SearchSpace(layers=1, units=4, unroll_length=8, batch_size=8, epochs=20, steps_per_epoch=50)
walk = load_sample("random_walk", length=500)
study = run_study("s", walk, target="mid", n_trials=500, space=space, horizon=5)
print("returned", len(study.trials))
"""


def wait_for_trials(database: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until ``count`` trials are complete, reading beside the process, never making tables."""
    for _ in range(600):
        assert process.poll() is None, process.communicate()
        with contextlib.suppress(sqlite3.Error):
            connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
            try:
                query = "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"
                if connection.execute(query).fetchone()[0] >= count:
                    return
            finally:
                connection.close()
        time.sleep(0.3)
    process.kill()
    raise AssertionError(process.communicate())


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
    wait_for_trials(tmp_path / "foretune.db", 2, process)
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 0
    assert out.startswith("returned ")
    assert "Traceback" not in err
    assert "trials of study 's' are stored; run the same command again to continue" in err
    stopped = load_study("s", url)
    done = finished_trials(stopped)
    states = {t.state.name for t in stopped.trials}
    assert states <= {"COMPLETE", "PRUNED", "WAITING"}
    resumed = run_study(
        "s",
        load_sample("random_walk", length=500),
        n_trials=done + 1,
        storage=url,
        workers=1,
        show_progress_bar=False,
        target="mid",
    )
    assert finished_trials(resumed) == done + 1
