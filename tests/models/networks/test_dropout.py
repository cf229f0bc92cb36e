"""Dropout masks: their values, their share, and a rate that compiles nothing."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretune.models.networks.dropout import dropout_masks
from foretune.models.networks.randomness import fold_in, random_key
from foretune.models.runtime.compile import compile_count

SHAPE = (50, 40, 50)
SIZE = 100_000
draw_both = jax.jit(dropout_masks, static_argnums=(2, 3, 4))


def draw(key: jax.Array, rate: jax.Array, shape: tuple[int, int, int]) -> jax.Array:
    """The mask of the outputs; the other is another half of the same words."""
    return draw_both(key, rate, *shape)[0]


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 0.9990234375, width=32), st.integers(0, 2**32 - 1))
def test_a_share_near_the_rate_is_zero_and_the_rest_makes_up_for_it(rate: float, seed: int) -> None:
    mask = np.asarray(draw(random_key(seed), jnp.float32(rate), SHAPE))
    assert mask.shape == SHAPE
    assert mask.dtype == np.float32
    kept = np.float32(1) / (np.float32(1) - np.float32(rate))
    assert set(np.unique(mask).tolist()) <= {0.0, float(kept)}
    # Six standard deviations of the binomial, and the rate's rounding to 1 in 65,536.
    deviation = (rate * (1 - rate) / SIZE) ** 0.5
    assert abs((mask == 0).mean() - rate) <= 6 * deviation + 1 / 65536


def test_rate_zero_drops_nothing() -> None:
    assert (np.asarray(draw(random_key(0), jnp.float32(0), SHAPE)) == 1).all()


def share_of_equal(first: np.ndarray, second: np.ndarray) -> float:
    return float((first == second).mean())


@pytest.mark.parametrize("seed", range(5))
def test_elements_are_independent(seed: int) -> None:
    masks = draw_both(random_key(seed), jnp.float32(0.5), *SHAPE)
    outputs, state = (np.asarray(mask) == 0 for mask in masks)
    tolerance = 6 * 0.5 / SIZE**0.5
    for mask in (outputs, state):
        for axis in range(3):
            for lag in (1, 2, 7):
                assert abs(share_of_equal(np.roll(mask, lag, axis), mask) - 0.5) < tolerance
        # Every sequence, unit and day has its share.
        for axes in ((0, 1), (0, 2), (1, 2)):
            assert abs(mask.mean(axes) - 0.5).max() < 6 * 0.5 / 2000**0.5
    assert abs(share_of_equal(outputs, state) - 0.5) < tolerance


def test_keys_of_neighbouring_steps_are_independent() -> None:
    keys = [fold_in(random_key(0), step) for step in range(20)]
    masks = [np.asarray(draw(key, jnp.float32(0.5), SHAPE)) == 0 for key in keys]
    for first, second in itertools.combinations(masks, 2):
        assert abs(share_of_equal(first, second) - 0.5) < 6 * 0.5 / SIZE**0.5


def test_the_key_decides_the_mask() -> None:
    rate = jnp.float32(0.5)
    first, same, other = (draw(random_key(seed), rate, SHAPE) for seed in (2, 2, 3))
    assert (first == same).all()
    assert abs(float((first == other).mean()) - 0.5) < 6 * 0.5 / SIZE**0.5


def test_another_rate_compiles_nothing() -> None:
    key, rates = random_key(4), [jnp.float32(rate) for rate in (0.1, 0.2, 0.7)]
    draw(key, rates[0], SHAPE)
    before = compile_count()
    masks = [draw(key, rate, SHAPE) for rate in rates]
    assert compile_count() == before
    assert len({float(mask.max()) for mask in masks}) == 3


def test_a_wider_layers_masks_begin_with_those_of_a_narrower_one() -> None:
    wide, narrow = (draw_both(random_key(5), jnp.float32(0.4), 6, 4, units) for units in (8, 3))
    for wide_mask, narrow_mask in zip(wide, narrow, strict=True):
        assert wide_mask.shape == (6, 4, 8)
        np.testing.assert_array_equal(wide_mask[..., :3], narrow_mask)
    # Outputs and carried state have masks of their own.
    assert (wide[0] != wide[1]).any()
