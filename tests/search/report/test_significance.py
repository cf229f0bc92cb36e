"""Significance by hand: exact fractions, the papers' formulas in loops, and simulated studies."""

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import stats

from foretune.datasets.common.errors import ConfigError
from foretune.search.report.significance import (
    block_length,
    diebold_mariano,
    in_confidence_set,
    model_confidence_set,
    spa_test,
)

Array = NDArray[np.float64]

seeds = st.integers(0, 2**32 - 1)
constants = st.floats(-5, 5)
scales = st.floats(0.1, 10)


def squares(seed: int, *shape: int) -> Array:
    """Losses of forecasts that are equally good."""
    return np.square(np.random.default_rng(seed).standard_normal(shape))


def overlapping(seed: int, origins: int, forecasts: int, horizon: int) -> Array:
    """Losses that average ``horizon`` days, origins one day apart: equally good forecasts."""
    days = np.random.default_rng(seed).standard_normal((origins + horizon - 1, forecasts))
    windows: Array = np.lib.stride_tricks.sliding_window_view(days, horizon, axis=0)
    return windows.mean(axis=-1)


def resamples(origins: int, block: int, seed: int, reps: int) -> Iterator[NDArray[np.int64]]:
    """The origins that the tests draw."""
    for positional, _ in StationaryBootstrap(block, np.arange(origins), seed=seed).bootstrap(reps):
        yield positional[0]


# Block length


def test_block_length_by_hand() -> None:
    assert block_length(700, horizon=50, stride=1) == 50  # the overlap; the cube root is below 9
    assert block_length(700, horizon=50, stride=50) == 9  # no overlap: 8 ** 3 < 700 <= 9 ** 3
    assert block_length(100, horizon=50, stride=7) == 8  # 49 days are 7 strides, and 1 is over
    assert block_length(20, horizon=50, stride=1) == 20  # never more than there are
    assert [block_length(n**3, horizon=1, stride=1) for n in range(1, 50)] == list(range(1, 50))


# Superior predictive ability


def hansen(losses: Array, benchmark: Array, block: int, seed: int, reps: int) -> list[int]:
    """Count the resamples above the largest gain: for Hansen's lower, consistent and upper means.

    Hansen (2005), sections 2.3 and 3: the variance by the kernel of the stationary bootstrap, the
    three functions g, and the bootstrap distribution, all without dividing by standard errors.
    """
    origins, forecasts = losses.shape
    gains = [[benchmark[t] - losses[t, k] for t in range(origins)] for k in range(forecasts)]
    means = [math.fsum(gain) / origins for gain in gains]
    continues = 1 - 1 / block

    def variance(k: int) -> float:
        def autocovariance(lag: int) -> float:
            pairs = zip(gains[k][: origins - lag], gains[k][lag:], strict=True)
            return math.fsum((a - means[k]) * (b - means[k]) for a, b in pairs) / origins

        def kernel(lag: int) -> float:
            near = (origins - lag) / origins * continues**lag
            return near + lag / origins * continues ** (origins - lag)

        lags = range(1, origins)
        return autocovariance(0) + 2 * math.fsum(kernel(lag) * autocovariance(lag) for lag in lags)

    def bound(k: int) -> float:
        return -math.sqrt(variance(k) / origins * 2 * math.log(math.log(origins)))

    centres = [
        [max(mean, 0.0) for mean in means],
        [mean if mean >= bound(k) else 0.0 for k, mean in enumerate(means)],
        means,
    ]
    counts = [0, 0, 0]
    for drawn in resamples(origins, block, seed, reps):
        again = [math.fsum(gain[t] for t in drawn) / origins for gain in gains]
        for which, centre in enumerate(centres):
            largest = max(a - c for a, c in zip(again, centre, strict=True))
            counts[which] += max(largest, 0.0) > max(*means, 0.0)
    return counts


