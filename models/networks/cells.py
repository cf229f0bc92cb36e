"""Recurrent cells: one step of one layer."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from foretune.models.config import CellName

# What a layer carries from day to day, arrays of [B, H] each; the first one, h, is its output.
CellState = tuple[jax.Array, ...]

# The blocks that an axis of a weight is made of, in order: "inputs" or "units"; () for neither.
Axis = tuple[str, ...]


def glorot_uniform(rng: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    """Draw [rows, columns] uniformly within ``sqrt(6 / (rows + columns))`` (Glorot, 2010).

    Weights are drawn by NumPy on the host: nothing has to be compiled for a new shape, and the
    numbers are the same on every device.
    """
    limit = np.sqrt(6.0 / (rows + columns))
    return rng.uniform(-limit, limit, (rows, columns)).astype(np.float32)


class LSTMCell(nnx.Module):
    """Long short-term memory (Hochreiter & Schmidhuber 1997, forget gate of Gers et al. 2000).

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

    states = 2  # h and c
    axes: ClassVar[dict[str, tuple[Axis, ...]]] = {
        "kernel": (("inputs", "units"), ("units",) * 4),
        "bias": (("units",) * 4,),
    }

    def __init__(self, inputs: int, units: int, *, rng: np.random.Generator) -> None:
        self.units = units
        self.kernel = nnx.Param(glorot_uniform(rng, inputs + units, 4 * units))
        bias = np.zeros(4 * units, np.float32)
        bias[units : 2 * units] = 1.0
        self.bias = nnx.Param(bias)

    def __call__(self, state: CellState, x: jax.Array) -> CellState:
        """Take the step from ``state`` (h, c) with input ``x`` [B, I]."""
        h, c = state
        gates = jnp.concatenate([x, h], axis=-1) @ self.kernel[...] + self.bias[...]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c


class PeepholeLSTMCell(LSTMCell):
    """LSTM whose gates also see the memory (Gers & Schmidhuber 2000).

    As :class:`LSTMCell`, with one more weight per unit and gate: ``p_i * c_{t-1}`` is added to i,
    ``p_f * c_{t-1}`` to f, and ``p_o * c_t`` to o. The three start at zero, where the cell is a
    plain LSTM.
    """

    axes: ClassVar[dict[str, tuple[Axis, ...]]] = {**LSTMCell.axes, "peepholes": ((), ("units",))}

    def __init__(self, inputs: int, units: int, *, rng: np.random.Generator) -> None:
        super().__init__(inputs, units, rng=rng)
        self.peepholes = nnx.Param(np.zeros((3, units), np.float32))

    def __call__(self, state: CellState, x: jax.Array) -> CellState:
        """Take the step from ``state`` (h, c) with input ``x`` [B, I]."""
        h, c = state
        see_input, see_forget, see_output = self.peepholes[...][:, None, :]
        gates = jnp.concatenate([x, h], axis=-1) @ self.kernel[...] + self.bias[...]
        i, f, g, o = jnp.split(gates, 4, axis=-1)
        keep, write = jax.nn.sigmoid(f + see_forget * c), jax.nn.sigmoid(i + see_input * c)
        c = keep * c + write * jnp.tanh(g)
        return jax.nn.sigmoid(o + see_output * c) * jnp.tanh(c), c


class GRUCell(nnx.Module):
    """Gated recurrent unit (Cho et al. 2014), in the form of cuDNN, PyTorch and Flax.

    With ``a = x_t input_kernel + bias`` and ``b = h_{t-1} hidden_kernel``, each cut into r, z, n
    of H columns::

        r = sigmoid(a_r + b_r)
        z = sigmoid(a_z + b_z)
        n = tanh(a_n + r * (b_n + hidden_bias))
        h_t = (1 - z) * n + z * h_{t-1}

    Args:
        inputs: features of x_t, I.
        units: units of the layer, H.
        rng: draws both kernels, [I, 3H] and [H, 3H].
    """

    states = 1  # h
    axes: ClassVar[dict[str, tuple[Axis, ...]]] = {
        "input_kernel": (("inputs",), ("units",) * 3),
        "hidden_kernel": (("units",), ("units",) * 3),
        "bias": (("units",) * 3,),
        "hidden_bias": (("units",),),
    }

    def __init__(self, inputs: int, units: int, *, rng: np.random.Generator) -> None:
        self.units = units
        kernel = glorot_uniform(rng, inputs + units, 3 * units)
        self.input_kernel = nnx.Param(kernel[:inputs])
        self.hidden_kernel = nnx.Param(kernel[inputs:])
        self.bias = nnx.Param(np.zeros(3 * units, np.float32))
        self.hidden_bias = nnx.Param(np.zeros(units, np.float32))

    def __call__(self, state: CellState, x: jax.Array) -> CellState:
        """Take the step from ``state`` (h,) with input ``x`` [B, I]."""
        (h,) = state
        a_r, a_z, a_n = jnp.split(x @ self.input_kernel[...] + self.bias[...], 3, axis=-1)
        b_r, b_z, b_n = jnp.split(h @ self.hidden_kernel[...], 3, axis=-1)
        z = jax.nn.sigmoid(a_z + b_z)
        n = jnp.tanh(a_n + jax.nn.sigmoid(a_r + b_r) * (b_n + self.hidden_bias[...]))
        return ((1 - z) * n + z * h,)


Cell = LSTMCell | PeepholeLSTMCell | GRUCell

CELLS: dict[CellName, type[Cell]] = {
    "lstm": LSTMCell,
    "peephole_lstm": PeepholeLSTMCell,
    "gru": GRUCell,
}
