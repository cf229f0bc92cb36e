"""Intervals around forecasts, from the errors of earlier ones: split-conformal, step by step.

Forecasts and outcomes are log growth since the origin. The intervals assume nothing about the
distribution of the errors. What they do assume is that the errors to come are like those that set
the widths (exchangeable). Of prices that is only roughly true: overlapping forecasts err together
and volatility changes, so count the coverage on later days (:func:`coverage_by_step`).
"""

import math
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.models.forecasts.metrics import Growth

# Share of outcomes that intervals are made to cover.
COVERAGE = 0.9


def conformal_widths(forecast: Growth, actual: Growth, *, coverage: float = COVERAGE) -> Growth:
    """Return the half-width of the interval at each step.

    It is the ceil((O + 1) ``coverage``)-th smallest absolute error of the O forecasts. A further
    error, exchangeable with them, is at most that with a probability of at least ``coverage``. The
    guarantee holds for each step by itself; a whole path stays inside less often.

    Where that rank exceeds O, there are too few forecasts for the guarantee. The largest error is
    used, which covers O / (O + 1), less than ``coverage``: 0.9 needs at least 9 forecasts.

    Args:
        forecast: forecast log growth [O, H], at origins whose days trained nothing; or of several
            series [S, O, H], each of which has widths of its own.
        actual: actual log growth, of the same shape.
        coverage: share of outcomes to cover, above 0 and below 1.

    Returns:
        Log growth [H], or [S, H].

    Raises:
        ConfigError: ``coverage`` is out of range, the shapes differ or there is no forecast.

    Source: Vovk, Gammerman & Shafer 2005, "Algorithmic learning in a random world"; Lei et al.
    2018, "Distribution-free predictive inference for regression"; step by step as in Stankeviciute
    et al. 2021, "Conformal time-series forecasting", without its correction for whole paths.

    Example:
        >>> widths = conformal_widths(validation_forecast, validation_actual)
        >>> lower, upper = interval(test_forecast, widths)
    """
    if not 0 < coverage < 1:
        raise ConfigError(f"coverage must be above 0 and below 1, but is {coverage}")
    if forecast.shape != actual.shape or forecast.ndim not in (2, 3) or forecast.size == 0:
        raise ConfigError(
            "forecast and actual must have one shape [O, H] that is not empty, but have "
            f"{forecast.shape} and {actual.shape}"
        )
    origins = forecast.shape[-2]
    # In decimals, because 100 * 0.55 is above 55 in binary and would round up to 56.
    rank = math.ceil(Decimal(str(float(coverage))) * (origins + 1))
    errors: Growth = np.sort(np.abs(actual - forecast), axis=-2)
    widths: Growth = errors[..., min(rank, origins) - 1, :]
    return widths


def interval(forecast: Growth, widths: Growth) -> tuple[Growth, Growth]:
    """Return the lower and upper ends around forecasts [O, H] for half-widths [H].

    Or around those of several series [S, O, H], for [S, H].
    """
    around = widths[..., None, :]
    return forecast - around, forecast + around


def coverage_by_step(forecast: Growth, actual: Growth, widths: Growth) -> NDArray[np.float64]:
    """Return the share of origins whose outcome is inside its interval, ends included.

    Args:
        forecast: forecast log growth [O, H], or [S, O, H].
        actual: actual log growth, of the same shape.
        widths: half-widths [H], or [S, H], as the shares are.
    """
    # Errors against widths, and not outcomes against ends: the sums that make the ends round, and
    # would leave out the very outcomes that set the widths.
    inside = np.abs(actual - forecast) <= widths[..., None, :]
    shares: NDArray[np.float64] = np.mean(inside, axis=-2)
    return shares
