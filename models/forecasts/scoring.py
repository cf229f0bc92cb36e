"""From prices to a network's inputs, and from its forecasts to scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.transforms import (
    Scaling,
    exponential_moving_average,
    fit_scaling,
    log_growth_between,
)
from foretune.models.config import TrialConfig
from foretune.models.forecasts.metrics import mean_squared_error, persistence_mse, relative_mse


@dataclass(frozen=True, eq=False)
class ScaledSeries:
    """A scaled series; index ``i`` of both arrays belongs to day ``i + lag``.

    ``inputs`` [N - lag] are what the network reads: its training days may be smoothed.
    ``targets`` [N - lag] are the actual values, scaled alike and never smoothed.
    """

    scaling: Scaling
    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]

    @property
    def lag(self) -> int:
        """Days at the start of the series that have no scaled value."""
        return self.scaling.lag


def scale(config: TrialConfig, values: NDArray[np.float64], train_stop: int) -> ScaledSeries:
    """Scale mid prices [N] as ``config`` asks, fitted to the first ``train_stop`` days."""
    scaling = fit_scaling(config.scaling, values[:train_stop], window=config.scaling_window)
    targets = scaling.transform(values)
    inputs = targets.copy()
    if config.smoothing:
        train = slice(0, train_stop - scaling.lag)
        inputs[train] = exponential_moving_average(targets[train], config.smoothing)
    return ScaledSeries(scaling, inputs, targets)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """Scores of forecasts; ``log_growth`` [O, H] are the forecasts since each origin."""

    log_growth: NDArray[np.float64]
    relative_mse: float
    persistence_mse: float
    half_mse: float


class Scorer:
    """Scores scaled forecasts at fixed origins.

    Args:
        values: mid prices [N], up to the last target at least.
        origins: last day each forecast may see [O].
        horizon: days forecast from each origin, H.
        scaled: the series that the forecasts are scaled like.
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        origins: NDArray[np.int32],
        horizon: int,
        scaled: ScaledSeries,
    ) -> None:
        self._values = values
        self._origins = origins
        self._scaling = scaled.scaling
        self._growth = log_growth_between(values, origins, horizon)
        self._persistence_mse = persistence_mse(self._growth)
        self._levels = scaled.targets[origins[:, None] - scaled.lag + np.arange(1, horizon + 1)]

    def __call__(self, forecasts: NDArray[np.float64]) -> Scores:
        """Score scaled forecasts [O, H]."""
        growth = self._scaling.log_growth(forecasts, self._origins, self._values)
        return Scores(
            log_growth=growth,
            relative_mse=relative_mse(growth, self._growth),
            persistence_mse=self._persistence_mse,
            half_mse=0.5 * mean_squared_error(forecasts, self._levels),
        )