@pytest.mark.parametrize(("horizon", "stride", "block"), [(1, 1, 4), (10, 2, 5)])
def test_superior_ability_is_hansens(horizon: int, stride: int, block: int) -> None:
    # One alternative a little better than the benchmark, one hardly worse, one hopeless: the
    # three p-values differ in whom they take seriously.
    losses = squares(17, 40, 3) + np.array([-0.2, 0.2, 1.5])
    benchmark = squares(117, 40)
    result = spa_test(losses, benchmark, horizon=horizon, stride=stride, seed=5, reps=300)
    lower, consistent, upper = hansen(losses, benchmark, block, seed=5, reps=300)
    assert (result.lower, result.p_value, result.upper) == (
        (lower + 1) / 301,
        (consistent + 1) / 301,
        (upper + 1) / 301,
    )
    assert result.lower < result.p_value < result.upper
    assert (result.origins, result.block, result.alternatives) == (40, block, 3)


@pytest.mark.parametrize(
    ("horizon", "stride", "independent"), [(1, 1, 12), (5, 5, 12), (6, 5, 6), (5, 1, 3), (50, 1, 1)]
)
def test_independent_origins_are_those_that_share_no_day(
    horizon: int, stride: int, independent: int
) -> None:
    # Take the first origin, then always the next whose days begin after the last one's end.
    result = spa_test(squares(0, 12, 1), squares(1, 12), horizon=horizon, stride=stride, reps=10)
    taken = [0]
    for origin in range(12):
        if origin * stride >= taken[-1] * stride + horizon:
            taken.append(origin)
    assert result.independent == len(taken) == independent


def rejections(losses: Array, *, gain: float = 0.0, horizon: int) -> int:
    """Count the 60 studies of losses [60, T, K + 1], the last the benchmark's, that reject at 5 %.

    Args:
        losses: losses [60, T, K + 1].
        gain: how much better the first alternative is.
        horizon: the horizon that the test is told, at stride 1.
    """
    count = 0
    for seed, study in enumerate(losses):
        alternatives = study[:, :-1] - gain * (np.arange(study.shape[1] - 1) == 0)
        result = spa_test(
            alternatives, study[:, -1], horizon=horizon, stride=1, seed=seed, reps=100
        )
        count += result.p_value < 0.05
    return count


def test_superior_ability_has_its_size_and_power() -> None:
    losses = np.array([squares(seed, 60, 6) for seed in range(60)])
    # Of 60 studies without a better forecast 3 are due at 5 %. More than 8 would be (binomial)
    # one chance in 200.
    assert rejections(losses, horizon=1) <= 8
    assert rejections(losses, gain=1.0, horizon=1) >= 55


def test_overlapping_forecasts_are_no_new_evidence() -> None:
    losses = np.array([overlapping(seed, 1000, 21, horizon=50) for seed in range(60)])
    # 20 independent origins are few: the test claims 7 winners where 3 are due. Were they taken
    # for 1000, it would claim 27.
    assert rejections(losses, horizon=50) <= 12
    assert rejections(losses, horizon=1) >= 20


def test_no_resample_above_the_gain_is_not_a_p_value_of_zero() -> None:
    benchmark = squares(0, 30)
    result = spa_test(benchmark[:, None] - 1, benchmark, horizon=1, stride=1, reps=99)
    assert (result.lower, result.p_value, result.upper) == (0.01, 0.01, 0.01)


def test_no_gain_is_no_evidence() -> None:
    benchmark = squares(0, 30)
    for worse in (0.0, 1e-9, 0.5):  # 0: the alternatives are the benchmark itself
        losses = np.repeat(benchmark[:, None] + worse, 2, axis=1)
        result = spa_test(losses, benchmark, horizon=1, stride=1, reps=99)
        assert (result.lower, result.p_value, result.upper) == (1.0, 1.0, 1.0)


