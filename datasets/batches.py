"""Segment cursors to unrolled batches, as index arithmetic that runs inside ``jit``.

``B`` cursors start at equal segments of the training series. An unrolled batch reads ``U``
consecutive values at each cursor as inputs and the values one step later as labels; then every
cursor moves on by ``U`` (the tutorial's step 10, [U, B] at once instead of U times [B]).
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray


def segment_cursors(length: int, batch_size: int) -> NDArray[np.int32]:
    """Return the first cursors [B]: the starts of B equal segments of ``length`` values.

    Made on the host: nothing to compile.

    Example:
        >>> segment_cursors(12, 4)
        array([0, 3, 6, 9], dtype=int32)
    """
    return (np.arange(batch_size, dtype=np.int64) * length // batch_size).astype(np.int32)


def jump_where_exhausted(
    cursors: jax.Array, key: jax.Array, length: jax.Array | int, unroll_length: int
) -> tuple[jax.Array, jax.Array]:
    """Send cursors [B] that cannot read another unroll to random places.

    A cursor is exhausted when its last label would lie beyond ``length`` values. Whoever
    carries a recurrent state has to reset it where ``jumped``: the state belongs to the days
    before the old place. (The tutorial does not; its fault 6.)

    Returns:
        The cursors [B] int32 and ``jumped`` [B] bool.
    """
    last_start = jnp.asarray(length, jnp.int32) - unroll_length - 1
    jumped = cursors > last_start
    fresh = jax.random.randint(key, cursors.shape, 0, last_start + 1, dtype=jnp.int32)
    return jnp.where(jumped, fresh, cursors), jumped


def unrolled_batch(
    series: jax.Array, cursors: jax.Array, unroll_length: int
) -> tuple[jax.Array, jax.Array]:
    """Read inputs [U, B] at the cursors [B] of ``series`` [N], and labels [U, B] one step later.

    Example:
        >>> inputs, labels = unrolled_batch(jnp.arange(12.0), segment_cursors(12, 4), 2)
        >>> inputs[0], labels[0]
        (Array([0., 3., 6., 9.], dtype=float32), Array([ 1.,  4.,  7., 10.], dtype=float32))
    """
    steps = jnp.arange(unroll_length, dtype=jnp.int32)[:, None] + cursors
    return series[steps], series[steps + 1]
