"""Metrics by hand."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import binomtest
from statsmodels.stats.proportion import proportion_confint

from foretune.datasets.common.errors import DataError
from foretune.datasets.transforms import LOG, ErrorSpace
from foretune.models.forecasts.metrics import (
    Metrics,
    assess,
    assess_each,
    direction_hits,
    direction_p_value,
    mean_squared_error,
    proportion_interval,
    relative_mse,
    sign_overlap,
)

Array = NDArray[np.float64]
growths = hnp.arrays(np.float64, (3, 4), elements=st.floats(-2, 2))
signs = hnp.arrays(np.float64, 12, elements=st.sampled_from([-2.5, -1e-300, -0.0, 0.0, 1e-300, 3]))
confidences = st.sampled_from([0.5, 0.8, 0.95, 0.99])
# (hits, count)
proportions = st.integers(1, 400).flatmap(
    lambda count: st.tuples(st.integers(0, count), st.just(count))
)


def test_mean_squared_error_by_hand() -> None:
    forecast, actual = np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([[0.0, 2.0], [3.0, 1.0]])
    assert mean_squared_error(forecast, actual) == (1 + 0 + 9 + 4) / 4


def test_relative_mse_by_hand() -> None:
    # Errors 0.1, -0.1, 0, 0.2 against log growths 0.2, -0.1, 0.3, 0.4.
    actual = np.array([[0.2, -0.1], [0.3, 0.4]])
    forecast = np.array([[0.3, -0.2], [0.3, 0.6]])
    assert relative_mse(forecast, actual) == pytest.approx((1 + 1 + 0 + 4) / (4 + 1 + 9 + 16))


@given(growths, growths.filter(lambda actual: np.abs(actual).max() > 1e-3))
def test_metrics_agree_with_loops(forecast: Array, actual: Array) -> None:
    pairs = list(zip(forecast.ravel().tolist(), actual.ravel().tolist(), strict=True))
    errors = math.fsum((f - a) ** 2 for f, a in pairs)
    persistence = math.fsum(a**2 for _, a in pairs)
    assert mean_squared_error(forecast, actual) == pytest.approx(errors / 12, rel=1e-12)
    assert relative_mse(forecast, actual) == pytest.approx(errors / persistence, rel=1e-12)


def test_persistence_is_one_and_the_truth_is_zero() -> None:
    actual = np.array([[0.2, -0.1], [0.3, 0.4]])
    assert relative_mse(np.zeros((2, 2)), actual) == 1.0
    assert relative_mse(actual, actual) == 0.0
    assert relative_mse(2 * actual, actual) == 1.0


def test_direction_hits_by_hand() -> None:
    # Up and up, down and down, up and down; then no forecast, no move, and neither.
    forecast = np.array([0.1, -0.2, 0.3, 0.0, 0.5, -0.0])
    actual = np.array([0.4, -1e-9, -0.1, 0.2, 0.0, 0.0])
    assert direction_hits(forecast, actual) == (2, 3)


@given(signs, signs)
def test_direction_hits_agree_with_a_loop(forecast: Array, actual: Array) -> None:
    pairs = list(zip(forecast.tolist(), actual.tolist(), strict=True))
    right = sum((f > 0 and a > 0) or (f < 0 and a < 0) for f, a in pairs)
    wrong = sum((f > 0 and a < 0) or (f < 0 and a > 0) for f, a in pairs)
    assert direction_hits(forecast, actual) == (right, right + wrong)


@pytest.mark.parametrize(("overlap", "effect"), [(1, 1), (2, 5 / 3), (3, 1 + 4 / math.pi * 1.0697)])
def test_the_design_effect_of_overlapping_signs_by_hand(overlap: int, effect: float) -> None:
    # asin(1/2) is a sixth of pi; of thirds asin(2/3) + asin(1/3) = 0.7297 + 0.3398.
    assert sign_overlap(overlap) == pytest.approx(effect, abs=1e-3)


@pytest.mark.parametrize("overlap", [2, 5, 10])
def test_the_design_effect_is_that_of_simulated_signs(
    overlap: int, numbers: np.random.Generator
) -> None:
    # The share of ups among overlapping changes, in many studies: its variance against that of
    # as many independent signs.
    steps = numbers.standard_normal((4000, 400))
    total = np.pad(np.cumsum(steps, axis=1), ((0, 0), (1, 0)))
    ups = (total[:, overlap:] - total[:, :-overlap]) > 0
    found = np.var(ups.mean(axis=1)) / (0.25 / ups.shape[1])
    assert sign_overlap(overlap) == pytest.approx(found, rel=0.1)


@given(proportions, confidences)
@example((0, 1), 0.95)
@example((1, 1), 0.95)
@example((60, 100), 0.95)
def test_proportion_interval_is_wilsons(proportion: tuple[int, int], confidence: float) -> None:
    hits, count = proportion
    wilson = binomtest(hits, count).proportion_ci(confidence, method="wilson")
    other = proportion_confint(hits, count, alpha=1 - confidence, method="wilson")
    ours = proportion_interval(hits, count, confidence=confidence)
    assert ours == pytest.approx((wilson.low, wilson.high), rel=1e-9, abs=1e-12)
    assert ours == pytest.approx(other, rel=1e-9, abs=1e-12)


def test_proportion_interval_is_of_95_percent_unless_told() -> None:
    assert proportion_interval(7, 9) == proportion_interval(7, 9, 1, confidence=0.95)


@given(proportions, st.integers(2, 20))
def test_overlap_widens_the_interval(proportion: tuple[int, int], overlap: int) -> None:
    hits, count = proportion
    low, high = proportion_interval(hits, count)
    wider_low, wider_high = proportion_interval(hits, count, overlap)
    if count > 1:  # one outcome is evidence of its own, however many share it
        assert wider_high - wider_low > high - low
    # By statsmodels, of as many independent ones, which need be no whole number.
    independent = max(count / sign_overlap(overlap), 1)
    expected = proportion_confint(independent * hits / count, independent, method="wilson")
    assert (wider_low, wider_high) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_right_directions_by_hand() -> None:
    """Pesaran and Timmermann's formulas, for 10 forecasts: 6 ups, 7 actual ups, 7 right."""
    x = np.array([1, 1, 1, 1, 1, 1, -1, -1, -1, -1.0, 0, 2])
    y = np.array([1, 1, 1, 1, 1, -1, 1, 1, -1, -1.0, 3, 0])
    # P_x 0.6, P_y 0.7, P 0.7; P* = 0.42 + 0.12 = 0.54.
    of_share = 0.54 * 0.46 / 10
    of_expected = (0.4**2 * 0.24 + 0.2**2 * 0.21) / 10 + 4 * 0.42 * 0.12 / 100
    statistic = (0.7 - 0.54) / math.sqrt(of_share - of_expected)
    expected = 0.5 * math.erfc(statistic / math.sqrt(2))
    assert direction_p_value(x, y) == pytest.approx(expected, rel=1e-9)
    # Of three times as many origins that overlap, not three times the evidence.
    thrice = direction_p_value(np.tile(x, 3), np.tile(y, 3), 3)
    assert thrice is not None
    assert thrice > (direction_p_value(np.tile(x, 3), np.tile(y, 3)) or 1)


