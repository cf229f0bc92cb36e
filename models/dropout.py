"""Dropout masks with a traced rate, at a small part of what the layer itself costs."""

import jax
import jax.numpy as jnp
import numpy as np


def dropout_masks(
    key: jax.Array, rate: jax.Array | float, steps: int, batch: int, units: int
) -> tuple[jax.Array, jax.Array]:
    """Draw the two masks of one layer for one unroll: of its outputs and of its carried state.

    Every element is 0 with probability ``rate``, met to 1 in 65,536, else ``1 / (1 - rate)``. An
    element's random word is a hash of its key and its place, 16 bits of it for each mask:
    ``jax.random`` would take longer than the LSTM (20 times the time of these masks on a CPU), and
    its draws depend on the whole shape. Here unit ``u`` has the same masks in a layer of any width,
    so that padding a layer changes nothing for its real units. (``nnx.Dropout`` is not used: its
    rate is a constant of the compiled program.)

    Args:
        key: a jax.random key.
        rate: scalar in [0, 1), may be traced.
        steps: days, T.
        batch: sequences, B.
        units: units of the layer, H.

    Returns:
        Two masks [T, B, H].
    """
    words = _hashed_places(key, steps, batch, units)
    keep = 1.0 - jnp.asarray(rate, jnp.float32)
    threshold = jnp.round(keep * 65536).astype(jnp.uint32)
    output_mask, state_mask = (
        jnp.where(half < threshold, 1.0 / keep, 0.0) for half in (words & 0xFFFF, words >> 16)
    )
    return output_mask, state_mask


def _hashed_places(key: jax.Array, steps: int, batch: int, units: int) -> jax.Array:
    """Return a random word for every (day, sequence, unit) [T, B, H]."""
    day, sequence, unit = (
        jax.lax.broadcasted_iota(jnp.uint32, (steps, batch, units), axis) for axis in range(3)
    )
    place = (unit * np.uint32(steps) + day) * np.uint32(batch) + sequence
    first, second = jax.random.key_data(key)
    return _mix(_mix(place + first) ^ second)


def _mix(word: jax.Array) -> jax.Array:
    """Hash 32 bits to 32 bits, one to one ("lowbias32", C. Wellons' hash prospector, 2018)."""
    word = (word ^ (word >> 16)) * np.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * np.uint32(0x846CA68B)
    return word ^ (word >> 16)