@settings(max_examples=25)
@given(seed=seeds, constant=constants, scale=scales, order=st.permutations(range(4)))
def test_superior_ability_depends_on_relative_gains_alone(
    seed: int, constant: float, scale: float, order: list[int]
) -> None:
    losses = squares(seed, 20, 5)
    alternatives, benchmark = losses[:, :4], losses[:, 4]
    known = spa_test(alternatives, benchmark, horizon=3, stride=1, reps=60)
    changed = scale * losses + constant
    again = spa_test(changed[:, order], changed[:, 4], horizon=3, stride=1, reps=60)
    assert again == known
    assert 0 < known.lower <= known.p_value <= known.upper <= 1


def test_more_poor_alternatives_cost_little_and_more_good_ones_cost_more() -> None:
    losses, benchmark = squares(3, 60, 40), squares(4, 60)
    best = losses[:, :1] - 0.6
    alone = spa_test(best, benchmark, horizon=1, stride=1)
    poor = spa_test(np.hstack([best, losses + 3]), benchmark, horizon=1, stride=1)
    equal = spa_test(np.hstack([best, losses]), benchmark, horizon=1, stride=1)
    assert alone.p_value <= poor.p_value < equal.p_value
    assert poor.p_value < poor.upper


# Model confidence set


def hansen_lunde_nason(losses: Array, block: int, seed: int, reps: int) -> list[float]:
    """P-values of the confidence set, by the paper's definitions.

    Hansen, Lunde & Nason (2011), sections 3.1.2 and 3.2: each forecast's mean loss relative to
    the average of those that remain, its variance over the resamples, the statistic T_max, and
    the p-values as running maxima. A forecast's own (b + 1) / (B + 1) in place of b / B.
    """
    origins = len(losses)
    drawn = list(resamples(origins, block, seed, reps))
    remaining, p_values, running = list(range(losses.shape[1])), [1.0] * losses.shape[1], 0.0
    while len(remaining) > 1:

        def relative(rows: NDArray[np.int64], among: tuple[int, ...]) -> dict[int, float]:
            mean = {i: math.fsum(losses[t, i] for t in rows) / origins for i in among}
            average = math.fsum(mean.values()) / len(among)
            return {i: value - average for i, value in mean.items()}

        among = tuple(remaining)
        observed = relative(np.arange(origins), among)
        centred = [
            {i: value - observed[i] for i, value in relative(rows, among).items()} for rows in drawn
        ]
        deviation = {i: math.sqrt(math.fsum(c[i] ** 2 for c in centred) / reps) for i in among}
        statistic = {i: observed[i] / deviation[i] for i in among}
        worst = max(among, key=statistic.__getitem__)
        beyond = sum(max(c[i] / deviation[i] for i in among) > statistic[worst] for c in centred)
        running = max(running, (beyond + 1) / (reps + 1))
        p_values[worst] = running
        remaining.remove(worst)
    return p_values


@pytest.mark.parametrize("seed", range(4))
def test_confidence_set_is_that_of_the_paper(seed: int) -> None:
    losses = squares(seed, 25, 4) + np.array([0.0, 0.3, 0.6, 0.9])
    p_values = model_confidence_set(losses, horizon=4, stride=2, seed=seed, reps=100)
    # The smallest p-values are those of different forecasts, so the order counts.
    np.testing.assert_allclose(p_values, hansen_lunde_nason(losses, 3, seed, 100), rtol=1e-12)
    assert len(set(p_values.tolist())) > 2


def test_bad_forecasts_leave_and_equal_ones_stay() -> None:
    losses = squares(8, 100, 4) + np.array([0.0, 0.0, 2.0, 0.0])
    p_values = model_confidence_set(losses, horizon=1, stride=1)
    assert in_confidence_set(p_values).tolist() == [True, True, False, True]
    assert p_values[2] == 1 / 1001
    assert p_values.max() == 1.0


def test_the_best_forecast_is_in_the_set_as_often_as_promised() -> None:
    # At 10 %, 54 of 60 sets keep the best of three; fewer than 45 would be one chance in 3000.
    kept = dropped = 0
    for seed in range(60):
        losses = squares(seed, 60, 4) + np.array([0.0, 0.1, 0.2, 1.5])
        inside = in_confidence_set(model_confidence_set(losses, horizon=1, stride=1, reps=200))
        kept, dropped = kept + inside[0], dropped + (not inside[3])
    assert kept >= 45
    assert dropped >= 50


