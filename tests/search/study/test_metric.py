"""A study whose trials are judged by another metric than the relative MSE."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState
from rich.console import Console

from foretune.datasets import ConfigError, Panel, TimeSeries, as_series
from foretune.datasets.splits import DevelopmentData
from foretune.models import EpochResult, Forecaster, fit
from foretune.models.forecasts.metrics import METRICS, validation_growth
from foretune.search import (
    Objective,
    SearchSpace,
    best_trial,
    caveat,
    make_report,
    replay,
    run_study,
    save_best,
    study_status,
    summary,
    trial_config,
    trials_table,
    verdict,
    write_report,
)
from foretune.search.figures.study import history_figure, learning_curves_figure
from foretune.search.review.compare import comparison_table
from foretune.search.review.note import note
from foretune.search.storage.artifacts import load_artifact
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.baselines import stored_baselines
from foretune.search.study.best_file import BestDocument
from foretune.search.study.losses import load_losses
from foretune.search.study.spec import StudySpec, required_spec
from foretune.search.trial.files import LEARNING_CURVE

NAME = "absolute"


@pytest.fixture(scope="module")
def jumps() -> TimeSeries:
    """Rare large jumps, by which squares rank trials and absolute errors do not."""
    steps = np.random.default_rng(3).standard_t(1.5, 400)
    return as_series(pd.DataFrame({"step": np.arange(400), "y": 0.1 * np.cumsum(steps)}))


def run(name: str, data: Any, space: SearchSpace, **options: Any) -> optuna.Study:
    given: dict[str, Any] = {"horizon": 5, "n_trials": 4, "pruner": optuna.pruners.NopPruner()}
    given |= {"storage": optuna.storages.InMemoryStorage(), "workers": 1}
    return run_study(name, data, space=space, show_progress_bar=False, **given | options)


@pytest.fixture(scope="module")
def study(jumps: TimeSeries, tiny_space: SearchSpace) -> optuna.Study:
    return run(NAME, jumps, tiny_space.fix(head="recursive"), metric="mae")


@pytest.fixture(scope="module")
def relative(jumps: TimeSeries, tiny_space: SearchSpace) -> optuna.Study:
    return run("relative", jumps, tiny_space.fix(head="recursive"))


def absolute_errors(result: EpochResult, study: optuna.Study, jumps: TimeSeries) -> Any:
    (fold,) = required_spec(study).development(jumps)
    return np.abs(result.forecasts - validation_growth(fold))[0]


def test_the_best_trial_by_mae_is_another_than_by_squares(
    study: optuna.Study, relative: optuna.Study, jumps: TimeSeries
) -> None:
    (fold,) = required_spec(study).development(jumps)
    for trial in study.trials:
        run = list(fit(trial_config(trial), fold, metric="mae"))
        errors = [float(absolute_errors(result, study, jumps).mean()) for result in run]
        assert list(trial.intermediate_values.values()) == errors
        assert trial.value == trial.user_attrs["mae"] == min(errors)
        best = run[int(np.argmin(errors))]
        assert trial.user_attrs["best_epoch"] == best.epoch
        assert trial.user_attrs["relative_mse"] == best.relative_mse
        assert trial.user_attrs["metric"] == "mae"
    by = {n: [t.user_attrs[n] for t in study.trials] for n in ("mae", "relative_mse")}
    assert int(np.argmin(by["mae"])) == best_trial(study).number == 0
    assert int(np.argmin(by["relative_mse"])) == 3
    assert best_trial(relative).number == 3


def test_the_losses_of_a_verdict_are_its_errors_in_units_of_persistences(
    study: optuna.Study, jumps: TimeSeries
) -> None:
    (fold,) = required_spec(study).development(jumps)
    unit = float(np.abs(validation_growth(fold)).mean())
    best = best_trial(study)
    (losses,) = load_losses(storage_of(study), best, "loss")
    epoch = min(fit(trial_config(best), fold, metric="mae"), key=lambda result: result.value)
    by_origin = absolute_errors(epoch, study, jumps).mean(axis=1)
    np.testing.assert_allclose(losses, by_origin / unit, rtol=1e-12)
    stored = stored_baselines(study)
    assert stored["persistence"]["mae"] == pytest.approx(unit, rel=1e-12)
    found = verdict(study)
    benchmark = min(stored, key=lambda name: stored[name]["mae"])
    assert (found.trial, found.score, found.value) == (0, "mae", best.value)
    assert found.benchmark == benchmark
    assert found.benchmark_value == pytest.approx(stored[benchmark]["mae"], rel=1e-12)
    words = f"has MAE {best.value:.4g} against {stored[benchmark]['mae']:.4g}."
    assert f"{words} " in str(found)
    assert found.document()["benchmark_mae"] == found.benchmark_value
    assert "of 4 trials have a lower MAE than persistence on validation" in caveat(study)


def test_whatever_shows_a_value_names_it(
    study: optuna.Study, jumps: TimeSeries, tmp_path: Path
) -> None:
    value = best_trial(study).value
    assert study.metric_names == ["mae"]
    rows = dict(summary(study).result)
    baselines = stored_baselines(study)
    assert rows["its mae (validation)"] == f"{value:.6g}"
    assert rows["persistence"] == f"{baselines['persistence']['mae']:.6g}"
    words = note(study)
    persistence = baselines["persistence"]["mae"]
    assert f"best MAE on validation: | {value:.4g} (trial 0); persistence is {persistence:.4g}" in (
        words
    )
    assert "below persistence on validation" in words
    assert "MAE of baselines" in words
    assert (study_status(study).metric, study_status(study).best_value) == ("mae", value)
    table = trials_table(study)
    trials, others = table[table["number"].notna()], table[table["number"].isna()]
    assert set(trials["metric"]) == {"mae"}
    assert trials["value"].tolist() == [trial.value for trial in study.trials]
    assert others["value"].tolist() == [entry["mae"] for entry in baselines.values()]
    curve = load_artifact(storage_of(study), best_trial(study), LEARNING_CURVE)
    drawn = json.loads(curve.partition(b"\n")[2])["data"]
    assert (drawn["label"], drawn["persistence"]) == ("MAE", pytest.approx(persistence, rel=1e-12))
    assert drawn["title"] == f"trial 0: MAE {value:.4g} on validation"
    assert min(drawn["folds"][0]["values"]) == value
    for figure in (history_figure(study), learning_curves_figure(study, [])):
        assert figure.axes[0].get_ylabel() == "validation MAE"
        name = min(baselines, key=lambda name: baselines[name]["mae"])
        (line,) = [x for x in figure.axes[0].lines if x.get_label() == name]
        assert list(np.unique(line.get_ydata())) == [baselines[name]["mae"]]

    save_best(study, tmp_path / "best.toml", jumps)
    result = BestDocument.load(tmp_path / "best.toml").result
    assert (result.metric, result.value) == ("mae", value)
    assert result.relative_mse == best_trial(study).user_attrs["relative_mse"]


def test_a_report_judges_by_it_on_the_opened_test_too(
    study: optuna.Study, jumps: TimeSeries, tmp_path: Path
) -> None:
    made = make_report(study, jumps, open_test=True, top=2)
    assert made.winner.is_same
    test, outcome = made.test, made.finding.test
    assert test is not None
    assert outcome is not None
    errors = np.abs(test.growth[0] - test.actual[0])
    winner, *_ = test.models.values()
    unit = np.abs(test.actual).mean()
    np.testing.assert_allclose(winner.losses, errors.mean(axis=1) / unit, rtol=1e-12)
    assert outcome.value == pytest.approx(errors.mean(), rel=1e-12)
    of_benchmark = made.validation.models[made.finding.benchmark].metrics.mae
    assert made.finding.benchmark_value == pytest.approx(of_benchmark, rel=1e-12)
    assert made.optimism == outcome.value - made.finding.value
    assert f": MAE {outcome.value:.4g} against " in made.verdict
    assert made.finding.document() == json.loads(json.dumps(made.finding.document()))
    test_of = made.finding.document()["test"]
    assert (test_of["mae"], test_of["relative_mse"]) == (outcome.value, outcome.relative_mse)
    header, _ = made.model_table
    assert header[1:4] == ["validation: MAE", "relative MSE", "MASE"]
    write_report(made, tmp_path)
    words = (tmp_path / "report.md").read_text()
    assert "Epochs and trials were chosen by MAE." in words
    assert "its MAE on the test less that on validation" in words


def test_it_is_replayed_by_it(study: optuna.Study, jumps: TimeSeries) -> None:
    outcome = replay(study, 0, jumps)
    assert str(outcome).startswith(f"trial 0 is bit-identical: mae {best_trial(study).value!r}")


def test_a_study_goes_on_with_its_metric_and_with_no_other(
    jumps: TimeSeries, tiny_space: SearchSpace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    options = {"storage": storage, "epochs": 1}
    run("s", jumps, tiny_space, n_trials=1, metric="mae", **options)
    more = run("s", jumps, tiny_space, n_trials=2, **options)
    assert [trial.value for trial in more.trials] == [t.user_attrs["mae"] for t in more.trials]
    said = "metric is 'mae' there, but got 'smape'; give the same values or another study name"
    with pytest.raises(ConfigError, match=said):
        run("s", jumps, tiny_space, metric="smape", **options)
    with pytest.raises(ConfigError, match="metric must be 'relative_mse', 'mse', 'mae', 'mase'"):
        run("t", jumps, tiny_space, metric="mad", **options)
    assert [s.study_name for s in optuna.get_all_study_summaries(storage)] == ["s"]


def test_a_study_without_one_is_stored_as_before_and_means_the_relative_mse(
    relative: optuna.Study, jumps: TimeSeries, tiny_space: SearchSpace
) -> None:
    assert "metric" not in relative.user_attrs["foretune_spec"]
    assert all("metric" not in trial.user_attrs for trial in relative.trials)
    assert required_spec(relative).metric == "relative_mse"
    assert relative.metric_names == ["relative_mse"]
    assert "metric" not in trials_table(relative)
    spec = StudySpec.stored(relative)
    assert spec is not None
    with pytest.raises(ConfigError, match="metric is 'relative_mse' there, but got 'mae'"):
        spec.require_same(spec.replace(metric="mae"), "relative")


def test_mase_without_a_unit_is_refused_before_there_is_a_study(tiny_space: SearchSpace) -> None:
    days = pd.date_range("2023-01-01", periods=400, name="day")
    values = np.tile([1.0, 2.0, 4.0, 3.0, 5.0, 1.5, 2.5], 58)[:400]
    values[330:] += np.arange(70)
    storage = optuna.storages.InMemoryStorage()
    weeks = as_series(pd.DataFrame({"y": values}, index=days), seasonality=7)
    with pytest.raises(ConfigError, match="every value before validation is the one 7 rows earl"):
        run("s", weeks, tiny_space, metric="mase", storage=storage)
    others = replace(weeks, name="others", target=values + np.arange(400) % 5)
    several = Panel(name="two", series=(others, replace(weeks, name="weeks")), source="simulated")
    with pytest.raises(
        ConfigError, match=r"'mase' for weeks, without .*, or leave_out=\['weeks'\]"
    ):
        run("s", several, tiny_space, metric="mase", storage=storage)
    assert optuna.get_all_study_summaries(storage) == []


def by_hand(metric: str, changes: Any, fold: DevelopmentData, unit: float) -> float:
    """The metric of forecast changes [O, H], from the values that they lead to."""
    now = fold.values[0, fold.split.validation_origins][:, None]
    forecast, actual = (
        now + fold.spaces[0].unit * moves for moves in (changes, validation_growth(fold)[0])
    )
    errors = np.abs(forecast - actual)
    if metric == "mase":
        return float(np.mean(errors) / unit)
    return float(np.mean(200 * errors / (np.abs(forecast) + np.abs(actual))))


@pytest.mark.parametrize("metric", ["mase", "smape"])
def test_folds_are_judged_by_their_mean(
    metric: Any, jumps: TimeSeries, tiny_space: SearchSpace
) -> None:
    # Without a skip, which all folds choose together.
    space = tiny_space.fix(skip="none")
    study = run("s", jumps, space, metric=metric, folds=2, n_trials=1, epochs=2)
    (trial,), folds = study.trials, required_spec(study).development(jumps)
    # The rows before validation are those before the first fold's.
    unit = float(np.abs(np.diff(folds[0].values[0, : folds[0].split.validation_start])).mean())
    config = trial_config(trial)
    runs = [list(fit(config, fold, learning_rates=[config.learning_rate] * 2)) for fold in folds]
    means = [
        np.mean([by_hand(metric, r.forecasts[0], f, unit) for r, f in zip(at, folds, strict=True)])
        for at in zip(*runs, strict=True)
    ]
    reported = list(trial.intermediate_values.values())
    np.testing.assert_allclose(reported, means, rtol=1e-9)
    assert trial.value == min(reported) == trial.user_attrs[metric]
    # The baselines are measured alike.
    still = [by_hand(metric, np.zeros(folds[0].split.horizon), fold, unit) for fold in folds]
    stored = stored_baselines(study)["persistence"][metric]
    assert stored == pytest.approx(np.mean(still), rel=1e-9)


def test_studies_of_different_metrics_are_not_comparable(
    study: optuna.Study, relative: optuna.Study
) -> None:
    shown = io.StringIO()
    Console(file=shown, width=200).print(comparison_table([study, relative]))
    words = shown.getvalue()
    assert "Different metrics: the values are not comparable." in words
    assert f"MAE {best_trial(study).value:.6g}" in words
    assert f"relative MSE {best_trial(relative).value:.6f}" in words


def test_a_plain_optuna_study_says_in_its_best_file_what_the_value_is(
    tiny_space: SearchSpace, jumps: TimeSeries, study: optuna.Study, tmp_path: Path
) -> None:
    folds = required_spec(study).development(jumps)
    plain = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    plain.optimize(
        Objective(tiny_space.fix(epochs=1, scaling="standard"), folds, metric="smape"), n_trials=1
    )
    save_best(plain, tmp_path / "best.toml")
    words = (tmp_path / "best.toml").read_text()
    assert f'metric = "smape"\nvalue = {plain.best_value!r}' in words
    assert f"relative_mse = {plain.trials[0].user_attrs['relative_mse']!r}" in words


def test_a_forecaster_chooses_its_epoch_by_it_and_says_so(
    study: optuna.Study, jumps: TimeSeries, tmp_path: Path
) -> None:
    seen: list[EpochResult] = []
    config = trial_config(study.trials[1])
    forecaster = Forecaster.train(
        config,
        jumps,
        split=required_spec(study).split_days(len(jumps)),
        metric="mae",
        refit=False,
        on_epoch=lambda stage, result: seen.append(result),
    )
    values = [float(absolute_errors(result, study, jumps).mean()) for result in seen]
    training = forecaster.training
    assert (training.metric, training.value) == ("mae", min(values))
    assert training.epochs == 1 + int(np.argmin(values))
    assert training.relative_mse == seen[training.epochs - 1].relative_mse
    assert f"MAE {min(values):.4g}, relative MSE" in repr(forecaster)
    forecaster.save(tmp_path / "model")
    assert Forecaster.load(tmp_path / "model").training == training


def test_every_metric_has_trials(jumps: TimeSeries, tiny_space: SearchSpace) -> None:
    for metric in METRICS:
        (trial,) = run("s", jumps, tiny_space, metric=metric, n_trials=1, epochs=1).trials
        assert trial.state == TrialState.COMPLETE
        assert trial.value == trial.user_attrs[metric]
        # The regression that the network starts at is measured alike.
        assert trial.user_attrs["ridge_value"] == trial.intermediate_values[0]
        assert len({"mse", "mae", "mase", "smape", "relative_mse"} & {*trial.user_attrs}) == 5
