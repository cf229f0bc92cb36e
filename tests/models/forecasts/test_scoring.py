"""Scoring: what the network reads and is measured by, with every number written out."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretune.datasets.sources.samples import random_walk
from foretune.models.config import TrialConfig
from foretune.models.forecasts.scoring import Scorer, scale

Array = NDArray[np.float64]

#                training: window 0 | window 1         | after the training days
LEVELS = np.array([2.0, 4.0, 3.0, 10.0, 30.0, 20.0, 40.0, 5.0])
SCALED = [0.0, 1.0, 0.5, 0.0, 1.0, 0.5, 1.5, -0.25]
MIN_MAX = TrialConfig(scaling="windowed_min_max", scaling_window=3)
BOTH: Any = pytest.mark.parametrize("scaling", ["log_returns", "windowed_min_max"])


def changed(config: TrialConfig, **changes: Any) -> TrialConfig:
    return TrialConfig(**(config.model_dump() | changes))


def test_levels_are_smoothed_on_training_days_alone_and_targets_never() -> None:
    scaled = scale(changed(MIN_MAX, smoothing=0.5), LEVELS[None], 6)
    assert scaled.lag == 0
    np.testing.assert_allclose(scaled.targets[0], SCALED, rtol=1e-12)
    # Half of 0, 1, 0.5, 0, 1, 0.5 and half of the average before; then as they came.
    averages = [0.0, 0.5, 0.5, 0.25, 0.625, 0.5625]
    np.testing.assert_allclose(scaled.inputs[0], [*averages, 1.5, -0.25], rtol=1e-12)


def test_returns_are_smoothed_on_training_days_alone_and_targets_never() -> None:
    # Log returns 1, 2 | 4, -1: mean 1.5 and standard deviation 0.5 of the three training days.
    mid = np.exp([0.0, 1.0, 3.0, 7.0, 6.0])
    scaled = scale(TrialConfig(smoothing=0.5), mid[None], 3)
    assert scaled.lag == 1
    np.testing.assert_allclose(scaled.targets[0], [-1.0, 1.0, 5.0, -5.0], rtol=1e-12)
    np.testing.assert_allclose(scaled.inputs[0], [-0.5, 0.25, 5.0, -5.0], rtol=1e-12)


@BOTH
def test_without_smoothing_inputs_are_the_targets(scaling: Any) -> None:
    scaled = scale(TrialConfig(scaling=scaling), random_walk(100).mid[None], 70)
    np.testing.assert_array_equal(scaled.inputs, scaled.targets)
    assert not np.shares_memory(scaled.inputs, scaled.targets)


@BOTH
@given(
    st.integers(0, 2**32 - 1), st.integers(20, 90), st.integers(10, 40), st.sampled_from([0, 0.9])
)
def test_nothing_is_fitted_to_days_after_the_training_days(
    scaling: Any, seed: int, train_stop: int, window: int, smoothing: float
) -> None:
    config = TrialConfig(scaling=scaling, scaling_window=window, smoothing=smoothing)
    mid = random_walk(100, seed=seed).mid
    other = mid.copy()
    other[train_stop:] *= 50
    first, second = (scale(config, one[None], train_stop) for one in (mid, other))
    assert first.scalings == second.scalings
    days = slice(0, train_stop - first.lag)
    np.testing.assert_array_equal(first.inputs[:, days], second.inputs[:, days])
    np.testing.assert_array_equal(first.targets[:, days], second.targets[:, days])


def scorer(config: TrialConfig) -> Scorer:
    """Scores two days ahead from days 3 and 5 of the levels above."""
    return Scorer(LEVELS[None], np.array([3, 5], np.int32), 2, scale(config, LEVELS[None], 6))


@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_scores_of_levels_by_hand(smoothing: float) -> None:
    # From day 3, at 10: 30 and 20 come, scaled 1 and 0.5. From day 5, at 20: 40 and 5 come,
    # scaled 1.5 and -0.25. Smoothing changes none of it, though days 4 and 5 are smoothed.
    scores = scorer(changed(MIN_MAX, smoothing=smoothing))(np.array([[[0.5, 0.5], [1.0, 0.0]]]))
    errors = [0.5**2, 0.0, 0.5**2, 0.25**2]
    assert scores.half_mse == pytest.approx(sum(errors) / 4 / 2, rel=1e-12)
    # Forecast prices 20 and 20; 30 and 10.
    forecast = [[math.log(2), math.log(2)], [math.log(1.5), math.log(0.5)]]
    np.testing.assert_allclose(scores.changes[0], forecast, rtol=1e-12)
    came = [[math.log(3), math.log(2)], [math.log(2), math.log(0.25)]]
    squared = [
        (f - a) ** 2
        for of_one, in_one in zip(forecast, came, strict=True)
        for f, a in zip(of_one, in_one, strict=True)
    ]
    of_persistence = [a**2 for in_one in came for a in in_one]
    assert scores.persistence_mse == pytest.approx(sum(of_persistence) / 4, rel=1e-12)
    assert scores.relative_mse == pytest.approx(sum(squared) / sum(of_persistence), rel=1e-12)


def test_scores_of_returns_by_hand() -> None:
    # Returns 1, 2 | 4, -1 are scaled to -1, 1, 5, -5. From day 2, forecast 3 and 0: returns of
    # 3 * 0.5 + 1.5 = 3 and 1.5, log growth 3 and 4.5, where 4 and 3 came.
    mid = np.exp([[0.0, 1.0, 3.0, 7.0, 6.0]])
    score = Scorer(mid, np.array([2], np.int32), 2, scale(TrialConfig(), mid, 3))
    scores = score(np.array([[[3.0, 0.0]]]))
    np.testing.assert_allclose(scores.changes, [[[3.0, 4.5]]], rtol=1e-12)
    assert scores.half_mse == pytest.approx((2**2 + 5**2) / 2 / 2, rel=1e-12)
    assert scores.persistence_mse == pytest.approx((4**2 + 3**2) / 2, rel=1e-12)
    assert scores.relative_mse == pytest.approx((1 + 1.5**2) / (4**2 + 3**2), rel=1e-12)


@BOTH
@pytest.mark.parametrize("smoothing", [0.0, 0.9])
def test_the_actual_future_has_no_error(
    scaling: Any, smoothing: float, small: SimpleNamespace
) -> None:
    split, mid = small.data.split, small.prices.mid[None]
    config = TrialConfig(scaling=scaling, scaling_window=40, smoothing=smoothing)
    scaled = scale(config, mid, split.train_stop)
    origins = split.validation_origins
    came = scaled.targets[:, origins[:, None] - scaled.lag + np.arange(1, split.horizon + 1)]
    scores = Scorer(mid, origins, split.horizon, scaled)(came)
    assert scores.half_mse == 0
    assert scores.relative_mse < 1e-20
    # And persistence, as levels or as returns, is one.
    if scaling == "windowed_min_max":
        still = np.repeat(scaled.targets[:, origins, None], split.horizon, axis=2)
    else:
        fitted: Any = scaled.scalings[0]
        still = np.full(came.shape, -fitted.mean / fitted.std)
    persisted = Scorer(mid, origins, split.horizon, scaled)(still)
    assert persisted.relative_mse == pytest.approx(1, rel=1e-9)