def test_membership_is_above_the_size() -> None:
    p_values = np.array([0.05, 0.1, 0.10001, 1.0])
    assert in_confidence_set(p_values).tolist() == [False, False, True, True]
    assert in_confidence_set(p_values, size=0.01).all()


def test_twins_count_once() -> None:
    losses = squares(2, 30, 3) + np.array([0.0, 0.4, 0.8])
    once = model_confidence_set(losses, horizon=1, stride=1, reps=200)
    twice = model_confidence_set(losses[:, [2, 0, 1, 2, 1, 2]], horizon=1, stride=1, reps=200)
    assert twice.tolist() == once[[2, 0, 1, 2, 1, 2]].tolist()


def test_forecasts_that_cannot_be_told_apart_all_stay() -> None:
    losses = squares(0, 20, 1)
    assert model_confidence_set(losses, horizon=1, stride=1).tolist() == [1.0]
    assert model_confidence_set(losses[:, [0, 0, 0]], horizon=1, stride=1).tolist() == [1.0] * 3


def test_a_constant_difference_is_told_from_none() -> None:
    # No variance at all, in sixteenths so that not even rounding adds some.
    losses = np.round(16 * squares(0, 16, 1)) / 16 + np.array([1.0, 0.0, 2.0])
    p_values = model_confidence_set(losses, horizon=1, stride=1, reps=99)
    assert p_values.tolist() == [0.01, 1.0, 0.01]


def test_an_exact_tie_leaves_one_forecast() -> None:
    p_values = model_confidence_set(np.array([[0.0, 1.0], [1.0, 0.0]] * 8), horizon=1, stride=1)
    assert p_values.max() == 1.0
    assert p_values.min() > 0.5


def test_the_average_of_two_forecasts_is_between_them() -> None:
    # Its mean is always that of the three: no variance, and nothing to explain.
    first, second = np.round(16 * squares(1, 2, 16)) / 16
    losses = np.stack([first, second + 2, (first + second + 2) / 2], axis=1)
    p_values = model_confidence_set(losses, horizon=1, stride=1, reps=99)
    assert p_values[0] == 1.0
    assert p_values[1] <= p_values[2] < 0.1


@settings(max_examples=25)
@given(seed=seeds, constant=constants, scale=scales, order=st.permutations(range(4)))
def test_confidence_set_depends_on_relative_losses_alone(
    seed: int, constant: float, scale: float, order: list[int]
) -> None:
    losses = squares(seed, 20, 4)
    known = model_confidence_set(losses, horizon=3, stride=1, reps=60)
    again = model_confidence_set(scale * losses[:, order] + constant, horizon=3, stride=1, reps=60)
    assert again.tolist() == known[order].tolist()


@settings(max_examples=60)
@given(
    hnp.arrays(
        np.float64,
        st.tuples(st.integers(2, 5), st.integers(1, 5)),
        elements=st.sampled_from([0.0, 0.5, 1.0]),
    )
)
def test_any_losses_have_a_confidence_set(losses: Array) -> None:
    p_values = model_confidence_set(losses, horizon=2, stride=1, reps=60)
    assert p_values.shape == (losses.shape[1],)
    assert p_values.min() >= 1 / 61
    assert p_values.max() == 1.0
    for i, j in np.ndindex(losses.shape[1], losses.shape[1]):
        if (losses[:, i] == losses[:, j]).all():
            assert p_values[i] == p_values[j]


# Diebold & Mariano


