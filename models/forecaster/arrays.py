"""Arrays in a folder, by orbax: nothing is pickled, and loading runs nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError

Arrays = dict[str, NDArray[Any]]


def write_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name into a new folder."""
    # Here, because it takes half a second that only who saves shall wait for.
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.absolute(), dict(arrays))
    # Says where the temporary folder was, and nothing else; stores without rename need it.
    (folder / "commit_success.txt").unlink(missing_ok=True)


def read_arrays(folder: Path) -> Arrays:
    """Return the arrays that :func:`write_arrays` wrote.

    Raises:
        ConfigError: they cannot be restored; names the folder.
    """
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            restored = checkpointer.restore(folder.absolute())
    except Exception as error:  # whatever orbax and its storage raise, which they do not document
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(f"{folder} cannot be restored: {reason[0][:200]}") from None
    return {name: np.asarray(array) for name, array in restored.items()}


def named_arrays(tree: Any, prefix: str = "") -> Arrays:
    """Return the leaves of a pytree by name, such as "layers.0.kernel"."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {prefix + leaf_name(path): np.asarray(leaf) for path, leaf in leaves}


def tree_of(structure: Any, arrays: Mapping[str, NDArray[Any]], prefix: str = "") -> Any:
    """Return a pytree of the same structure with the arrays of those names.

    Raises:
        ConfigError: one is missing, or of another shape or type; names it.
    """
    leaves, definition = jax.tree_util.tree_flatten_with_path(structure)
    chosen = []
    for path, leaf in leaves:
        name, wanted = prefix + leaf_name(path), np.asarray(leaf)
        found = arrays.get(name)
        if found is None or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise ConfigError(f"array {name} must be {wanted.dtype}{list(wanted.shape)}")
        chosen.append(found)
    return jax.tree_util.tree_unflatten(definition, chosen)


def leaf_name(path: tuple[Any, ...]) -> str:
    """Return the name of a pytree's leaf, its parts joined by dots."""
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")
