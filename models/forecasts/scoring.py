"""From values to a network's inputs, and from its forecasts to scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.transforms import (
    LOG,
    ErrorSpace,
    Scaling,
    changes_of,
    exponential_moving_average,
    fit_scaling,
)
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecasts.metrics import (
    METRICS,
    Outcomes,
    mean_squared_error,
    persistence_mse,
)

# What may decide on an epoch: a study's metric, or the tutorial's.
Criterion = MetricName | Literal["half_mse"]


@dataclass(frozen=True, eq=False)
class ScaledSeries:
    """Scaled series; index ``i`` of both arrays belongs to row ``i + lag``.

    ``inputs`` [S, N - lag] are what the network reads: training rows may be smoothed. ``targets``
    [S, N - lag] are the actual values, scaled alike and never smoothed. Each series has a scaling
    of its own, all of one kind.
    """

    scalings: tuple[Scaling, ...]
    inputs: NDArray[np.float64]
    targets: NDArray[np.float64]

    @property
    def lag(self) -> int:
        """Rows at the start of the series that have no scaled value."""
        return self.scalings[0].lag


def scale(
    config: TrialConfig,
    values: NDArray[np.float64],
    train_stop: int,
    firsts: NDArray[np.int32] | None = None,
) -> ScaledSeries:
    """Scale values [S, N] as ``config`` asks, fitted to the rows before ``train_stop``.

    Args:
        config: names the scaling.
        values: the target [S, N].
        train_stop: where the training rows end.
        firsts: where each series begins [S], after a copy of its first value; None for row 0.

    Raises:
        ConfigError: the scaling is of windows, and the series begin at different rows.
    """
    firsts = np.zeros(len(values), np.int32) if firsts is None else firsts
    if config.scaling == "windowed_min_max" and firsts.any():
        raise ConfigError(
            "scaling must not be 'windowed_min_max' where series are of different lengths"
        )
    scalings = tuple(
        fit_scaling(config.scaling, own[first:train_stop], window=config.scaling_window)
        for own, first in zip(values, firsts, strict=True)
    )
    targets = np.stack([s.transform(own) for s, own in zip(scalings, values, strict=True)])
    inputs = targets.copy()
    if config.smoothing:
        for own, first in zip(inputs[:, : train_stop - scalings[0].lag], firsts, strict=True):
            own[first:] = exponential_moving_average(own[first:], config.smoothing)
    return ScaledSeries(scalings, inputs, targets)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """Scores of forecasts, means over the series; ``changes`` [S, O, H] are since each origin.

    ``value`` is that of the metric that decides.
    """

    changes: NDArray[np.float64]
    value: float
    relative_mse: float
    persistence_mse: float
    half_mse: float


class Scorer:
    """Scores scaled forecasts at fixed origins.

    Args:
        values: the target [S, N], up to the last row that is forecast at least.
        origins: last row each forecast may see [O].
        horizon: steps forecast from each origin, H.
        scaled: the series that the forecasts are scaled like.
        spaces: what errors are measured in, one a series.
        metric: what decides.
        units: those of MASE, one a series; no other metric needs them.
    """

    def __init__(
        self,
        values: NDArray[np.float64],
        origins: NDArray[np.int32],
        horizon: int,
        scaled: ScaledSeries,
        spaces: Sequence[ErrorSpace] = (LOG,),
        *,
        metric: Criterion = "relative_mse",
        units: Sequence[float] = (),
    ) -> None:
        self._metric: Criterion = metric
        self._series = list(zip(scaled.scalings, values, spaces, strict=True))
        self._origins = origins
        actual = changes_of(spaces, values, origins, horizon)
        self._came = Outcomes(actual=actual, now=values[:, origins], units=units, spaces=spaces)
        self._persistence_mse = float(np.mean([persistence_mse(own) for own in actual]))
        self._levels = scaled.targets[:, origins[:, None] - scaled.lag + np.arange(1, horizon + 1)]

    def __call__(self, forecasts: NDArray[np.float64]) -> Scores:
        """Score scaled forecasts [S, O, H]."""
        changes = np.stack(
            [
                scaling.change(own, self._origins, values, space)
                for own, (scaling, values, space) in zip(forecasts, self._series, strict=True)
            ]
        )
        half_mse = 0.5 * mean_squared_error(forecasts, self._levels)
        value = relative_mse = METRICS["relative_mse"].value(changes, self._came)
        if self._metric == "half_mse":
            value = half_mse
        elif self._metric != "relative_mse":
            value = METRICS[self._metric].value(changes, self._came)
        return Scores(
            changes=changes,
            value=value,
            relative_mse=relative_mse,
            persistence_mse=self._persistence_mse,
            half_mse=half_mse,
        )
