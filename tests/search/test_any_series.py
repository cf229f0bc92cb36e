"""Any series, end to end: values around zero, hours, months and whole numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.datasets import load_sample
from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import chronological_split, development
from foretune.models import Forecaster, TrialConfig
from foretune.search import (
    SearchSpace,
    best_config,
    make_report,
    replay,
    run_study,
    save_best,
    space_around,
    write_report,
    write_results,
)
from foretune.search.report.tables import as_text
from foretune.search.review.compare import comparison_table
from foretune.search.storage.artifacts import load_artifact
from foretune.search.storage.connect import find_study, open_storage
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.agreed import agreed_spec, default_space
from foretune.search.study.best_file import BestDocument
from foretune.search.study.data import study_data
from foretune.search.study.spec import SplitSpec, required_spec

HOURS = pd.date_range("2024-03-01", periods=500, freq="h", tz="Europe/Berlin", name="when")
QUIET: dict[str, Any] = {"workers": 1, "show_progress_bar": False}


def waves(time: pd.Index, season: int) -> TimeSeries:
    """A season around zero, and noise."""
    rows = np.arange(len(time))
    noise = np.random.default_rng(0).standard_normal(len(time))
    values = np.sin(2 * np.pi * rows / season) + 0.3 * noise
    return TimeSeries.from_frame(pd.DataFrame({"level": values}, index=time), name="waves")


def test_hours_around_zero_end_to_end(tiny_space: SearchSpace, tmp_path: Path) -> None:
    series, storage = waves(HOURS, 24), f"sqlite:///{tmp_path}/studies.db"
    space = tiny_space.fix(scaling=("standard", "differences"), segment_length=6)
    space = space.fix(calendar_features=True)  # one shape: it is compiled once
    study = run_study("x", series, n_trials=2, space=space, storage=storage, **QUIET)
    spec = required_spec(study)
    assert (spec.split.horizon, spec.prices.step, spec.prices.space) == (24, "hour", "value")
    assert replay(study, 1, series).is_identical
    report = make_report(study, series, open_test=True)
    assert {"seasonal naive 24", "ridge on lags"} <= set(report.validation.models)
    write_report(report, tmp_path / "report")
    words = (tmp_path / "report" / "report.md").read_text()
    assert "Errors of level 1 to 24 hours ahead" in words
    assert " day" not in words
    assert "price" not in words
    forecasts = pd.read_csv(tmp_path / "report" / "forecasts.csv")
    actual = dict(zip(forecasts["date"], forecasts["actual"], strict=True))
    row = forecasts["date"].iloc[-1]
    assert row.endswith("+01:00")
    last = series.time.get_loc(pd.Timestamp(row))
    assert actual[row] == pytest.approx(series.target[last], abs=1e-12)
    losses = load_artifact(storage_of(study), study.best_trial, "losses_by_origin.csv")
    assert "+01:00,1," in losses.decode().splitlines()[1]
    shown = as_text(comparison_table([study, study]))
    assert "The same data and the same origins" in shown
    assert "price" not in shown
    files = write_results(study, series, tmp_path / "out")
    assert (tmp_path / "out" / "figures" / "series.png") in files
    document = BestDocument.load(tmp_path / "out" / "best.toml")
    assert document.is_of(series)
    assert document.parts is not None
    assert str(document.parts.train[0]) == "2024-03-01 00:00:00+01:00"
    save_best(study, tmp_path / "best.toml", series)
    assert TrialConfig.load(tmp_path / "best.toml") == best_config(study)


def test_a_forecast_continues_the_hours_over_the_change_of_the_clocks(tmp_path: Path) -> None:
    # The last hour is that before the clocks go forward.
    time = pd.date_range(end="2024-03-31 01:00", periods=300, freq="h", tz="Europe/Berlin")
    series = waves(time.rename("when"), 24)
    config = TrialConfig(
        units=(4,), unroll_length=8, batch_size=8, epochs=1, steps_per_epoch=2, scaling="standard"
    )
    forecaster = Forecaster.train(config, series[:298], horizon=3)
    forecaster.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.forecast(), forecaster.forecast())
    ahead = loaded.with_data(series).forecast()
    assert ahead["when"].astype(str).tolist() == [
        f"2024-03-31 0{hour}:00:00+02:00" for hour in (3, 4, 5)
    ]
    assert ((ahead["lower"] < ahead["forecast"]) & (ahead["forecast"] < ahead["upper"])).all()


def test_whole_numbers_are_forecast_as_whole_numbers(tmp_path: Path) -> None:
    series = waves(pd.RangeIndex(10, 610, 2, name="step"), 12)
    config = TrialConfig(
        units=(4,), unroll_length=8, batch_size=8, epochs=1, steps_per_epoch=2, scaling="none"
    )
    Forecaster.train(config, series, horizon=3).save(tmp_path / "model")
    ahead = Forecaster.load(tmp_path / "model").forecast()
    assert ahead["step"].tolist() == [610, 612, 614]


def test_a_short_monthly_series_works_by_default() -> None:
    months = waves(pd.date_range("2010-01", periods=144, freq="MS"), 12)
    spec = SplitSpec(horizon=12)
    space = default_space(months, spec)
    split = chronological_split(144, horizon=12, history=space.history)
    assert 3 * (space.history + split.horizon) <= split.train_stop
    assert space.scaling == ("standard", "differences")
    above = TimeSeries.from_frame(pd.DataFrame({"y": months.target + 9}, index=months.time))
    assert default_space(above, spec).scaling == ("standard", "differences", "log")
    assert default_space(load_sample("sp500").series("close"), SplitSpec()) == SearchSpace()


def test_prices_have_their_targets(tiny_space: SearchSpace, tmp_path: Path) -> None:
    prices = load_sample("sp500").slice(0, 600)
    storage = f"sqlite:///{tmp_path}/studies.db"
    common = {"n_trials": 1, "space": tiny_space, "horizon": 5, "storage": storage, **QUIET}
    mid = run_study("mid", prices, target="mid", **common)
    assert required_spec(mid).prices.digest == prices.digest
    closes = run_study("close", prices=prices, target="close", **common)
    assert required_spec(closes).prices.target == "close price"
    # Nothing given means the study's own.
    assert study_data(closes, prices).whole().target.tolist() == prices.close.tolist()
    assert study_data(mid, prices).whole().target.tolist() == prices.mid.tolist()
    assert "last close" in make_report(mid, prices, top=1).validation.models
    assert "last close" not in make_report(closes, prices, top=1).validation.models
    with pytest.raises(ConfigError, match="exists with another spec: prices"):
        run_study("mid", prices, target="close", **common)


def test_later_values_change_nothing_that_trials_see() -> None:
    series = waves(HOURS, 24)
    split = chronological_split(len(series), horizon=24, history=8)
    values = series.target.copy()
    values[split.validation_stop :] += 100.0
    other = TimeSeries.from_frame(pd.DataFrame({"level": values}, index=HOURS))
    first, second = development(series, split), development(other, split)
    assert first.spaces == second.spaces
    np.testing.assert_array_equal(first.values, second.values)
    assert first.time.equals(second.time)


NEWS = np.random.default_rng(2).normal(0, 1, 200)
DAYS = pd.date_range("2024-01-01", periods=200)
IDS = ["a"] * 100 + ["b"] * 100


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.ones((200, 2)), r"but got ndarray of shape \(200, 2\); pd.DataFrame"),
        (NEWS, r"but got ndarray of shape \(200,\)"),
        ([1.0, 2.0], "but got list"),
        ({"y": NEWS}, "but got dict"),
        (pd.Series(NEWS), r"but got Series of shape \(200,\) by int64"),
        (pd.Series(NEWS, index=list(map(str, range(200)))), "a pandas Series by date"),
        (
            pd.DataFrame({"a": NEWS, "b": NEWS}, index=DAYS),
            "the target may be a or b; choose one, as by target='a'",
        ),
        (
            pd.DataFrame({"unique_id": IDS, "ds": [*DAYS[:100]] * 2, "y": NEWS}),
            "unique_id must be one series, but there are 2: a, b; choose one",
        ),
        (pd.DataFrame(), r"a DataFrame must have rows and columns, but its shape is \(0, 0\)"),
        (pd.DataFrame({"y": NEWS + 1j}, index=DAYS), "no column of numbers is left of y, time"),
        (
            pd.DataFrame({"y": NEWS}, index=DAYS[[0] * 200]),
            "row 1: time must increase from row to row, but 2024-01-01 is there twice",
        ),
        (None, "data must be given"),
        ("no.csv", "no.csv: there is no such file"),
    ],
)
def test_what_means_something_else_is_refused_in_one_line(
    data: Any, message: str, tiny_space: SearchSpace, tmp_path: Path
) -> None:
    storage = f"sqlite:///{tmp_path}/studies.db"
    with pytest.raises(ForetuneError, match=message) as refused:
        run_study("x", data, n_trials=1, space=tiny_space, storage=storage, **QUIET)
    assert "\n" not in str(refused.value)
    assert find_study("x", open_storage(storage)) is None


def test_a_scaling_that_is_not_said_is_chosen_for_the_data(tiny_space: SearchSpace) -> None:
    common: dict[str, Any] = {"epochs": 2, "seed": None}
    above = pd.DataFrame({"y": NEWS + 10}, index=DAYS)

    def scaling(data: Any, space: SearchSpace) -> Any:
        spec, _ = agreed_spec(None, data, {"horizon": 5}, space=space, **common)
        return spec.space.scaling

    assert scaling(above - 10, tiny_space) == ("standard", "differences")
    for unsaid in (tiny_space, tiny_space.fix(units=8)):
        assert scaling(above, unsaid) == ("standard", "differences", "log")
    assert scaling(load_sample("sp500"), tiny_space) == "log_returns"
    for said in ("log_returns", "none"):
        assert scaling(above, tiny_space.fix(scaling=said)) == said
    with pytest.raises(ConfigError, match=r"scaling must not be 'log' unless .* y at 2024-01-02"):
        scaling(above * (above.index != DAYS[1])[:, None], tiny_space.fix(scaling=("none", "log")))
    # Labels further ahead than the next row are no changes of it.
    far = tiny_space.fix(head="recursive", label_offset=4)
    with pytest.raises(ConfigError, match="label_offset must be 1 where scaling is 'differences'"):
        scaling(above, far)
    assert scaling(above, far.fix(scaling="standard")) == "standard"
    with pytest.raises(
        ConfigError, match=r"future_covariates must be false, because .* has no fut"
    ):
        scaling(above, tiny_space.fix(future_covariates=True))
    config = TrialConfig(units=(4,), unroll_length=8, batch_size=8, scaling="differences")
    config = config.replace(epochs=3, steps_per_epoch=5, learning_rate=0.01)
    assert space_around(tiny_space, config).scaling == "differences"
