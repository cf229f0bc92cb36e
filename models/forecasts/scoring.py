"""From values to a network's inputs, and from its forecasts to scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.transforms import (
    LOG,
    ErrorSpace,
    Scaling,
    exponential_moving_average,
    fit_scaling,
)
from foretune.models.config import TrialConfig
from foretune.models.forecasts.metrics import mean_squared_error, persistence_mse, relative_mse


@dataclass(frozen=True, eq=False)
class ScaledSeries:
    """A scaled series; index ``i`` of both arrays belongs to row ``i + lag``.

    ``inputs`` [N - lag] are what the network reads: its training rows may be smoothed.
    ``targets`` [N - lag] are the actual values, scaled alike and never smoothed.
    """

    scaling: Scaling
    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]

    @property
    def lag(self) -> int:
        """Rows at the start of the series that have no scaled value."""
        return self.scaling.lag


def scale(config: TrialConfig, values: NDArray[np.float64], train_stop: int) -> ScaledSeries:
    """Scale values [N] as ``config`` asks, fitted to the first ``train_stop`` rows."""
    scaling = fit_scaling(config.scaling, values[:train_stop], window=config.scaling_window)
    targets = scaling.transform(values)
    inputs = targets.copy()
    if config.smoothing:
        train = slice(0, train_stop - scaling.lag)
        inputs[train] = exponential_moving_average(targets[train], config.smoothing)
    return ScaledSeries(scaling, inputs, targets)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """Scores of forecasts; ``changes`` [O, H] are the forecasts since each origin."""

    changes: NDArray[np.float64]
    relative_mse: float
    persistence_mse: float
    half_mse: float


class Scorer:
    """Scores scaled forecasts at fixed origins.

    Args:
        values: the target [N], up to the last row that is forecast at least.
        origins: last row each forecast may see [O].
        horizon: steps forecast from each origin, H.
        scaled: the series that the forecasts are scaled like.
        space: what errors are measured in.
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        origins: NDArray[np.int32],
        horizon: int,
        scaled: ScaledSeries,
        space: ErrorSpace = LOG,
    ) -> None:
        self._space = space
        self._values = values
        self._origins = origins
        self._scaling = scaled.scaling
        self._actual = space.changes(values, origins, horizon)
        self._persistence_mse = persistence_mse(self._actual)
        self._levels = scaled.targets[origins[:, None] - scaled.lag + np.arange(1, horizon + 1)]

    def __call__(self, forecasts: NDArray[np.float64]) -> Scores:
        """Score scaled forecasts [O, H]."""
        changes = self._scaling.change(forecasts, self._origins, self._values, self._space)
        return Scores(
            changes=changes,
            relative_mse=relative_mse(changes, self._actual),
            persistence_mse=self._persistence_mse,
            half_mse=0.5 * mean_squared_error(forecasts, self._levels),
        )
