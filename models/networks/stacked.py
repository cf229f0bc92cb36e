"""StackedRNN: recurrent layers, dropout between them, a regression head, a ``lax.scan`` unroll."""

from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from foretune.models.config import CellName, TrialConfig
from foretune.models.networks.cells import CELLS, Axis, Cell, CellState, LSTMCell, glorot_uniform
from foretune.models.networks.dropout import dropout_masks
from foretune.models.networks.lstm_unroll import lstm_unroll
from foretune.models.networks.randomness import fold_in

# One state per layer.
StackState = tuple[CellState, ...]


@dataclass(frozen=True)
class Architecture:
    """What fixes the network's shapes; hashable, so that it can be a static argument of jit."""

    cell: CellName
    units: tuple[int, ...]

    @classmethod
    def of(cls, config: TrialConfig) -> "Architecture":
        """Return the architecture that ``config`` asks for."""
        return cls(cell=config.cell, units=config.units)

    @classmethod
    def padded(cls, config: TrialConfig) -> "Architecture":
        """Return the architecture that is compiled for ``config``, with its padded units."""
        return cls(cell=config.cell, units=config.padded_units)


class StackedRNN(nnx.Module):
    """Recurrent layers on one input feature, and a linear head to one output.

    Args:
        architecture: cell and units of each layer.
        rng: draws every weight, layer by layer, then the head: weights by Glorot's rule, the
            head's bias uniformly in [-0.1, 0.1] (the tutorial's step 11).

    Example:
        >>> model = StackedRNN(Architecture("lstm", (8, 4)), rng=np.random.default_rng(0))
        >>> outputs, state = model.unroll(model.zero_state(3), jnp.zeros((5, 3)))
        >>> outputs.shape
        (5, 3)
    """

    axes: ClassVar[dict[str, tuple[Axis, ...]]] = {
        "head_kernel": (("inputs",), ()),
        "head_bias": ((),),
    }

    def __init__(self, architecture: Architecture, *, rng: np.random.Generator) -> None:
        cell, widths = CELLS[architecture.cell], (1, *architecture.units)
        self.layers = nnx.List(
            [cell(i, u, rng=rng) for i, u in zip(widths, architecture.units, strict=False)]
        )
        self.head_kernel = nnx.Param(glorot_uniform(rng, widths[-1], 1))
        self.head_bias = nnx.Param(rng.uniform(-0.1, 0.1, 1).astype(np.float32))

    def zero_state(self, batch_size: int) -> StackState:
        """Return the state before the first day for ``batch_size`` sequences."""
        return tuple(
            (jnp.zeros((batch_size, layer.units)),) * layer.states for layer in self.layers
        )

    def step(self, state: StackState, x: jax.Array) -> tuple[StackState, jax.Array]:
        """Take one day without dropout: input ``x`` [B] to the new state and output [B]."""
        features = x[:, None]
        new_state = []
        for layer, layer_state in zip(self.layers, state, strict=True):
            layer_state = layer(layer_state, features)
            new_state.append(layer_state)
            features = layer_state[0]
        return tuple(new_state), self._head(features)

    def unroll(
        self,
        state: StackState,
        inputs: jax.Array,
        *,
        dropout_key: jax.Array | None = None,
        dropout: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, StackState]:
        """Run over ``inputs`` [T, B] from ``state``.

        Args:
            state: one layer state each, from :meth:`zero_state` or the unroll before.
            inputs: scaled values [T, B].
            dropout_key: draws the masks; without it nothing is dropped.
            dropout: share of every layer's outputs and carried h set to zero, drawn for
                each day (the tutorial's step 11). Traced.

        Returns:
            Outputs [T, B] and the state after the last day.
        """
        features = inputs[:, :, None]
        new_state = []
        for number, (layer, layer_state) in enumerate(zip(self.layers, state, strict=True)):
            output_mask, state_mask = None, None
            if dropout_key is not None:
                key = fold_in(dropout_key, number)
                steps, batch = inputs.shape
                output_mask, state_mask = dropout_masks(key, dropout, steps, batch, layer.units)
            features, layer_state = _unroll_layer(layer, layer_state, features, state_mask)
            if output_mask is not None:
                features = features * output_mask
            new_state.append(layer_state)
        return self._head(features), tuple(new_state)

    def _head(self, features: jax.Array) -> jax.Array:
        """Map the last layer's features [..., H] to outputs [...]."""
        outputs: jax.Array = features @ self.head_kernel[...] + self.head_bias[...]
        return outputs[..., 0]


def _unroll_layer(
    layer: Cell, state: CellState, inputs: jax.Array, state_mask: jax.Array | None
) -> tuple[jax.Array, CellState]:
    """Run one layer over ``inputs`` [T, B, I]: outputs [T, B, H] and its last state."""
    if type(layer) is LSTMCell:
        h, c = state
        return lstm_unroll(layer.kernel[...], layer.bias[...], (h, c), inputs, state_mask)

    def step(
        state: CellState, x_and_mask: tuple[jax.Array, jax.Array | None]
    ) -> tuple[CellState, jax.Array]:
        x, mask = x_and_mask
        h, *memory = layer(state, x)
        return (h if mask is None else h * mask, *memory), h

    state, outputs = jax.lax.scan(step, state, (inputs, state_mask))
    return outputs, state