def test_diebold_mariano_by_hand_without_overlap() -> None:
    # Differences 1, 3, 2, 2: mean 2, variance (1 + 1) / 4 = 1/2, of the mean 1/8. Correction
    # (4 + 1 - 2) / 4 = 3/4. The statistic is 2 sqrt(8) sqrt(3/4) = sqrt(24).
    benchmark = np.array([5.0, 1.0, 0.0, 2.0])
    result = diebold_mariano(benchmark + np.array([1.0, 3.0, 2.0, 2.0]), benchmark, overlap=1)
    assert result.mean_difference == 2.0
    assert result.statistic == pytest.approx(math.sqrt(24))
    # Student's t with 3 degrees, x = t / sqrt(3) = sqrt(8): 1 - 2/pi (x / (1 + x^2) + atan x).
    tail = 1 - 2 / math.pi * (math.sqrt(8) / 9 + math.atan(math.sqrt(8)))
    assert result.p_value == pytest.approx(tail)


def test_diebold_mariano_by_hand_with_overlap() -> None:
    # Differences 2, 0, 1, 3, 4 less their mean 2: 0, -2, -1, 1, 2. Autocovariances 10/5, 3/5 and
    # -4/5; 2 + 2 (3/5 - 4/5) = 8/5, of the mean 8/25. Correction (5 + 1 - 6 + 3 2/5) / 5 = 6/25.
    # The statistic is 2 sqrt(25/8) sqrt(6/25) = sqrt(3).
    result = diebold_mariano(np.array([2.0, 0.0, 1.0, 3.0, 4.0]), np.zeros(5), overlap=3)
    assert result.statistic == pytest.approx(math.sqrt(3))
    # Student's t with 4 degrees, u = t^2 / (1 + t^2 / 4) = 12/7: 1 - 3/4 sqrt(u) (1 - u / 12).
    assert result.p_value == pytest.approx(1 - 3 / 4 * math.sqrt(12 / 7) * (1 - 1 / 7))


def test_diebold_mariano_by_hand_where_autocovariances_cancel() -> None:
    # Differences 2, 1, 3 less 2: 0, -1, 1. Autocovariances 2/3 and -1/3: 2/3 - 2/3 is not
    # positive. With Bartlett's weight 1/2 it is 1/3, of the mean 1/9. Correction
    # (3 + 1 - 4 + 2/3) / 3 = 2/9. The statistic is 2 sqrt(9) sqrt(2/9) = sqrt(8).
    result = diebold_mariano(np.array([2.0, 1.0, 3.0]), np.zeros(3), overlap=2)
    assert result.statistic == pytest.approx(math.sqrt(8))
    # Student's t with 2 degrees: 1 - t / sqrt(2 + t^2).
    assert result.p_value == pytest.approx(1 - math.sqrt(8 / 10))


@given(seed=seeds, origins=st.integers(2, 40))
def test_without_overlap_it_is_students_t_test(seed: int, origins: int) -> None:
    # d / sqrt(g / T) sqrt((T - 1) / T) = d / sqrt(g / (T - 1)), and s^2 / T = g / (T - 1) for
    # the variance s^2 with T - 1 in its denominator: the very same statistic.
    losses, benchmark = squares(seed, origins), squares(seed + 1, origins)
    result = diebold_mariano(losses, benchmark, overlap=1)
    known = stats.ttest_1samp(losses - benchmark, 0)
    assert result.statistic == pytest.approx(known.statistic, rel=1e-9)
    assert result.p_value == pytest.approx(known.pvalue, rel=1e-9)


whole_numbers = st.lists(st.integers(-3, 3), min_size=2, max_size=9)


