"""Cells: against NumPy in float64, against Flax's own, and by hand."""

import math
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foretune.models.config import TrialConfig
from foretune.models.forecasts.predict import WindowOptions
from foretune.models.forecasts.windows import NetworkData
from foretune.models.networks.cells import (
    CELLS,
    Cell,
    GRUCell,
    LSTMCell,
    PeepholeLSTMCell,
    glorot_uniform,
)
from foretune.models.networks.params import initial_params, network
from foretune.models.networks.randomness import random_key
from foretune.models.networks.stacked import Architecture, StackedRNN
from foretune.models.training.epoch import (
    Hyperparameters,
    Program,
    TrainingData,
    TrainState,
    train_step,
)
from foretune.models.training.optimizers import initial_optimizer_state

INPUTS, UNITS, BATCH = 2, 3, 4
NAMES = pytest.mark.parametrize("name", sorted(CELLS))


def random_cell(name: Any, numbers: np.random.Generator) -> Cell:
    """A cell none of whose weights is at its special first value."""
    cell = CELLS[name](INPUTS, UNITS, rng=numbers)
    for weights in (
        cell.bias,
        getattr(cell, "hidden_bias", None),
        getattr(cell, "peepholes", None),
    ):
        if weights is not None:
            weights[...] = jnp.asarray(numbers.normal(size=weights.shape), jnp.float32)
    return cell


def random_step(cell: Cell, numbers: np.random.Generator) -> Any:
    """Draw a state and an input."""
    state = 1.5 * numbers.normal(size=(cell.states, BATCH, UNITS))
    return tuple(jnp.float32(state)), jnp.float32(numbers.normal(size=(BATCH, INPUTS)))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@NAMES
def test_a_step_agrees_with_numpy(
    name: Any, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    cell = random_cell(name, numbers)
    state, x = random_step(cell, numbers)
    in_float64 = tuple(np.float64(part) for part in state)
    expected = oracle.cell_step(oracle.weights_of(cell), in_float64, np.float64(x))
    result = cell(state, x)
    assert len(result) == cell.states
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_an_lstm_step_by_hand() -> None:
    cell = LSTMCell(1, 1, rng=np.random.default_rng(0))
    cell.kernel[...] = jnp.array([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 3.0]])
    cell.bias[...] = jnp.array([0.0, 0.5, 0.0, -1.0])
    # i = s(1), f = s(0.5 + 0.5), g = tanh(2), o = s(1.5 - 1) with x = 1, h = 0.5, c = 2.
    # s(1) = 0.7310586, tanh(2) = 0.9640276, s(0.5) = 0.6224593:
    # c = 2 * 0.7310586 + 0.7310586 * 0.9640276 = 2.1668778, h = 0.6224593 * 0.9741035.
    h, c = cell((jnp.array([[0.5]]), jnp.array([[2.0]])), jnp.array([[1.0]]))
    assert float(c[0, 0]) == pytest.approx(2.1668778, abs=1e-6)
    assert float(h[0, 0]) == pytest.approx(0.6063398, abs=1e-6)


def test_a_peephole_step_by_hand() -> None:
    # Only the peepholes speak: i sees c, f sees c, o sees the new c; g is tanh(0.5).
    cell = PeepholeLSTMCell(1, 1, rng=np.random.default_rng(0))
    cell.kernel[...] = jnp.zeros((2, 4))
    cell.bias[...] = jnp.array([0.0, 0.0, 0.5, 0.0])
    cell.peepholes[...] = jnp.array([[1.0], [2.0], [3.0]])
    h, c = cell((jnp.array([[0.9]]), jnp.array([[0.4]])), jnp.array([[7.0]]))
    expected = sigmoid(0.8) * 0.4 + sigmoid(0.4) * math.tanh(0.5)
    assert float(c[0, 0]) == pytest.approx(expected, abs=1e-6)
    assert float(h[0, 0]) == pytest.approx(sigmoid(3 * expected) * math.tanh(expected), abs=1e-6)


