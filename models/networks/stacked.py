"""StackedRNN: recurrent layers, dropout between them, a head, and a ``lax.scan`` unroll."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

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
    """What fixes the network's shapes; hashable, so that it can be a static argument of jit.

    Args:
        cell: of every layer.
        units: of each layer.
        segment_length: rows read at a time, s.
        columns: covariates read in each row, K.
        known: how many of them, the first ones, are known for the steps ahead, A.
        steps: steps that a direct head forecasts, H; 0 for a recursive head, which forecasts a
            segment at a time.
        head_units: hidden units of a direct head, D.
    """

    cell: CellName
    units: tuple[int, ...]
    segment_length: int = 1
    columns: int = 0
    known: int = 0
    steps: int = 0
    head_units: int = 0

    @classmethod
    def of(
        cls, config: TrialConfig, horizon: int = 1, *, columns: int = 0, known: int = 0
    ) -> "Architecture":
        """Return the architecture that ``config`` asks for, on data of so many covariates."""
        direct = config.head == "direct"
        return cls(
            cell=config.cell,
            units=config.units,
            segment_length=config.segment_length,
            columns=columns,
            known=known,
            steps=horizon if direct else 0,
            head_units=config.head_units if direct else 0,
        )

    def padded(self, config: TrialConfig) -> "Architecture":
        """Return the architecture that is compiled for ``config``, with its padded units."""
        return replace(self, units=config.padded_units)

    @property
    def inputs(self) -> int:
        """What is read at a time: a segment's values and covariates, and those known of the next.

        A direct head reads what is known of the steps ahead by itself.
        """
        ahead = 0 if self.steps else self.known
        return self.segment_length * (1 + self.columns + ahead)


class StackedRNN(nnx.Module):
    """Recurrent layers and a head.

    A recursive head is linear and gives the next segment. A direct head gives all H steps: from
    the last state h and what is known of step k, ``f_k``::

        hidden_k = relu(h state_kernel + f_k ahead_kernel + step_bias_k)
        out_k = hidden_k . output_kernel_k + output_bias_k

    (the local decoder of Wen et al. 2017, "A multi-horizon quantile recurrent forecaster").

    Args:
        architecture: cell, units of each layer, and the shapes of what is read and given.
        rng: draws every weight, layer by layer, then the head: weights by Glorot's rule, the
            bias of a recursive head uniformly in [-0.1, 0.1] (the tutorial's step 11), those of a
            direct one 0.

    Example:
        >>> model = StackedRNN(Architecture("lstm", (8, 4)), rng=np.random.default_rng(0))
        >>> features, state = model.unroll(model.zero_state(3), jnp.zeros((5, 3, 1)))
        >>> model.next_segment(features).shape
        (5, 3, 1)
    """

    recursive_axes: ClassVar[dict[str, tuple[Axis, ...]]] = {
        "head_kernel": (("inputs",), ()),
        "head_bias": ((),),
    }
    direct_axes: ClassVar[dict[str, tuple[Axis, ...]]] = {
        "state_kernel": (("inputs",), ()),
        "ahead_kernel": ((), ()),
        "step_bias": ((), ()),
        "output_kernel": ((), ()),
        "output_bias": ((),),
    }

    def __init__(self, architecture: Architecture, *, rng: np.random.Generator) -> None:
        cell, widths = CELLS[architecture.cell], (architecture.inputs, *architecture.units)
        self.layers = nnx.List(
            [cell(i, u, rng=rng) for i, u in zip(widths, architecture.units, strict=False)]
        )
        steps, hidden, last = architecture.steps, architecture.head_units, widths[-1]
        if steps:
            self.state_kernel = nnx.Param(glorot_uniform(rng, last, hidden))
            self.ahead_kernel = nnx.Param(glorot_uniform(rng, architecture.known, hidden))
            self.step_bias = nnx.Param(np.zeros((steps, hidden), np.float32))
            # Each step has an output of its own.
            columns = [glorot_uniform(rng, hidden, 1) for _ in range(steps)]
            self.output_kernel = nnx.Param(np.concatenate(columns, axis=1).T)
            self.output_bias = nnx.Param(np.zeros(steps, np.float32))
        else:
            outputs = architecture.segment_length
            self.head_kernel = nnx.Param(glorot_uniform(rng, last, outputs))
            self.head_bias = nnx.Param(rng.uniform(-0.1, 0.1, outputs).astype(np.float32))

    @property
    def axes(self) -> dict[str, tuple[Axis, ...]]:
        """The blocks that the axes of the head's weights are made of."""
        return self.direct_axes if hasattr(self, "output_kernel") else self.recursive_axes

    @property
    def last_weights(self) -> tuple[nnx.Param[Any], nnx.Param[Any]]:
        """Kernel and bias of the last layer: where they are zero, so is every output."""
        if hasattr(self, "output_kernel"):
            return self.output_kernel, self.output_bias
        return self.head_kernel, self.head_bias

    def zero_state(self, batch_size: int) -> StackState:
        """Return the state before the first day for ``batch_size`` sequences."""
        return tuple(
            (jnp.zeros((batch_size, layer.units)),) * layer.states for layer in self.layers
        )

    def step(self, state: StackState, features: jax.Array) -> tuple[StackState, jax.Array]:
        """Take one step without dropout: inputs [B, I] to the new state and features [B, H]."""
        new_state = []
        for layer, layer_state in zip(self.layers, state, strict=True):
            layer_state = layer(layer_state, features)
            new_state.append(layer_state)
            features = layer_state[0]
        return tuple(new_state), features

    def unroll(
        self,
        state: StackState,
        inputs: jax.Array,
        *,
        dropout_key: jax.Array | None = None,
        dropout: jax.Array | float = 0.0,
    ) -> tuple[jax.Array, StackState]:
        """Run over ``inputs`` [T, B, I] from ``state``.

        Args:
            state: one layer state each, from :meth:`zero_state` or the unroll before.
            inputs: what is read at each step [T, B, I].
            dropout_key: draws the masks; without it nothing is dropped.
            dropout: share of every layer's outputs and carried h set to zero, drawn for
                each step (the tutorial's step 11). Traced.

        Returns:
            The last layer's features [T, B, H] and the state after the last step.
        """
        features = inputs
        new_state = []
        for number, (layer, layer_state) in enumerate(zip(self.layers, state, strict=True)):
            output_mask, state_mask = None, None
            if dropout_key is not None:
                key = fold_in(dropout_key, number)
                steps, batch = inputs.shape[:2]
                output_mask, state_mask = dropout_masks(key, dropout, steps, batch, layer.units)
            features, layer_state = _unroll_layer(layer, layer_state, features, state_mask)
            if output_mask is not None:
                features = features * output_mask
            new_state.append(layer_state)
        return features, tuple(new_state)

    def next_segment(self, features: jax.Array) -> jax.Array:
        """Map features [..., H] to the next segment [..., s], with a recursive head."""
        outputs: jax.Array = features @ self.head_kernel[...] + self.head_bias[...]
        return outputs

    def all_steps(self, features: jax.Array, ahead: jax.Array) -> jax.Array:
        """Map the last features [B, H] and what is known ahead [B, steps, A] to [B, steps]."""
        hidden = (features @ self.state_kernel[...])[:, None] + self.step_bias[...]
        if ahead.shape[-1]:
            hidden += ahead @ self.ahead_kernel[...]
        products = jax.nn.relu(hidden) * self.output_kernel[...]
        outputs: jax.Array = products.sum(axis=-1) + self.output_bias[...]
        return outputs


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
