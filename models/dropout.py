"""Dropout masks with a traced rate, so that a new rate never compiles."""

import jax
import jax.numpy as jnp


def dropout_mask(key: jax.Array, rate: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Draw a mask of ``shape``: 0 with probability ``rate``, else ``1 / (1 - rate)``.

    16 random bits an element are compared with a threshold, at a fraction of the cost of
    ``jax.random.bernoulli``; the rate is met to 1 in 65,536. (``nnx.Dropout`` is not used: its
    rate is a constant of the compiled program.)

    Args:
        key: a jax.random key.
        rate: scalar in [0, 1), may be traced.
        shape: shape of the mask.
    """
    bits = jax.random.bits(key, shape, jnp.uint16).astype(jnp.int32)
    keep = 1.0 - rate
    return jnp.where(bits < jnp.round(keep * 65536).astype(jnp.int32), 1.0 / keep, 0.0)
