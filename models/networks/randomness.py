"""Random words by hashing a key and a place: cheap to run and to compile, for any shape.

``jax.random`` (threefry) took more time than the network that it drew masks for, and nearly half of
a compiled epoch was its code. A draw for a place does not depend on how many places are drawn, and
is the same with and without ``vmap``.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Two 32-bit words, uint32 [2].
Key = jax.Array


def random_key(seed: jax.Array | int) -> Key:
    """Return the key of ``seed``, which may be traced.

    Example:
        >>> random_words(fold_in(random_key(0), 3), jnp.arange(4))
    """
    word = jnp.asarray(seed, jnp.uint32)
    return jnp.stack([_mix(word ^ np.uint32(0x9E3779B9)), _mix(word + np.uint32(0x7F4A7C15))])


def fold_in(key: Key, number: jax.Array | int) -> Key:
    """Return the ``number``-th key derived from ``key``."""
    word = jnp.asarray(number, jnp.uint32)
    first = _mix(_mix(word ^ key[0]) + key[1])
    return jnp.stack([first, _mix(_mix(word + key[1]) ^ first)])


def random_words(key: Key, places: jax.Array) -> jax.Array:
    """Return a random word for each of ``places``, as uint32 of their shape."""
    return _mix(_mix(jnp.asarray(places, jnp.uint32) + key[0]) ^ key[1])


def random_integers(key: Key, shape: tuple[int, ...], count: jax.Array | int) -> jax.Array:
    """Draw int32 of ``shape`` from 0 .. ``count`` - 1, which may be traced.

    They are equally likely to within ``count / 2**32``.
    """
    places = jnp.arange(np.prod(shape), dtype=jnp.uint32).reshape(shape)
    drawn = jax.lax.rem(random_words(key, places), jnp.broadcast_to(jnp.uint32(count), shape))
    return drawn.astype(jnp.int32)


def _mix(word: jax.Array) -> jax.Array:
    """Hash 32 bits to 32 bits, one to one ("lowbias32", C. Wellons' hash prospector, 2018)."""
    word = (word ^ (word >> 16)) * np.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * np.uint32(0x846CA68B)
    return word ^ (word >> 16)
