"""A study's baselines: with its covariates, computed once, and shown beside its trials."""

from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from regressors import one

from foretune.datasets import load_sample
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import Split, walk_forward
from foretune.models.forecasts import ridge as module
from foretune.models.forecasts.metrics import relative_mse
from foretune.models.forecasts.ridge import choose_ridge
from foretune.search import (
    SearchSpace,
    caveat,
    make_report,
    run_study,
    summary,
    verdict,
    write_report,
    write_results,
)
from foretune.search.review.note import note
from foretune.search.study.baselines import keep_baselines, stored_baselines
from foretune.search.study.spec import required_spec

HOURS = pd.date_range("2024-03-01", periods=500, freq="h", name="when")


def with_covariates() -> TimeSeries:
    """What the plan and the sky of the hour before make it, and noise."""
    rng = np.random.default_rng(0)
    plan, sky = rng.normal(size=505), rng.choice(["clear", "rain"], size=500)
    values = plan[:500] + 2.0 * np.roll(sky == "rain", 1) + 0.1 * rng.normal(size=500)
    frame = pd.DataFrame({"level": values, "sky": sky, "plan": plan[:500]}, index=HOURS)
    return TimeSeries.from_frame(
        frame, target="level", past=["sky"], future=["plan"], name="planned"
    )


@pytest.fixture(scope="module")
def study(tiny_space: SearchSpace) -> optuna.Study:
    return run_study(
        "planned",
        with_covariates(),
        n_trials=2,
        space=tiny_space.fix(scaling="standard", head="recursive"),
        horizon=5,
        folds=2,
        workers=1,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
    )


def by_hand(folds: tuple[Split, ...]) -> tuple[float, float, float]:
    """The ridge's relative MSE on validation, on the test, and without covariates."""
    series = with_covariates()
    levels = series.target / np.std(series.target[: folds[0].train_stop])
    # Columns in the order of the alphabet.
    sky = np.column_stack([series.past["sky"] == word for word in ("clear", "rain")]).astype(float)
    known: dict[str, Any] = {"past": sky, "future": series.future["plan"][:, None]}

    def error(ridge: Any, origins: Any, **known: Any) -> float:
        came = np.array([levels[o + 1 : o + 6] - levels[o] for o in origins])
        return relative_mse(ridge.changes(levels, origins, **known), came)

    fitted = choose_ridge(one(levels, **known), folds)
    on_validation = [
        error(r, f.validation_origins, **known) for r, f in zip(fitted, folds, strict=True)
    ]
    without = [
        error(r, f.validation_origins)
        for r, f in zip(choose_ridge(one(levels), folds), folds, strict=True)
    ]
    on_test = error(fitted[-1], folds[-1].test_origins, **known)
    return float(np.mean(on_validation)), on_test, float(np.mean(without))


