"""Assessments: every number by hand."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from foretune.datasets.common.errors import DataError
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import Split, chronological_split, development_folds
from foretune.datasets.transforms import ErrorSpace
from foretune.models.config import MetricName
from foretune.models.forecasts.metrics import (
    METRICS,
    Outcomes,
    assess,
    assess_folds,
    seasonal_naive_error,
)

Array = NDArray[np.float64]

NOW = np.ones((1, 3))  # the values at the origins, which logarithms do not depend on

# Squares 1 1 | 4 16 | 1 1: their mean is 24 / 6 = 4.
ACTUAL = np.array([[[1.0, -1.0], [2.0, -4.0], [1.0, 1.0]]])
# Errors 1 0 | 0 2 | -1 -2.
FORECAST = np.array([[[2.0, -1.0], [2.0, -2.0], [0.0, -1.0]]])

# Squares all 1.
OTHER_ACTUAL = np.array([[[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]]])
# Errors 0.5 0.5 | -1 1 | 2 0.
OTHER_FORECAST = np.array([[[1.5, 1.5], [0.0, 0.0], [1.0, 1.0]]])

pairs = st.lists(
    st.tuples(*[hnp.arrays(np.float64, (1, 4, 3), elements=st.floats(-2, 2))] * 2),
    min_size=1,
    max_size=3,
)


def percent(change: float) -> float:
    """200 |f - a| / (f + a) of a forecast of 1 where exp(change) came."""
    return 200 * abs(1 - math.exp(change)) / (1 + math.exp(change))


def wilsons_interval(hits: float, count: float) -> tuple[float, float]:
    low, high = proportion_confint(hits, count, method="wilson")
    return float(low), float(high)


def test_one_fold_by_hand() -> None:
    found = assess([FORECAST], [ACTUAL], now=[NOW], units=[0.25], overlap=1)
    metrics = found.metrics
    # Squared errors 1 0 | 0 4 | 1 4, absolute ones 1 0 | 0 2 | 1 2.
    assert metrics.mse == 10 / 6
    assert metrics.relative_mse == pytest.approx(10 / 24, rel=1e-15)
    assert metrics.mae == 1.0
    assert metrics.mase == 4.0
    # By origin 0.5, 2 and 2.5, and 1, 10 and 1 for persistence, in units of 4.
    assert found.losses.tolist() == [0.125, 0.5, 0.625]
    assert found.losses.mean() == metrics.relative_mse
    assert found.persistence_losses.tolist() == [0.25, 2.5, 0.25]
    assert found.persistence_losses.mean() == 1.0
    assert found.mse_by_step.tolist() == [2 / 3, 8 / 3]
    assert found.persistence_mse_by_step.tolist() == [6 / 3, 18 / 3]
    assert found.mae_by_step.tolist() == [2 / 3, 4 / 3]
    # On the last day: down and down, down and down, down and up.
    assert metrics.directional_accuracy == 2 / 3
    assert (metrics.directional_low, metrics.directional_high) == pytest.approx(
        wilsons_interval(2, 3), rel=1e-9
    )
    # Forecasts that are all of one sign prove nothing.
    assert metrics.directional_p_value is None


def test_two_folds_by_hand() -> None:
    found = assess(
        [FORECAST, OTHER_FORECAST], [ACTUAL, OTHER_ACTUAL], now=[NOW, NOW], units=[0.25], overlap=1
    )
    metrics = found.metrics
    # Squared errors 10 and 6.5 in all, 12 values; but each fold is relative to its own
    # persistence, 24 and 6.
    assert metrics.mse == 16.5 / 12
    assert metrics.relative_mse == pytest.approx((10 / 24 + 6.5 / 6) / 2, rel=1e-15)
    assert metrics.mae == pytest.approx((6 + 5) / 12, rel=1e-15)
    assert metrics.mase == pytest.approx((6 + 5) / 12 / 0.25, rel=1e-15)
    assert found.losses.tolist() == [0.125, 0.5, 0.625, 0.25, 1.0, 2.0]
    assert found.losses.mean() == pytest.approx(metrics.relative_mse, abs=1e-12)
    assert found.persistence_losses.tolist() == [0.25, 2.5, 0.25, 1.0, 1.0, 1.0]
    assert found.persistence_losses.mean() == 1.0
    np.testing.assert_allclose(found.mse_by_step, [(2 + 5.25) / 6, (8 + 1.25) / 6], rtol=1e-15)
    np.testing.assert_allclose(found.persistence_mse_by_step, [9 / 6, 21 / 6], rtol=1e-15)
    np.testing.assert_allclose(found.mae_by_step, [(2 + 3.5) / 6, (4 + 1.5) / 6], rtol=1e-15)
    # Two of three; then up and up, no forecast, up and up.
    assert metrics.directional_accuracy == 4 / 5
    assert (metrics.directional_low, metrics.directional_high) == pytest.approx(
        wilsons_interval(4, 5), rel=1e-9
    )


VALUES = ErrorSpace(name="value", unit=2.0)

# Two series in one fold. Errors 1 -1 | 0 2 and 0 0 | 4 0; moves 2 2 | 0 2 and 4 0 | 2 4.
MOVES = np.array([[[2.0, 2.0], [0.0, 2.0]], [[4.0, 0.0], [2.0, 4.0]]])
MADE = MOVES + np.array([[[1.0, -1.0], [0.0, 2.0]], [[0.0, 0.0], [4.0, 0.0]]])
# The values at the origins, of a series in units of 2: 10 14 12 | 1 1 5 and 3 11 3 | 5 9 13 came.
AT = np.array([[10.0, 1.0], [3.0, 5.0]])


@pytest.mark.parametrize(
    ("metric", "by_series_and_origin"),
    [
        # Squares 1 1 | 0 4 by 12 / 4 of persistence, and 0 0 | 16 0 by 36 / 4.
        ("relative_mse", [[1 / 3, 2 / 3], [0, 8 / 9]]),
        ("mse", [[1, 2], [0, 8]]),
        ("mae", [[1, 1], [0, 2]]),
        # In units of 0.5 and 4.
        ("mase", [[2, 2], [0, 0.5]]),
        # 16 12 | 1 9 were forecast where 14 14 | 1 5 came, and 11 3 | 17 13 where 11 3 | 9 13.
        ("smape", [[200 * (2 / 30 + 2 / 26) / 2, 200 * (4 / 14) / 2], [0, 200 * (8 / 26) / 2]]),
    ],
)
def test_every_metric_of_two_series_by_hand(
    metric: MetricName, by_series_and_origin: list[list[float]]
) -> None:
    came = Outcomes(actual=MOVES, now=AT, units=[0.5, 4.0], spaces=[VALUES, VALUES])
    by_origin = np.mean(by_series_and_origin, axis=0)
    np.testing.assert_allclose(METRICS[metric].by_origin(MADE, came), by_origin, rtol=1e-14)
    value = METRICS[metric].value(MADE, came)
    assert value == pytest.approx(by_origin.mean(), rel=1e-14)
    found = assess(
        [MADE],
        [MOVES],
        now=[AT],
        units=[0.5, 4.0],
        overlap=1,
        spaces=[VALUES, VALUES],
        metric=metric,
    )
    assert found.metrics.of(metric) == value


@pytest.mark.parametrize(
    ("metric", "losses", "persistence"),
    [
        # Squares by origin 0.5 2 2.5 | 0.25 1 2 where persistence has 1 10 1 | 1 1 1.
        ("mse", [0.5, 2.0, 2.5, 0.25, 1.0, 2.0], [1.0, 10.0, 1.0, 1.0, 1.0, 1.0]),
        # Absolute 0.5 1 1.5 | 0.5 1 1 where persistence has 1 3 1 | 1 1 1.
        ("mae", [0.5, 1.0, 1.5, 0.5, 1.0, 1.0], [1.0, 3.0, 1.0, 1.0, 1.0, 1.0]),
        ("mase", [0.5, 1.0, 1.5, 0.5, 1.0, 1.0], [1.0, 3.0, 1.0, 1.0, 1.0, 1.0]),
        (
            "smape",
            [
                *(percent(1) / 2, percent(2) / 2, (percent(1) + percent(2)) / 2),
                *(percent(0.5), percent(1), percent(2) / 2),
            ],
            [percent(1), (percent(2) + percent(4)) / 2, *[percent(1)] * 4],
        ),
    ],
)
def test_losses_of_a_metric_are_its_errors_in_units_of_persistences(
    metric: MetricName, losses: list[float], persistence: list[float]
) -> None:
    found = assess(
        [FORECAST, OTHER_FORECAST],
        [ACTUAL, OTHER_ACTUAL],
        now=[NOW, NOW],
        units=[0.25],
        overlap=1,
        metric=metric,
    )
    unit = np.mean(persistence)
    np.testing.assert_allclose(found.losses, np.array(losses) / unit, rtol=1e-14)
    np.testing.assert_allclose(found.persistence_losses, persistence / unit, rtol=1e-14)
    assert found.persistence == pytest.approx(unit * (4 if metric == "mase" else 1), rel=1e-14)
    # So their mean is the metric, relative to persistence's.
    of_metric = found.metrics.of(metric) / found.persistence
    assert found.losses.mean() == pytest.approx(of_metric, rel=1e-14)


def test_persistence_is_one_and_has_no_direction() -> None:
    actuals = [ACTUAL, OTHER_ACTUAL]
    found = assess(
        [np.zeros_like(actual) for actual in actuals],
        actuals,
        now=[NOW, NOW],
        units=[0.25],
        overlap=1,
    )
    assert found.metrics.relative_mse == 1.0
    assert found.losses.tolist() == found.persistence_losses.tolist()
    assert found.mse_by_step.tolist() == found.persistence_mse_by_step.tolist()
    assert found.metrics.directional_accuracy is None
    assert found.metrics.directional_low is None
    assert found.metrics.directional_high is None
    assert found.metrics.directional_p_value is None
    # Absolute moves 10 and 6, squares 24 and 6.
    assert found.metrics.known() == {
        "relative_mse": 1.0,
        "mse": 30 / 12,
        "mae": pytest.approx(16 / 12, rel=1e-15),
        "mase": pytest.approx(16 / 12 / 0.25, rel=1e-15),
        "smape": pytest.approx((10 * percent(1) + percent(2) + percent(4)) / 12, rel=1e-12),
    }


def test_the_truth_is_zero_and_its_opposite_four() -> None:
    found = assess([ACTUAL], [ACTUAL], now=[NOW], units=[0.25], overlap=1)
    assert found.metrics.known() == {
        "relative_mse": 0.0,
        "mse": 0.0,
        "mae": 0.0,
        "mase": 0.0,
        "smape": 0.0,
        "directional_accuracy": 1.0,
        "directional_low": pytest.approx(wilsons_interval(3, 3)[0], rel=1e-9),
        "directional_high": 1.0,
        # P* = 5/9, whose variance is 20/81 / 3; that of P* itself 4/81 / 3 + 16/81 / 9.
        "directional_p_value": pytest.approx(
            norm.sf((4 / 9) / math.sqrt((20 - 4 - 16 / 3) / 243)), rel=1e-9
        ),
    }
    assert not found.losses.any()
    assert not found.mse_by_step.any()
    assert not found.mae_by_step.any()
    opposite = assess([-ACTUAL], [ACTUAL], now=[NOW], units=[0.25], overlap=1)
    assert opposite.metrics.relative_mse == 4.0
    assert opposite.metrics.directional_accuracy == 0.0
    assert opposite.metrics.directional_low == 0.0


@given(pairs)
def test_losses_of_folds_of_one_size_have_the_metric_as_their_mean(
    pairs: list[tuple[Array, Array]],
) -> None:
    forecasts, actuals = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assume(all(np.abs(actual).max() > 1e-3 for actual in actuals))
    now = [np.ones((1, 4))] * len(pairs)
    found = assess(forecasts, actuals, now=now, units=[0.01], overlap=3)
    assert found.losses.shape == found.persistence_losses.shape == (4 * len(pairs),)
    assert found.losses.mean() == pytest.approx(found.metrics.relative_mse, rel=1e-12)
    assert found.persistence_losses.mean() == pytest.approx(1, rel=1e-12)
    assert found.mse_by_step.mean() == pytest.approx(found.metrics.mse, rel=1e-12)
    assert found.mae_by_step.mean() == pytest.approx(found.metrics.mae, rel=1e-12)


def test_prices_that_stand_still_after_every_origin_of_a_fold_are_refused() -> None:
    still = np.zeros((1, 3, 2))
    with pytest.raises(DataError, match=r"after some of the 3 forecast origins, but stand still"):
        assess([FORECAST, FORECAST], [ACTUAL, still], now=[NOW, NOW], units=[0.25], overlap=1)


def test_folds_of_a_made_up_series_by_hand(small: SimpleNamespace) -> None:
    # Log prices in hundredths. Blocks of 4 days from 6 on and from 10 on, each 2 days after its
    # training: days 0 to 3, and 0 to 7.
    logs = [0, 2, 1, 4, -9, 1, 3, 2, 5, 1, 1, 3, 2, 3, 7, 7, 7, 7, 7, 7]
    split = Split(
        length=20,
        train_stop=4,
        validation_start=6,
        validation_stop=14,
        test_start=16,
        horizon=2,
        stride=1,
    )
    prices = small.series_of_mids(np.exp(0.01 * np.array(logs)), small.prices.head(20))
    folds = development_folds(prices.series("mid"), split, 2)
    assert [fold.split.validation_origins.tolist() for fold in folds] == [[5, 6, 7], [9, 10, 11]]
    # After 5: 2 1; after 6: -1 2; after 7: 3 -1. Errors -1 0 | 2 -1 | -2 2.
    # After 9: 0 2; after 10: 2 1; after 11: -1 0. Errors 1 -3 | -1 -1 | 1 -1.
    forecasts = [
        0.01 * np.array([[[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]]),
        0.01 * np.array([[[1.0, -1.0], [1.0, 0.0], [0.0, -1.0]]]),
    ]
    found = assess_folds(folds, forecasts)
    # Changes 2, 1, 3, 13 and 10 on the days before the first block: 29 / 5 is the unit.
    # Squared errors 14 of 20, and 14 of 10; absolute ones 8 and 8. Directions: two hits and a
    # miss; a miss, no forecast, no move. Two origins in a row share a day: of 4 signs each says as
    # much as 3 / 5 of one. Three of four are up in both, and 0.625 would be right by chance.
    low, high = wilsons_interval(1.2, 2.4)
    of_share = 0.625 * 0.375 / 2.4
    of_expected = (2 * 0.25 * 0.1875 + 4 * 0.75**2 * 0.25**2 / 2.4) / 2.4
    assert found.metrics.known() == pytest.approx(
        {
            "relative_mse": (0.7 + 1.4) / 2,
            "mse": 28e-4 / 12,
            "mae": 0.16 / 12,
            "mase": 16 / 12 / (29 / 5),
            "smape": sum(percent(0.01 * e) for e in (1, 0, 2, 1, 2, 2, 1, 3, 1, 1, 1, 1)) / 12,
            "directional_accuracy": 2 / 4,
            "directional_low": low,
            "directional_high": high,
            "directional_p_value": norm.sf((0.5 - 0.625) / math.sqrt(of_share - of_expected)),
        },
        rel=1e-9,
    )
    # By origin, sums over the two days in units of 20 / 3 and 10 / 3.
    units = np.array([20 / 3] * 3 + [10 / 3] * 3)
    np.testing.assert_allclose(found.losses, np.array([1, 5, 8, 10, 2, 2]) / units, rtol=1e-9)
    np.testing.assert_allclose(
        found.persistence_losses, np.array([5, 5, 10, 4, 5, 1]) / units, rtol=1e-9
    )


def test_errors_of_values_by_hand() -> None:
    # From 10, 0 and -10, in units of 2: 12 and 8, 4 and -4, -6 and 10 where 8 and 8, 0 and -4, -10
    # and -10 came.
    space, now = ErrorSpace(name="value", unit=2.0), np.array([[10.0, 0.0, -10.0]])
    forecast = np.array([[[1.0, -1.0], [2.0, -2.0], [2.0, 10.0]]])
    actual = np.array([[[-1.0, -1.0], [0.0, -2.0], [0.0, 0.0]]])
    found = assess([forecast], [actual], now=[now], units=[0.5], overlap=1, spaces=[space]).metrics
    # Differences 4 0 | 4 0 | 4 20 of sizes 20 16 | 4 8 | 16 20.
    assert found.smape == pytest.approx((40 + 0 + 200 + 0 + 50 + 200) / 6, rel=1e-12)
    # Nothing where nothing was forecast, and came.
    nothing = assess(
        [np.array([[[0.0, -5.0]]])],
        [np.array([[[-5.0, -5.0]]])],
        now=[now[:, :1]],
        units=[0.5],
        overlap=1,
        spaces=[space],
    )
    assert nothing.metrics.smape == 200 / 2
    assert (found.mae, found.mase) == (16 / 6, 16 / 6 / 0.5)


def test_the_unit_of_mase_is_the_seasonal_naives_error_in_all_rows_before() -> None:
    levels = np.array([0.0, 3.0, 1.0, 5.0, -2.0, 4.0])
    # One row apart 3 2 4 7 6, two rows 1 2 3 1, five rows 4.
    for season, unit in ((None, 22 / 5), (1, 22 / 5), (2, 7 / 4), (5, 4.0), (6, 22 / 5)):
        assert seasonal_naive_error(levels, season) == pytest.approx(unit, rel=1e-15)
    still = np.tile([0.0, 1.0], 4)
    assert seasonal_naive_error(still, 2) == 0.0
    found = assess([FORECAST], [ACTUAL], now=[NOW], units=[0.0], overlap=1)
    assert found.metrics.mase is None
    assert "mase" not in found.metrics.known()


def test_a_season_of_the_calendar_sets_the_unit_of_mase() -> None:
    hours = pd.date_range("2024-01-01", periods=300, freq="h")
    values = np.random.default_rng(0).normal(size=300) + np.arange(300) % 24
    series = TimeSeries.from_frame(pd.DataFrame({"y": values}, index=hours))
    split = chronological_split(300, horizon=5, gap=7, history=20)
    folds = development_folds(series, split, 2)
    zeros = [np.zeros((1, len(fold.split.validation_origins), 5)) for fold in folds]
    metrics = assess_folds(folds, zeros).metrics
    before = values[: folds[0].split.validation_start]
    apart = [abs(before[row] - before[row - 24]) for row in range(24, len(before))]
    errors = [
        abs(values[origin + step] - values[origin])
        for fold in folds
        for origin in fold.split.validation_origins
        for step in range(1, 6)
    ]
    assert metrics.mase == pytest.approx(np.mean(errors) / np.mean(apart), rel=1e-9)
