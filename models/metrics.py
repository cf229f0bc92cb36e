"""How wrong a forecast is. Everything here is NumPy in float64 on the host."""

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.errors import DataError


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
