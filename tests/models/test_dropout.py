"""Dropout masks: their values, their share, and a rate that compiles nothing."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foretune.models.compiles import compile_count
from foretune.models.dropout import dropout_mask
from foretune.models.stacked import _layer_masks

SHAPE = (50, 40, 50)
SIZE = 100_000
draw = jax.jit(dropout_mask, static_argnums=2)


@settings(deadline=None, max_examples=40)
@given(st.floats(0, 0.9990234375, width=32), st.integers(0, 2**32 - 1))
def test_a_share_near_the_rate_is_zero_and_the_rest_makes_up_for_it(rate: float, seed: int) -> None:
    mask = np.asarray(draw(jax.random.key(seed), jnp.float32(rate), SHAPE))
    assert mask.shape == SHAPE
    assert mask.dtype == np.float32
    kept = np.float32(1) / (np.float32(1) - np.float32(rate))
    assert set(np.unique(mask).tolist()) <= {0.0, float(kept)}
    # Six standard deviations of the binomial, and the rate's rounding to 1 in 65,536.
    deviation = (rate * (1 - rate) / SIZE) ** 0.5
    assert abs((mask == 0).mean() - rate) <= 6 * deviation + 1 / 65536


def test_rate_zero_drops_nothing() -> None:
    assert (np.asarray(draw(jax.random.key(0), jnp.float32(0), SHAPE)) == 1).all()


def test_elements_are_independent() -> None:
    mask = np.asarray(draw(jax.random.key(1), jnp.float32(0.5), SHAPE)) == 0
    for axis in range(3):
        neighbours = (np.roll(mask, 1, axis) == mask).mean()
        assert abs(neighbours - 0.5) < 6 * 0.5 / SIZE**0.5


def test_the_key_decides_the_mask() -> None:
    rate = jnp.float32(0.5)
    first, same, other = (draw(jax.random.key(seed), rate, SHAPE) for seed in (2, 2, 3))
    assert (first == same).all()
    assert abs(float((first == other).mean()) - 0.5) < 6 * 0.5 / SIZE**0.5


def test_another_rate_compiles_nothing() -> None:
    key, rates = jax.random.key(4), [jnp.float32(rate) for rate in (0.1, 0.2, 0.7)]
    draw(key, rates[0], SHAPE)
    before = compile_count()
    masks = [draw(key, rate, SHAPE) for rate in rates]
    assert compile_count() == before
    assert len({float(mask.max()) for mask in masks}) == 3


def test_a_wider_layers_masks_begin_with_those_of_a_narrower_one() -> None:
    masks = jax.jit(_layer_masks, static_argnums=(2, 3))
    wide, narrow = (masks(jax.random.key(5), jnp.float32(0.4), (6, 4), units) for units in (8, 3))
    for wide_mask, narrow_mask in zip(wide, narrow, strict=True):
        assert wide_mask.shape == (6, 4, 8)
        np.testing.assert_array_equal(wide_mask[..., :3], narrow_mask)
    # Outputs and carried state have masks of their own.
    assert (wide[0] != wide[1]).any()