def test_always_up_is_no_evidence_in_a_market_that_rises() -> None:
    ups = np.array([1.0, 1, 1, -1, 1, 1, 1, 1, -1, 1])
    assert direction_p_value(np.ones(10), ups) is None
    assert direction_p_value(ups, np.ones(10)) is None
    assert direction_p_value(np.zeros(10), ups) is None
    assert direction_p_value(np.ones(1), np.ones(1)) is None


def test_without_skill_the_directions_of_a_rising_market_are_seldom_significant(
    numbers: np.random.Generator,
) -> None:
    # 70 % ups, forecasts that know nothing and are up 70 % of the time: 58 % are right.
    found = [direction_p_value(*(numbers.random((2, 200)) < 0.7) - 0.5) or 1.0 for _ in range(2000)]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.015)
    known = [
        direction_p_value(f + a, a) or 1.0 for f, a in numbers.standard_normal((200, 2, 200)) + 0.5
    ]
    assert np.mean(np.array(known) < 0.05) > 0.95


def test_series_at_one_time_are_no_more_evidence_than_one(numbers: np.random.Generator) -> None:
    actual = numbers.standard_normal(60) + 0.2
    forecast = actual + numbers.standard_normal(60)
    alone = assess_one(forecast[None], actual[None])
    # The same series a hundred times, also in other units: what moves one moves all.
    sizes = np.geomspace(0.01, 100, 100)[:, None]
    many = assess_one(sizes * forecast, sizes * actual)
    for name in ("accuracy", "low", "high", "p_value"):
        own, of_many = (getattr(found, f"directional_{name}") for found in (alone, many))
        assert of_many == pytest.approx(own, rel=1e-12)
    # By statsmodels, of as many independent outcomes as there are origins.
    hits, count = direction_hits(forecast, actual)
    assert (alone.directional_low, alone.directional_high) == pytest.approx(
        proportion_confint(hits, count, method="wilson"), rel=1e-9
    )


def assess_one(forecast: Array, actual: Array) -> Metrics:
    """Metrics of one step [S, O], of origins that do not overlap."""
    return assess(
        [forecast[..., None]],
        [actual[..., None]],
        now=[np.ones_like(actual)],
        units=[1.0] * len(actual),
        overlap=1,
        spaces=[LOG] * len(actual),
    ).metrics


