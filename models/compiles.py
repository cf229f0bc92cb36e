"""Counts what XLA compiles, so that a study can show that its trials do not."""

from jax import monitoring

_BACKEND_COMPILE = "/jax/core/compile/backend_compile_duration"
_compiled = 0


def _count(event: str, duration_secs: float, **_: str | int) -> None:
    global _compiled
    _compiled += event == _BACKEND_COMPILE


monitoring.register_event_duration_secs_listener(_count)


def compile_count() -> int:
    """Return how many programs this process has had compiled (or loaded from JAX's cache).

    Example:
        >>> before = compile_count()
        >>> jax.jit(lambda x: x + 1)(1.0)
        >>> compile_count() - before
        1
    """
    return _compiled
