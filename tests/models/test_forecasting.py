"""Forecasts: the windows they read, and the rollout that feeds them back, against NumPy."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foretune.models.forecasting import recursive_forecast, warm_up_windows
from foretune.models.stacked import Architecture, StackedRNN

WARM_UP, ORIGINS, HORIZON = 5, 3, 7


@pytest.fixture
def model(numbers: np.random.Generator) -> StackedRNN:
    return StackedRNN(Architecture("lstm", (3, 2)), rng=numbers)


def test_windows_end_at_the_origin() -> None:
    series = jnp.arange(100.0, 120.0)
    windows = warm_up_windows(series, jnp.array([3, 10, 19]), 4)
    assert windows.tolist() == [
        [100, 107, 116],
        [101, 108, 117],
        [102, 109, 118],
        [103, 110, 119],
    ]


def test_a_forecast_agrees_with_numpy(
    model: StackedRNN, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    windows = numbers.normal(size=(WARM_UP, ORIGINS)).astype(np.float32)
    expected = oracle.NumpyStack.of(model).forecast(np.float64(windows), HORIZON)
    forecasts = recursive_forecast(model, jnp.asarray(windows), HORIZON)
    assert forecasts.shape == (ORIGINS, HORIZON)
    np.testing.assert_allclose(forecasts, expected, rtol=1e-4, atol=1e-5)
    # Not vacuous: steps and origins differ.
    assert (np.ptp(expected, axis=0) > 1e-3).all()
    assert (np.ptp(expected, axis=1) > 1e-3).all()


def test_a_forecast_by_hand() -> None:
    # A head that ignores the layer says its bias, every day.
    model = StackedRNN(Architecture("lstm", (2,)), rng=np.random.default_rng(0))
    model.head_kernel[...] = jnp.zeros((2, 1))
    model.head_bias[...] = jnp.array([0.25])
    forecasts = recursive_forecast(model, jnp.ones((WARM_UP, ORIGINS)), 3)
    assert forecasts.tolist() == [[0.25] * 3] * ORIGINS


def test_the_first_forecast_is_that_of_the_last_day_read(
    model: StackedRNN, numbers: np.random.Generator
) -> None:
    windows = jnp.asarray(numbers.normal(size=(WARM_UP, ORIGINS)), jnp.float32)
    outputs, _ = model.unroll(model.zero_state(ORIGINS), windows)
    one = recursive_forecast(model, windows, 1)
    np.testing.assert_allclose(one[:, 0], outputs[-1], rtol=1e-6)


def test_an_origins_forecast_does_not_depend_on_its_neighbours(
    model: StackedRNN, numbers: np.random.Generator
) -> None:
    windows = jnp.asarray(numbers.normal(size=(WARM_UP, ORIGINS)), jnp.float32)
    forecast = jax.jit(lambda windows: recursive_forecast(model, windows, HORIZON))
    together = forecast(windows)
    others = forecast(windows.at[:, 1:].set(9.0))
    np.testing.assert_array_equal(together[0], others[0])
    assert (together[1:] != others[1:]).any()
