"""StackedRNN: unrolls, their gradients and dropout against NumPy."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foretune.models.config import TrialConfig
from foretune.models.networks.dropout import dropout_masks
from foretune.models.networks.params import network
from foretune.models.networks.randomness import fold_in, random_key
from foretune.models.networks.stacked import Architecture, StackedRNN

# Two layers of different widths, 6 days, 4 sequences.
ARCHITECTURE = Architecture(cell="lstm", units=(3, 2))
DAYS, BATCH = 6, 4
KEY = partial(random_key, 7)


def random_model(architecture: Architecture, numbers: np.random.Generator) -> StackedRNN:
    """A network none of whose weights is at a special first value, such as a bias of 0."""
    graph, params = nnx.split(StackedRNN(architecture, rng=numbers))
    noise = jax.tree.map(
        lambda leaf: jnp.float32(leaf + 0.3 * numbers.normal(size=leaf.shape)), params
    )
    model: StackedRNN = nnx.merge(graph, noise)
    return model


@pytest.fixture
def model(numbers: np.random.Generator) -> StackedRNN:
    return random_model(ARCHITECTURE, numbers)


@pytest.fixture
def inputs(numbers: np.random.Generator) -> Any:
    return numbers.normal(size=(DAYS, BATCH, 1)).astype(np.float32)


def random_state(model: StackedRNN, numbers: np.random.Generator) -> Any:
    """A state such as an unroll before this one could have left."""
    return jax.tree.map(
        lambda part: jnp.float32(np.tanh(numbers.normal(size=part.shape))), model.zero_state(BATCH)
    )


def in_float64(state: Any) -> Any:
    return [tuple(np.array(part, np.float64) for part in layer) for layer in state]


def same_state(ours: Any, expected: Any) -> None:
    for our_layer, layer in zip(ours, expected, strict=True):
        for our_part, part in zip(our_layer, layer, strict=True):
            np.testing.assert_allclose(our_part, part, rtol=1e-4, atol=1e-5)


def test_the_architecture_is_what_the_config_says() -> None:
    config = TrialConfig(units=(5, 4), learning_rate=0.5)
    assert Architecture.of(config) == Architecture(cell="lstm", units=(5, 4))
    assert hash(Architecture.of(config)) == hash(Architecture(cell="lstm", units=(5, 4)))


def test_weights_have_the_tutorials_shapes_and_ranges() -> None:
    model = StackedRNN(Architecture("lstm", (6, 5)), rng=np.random.default_rng(0))
    shapes = [layer.kernel.shape for layer in model.layers]
    assert shapes == [(1 + 6, 4 * 6), (6 + 5, 4 * 5)]
    assert (model.head_kernel.shape, model.head_bias.shape) == ((5, 1), (1,))
    assert abs(model.head_kernel[...]).max() <= 1.0  # sqrt(6 / (5 + 1))
    heads = [
        float(StackedRNN(Architecture("lstm", (1,)), rng=np.random.default_rng(seed)).head_bias[0])
        for seed in range(200)
    ]
    assert max(np.abs(heads)) <= 0.1
    assert min(heads) < -0.09
    assert max(heads) > 0.09


def test_the_first_state_is_zero(model: StackedRNN) -> None:
    state = model.zero_state(BATCH)
    assert [[part.shape for part in layer] for layer in state] == [[(4, 3)] * 2, [(4, 2)] * 2]
    assert all(not np.asarray(part).any() for layer in state for part in layer)


def test_an_unroll_agrees_with_numpy(
    model: StackedRNN, inputs: Any, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    state = random_state(model, numbers)
    stack = oracle.NumpyStack.of(model)
    expected, expected_state = stack.unroll(in_float64(state), inputs)
    features, new_state = model.unroll(state, jnp.asarray(inputs))
    assert features.shape == (DAYS, BATCH, 2)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    outputs = model.next_segment(features)
    assert outputs.shape == (DAYS, BATCH, 1)
    np.testing.assert_allclose(outputs, stack.next_segment(expected), rtol=1e-4, atol=1e-5)
    same_state(new_state, expected_state)


def test_steps_agree_with_numpy(model: StackedRNN, inputs: Any, oracle: SimpleNamespace) -> None:
    stack = oracle.NumpyStack.of(model)
    state, expected_state = model.zero_state(BATCH), stack.zero_state(BATCH)
    for x in inputs[:3]:
        state, output = model.step(state, jnp.asarray(x))
        expected_state, expected = stack.step(expected_state, x)
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)
    same_state(state, expected_state)


def test_two_unrolls_with_the_state_carried_are_one_long_unroll(
    model: StackedRNN, inputs: Any, oracle: SimpleNamespace
) -> None:
    stack = oracle.NumpyStack.of(model)
    expected, _ = stack.unroll(stack.zero_state(BATCH), inputs)
    first, state = model.unroll(model.zero_state(BATCH), jnp.asarray(inputs[:3]))
    second, _ = model.unroll(state, jnp.asarray(inputs[3:]))
    np.testing.assert_allclose(np.vstack([first, second]), expected, rtol=1e-4, atol=1e-5)
    # Not vacuous: from a zero state the second half is another.
    forgotten, _ = model.unroll(model.zero_state(BATCH), jnp.asarray(inputs[3:]))
    assert abs(forgotten - expected[3:]).max() > 1e-3


# A scalar that depends on every output and on all of the last state: both have cotangents.
OF_OUTPUTS = np.random.default_rng(3).normal(size=(DAYS, BATCH, 1))
OF_H, OF_MEMORY = [3, -2], [1, 2]


@partial(jax.jit, static_argnames="architecture")
@partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
def gradients(
    params: Any, state: Any, inputs: jax.Array, rate: jax.Array, *, architecture: Architecture
) -> Any:
    """Gradients of that scalar; and of the unroll the outputs, state and masks drawn for it."""
    model = network(architecture, params)
    features, new_state = model.unroll(state, inputs, dropout_key=KEY(), dropout=rate)
    outputs = model.next_segment(features)
    masks = [
        dropout_masks(fold_in(KEY(), number), rate, DAYS, BATCH, units)
        for number, units in enumerate(architecture.units)
    ]
    return scalar(outputs, new_state, jnp), (outputs, new_state, masks)


def scalar(outputs: Any, new_state: Any, library: Any) -> Any:
    total = library.sum(outputs * library.asarray(OF_OUTPUTS, outputs.dtype))
    for h_weight, memory_weight, (h, *memory) in zip(OF_H, OF_MEMORY, new_state, strict=False):
        total += h_weight * library.sum(h) + memory_weight * sum(library.sum(m**2) for m in memory)
    return total


@pytest.mark.parametrize(
    "architecture",
    [ARCHITECTURE, Architecture("peephole_lstm", (3,)), Architecture("gru", (3,))],
    ids=lambda architecture: architecture.cell,
)
def test_unrolls_with_dropout_and_their_gradients_agree_with_numpy(
    architecture: Architecture, inputs: Any, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    # Gradients of the weights, the first state and the inputs, by finite differences in float64.
    model = random_model(architecture, numbers)
    params, state = nnx.split(model)[1], random_state(model, numbers)
    for rate in (0.0, 0.4):
        ours, (outputs, new_state, masks) = gradients(
            params, state, inputs, jnp.float32(rate), architecture=architecture
        )
        stack, masks = oracle.NumpyStack.of(model), in_float64(masks)
        first, read = in_float64(state), np.float64(inputs)
        features, expected_state = stack.unroll(first, read, masks)
        expected = stack.next_segment(features)
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
        same_state(new_state, expected_state)

        def value(stack: Any = stack, first: Any = first, read: Any = read, m: Any = masks) -> Any:
            features, state = stack.unroll(first, read, m)
            return scalar(stack.next_segment(features), state, np)

        of_params, of_first, of_inputs = ours
        of_weights = oracle.NumpyStack.of_params(architecture, of_params).arrays
        arrays = [*stack.arrays, *(part for layer in first for part in layer), read]
        for gradient, array in zip(
            [*of_weights, *jax.tree.leaves(of_first), of_inputs], arrays, strict=True
        ):
            differences = oracle.finite_differences(value, array)
            np.testing.assert_allclose(gradient, differences, rtol=1e-3, atol=1e-4)
        # Not vacuous: something was dropped, or nothing.
        dropped = [(mask == 0).mean() for layer in masks for mask in layer]
        assert all(share == 0 if rate == 0 else 0.1 < share < 0.7 for share in dropped)


def test_outputs_and_carried_state_are_both_dropped_each_day_anew() -> None:
    # One unit, many sequences of the same two days: what was dropped can be read off.
    rate, batch = 0.3, 4000
    model = StackedRNN(Architecture("lstm", (1,)), rng=np.random.default_rng(2))
    inputs = jnp.full((1, batch, 1), 0.7)

    def run(state: Any, **dropout: Any) -> tuple[Any, Any, Any]:
        features, new_state = model.unroll(state, inputs, **dropout)
        ((h, c),) = new_state
        said = np.asarray(features)[0, :, 0]
        return said, np.asarray(h)[:, 0], (np.asarray(c)[:, 0], new_state)

    zero = model.zero_state(batch)
    plain_said, plain_h, (plain_c, _) = run(zero)
    np.testing.assert_allclose(plain_said, plain_h, rtol=1e-4)
    key = random_key(9)
    said, h, (c, state) = run(zero, dropout_key=key, dropout=rate)

    # Each is dropped or scaled by 1 / (1 - rate); memory is never dropped.
    kept_value = plain_h[0] / (1 - rate)
    for values in (said, h):
        dropped = np.isclose(values, 0, atol=1e-5)
        assert np.isclose(values, kept_value, rtol=1e-3)[~dropped].all()
        assert abs(dropped.mean() - rate) < 6 * (rate * (1 - rate) / batch) ** 0.5
    np.testing.assert_array_equal(c, plain_c)
    # Independently of each other.
    both = (np.isclose(said, 0, atol=1e-5) & (h == 0)).mean()
    assert abs(both - rate**2) < 6 * (rate**2 / batch) ** 0.5
    # The next day reads the dropped state: sequences that lost it say another thing.
    next_said, _, _ = run(state)
    assert np.ptp(next_said[h == 0]) < 1e-5
    assert abs(next_said[h == 0][0] - next_said[h != 0][0]) > 1e-4


def test_without_a_key_nothing_is_dropped(model: StackedRNN, inputs: Any) -> None:
    state = model.zero_state(BATCH)
    plain, _ = model.unroll(state, jnp.asarray(inputs))
    still_plain, _ = model.unroll(state, jnp.asarray(inputs), dropout=0.9)
    np.testing.assert_array_equal(plain, still_plain)
