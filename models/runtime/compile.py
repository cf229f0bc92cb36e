"""jit with the XLA options that suit these programs, and a bound on how many are kept."""

import contextlib
import ctypes
from collections.abc import Callable, Iterable
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar, cast

import jax
from jax.errors import JaxRuntimeError

P = ParamSpec("P")
R = TypeVar("R")

CompilerOptions = dict[str, bool | int | str]

# What jit_for_backend has made, and how many programs each has compiled since they were forgotten.
_JITTED: list[Any] = []

# A compiled epoch holds about 10 MiB.
_MOST_PROGRAMS = 40

# Measured on an epoch of two LSTM layers of 64 and 32 units, one core: XLA's own matrix products
# (Eigen) are a tenth faster than YNNPACK's, which pack the kernel again on every day of the unroll;
# LLVM's level 1 compiles a quarter faster than level 3 and runs no slower.
_CPU_OPTIONS: CompilerOptions = {
    "xla_cpu_experimental_ynn_fusion_type": "",
    "xla_backend_optimization_level": 1,
}


def compiler_options() -> CompilerOptions:
    """Return XLA's options for this process's backend; none on an accelerator."""
    return _CPU_OPTIONS if jax.default_backend() == "cpu" else {}


def jit_for_backend(
    *, static_argnames: str | Iterable[str], options: Callable[[], CompilerOptions] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator: ``jax.jit`` with :func:`compiler_options`, decided at the first call.

    A JAX that does not know an option compiles without any: they change speed, not results.

    Args:
        static_argnames: as for ``jax.jit``.
        options: returns the options; None for those of the backend.

    Example:
        >>> @jit_for_backend(static_argnames="days")
        ... def repeat(x: jax.Array, days: int) -> jax.Array:
        ...     return jnp.tile(x, days)
    """
    chosen = options or compiler_options

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @cache
        def jitted(with_options: bool) -> Any:
            extra = (chosen() or None) if with_options else None
            made = jax.jit(function, static_argnames=static_argnames, compiler_options=extra)
            _JITTED.append(made)
            return made

        unknown = False

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal unknown
            try:
                return cast(R, jitted(not unknown)(*args, **kwargs))
            except JaxRuntimeError as error:
                if unknown or "No such compile option" not in str(error):
                    raise
                unknown = True
                return cast(R, jitted(False)(*args, **kwargs))

        return call

    return decorate


def evict_compiled_programs(most: int = _MOST_PROGRAMS) -> None:
    """Drop the programs of :func:`jit_for_backend` once there are more than ``most`` of them.

    A process that trains hundreds of shapes would grow without bound, up to the number of memory
    maps that Linux allows. What is dropped and wanted again comes from the compile cache, or is
    compiled again where there is none. The user's own programs are not touched.
    """
    if sum(made._cache_size() for made in _JITTED) <= most:
        return
    for made in _JITTED:
        made.clear_cache()
    # glibc would keep nearly all of what was freed.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
