"""Batches: a worked example with every integer written out, and what holds for any of them."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foretune.models.networks.randomness import fold_in, random_key
from foretune.models.training.batches import (
    jump_where_exhausted,
    label_offsets,
    random_rows,
    segment_cursors,
    unrolled_rows,
)

# One shape for all properties: a shape is compiled once.
UNROLL, CURSORS, LONGEST, FURTHEST = 3, 5, 40, 4


@jax.jit
def read(series: jax.Array, cursors: jax.Array, offsets: jax.Array) -> tuple[Any, Any]:
    """Inputs and labels [U, B] at the cursors, as training reads them."""
    rows, values = unrolled_rows(cursors, len(offsets)), series.ravel()
    return values[rows], values[rows + offsets]


jump = jax.jit(jump_where_exhausted)
jump_among_three = jax.jit(
    partial(jump_where_exhausted, firsts=np.zeros(3, np.int32), apart=LONGEST + 3)
)
draw_offsets = jax.jit(label_offsets, static_argnums=1)

offsets = st.integers(1, FURTHEST)
places = st.lists(st.integers(0, LONGEST + UNROLL), min_size=CURSORS, max_size=CURSORS)
seeds = st.integers(0, 2**32 - 1)


def test_three_unrolled_batches_of_four_cursors_over_twelve_values() -> None:
    series, next_day = jnp.arange(12.0), jnp.ones((2, 4), jnp.int32)
    reach = 2  # two inputs; the label of the second lies two values after the cursor
    cursors = jnp.asarray(segment_cursors(12, 4))
    assert cursors.tolist() == [0, 3, 6, 9]

    # First batch: all four read two values and the labels one step later.
    cursors, jumped = jump(cursors, random_key(0), 12, reach)
    assert jumped.tolist() == [False, False, False, False]
    inputs, labels = read(series, cursors, next_day)
    assert inputs.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10]]
    assert labels.tolist() == [[1, 4, 7, 10], [2, 5, 8, 11]]

    # Second: the fourth cursor stands on 11, whose label would be the 13th value. It jumps.
    cursors, jumped = jump(cursors + 2, random_key(1), 12, reach)
    assert jumped.tolist() == [False, False, False, True]
    fresh = int(cursors[3])
    assert 0 <= fresh <= 9
    inputs, labels = read(series, cursors, next_day)
    assert inputs.tolist() == [[2, 5, 8, fresh], [3, 6, 9, fresh + 1]]
    assert labels.tolist() == [[3, 6, 9, fresh + 1], [4, 7, 10, fresh + 2]]

    # Third: the third cursor stands on 10 and jumps; so does the fourth, if it landed near the end.
    cursors, jumped = jump(cursors + 2, random_key(2), 12, reach)
    assert jumped.tolist() == [False, False, True, fresh + 2 > 9]
    third, fourth = cursors.tolist()[2:]
    inputs, labels = read(series, cursors, next_day)
    assert inputs.tolist() == [[4, 7, third, fourth], [5, 8, third + 1, fourth + 1]]
    assert labels.tolist() == [[5, 8, third + 1, fourth + 1], [6, 9, third + 2, fourth + 2]]


def test_labels_further_ahead_by_hand() -> None:
    ahead = jnp.array([[1, 3, 2, 1], [2, 1, 3, 1]], jnp.int32)
    inputs, labels = read(jnp.arange(12.0), jnp.asarray(segment_cursors(12, 4)), ahead)
    assert inputs.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10]]
    assert labels.tolist() == [[1, 6, 8, 10], [3, 5, 10, 11]]


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


def labels_furthest(furthest: int) -> int:
    """Steps from a cursor to the furthest label of its unroll."""
    return UNROLL - 1 + furthest


@settings(deadline=None)
@given(st.data(), offsets, seeds)
def test_a_label_lies_its_offset_after_its_input(
    data: st.DataObject, furthest: int, seed: int
) -> None:
    # Distinct values in random order: a value tells its place.
    values = np.random.default_rng(seed).permutation(LONGEST).astype(np.float32)
    place_of = {value: place for place, value in enumerate(values.tolist())}
    last = LONGEST - 1 - labels_furthest(furthest)
    starts = data.draw(st.lists(st.integers(0, last), min_size=CURSORS, max_size=CURSORS))
    ahead = draw_offsets(random_key(seed), (UNROLL, CURSORS), furthest)
    inputs, labels = read(jnp.asarray(values), jnp.asarray(starts, jnp.int32), ahead)
    assert inputs.shape == labels.shape == (UNROLL, CURSORS)
    for step, rows in enumerate(zip(inputs.tolist(), labels.tolist(), ahead.tolist(), strict=True)):
        for start, x, y, offset in zip(starts, *rows, strict=True):
            assert place_of[x] == start + step
            assert place_of[y] == start + step + offset
            # Never the input itself: the tutorial's third fault.
            assert 1 <= offset <= furthest


@settings(deadline=None)
@given(st.integers(labels_furthest(FURTHEST) + 1, LONGEST), offsets, places, seeds)
def test_a_cursor_jumps_when_exhausted_and_only_then(
    length: int, furthest: int, cursors: list[int], seed: int
) -> None:
    reach = labels_furthest(furthest)
    new, jumped = jump(jnp.asarray(cursors, jnp.int32), random_key(seed), length, reach)
    for before, after, has_jumped in zip(cursors, new.tolist(), jumped.tolist(), strict=True):
        assert has_jumped == (before + reach > length - 1)
        if not has_jumped:
            assert after == before
        # Wherever it is now, its furthest label is one of the values.
        assert after >= 0
        assert after + reach <= length - 1
    assert new.dtype == jnp.int32


def test_jumps_reach_every_place_equally_often() -> None:
    # 10 values and labels up to 3 values after a cursor: the places 0 to 6.
    exhausted = jnp.full(CURSORS, 99, jnp.int32)
    keys = jax.vmap(partial(fold_in, random_key(3)))(jnp.arange(2800 // CURSORS))
    new = jax.vmap(lambda key: jump(exhausted, key, 10, 3)[0])(keys)
    counts = np.bincount(np.asarray(new).ravel(), minlength=7)
    assert len(counts) == 7
    # 400 expected at each place, with a standard deviation of 18.5.
    assert abs(counts - 400).max() < 4 * 18.5


def test_segments_of_several_series_are_equal_parts_of_all_training_values() -> None:
    # 3 series of 8 training values, 20 apart: 4 segments of 6, of which the third begins at the
    # fifth value of the second series.
    assert segment_cursors(8, 4, firsts=[0, 0, 0], apart=20).tolist() == [0, 6, 20 + 4, 40 + 2]
    assert segment_cursors(8, 4, firsts=[0], apart=20).tolist() == segment_cursors(8, 4).tolist()


@settings(deadline=None)
@given(st.integers(labels_furthest(FURTHEST) + 1, LONGEST), offsets, seeds)
def test_no_cursor_goes_from_one_series_to_the_next(length: int, furthest: int, seed: int) -> None:
    # A value is its place; a series goes on after its training values, and the next one follows.
    apart, reach = LONGEST + 3, labels_furthest(furthest)
    series = jnp.arange(float(3 * apart)).reshape(3, apart)
    now = jnp.asarray(segment_cursors(length, CURSORS, firsts=[0] * 3, apart=apart))
    for unroll in range(6):
        key = fold_in(random_key(seed), unroll)
        before = np.asarray(now)
        now, jumped = jump_among_three(now, fold_in(key, 0), length, reach)
        assert (np.asarray(jumped) == (before % apart + reach > length - 1)).all()
        assert (np.asarray(now)[~np.asarray(jumped)] == before[~np.asarray(jumped)]).all()
        ahead = draw_offsets(fold_in(key, 1), (UNROLL, CURSORS), furthest)
        inputs, labels = (np.asarray(days, int) for days in read(series, now, ahead))
        assert (inputs // apart == labels // apart).all()
        assert (inputs // apart == inputs[0] // apart).all()
        assert (labels % apart).max() <= length - 1
        now = now + UNROLL


def test_jumps_reach_every_place_of_every_series_equally_often() -> None:
    # 10 values and labels up to 3 values after a cursor: the places 0 to 6 of 3 series.
    exhausted = jnp.full(CURSORS, 9, jnp.int32)
    keys = jax.vmap(partial(fold_in, random_key(3)))(jnp.arange(8400 // CURSORS))
    new = jax.vmap(lambda key: jump_among_three(exhausted, key, 10, 3)[0])(keys)
    apart = LONGEST + 3
    counts = np.bincount(np.asarray(new).ravel(), minlength=3 * apart).reshape(3, apart)
    assert not counts[:, 7:].any()
    assert abs(counts[:, :7] - 400).max() < 4 * 19.5


def test_a_series_of_one_unroll_always_starts_at_its_first_value() -> None:
    new, jumped = jump(jnp.arange(CURSORS, dtype=jnp.int32), random_key(0), UNROLL + 1, UNROLL)
    assert new.tolist() == [0] * CURSORS
    assert jumped.tolist() == [False, True, True, True, True]


def test_offsets_are_drawn_equally_often_and_anew_for_each_label() -> None:
    drawn = np.asarray(draw_offsets(random_key(4), (UNROLL, 1000), 4))
    counts = np.bincount(drawn.ravel(), minlength=5)
    # 750 expected of each of 1 to 4, with a standard deviation of 23.7.
    assert counts[0] == 0
    assert len(counts) == 5
    assert abs(counts[1:] - 750).max() < 4 * 23.7
    assert abs((drawn[0] == drawn[1]).mean() - 0.25) < 4 * (0.25 * 0.75 / 1000) ** 0.5
    assert (np.asarray(draw_offsets(random_key(4), (UNROLL, 1000), 1)) == 1).all()


@settings(deadline=None)
@given(st.integers(labels_furthest(FURTHEST) + 1, LONGEST), offsets, places, seeds)
def test_no_label_of_any_unroll_leaves_the_training_days(
    length: int, furthest: int, cursors: list[int], seed: int
) -> None:
    # The series goes on after the training days, as it does in training; a value is its place.
    series, now = jnp.arange(float(LONGEST + 2 * UNROLL + FURTHEST)), jnp.asarray(cursors)
    for unroll in range(6):
        key = fold_in(random_key(seed), unroll)
        jump_key, offset_key = fold_in(key, 0), fold_in(key, 1)
        now, _ = jump(now.astype(jnp.int32), jump_key, length, labels_furthest(furthest))
        ahead = draw_offsets(offset_key, (UNROLL, CURSORS), furthest)
        inputs, labels = (np.asarray(days) for days in read(series, now, ahead))
        assert inputs.min() >= 0
        assert labels.max() <= length - 1
        assert ((labels - inputs >= 1) & (labels - inputs <= furthest)).all()
        now = now + UNROLL


def test_segments_of_series_that_begin_later_leave_out_what_is_not_there() -> None:
    # 8, 5 and 2 values: 15 in 5 segments of 3.
    cursors = segment_cursors(8, 5, firsts=[0, 3, 6], apart=20)
    assert cursors.tolist() == [0, 3, 6, 20 + 4, 20 + 7]
    # Every value of every series, one segment each.
    every = segment_cursors(8, 15, firsts=[0, 3, 6], apart=20)
    assert every.tolist() == [*range(8), *range(23, 28), 46, 47]


def test_random_rows_are_those_that_each_series_has() -> None:
    # 6, 3 and 1 rows of series of different lengths: 10 places, 720 draws each expected.
    keys = jax.vmap(partial(fold_in, random_key(6)))(jnp.arange(1440))
    firsts = jnp.array([4, 7, 9], jnp.int32)
    draw = partial(random_rows, shape=(5,), firsts=firsts, last=jnp.int32(9), apart=20)
    counts = np.bincount(np.asarray(jax.jit(jax.vmap(draw))(keys)).ravel(), minlength=60)
    expected = np.zeros(60, bool)
    expected[[*range(4, 10), 27, 28, 29, 49]] = True
    assert counts[expected].sum() == counts.sum() == 7200
    assert abs(counts[expected] - 720).max() < 4 * 25.5


def test_random_rows_are_every_row_of_every_series_equally_often() -> None:
    # Rows 4 to 9 of 3 series that begin 20 rows apart: 18 places, 400 draws each expected.
    keys = jax.vmap(partial(fold_in, random_key(5)))(jnp.arange(1440))
    firsts = jnp.full(3, 4, jnp.int32)
    draw = partial(random_rows, shape=(5,), firsts=firsts, last=jnp.int32(9), apart=20)
    drawn = np.asarray(jax.jit(jax.vmap(draw))(keys))
    counts = np.bincount(drawn.ravel(), minlength=60).reshape(3, 20)
    assert counts[:, 4:10].sum() == counts.sum() == 7200
    assert abs(counts[:, 4:10] - 400).max() < 4 * 19.5
    # Two draws of one key have nothing to do with each other.
    assert abs((drawn[:, 0] == drawn[:, 1]).mean() - 1 / 18) < 4 * (1 / 18 / 1440) ** 0.5
