"""Any series, end to end: values around zero, hours, months and whole numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.datasets import load_sample
from foretune.datasets.common.errors import ConfigError
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
    write_report,
    write_results,
)
from foretune.search.study.best_file import BestDocument
from foretune.search.study.spec import SplitSpec, default_space, required_spec, study_series

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
    space = tiny_space.fix(scaling=("standard", "differences"))
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
    local = series.time.tz_localize(None).astype(str)
    row = forecasts["date"].iloc[-1]
    assert actual[row] == pytest.approx(series.target[list(local).index(row)], abs=1e-12)
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
    assert study_series(closes, prices).target.tolist() == prices.close.tolist()
    assert study_series(mid, prices).target.tolist() == prices.mid.tolist()
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
    assert first.space == second.space
    np.testing.assert_array_equal(first.values, second.values)
    assert first.time.equals(second.time)