def test_right_directions_of_two_series_by_hand() -> None:
    """Each against its own ups: their gains and standard errors, weighted by their directions."""
    x = np.array([[1, 1, 1, -1, -1, 1], [1, -1, 1, -1, 0, 0.0]])
    y = np.array([[1, 1, -1, -1, -1, 1], [1, -1, -1, -1, 1, 1.0]])
    gain, error = [], []
    for ups, rose, right, count in ((4 / 6, 3 / 6, 5 / 6, 6), (2 / 4, 1 / 4, 3 / 4, 4)):
        expected = ups * rose + (1 - ups) * (1 - rose)
        of_expected = (
            (2 * rose - 1) ** 2 * ups * (1 - ups)
            + (2 * ups - 1) ** 2 * rose * (1 - rose)
            + 4 * ups * rose * (1 - ups) * (1 - rose) / count
        ) / count
        gain.append(right - expected)
        error.append(math.sqrt(expected * (1 - expected) / count - of_expected))
    statistic = (0.6 * gain[0] + 0.4 * gain[1]) / (0.6 * error[0] + 0.4 * error[1])
    expected = 0.5 * math.erfc(statistic / math.sqrt(2))
    assert direction_p_value(x, y) == pytest.approx(expected, rel=1e-9)


def test_which_series_rises_is_no_evidence_of_when() -> None:
    rises = np.array([[1.0], [-1.0]]) * np.ones((2, 50))
    assert direction_hits(rises, rises) == (100, 100)
    assert direction_p_value(rises, rises) is None
    # Nor are many series at one origin, whose interval is that of one outcome.
    one = np.where(np.arange(400) % 3 > 0, 1.0, -1.0)[:, None]
    found = assess_one(one, np.ones((400, 1)))
    assert found.directional_p_value is None
    share = found.directional_accuracy
    assert share == np.mean(one > 0)
    ends = proportion_confint(share, 1, method="wilson")
    assert (found.directional_low, found.directional_high) == pytest.approx(ends, rel=1e-9)


def test_without_skill_series_that_move_as_one_are_seldom_significant(
    numbers: np.random.Generator,
) -> None:
    # As series that move as one could be: one outcome, one forecast, and noise of their own.
    found = []
    for _ in range(500):
        forecast, actual = numbers.standard_normal((2, 1, 60)) + 0.3
        own = 0.3 * numbers.standard_normal((2, 20, 60))
        found.append(direction_p_value(forecast + own[0], actual + own[1]) or 1.0)
    assert np.mean(np.array(found) < 0.05) < 0.08


def test_each_series_by_itself_and_their_mean(numbers: np.random.Generator) -> None:
    forecast, actual = numbers.standard_normal((2, 3, 10, 4))
    spaces = [ErrorSpace(name="value", unit=unit) for unit in (1.0, 20.0, 0.3)]
    given: dict[str, Any] = {
        "now": [numbers.standard_normal((3, 10))],
        "overlap": 2,
        "spaces": spaces,
    }
    units = [0.5, 0.0, 2.0]
    found = assess_each([forecast], [actual], units=units, **given)
    for own, f, a, unit in zip(found, forecast, actual, units, strict=True):
        assert own.relative_mse == pytest.approx(np.mean((f - a) ** 2) / np.mean(a**2), rel=1e-12)
        assert own.mae == pytest.approx(np.mean(np.abs(f - a)), rel=1e-12)
        mase = np.mean(np.abs(f - a)) / unit if unit else None
        assert own.mase == (None if mase is None else pytest.approx(mase, rel=1e-12))
    whole = assess([forecast], [actual], units=units, **given).metrics
    for name in ("relative_mse", "mse", "mae", "mase", "smape"):
        mean = np.mean([own.known()[name] for own in found if name in own.known()])
        assert getattr(whole, name) == pytest.approx(mean, rel=1e-12)
    assert assess([forecast], [actual], units=[0.0] * 3, **given).metrics.mase is None


def test_a_series_that_stands_still_has_no_relative_mse_and_no_part_in_the_mean(
    numbers: np.random.Generator,
) -> None:
    forecast, actual = numbers.standard_normal((2, 3, 10, 4))
    actual[1] = 0.0
    given: dict[str, Any] = {
        "now": [np.ones((3, 10))],
        "overlap": 2,
        "spaces": [ErrorSpace(name="value", unit=1.0)] * 3,
        "units": [0.5, 1.0, 2.0],
    }
    found = assess([forecast], [actual], **given)
    others = [
        np.mean((f - a) ** 2, axis=1) / np.mean(a**2)
        for f, a in zip(forecast, actual, strict=True)
        if a.any()
    ]
    assert found.metrics.relative_mse == pytest.approx(np.mean(others), rel=1e-12)
    np.testing.assert_allclose(found.losses, np.mean(others, axis=0), rtol=1e-12)
    assert found.persistence_losses.mean() == pytest.approx(1, rel=1e-12)
    # It counts in all that has no such unit.
    assert found.metrics.mse == pytest.approx(np.mean((forecast - actual) ** 2), rel=1e-12)
    alone = assess_each([forecast], [actual], **given)
    assert [np.isnan(own.relative_mse) for own in alone] == [False, True, False]
    with pytest.raises(DataError, match="values must change after some of the 10 forecast"):
        assess([forecast], [np.zeros_like(actual)], **given)
