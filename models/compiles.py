"""Counts what XLA compiles, so that a study can show that its trials do not; and bounds it."""

import contextlib
import ctypes

import jax
from jax import monitoring

_BACKEND_COMPILE = "/jax/core/compile/backend_compile_duration"
_CACHE_HIT = "/jax/compilation_cache/cache_hits"
_counts = {_BACKEND_COMPILE: 0, _CACHE_HIT: 0}


def _count_duration(event: str, duration_secs: float, **_: str | int) -> None:
    if event == _BACKEND_COMPILE:
        _counts[event] += 1


def _count_event(event: str, **_: str | int) -> None:
    if event == _CACHE_HIT:
        _counts[event] += 1


monitoring.register_event_duration_secs_listener(_count_duration)
monitoring.register_event_listener(_count_event)


def compile_count() -> int:
    """Return how many programs this process has had compiled, or loaded from the compile cache.

    Example:
        >>> before = compile_count()
        >>> jax.jit(lambda x: x + 1)(1.0)
        >>> compile_count() - before
        1
    """
    return _counts[_BACKEND_COMPILE]


def cache_hits() -> int:
    """Return how many of :func:`compile_count` came from the compile cache."""
    return _counts[_CACHE_HIT]


# A compiled epoch holds about 10 MiB.
_MOST_PROGRAMS = 24
_forgotten_at = 0


def forget_many_programs(most: int = _MOST_PROGRAMS) -> None:
    """Drop all compiled programs when more than ``most`` have been compiled since the last time.

    A process that trains hundreds of shapes would grow without bound, up to the number of memory
    maps that Linux allows. What is dropped comes back from the compile cache in a moment.
    """
    global _forgotten_at
    if compile_count() - _forgotten_at > most:
        jax.clear_caches()  # type: ignore[no-untyped-call]
        _return_free_memory()
        _forgotten_at = compile_count()


def _return_free_memory() -> None:
    """Give what was freed back to the system; glibc would keep nearly all of it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
