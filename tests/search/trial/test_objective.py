import io
import json
import logging
import math
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import FrozenTrial, TrialState
from statsmodels.stats.proportion import proportion_confint

from foretune.datasets import PriceSeries
from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData, chronological_split, development_folds
from foretune.models import NonFiniteLossError, TrialConfig, fit
from foretune.models.forecasts.skip import choose_skips
from foretune.models.runtime.compile import evict_compiled_programs
from foretune.models.training.results import FoldResults
from foretune.models.training.tasks import Budget, DataRef, Missing, advance
from foretune.search import Objective, SearchSpace
from foretune.search.storage.artifacts import load_artifact
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.losses import LOSSES_BY_ORIGIN, load_losses
from foretune.search.trial import objective
from foretune.search.trial.files import ERRORS_BY_STEP, LEARNING_CURVE
from foretune.search.trial.record import RIDGE_VALUE, TrialRecord
from foretune.search.trial.snapshots import load_snapshot

HORIZON = 5


def test_plain_optuna_runs_it(tiny_space: SearchSpace, tiny_data: DevelopmentData) -> None:
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
        assert stored["mse"] == pytest.approx(trial.value * stored["persistence_mse"], rel=1e-5)
        # LSTM of 4 units on 1 input, and the head: (1 + 4) 16 + 16 + 4 + 1.
        assert stored["parameters"] == 101
        assert stored["seconds"] > 0


def test_pruned_trial_keeps_its_best_epoch(
    tiny_space: SearchSpace, tiny_data: DevelopmentData
) -> None:
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


@pytest.fixture
def beside_a_ridge(tiny_space: SearchSpace) -> SearchSpace:
    """Networks of a direct head that start as a regression."""
    return tiny_space.fix(
        head="direct", skip="linear", head_units=4, window_scaling="last", segment_length=2
    )


