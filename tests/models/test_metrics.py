"""Metrics by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from foretune.models.metrics import mean_squared_error, relative_mse

Array = NDArray[np.float64]
growths = hnp.arrays(np.float64, (3, 4), elements=st.floats(-2, 2))


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
