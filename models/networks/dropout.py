"""Dropout masks with a traced rate, at a fraction of the cost of the layer itself."""

import jax
import jax.numpy as jnp
import numpy as np

from foretune.models.networks.randomness import random_words


def dropout_masks(
    key: jax.Array, rate: jax.Array | float, steps: int, batch: int, units: int
) -> tuple[jax.Array, jax.Array]:
    """Draw the two masks of one layer for one unroll: of its outputs and of its carried state.

    Every element is 0 with probability ``rate``, met to 1 in 65,536, else ``1 / (1 - rate)``. An
    element has a random word of its own, 16 bits of it for each mask (``jax.random`` would take 20
    times as long, longer than the LSTM). Unit ``u`` has the same masks in a layer of any width, so
    that padding a layer changes nothing for its real units. (``nnx.Dropout`` is not used: its rate
    is a constant of the compiled program.)

    Args:
        key: a key of :mod:`foretune.models.networks.randomness`.
        rate: scalar in [0, 1), may be traced.
        steps: days, T.
        batch: sequences, B.
        units: units of the layer, H.

    Returns:
        Two masks [T, B, H].
    """
    day, sequence, unit = (
        jax.lax.broadcasted_iota(jnp.uint32, (steps, batch, units), axis) for axis in range(3)
    )
    # Every one has a number, unit after unit.
    words = random_words(key, (unit * np.uint32(steps) + day) * np.uint32(batch) + sequence)
    keep = 1.0 - jnp.asarray(rate, jnp.float32)
    threshold = jnp.round(keep * 65536).astype(jnp.uint32)
    output_mask, state_mask = (
        jnp.where(half < threshold, 1.0 / keep, 0.0) for half in (words & 0xFFFF, words >> 16)
    )
    return output_mask, state_mask