def test_a_gru_step_by_hand() -> None:
    cell = GRUCell(1, 1, rng=np.random.default_rng(0))
    cell.input_kernel[...] = jnp.array([[1.0, 2.0, 3.0]])
    cell.hidden_kernel[...] = jnp.array([[4.0, -1.0, 0.5]])
    cell.bias[...] = jnp.array([0.1, 0.2, 0.3])
    cell.hidden_bias[...] = jnp.array([0.4])
    (h,) = cell((jnp.array([[0.5]]),), jnp.array([[1.0]]))
    reset, update = sigmoid(1 + 0.1 + 4 * 0.5), sigmoid(2 + 0.2 - 0.5)
    new = math.tanh(3 + 0.3 + reset * (0.5 * 0.5 + 0.4))
    assert float(h[0, 0]) == pytest.approx((1 - update) * new + update * 0.5, abs=1e-6)


def test_an_lstm_step_agrees_with_flaxs_optimized_cell(numbers: np.random.Generator) -> None:
    cell = random_cell("lstm", numbers)
    (h, c), x = random_step(cell, numbers)
    theirs = nnx.OptimizedLSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(0))
    theirs.dense_i.kernel[...] = cell.kernel[...][:INPUTS]
    theirs.dense_h.kernel[...] = cell.kernel[...][INPUTS:]
    theirs.dense_h.bias[...] = cell.bias[...]
    (their_c, their_h), _ = theirs((c, h), x)
    np.testing.assert_allclose(cell((h, c), x), (their_h, their_c), rtol=1e-5, atol=1e-6)


def test_an_lstm_step_agrees_with_flaxs_cell(numbers: np.random.Generator) -> None:
    cell = random_cell("lstm", numbers)
    (h, c), x = random_step(cell, numbers)
    theirs = nnx.LSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(0))
    kernels, biases = jnp.split(cell.kernel[...], 4, axis=1), jnp.split(cell.bias[...], 4)
    gates = [(theirs.ii, theirs.hi), (theirs.if_, theirs.hf), (theirs.ig, theirs.hg)]
    gates.append((theirs.io, theirs.ho))
    for (of_input, of_state), kernel, bias in zip(gates, kernels, biases, strict=True):
        of_input.kernel[...] = kernel[:INPUTS]
        of_state.kernel[...], of_state.bias[...] = kernel[INPUTS:], bias
    (their_c, their_h), _ = theirs((c, h), x)
    np.testing.assert_allclose(cell((h, c), x), (their_h, their_c), rtol=1e-5, atol=1e-6)


def test_a_gru_step_agrees_with_flaxs_cell(numbers: np.random.Generator) -> None:
    cell = random_cell("gru", numbers)
    cell.hidden_bias[...] = jnp.zeros(UNITS)  # Flax has none
    (h,), x = random_step(cell, numbers)
    theirs = nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(0))
    theirs.dense_i.kernel[...], theirs.dense_i.bias[...] = cell.input_kernel[...], cell.bias[...]
    theirs.dense_h.kernel[...] = cell.hidden_kernel[...]
    their_h, _ = theirs(h, x)
    np.testing.assert_allclose(cell((h,), x)[0], their_h, rtol=1e-5, atol=1e-6)


def test_peepholes_start_closed(numbers: np.random.Generator) -> None:
    plain = LSTMCell(INPUTS, UNITS, rng=np.random.default_rng(3))
    peephole = PeepholeLSTMCell(INPUTS, UNITS, rng=np.random.default_rng(3))
    state, x = random_step(plain, numbers)
    np.testing.assert_allclose(plain(state, x), peephole(state, x), rtol=1e-6)


@pytest.mark.parametrize("name", ["lstm", "peephole_lstm"])
def test_the_forget_gates_bias_starts_at_one_and_the_others_at_zero(name: Any) -> None:
    bias = CELLS[name](2, 3, rng=np.random.default_rng(0)).bias[...]
    assert bias.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0]


@NAMES
def test_a_unit_without_weights_stays_at_zero(name: Any) -> None:
    # What layers padded to a common width rest on.
    cell = CELLS[name](INPUTS, UNITS, rng=np.random.default_rng(0))
    graph, params = nnx.split(cell)
    cell = nnx.merge(graph, jax.tree.map(jnp.zeros_like, params))
    state = tuple(jnp.zeros((BATCH, UNITS)) for _ in range(cell.states))
    for part in cell(state, jnp.ones((BATCH, INPUTS))):
        assert not np.asarray(part).any()


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


