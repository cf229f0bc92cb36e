"""How much a process has grown: every compiled shape leaves something behind."""

import os
import sys
from pathlib import Path

_STATM = Path("/proc/self/statm")

# A worker that has grown by so many bytes makes room for a new one. A shape leaves some MiB.
DEFAULT_GROWTH = 2**30


class WorkerGrownError(Exception):
    """A worker has grown enough; a new process shall go on in its place."""


class Growth:
    """Tells when this process has grown by more than ``most`` bytes since the first look.

    Example:
        >>> growth = Growth(2**30)
        >>> growth.is_enough()
        False
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._first: int | None = None

    def is_enough(self) -> bool:
        """Whether it has."""
        size = resident_bytes()
        if self._first is None:
            self._first = size
        return size - self._first > self._most


def resident_bytes() -> int:
    """Return the bytes of memory that this process holds; where unknown, held at most so far."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError, AttributeError):
        return _peak_bytes()


def _peak_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows has none
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
