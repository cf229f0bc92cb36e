"""Cells: against NumPy in float64 and against Flax's own."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foretune.models.cells import LSTMCell, glorot_uniform

INPUTS, UNITS, BATCH = 2, 3, 4


@pytest.fixture
def cell(numbers: np.random.Generator) -> LSTMCell:
    cell = LSTMCell(INPUTS, UNITS, rng=numbers)
    cell.bias[...] = jnp.asarray(numbers.normal(size=4 * UNITS), jnp.float32)
    return cell


@pytest.fixture
def step(numbers: np.random.Generator) -> Any:
    """Draw (h, c) and x."""
    h, c = numbers.normal(size=(2, BATCH, UNITS)).astype(np.float32)
    return (h, 2 * c), numbers.normal(size=(BATCH, INPUTS)).astype(np.float32)


def test_a_step_agrees_with_numpy(cell: LSTMCell, step: Any, oracle: SimpleNamespace) -> None:
    (h, c), x = step
    expected = oracle.lstm_step(
        np.float64(cell.kernel[...]), np.float64(cell.bias[...]), (np.float64(h), np.float64(c)), x
    )
    result = cell((jnp.asarray(h), jnp.asarray(c)), jnp.asarray(x))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_a_step_by_hand() -> None:
    cell = LSTMCell(1, 1, rng=np.random.default_rng(0))
    cell.kernel[...] = jnp.array([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 3.0]])
    cell.bias[...] = jnp.array([0.0, 0.5, 0.0, -1.0])
    # i = s(1), f = s(0.5 + 0.5), g = tanh(2), o = s(1.5 - 1) with x = 1, h = 0.5, c = 2.
    # s(1) = 0.7310586, tanh(2) = 0.9640276, s(0.5) = 0.6224593:
    # c = 2 * 0.7310586 + 0.7310586 * 0.9640276 = 2.1668778, h = 0.6224593 * 0.9741035.
    h, c = cell((jnp.array([[0.5]]), jnp.array([[2.0]])), jnp.array([[1.0]]))
    assert float(c[0, 0]) == pytest.approx(2.1668778, abs=1e-6)
    assert float(h[0, 0]) == pytest.approx(0.6063398, abs=1e-6)


def test_a_step_agrees_with_flaxs_optimized_cell(cell: LSTMCell, step: Any) -> None:
    (h, c), x = jax.tree.map(jnp.asarray, step)
    theirs = nnx.OptimizedLSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(0))
    theirs.dense_i.kernel[...] = cell.kernel[...][:INPUTS]
    theirs.dense_h.kernel[...] = cell.kernel[...][INPUTS:]
    theirs.dense_h.bias[...] = cell.bias[...]
    (their_c, their_h), _ = theirs((c, h), x)
    np.testing.assert_allclose(cell((h, c), x), (their_h, their_c), rtol=1e-5, atol=1e-6)


def test_a_step_agrees_with_flaxs_cell(cell: LSTMCell, step: Any) -> None:
    (h, c), x = jax.tree.map(jnp.asarray, step)
    theirs = nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(0))
    kernels = jnp.split(cell.kernel[...], 4, axis=1)
    biases = jnp.split(cell.bias[...], 4)
    gates = [(theirs.ii, theirs.hi), (theirs.if_, theirs.hf), (theirs.ig, theirs.hg)]
    gates.append((theirs.io, theirs.ho))
    for (of_input, of_state), kernel, bias in zip(gates, kernels, biases, strict=True):
        of_input.kernel[...] = kernel[:INPUTS]
        of_state.kernel[...], of_state.bias[...] = kernel[INPUTS:], bias
    (their_c, their_h), _ = theirs((c, h), x)
    np.testing.assert_allclose(cell((h, c), x), (their_h, their_c), rtol=1e-5, atol=1e-6)


def test_the_forget_gates_bias_starts_at_one_and_the_others_at_zero() -> None:
    bias = LSTMCell(2, 3, rng=np.random.default_rng(0)).bias[...]
    assert bias.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]


def test_weights_are_uniform_within_glorots_limit() -> None:
    weights = glorot_uniform(np.random.default_rng(1), 40, 60)
    limit = (6 / 100) ** 0.5
    assert weights.shape == (40, 60)
    assert weights.dtype == np.float32
    # Near but never beyond; 2,400 draws miss the last hundredth on both sides with 1e-10.
    assert 0.99 * limit < abs(weights).max() <= np.float32(limit)
    # Variance of a uniform draw, limit^2 / 3 = 2 / (rows + columns); its error is about 2 %.
    assert weights.var() == pytest.approx(2 / 100, rel=0.08)
    assert abs(weights.mean()) < 4 * (0.02 / 2400) ** 0.5


def test_the_generator_alone_decides_the_weights() -> None:
    first, same, other = (
        np.asarray(LSTMCell(2, 3, rng=np.random.default_rng(seed)).kernel[...])
        for seed in (5, 5, 6)
    )
    assert first.shape == (5, 12)
    np.testing.assert_array_equal(first, same)
    assert (first != other).all()