@NAMES
def test_the_generator_alone_decides_the_weights(name: Any) -> None:
    first, same, other = (
        np.concatenate(
            [
                np.ravel(leaf)
                for leaf in jax.tree.leaves(
                    nnx.state(CELLS[name](2, 3, rng=np.random.default_rng(seed)))
                )
            ]
        )
        for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, same)
    gates = 3 if name == "gru" else 4
    assert (first != other).sum() == (2 + 3) * gates * 3


@pytest.mark.parametrize(("name", "parts"), [("lstm", 2), ("peephole_lstm", 2), ("gru", 1)])
def test_a_stack_of_any_cell_unrolls_as_it_steps(
    name: Any, parts: int, numbers: np.random.Generator
) -> None:
    model = StackedRNN(Architecture(name, (UNITS, 2)), rng=numbers)
    for layer, units in zip(model.layers, (UNITS, 2), strict=True):
        layer.bias[...] = jnp.asarray(numbers.normal(size=layer.bias.shape), jnp.float32)
        if name == "peephole_lstm":
            layer.peepholes[...] = jnp.asarray(numbers.normal(size=(3, units)), jnp.float32)
    inputs = jnp.asarray(numbers.normal(size=(5, BATCH, 1)), jnp.float32)
    state = first = model.zero_state(BATCH)
    assert [[part.shape for part in layer] for layer in state] == [
        [(BATCH, UNITS)] * parts,
        [(BATCH, 2)] * parts,
    ]
    said = []
    for x in inputs:
        state, output = model.step(state, x)
        said.append(output)
    outputs, last = model.unroll(first, inputs)
    np.testing.assert_allclose(outputs, said, rtol=1e-5, atol=1e-6)
    assert jax.tree.structure(last) == jax.tree.structure(state)
    for ours, stepped in zip(jax.tree.leaves(last), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(ours, stepped, rtol=1e-5, atol=1e-6)


def padded_places(architecture: Architecture, wide: tuple[int, ...]) -> list[Any]:
    """Where the weights of a network lie in one of wider layers: one index a weight array.

    In the order of the arrays of the NumPy oracle: layer by layer, then the head.
    """
    places: list[Any] = []
    inputs = wide_inputs = 1
    for units, wide_units in zip(architecture.units, wide, strict=True):
        gates = 3 if architecture.cell == "gru" else 4
        columns = np.concatenate([g * wide_units + np.arange(units) for g in range(gates)])
        of_input, of_state = np.arange(inputs), np.arange(units)
        if architecture.cell == "gru":
            places += [np.ix_(of_input, columns), np.ix_(of_state, columns), columns, of_state]
        else:
            rows = np.concatenate([of_input, wide_inputs + of_state])
            places.append(np.ix_(rows, columns))
            if architecture.cell == "peephole_lstm":
                places.append(np.ix_(np.arange(3), of_state))
            places.append(columns)
        inputs, wide_inputs = units, wide_units
    return [*places, np.ix_(np.arange(inputs), [0]), np.arange(1)]


take_step = jax.jit(train_step, static_argnames="program")


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (Architecture("lstm", (2,)), (3,)),
        (Architecture("peephole_lstm", (2, 1)), (4, 2)),
        (Architecture("gru", (2,)), (3,)),
    ],
    ids=["lstm", "peephole_lstm", "gru"],
)
def test_a_network_padded_with_zeros_trains_as_without(
    narrow: Architecture,
    wide: tuple[int, ...],
    numbers: np.random.Generator,
    oracle: SimpleNamespace,
) -> None:
    # The wide one is trained here, the narrow one in NumPy, with gradients by finite differences.
    stack = oracle.NumpyStack.of_params(narrow, initial_params(narrow, 1))
    momentum, recurrent = [0.0 * array for array in stack.arrays], stack.zero_state(3)
    architecture, places = Architecture(narrow.cell, wide), padded_places(narrow, wide)
    state = padded_start(architecture, stack, places)
    series, cursors = numbers.normal(size=40).astype(np.float32), np.array([0, 10, 20])
    program = Program(
        architecture, "sgd_momentum", batch_size=3, unroll_length=4, horizon=1, rows_read=4
    )
    inputs = NetworkData(jnp.asarray(series)[None], jnp.zeros((1, 40, 0)), None)
    data = TrainingData(inputs, jnp.int32(40), jnp.zeros(1, jnp.int32), jnp.array([39], jnp.int32))
    for number in range(3):
        state, loss = take_step(program, data, numbers_of_a_step(0.0), random_key(0), state)
        days = 4 * number + np.arange(4)[:, None] + cursors
        read = np.float64(series[days]), np.float64(series[days + 1])

        def value(recurrent: Any = recurrent, read: Any = read) -> Any:
            return stack.loss(recurrent, *read)

        assert float(loss) == pytest.approx(value(), rel=1e-5)
        gradients = [oracle.finite_differences(value, array) for array in stack.arrays]
        _, recurrent = stack.unroll(recurrent, read[0][:, :, None])
        for array, speed, gradient in zip(stack.arrays, momentum, gradients, strict=True):
            speed *= 0.9
            speed += gradient
            array -= 0.1 * speed
        ours = oracle.NumpyStack.of_params(architecture, state.params).arrays
        for our_array, place, array in zip(ours, places, stack.arrays, strict=True):
            np.testing.assert_allclose(our_array[place], array, rtol=1e-3, atol=1e-5)
    padding_is_zero(state, architecture, narrow, places, oracle)
    # Dropout gives it no life either, nor do jumps.
    for number in range(6):
        key = random_key(number)
        state, _ = take_step(program, data, numbers_of_a_step(0.4), key, state)
    padding_is_zero(state, architecture, narrow, places, oracle)


