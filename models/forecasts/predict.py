"""Recursive forecasts for all origins at once."""

import jax
import jax.numpy as jnp

from foretune.models.networks.params import Params, network
from foretune.models.networks.stacked import Architecture, StackedRNN, StackState
from foretune.models.runtime.compile import jit_for_backend


def warm_up_windows(series: jax.Array, last: jax.Array, warm_up: int) -> jax.Array:
    """Gather the ``warm_up`` values of ``series`` [N] that end at each index in ``last`` [O].

    Returns:
        Windows [warm_up, O], oldest day first.
    """
    return series[last + jnp.arange(1 - warm_up, 1, dtype=last.dtype)[:, None]]


def recursive_forecast(model: StackedRNN, windows: jax.Array, horizon: int) -> jax.Array:
    """Forecast ``horizon`` days after each window, each forecast the next day's input.

    The state starts at zero, reads the window, and every output is fed back (the tutorial's
    step 13). Dropout is off.

    Args:
        model: the network.
        windows: scaled values up to and including each origin [W, O].
        horizon: days to forecast, H.

    Returns:
        Scaled forecasts [O, H]; column ``k`` belongs to day ``origin + 1 + k``.
    """
    outputs, state = model.unroll(model.zero_state(windows.shape[1]), windows)
    first = outputs[-1]

    def feed_back(
        carry: tuple[StackState, jax.Array], _: None
    ) -> tuple[tuple[StackState, jax.Array], jax.Array]:
        state, forecast = carry
        state, following = model.step(state, forecast)
        return (state, following), forecast

    _, forecasts = jax.lax.scan(feed_back, (state, first), None, length=horizon)
    return forecasts.T


@jit_for_backend(static_argnames=("architecture", "warm_up", "horizon"))
def forecast_from(
    architecture: Architecture,
    params: Params,
    series: jax.Array,
    last: jax.Array,
    *,
    warm_up: int,
    horizon: int,
) -> jax.Array:
    """Forecast from any days with trained weights.

    Args:
        architecture: structure of the network.
        params: its weights.
        series: scaled values [N].
        last: index of each origin in ``series`` [O].
        warm_up: values read before a forecast, the unroll length.
        horizon: days to forecast, H.

    Returns:
        Scaled forecasts [O, H].
    """
    windows = warm_up_windows(series, last, warm_up)
    return recursive_forecast(network(architecture, params), windows, horizon)
