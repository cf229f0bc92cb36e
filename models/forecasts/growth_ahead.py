"""The forecast of a trained network after the last known day."""

import jax
import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.history import History
from foretune.datasets.transforms import Scaling
from foretune.models.config import TrialConfig
from foretune.models.forecasts.predict import forecast_from
from foretune.models.networks.padding import pad_params, padded_architecture
from foretune.models.networks.params import Params
from foretune.models.networks.stacked import Architecture


def growth_ahead(
    config: TrialConfig, params: Params, scaling: Scaling, history: History, *, horizon: int
) -> NDArray[np.float64]:
    """Forecast log growth since the last known day [H].

    Args:
        config: what was trained.
        params: the weights.
        scaling: fitted to the days that trained.
        history: the known days.
        horizon: days ahead, H.

    Raises:
        DataError: the network's output is not finite.

    Example:
        >>> growth_ahead(config, params, scaling, History.of(prices), horizon=50)[-1]
        0.0213
    """
    read = config.unroll_length
    # Never smoothed, as on validation days; and only what is read, so that a history of another
    # length compiles nothing.
    window = scaling.transform(history.values)[-read:].astype(np.float32)
    architecture = padded_architecture(config)
    scaled = forecast_from(
        architecture,
        pad_params(params, Architecture.of(config), architecture),
        jax.device_put(window),
        jax.device_put(np.array([read - 1], np.int32)),
        warm_up=read,
        horizon=horizon,
    )
    if not np.all(np.isfinite(scaled)):
        raise DataError(
            f"the forecast after {history.dates[-1]} must be finite, but the network's output is "
            "not; train with a smaller learning_rate"
        )
    last = np.array([len(history.values) - 1], np.int32)
    growth: NDArray[np.float64] = scaling.log_growth(
        np.asarray(scaled, np.float64), last, history.values
    )[0]
    return growth