def numbers_of_a_step(dropout: float) -> Hyperparameters:
    return Hyperparameters(
        learning_rate=jnp.float32(0.1),
        dropout=jnp.float32(dropout),
        clip_norm=jnp.float32(1e6),
        label_offset=jnp.int32(1),
        carry_state=jnp.bool_(True),
        averaging=jnp.float32(0),
        options=jax.tree.map(jnp.asarray, WindowOptions.of(TrialConfig())),
        steps=jnp.int32(1),
        seed=jnp.uint32(0),
        epoch=jnp.int32(1),
    )


def padded_start(architecture: Architecture, stack: Any, places: list[Any]) -> TrainState:
    """The first state of a network whose weights are those of ``stack``, and 0 elsewhere."""
    model = network(architecture, jax.tree.map(np.zeros_like, initial_params(architecture, 0)))
    names = ("kernel", "peepholes", "input_kernel", "hidden_kernel", "bias", "hidden_bias")
    of_layers = [
        getattr(layer, name) for layer in model.layers for name in names if hasattr(layer, name)
    ]
    variables = [*of_layers, model.head_kernel, model.head_bias]
    for variable, place, array in zip(variables, places, stack.arrays, strict=True):
        padded = np.zeros(variable.shape, np.float32)
        padded[place] = array
        variable[...] = jnp.asarray(padded)
    params = nnx.split(model)[1]
    return TrainState(
        params=params,
        optimizer_state=initial_optimizer_state("sgd_momentum", params),
        cursors=jnp.array([0, 10, 20], jnp.int32),
        recurrent_state=model.zero_state(3),
    )


def padding_is_zero(
    state: TrainState,
    architecture: Architecture,
    narrow: Architecture,
    places: list[Any],
    oracle: Any,
) -> None:
    for array, place in zip(
        oracle.NumpyStack.of_params(architecture, state.params).arrays, places, strict=True
    ):
        assert array[place].any()
        array[place] = 0
        assert not array.any(), "a weight of the padding has moved"
    for layer, units in zip(state.recurrent_state, narrow.units, strict=True):
        for part in layer:
            assert np.asarray(part)[:, :units].any()
            assert not np.asarray(part)[:, units:].any(), "a unit of the padding has spoken"
