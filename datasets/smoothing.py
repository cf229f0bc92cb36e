"""The exponential moving average, which smooths training data and serves as a baseline."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray


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
    from_zero = pd.Series(np.concatenate([[0.0], values]))
    average = from_zero.ewm(alpha=1 - past_weight, adjust=False).mean().to_numpy()
    return np.asarray(average[1:], np.float64)
