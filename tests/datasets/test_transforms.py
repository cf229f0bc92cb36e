"""Scalings: by hand, fitted on training days alone, and inverted exactly."""

import math
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.sources.samples import random_walk
from foretune.datasets.transforms import (
    LOG,
    ErrorSpace,
    ScalingName,
    StandardisedLogReturns,
    WindowedMinMax,
    exponential_moving_average,
    fit_scaling,
)

Array = NDArray[np.float64]
SCALINGS: Any = pytest.mark.parametrize("name", get_args(ScalingName))
SIGNED: Any = pytest.mark.parametrize(
    "name", [name for name in get_args(ScalingName) if "log" not in name]
)

prices = hnp.arrays(
    np.float64, st.integers(20, 60), elements=st.floats(5, 400, allow_subnormal=False)
).filter(lambda mid: np.ptp(mid[:12]) > 1e-3)


def test_standardised_log_returns_by_hand() -> None:
    # Log prices 0, 1, 3: returns 1 and 2, mean 1.5, standard deviation 0.5 (not the sample's).
    scaling = StandardisedLogReturns.fit(np.exp([0.0, 1.0, 3.0]))
    assert scaling.lag == 1
    assert scaling.mean == pytest.approx(1.5, rel=1e-12)
    assert scaling.std == pytest.approx(0.5, rel=1e-12)
    # Then a return of -1 on a later day: (-1 - 1.5) / 0.5.
    np.testing.assert_allclose(
        scaling.transform(np.exp([0.0, 1.0, 3.0, 2.0])), [-1.0, 1.0, -5.0], rtol=1e-12
    )


def test_standardised_log_returns_are_summed_by_the_inverse() -> None:
    scaling = StandardisedLogReturns(mean=0.5, std=2.0)
    growth = scaling.change(
        np.array([[0.0, 1.0, -1.0], [1.0, 1.0, 1.0]]), np.array([0, 1], np.int32), np.ones(9)
    )
    np.testing.assert_allclose(growth, [[0.5, 3.0, 1.5], [2.5, 5.0, 7.5]], rtol=1e-12)


@given(prices)
def test_training_returns_have_mean_0_and_standard_deviation_1(mid: Array) -> None:
    scaled = StandardisedLogReturns.fit(mid).transform(mid).tolist()
    mean = sum(scaled) / len(scaled)
    assert mean == pytest.approx(0, abs=1e-9)
    assert sum((s - mean) ** 2 for s in scaled) / len(scaled) == pytest.approx(1)


def test_windowed_min_max_by_hand() -> None:
    #            window 0        | window 1         | after the training days
    mid = np.array([2.0, 4.0, 3.0, 10.0, 30.0, 20.0, 40.0, 5.0])
    scaling = WindowedMinMax.fit(mid[:6], 3)
    assert scaling.lag == 0
    assert scaling.starts == (0, 3)
    assert (scaling.minima, scaling.maxima) == ((2.0, 10.0), (4.0, 30.0))
    np.testing.assert_allclose(
        scaling.transform(mid), [0, 1, 0.5, 0, 1, 0.5, 1.5, -0.25], rtol=1e-12
    )
    # Back: level 0.5 is 20, level 2 is 50; log growth is since the price at the origin.
    growth = scaling.change(np.array([[0.5, 2.0]]), np.array([5], np.int32), mid)
    np.testing.assert_allclose(growth, [[0.0, math.log(2.5)]], rtol=1e-12, atol=1e-15)


def test_an_origin_before_a_window_is_inverted_with_the_windows_of_its_targets() -> None:
    mid = np.array([2.0, 4.0, 3.0, 10.0, 30.0, 20.0])
    scaling = WindowedMinMax.fit(mid, 3)
    growth = scaling.change(np.array([[0.5, 0.5]]), np.array([1], np.int32), mid)
    np.testing.assert_allclose(growth, [[math.log(3 / 4), math.log(20 / 4)]], rtol=1e-12)


# A window that varies by its rounding alone keeps a trillionth of the widest range.
@example(2, np.array([1.0, np.nextafter(1.0, 2.0), 2.0, 1.0]))
@given(st.integers(2, 12), hnp.arrays(np.float64, st.integers(2, 60), elements=st.floats(1, 9)))
def test_every_window_of_training_days_spans_0_to_1(window: int, mid: Array) -> None:
    scaling = WindowedMinMax.fit(mid, window)
    scaled = scaling.transform(mid)
    parts = list(zip(scaling.starts, [*scaling.starts[1:], len(mid)], strict=True))
    widest = max(np.ptp(mid[start:stop]) for start, stop in parts)
    for start, stop in parts:
        prices, levels = mid[start:stop].tolist(), scaled[start:stop].tolist()
        if min(prices) < max(prices):
            width = max(prices) - min(prices)
            assert (min(levels), max(levels)) == (0.0, width / max(width, 1e-12 * widest))
            assert levels.index(0.0) == prices.index(min(prices))
        else:
            assert set(levels) == {0.0}


