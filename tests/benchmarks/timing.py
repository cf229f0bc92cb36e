"""One way to time, for foretune's layer and the peer's."""

import statistics
import time
from collections.abc import Callable


def median_seconds(once: Callable[[], float], seconds: float, *, warm_up: int = 3) -> float:
    """Call ``once``, which returns the seconds it took, for ``seconds``; returns the median."""
    for _ in range(warm_up):
        once()
    taken = []
    until = time.perf_counter() + seconds
    while not taken or time.perf_counter() < until:
        taken.append(once())
    return statistics.median(taken)