def test_epoch_0_is_reported_and_no_pruner_is_asked_there(
    beside_a_ridge: SearchSpace, tiny_data: DevelopmentData
) -> None:
    asked: list[int | None] = []

    class Pruner(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            asked.append(trial.last_step)
            return trial.number == 1 and trial.last_step == 2

    study = optuna.create_study(pruner=Pruner(), sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(Objective(beside_a_ridge, tiny_data), n_trials=2)
    assert asked == [1, 2, 1, 2]
    (skip,) = choose_skips(beside_a_ridge.suggest(study.trials[0]), [tiny_data])
    assert skip is not None
    split, log = tiny_data.split, np.log(tiny_data.values[0])
    days = split.validation_origins[:, None] + np.arange(1, HORIZON + 1)
    came = log[days] - log[split.validation_origins][:, None]
    made = skip.ridge.changes(log, split.validation_origins)
    ridge = np.square(made - came).mean() / np.square(came).mean()
    for trial, epochs in zip(study.trials, (3, 2), strict=True):
        assert list(trial.intermediate_values) == [*range(epochs + 1)]
        stored = trial.user_attrs
        assert stored["epochs"] == epochs
        assert stored[RIDGE_VALUE] == pytest.approx(ridge, rel=1e-5)
        assert trial.intermediate_values[0] == pytest.approx(ridge, rel=1e-6)
        values = [*trial.intermediate_values.values()]
        assert stored["relative_mse"] == min(values)
        assert stored["best_epoch"] == int(np.argmin(values))
        curve = load_artifact(storage_of(study), trial, LEARNING_CURVE).split(b"\n")[1]
        (fold,) = json.loads(curve)["data"]["folds"]
        assert fold["best"] == stored["best_epoch"]
    # Not vacuous: without a skip there is neither.
    plain = optuna.create_study()
    plain.optimize(Objective(beside_a_ridge.fix(skip="none"), tiny_data), n_trials=1)
    assert RIDGE_VALUE not in plain.trials[0].user_attrs
    assert list(plain.trials[0].intermediate_values) == [1, 2, 3]


def test_non_finite_loss_fails_the_trial_with_a_reason(
    tiny_space: SearchSpace, tiny_data: DevelopmentData
) -> None:
    mid = tiny_data.values.copy()
    mid[0, 100] = 1e200  # finite and valid, but its squared return overflows float32
    study = optuna.create_study()
    broken = replace(tiny_data, values=mid)
    space = tiny_space.fix(scaling="windowed_min_max", scaling_window=50, learning_rate=10.0)
    diverging = Objective(space.fix(optimizer="sgd_momentum", clip_norm=1e30), broken)
    study.optimize(diverging, n_trials=1, catch=NonFiniteLossError)
    trial = study.trials[0]
    assert trial.state == optuna.trial.TrialState.FAIL
    assert trial.value is None
    assert "epoch" in trial.user_attrs["error"]
    assert all(math.isfinite(v) for v in trial.intermediate_values.values())


def test_five_shapes_compile_five_times_and_nothing_else(
    tiny_space: SearchSpace, tiny_data: DevelopmentData, caplog: pytest.LogCaptureFixture
) -> None:
    """Twenty trials of five shapes, counted by the trials themselves and by JAX's own log."""
    evict_compiled_programs(most=0)  # another test may have compiled one of them
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
    tiny_space: SearchSpace, tiny_data: DevelopmentData
) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(Objective(tiny_space, tiny_data), n_trials=1)
    other = tiny_space.fix(seed=11, learning_rate=0.02, dropout=0.33, epochs=2, steps_per_epoch=4)
    study.optimize(Objective(other, tiny_data), n_trials=1)
    assert study.trials[1].user_attrs["compiles"] == 0


@pytest.fixture
def folds(walk: PriceSeries) -> tuple[DevelopmentData, ...]:
    return development_folds(
        walk.series("mid"), chronological_split(len(walk), horizon=HORIZON, history=8), 3
    )


def test_with_folds_the_value_is_the_lowest_mean(
    tiny_space: SearchSpace, folds: tuple[DevelopmentData, ...]
) -> None:
    """The rate is constant for three epochs, so that each fold is trained here as if alone."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(Objective(tiny_space, folds), n_trials=2)
    own = []
    for trial in study.trials:
        config = tiny_space.suggest(trial)
        runs = np.array([[result.relative_mse for result in fit(config, f)] for f in folds])
        means = runs.mean(axis=0)
        best = int(np.argmin(means))
        stored = trial.user_attrs
        assert [stored[f"relative_mse_fold_{n}"] for n in (1, 2, 3)] == runs[:, best].tolist()
        assert trial.value == stored["relative_mse"] == pytest.approx(means[best], rel=1e-15)
        assert stored["best_epoch"] == best + 1
        curve = json.loads(load_artifact(storage_of(study), trial, LEARNING_CURVE).split(b"\n")[1])
        assert [fold["best"] for fold in curve["data"]["folds"]] == [best + 1] * 3
        # What a pruner compares: all folds, after as many epochs.
        assert list(trial.intermediate_values) == [1, 2, 3]
        assert list(trial.intermediate_values.values()) == pytest.approx(means, rel=1e-15)
        own.append(runs.min(axis=1).mean() < trial.value)
    assert any(own)  # not vacuous: the folds' own best epochs are others


@pytest.mark.parametrize(("shared_epoch", "skip"), [(True, False), (False, False), (True, True)])
def test_a_trial_of_folds_goes_on_from_its_snapshot(
    shared_epoch: bool,
    skip: bool,
    tiny_space: SearchSpace,
    beside_a_ridge: SearchSpace,
    folds: tuple[DevelopmentData, ...],
) -> None:
    """Interrupted after every epoch, it stores what it does in one piece, to the last bit."""
    config = (
        (beside_a_ridge if skip else tiny_space)
        .fix(learning_rate=0.1, dropout=0.1, epochs=12, stop_patience=3, decay_patience=0)
        .suggest(optuna.trial.FixedTrial({}))
    )
    data, study = DataRef.of(folds[:2]), optuna.create_study()

    def trained(epochs: int | None) -> FrozenTrial:
        trial = study.ask()
        for _ in range(config.epochs + 1):
            record = TrialRecord(trial, config, folds[:2], shared_epoch=shared_epoch)
            answer = advance((record.state,), data, Budget(seconds=1e9, epochs=epochs))
            assert not isinstance(answer, Missing)
            if record.take(answer[0]) == TrialState.COMPLETE:
                break
            record.save_snapshot()
        record.end()
        study.tell(trial, record.value)
        return study.trials[trial.number]

    whole, again = trained(None), trained(1)
    assert (RIDGE_VALUE in whole.user_attrs) == skip == (0 in whole.intermediate_values)
    assert whole.user_attrs["best_epoch"] < whole.user_attrs["epochs"] < 12
    assert again.user_attrs["resumed_after_epoch"] == whole.user_attrs["epochs"] - 1
    assert (again.value, again.intermediate_values) == (whole.value, whole.intermediate_values)
    timed = ("seconds", "compiles", "cache_hits", "resumed_after_epoch")
    one, two = (
        {key: value for key, value in trial.user_attrs.items() if key not in timed}
        for trial in (whole, again)
    )
    assert one == two
    for name in (LOSSES_BY_ORIGIN, ERRORS_BY_STEP):
        first, second = (load_artifact(storage_of(study), t, name) for t in (whole, again))
        assert first == second


@pytest.mark.parametrize(("count", "begun"), [(3, True), (2, False)])
def test_a_snapshot_of_version_1_is_no_beginning_of_a_shared_epoch(
    count: int, begun: bool, tiny_space: SearchSpace, folds: tuple[DevelopmentData, ...]
) -> None:
    """There every fold decayed by itself, or began when the one before it had ended."""
    trial = optuna.create_study().ask()
    config = tiny_space.suggest(trial)
    record = TrialRecord(trial, config, folds[:count], shared_epoch=False)
    budget = Budget(seconds=1e9, epochs=2)
    answer = advance((record.state,), DataRef.of(folds[:count]), budget)
    assert not isinstance(answer, Missing)
    record.take(answer[0])
    record.save_snapshot()
    assert not TrialRecord(trial, config, folds).state.folds
    assert bool(TrialRecord(trial, config, folds, shared_epoch=False).state.folds) == begun


def test_a_pruner_of_folds_is_refused(
    tiny_space: SearchSpace, folds: tuple[DevelopmentData, ...]
) -> None:
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        pruner = optuna.pruners.WilcoxonPruner()
    with pytest.raises(ConfigError, match="WilcoxonPruner: no fold has a value"):
        optuna.create_study(pruner=pruner).optimize(Objective(tiny_space, folds), n_trials=1)


def test_every_trial_stores_its_metrics_and_curves(
    tiny_space: SearchSpace, tiny_data: DevelopmentData
) -> None:
    """Recomputed here from the forecasts of the same config; pruned trials have them too."""

    class PruneSecond(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.number == 1

    study = optuna.create_study(pruner=PruneSecond())
    study.optimize(Objective(tiny_space, tiny_data), n_trials=2)
    split = tiny_data.split
    log = np.log(tiny_data.values[0])
    days = split.validation_origins[:, None] + np.arange(1, HORIZON + 1)
    actual = log[days] - log[split.validation_origins][:, None]
    change = np.mean(np.abs(np.diff(log[: split.validation_start])))
    for trial in study.trials:
        results = list(fit(tiny_space.suggest(trial), tiny_data))[: trial.user_attrs["epochs"]]
        best = min(results, key=lambda result: result.relative_mse)
        (forecasts,) = best.forecasts
        error = forecasts - actual
        stored = trial.user_attrs
        assert stored["mae"] == pytest.approx(np.mean(np.abs(error)), rel=1e-5)
        assert stored["mase"] == pytest.approx(np.mean(np.abs(error)) / change, rel=1e-5)
        made, came = np.exp(forecasts), np.exp(actual)
        percent = np.mean(200 * np.abs(made - came) / (made + came))
        assert stored["smape"] == pytest.approx(percent, rel=1e-5)
        hits = np.sign(forecasts[:, -1]) == np.sign(actual[:, -1])
        assert stored["directional_accuracy"] == pytest.approx(np.mean(hits), rel=1e-5)
        # Five origins in a row overlap, so that 3.78 of them say as much as one (Wilson).
        apart = 1 + 4 / np.pi * np.sum(np.arcsin([0.8, 0.6, 0.4, 0.2]))
        low, high = proportion_confint(hits.sum() / apart, len(hits) / apart, method="wilson")
        interval = stored["directional_low"], stored["directional_high"]
        assert interval == pytest.approx((low, high), rel=1e-5)
        numbers = [v for k, v in stored.items() if k not in ("config", "device")]
        assert all(type(value) in (int, float) for value in numbers)
        storage = storage_of(study)
        steps = pd.read_csv(io.BytesIO(load_artifact(storage, trial, "errors_by_step.csv")))
        assert steps["step"].tolist() == [1, 2, 3, 4, 5]
        assert steps["mse"].tolist() == pytest.approx(np.mean(error**2, axis=0).tolist())
        assert steps["mae"].tolist() == pytest.approx(np.mean(np.abs(error), axis=0).tolist())
        moves = np.mean(actual**2, axis=0).tolist()
        assert steps["persistence_mse"].tolist() == pytest.approx(moves)
        origins = pd.read_csv(io.BytesIO(load_artifact(storage, trial, "losses_by_origin.csv")))
        dates = tiny_data.dates[split.validation_origins].astype(str).tolist()
        assert origins["origin"].tolist() == dates
        assert origins["loss"].mean() == pytest.approx(stored["relative_mse"])
        assert origins["persistence_loss"].mean() == pytest.approx(1.0)
        (losses,) = load_losses(storage, trial, "loss")
        assert losses.tolist() == pytest.approx(origins["loss"].tolist())


@pytest.mark.parametrize("name", ["snapshot_seconds", "checkpoint_seconds"])
def test_epochs_are_shown_and_a_long_trial_keeps_snapshots(
    name: str,
    tiny_space: SearchSpace,
    tiny_data: DevelopmentData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objective, "CHUNK_SECONDS", 0.0)  # a task an epoch
    shown: list[tuple[int, float]] = []
    found: list[int | None] = []

    def on_epoch(number: int, config: TrialConfig, results: FoldResults) -> None:
        shown.append((results.epoch, results.relative_mse))
        snapshot = load_snapshot(trial, config)
        found.append(snapshot and snapshot.epochs)

    trial = optuna.create_study().ask()
    options: dict[str, Any] = {name: 0.0}
    Objective(tiny_space, tiny_data, on_epoch=on_epoch, **options)(trial)
    stored = trial.study.get_trials()[0]
    assert shown == list(stored.intermediate_values.items())
    assert found == [None, 1, 2]
    assert load_snapshot(trial, tiny_space.suggest(trial)) is None, "it has ended"
