"""Conformal intervals: ranks counted by hand, a plain loop, coverage in simulations."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from foretune.datasets import load_sample
from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import chronological_split
from foretune.models.forecasts import intervals
from foretune.models.forecasts.intervals import (
    adaptive_widths,
    conformal_widths,
    coverage_by_step,
    coverage_by_volatility,
    interval,
    running_volatility,
    volatility_by_series,
)

Array = NDArray[np.float64]

shapes = st.tuples(st.integers(1, 30), st.integers(1, 3))
growths = shapes.flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.float64, shape, elements=st.floats(-2, 2))] * 2)
)


def errors_of_every_size(origins: int, numbers: np.random.Generator) -> tuple[Array, Array]:
    """Forecasts and outcomes [O, 2] with absolute errors 1, 2, ... O, then twice those."""
    sizes = np.stack([numbers.permutation(origins) + 1, 2 * (numbers.permutation(origins) + 1)], 1)
    forecast = numbers.integers(-5, 5, sizes.shape).astype(np.float64)
    return forecast, forecast + sizes * numbers.choice([-1, 1], sizes.shape)


@pytest.mark.parametrize(
    ("origins", "coverage", "rank"),
    [
        (9, 0.9, 9),  # 10 * 0.9
        (19, 0.9, 18),  # 20 * 0.9
        (10, 0.9, 10),  # 9.9
        (20, 0.9, 19),  # 18.9
        (10, 0.5, 6),  # 5.5
        (99, 0.55, 55),  # 100 * 0.55, which is 55.00000000000001 in binary
        (3, 0.25, 1),
        (8, 0.9, 8),  # 8.1: the 9th of 8; the largest stands in
        (1, 0.99, 1),
    ],
)
def test_widths_are_the_finite_sample_quantile(
    origins: int, coverage: float, rank: int, numbers: np.random.Generator
) -> None:
    forecast, actual = errors_of_every_size(origins, numbers)
    widths = conformal_widths(forecast, actual, coverage=coverage)
    assert widths.tolist() == [rank, 2 * rank]


@given(growths, st.integers(1, 99))
def test_width_is_the_smallest_error_that_enough_errors_stay_within(
    pair: tuple[Array, Array], percent: int
) -> None:
    forecast, actual = pair
    widths = conformal_widths(forecast, actual, coverage=percent / 100)
    for step, width in enumerate(widths):
        errors = [abs(a - f) for f, a in zip(forecast[:, step], actual[:, step], strict=True)]
        enough = [
            bound
            for bound in errors
            if 100 * sum(error <= bound for error in errors) >= percent * (len(errors) + 1)
        ]
        assert width == min(enough, default=max(errors))


@given(growths, st.integers(1, 99), st.integers(1, 99))
def test_more_coverage_takes_wider_intervals(
    pair: tuple[Array, Array], one: int, other: int
) -> None:
    narrow = conformal_widths(*pair, coverage=min(one, other) / 100)
    wide = conformal_widths(*pair, coverage=max(one, other) / 100)
    assert (narrow <= wide).all()


@given(growths, st.integers(1, 99))
def test_the_outcomes_that_set_the_widths_are_covered(
    pair: tuple[Array, Array], percent: int
) -> None:
    widths = conformal_widths(*pair, coverage=percent / 100)
    covered = coverage_by_step(*pair, widths) * len(pair[0])
    assert (np.rint(covered) >= min(percent * (len(pair[0]) + 1) / 100, len(pair[0]))).all()


@pytest.mark.parametrize(("origins", "expected"), [(9, 0.9), (14, 14 / 15), (4, 4 / 5)])
def test_one_further_outcome_is_covered_with_the_promised_probability(
    origins: int, expected: float, numbers: np.random.Generator
) -> None:
    # Every step is a study of its own. The k-th of O errors exceeds a further one with probability
    # k / (O + 1): 9/10; 14/15, the next above 0.9 that 14 forecasts can do; 4/5 where they are too
    # few. The standard error over 20 000 steps is 0.2 points.
    actual = numbers.standard_normal((origins + 1, 20_000))
    forecast = np.zeros_like(actual)
    widths = conformal_widths(forecast[:-1], actual[:-1])
    covered = coverage_by_step(forecast[-1:], actual[-1:], widths).mean()
    assert covered == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.95])
def test_later_outcomes_are_covered_at_every_step(
    coverage: float, numbers: np.random.Generator
) -> None:
    # Heavy tails, biased forecasts, errors that grow with the step: nothing Gaussian about it.
    scale = np.array([0.01, 0.02, 0.05, 0.2])
    forecast = numbers.standard_normal((6000, 4)) * scale
    actual = forecast + (numbers.standard_t(3, (6000, 4)) + 0.5) * scale
    widths = conformal_widths(forecast[:2000], actual[:2000], coverage=coverage)
    assert (np.diff(widths) > 0).all()
    covered = coverage_by_step(forecast[2000:], actual[2000:], widths)
    np.testing.assert_allclose(covered, coverage, atol=0.03)
    # The same by the ends of the intervals, and for a whole path less.
    lower, upper = interval(forecast[2000:], widths)
    inside = (lower <= actual[2000:]) & (actual[2000:] <= upper)
    np.testing.assert_allclose(inside.mean(axis=0), covered, atol=1e-3)
    assert inside.all(axis=1).mean() < coverage - 0.05


def test_interval_and_coverage_by_hand() -> None:
    forecast = np.array([[0.0, 1.0], [2.0, -1.0]])
    widths = np.array([0.5, 2.0])
    lower, upper = interval(forecast, widths)
    assert lower.tolist() == [[-0.5, -1.0], [1.5, -3.0]]
    assert upper.tolist() == [[0.5, 3.0], [2.5, 1.0]]
    # The first step: on the lower end, on the upper end. The second: above, inside.
    actual = np.array([[-0.5, 3.5], [2.5, -2.0]])
    assert coverage_by_step(forecast, actual, widths).tolist() == [1.0, 0.5]
    assert coverage_by_step(forecast, actual - 1e-3, widths).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90.0, float("nan")])
def test_coverage_must_be_a_share(coverage: float) -> None:
    with pytest.raises(ConfigError, match="coverage must be above 0 and below 1, but is"):
        conformal_widths(np.zeros((3, 2)), np.zeros((3, 2)), coverage=coverage)


@pytest.mark.parametrize(
    ("forecast", "actual"), [((3, 2), (3, 1)), ((3, 2), (2,)), ((0, 2), (0, 2)), ((3,), (3,))]
)
def test_forecasts_and_outcomes_must_match(
    forecast: tuple[int, ...], actual: tuple[int, ...]
) -> None:
    with pytest.raises(ConfigError, match=r"one shape \[O, H\] that is not empty, but have"):
        conformal_widths(np.zeros(forecast), np.zeros(actual))


# Volatility


@given(hnp.arrays(np.float64, st.integers(2, 40), elements=st.floats(-5, 5)))
def test_the_running_volatility_is_that_of_a_loop(levels: Array) -> None:
    squares = [(b - a) ** 2 for a, b in itertools.pairwise(levels)]
    found = running_volatility(levels)
    for row in range(1, len(levels)):
        weights = [0.94**age for age in range(row)]
        mean = sum(w * x for w, x in zip(weights, squares[row - 1 :: -1], strict=False))
        expected = math.sqrt(mean / sum(weights))
        assert found[row] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        # What comes later changes nothing.
        assert running_volatility(levels[: row + 1]).tolist() == found[: row + 1].tolist()
    assert found[0] == found[1]


# Series as they are


def real_levels(name: str) -> Array:
    if name == "co2":
        values = sm.datasets.co2.load_pandas().data["co2"].interpolate()
    elif name == "elnino":
        values = sm.datasets.elnino.load_pandas().data.iloc[:, 1:].stack()
    elif name == "sunspots":
        values = sm.datasets.sunspots.load_pandas().data["SUNACTIVITY"]
    elif name == "bikes":
        return load_sample("bikes").target
    else:
        return np.log(load_sample("sp500").close)
    return np.asarray(values, np.float64)


@pytest.mark.parametrize(
    ("name", "horizon"),
    [("co2", 24), ("elnino", 12), ("bikes", 24), ("sp500", 50), ("sunspots", 5)],
)
def test_intervals_of_persistence_hold_on_test_parts(name: str, horizon: int) -> None:
    """Where nothing was chosen on: over all, and in calm, middling and restless times."""
    levels = real_levels(name)
    split = chronological_split(len(levels), horizon=horizon)
    origins = np.concatenate([split.validation_origins, split.test_origins])
    actual = levels[origins[:, None] + np.arange(1, horizon + 1)] - levels[origins][:, None]
    volatility = running_volatility(levels)[origins]
    widths = adaptive_widths(np.abs(actual), origins, volatility, overlap=split.overlap)
    test = slice(-len(split.test_origins), None)
    shown = np.zeros_like(actual[test]), actual[test], widths[test]
    assert 0.86 < coverage_by_step(*shown).mean() < 0.94
    thirds = coverage_by_volatility(*shown, volatility[test])
    if name == "sunspots":  # 56 origins of a year each: thirds of them cannot tell
        assert thirds.min() > 0.7
        return
    assert 0.82 < thirds.min() < thirds.max() < 0.96


# Adaptive widths


def adaptive_by_loop(
    errors: Array, origins: list[int], volatility: Array, overlap: int, coverage: float
) -> Array:
    """The docstring, word by word, for one series [O, H]."""
    count, horizon = errors.shape
    rate, trailing = 0.03 / max(overlap / 5, 1), round(100 * max(overlap / 5, 1))
    widths, level = np.full((count, horizon), np.nan), [coverage] * horizon
    heard = [set[int]() for _ in range(horizon)]
    for now in range(count):
        together = spread = 0.0
        known = [
            [j for j in range(count) if origins[j] + step + 1 <= origins[now]]
            for step in range(horizon)
        ]
        for step, these in enumerate(known):
            for j in these:
                if j in heard[step]:
                    continue
                heard[step].add(j)
                if not math.isnan(widths[j, step]):
                    held = errors[j, step] <= widths[j, step]
                    level[step] += -rate * (1 - coverage) if held else rate * coverage
                    level[step] = min(max(level[step], 0.0), 1.0)
            if these:
                error = sum(errors[j, step] for j in these) / len(these) or 1.0
                moved = sum(volatility[j] for j in these) / len(these)
                for j in these:
                    together += (errors[j, step] / error - 1) * (volatility[j] / moved - 1)
                    spread += (volatility[j] / moved - 1) ** 2
        share = min(max(together / spread, 0.0), 0.99) if spread > 1e-12 else 0.0
        mean = sum(volatility[: now + 1]) / (now + 1)
        for step, these in enumerate(known):
            scores = sorted(
                errors[j, step] / (share * volatility[j] + (1 - share) * mean)
                for j in these[-trailing:]
            )
            if scores:
                rank = min(math.ceil(level[step] * (len(scores) + 1) - 1e-9), len(scores))
                unit = share * volatility[now] + (1 - share) * mean
                widths[now, step] = scores[rank - 1] * unit if rank else 0.0
    return widths


@pytest.mark.parametrize(
    ("origins", "overlap", "coverage"),
    [
        (list(range(40)), 3, 0.9),
        (list(range(0, 80, 2)), 2, 0.5),
        (list(range(0, 200, 5)), 1, 0.8),
        ([*range(0, 60, 2), *range(75, 120, 2)], 2, 0.9),  # two parts with a gap
        (list(range(260)), 8, 0.9),  # more than trail
    ],
)
def test_adaptive_widths_are_those_of_a_plain_loop(
    origins: list[int], overlap: int, coverage: float, numbers: np.random.Generator
) -> None:
    volatility = np.exp(numbers.standard_normal(len(origins)))
    scale = 1 + np.arange(3) + volatility[:, None] * np.linspace(0.2, 2, len(origins))[:, None]
    errors = np.abs(numbers.standard_t(3, (len(origins), 3))) * scale
    found = adaptive_widths(
        errors, np.array(origins), volatility, overlap=overlap, coverage=coverage
    )
    expected = adaptive_by_loop(errors, origins, volatility, overlap, coverage)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    # Several at a time, each by itself: panels of one series.
    two = adaptive_widths(
        np.stack([errors, errors[::-1]])[:, None],
        np.array(origins),
        np.stack([volatility, volatility[::-1]])[:, None],
        overlap=overlap,
        coverage=coverage,
    )[:, 0]
    assert two[0].tobytes() == found.tobytes()
    expected = adaptive_by_loop(errors[::-1], origins, volatility[::-1], overlap, coverage)
    np.testing.assert_allclose(two[1], expected, rtol=1e-9)


@given(st.data(), st.integers(1, 4), st.integers(1, 30))
def test_no_outcome_is_used_before_it_is_known(data: st.DataObject, apart: int, count: int) -> None:
    numbers = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    origins = np.cumsum(numbers.integers(1, apart + 1, count))
    errors, volatility = numbers.exponential(size=(count, 4)), numbers.exponential(size=count)
    widths = adaptive_widths(errors, origins, volatility, overlap=4)
    row = data.draw(st.integers(origins[0], origins[-1]))
    later = origins[:, None] + np.arange(1, 5) > row
    for unknown in (np.nan, 1e9, 0.0):
        others = adaptive_widths(
            np.where(later, unknown, errors),
            origins,
            np.where(origins > row, 7.0, volatility),
            overlap=4,
        )
        before = origins <= row
        assert others[before].tobytes() == widths[before].tobytes()


def test_without_a_known_outcome_there_is_no_interval() -> None:
    # Steps 1 and 2 from rows 0, 1 and 3: at row 1 one outcome of step 1 is known, at 3 all are.
    widths = adaptive_widths(
        np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), np.array([0, 1, 3]), np.ones(3), overlap=2
    )
    assert np.isnan(widths).tolist() == [[True, True], [False, True], [False, False]]
    assert widths[1, 0] == 1.0
    assert widths[2].tolist() == [3.0, 4.0]


@pytest.mark.parametrize(("known", "expected"), [(9, 0.9), (14, 14 / 15), (4, 4 / 5)])
def test_exchangeable_outcomes_are_covered_with_the_promised_probability(
    known: int, expected: float, numbers: np.random.Generator
) -> None:
    # As of split-conformal widths above; here of 20 000 series at a time.
    errors = np.abs(numbers.standard_t(3, (20_000, 1, known + 1, 1)))
    volatility = np.full(errors.shape[:3], 3.0)
    widths = adaptive_widths(errors, np.arange(known + 1), volatility, overlap=1, rate=0)
    assert np.mean(errors[:, 0, -1] <= widths[:, 0, -1]) == pytest.approx(expected, abs=0.01)


def garch(count: int, numbers: np.random.Generator) -> Array:
    """A path whose changes are GARCH(1, 1): persistent volatility, as of prices."""
    noise, variance, changes = numbers.standard_normal(count), 1.0, np.zeros(count)
    for row in range(count):
        changes[row] = math.sqrt(variance) * noise[row]
        variance = 0.02 + 0.1 * changes[row] ** 2 + 0.88 * variance
    return np.cumsum(changes)


def test_where_volatility_changes_adaptive_intervals_hold_in_all_of_it(
    numbers: np.random.Generator,
) -> None:
    levels, origins = garch(8000, numbers), np.arange(50, 7990)
    actual = levels[origins[:, None] + np.arange(1, 6)] - levels[origins][:, None]
    volatility, forecast = running_volatility(levels)[origins], np.zeros_like(actual)
    later = slice(2000, None)

    def covered(widths: Array) -> Array:
        return coverage_by_volatility(forecast[later], actual[later], widths, volatility[later])

    static = conformal_widths(forecast[:2000], actual[:2000])
    low, _, high = covered(np.broadcast_to(static, actual[later].shape))
    assert low - high > 0.1
    adaptive = adaptive_widths(np.abs(actual), origins, volatility, overlap=5)[later]
    np.testing.assert_allclose(covered(adaptive), 0.9, atol=0.05)
    by_step = coverage_by_step(forecast[later], actual[later], adaptive)
    np.testing.assert_allclose(by_step, 0.9, atol=0.02)


def test_errors_that_do_not_follow_the_volatility_are_not_scaled_by_it(
    numbers: np.random.Generator,
) -> None:
    # The volatility says nothing here: errors in its units would miss where it is low.
    volatility = np.exp(numbers.standard_normal(3000))
    errors = np.abs(numbers.standard_normal((3000, 2)))
    widths = adaptive_widths(errors, np.arange(3000), volatility, overlap=2)
    zeros = np.zeros((2000, 2))
    covered = coverage_by_volatility(zeros, errors[1000:], widths[1000:], volatility[1000:])
    np.testing.assert_allclose(covered, 0.9, atol=0.03)
    wholly = volatility[:, None] * np.quantile(errors / volatility[:, None], 0.9)
    low, _, high = coverage_by_volatility(zeros, errors[1000:], wholly[1000:], volatility[1000:])
    assert high - low > 0.1


@pytest.mark.parametrize(("stride", "horizon"), [(4, 20), (1, 20)])
def test_where_errors_grow_adaptive_intervals_grow(
    stride: int, horizon: int, numbers: np.random.Generator
) -> None:
    # However close together the origins are.
    levels = np.cumsum(numbers.standard_normal(6000) * np.exp(np.linspace(0, 3, 6000)))
    origins = np.arange(50, 5980, stride)
    actual = levels[origins[:, None] + np.arange(1, horizon + 1)] - levels[origins][:, None]
    forecast, half = np.zeros_like(actual), len(origins) // 2
    static = conformal_widths(forecast[:half], actual[:half])
    assert coverage_by_step(forecast[half:], actual[half:], static).mean() < 0.7
    # Even with a volatility that shows nothing of it.
    widths = adaptive_widths(
        np.abs(actual), origins, np.ones(len(origins)), overlap=horizon // stride
    )
    covered = coverage_by_step(forecast[half:], actual[half:], widths[half:])
    np.testing.assert_allclose(covered, 0.88, atol=0.03)


def test_a_series_that_stands_still_has_intervals_all_the_same() -> None:
    levels = np.concatenate([np.arange(40.0), np.full(400, 40.0)])
    origins = np.arange(10, 430)
    errors = np.abs(levels[origins[:, None] + [1, 2]] - levels[origins][:, None])
    widths = adaptive_widths(errors, origins, running_volatility(levels)[origins], overlap=2)
    assert np.isfinite(widths[2:]).all()
    still = adaptive_widths(np.zeros((9, 1)), np.arange(9), np.zeros(9), overlap=1)
    assert still[1:].tolist() == [[0.0]] * 8
    # An error as large as its interval was inside it: after 40 of these one other changes nothing.
    once = np.zeros((60, 1))
    once[40] = 1.0
    widths = adaptive_widths(once, np.arange(60), np.ones(60), overlap=1)
    assert not widths[1:].any()


def test_coverage_by_volatility_by_hand() -> None:
    # In the order of volatility: 1 2 | 3 4 | 5 6, errors against widths of 1.
    volatility = np.array([5.0, 1.0, 3.0, 6.0, 2.0, 4.0])
    errors = np.array([[2.0, 0.0], [0.0, 1.0], [2.0, 2.0], [2.0, 2.0], [0.5, 1.0], [0.0, 0.0]])
    found = coverage_by_volatility(np.zeros((6, 2)), errors, np.ones((6, 2)), volatility)
    assert found.tolist() == [1.0, 0.5, 0.25]


@pytest.mark.parametrize("coverage", [0.0, 1.0, float("nan")])
def test_the_coverage_of_adaptive_intervals_must_be_a_share(coverage: float) -> None:
    with pytest.raises(ConfigError, match="coverage must be above 0 and below 1, but is"):
        adaptive_widths(np.zeros((3, 2)), np.arange(3), np.ones(3), overlap=1, coverage=coverage)


def panel_errors(count: int, origins: int, numbers: np.random.Generator) -> tuple[Array, Array]:
    """Errors [S, O, 2] of series of very different sizes, and volatilities [S, O] like them."""
    sizes = 10.0 ** np.linspace(-2, 2, count)
    volatility = sizes[:, None] * np.exp(0.3 * numbers.standard_normal((count, origins)))
    errors = np.abs(numbers.standard_t(3, (count, origins, 2))) * sizes[:, None, None]
    return errors, volatility


def test_with_one_known_origin_intervals_are_from_all_series_each_in_its_own_unit(
    numbers: np.random.Generator,
) -> None:
    errors, volatility = panel_errors(29, 2, numbers)
    widths = adaptive_widths(errors, np.array([5, 7]), volatility, overlap=1)
    assert np.isnan(widths[:, 0]).all()
    # With one known origin no share of the volatility is known to matter: the unit is its mean.
    unit = volatility.mean(axis=1)
    for step in range(2):
        scores = np.sort(errors[:, 0, step] / unit)
        np.testing.assert_allclose(widths[:, 1, step], scores[26] * unit, rtol=1e-12)  # 0.9 * 30


@pytest.mark.parametrize("room", [1, 90, 2**20])
def test_with_enough_known_outcomes_each_series_has_the_intervals_it_has_alone(
    room: int, numbers: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However many are sorted at once. The level stays: it depends on the intervals before.
    monkeypatch.setattr(intervals, "_ROOM", room)
    errors, volatility = panel_errors(7, 30, numbers)
    given: dict[str, Any] = {"overlap": 1, "rate": 0}
    widths = adaptive_widths(errors, np.arange(30), volatility, **given)
    alone = [
        adaptive_widths(errors[own], np.arange(30), volatility[own], **given) for own in range(7)
    ]
    # Step 1 has 9 known outcomes at the tenth origin, step 2 at the next.
    for step, first in enumerate((9, 10)):
        assert widths[:, first:, step].tobytes() == np.stack(alone)[:, first:, step].tobytes()
        assert not np.isclose(widths[:, first - 1, step], np.stack(alone)[:, first - 1, step]).all()
    one = adaptive_widths(errors, np.arange(30), volatility, only=slice(3, 4), **given)
    assert one.tobytes() == widths[3:4].tobytes()


def test_a_panel_of_one_has_the_intervals_of_the_series(numbers: np.random.Generator) -> None:
    errors, volatility = panel_errors(1, 40, numbers)
    panel = adaptive_widths(errors, np.arange(40), volatility, overlap=2)
    own = adaptive_widths(errors[0], np.arange(40), volatility[0], overlap=2)
    assert panel[0].tobytes() == own.tobytes()
    np.testing.assert_allclose(
        own, adaptive_by_loop(errors[0], list(range(40)), volatility[0], 2, 0.9), rtol=1e-9
    )


def test_intervals_from_one_origin_hold_for_nine_in_ten_of_exchangeable_series(
    numbers: np.random.Generator,
) -> None:
    # 2000 panels of 12 series, of sizes that their volatility tells.
    sizes = 10.0 ** np.linspace(-2, 2, 12)[:, None, None]
    errors = np.abs(numbers.standard_t(3, (2000, 12, 2, 1))) * sizes
    volatility = np.broadcast_to(sizes[..., 0], errors.shape[:3])
    widths = adaptive_widths(errors, np.arange(2), volatility, overlap=1)
    held = np.mean(errors[:, :, 1] <= widths[:, :, 1], axis=(0, 2))
    np.testing.assert_allclose(held, 12 / 13, atol=0.02)  # 12 of the 13 that 0.9 asks for


def test_the_volatility_of_a_series_begins_at_its_first_row(numbers: np.random.Generator) -> None:
    levels = numbers.standard_normal((2, 60)).cumsum(axis=1)
    levels[1, :20] = levels[1, 20]
    whole, late = volatility_by_series(levels, np.array([0, 20]))
    assert whole.tobytes() == running_volatility(levels[0]).tobytes()
    assert late[20:].tobytes() == running_volatility(levels[1, 20:]).tobytes()
    assert late[:20].tolist() == [late[20]] * 20


def test_coverage_of_several_series_is_that_of_each() -> None:
    errors = np.array([[[2.0], [0.0], [0.5]], [[0.0], [2.0], [2.0]]])
    volatility = np.array([[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]])
    found = coverage_by_volatility(np.zeros_like(errors), errors, np.ones((3, 1)), volatility)
    assert found.tolist() == [[1, 1, 0], [1, 0, 0]]
