"""Scores trained weights at any origins, such as those of an opened test."""

import jax
import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.models.config import TrialConfig
from foretune.models.forecasts.predict import forecast_from
from foretune.models.forecasts.scoring import Scorer, Scores, scale
from foretune.models.networks.padding import pad_params, padded_architecture
from foretune.models.networks.params import Params
from foretune.models.networks.stacked import Architecture


def evaluate(
    config: TrialConfig,
    params: Params,
    values: NDArray[np.float64],
    *,
    train_stop: int,
    origins: NDArray[np.int32],
    horizon: int,
) -> Scores:
    """Forecast from ``origins`` with trained weights and score what came.

    Args:
        config: what the weights were trained with.
        params: the weights.
        values: mid prices [N], up to the last target at least.
        train_stop: where the training days end; the scaling is fitted to them.
        origins: last day each forecast may see [O].
        horizon: days to forecast.

    Raises:
        DataError: an origin without enough days before or after it.

    Example:
        >>> evaluate(config, best.params, prices.mid, train_stop=split.train_stop,
        ...          origins=split.test_origins, horizon=split.horizon).relative_mse
    """
    scaled = scale(config, values, train_stop)
    earliest = config.unroll_length - 1 + scaled.lag
    if np.min(origins) < earliest or np.max(origins) + horizon >= len(values):
        raise DataError(
            f"origins must be days {earliest} to {len(values) - 1 - horizon}, to have "
            f"{config.unroll_length} values before and {horizon} days after them, but got "
            f"{np.min(origins)} to {np.max(origins)}"
        )
    architecture = padded_architecture(config)
    forecasts = forecast_from(
        architecture,
        pad_params(params, Architecture.of(config), architecture),
        jax.device_put(scaled.inputs.astype(np.float32)),
        jax.device_put(origins - np.int32(scaled.lag)),
        warm_up=config.unroll_length,
        horizon=horizon,
    )
    return Scorer(values, origins, horizon, scaled)(np.asarray(forecasts, np.float64))
