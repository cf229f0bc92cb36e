"""How wrong a forecast is. Everything here is NumPy in float64 on the host."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from foretune.datasets.common.errors import DataError


def mean_squared_error(forecast: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """Return the mean over origins and steps of the squared difference of two [O, H] arrays."""
    return float(np.mean(np.square(forecast - actual)))


def relative_mse(forecast: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """Return the MSE of log-price errors divided by that of persistence, the study's objective.

    1.0 is no better than "tomorrow is like today"; below 1 beats it. It has no unit, so trials
    with different scalings compare.

    Args:
        forecast: forecast log growth since the origin [O, H].
        actual: actual log growth since the origin [O, H].

    Raises:
        DataError: the prices stood still after every origin: persistence was never wrong.
    """
    persistence = mean_squared_error(np.zeros_like(actual), actual)
    if persistence == 0:
        raise DataError(
            f"prices must change after one of the {len(actual)} forecast origins, but stand still"
        )
    return mean_squared_error(forecast, actual) / persistence


def mean_daily_change(log_prices: NDArray[np.float64]) -> float:
    """Return the mean absolute change of log prices [N] from one day to the next.

    The error of "tomorrow is like today", one day ahead, on the days given: the unit of MASE
    (Hyndman & Koehler 2006, "Another look at measures of forecast accuracy").
    """
    return float(np.mean(np.abs(np.diff(log_prices))))


def direction_hits(forecast: NDArray[np.float64], actual: NDArray[np.float64]) -> tuple[int, int]:
    """Count the forecasts of the right sign, and those that have a sign to be right about.

    Args:
        forecast: forecast log growth [O].
        actual: actual log growth [O].
    """
    directed = (forecast != 0) & (actual != 0)
    hits = directed & (np.sign(forecast) == np.sign(actual))
    return int(hits.sum()), int(directed.sum())


def proportion_interval(
    hits: int, count: int, overlap: int = 1, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the exact binomial interval (Clopper & Pearson 1934) of a proportion.

    Args:
        hits: how many of ``count`` are hits.
        count: how many there are, at least 1.
        overlap: how many in a row share their evidence: the interval is that of ``count /
            overlap`` independent ones with the same proportion.
        confidence: share of such intervals that cover the true proportion.

    Example:
        >>> low, high = proportion_interval(60, 100)
    """
    independent = max(count / overlap, 1.0)
    successes = independent * hits / count
    failures = independent - successes
    outside = (1 - confidence) / 2
    low = betaincinv(successes, failures + 1, outside) if successes > 0 else 0.0
    high = betaincinv(successes + 1, failures, 1 - outside) if failures > 0 else 1.0
    return float(low), float(high)
