"""Baselines: each against a plain loop that feeds its own forecasts back."""

import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from regressors import one

from foretune.datasets.common.errors import DataError
from foretune.datasets.sources.samples import random_walk
from foretune.datasets.splits import chronological_split, walk_forward
from foretune.datasets.transforms import LOG
from foretune.models.forecasts.baselines import (
    Baseline,
    Drift,
    ExponentialAverage,
    Momentum,
    Persistence,
    SeasonalNaive,
    StandardAverage,
    baseline_changes,
    baseline_growth,
    one_step_forecasts,
    standard_baselines,
)
from foretune.models.forecasts.metrics import relative_mse
from foretune.models.forecasts.ridge import choose_ridge

Array = NDArray[np.float64]
Rule = Callable[[list[float]], float]  # the next level, of all levels known

# Levels near 1, as scaled prices and log prices are.
series = hnp.arrays(np.float64, st.integers(14, 40), elements=st.floats(-3, 3))
past_weights = st.floats(0, 0.99)


def smoothed(values: list[float], past_weight: float) -> float:
    """The exponential average of all values so far, from 0."""
    average = 0.0
    for value in values:
        average = past_weight * average + (1 - past_weight) * value
    return average


def persistence(_: st.DataObject) -> tuple[Baseline, Rule]:
    return Persistence(), lambda known: known[-1]


def drift(data: st.DataObject) -> tuple[Baseline, Rule]:
    train = data.draw(series)
    changes = [after - before for before, after in pairwise(train)]
    return Drift.fit(train), lambda known: known[-1] + sum(changes) / len(changes)


def seasonal_naive(data: st.DataObject) -> tuple[Baseline, Rule]:
    season = data.draw(st.integers(1, 12))
    return SeasonalNaive(season=season), lambda known: known[-season]


def standard_average(data: st.DataObject) -> tuple[Baseline, Rule]:
    window = data.draw(st.integers(1, 12))
    return StandardAverage(window=window), lambda known: sum(known[-window:]) / window


def exponential_average(data: st.DataObject) -> tuple[Baseline, Rule]:
    weight = data.draw(past_weights)
    return ExponentialAverage(past_weight=weight), lambda known: smoothed(known, weight)


def momentum(data: st.DataObject) -> tuple[Baseline, Rule]:
    weight = data.draw(past_weights)

    def rule(known: list[float]) -> float:
        changes = [after - before for before, after in pairwise(known)]
        return known[-1] + smoothed(changes, weight)

    return Momentum(past_weight=weight), rule


EACH: Any = pytest.mark.parametrize(
    "make",
    [persistence, drift, seasonal_naive, standard_average, exponential_average, momentum],
)


def fed_back(rule: Rule, known: list[float], horizon: int) -> list[float]:
    """Forecast a day, count it among the known ones, forecast the next."""
    known, forecasts = list(known), []
    for _ in range(horizon):
        forecasts.append(rule(known))
        known.append(forecasts[-1])
    return forecasts


@EACH
@given(data=st.data(), levels=series, horizon=st.integers(1, 8))
def test_forecasts_agree_with_a_loop_that_feeds_them_back(
    make: Any, data: st.DataObject, levels: Array, horizon: int
) -> None:
    baseline, rule = make(data)
    origin = st.integers(baseline.history - 1, len(levels) - 1)
    origins = data.draw(st.lists(origin, min_size=1, max_size=4))
    ours = baseline.forecast(levels, np.array(origins, np.int32), horizon)
    assert ours.shape == (len(origins), horizon)
    expected = [fed_back(rule, levels[: origin + 1].tolist(), horizon) for origin in origins]
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-10)


@EACH
@given(data=st.data(), levels=series)
def test_one_step_forecasts_are_of_every_day_from_those_before_it(
    make: Any, data: st.DataObject, levels: Array
) -> None:
    baseline, rule = make(data)
    expected = [rule(levels[:day].tolist()) for day in range(baseline.history, len(levels))]
    ours = one_step_forecasts(baseline, levels)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-10)


@EACH
@given(data=st.data(), levels=series)
def test_nothing_after_an_origin_is_read(make: Any, data: st.DataObject, levels: Array) -> None:
    baseline, _ = make(data)
    origin = data.draw(st.integers(baseline.history - 1, len(levels) - 1))
    origins = np.array([origin], np.int32)
    seen = baseline.forecast(levels, origins, 5)
    other = levels.copy()
    other[origin + 1 :] += 1000  # not NaN, which an average may pass over
    np.testing.assert_array_equal(baseline.forecast(other, origins, 5), seen)
    # The origin itself is read, and a series of the history that it asks for is enough.
    other[origin] += 1000
    moved = baseline.forecast(other, origins, 5) > seen + 5
    if isinstance(baseline, SeasonalNaive):  # at its place in the season alone
        assert moved.tolist() == [[step % baseline.season == 0 for step in range(1, 6)]]
    else:
        assert moved.all()
    last = np.array([baseline.history - 1], np.int32)
    assert baseline.forecast(levels[: baseline.history], last, 5).shape == (1, 5)


