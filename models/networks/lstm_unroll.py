"""One LSTM layer over a whole unroll, with its gradient written by hand.

Automatic differentiation of a scan saves what is cheap to derive and derives what is cheap to save.
Here the forward pass saves, for each day, the factors that the backward pass multiplies by, so that
its scan is left with two matrix products and a handful of multiplications.

Two properties of XLA's CPU compiler decide the form. It does not vectorise a fusion that slices its
operand: activations are therefore computed on all four gates at once (``sigmoid(a)`` is
``tanh(a / 2) / 2 + 1 / 2``), and kept out of the fusions that cut the gates apart. And it computes
the input's share of the product faster inside the scan than hoisted out of it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

LSTMState = tuple[jax.Array, jax.Array]  # h and c, [B, H] each


@jax.custom_vjp
def lstm_unroll(
    kernel: jax.Array,
    bias: jax.Array,
    state: LSTMState,
    inputs: jax.Array,
    state_mask: jax.Array | None,
) -> tuple[jax.Array, LSTMState]:
    """Run an LSTM layer (:class:`foretune.models.networks.cells.LSTMCell`) over ``inputs``.

    Args:
        kernel: weights of inputs and h [I + H, 4H], gates i, f, g, o.
        bias: [4H].
        state: h and c before the first day.
        inputs: features [T, B, I].
        state_mask: what h is multiplied by before the next day reads it [T, B, H], or None. Its
            own gradient is not computed.

    Returns:
        Outputs [T, B, H], each day's h before its mask, and the state after the last day.
    """
    scale = _tanh_scale(kernel)
    kernel, bias = kernel * scale, bias * scale

    def step(
        state: LSTMState, x_and_mask: tuple[jax.Array, jax.Array | None]
    ) -> tuple[LSTMState, jax.Array]:
        x, mask = x_and_mask
        activations = _gates(jnp.concatenate([x, state[0]], axis=-1), kernel, bias)
        c, _, h = _advance(activations, state[1])
        return (_masked(h, mask), c), h

    state, outputs = jax.lax.scan(step, state, (inputs, state_mask))
    return outputs, state


def _forward(
    kernel: jax.Array,
    bias: jax.Array,
    state: LSTMState,
    inputs: jax.Array,
    state_mask: jax.Array | None,
) -> tuple[tuple[jax.Array, LSTMState], Any]:
    """Run the layer and save what :func:`_backward` needs."""
    scale = _tanh_scale(kernel)
    scaled_kernel, scaled_bias = kernel * scale, bias * scale

    def step(
        state: LSTMState, x_and_mask: tuple[jax.Array, jax.Array | None]
    ) -> tuple[LSTMState, Any]:
        x, mask = x_and_mask
        features = jnp.concatenate([x, state[0]], axis=-1)
        activations = _gates(features, scaled_kernel, scaled_bias)
        c, tanh_c, h = _advance(activations, state[1])
        i, f, g, o = _cut(activations)
        # d(gates before activation) = (dc, dc, dc, dh) * to_gates
        partners = _prevent_fusion(jnp.concatenate([g, state[1], i, tanh_c], axis=-1))
        to_gates = partners * (scale * scale * (1 - activations * activations))
        saved = (features, to_gates, _prevent_fusion(f), o * (1 - tanh_c * tanh_c))
        return (_masked(h, mask), c), (h, saved)

    state, (outputs, saved) = jax.lax.scan(step, state, (inputs, state_mask))
    return (outputs, state), (kernel, state_mask, saved)


def _backward(residuals: Any, cotangents: tuple[jax.Array, LSTMState]) -> tuple[Any, ...]:
    """Turn cotangents of outputs and last state into gradients of everything but the mask."""
    kernel, state_mask, saved = residuals
    d_outputs, (d_h, d_c) = cotangents
    batch, units = d_h.shape
    n_inputs = kernel.shape[0] - units
    transposed, ones = kernel.T, jnp.ones((1, batch), kernel.dtype)

    def step(carry: Any, day: Any) -> tuple[Any, jax.Array]:
        d_h, d_c, d_kernel, d_bias = carry
        d_output, mask, (features, to_gates, f, to_c) = day
        d_h = _masked(d_h, mask) + d_output
        d_h, d_c = _prevent_fusion((d_h, d_c + d_h * to_c))
        d_gates = _prevent_fusion(
            _prevent_fusion(jnp.concatenate([d_c, d_c, d_c, d_h], axis=-1)) * to_gates
        )
        if n_inputs == 1:
            # A product with one column is slow in any GEMM; in the first layer the gradient of the
            # input is not used, and the compiler drops it.
            d_input, d_h = d_gates @ transposed[:, :1], d_gates @ transposed[:, 1:]
        else:
            d_features = d_gates @ transposed
            d_input, d_h = d_features[:, :n_inputs], d_features[:, n_inputs:]
        d_kernel += jax.lax.dot_general(features, d_gates, (((0,), (0,)), ((), ())))
        # A product with ones: XLA's CPU compiler sums over the batch several times slower.
        d_bias += ones @ d_gates
        return (d_h, d_c * f, d_kernel, d_bias), d_input

    zeros = jnp.zeros_like(kernel), jnp.zeros((1, kernel.shape[1]), kernel.dtype)
    (d_h, d_c, d_kernel, d_bias), d_inputs = jax.lax.scan(
        step, (d_h, d_c, *zeros), (d_outputs, state_mask, saved), reverse=True
    )
    return d_kernel, d_bias[0], (d_h, d_c), d_inputs, None


lstm_unroll.defvjp(_forward, _backward)


def _tanh_scale(kernel: jax.Array) -> NDArray[np.float32]:
    """Return what each gate is multiplied by [4H], so that tanh serves all four: i, f, g, o."""
    return np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), kernel.shape[1] // 4)


def _gates(features: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    """Return tanh of all scaled gates [B, 4H] of one day."""
    activations: jax.Array = _prevent_fusion(jnp.tanh(features @ kernel + bias))
    return activations


def _cut(activations: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Cut :func:`_gates` [B, 4H] into i, f, g, o [B, H] with their activations."""
    i, f, g, o = jnp.split(activations, 4, axis=-1)
    return 0.5 * i + 0.5, 0.5 * f + 0.5, g, 0.5 * o + 0.5


def _advance(activations: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Take a day's step of the memory ``c`` [B, H]: the new c, its tanh, and h."""
    i, f, g, o = _cut(activations)
    c = _prevent_fusion(f * c + i * g)
    tanh_c = _prevent_fusion(jnp.tanh(c))
    return c, tanh_c, o * tanh_c


def _masked(h: jax.Array, mask: jax.Array | None) -> jax.Array:
    return h if mask is None else h * mask


def _prevent_fusion(arrays: Any) -> Any:
    """Keep ``arrays`` out of the next fusion on the CPU; an accelerator's fusions need no help."""
    if jax.default_backend() != "cpu":
        return arrays
    return jax.lax.optimization_barrier(arrays)  # type: ignore[no-untyped-call]
