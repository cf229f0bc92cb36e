"""What is compiled: how, how much of it is kept in memory and on disk, and how often."""

import contextlib
import ctypes
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import jax
from jax import monitoring
from jax.errors import JaxRuntimeError

from foretune.models.runtime.device import cpu_description

P = ParamSpec("P")
R = TypeVar("R")

CompilerOptions = dict[str, bool | int | str]

# What jit_for_backend has made.
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
    *, static_argnames: str | Iterable[str]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator: ``jax.jit`` with :func:`compiler_options`, decided at the first call.

    A JAX that does not know an option compiles without any: they change speed, not results.

    Args:
        static_argnames: as for ``jax.jit``.

    Example:
        >>> @jit_for_backend(static_argnames="days")
        ... def repeat(x: jax.Array, days: int) -> jax.Array:
        ...     return jnp.tile(x, days)
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        made: Any = None

        def jitted(options: CompilerOptions | None) -> Any:
            nonlocal made
            made = jax.jit(function, static_argnames=static_argnames, compiler_options=options)
            _JITTED.append(made)
            return made

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return cast(R, (made or jitted(compiler_options() or None))(*args, **kwargs))
            except JaxRuntimeError as error:
                if "No such compile option" not in str(error):
                    raise
                return cast(R, jitted(None)(*args, **kwargs))

        return call

    return decorate


def evict_compiled_programs(most: int = _MOST_PROGRAMS) -> None:
    """Drop the programs of :func:`jit_for_backend` once there are more than ``most`` of them.

    A process that trains hundreds of shapes would grow without bound, up to the number of memory
    maps that Linux allows. A dropped program that is needed again comes from the compile cache, or
    is compiled again where there is none. The user's own programs are not touched.
    """
    if sum(made._cache_size() for made in _JITTED) <= most:
        return
    for made in _JITTED:
        made.clear_cache()
    # glibc would keep nearly all of what was freed.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def use_compile_cache(*, on: bool = True) -> Path | None:
    """Keep compiled programs on disk, for this process and all later ones.

    They are kept in ``$FORETUNE_CACHE_DIR``, or ``foretune`` in the user's cache folder, in a
    folder for this type of CPU: they are native code. A folder that others may write to is not
    used. A cache that JAX has been given already is left as it is. To clear the cache, delete the
    folder.

    Args:
        on: False keeps none in foretune's folder, also if an earlier call did.

    Returns:
        The folder in use, or None without a cache.

    Example:
        >>> use_compile_cache()
        PosixPath('/home/ada/.cache/foretune/jax-1f0c2b6a9d3e')
    """
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cpu = hashlib.sha256(cpu_description().encode()).hexdigest()[:12]
    folder = Path(os.environ.get("FORETUNE_CACHE_DIR") or user / "foretune") / f"jax-{cpu}"
    given = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined]
    if given and Path(given) != folder:
        return Path(given)
    if not on or not _is_private(folder):
        jax.config.update("jax_compilation_cache_dir", None)  # type: ignore[no-untyped-call]
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
    # These programs take seconds to compile and are a few hundred kB: keep them all.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # type: ignore[no-untyped-call]
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)  # type: ignore[no-untyped-call]
    return folder


def _is_private(folder: Path) -> bool:
    """Make ``folder`` for this user alone; False where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = folder.stat()
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or state.st_uid == os.getuid()
    return mine and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


# How often JAX has reported an event of each name.
_events: Counter[str] = Counter()


def _count(event: str, *_: object, **__: object) -> None:
    _events[event] += 1


monitoring.register_event_duration_secs_listener(_count)
monitoring.register_event_listener(_count)


def compile_count() -> int:
    """Return how many programs this process has had compiled, or loaded from the compile cache.

    Example:
        >>> before = compile_count()
        >>> jax.jit(lambda x: x + 1)(1.0)
        >>> compile_count() - before
        1
    """
    return _events["/jax/core/compile/backend_compile_duration"]


def cache_hits() -> int:
    """Return how many of :func:`compile_count` came from the compile cache."""
    return _events["/jax/compilation_cache/cache_hits"]
