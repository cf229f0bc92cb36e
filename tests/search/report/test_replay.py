"""A stored trial, trained again: here, in a fresh process, and where something has changed."""

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.common.errors import ConfigError
from foretune.search import SearchSpace, run_study
from foretune.search.report.replay import replay
from foretune.search.storage.artifacts import load_artifact, save_artifacts
from foretune.search.storage.connect import load_study
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.losses import LOSSES_BY_ORIGIN


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('replay') / 'studies.db'}"


@pytest.fixture(scope="module")
def prices() -> PriceSeries:
    return load_sample("random_walk", length=500, seed=3)


@pytest.fixture(scope="module")
def study(database: str, prices: PriceSeries, tiny_space: SearchSpace) -> optuna.Study:
    """Trained by two workers; half of the trials are pruned."""

    # Here, because workers do not import this module: they get the class itself.
    class PruneOddTrials(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.number % 2 == 1 and trial.last_step == 2

    return run_study(
        "s",
        prices,
        n_trials=6,
        space=tiny_space,
        horizon=5,
        storage=database,
        workers=2,
        pruner=PruneOddTrials(),
        show_progress_bar=False,
        target="mid",
    )


def test_a_fresh_process_gets_the_same_bits(study: optuna.Study, database: str) -> None:
    """Of complete and of pruned trials, five of them, through the command."""
    states = {trial.state for trial in study.trials[:5]}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    code = """
import sys
from foretune.search.cli.main import main
for number in range(5):
    main(["replay", "--study", "s", "--storage", sys.argv[1], "--trial", str(number)])
"""
    process = subprocess.run(
        [sys.executable, "-c", code, database], capture_output=True, text=True, timeout=240
    )
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert len(lines) == 5
    for trial, line in zip(study.trials, lines, strict=False):
        assert line.startswith(f"trial {trial.number} is bit-identical: relative_mse ")
        assert repr(trial.user_attrs["relative_mse"]) in line


def test_every_number_is_compared(study: optuna.Study, prices: PriceSeries) -> None:
    """One value, one an epoch, one an origin: 98 - 5 + 1 of them on 98 validation days."""
    for number, epochs in ((0, 3), (1, 2)):
        outcome = replay(study, number, prices)
        assert outcome.is_identical
        assert outcome.compared == 1 + epochs + 94
        assert outcome.reasons == ()


@pytest.mark.parametrize("what", ["value", "epoch", "loss"])
def test_one_changed_number_is_found(
    what: str, prices: PriceSeries, tiny_space: SearchSpace
) -> None:
    study = run_study(
        "s",
        prices,
        n_trials=1,
        space=tiny_space,
        horizon=5,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    assert replay(study, 0, prices).is_identical
    # What is stored cannot be changed once a trial is finished, so a copy is stored otherwise.
    trial = study.trials[0]
    attrs, values = dict(trial.user_attrs), dict(trial.intermediate_values)
    losses = load_artifact(storage_of(study), trial, LOSSES_BY_ORIGIN).decode()
    if what == "value":
        attrs["relative_mse"] += 1e-3
    elif what == "epoch":
        values[2] += 1e-3
    else:
        head, first, *rest = losses.splitlines()
        day, fold, loss, persistence = first.split(",")
        changed = ",".join([day, fold, repr(float(loss) + 1e-3), persistence])
        losses = "\n".join([head, changed, *rest])
    copy = study.ask()
    for name, value in attrs.items():
        copy.set_user_attr(name, value)
    for step, value in values.items():
        copy.report(value, step)
    save_artifacts(storage_of(study), copy, {LOSSES_BY_ORIGIN: losses})
    study.tell(copy, trial.value)
    outcome = replay(study, 1, prices)
    assert not outcome.is_identical
    assert outcome.difference == pytest.approx(1e-3)
    assert "trial 1 differs" in str(outcome)
    assert "none found: device, versions and lanes are the same" in str(outcome)


def test_what_may_explain_a_difference_is_named(
    prices: PriceSeries, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    study = run_study(
        "s",
        prices,
        n_trials=2,
        space=tiny_space,
        horizon=5,
        lanes=2,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    spec = json.loads(json.dumps(study.user_attrs["foretune_spec"]))
    spec["versions"] |= {"jax": "0.0.1", "torch": "2.0"}
    study.set_user_attr("foretune_spec", spec)
    outcome = replay(study, 0, prices)
    # Lanes round otherwise; see tests/models/test_lanes.py for how little.
    assert outcome.difference < 1e-3
    assert "it was trained in 2 lanes and alone here" in outcome.reasons
    assert "torch was 2.0 when the study began and is not installed here" in outcome.reasons
    assert any(r.startswith("jax was 0.0.1 when the study began and is ") for r in outcome.reasons)


def test_trials_without_a_result_are_refused(prices: PriceSeries, study: optuna.Study) -> None:
    with pytest.raises(ConfigError, match="trial must be a number from 0 to 5, but got 6"):
        replay(study, 6, prices)
    with pytest.raises(ConfigError, match="prices must be those of study 's'"):
        replay(study, 0, load_sample("random_walk", length=500, seed=4))


def test_a_failed_trial_says_why(prices: PriceSeries, tiny_space: SearchSpace) -> None:
    study = run_study(
        "s",
        prices,
        n_trials=1,
        space=tiny_space,
        horizon=5,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    trial = study.ask()
    trial.set_user_attr("error", "the training loss became nan in epoch 1")
    study.tell(trial, state=TrialState.FAIL)
    with pytest.raises(ConfigError, match="but 1 is fail: the training loss became nan"):
        replay(study, 1, prices)
    study.ask()
    with pytest.raises(ConfigError, match="but 2 is running: it has not ended"):
        replay(study, 2, prices)


def test_a_trial_of_folds_is_replayed(
    prices: PriceSeries, tiny_space: SearchSpace, database: str
) -> None:
    class PruneSecond(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.number == 1 and trial.last_step == 2

    run_study(
        "folds",
        prices,
        n_trials=2,
        space=tiny_space,
        horizon=5,
        folds=3,
        storage=database,
        workers=1,
        pruner=PruneSecond(),
        show_progress_bar=False,
        target="mid",
    )
    study = load_study("folds", database)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    # The value, each fold's, each epoch's, and 28 origins a fold of 32 days.
    for number, epochs in ((0, 3), (1, 2)):
        again = replay(study, number, prices)
        assert again.compared == 1 + 3 + epochs + 3 * 28
        assert again.is_identical