@settings(max_examples=300)
@given(whole_numbers, st.integers(1, 8))
@example([-3, -2, 3, -2, -1], 4)  # cancels to 0, and in floats to 9e-16
def test_diebold_mariano_agrees_with_exact_fractions(values: list[int], overlap: int) -> None:
    # The formulas as the papers and R write them, where cancellation leaves exactly 0.
    origins = len(values)
    assume(overlap < origins)
    assume(len(set(values)) > 1)
    mean = Fraction(sum(values), origins)
    covariances = [
        sum((values[t] - mean) * (values[t - lag] - mean) for t in range(lag, origins)) / origins
        for lag in range(overlap)
    ]
    variance = covariances[0] + 2 * sum(covariances[1:])
    if variance <= 0:
        variance = sum(
            (2 - (lag == 0)) * (1 - Fraction(lag, overlap)) * c for lag, c in enumerate(covariances)
        )
    correction = origins + 1 - 2 * overlap + Fraction(overlap * (overlap - 1), origins)
    squared = mean**2 / (variance / origins) * correction / origins
    result = diebold_mariano(np.array(values, float), np.zeros(origins), overlap=overlap)
    known = math.copysign(math.sqrt(squared), mean)
    assert result.statistic == pytest.approx(known, rel=1e-9)
    assert result.p_value == pytest.approx(2 * stats.t.cdf(-abs(known), origins - 1), rel=1e-7)
    assert result.mean_difference == pytest.approx(float(mean))


@given(seed=seeds, constant=constants, scale=scales, overlap=st.integers(1, 6))
def test_diebold_mariano_depends_on_relative_differences_alone(
    seed: int, constant: float, scale: float, overlap: int
) -> None:
    losses, benchmark = squares(seed, 2, 30)
    known = diebold_mariano(losses, benchmark, overlap=overlap)
    moved = diebold_mariano(
        scale * losses + constant, scale * benchmark + constant, overlap=overlap
    )
    assert moved.statistic == pytest.approx(known.statistic, rel=1e-6)
    assert moved.mean_difference == pytest.approx(scale * known.mean_difference, rel=1e-6)
    swapped = diebold_mariano(benchmark, losses, overlap=overlap)
    assert (swapped.statistic, swapped.p_value) == (-known.statistic, known.p_value)


def test_the_better_forecast_is_negative_and_significant() -> None:
    benchmark = squares(1, 50)
    result = diebold_mariano(squares(0, 50) - 1, benchmark, overlap=1)
    assert result.statistic < -2
    assert result.mean_difference < 0
    assert result.p_value < 0.01


def test_diebold_mariano_without_evidence() -> None:
    losses = squares(0, 5)
    same = diebold_mariano(losses, losses, overlap=2)
    assert (same.statistic, same.p_value, same.mean_difference) == (0.0, 1.0, 0.0)
    # From T <= overlap on, every two forecasts share a day. (At overlap T + 2 the correction
    # would be positive again.)
    for overlap in (5, 6, 7, 50):
        result = diebold_mariano(losses, np.zeros(5), overlap=overlap)
        assert (result.statistic, result.p_value) == (0.0, 1.0)
        assert result.mean_difference == pytest.approx(losses.mean())
    assert diebold_mariano(np.ones(1), np.zeros(1), overlap=1).p_value == 1.0
    assert diebold_mariano(losses, np.zeros(5), overlap=4).p_value < 1.0


def test_a_difference_that_never_changes_is_infinitely_significant() -> None:
    result = diebold_mariano(np.zeros(4), np.ones(4), overlap=2)
    assert (result.statistic, result.p_value) == (-math.inf, 0.0)


def test_diebold_mariano_has_its_size_with_overlap() -> None:
    # 300 studies of equal forecasts; 15 rejections are due at 5 %. Told that nothing overlaps,
    # the test rejects far more.
    told, untold = 0, 0
    for seed in range(300):
        losses, benchmark = overlapping(seed, 100, 2, horizon=4).T
        told += diebold_mariano(losses, benchmark, overlap=4).p_value < 0.05
        untold += diebold_mariano(losses, benchmark, overlap=1).p_value < 0.05
    assert 5 <= told <= 30
    assert untold >= 60