def test_the_flat_line_of_the_tutorials_worked_example() -> None:
    # After 1.0 the average is 0.5; then x = 0.4 makes it 0.5 * 0.5 + 0.5 * 0.4 = 0.45, for ever.
    rule, origin = ExponentialAverage(past_weight=0.5), np.array([1], np.int32)
    assert one_step_forecasts(rule, np.array([1.0, 0.4])).tolist() == [0.5]
    flat = rule.forecast(np.array([1.0, 0.4]), origin, 1000)
    np.testing.assert_allclose(flat, np.full((1, 1000), 0.45), rtol=1e-12)
    assert np.ptp(flat) == 0


def test_the_standard_average_beyond_one_day_by_hand() -> None:
    # 1 and 3: 2; then 3 and 2: 2.5; 2 and 2.5: 2.25; 2.5 and 2.25: 2.375.
    levels, origins = np.array([9.0, 1.0, 3.0, 7.0]), np.array([2], np.int32)
    forecasts = StandardAverage(window=2).forecast(levels, origins, 4)
    np.testing.assert_allclose(forecasts, [[2.0, 2.5, 2.25, 2.375]], rtol=1e-12)


def test_momentum_goes_on_in_a_straight_line() -> None:
    # Changes 1, 1, 1 from a smoothed change of 0: 0.5, 0.75, 0.875 a day.
    levels, origins = np.array([0.0, 1.0, 2.0, 3.0]), np.array([3, 1], np.int32)
    forecasts = Momentum(past_weight=0.5).forecast(levels, origins, 4)
    steps = np.arange(1, 5)
    np.testing.assert_allclose(forecasts, [3 + 0.875 * steps, 1 + 0.5 * steps], rtol=1e-12)
    # A steady climb is continued exactly, in the end: the direction that a flat line misses.
    climb = np.arange(400.0)
    ahead = Momentum().forecast(climb, np.array([399], np.int32), 3)
    np.testing.assert_allclose(ahead, [[400.0, 401.0, 402.0]], rtol=1e-12)


def test_drift_is_that_of_the_training_days() -> None:
    # From 1 to 7 in three days: 2 a day, whatever came between and whatever comes later.
    train = np.array([1.0, -4.0, 5.0, 7.0])
    assert Drift.fit(train).slope == 2.0
    levels = np.concatenate([train, [100.0, 50.0]])
    forecasts = Drift.fit(train).forecast(levels, np.array([3, 5], np.int32), 3)
    np.testing.assert_allclose(forecasts, [[9.0, 11.0, 13.0], [52.0, 54.0, 56.0]], rtol=1e-12)
    fitted = {rule.name: rule for rule in standard_baselines(train)}
    assert fitted["drift"] == Drift(slope=2.0)


@given(st.integers(0, 2**32 - 1), st.integers(1, 20))
def test_the_relative_mse_of_persistence_is_exactly_one(seed: int, horizon: int) -> None:
    mid = random_walk(80, seed=seed).mid
    log_mid, origins = np.log(mid), np.arange(5, 55, 7, dtype=np.int32)
    growth = Persistence().forecast(log_mid, origins, horizon) - log_mid[origins][:, None]
    assert relative_mse(growth, LOG.changes(mid, origins, horizon)) == 1.0


def test_the_standard_ones_are_the_tutorials_under_names_of_their_own() -> None:
    baselines = standard_baselines(np.arange(3.0))
    assert baselines == (
        Persistence(),
        Drift(slope=1.0),
        StandardAverage(window=100),
        ExponentialAverage(past_weight=0.5),
        Momentum(past_weight=0.9),
    )
    assert len({baseline.name for baseline in baselines}) == 5
    assert [baseline.history for baseline in baselines] == [1, 1, 100, 1, 2]


@pytest.mark.parametrize(
    "baseline", [StandardAverage(window=5), Momentum(), SeasonalNaive(season=7)]
)
def test_an_origin_with_too_little_history_is_refused(baseline: Baseline) -> None:
    levels = np.arange(1.0, 20.0)
    early = np.array([baseline.history - 2, 10], np.int32)
    with pytest.raises(DataError, match=f"needs {baseline.history} days up to each origin"):
        baseline.forecast(levels, early, 3)
    baseline.forecast(levels, early + 1, 3)


