"""Optimizers: the host-made first state is optax's, and steps by hand."""

from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foretune.models.config import OptimizerName
from foretune.models.training.optimizers import gradient_transformation, initial_optimizer_state

NAMES = get_args(OptimizerName)
PARAMS = {"kernel": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float32)}


def gradients(numbers: np.random.Generator, size: float) -> Any:
    """Random gradients whose global norm is ``size``, in float64."""
    raw = jax.tree.map(lambda leaf: numbers.normal(size=leaf.shape), PARAMS)
    norm = np.sqrt(sum((leaf**2).sum() for leaf in raw.values()))
    return {name: size * leaf / norm for name, leaf in raw.items()}


def updates(name: OptimizerName, clip_norm: float, steps: list[Any]) -> list[Any]:
    """The updates that the transformation makes of one gradient after the other."""
    rule = gradient_transformation(name, clip_norm)
    state, result = initial_optimizer_state(name, PARAMS), []
    for step in steps:
        update, state = rule.update(jax.tree.map(jnp.float32, step), state, PARAMS)
        result.append(update)
    return result


@pytest.mark.parametrize("name", NAMES)
def test_the_first_state_is_optaxs(name: OptimizerName) -> None:
    theirs = gradient_transformation(name, 1.0).init(PARAMS)
    ours = initial_optimizer_state(name, PARAMS)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for our_leaf, their_leaf in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert our_leaf.dtype == their_leaf.dtype
        np.testing.assert_array_equal(our_leaf, their_leaf)


CLIPPED = pytest.mark.parametrize(("size", "clipped_to"), [(0.5, 0.5), (40.0, 2.0)])


@CLIPPED
@pytest.mark.parametrize(("name", "weight_decay"), [("adam", 0.0), ("adamw", 1e-4)])
def test_adam_by_hand(
    numbers: np.random.Generator,
    name: OptimizerName,
    weight_decay: float,
    size: float,
    clipped_to: float,
) -> None:
    # Kingma & Ba (2015), algorithm 1, of gradients clipped to a global norm of 2; with the
    # decoupled decay of Loshchilov & Hutter (2019), algorithm 2, of weights that are all 1.
    steps = [gradients(numbers, size), gradients(numbers, size)]
    ours = updates(name, 2.0, steps)
    for leaf in PARAMS:
        first, second = 0.0, 0.0
        for number, (step, update) in enumerate(zip(steps, ours, strict=True), start=1):
            gradient = step[leaf] * clipped_to / size
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            expected = (first / (1 - 0.9**number)) / (np.sqrt(second / (1 - 0.999**number)) + 1e-8)
            np.testing.assert_allclose(update[leaf], expected + weight_decay, rtol=2e-5)


@CLIPPED
def test_rmsprop_by_hand(numbers: np.random.Generator, size: float, clipped_to: float) -> None:
    # Tieleman & Hinton (2012), lecture 6.5.
    steps = [gradients(numbers, size), gradients(numbers, size)]
    ours = updates("rmsprop", 2.0, steps)
    for leaf in PARAMS:
        mean_square = 0.0
        for step, update in zip(steps, ours, strict=True):
            gradient = step[leaf] * clipped_to / size
            mean_square = 0.9 * mean_square + 0.1 * gradient**2
            expected = gradient / np.sqrt(mean_square + 1e-8)
            np.testing.assert_allclose(update[leaf], expected, rtol=1e-4)


@CLIPPED
def test_momentum_by_hand(numbers: np.random.Generator, size: float, clipped_to: float) -> None:
    steps = [gradients(numbers, size), gradients(numbers, size)]
    ours = updates("sgd_momentum", 2.0, steps)
    for leaf in PARAMS:
        first, second = (step[leaf] * clipped_to / size for step in steps)
        np.testing.assert_allclose(ours[0][leaf], first, rtol=1e-5)
        np.testing.assert_allclose(ours[1][leaf], second + 0.9 * first, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_zero_stay_harmless(name: OptimizerName) -> None:
    # Weights that are 0 stay 0: what layers padded to a common width rest on.
    zero = jax.tree.map(np.zeros_like, PARAMS)
    update, _ = gradient_transformation(name, 1.0).update(
        zero, initial_optimizer_state(name, zero), zero
    )
    for leaf in jax.tree.leaves(update):
        np.testing.assert_array_equal(leaf, np.zeros_like(leaf))
