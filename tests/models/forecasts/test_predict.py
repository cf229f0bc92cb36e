"""Forecasts: the windows they read, and the rollout that feeds them back, against NumPy."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foretune.models.forecasts.predict import forecast_from, recursive_forecast, warm_up_windows
from foretune.models.networks.stacked import Architecture, StackedRNN

WARM_UP, ORIGINS, HORIZON = 5, 3, 7
ARCHITECTURE = Architecture("lstm", (3, 2))
GRAPH = nnx.split(StackedRNN(ARCHITECTURE, rng=np.random.default_rng(0)))[0]


@jax.jit
def forecast_and_read(params: Any, windows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The forecasts, and what the network says while it reads the windows."""
    model = nnx.merge(GRAPH, params)
    outputs, _ = model.unroll(model.zero_state(ORIGINS), windows)
    return recursive_forecast(model, windows, HORIZON), outputs


def forecast(model: StackedRNN, windows: Any) -> jax.Array:
    return forecast_and_read(nnx.split(model)[1], jnp.float32(windows))[0]


@pytest.fixture
def model(numbers: np.random.Generator) -> StackedRNN:
    return StackedRNN(ARCHITECTURE, rng=numbers)


def test_windows_end_at_the_origin() -> None:
    series = jnp.arange(100.0, 120.0)[None]
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
    forecasts = forecast(model, windows)
    assert forecasts.shape == (ORIGINS, HORIZON)
    np.testing.assert_allclose(forecasts, expected, rtol=1e-4, atol=1e-5)
    # Not vacuous: steps and origins differ.
    assert (np.ptp(expected, axis=0) > 1e-3).all()
    assert (np.ptp(expected, axis=1) > 1e-3).all()


def test_a_forecast_by_hand(model: StackedRNN) -> None:
    # A head that ignores the layer says its bias, every day.
    model.head_kernel[...] = jnp.zeros((2, 1))
    model.head_bias[...] = jnp.array([0.25])
    forecasts = forecast(model, np.ones((WARM_UP, ORIGINS)))
    assert forecasts.tolist() == [[0.25] * HORIZON] * ORIGINS


def test_the_first_forecast_is_that_of_the_last_day_read(
    model: StackedRNN, numbers: np.random.Generator
) -> None:
    windows = jnp.asarray(numbers.normal(size=(WARM_UP, ORIGINS)), jnp.float32)
    forecasts, outputs = forecast_and_read(nnx.split(model)[1], windows)
    np.testing.assert_allclose(forecasts[:, 0], outputs[-1], rtol=1e-6)


def test_an_origins_forecast_does_not_depend_on_its_neighbours(
    model: StackedRNN, numbers: np.random.Generator
) -> None:
    windows = jnp.asarray(numbers.normal(size=(WARM_UP, ORIGINS)), jnp.float32)
    together = forecast(model, windows)
    others = forecast(model, windows.at[:, 1:].set(9.0))
    np.testing.assert_array_equal(together[0], others[0])
    assert (together[1:] != others[1:]).any()


def test_a_forecast_from_given_days_agrees_with_numpy(
    model: StackedRNN, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    series, last = numbers.normal(size=30).astype(np.float32), [4, 17, 29]
    windows = np.array([series[day - WARM_UP + 1 : day + 1] for day in last], np.float64).T
    forecasts = forecast_from(
        ARCHITECTURE,
        nnx.split(model)[1],
        jnp.asarray(series)[None],
        jnp.asarray(last, jnp.int32),
        warm_up=WARM_UP,
        horizon=HORIZON,
    )
    expected = oracle.NumpyStack.of(model).forecast(windows, HORIZON)
    np.testing.assert_allclose(forecasts[0], expected, rtol=1e-4, atol=1e-5)
