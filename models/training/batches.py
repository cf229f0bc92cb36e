"""Segment cursors to unrolled batches, as index arithmetic that runs inside ``jit``.

``B`` cursors start at equal segments of the training series. An unrolled batch reads ``U``
consecutive values at each cursor as inputs and later values as labels; then every cursor moves on
by ``U`` (the tutorial's step 10, [U, B] at once instead of U times [B]).
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from foretune.models.networks.randomness import random_integers

# Of a single series, which begins at its first row.
_FIRST = np.zeros(1, np.int32)


def segment_cursors(
    length: int, batch_size: int, *, firsts: Sequence[int] = (0,), apart: int = 0
) -> NDArray[np.int32]:
    """Return the first cursors [B]: the starts of B equal segments of all training values.

    Made on the host: nothing to compile.

    Args:
        length: where the training values of each series end.
        batch_size: B.
        firsts: where those of each series begin; the series lie one after another.
        apart: values from the start of one to that of the next.

    Example:
        >>> segment_cursors(12, 4)
        array([0, 3, 6, 9], dtype=int32)
    """
    counts = length - np.asarray(firsts, np.int64)
    starts = np.arange(batch_size, dtype=np.int64) * counts.sum() // batch_size
    ends = np.cumsum(counts)
    which = np.searchsorted(ends, starts, side="right")
    rows: NDArray[np.int64] = which * apart + length - ends[which] + starts
    return rows.astype(np.int32)


def random_rows(
    key: jax.Array,
    shape: tuple[int, ...],
    *,
    firsts: jax.Array,
    last: jax.Array | int,
    apart: int,
) -> jax.Array:
    """Draw rows [...] of all series, each from its first to the last one equally likely.

    Args:
        key: draws them.
        shape: of what is drawn.
        firsts: the first row of each series that may be drawn [S].
        last: the last one; may be traced.
        apart: rows from the start of one series to that of the next.
    """
    counts = jnp.asarray(last, jnp.int32) + 1 - firsts
    ends = jnp.cumsum(counts)
    drawn = random_integers(key, shape, ends[-1])
    which = jnp.searchsorted(ends, drawn, side="right")
    rows: jax.Array = which * apart + last + 1 - ends[which] + drawn
    return rows


def jump_where_exhausted(
    cursors: jax.Array,
    key: jax.Array,
    length: jax.Array | int,
    reach: jax.Array | int,
    *,
    firsts: jax.Array | NDArray[np.int32] = _FIRST,
    apart: int = 2**31 - 1,
    every: jax.Array | bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Send cursors [B] that cannot read another unroll to random places.

    A cursor is exhausted when ``cursor + reach``, its furthest label, would lie beyond the
    ``length`` training values of its series. A recurrent state has to be reset where ``jumped``: it
    belongs to the days before the old place. (The tutorial does not; its fault 6.)

    Args:
        cursors: where each cursor stands [B].
        key: draws the new places.
        length: where the training values of each series end.
        reach: unroll length - 1 + largest label offset.
        firsts: where those of each series begin [S]; every place in each is equally likely.
        apart: values from the start of one to that of the next, at least ``length``.
        every: send all of them, so that every batch reads windows drawn at random.

    Returns:
        The cursors [B] int32 and ``jumped`` [B] bool.
    """
    last_start = jnp.asarray(length - 1 - reach, jnp.int32)
    jumped = (cursors % apart > last_start) | every
    fresh = random_rows(
        key, cursors.shape, firsts=jnp.asarray(firsts), last=last_start, apart=apart
    )
    return jnp.where(jumped, fresh, cursors), jumped


def label_offsets(key: jax.Array, shape: tuple[int, int], most: jax.Array | int) -> jax.Array:
    """Draw how many days after its input each label lies: 1 .. ``most``, of ``shape`` [U, B].

    The tutorial's augmentation. Its printed generator can also draw 0, where the label is the
    input itself (its fault 3).
    """
    return 1 + random_integers(key, shape, most)


def unrolled_rows(cursors: jax.Array, length: int) -> jax.Array:
    """Return the rows that a batch reads at the cursors [B], series after series: [U, B].

    Example:
        >>> unrolled_rows(segment_cursors(12, 4), 2)
        Array([[ 0,  3,  6,  9],
               [ 1,  4,  7, 10]], dtype=int32)
    """
    return jnp.arange(length, dtype=jnp.int32)[:, None] + cursors