@pytest.mark.parametrize(
    ("days", "window", "starts"),
    [
        (20, 10, (0, 10)),
        (22, 10, (0, 10, 20)),  # two days make a range
        (21, 10, (0, 10)),  # one day does not: it joins the window before it
        (210, 100, (0, 100, 200)),  # a tenth of a window is enough
        (209, 100, (0, 100)),
        (7, 100, (0,)),  # shorter than one window
        (1, 100, (0,)),
    ],
)
def test_a_short_remainder_joins_the_window_before_it(
    days: int, window: int, starts: tuple[int, ...]
) -> None:
    mid = np.arange(1.0, days + 1)
    scaling = WindowedMinMax.fit(mid, window)
    assert scaling.starts == starts
    assert scaling.maxima[-1] == days
    assert scaling.minima[-1] == starts[-1] + 1


def test_a_window_of_one_price_is_invertible() -> None:
    mid = np.array([3.0, 3.0, 3.0, 3.0, 5.0])
    scaling = WindowedMinMax.fit(mid[:4], 4)
    np.testing.assert_array_equal(scaling.transform(mid), [0, 0, 0, 0, 2])
    growth = scaling.change(np.array([[0.0, 2.0]]), np.array([2], np.int32), mid)
    np.testing.assert_allclose(LOG.after(growth, np.array([2]), mid), [[3.0, 5.0]])


def test_levels_at_or_below_zero_are_floored_at_one_percent() -> None:
    mid = np.array([10.0, 20.0])
    scaling = WindowedMinMax.fit(mid, 2)
    levels = np.array([[-1.0, -50.0, -0.99, 0.0]])  # prices 0, -490, 0.1 and 10
    growth = scaling.change(levels, np.array([1], np.int32), mid)
    np.testing.assert_allclose(np.exp(growth), [[0.01, 0.01, 0.01, 0.5]], rtol=1e-12)


def test_prices_that_never_change_are_refused_for_log_returns() -> None:
    with pytest.raises(DataError, match=r"the 40 training values must vary, .* of 0\.0"):
        fit_scaling("log_returns", np.full(40, 7.0), window=10)


@SCALINGS
def test_only_training_days_are_fitted(name: Any) -> None:
    mid = random_walk(300).mid
    later = np.concatenate([mid[:200], random_walk(300, seed=1).mid[200:] * 50])
    first, second = (fit_scaling(name, series[:200], window=60) for series in (mid, later))
    assert first == second
    np.testing.assert_array_equal(first.transform(mid)[:150], second.transform(later)[:150])
    earlier = mid.copy()
    earlier[199] *= 2
    assert name == "none" or fit_scaling(name, earlier[:200], window=60) != first


@SCALINGS
@given(mid=prices, data=st.data())
def test_the_actual_future_scaled_and_unscaled_is_the_actual_future(
    name: Any, mid: Array, data: st.DataObject
) -> None:
    horizon = data.draw(st.integers(1, 6))
    days = st.integers(0, len(mid) - horizon - 1)
    origins = np.array(data.draw(st.lists(days, min_size=1, max_size=4)), np.int32)
    scaling = fit_scaling(name, mid[:12], window=5)
    scaled = scaling.transform(mid)
    assert len(scaled) == len(mid) - scaling.lag

    targets = origins[:, None] + np.arange(1, horizon + 1)
    growth = scaling.change(scaled[targets - scaling.lag], origins, mid)
    actual = [[float(mid[o + k]) for k in range(1, horizon + 1)] for o in origins.tolist()]
    # A level is a small difference of large numbers; and prices below 1 % of the origin's are
    # floored, which 5 to 400 never are.
    np.testing.assert_allclose(LOG.after(growth, origins, mid), actual, rtol=1e-9)
    np.testing.assert_allclose(growth, LOG.changes(mid, origins, horizon), atol=1e-9)


