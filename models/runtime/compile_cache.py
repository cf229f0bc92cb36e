"""The persistent cache of compiled programs: a second process starts at once."""

import hashlib
import os
import stat
from pathlib import Path

import jax

from foretune.models.runtime.device import cpu_description

ENVIRONMENT = "FORETUNE_CACHE_DIR"


def use_compile_cache(*, on: bool = True) -> Path | None:
    """Keep compiled programs on disk, for this process and all later ones.

    They lie in ``$FORETUNE_CACHE_DIR``, or ``foretune`` in the user's cache folder, in a folder for
    this type of CPU: they are native code. A folder that others may write to is not used. A cache
    that JAX has been given already is left as it is. To clear the cache, delete the folder.

    Args:
        on: False keeps none in foretune's folder, also if an earlier call did.

    Returns:
        The folder in use, or None without a cache.

    Example:
        >>> use_compile_cache()
        PosixPath('/home/ada/.cache/foretune/jax-1f0c2b6a9d3e')
    """
    folder = _cache_folder()
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


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    base = Path(os.environ.get(ENVIRONMENT) or Path(home) / "foretune")
    return base / f"jax-{hashlib.sha256(cpu_description().encode()).hexdigest()[:12]}"


def _is_private(folder: Path) -> bool:
    """Make ``folder`` for this user alone; False where that cannot be had."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        state = folder.stat()
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or state.st_uid == os.getuid()
    return mine and not state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
