"""Hashed randomness: uniform, independent over places and keys, the same under vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from foretune.models.networks.randomness import fold_in, random_integers, random_key, random_words

COUNT = 1 << 16
PLACES = jnp.arange(COUNT)


def bits(words: jax.Array) -> np.ndarray:
    """The 32 bits of each word [N, 32]."""
    return (np.asarray(words)[:, None] >> np.arange(32, dtype=np.uint32)) & 1


@pytest.mark.parametrize("seed", [0, 1, 2, 7, 2**31, 2**32 - 1])
def test_every_bit_is_a_fair_coin_and_no_two_bits_agree_too_often(seed: int) -> None:
    drawn = bits(random_words(random_key(np.uint32(seed)), PLACES))
    assert abs(drawn.mean(0) - 0.5).max() < 5 * 0.5 / COUNT**0.5
    correlations = np.corrcoef(drawn.T) - np.eye(32)
    assert abs(correlations).max() < 5.5 / COUNT**0.5


def test_words_are_uniform() -> None:
    words = np.asarray(random_words(random_key(3), PLACES), np.float64) / 2**32
    assert stats.kstest(words, "uniform").pvalue > 1e-4


def test_neighbouring_places_and_keys_are_independent() -> None:
    key = random_key(5)
    first = bits(random_words(key, PLACES))
    for other in (
        bits(random_words(key, PLACES + 1)),
        bits(random_words(random_key(6), PLACES)),
        bits(random_words(fold_in(key, 0), PLACES)),
        bits(random_words(fold_in(key, 1), PLACES)),
    ):
        assert abs((first == other).mean(0) - 0.5).max() < 5 * 0.5 / COUNT**0.5


def test_descendants_of_a_key_are_all_different() -> None:
    keys = [
        tuple(np.asarray(fold_in(fold_in(random_key(seed), epoch), step)).tolist())
        for seed in range(4)
        for epoch in range(10)
        for step in range(20)
    ]
    assert len(set(keys)) == len(keys)


def test_integers_are_equally_likely_and_within_their_range() -> None:
    drawn = np.asarray(random_integers(random_key(1), (200, 300), 7))
    assert drawn.dtype == np.int32
    assert stats.chisquare(np.bincount(drawn.ravel(), minlength=7)).pvalue > 1e-4
    assert drawn.max() == 6
    assert (np.asarray(random_integers(random_key(1), (5,), 1)) == 0).all()


def test_a_lane_draws_what_it_would_draw_alone() -> None:
    seeds = jnp.arange(4, dtype=jnp.uint32)
    together = jax.vmap(lambda seed: random_words(fold_in(random_key(seed), 9), PLACES))(seeds)
    for seed, row in zip(seeds, together, strict=True):
        np.testing.assert_array_equal(row, random_words(fold_in(random_key(seed), 9), PLACES))
