"""The exponential moving average: against a plain loop, and the tutorial's two by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from foretune.datasets.smoothing import exponential_moving_average

Array = NDArray[np.float64]

series = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6))
past_weights = st.floats(0, 0.999)


def by_loop(values: list[float], past_weight: float) -> list[float]:
    average, averages = 0.0, []
    for value in values:
        average = past_weight * average + (1 - past_weight) * value
        averages.append(average)
    return averages


@given(series, past_weights)
def test_it_agrees_with_a_plain_loop(values: Array, past_weight: float) -> None:
    ours = exponential_moving_average(values, past_weight)
    assert ours.shape == values.shape
    assert ours.dtype == np.float64
    rounding = 1e-12 * float(np.abs(values).max())
    np.testing.assert_allclose(
        ours, by_loop(values.tolist(), past_weight), rtol=1e-12, atol=rounding
    )


@pytest.mark.parametrize(
    ("past_weight", "averages"),
    [
        # 0.1 * 10 = 1; 0.9 * 1 + 0.1 * 20 = 2.9; 0.9 * 2.9 + 0 = 2.61; 2.349 + 0.1 * -5 = 1.849.
        (0.9, [1.0, 2.9, 2.61, 1.849]),
        # 5; 2.5 + 10 = 12.5; 6.25; 3.125 - 2.5 = 0.625.
        (0.5, [5.0, 12.5, 6.25, 0.625]),
    ],
)
def test_the_tutorials_two_by_hand(past_weight: float, averages: list[float]) -> None:
    values = np.array([10.0, 20.0, 0.0, -5.0])
    np.testing.assert_allclose(
        exponential_moving_average(values, past_weight), averages, rtol=1e-12
    )


def test_it_starts_at_zero_and_climbs_to_a_constant() -> None:
    # 1 - 0.9^t of the way after t days.
    averages = exponential_moving_average(np.full(300, 4.0), 0.9)
    assert averages[0] == pytest.approx(0.4, rel=1e-12)
    np.testing.assert_allclose(averages, 4 * (1 - 0.9 ** np.arange(1, 301)), rtol=1e-12)


@given(series)
def test_without_weight_on_the_past_nothing_is_smoothed(values: Array) -> None:
    np.testing.assert_array_equal(exponential_moving_average(values, 0.0), values)


@given(series, past_weights, st.data())
def test_no_later_day_is_read(values: Array, past_weight: float, data: st.DataObject) -> None:
    day = data.draw(st.integers(0, len(values) - 1))
    other = values.copy()
    other[day + 1 :] += 1000  # not NaN, which pandas passes over
    averages = exponential_moving_average(values, past_weight)[: day + 1]
    np.testing.assert_array_equal(
        exponential_moving_average(other, past_weight)[: day + 1], averages
    )