# Losses that say nothing


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_losses_must_be_finite(broken: float) -> None:
    losses, benchmark = squares(0, 10, 2), squares(1, 10)
    spoilt = losses.copy()
    spoilt[3, 1] = broken
    with pytest.raises(ConfigError, match=r"^losses must be finite, but 1 of 20 are not$"):
        spa_test(spoilt, benchmark, horizon=1, stride=1)
    with pytest.raises(ConfigError, match=r"^losses must be finite, but 1 of 20 are not$"):
        model_confidence_set(spoilt, horizon=1, stride=1)
    with pytest.raises(ConfigError, match=r"^losses must be finite, but 1 of 10 are not$"):
        diebold_mariano(spoilt[:, 1], benchmark, overlap=1)
    with pytest.raises(ConfigError, match=r"^benchmark must be finite, but 1 of 10 are not$"):
        spa_test(losses, spoilt[:, 1], horizon=1, stride=1)
    with pytest.raises(ConfigError, match=r"^benchmark must be finite, but 1 of 10 are not$"):
        diebold_mariano(benchmark, spoilt[:, 1], overlap=1)


def test_losses_must_be_there() -> None:
    with pytest.raises(ConfigError, match="at least 1 alternative, but have 0"):
        spa_test(np.empty((10, 0)), squares(1, 10), horizon=1, stride=1)
    with pytest.raises(ConfigError, match="at least 1 forecast, but have 0"):
        model_confidence_set(np.empty((10, 0)), horizon=1, stride=1)
    with pytest.raises(ConfigError, match="at least 2 forecast origins, but are of 1"):
        model_confidence_set(squares(0, 1, 2), horizon=1, stride=1)
    with pytest.raises(ConfigError, match=r"reps must be enough for .* to differ, but is 1$"):
        model_confidence_set(squares(0, 2, 2), horizon=1, stride=1, reps=1, seed=2)
    with pytest.raises(ConfigError, match="at least 1 forecast origin, but are of 0"):
        diebold_mariano(np.empty(0), np.empty(0), overlap=1)
    with pytest.raises(ConfigError, match="overlap must be at least 1, but is 0"):
        diebold_mariano(squares(0, 4), squares(1, 4), overlap=0)


def test_losses_must_be_of_the_same_origins() -> None:
    with pytest.raises(ConfigError, match="the benchmark's 9 forecast origins, but are of 10"):
        spa_test(squares(0, 10, 2), squares(1, 9), horizon=1, stride=1)
    with pytest.raises(ConfigError, match="the benchmark's 9 forecast origins, but are of 10"):
        diebold_mariano(squares(0, 10), squares(1, 9), overlap=1)
    with pytest.raises(ConfigError, match=r"losses must have 2 dimensions, but has shape \(10,\)"):
        model_confidence_set(squares(0, 10), horizon=1, stride=1)


def test_two_origins_are_no_evidence() -> None:
    losses, benchmark = np.array([[0.1], [0.1]]), np.array([1.0, 1.1])
    assert spa_test(losses, benchmark, horizon=1, stride=1).p_value == 1.0


def test_one_trial_that_went_astray_hides_no_other() -> None:
    """A loss of 10,000 at one of 75 origins, beside ten alternatives that are a fifth better."""
    rng = np.random.default_rng(0)
    benchmark = rng.chisquare(3, 75)
    good = benchmark[:, None] * 0.8 + 0.05 * rng.standard_normal((75, 10))
    astray = good[:, :1].copy()
    astray[40] = 1e4
    alone = spa_test(good, benchmark, horizon=1, stride=1)
    beside = spa_test(np.hstack([good, astray]), benchmark, horizon=1, stride=1)
    assert alone.p_value < 0.01
    assert beside.p_value < 0.01
    assert beside.alternatives == 11


def test_alternatives_that_are_alike_are_compared_as_they_are() -> None:
    """Without an unruly one, the p-value is that of arch on the losses themselves."""
    rng = np.random.default_rng(1)
    benchmark = rng.chisquare(3, 60)
    losses = benchmark[:, None] * 0.97 + 0.3 * rng.standard_normal((60, 5))
    spa = SPA(benchmark, losses, block_size=4, reps=1000, seed=0)
    spa.compute()
    found = spa_test(losses, benchmark, horizon=1, stride=1)
    assert found.p_value == pytest.approx((spa.pvalues["consistent"] * 1000 + 1) / 1001)
