"""A network's weights apart from its structure: the weights are data, the structure is compiled."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.models.networks.cells import Axis
from foretune.models.networks.stacked import Architecture, StackedRNN

Arrays = dict[str, NDArray[Any]]
Params = Any  # the nnx.State of a StackedRNN: a pytree of arrays


@lru_cache(maxsize=256)
def _graph(architecture: Architecture) -> Any:
    """Return the structure of the network, without its weights."""
    return nnx.split(StackedRNN(architecture, rng=np.random.default_rng(0)))[0]


def initial_params(architecture: Architecture, seed: int, *, zero_output: bool = False) -> Params:
    """Draw the weights of a network from ``seed``, on the host.

    With ``zero_output`` the last layer starts at zero, and so does every output.
    """
    model = StackedRNN(architecture, rng=np.random.default_rng(seed))
    for weights in model.last_weights if zero_output else ():
        weights[...] = np.zeros_like(weights[...])
    return nnx.split(model)[1]


def network(architecture: Architecture, params: Params) -> StackedRNN:
    """Put ``params`` back into a network."""
    model: StackedRNN = nnx.merge(_graph(architecture), params)
    return model


def parameter_count(params: Params) -> int:
    """Return how many weights a network has."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def resize_params(params: Params, old: Architecture, new: Architecture) -> Params:
    """Return the weights of one architecture in one of other widths, on the host.

    Wider layers are filled up with zeros, narrower ones cropped. A unit whose weights are all zero
    stays at zero, gets zero gradients and so stays at zero under every optimizer here, and adds
    nothing to the global norm: a padded network is the network, and layers of several widths share
    a compiled program.

    Example:
        >>> narrow, wide = Architecture("lstm", (20, 12)), Architecture("lstm", (32, 32))
        >>> params = resize_params(initial_params(narrow, 0), narrow, wide)
    """
    if old == new:
        return params
    source, target = network(old, params), StackedRNN(new, rng=np.random.default_rng(0))
    modules = zip([*source.layers, source], [*target.layers, target], strict=True)
    for number, (module, resized) in enumerate(modules):
        old_sizes, new_sizes = (
            dict(zip(("inputs", "units"), (each.inputs, *each.units)[number:], strict=False))
            for each in (old, new)
        )
        for name, axes in module.axes.items():
            weights = np.asarray(getattr(module, name)[...])
            for axis, blocks in enumerate(axes):
                weights = _resize_axis(weights, axis, blocks, old_sizes, new_sizes)
            setattr(resized, name, nnx.Param(weights))
    return nnx.split(target)[1]


def _resize_axis(
    array: NDArray[np.float32], axis: int, blocks: Axis, old: dict[str, int], new: dict[str, int]
) -> NDArray[np.float32]:
    """Crop or fill with zeros each block along ``axis``; an axis without blocks stays as it is."""
    if not blocks:
        return array
    parts, start = [], 0
    for block in blocks:
        part = np.take(array, range(start, start + min(old[block], new[block])), axis)
        missing = [(0, 0)] * array.ndim
        missing[axis] = (0, max(new[block] - old[block], 0))
        parts.append(np.pad(part, missing))
        start += old[block]
    return np.concatenate(parts, axis)


def named_arrays(tree: Any) -> Arrays:
    """Return the leaves of a pytree by name, such as "layers.0.kernel"."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {_leaf_name(path): np.asarray(leaf) for path, leaf in leaves}


def tree_of(structure: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return a pytree of the same structure with the arrays of those names.

    Raises:
        ConfigError: one is missing, or of another shape or type; names it.
    """
    leaves, definition = jax.tree_util.tree_flatten_with_path(structure)
    chosen = []
    for path, leaf in leaves:
        name, wanted = _leaf_name(path), np.asarray(leaf)
        found = arrays.get(name)
        if found is None or (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
            raise ConfigError(f"array {name} must be {wanted.dtype}{list(wanted.shape)}")
        chosen.append(found)
    return jax.tree_util.tree_unflatten(definition, chosen)


def _leaf_name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")
