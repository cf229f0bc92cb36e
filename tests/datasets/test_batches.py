"""Batches: a worked example with every integer written out, and what holds for any of them."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foretune.datasets.batches import jump_where_exhausted, segment_cursors, unrolled_batch

# One shape for all properties: a shape is compiled once.
UNROLL, CURSORS, LONGEST = 3, 5, 40

read = jax.jit(unrolled_batch, static_argnums=2)
jump = jax.jit(jump_where_exhausted, static_argnums=3)

lengths = st.integers(UNROLL + 1, LONGEST)
places = st.lists(st.integers(0, LONGEST + UNROLL), min_size=CURSORS, max_size=CURSORS)
seeds = st.integers(0, 2**32 - 1)


def test_three_unrolled_batches_of_four_cursors_over_twelve_values() -> None:
    series = jnp.arange(12.0)
    cursors = jnp.asarray(segment_cursors(12, 4))
    assert cursors.tolist() == [0, 3, 6, 9]

    # First batch: all four read two values and the labels one step later.
    cursors, jumped = jump(cursors, jax.random.key(0), 12, 2)
    assert jumped.tolist() == [False, False, False, False]
    inputs, labels = read(series, cursors, 2)
    assert inputs.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10]]
    assert labels.tolist() == [[1, 4, 7, 10], [2, 5, 8, 11]]

    # Second: the fourth cursor stands on 11, whose label would be the 13th value. It jumps.
    cursors, jumped = jump(cursors + 2, jax.random.key(1), 12, 2)
    assert jumped.tolist() == [False, False, False, True]
    fresh = int(cursors[3])
    assert 0 <= fresh <= 9
    inputs, labels = read(series, cursors, 2)
    assert inputs.tolist() == [[2, 5, 8, fresh], [3, 6, 9, fresh + 1]]
    assert labels.tolist() == [[3, 6, 9, fresh + 1], [4, 7, 10, fresh + 2]]

    # Third: the third cursor stands on 10 and jumps; so does the fourth, if it landed near the end.
    cursors, jumped = jump(cursors + 2, jax.random.key(2), 12, 2)
    assert jumped.tolist() == [False, False, True, fresh + 2 > 9]
    third, fourth = cursors.tolist()[2:]
    inputs, labels = read(series, cursors, 2)
    assert inputs.tolist() == [[4, 7, third, fourth], [5, 8, third + 1, fourth + 1]]
    assert labels.tolist() == [[5, 8, third + 1, fourth + 1], [6, 9, third + 2, fourth + 2]]


@given(st.integers(1, 20_000), st.integers(1, 70_000))
def test_cursors_start_at_equal_segments(length: int, batch_size: int) -> None:
    cursors = segment_cursors(length, batch_size)
    assert cursors.dtype == np.int32
    assert len(cursors) == batch_size
    assert cursors[0] == 0
    assert 0 <= cursors[-1] < length
    segments = np.diff([*cursors.tolist(), length])
    assert segments.min() >= length // batch_size
    assert segments.max() <= -(-length // batch_size)


@settings(deadline=None)
@given(lengths, places, seeds)
def test_a_label_is_the_value_one_step_after_its_input(
    length: int, cursors: list[int], seed: int
) -> None:
    # Distinct values in random order: a value tells its place.
    values = np.random.default_rng(seed).permutation(LONGEST).astype(np.float32)
    place_of = {value: place for place, value in enumerate(values.tolist())}
    starts = [cursor % (length - UNROLL) for cursor in cursors]
    inputs, labels = read(jnp.asarray(values), jnp.asarray(starts, jnp.int32), UNROLL)
    assert inputs.shape == labels.shape == (UNROLL, CURSORS)
    for step, (xs, ys) in enumerate(zip(inputs.tolist(), labels.tolist(), strict=True)):
        for start, x, y in zip(starts, xs, ys, strict=True):
            assert place_of[x] == start + step
            assert place_of[y] == start + step + 1


@settings(deadline=None)
@given(lengths, places, seeds)
def test_a_cursor_jumps_when_exhausted_and_only_then(
    length: int, cursors: list[int], seed: int
) -> None:
    new, jumped = jump(jnp.asarray(cursors, jnp.int32), jax.random.key(seed), length, UNROLL)
    for before, after, has_jumped in zip(cursors, new.tolist(), jumped.tolist(), strict=True):
        last_label = before + UNROLL
        assert has_jumped == (last_label > length - 1)
        if not has_jumped:
            assert after == before
        # Wherever it is now, its last label is one of the values.
        assert after >= 0
        assert after + UNROLL <= length - 1
    assert new.dtype == jnp.int32


def test_jumps_reach_every_place_equally_often() -> None:
    # 10 values and an unroll of 3: the places 0 to 6.
    exhausted = jnp.full(CURSORS, 99, jnp.int32)
    keys = jax.random.split(jax.random.key(3), 2800 // CURSORS)
    new = jax.vmap(lambda key: jump(exhausted, key, 10, UNROLL)[0])(keys)
    counts = np.bincount(np.asarray(new).ravel(), minlength=7)
    assert len(counts) == 7
    # 400 expected at each place, with a standard deviation of 18.5.
    assert abs(counts - 400).max() < 4 * 18.5


def test_a_series_of_one_unroll_always_starts_at_its_first_value() -> None:
    new, jumped = jump(jnp.arange(CURSORS, dtype=jnp.int32), jax.random.key(0), UNROLL + 1, UNROLL)
    assert new.tolist() == [0] * CURSORS
    assert jumped.tolist() == [False, True, True, True, True]