@SCALINGS
def test_the_inverse_reads_no_price_but_those_at_the_origins(name: Any) -> None:
    mid = random_walk(100).mid
    scaling = fit_scaling(name, mid[:60], window=20)
    origins = np.array([70, 80, 99], np.int32)  # the last one's targets lie beyond the series
    scaled = np.linspace(0, 1, 15).reshape(3, 5)
    unseen = np.full(100, np.nan)
    unseen[origins] = mid[origins]
    expected = scaling.change(scaled, origins, mid)
    assert np.isfinite(expected).all()
    np.testing.assert_array_equal(scaling.change(scaled, origins, unseen), expected)


@SIGNED
@given(
    values=hnp.arrays(np.float64, 40, elements=st.floats(-50, 50)).filter(
        lambda values: np.ptp(values[:12]) > 1e-2
    )
)
@example(values=np.array([1.0] + [0.0] * 9 + [5e-324, 0.0, 1.0] + [0.0] * 27))
def test_values_of_any_sign_come_back_in_units_of_the_training_rows(
    name: Any, values: Array
) -> None:
    space = ErrorSpace.fit("value", values[:12])
    mean = sum(values[:12]) / 12
    assert space.unit == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values[:12]) / 12))
    scaling, origins = fit_scaling(name, values[:12], window=5), np.array([3, 20], np.int32)
    targets = origins[:, None] + np.arange(1, 5)
    scaled = scaling.transform(values)[targets - scaling.lag]
    changes = scaling.change(scaled, origins, values, space)
    by_hand = [[(values[o + k] - values[o]) / space.unit for k in range(1, 5)] for o in (3, 20)]
    np.testing.assert_allclose(changes, by_hand, atol=1e-7)
    np.testing.assert_allclose(space.changes(values, origins, 4), by_hand, atol=1e-9)
    np.testing.assert_allclose(space.after(changes, origins, values), values[targets], atol=1e-7)


@pytest.mark.parametrize("name", ["log", "log_returns"])
def test_logarithms_of_values_in_their_own_unit(name: Any) -> None:
    values = np.array([1.0, 2.0, 8.0, 4.0, 16.0])
    space, origins = ErrorSpace(name="value", unit=2.0), np.array([2], np.int32)
    scaling = fit_scaling(name, values[:3], window=5)
    scaled = scaling.transform(values)[None, 3 - scaling.lag :]
    # From 8 to 4 and 16, in units of 2.
    np.testing.assert_allclose(scaling.change(scaled, origins, values, space), [[-2.0, 4.0]])
    with pytest.raises(DataError, match=f"scaling {name!r} needs values above 0, but row 1 is 0.0"):
        scaling.transform(np.array([1.0, 0.0]))


@pytest.mark.parametrize("name", ["standard", "differences"])
def test_what_stands_still_is_refused(name: Any) -> None:
    values = np.full(40, 1e9) if name == "standard" else np.arange(40.0)
    with pytest.raises(DataError, match=r"the 40 training values must vary, but their"):
        fit_scaling(name, values, window=10)
    with pytest.raises(DataError, match="the 40 training values must change"):
        ErrorSpace.fit("value", np.full(40, 7.0))


def test_log_growth_between_by_hand() -> None:
    mid = np.array([1.0, 2.0, 8.0, 4.0, 4.0])
    growth = LOG.changes(mid, np.array([0, 1], np.int32), 3)
    two = math.log(2)
    np.testing.assert_allclose(growth, [[two, 3 * two, 2 * two], [2 * two, two, two]], rtol=1e-12)


def test_prices_after_by_hand() -> None:
    growth = np.log([[2.0, 0.5], [1.0, 3.0]])
    result = LOG.after(growth, np.array([2, 0], np.int32), np.array([10.0, 20.0, 40.0]))
    np.testing.assert_allclose(result, [[80.0, 20.0], [10.0, 30.0]], rtol=1e-12)


# The exponential moving average

series = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6))
past_weights = st.floats(0, 0.999)


def by_loop(values: list[float], past_weight: float) -> list[float]:
    average, averages = 0.0, []
    for value in values:
        average = past_weight * average + (1 - past_weight) * value
        averages.append(average)
    return averages


@given(series, past_weights)
def test_the_moving_average_agrees_with_a_plain_loop(values: Array, past_weight: float) -> None:
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
def test_the_tutorials_two_averages_by_hand(past_weight: float, averages: list[float]) -> None:
    values = np.array([10.0, 20.0, 0.0, -5.0])
    np.testing.assert_allclose(
        exponential_moving_average(values, past_weight), averages, rtol=1e-12
    )


def test_the_average_starts_at_zero_and_climbs_to_a_constant() -> None:
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
