"""Recurrent cells: one step of one layer."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

# (h, c), each [B, H]: what the layer says and what it remembers.
LSTMState = tuple[jax.Array, jax.Array]


def glorot_uniform(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    """Draw [rows, columns] uniformly within ``sqrt(6 / (rows + columns))`` (Glorot, 2010).

    Weights are drawn by NumPy on the host: nothing has to be compiled for a new shape, and the
    numbers are the same on every device.
    """
    limit = np.sqrt(6.0 / (rows + columns))
    return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)


class LSTMCell(nnx.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, forget gate of Gers 2000).

    With ``a = [x_t, h_{t-1}] kernel + bias`` cut into i, f, g, o of H columns each::

        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t)

    The bias of the forget gate starts at 1, as in the tutorial's TensorFlow cell. (The tutorial's
    text prints a sigmoid for g; what runs there is tanh.)

    Args:
        inputs: features of x_t, I.
        units: units of the layer, H.
        rng: draws the kernel [I + H, 4H].
    """

    def __init__(self, inputs: int, units: int, *, rng: np.random.Generator) -> None:
        self.units = units
        self.kernel = nnx.Param(glorot_uniform(rng, inputs + units, 4 * units))
        bias = np.zeros(4 * units, np.float32)
        bias[units : 2 * units] = 1.0
        self.bias = nnx.Param(bias)

    def __call__(self, state: LSTMState, x: jax.Array) -> LSTMState:
        """Take the step from ``state`` ([B, H], [B, H]) with input ``x`` [B, I]."""
        h, c = state
        gates = jnp.concatenate([x, h], axis=-1) @ self.kernel[...] + self.bias[...]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c
