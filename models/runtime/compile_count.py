"""Counts what XLA compiles, so that a study can show that its trials do not."""

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
