"""Networks of the default space, with every group of covariates, in a study from end to end."""

import json
import signal
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from command_line import Run
from optuna.trial import FrozenTrial, TrialState
from regressors import one
from small_study import planned_series, planned_table, search_planned

from foretune.datasets import TimeSeries, as_series
from foretune.models.forecasts.metrics import relative_mse
from foretune.models.forecasts.ridge import choose_ridge
from foretune.search import make_report, replay, run_study, trial_config
from foretune.search.engine import driver
from foretune.search.report.report import Report
from foretune.search.space.dimensions import ends
from foretune.search.storage.artifacts import artifact_names, load_artifact
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.remarks import training_remarks
from foretune.search.study.spec import required_spec

OF_THE_MACHINE = ("seconds", "compiles", "cache_hits", "epochs_dropped", "resumed_after_epoch")


def results(study: optuna.Study) -> list[Any]:
    """All that the trials came to, without what it took."""
    return [
        (t.number, t.state, t.value, t.params, t.intermediate_values, kept(t)) for t in study.trials
    ]


def kept(trial: FrozenTrial) -> dict[str, Any]:
    return {k: v for k, v in trial.user_attrs.items() if k not in OF_THE_MACHINE}


def files(study: optuna.Study) -> dict[str, bytes]:
    """The bytes of all that is stored beside the trials, and beside the study."""
    storage = storage_of(study)
    return {
        f"{getattr(owner, 'number', 'study')}/{name}": load_artifact(storage, owner, name)
        for owner in (study, *study.trials)
        for name in artifact_names(storage, owner)
    }


def test_a_trial_reads_all_groups_and_begins_as_its_ridge(planned_study: optuna.Study) -> None:
    space = required_spec(planned_study).space
    assert set(ends(space.window_scaling)) >= {"none", "last", "mean", "standard", "step"}
    for trial in planned_study.trials:
        config = trial_config(trial)
        assert (config.head, config.skip) == ("direct", "linear")
        assert config.past_covariates
        assert config.future_covariates
        assert config.static_covariates
        assert config.calendar_features
        assert list(trial.intermediate_values) == [0, 1, 2]
        assert trial.value == min(trial.intermediate_values.values())
        # To the last bit, as the value that it is shown beside.
        assert trial.user_attrs["ridge_value"] == trial.intermediate_values[0]


def test_every_trial_is_replayed_to_the_last_bit(
    planned_study: optuna.Study, planned: TimeSeries
) -> None:
    """Its value, the values of epochs 0 to 2, and the losses of 73 origins."""
    origins = len(required_spec(planned_study).split_days(len(planned)).validation_origins)
    for trial in planned_study.trials:
        outcome = replay(planned_study, trial.number, planned)
        assert outcome.is_identical
        assert outcome.compared == 1 + 3 + origins


class StopInTheMiddle(optuna.pruners.BasePruner):
    """Ctrl-C once, while the second trial is at its first epoch."""

    pressed = False

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        if (trial.number, trial.last_step, self.pressed) == (1, 1, False):
            self.pressed = True
            signal.raise_signal(signal.SIGINT)
        return False


