"""Networks padded with zero weights, so that layers of several widths share a compiled program.

A unit whose weights are all zero stays at zero, gets zero gradients and so stays at zero under
every optimizer here, and adds nothing to the global norm: the padded network is the network.
"""

from typing import Any

import numpy as np
from flax import nnx
from numpy.typing import NDArray

from foretune.models.config import TrialConfig
from foretune.models.networks.cells import Axis
from foretune.models.networks.params import Params, network
from foretune.models.networks.stacked import HEAD_AXES, Architecture, StackedRNN


def padded_architecture(config: TrialConfig) -> Architecture:
    """Return what is compiled for ``config``: units rounded up to its ``pad_units_to``."""
    multiple = config.pad_units_to
    units = tuple(-(-unit // multiple) * multiple for unit in config.units)
    return Architecture(cell=config.cell, units=units)


def pad_params(params: Params, narrow: Architecture, wide: Architecture) -> Params:
    """Return the weights of a ``narrow`` network in a ``wide`` one, zeros around them, on the host.

    Example:
        >>> narrow, wide = Architecture("lstm", (20, 12)), Architecture("lstm", (32, 32))
        >>> params = pad_params(initial_params(narrow, 0), narrow, wide)
    """
    return _moved(params, narrow, wide)


def crop_params(params: Params, wide: Architecture, narrow: Architecture) -> Params:
    """Undo :func:`pad_params`."""
    return _moved(params, wide, narrow)


def _moved(params: Params, source: Architecture, target: Architecture) -> Params:
    """Move every block of weights from the places of one architecture to those of another."""
    if source == target:
        return params
    old = network(source, params)
    new = StackedRNN(target, rng=np.random.default_rng(0))
    old_widths, new_widths = (1, *source.units), (1, *target.units)
    for number, (old_layer, new_layer) in enumerate(zip(old.layers, new.layers, strict=True)):
        sizes = [
            {"inputs": widths[number], "units": widths[number + 1]}
            for widths in (old_widths, new_widths)
        ]
        _move_all(old_layer, new_layer, old_layer.axes, *sizes)
    _move_all(old, new, HEAD_AXES, {"inputs": old_widths[-1]}, {"inputs": new_widths[-1]})
    return nnx.split(new)[1]


def _move_all(
    old: Any, new: Any, axes: dict[str, tuple[Axis, ...]], *sizes: dict[str, int]
) -> None:
    for name, blocks in axes.items():
        moved = np.asarray(getattr(old, name)[...])
        for axis, kinds in enumerate(blocks):
            moved = _move_axis(moved, axis, kinds, *sizes)
        setattr(new, name, nnx.Param(moved))


def _move_axis(
    array: NDArray[np.float32], axis: int, kinds: Axis, old: dict[str, int], new: dict[str, int]
) -> NDArray[np.float32]:
    """Crop or fill with zeros each block along ``axis``; an axis without kinds stays as it is."""
    if not kinds:
        return array
    parts, start = [], 0
    for kind in kinds:
        part = np.take(array, range(start, start + min(old[kind], new[kind])), axis)
        missing = [(0, 0)] * array.ndim
        missing[axis] = (0, max(new[kind] - old[kind], 0))
        parts.append(np.pad(part, missing))
        start += old[kind]
    return np.concatenate(parts, axis)
