"""What training minimises, of errors in scaled units; of NumPy's arrays and of JAX's."""

from collections.abc import Callable
from typing import Any

from foretune.models.config import LossName


def half_squared(error: Any) -> Any:
    """Return ½ error², the tutorial's loss."""
    return 0.5 * (error * error)


def huber(error: Any) -> Any:
    """Return ½ error² up to an error of 1, from where on it grows as the absolute one (1964)."""
    near = error.clip(-1, 1)
    return half_squared(near) + abs(error - near)


LOSSES: dict[LossName, Callable[[Any], Any]] = {
    "mse": half_squared,
    "mae": abs,
    "huber": huber,
}
