"""The hand-written LSTM gradient against automatic differentiation of the cell."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foretune.models.networks import lstm_unroll as module
from foretune.models.networks.lstm_unroll import lstm_unroll

DAYS, BATCH, UNITS = 7, 5, 6


def by_autodiff(kernel: Any, bias: Any, state: Any, inputs: Any, mask: Any) -> Any:
    """The textbook's layer, left to automatic differentiation."""

    def step(state: Any, x_and_mask: Any) -> Any:
        (h, c), (x, mask) = state, x_and_mask
        i, f, g, o = jnp.split(jnp.concatenate([x, h], -1) @ kernel + bias, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h if mask is None else h * mask, c), h

    state, outputs = jax.lax.scan(step, state, (inputs, mask))
    return outputs, state


def scalar(unroll: Any, weights: Any, *arguments: Any) -> Any:
    """Depends on every output and on both parts of the last state."""
    outputs, (h, c) = unroll(*arguments)
    w_outputs, w_h, w_c = weights
    return jnp.sum(outputs * w_outputs) + jnp.sum(h * w_h) + jnp.sum(c**2 * w_c)


@pytest.mark.parametrize("backend", ["cpu", "an accelerator"])
@pytest.mark.parametrize("with_mask", [True, False])
@pytest.mark.parametrize("inputs", [1, 4])
def test_gradients_are_those_of_autodiff(
    inputs: int, with_mask: bool, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.jax, "default_backend", lambda: backend)
    rng = np.random.default_rng(inputs)

    def drawn(*shape: int) -> Any:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    arguments = (
        drawn(inputs + UNITS, 4 * UNITS),
        drawn(4 * UNITS),
        (drawn(BATCH, UNITS), drawn(BATCH, UNITS)),
        drawn(DAYS, BATCH, inputs),
    )
    mask = jnp.float32(rng.random((DAYS, BATCH, UNITS)) > 0.3) / 0.7 if with_mask else None
    weights = drawn(DAYS, BATCH, UNITS), drawn(BATCH, UNITS), drawn(BATCH, UNITS)
    values, gradients = [], []
    for unroll in (lstm_unroll, by_autodiff):
        of = jax.value_and_grad(partial(scalar, unroll, weights), argnums=(0, 1, 2, 3))
        value, gradient = jax.jit(of)(*arguments, mask)
        values.append(value)
        gradients.append(gradient)
    np.testing.assert_allclose(*values, rtol=1e-5)
    for ours, expected in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    # Not vacuous: gradients of every argument are far from zero.
    assert all(abs(np.asarray(leaf)).max() > 0.01 for leaf in jax.tree.leaves(gradients[0]))


def test_a_gate_at_its_ends_keeps_its_precision() -> None:
    """sigmoid(a) is computed as tanh(a / 2) / 2 + 1 / 2: to 1e-7 of 1, whatever a."""
    for level in (-30.0, -8.0, 0.0, 8.0, 30.0):
        kernel, bias = jnp.zeros((2, 4)), jnp.full(4, level)
        state = (jnp.zeros((1, 1)), jnp.ones((1, 1)))
        inputs = jnp.zeros((1, 1, 1))
        ours, _ = lstm_unroll(kernel, bias, state, inputs, None)
        gate = 1 / (1 + np.exp(-np.float64(level)))
        expected = gate * np.tanh(gate + gate * np.tanh(np.float64(level)))
        np.testing.assert_allclose(float(ours[0, 0, 0]), expected, atol=2e-7)