def test_the_ridge_reads_the_covariates_of_the_study_and_is_chosen_once_a_report(
    study: optuna.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits, original = [], module._fits

    def counted(*arguments: Any) -> Any:
        fits.append(arguments[1:4])
        return original(*arguments)

    monkeypatch.setattr(module, "_fits", counted)
    report = make_report(study, with_covariates(), open_test=True)
    assert len(fits) == len(set(fits)) > 0
    folds = walk_forward(required_spec(study).split_days(500), 2)
    on_validation, on_test, without = by_hand(folds)
    assert report.test is not None
    for part, expected in ((report.validation, on_validation), (report.test, on_test)):
        found = part.models["ridge on lags"].metrics.relative_mse
        assert found == pytest.approx(expected, rel=1e-9)
    assert on_validation < 0.6 * without
    assert report.evidence.benchmark == "ridge on lags"
    write_report(report, tmp_path)
    table = pd.read_csv(tmp_path / "metrics.csv")
    first = ["part", "forecast", "relative_mse", "mse", "mae", "mase", "smape"]
    assert list(table)[:7] == first
    names = [
        f"trial {report.winner.trial.number}",
        "ensemble of 2",
        "persistence",
        "drift",
        "seasonal naive 24",
        "ridge on lags",
    ]
    assert table["forecast"].tolist() == names * 2
    assert table["part"].tolist() == ["validation"] * 6 + ["test"] * 6
    assert table[first[2:]].notna().all(axis=None)
    words = (tmp_path / "report.md").read_text()
    assert "in units of the mean change from one hour to the one 24 hours on in all rows" in words


def test_they_are_computed_once_a_study_and_shown_beside_its_trials(
    study: optuna.Study, tmp_path: Path
) -> None:
    stored = stored_baselines(study)
    folds = walk_forward(required_spec(study).split_days(500), 2)
    on_validation, _, _ = by_hand(folds)
    assert stored["ridge on lags"]["relative_mse"] == pytest.approx(on_validation, rel=1e-9)
    assert f"ridge on lags {on_validation:.4f}" in note(study)
    # What is there is not computed again: no data are asked for.
    assert keep_baselines(study, ()) == stored
    write_results(study, with_covariates(), tmp_path)
    table = pd.read_csv(tmp_path / "trials.csv")
    rows = table[table["state"] == "BASELINE"].set_index("baseline")
    assert list(rows.index) == list(stored)
    for name, metrics in stored.items():
        assert rows.loc[name, "value"] == metrics["relative_mse"]
        assert rows.loc[name, "mase"] == metrics["mase"]
    assert rows["number"].isna().all()
    assert "\n1,COMPLETE," in (tmp_path / "trials.csv").read_text()


def test_a_study_of_an_earlier_version_gets_them_with_its_results(
    study: optuna.Study, tmp_path: Path
) -> None:
    older = optuna.create_study(study_name="planned")
    for name, value in study.user_attrs.items():
        older.set_user_attr(name, value if name != "foretune_baselines" else "none")
    assert stored_baselines(older) == {}
    assert "ridge" not in note(older)
    folds = required_spec(study).development(with_covariates())
    assert keep_baselines(older, folds) == stored_baselines(older) == stored_baselines(study)


def test_a_category_that_training_did_not_see_is_named_where_the_test_cannot_be_scored(
    study: optuna.Study, tiny_space: SearchSpace
) -> None:
    series = with_covariates()
    sky = series.past["sky"].copy()
    sky[480] = "hail"
    other = TimeSeries.from_frame(
        series.to_frame().assign(sky=sky), target="level", past=["sky"], future=["plan"]
    )
    searched = run_study(
        "hail",
        other,
        n_trials=1,
        space=tiny_space.fix(scaling="standard", head="recursive"),
        horizon=5,
        workers=1,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
    )
    report = make_report(searched, other, open_test=True)
    assert report.test is None
    assert "sky in row 480 must be a category of the" in report.verdict
    assert len(report.openings) == 1


def test_a_summary_shows_them_and_says_which_is_ahead(study: optuna.Study) -> None:
    ridge = by_hand(walk_forward(required_spec(study).split_days(500), 2))[0]
    assert ridge < study.best_value
    assert f"│ ridge on lags                 │ {ridge:.6f} " in repr(summary(study))
    words = f"the best one, has relative MSE {study.best_value:.3f} against {ridge:.3f}."
    assert words in caveat(study)
    assert caveat(study).startswith("No trial beats ridge on lags, the best baseline, beyond")


def test_a_study_that_stores_no_baseline_is_compared_with_persistence_and_says_so(
    tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the first version left it; a report computes them all."""
    monkeypatch.setattr("foretune.search.run.keep_baselines", lambda study, folds: {})
    prices = load_sample("random_walk", length=400)
    older = run_study(
        "older",
        prices,
        n_trials=1,
        space=tiny_space,
        epochs=1,
        horizon=5,
        workers=1,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
    )
    found = verdict(older)
    assert (found.benchmark, list(found.against)) == ("persistence", ["persistence"])
    said = "An earlier version ran the study: `foretune report` compares with all baselines."
    assert said in caveat(older)
    assert "ridge on lags" in make_report(older, prices).finding.against