def test_a_study_that_was_stopped_goes_on_to_the_same_bits(
    planned_study: optuna.Study, planned: TimeSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Epoch 0 and the first one are a task of their own.
    monkeypatch.setattr(driver, "Budget", partial(driver.Budget, epochs=1))
    options: dict[str, Any] = {"storage": optuna.storages.InMemoryStorage()}
    options["pruner"] = StopInTheMiddle()
    stopped = search_planned(planned, **options)
    states = [trial.state for trial in stopped.trials]
    assert states == [TrialState.COMPLETE, TrialState.WAITING]
    again = search_planned(planned, **options)
    assert again.trials[1].user_attrs["resumed_after_epoch"] >= 1
    assert results(again) == results(planned_study)


def other_later(table: pd.DataFrame, after: int) -> pd.DataFrame:
    """The same up to row ``after``; then other values of target and covariates."""
    other, later = table.copy(), np.arange(len(table)) >= after
    for name in ("level", "wind", "plan"):
        other.loc[later, name] = 100 - 3 * other.loc[later, name]
    return other


def test_values_after_the_split_change_nothing_but_the_digest(
    planned_study: optuna.Study, planned: TimeSeries
) -> None:
    stop = required_spec(planned_study).split_days(len(planned)).validation_stop
    other = planned_series(other_later(planned_table(), stop))
    assert other.digest != planned.digest
    study = search_planned(other)
    assert results(study) == results(planned_study)
    assert files(study) == files(planned_study)
    stored, before = (json.dumps(s.user_attrs, sort_keys=True) for s in (study, planned_study))
    assert stored.replace(other.digest, planned.digest) == before
    # Not vacuous: one row earlier it is seen.
    seen = search_planned(planned_series(other_later(planned_table(), stop - 1)), n_trials=1)
    assert results(seen)[0] != results(study)[0]


@pytest.fixture(scope="module")
def report(planned: TimeSeries) -> Report:
    return make_report(search_planned(planned), planned, open_test=True, top=2)


def columns(planned: TimeSeries) -> dict[str, Any]:
    """What the regression of a network that reads all groups has beside the lags."""
    assert isinstance(planned.time, pd.DatetimeIndex)
    hours = planned.time.hour.to_numpy() * 2 * np.pi / 24
    days = planned.time.day_of_week.to_numpy() * 2 * np.pi / 7
    waves = [wave(angle) for angle in (hours, days) for wave in (np.sin, np.cos)]
    ahead = np.column_stack([planned.future["plan"], *waves])
    return {"past": planned.past["wind"][:, None], "future": ahead}


def test_the_row_of_the_ridge_is_that_regression_alone(report: Report, planned: TimeSeries) -> None:
    winner, split = report.winner, report.spec.split_days(len(planned))
    name = f"trial {winner.trial.number}, its ridge alone"
    for part in report.parts:
        assert list(part.models)[:3] == [f"trial {winner.trial.number}", name, "ensemble of 2"]
    found = [part.models[name].metrics.relative_mse for part in report.parts]
    assert found[0] == winner.trial.intermediate_values[0]
    # By hand: on the values, with the covariates and the clock in the order of their names.
    levels, known = planned.target, columns(planned)
    (ridge,) = choose_ridge(one(levels, **known), [split])
    for error, origins in zip(found, (split.validation_origins, split.test_origins), strict=True):
        came = np.array([levels[o + 1 : o + 5] - levels[o] for o in origins])
        expected = relative_mse(ridge.changes(levels, origins, **known), came)
        assert error == pytest.approx(expected, rel=1e-5)
    # It is another than the baseline, which does not read the clock.
    assert found[0] != pytest.approx(
        report.validation.models["ridge on lags"].metrics.relative_mse, rel=1e-5
    )


def test_the_command_ends_with_what_the_epochs_say(command: Run, tmp_path: Path) -> None:
    planned_table().to_csv("hours.csv")
    groups: dict[str, Any] = {"past": ["wind"], "future": ["plan"], "static": ["site"]}
    read = as_series("hours.csv", target="level", **groups)
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    study = search_planned(read, storage=storage, n_trials=1)
    remarks = training_remarks(study.best_trial)
    assert len(remarks) == 2
    code, out, err = command("run", "--study", "planned", "--storage", storage, "--trials", "1")
    assert code == 0, err
    assert "│ its ridge alone" in out
    assert " ".join([*remarks, "Next: foretune report"]) in " ".join(out.split())


# What the version before wrote of a space, and what it came to with it: two trials of a recursive
# network, the only one it had.
OLD_SPACE = """{"layers": 1, "units": 4, "pad_units_to": "auto", "unroll_length": [25, 50],
"learning_rate": {"low": 0.0001, "high": 0.01, "log": true}, "dropout": {"low": 0.0, "high": 0.5,
"log": false}, "batch_size": 8, "cell": "lstm", "optimizer": "adam", "scaling": ["standard",
"differences"], "scaling_window": 2500, "smoothing": 0.0, "label_offset": 1, "clip_norm": 5.0,
"epochs": 2, "steps_per_epoch": 5, "decay_factor": 0.5, "decay_patience": 2,
"min_learning_rate": 1e-06, "stop_patience": 5, "seed": 0}"""
OLD_VALUES = [
    {1: 1.8338503995810609, 2: 1.8296315033764488},
    {1: 0.9947177094071316, 2: 0.9944909917149521},
]


def test_a_study_of_the_version_before_goes_on_with_recursive_networks() -> None:
    noise = np.random.default_rng(0).normal(size=300)
    frame = pd.DataFrame({"step": np.arange(300), "y": np.sin(np.arange(300) / 5) + 0.3 * noise})
    series, storage = as_series(frame), optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="old", storage=storage)
    prices = {"name": "series", "source": "a DataFrame", "days": 300, "digest": series.digest}
    prices |= {"first_date": "0", "last_date": "299", "target": "y", "space": "value"}
    prices |= {"step": "step", "calendar": "whole numbers, step 1"}
    split = {"horizon": 4, "stride": 1, "train_fraction": 0.6, "validation_fraction": 0.2}
    document = {"prices": prices, "split": split | {"folds": 1}, "space": json.loads(OLD_SPACE)}
    study.set_user_attr("foretune_spec", document | {"seed": 0, "versions": {"foretune": "0.1.0"}})
    for n_trials in (1, 2):
        study = run_study(
            "old",
            series,
            n_trials=n_trials,
            storage=storage,
            workers=1,
            show_progress_bar=False,
        )
    for trial, expected in zip(study.trials, OLD_VALUES, strict=True):
        config = trial_config(trial)
        assert (config.head, config.skip) == ("recursive", "none")
        assert trial.intermediate_values == pytest.approx(expected, rel=1e-6)
        assert not training_remarks(trial)[1:]
    assert study.user_attrs["foretune_spec"]["space"] == json.loads(OLD_SPACE)
    assert replay(study, 1, series).is_identical
