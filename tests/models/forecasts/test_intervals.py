"""Conformal intervals: ranks counted by hand, coverage in simulations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.models.forecasts.intervals import conformal_widths, coverage_by_step, interval

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
