"""Prices to network inputs and back, and smoothed; what is fitted comes from training days."""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError

ScalingName = Literal["log_returns", "windowed_min_max"]

# A level forecast can leave the positive numbers, where the logarithm of a price ends. Below
# this share of the price at the origin every forecast is equally and hopelessly wrong.
LOWEST_GROWTH = 0.01

# Below this, returns differ by the rounding of prices alone.
_SMALLEST_STD = 1e-12


class Scaling(Protocol):
    """A fitted scaling; ``values[i]`` of :meth:`transform` belongs to day ``i + lag``."""

    @property
    def lag(self) -> int:
        """Days at the start of the series that have no scaled value."""

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale mid prices [N] to network inputs [N - lag]."""

    def log_growth(
        self, scaled: NDArray[np.float64], origins: NDArray[np.int32], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Invert scaled values [O, H] of the days after each origin [O].

        Returns ``log(price / price at the origin)`` [O, H]; :func:`prices_after` makes prices of
        it. Only ``values[origins]`` is read, never a later day.
        """


@dataclass(frozen=True, kw_only=True)
class StandardisedLogReturns:
    """``(log(p_t / p_{t-1}) - mean) / std``, mean and std over the training days."""

    mean: float
    std: float

    @property
    def lag(self) -> int:
        """The first day has no return."""
        return 1

    @classmethod
    def fit(cls, train_values: NDArray[np.float64]) -> "StandardisedLogReturns":
        """Fit to the training days' mid prices [N].

        Raises:
            DataError: the price never changes, so that there is nothing to scale by.
        """
        returns = np.diff(np.log(train_values))
        std = float(np.std(returns))
        if not std > _SMALLEST_STD:
            raise DataError(
                f"the {len(train_values)} training prices must vary, but their log returns have a "
                f"standard deviation of {std}"
            )
        return cls(mean=float(np.mean(returns)), std=std)

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale mid prices [N] to standardised log returns [N - 1]."""
        return (np.diff(np.log(values)) - self.mean) / self.std

    def log_growth(
        self, scaled: NDArray[np.float64], origins: NDArray[np.int32], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Add up scaled returns [O, H] since each origin: log growth [O, H]."""
        return np.cumsum(scaled * self.std + self.mean, axis=1)


@dataclass(frozen=True, kw_only=True)
class WindowedMinMax:
    """Min-max to [0, 1], separately for each window of training days (the tutorial's step 5).

    Days after the training part use the last window's extremes, so they can leave [0, 1]; and
    each window knows its own future extremes. Both are the tutorial's faults, kept to
    reproduce it. A remainder shorter than a tenth of a window joins the window before it,
    because a handful of days would be a poor scale for everything that follows.

    ``starts``, ``minima`` and ``maxima`` have one entry a window.
    """

    starts: tuple[int, ...]
    minima: tuple[float, ...]
    maxima: tuple[float, ...]

    @property
    def lag(self) -> int:
        """Every day has a value."""
        return 0

    @classmethod
    def fit(cls, train_values: NDArray[np.float64], window: int) -> "WindowedMinMax":
        """Fit to the training days' mid prices [N], ``window`` days at a time."""
        starts = list(range(0, len(train_values), window))
        if len(starts) > 1 and len(train_values) - starts[-1] < max(window / 10, 2):
            starts.pop()
        windows = np.split(train_values, starts[1:])
        return cls(
            starts=tuple(starts),
            minima=tuple(float(w.min()) for w in windows),
            maxima=tuple(float(w.max()) for w in windows),
        )

    def _offset_and_range(self, days: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
        window = np.searchsorted(self.starts, days, side="right") - 1
        low, high = np.array(self.minima)[window], np.array(self.maxima)[window]
        # A window of one constant price has no range; any scale keeps it invertible.
        return low, np.where(high > low, high - low, 1.0)

    def transform(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Scale mid prices [N] to [N] values, in [0, 1] on training days."""
        low, width = self._offset_and_range(np.arange(len(values)))
        scaled: NDArray[np.float64] = (values - low) / width
        return scaled

    def log_growth(
        self, scaled: NDArray[np.float64], origins: NDArray[np.int32], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Unscale levels [O, H] to log growth [O, H], floored at 1 % of the price at the origin."""
        days = origins[:, None].astype(np.int64) + np.arange(1, scaled.shape[1] + 1)
        low, width = self._offset_and_range(days)
        growth = (scaled * width + low) / values[origins][:, None]
        logarithm: NDArray[np.float64] = np.log(np.maximum(growth, LOWEST_GROWTH))
        return logarithm


def fit_scaling(name: ScalingName, train_values: NDArray[np.float64], *, window: int) -> Scaling:
    """Fit the scaling called ``name`` to the training days' mid prices [N].

    Args:
        name: ``log_returns`` or ``windowed_min_max``.
        train_values: mid prices of the training days [N].
        window: days per window of ``windowed_min_max``.
    """
    if name == "log_returns":
        return StandardisedLogReturns.fit(train_values)
    return WindowedMinMax.fit(train_values, window)


def log_growth_between(
    values: NDArray[np.float64], origins: NDArray[np.int32], horizon: int
) -> NDArray[np.float64]:
    """Return the actual ``log(price / price at the origin)`` [O, H] after each origin [O]."""
    log_values = np.log(values)
    days = origins[:, None] + np.arange(1, horizon + 1)
    growth: NDArray[np.float64] = log_values[days] - log_values[origins][:, None]
    return growth


def prices_after(
    log_growth: NDArray[np.float64], origins: NDArray[np.int32], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Turn log growth [O, H] since the origins [O] into prices [O, H]."""
    prices: NDArray[np.float64] = values[origins][:, None] * np.exp(log_growth)
    return prices


def exponential_moving_average(
    values: NDArray[np.float64], past_weight: float
) -> NDArray[np.float64]:
    """Return ``m_t = past_weight * m_{t-1} + (1 - past_weight) * x_t`` with ``m`` 0 before x_0.

    The tutorial smooths its training data so with 0.9 (step 6) and forecasts so with 0.5 (step
    8). Starting at 0 pulls the first values down; that is the tutorial's choice.

    Args:
        values: x [N], oldest first.
        past_weight: in [0, 1); 0 returns ``values``.

    Returns:
        The averages m [N].

    Example:
        >>> exponential_moving_average(np.array([1.0, 1.0, 1.0]), 0.5)
        array([0.5  , 0.75 , 0.875])
    """
    import pandas as pd  # a second that only smoothing needs to wait for

    from_zero = pd.Series(np.concatenate([[0.0], values]))
    average = from_zero.ewm(alpha=1 - past_weight, adjust=False).mean().to_numpy()
    return np.asarray(average[1:], np.float64)
