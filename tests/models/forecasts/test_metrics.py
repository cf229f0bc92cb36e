"""Metrics by hand."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import binomtest

from foretune.models.forecasts.metrics import (
    direction_hits,
    mean_squared_error,
    proportion_interval,
    relative_mse,
)

Array = NDArray[np.float64]
growths = hnp.arrays(np.float64, (3, 4), elements=st.floats(-2, 2))
signs = hnp.arrays(np.float64, 12, elements=st.sampled_from([-2.5, -1e-300, -0.0, 0.0, 1e-300, 3]))
confidences = st.sampled_from([0.5, 0.8, 0.95, 0.99])
# (hits, count)
proportions = st.integers(1, 400).flatmap(
    lambda count: st.tuples(st.integers(0, count), st.just(count))
)


def test_mean_squared_error_by_hand() -> None:
    forecast, actual = np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])
    assert mean_squared_error(forecast, actual) == (1 + 0 + 9 + 4) / 4


def test_relative_mse_by_hand() -> None:
    # Errors 0.1, -0.1, 0, 0.2 against log growths 0.2, -0.1, 0.3, 0.4.
    actual = np.array([[0.2, -0.1], [0.3, 0.4]])
    forecast = np.array([[0.3, -0.2], [0.3, 0.6]])
    assert relative_mse(forecast, actual) == pytest.approx((1 + 1 + 0 + 4) / (4 + 1 + 9 + 16))


@given(growths, growths.filter(lambda actual: np.abs(actual).max() > 1e-3))
def test_metrics_agree_with_loops(forecast: Array, actual: Array) -> None:
    pairs = list(zip(forecast.ravel().tolist(), actual.ravel().tolist(), strict=True))
    errors = math.fsum((f - a) ** 2 for f, a in pairs)
    persistence = math.fsum(a**2 for _, a in pairs)
    assert mean_squared_error(forecast, actual) == pytest.approx(errors / 12, rel=1e-12)
    assert relative_mse(forecast, actual) == pytest.approx(errors / persistence, rel=1e-12)


def test_persistence_is_one_and_the_truth_is_zero() -> None:
    actual = np.array([[0.2, -0.1], [0.3, 0.4]])
    assert relative_mse(np.zeros((2, 2)), actual) == 1.0
    assert relative_mse(actual, actual) == 0.0
    assert relative_mse(2 * actual, actual) == 1.0


def test_direction_hits_by_hand() -> None:
    # Up and up, down and down, up and down; then no forecast, no move, and neither.
    forecast = np.array([0.1, -0.2, 0.3, 0.0, 0.5, -0.0])
    actual = np.array([0.4, -1e-9, -0.1, 0.2, 0.0, 0.0])
    assert direction_hits(forecast, actual) == (2, 3)


@given(signs, signs)
def test_direction_hits_agree_with_a_loop(forecast: Array, actual: Array) -> None:
    pairs = list(zip(forecast.tolist(), actual.tolist(), strict=True))
    right = sum((f > 0 and a > 0) or (f < 0 and a < 0) for f, a in pairs)
    wrong = sum((f > 0 and a < 0) or (f < 0 and a > 0) for f, a in pairs)
    assert direction_hits(forecast, actual) == (right, right + wrong)


@given(proportions, confidences)
@example((0, 1), 0.95)
@example((1, 1), 0.95)
@example((60, 100), 0.95)
def test_proportion_interval_is_the_exact_one_of_scipy(
    proportion: tuple[int, int], confidence: float
) -> None:
    hits, count = proportion
    exact = binomtest(hits, count).proportion_ci(confidence, method="exact")
    ours = proportion_interval(hits, count, confidence=confidence)
    assert ours == pytest.approx((exact.low, exact.high), rel=1e-9, abs=1e-12)


def test_proportion_interval_is_of_95_percent_unless_told() -> None:
    assert proportion_interval(7, 9) == proportion_interval(7, 9, 1, confidence=0.95)


@given(proportions, st.integers(1, 20), confidences)
def test_overlap_counts_what_shares_its_evidence_once(
    proportion: tuple[int, int], overlap: int, confidence: float
) -> None:
    # Every outcome `overlap` times over says no more than every outcome once.
    hits, count = proportion
    once = binomtest(hits, count).proportion_ci(confidence, method="exact")
    repeated = proportion_interval(overlap * hits, overlap * count, overlap, confidence=confidence)
    assert repeated == pytest.approx((once.low, once.high), rel=1e-9, abs=1e-12)


@given(proportions, st.integers(2, 20))
def test_overlap_widens_the_interval(proportion: tuple[int, int], overlap: int) -> None:
    hits, count = proportion
    low, high = proportion_interval(hits, count)
    wider_low, wider_high = proportion_interval(hits, count, overlap)
    assert wider_low <= low + 1e-12
    assert wider_high >= high - 1e-12
    if count > 1:  # one outcome is evidence of its own, however many share it
        assert wider_high - wider_low > high - low


@given(st.integers(1, 400), st.integers(1, 20), confidences)
def test_no_hits_and_all_hits_in_closed_form(count: int, overlap: int, confidence: float) -> None:
    # No hit in n has the probability (1 - p)^n, which is the share left outside at the far end.
    independent = max(count / overlap, 1)
    far_end = 1 - ((1 - confidence) / 2) ** (1 / independent)
    low, high = proportion_interval(0, count, overlap, confidence=confidence)
    assert low == 0.0
    assert high == pytest.approx(far_end, rel=1e-9)
    low, high = proportion_interval(count, count, overlap, confidence=confidence)
    assert low == pytest.approx(1 - far_end, rel=1e-9)
    assert high == 1.0