def tutorial_rules(logs: list[float], train_stop: int) -> dict[str, Rule]:
    """The standard baselines as loops over log prices."""
    climb = (logs[train_stop - 1] - logs[0]) / (train_stop - 1)

    def momentum(known: list[float]) -> float:
        return known[-1] + smoothed([after - before for before, after in pairwise(known)], 0.9)

    return {
        "persistence": lambda known: known[-1],
        "drift": lambda known: known[-1] + climb,
        "standard average": lambda known: sum(known[-100:]) / 100,
        "exponential moving average": lambda known: smoothed(known, 0.5),
        "momentum": momentum,
    }


@pytest.mark.parametrize(
    ("origins", "left_out"),
    [
        ([99, 150, 120], set()),  # day 99 is the 100th
        ([150, 98, 120], {"standard average"}),
        ([1, 150], {"standard average"}),
        ([0, 150], {"standard average", "momentum"}),
    ],
)
def test_growth_is_what_the_loops_forecast_of_log_prices_since_the_origin(
    origins: list[int], left_out: set[str]
) -> None:
    mid, train_stop, horizon = random_walk(151, seed=3).mid, 110, 4
    growth = baseline_growth(
        mid, train_stop=train_stop, origins=np.array(origins, np.int32), horizon=horizon
    )
    logs = [math.log(price) for price in mid]
    rules = tutorial_rules(logs, train_stop)
    assert growth.keys() == rules.keys() - left_out
    assert not growth["persistence"].any()
    for name, ours in growth.items():
        expected = [
            [ahead - logs[origin] for ahead in fed_back(rules[name], logs[: origin + 1], horizon)]
            for origin in origins
        ]
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_baselines_of_a_study_on_validation_and_on_test() -> None:
    prices = random_walk(400, seed=5)
    mid, close = np.log(prices.mid), np.log(prices.close)
    split = chronological_split(400, horizon=5, history=10)
    (ridge,) = choose_ridge(one(mid), [split])
    slope = (mid[split.train_stop - 1] - mid[0]) / (split.train_stop - 1)
    for test, origins in ((False, split.validation_origins), (True, split.test_origins)):
        found = baseline_changes(mid[None], [split], test=test, seasonality=7, close=close[None])
        expected = {
            "persistence": [[0.0] * 5 for _ in origins],
            "drift": [[slope * step for step in range(1, 6)] for _ in origins],
            "seasonal naive 7": [[mid[o + h - 7] - mid[o] for h in range(1, 6)] for o in origins],
            "last close": [[close[o] - mid[o]] * 5 for o in origins],
            "ridge on lags": ridge.changes(mid, origins),
        }
        assert list(found) == list(expected)
        for name, (changes,) in found.items():
            np.testing.assert_allclose(changes[0], expected[name], atol=1e-12, err_msg=name)


def test_every_fold_has_baselines_of_its_own_and_the_test_those_of_the_last() -> None:
    levels = np.log(random_walk(600, seed=6).mid)
    split = chronological_split(600, horizon=5, history=10)
    folds = walk_forward(split, 3)
    found = baseline_changes(levels[None, : split.validation_stop], folds)
    assert [one.shape[1] for one in found["drift"]] == [
        len(fold.validation_origins) for fold in folds
    ]
    assert len({one[0, 0, 0] for one in found["drift"]}) == 3
    # Other rows of the test change nothing on validation, and there is no season to look back on.
    other = levels.copy()
    other[split.validation_stop :] += 1000
    for name, parts in baseline_changes(other[None], folds, seasonality=1).items():
        for part, before in zip(parts, found.pop(name), strict=True):
            np.testing.assert_array_equal(part, before)
    assert not found
    (last,) = baseline_changes(levels[None], folds[-1:], test=True)["drift"]
    (tested,) = baseline_changes(levels[None], folds, test=True)["drift"]
    np.testing.assert_array_equal(tested, last)


def test_what_needs_more_rows_than_there_are_is_left_out() -> None:
    levels = np.random.default_rng(8).normal(size=50).cumsum()
    split = chronological_split(50, horizon=6, history=2)
    assert split.validation_start == 29
    for season, names in ((29, ["persistence", "drift", "seasonal naive 29"]), (30, [])):
        found = baseline_changes(levels[None], [split], seasonality=season)
        assert list(found) == [*(names or ["persistence", "drift"]), "ridge on lags"]
    early = dataclasses.replace(split, train_stop=8)
    assert "ridge on lags" not in baseline_changes(levels[None], [early])
