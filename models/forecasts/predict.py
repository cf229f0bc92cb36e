"""Recursive forecasts: from any origins at once, scored, and after the last known day."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.history import History, moment
from foretune.datasets.transforms import LOG, ErrorSpace, Scaling
from foretune.models.config import TrialConfig
from foretune.models.forecasts.metrics import Growth
from foretune.models.forecasts.scoring import Scorer, Scores, scale
from foretune.models.networks.params import Params, network, resize_params
from foretune.models.networks.stacked import Architecture, StackedRNN, StackState
from foretune.models.runtime.compile import jit_for_backend


def warm_up_windows(series: jax.Array, last: jax.Array, warm_up: int) -> jax.Array:
    """Gather the ``warm_up`` values of ``series`` [S, N] that end at each index in ``last`` [O].

    Returns:
        Windows [warm_up, S * O], oldest day first; series after series.
    """
    count, length = series.shape
    ends = (jnp.arange(count, dtype=last.dtype)[:, None] * length + last).ravel()
    return series.ravel()[ends + jnp.arange(1 - warm_up, 1, dtype=last.dtype)[:, None]]


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
        series: scaled values [S, N].
        last: index of each origin in ``series`` [O].
        warm_up: values read before a forecast, the unroll length.
        horizon: days to forecast, H.

    Returns:
        Scaled forecasts [S, O, H].
    """
    return forecasts_of(network(architecture, params), series, last, warm_up, horizon)


def forecasts_of(
    model: StackedRNN, series: jax.Array, last: jax.Array, warm_up: int, horizon: int
) -> jax.Array:
    """Forecast every series [S, N] after each of its days ``last`` [O]: scaled [S, O, H]."""
    forecasts = recursive_forecast(model, warm_up_windows(series, last, warm_up), horizon)
    return forecasts.reshape(len(series), len(last), horizon)


def evaluate(
    config: TrialConfig,
    params: Params,
    values: NDArray[np.float64],
    *,
    train_stop: int,
    origins: NDArray[np.int32],
    horizon: int,
    spaces: Sequence[ErrorSpace] = (LOG,),
) -> Scores:
    """Forecast from ``origins``, such as those of an opened test, and score the forecasts.

    Args:
        config: what the weights were trained with.
        params: the weights.
        values: the target [S, N], up to the last row that is forecast at least.
        train_stop: where the training rows end; the scaling is fitted to them.
        origins: last row each forecast may see [O].
        horizon: steps to forecast, H.
        spaces: what errors are measured in, one a series.

    Raises:
        DataError: an origin without enough rows before or after it.

    Example:
        >>> evaluate(config, best.params, series.target[None], train_stop=split.train_stop,
        ...          origins=split.test_origins, horizon=split.horizon).relative_mse
    """
    scaled = scale(config, values, train_stop)
    earliest = config.unroll_length - 1 + scaled.lag
    if np.min(origins) < earliest or np.max(origins) + horizon >= values.shape[1]:
        raise DataError(
            f"origins must be rows {earliest} to {values.shape[1] - 1 - horizon}, to have "
            f"{config.unroll_length} values before and {horizon} rows after them, but got "
            f"{np.min(origins)} to {np.max(origins)}"
        )
    last = origins - np.int32(scaled.lag)
    forecasts = _forecast(config, params, scaled.inputs, last, horizon)
    return Scorer(values, origins, horizon, scaled, spaces)(forecasts)


def changes_ahead(
    config: TrialConfig,
    params: Params,
    scaling: Scaling,
    history: History,
    *,
    horizon: int,
    space: ErrorSpace = LOG,
    origins: Sequence[int] = (-1,),
) -> Growth:
    """Forecast changes since the last known row, or since each of some rows [O, H].

    Args:
        config: what was trained.
        params: the weights.
        scaling: fitted to the rows that trained.
        history: the known rows.
        horizon: steps ahead, H.
        space: of the changes.
        origins: rows that forecasts begin after, as indices [O].

    Raises:
        DataError: the network's output is not finite.

    Example:
        >>> changes_ahead(config, params, scaling, History.of(series), horizon=50)[0, -1]
        0.0213
    """
    # Never smoothed, as on validation days.
    values, scaled = history.values, scaling.transform(history.values)
    rows = np.arange(len(values))[list(origins)].astype(np.int32)
    forecasts = np.empty((len(rows), horizon))
    for forecast, row in zip(forecasts, rows, strict=True):
        # One after another and only what is read, so that no other count or length compiles.
        stop = row + 1 - scaling.lag
        window = scaled[stop - config.unroll_length : stop]
        last = np.array([len(window) - 1], np.int32)
        forecast[:] = _forecast(config, params, window[None], last, horizon)[0, 0]
        if not np.all(np.isfinite(forecast)):
            raise DataError(
                f"the forecast after {moment(history.time, row)} must be finite, but the network's "
                "output is not; train with a smaller learning_rate"
            )
    changes: Growth = scaling.change(forecasts, rows, values, space)
    return changes


def _forecast(
    config: TrialConfig,
    params: Params,
    series: NDArray[np.float64],
    last: NDArray[np.int32],
    horizon: int,
) -> NDArray[np.float64]:
    """Forecast as :func:`forecast_from`, with the padded network that ``config`` trains."""
    architecture = Architecture.padded(config)
    forecasts = forecast_from(
        architecture,
        resize_params(params, Architecture.of(config), architecture),
        jax.device_put(series.astype(np.float32)),
        jax.device_put(last),
        warm_up=config.unroll_length,
        horizon=horizon,
    )
    return np.asarray(forecasts, np.float64)
