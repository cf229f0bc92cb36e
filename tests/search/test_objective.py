import logging
import math
from dataclasses import replace

import jax
import numpy as np
import optuna
import pytest

from foretune.datasets.splits import Development
from foretune.models import NonFiniteLossError, TrialConfig, fit
from foretune.search import Objective, SearchSpace


def test_plain_optuna_runs_it(tiny_space: SearchSpace, tiny_data: Development) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(Objective(tiny_space, tiny_data), n_trials=2)
    for trial in study.trials:
        results = list(fit(tiny_space.suggest(trial), tiny_data))
        values = [r.relative_mse for r in results]
        assert trial.intermediate_values == {r.epoch: r.relative_mse for r in results}
        assert trial.value == min(values)
        stored = trial.user_attrs
        assert TrialConfig.from_toml(stored["config"]) == tiny_space.suggest(trial)
        assert stored["relative_mse"] == trial.value
        assert stored["best_epoch"] == 1 + int(np.argmin(values))
        assert stored["epochs"] == len(results)
        assert stored["mse"] == pytest.approx(trial.value * stored["persistence_mse"])
        # LSTM of 4 units on 1 input, and the head: (1 + 4) 16 + 16 + 4 + 1.
        assert stored["parameters"] == 101
        assert stored["seconds"] > 0


def test_pruned_trial_keeps_its_best_epoch(tiny_space: SearchSpace, tiny_data: Development) -> None:
    class PruneInEpochTwo(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.last_step == 2

    study = optuna.create_study(pruner=PruneInEpochTwo())
    study.optimize(Objective(tiny_space, tiny_data), n_trials=1)
    trial = study.trials[0]
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert list(trial.intermediate_values) == [1, 2]
    assert trial.user_attrs["relative_mse"] == min(trial.intermediate_values.values())
    assert trial.user_attrs["epochs"] == 2


def test_non_finite_loss_fails_the_trial_with_a_reason(
    tiny_space: SearchSpace, tiny_data: Development
) -> None:
    mid = tiny_data.mid.copy()
    mid[100] = 1e200  # finite and valid, but its squared return overflows float32
    study = optuna.create_study()
    broken = replace(tiny_data, mid=mid)
    space = tiny_space.fix(scaling="windowed_min_max", scaling_window=50, learning_rate=10.0)
    objective = Objective(space.fix(optimizer="sgd_momentum", clip_norm=1e30), broken)
    study.optimize(objective, n_trials=1, catch=NonFiniteLossError)
    trial = study.trials[0]
    assert trial.state == optuna.trial.TrialState.FAIL
    assert trial.value is None
    assert "epoch" in trial.user_attrs["error"]
    assert all(math.isfinite(v) for v in trial.intermediate_values.values())


def test_five_shapes_compile_five_times_and_nothing_else(
    tiny_space: SearchSpace, tiny_data: Development, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty trials of five shapes, counted by the trials themselves and by JAX's own log."""
    shapes = (2, 3, 5, 6, 7)
    space = tiny_space.fix(units=shapes, epochs=1, steps_per_epoch=2)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for number in range(20):
        study.enqueue_trial({"units_1": shapes[number % 5]})
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        study.optimize(Objective(space, tiny_data), n_trials=20)
    logged = [r.message for r in caplog.records if "Finished XLA compilation" in r.message]
    assert sum("one_epoch" in message for message in logged) == 5
    counted = [trial.user_attrs["compiles"] for trial in study.trials]
    assert sum(counted) == len(logged) == 5
    assert counted[5:] == [0] * 15
    assert len({t.params["learning_rate"] for t in study.trials}) == 20


def test_only_the_seed_differs_and_nothing_compiles(
    tiny_space: SearchSpace, tiny_data: Development
) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(Objective(tiny_space, tiny_data), n_trials=1)
    other = tiny_space.fix(seed=11, learning_rate=0.02, dropout=0.33, epochs=2, steps_per_epoch=4)
    study.optimize(Objective(other, tiny_data), n_trials=1)
    assert study.trials[1].user_attrs["compiles"] == 0
