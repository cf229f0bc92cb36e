"""What a network reads: segments, and what windows are scaled by."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.models.forecasts.windows import (
    SMALLEST_SCALE,
    WINDOW_SCALINGS,
    segments,
    window_scale,
)

ROWS = 6
scale_of = jax.jit(window_scale)
rows = st.lists(st.floats(-50, 50, width=32), min_size=ROWS, max_size=ROWS)


@pytest.mark.parametrize("scaling", WINDOW_SCALINGS)
@given(windows=st.tuples(rows, rows))
def test_windows_are_scaled_as_by_hand(
    scaling: str, windows: tuple[list[float], list[float]], oracle: SimpleNamespace
) -> None:
    index = jnp.int32([*WINDOW_SCALINGS].index(scaling))  # type: ignore[arg-type]
    offsets, scales = scale_of(jnp.float32(windows).T, index)
    for number, window in enumerate(windows):
        offset, scale = oracle.window_scale(np.float64(window), scaling)
        np.testing.assert_allclose(offsets[number], offset, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(scales[number], scale, rtol=1e-4, atol=1e-4)


def test_a_window_that_stands_still_is_divided_by_the_floor() -> None:
    still = jnp.full((ROWS, 1), 7.0)
    scales = [float(scale_of(still, jnp.int32(index))[1][0]) for index in range(5)]
    floor = pytest.approx(SMALLEST_SCALE)
    assert scales == [1.0, 1.0, 1.0, floor, floor]


def test_segments_lie_side_by_side_row_after_row() -> None:
    # Row r, window b, column k is 100 r + 10 b + k.
    steps = jnp.arange(4.0)[:, None, None], jnp.arange(2.0)[:, None], jnp.arange(3.0)
    numbered = 100 * steps[0] + 10 * steps[1] + steps[2]
    assert segments(numbered, 2).tolist() == [
        [[0, 1, 2, 100, 101, 102], [10, 11, 12, 110, 111, 112]],
        [[200, 201, 202, 300, 301, 302], [210, 211, 212, 310, 311, 312]],
    ]
