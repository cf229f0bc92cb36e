"""Evaluation: the scores of trained weights at any origins, against training and NumPy."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foretune.models.config import TrialConfig
from foretune.models.forecasts.predict import evaluate
from foretune.models.forecasts.scoring import Scores
from foretune.models.networks.params import initial_params
from foretune.models.networks.stacked import Architecture
from foretune.models.training.loop import fit

# Both have as many scaled values: returns lose the first day, so levels get one day less.
RETURNS = {"scaling": "log_returns", "smoothing": 0.0}
LEVELS = {"scaling": "windowed_min_max", "scaling_window": 40, "smoothing": 0.6}
BOTH: Any = pytest.mark.parametrize("changes", [RETURNS, LEVELS], ids=["returns", "levels"])


def prices_for(changes: Any, small: SimpleNamespace) -> Any:
    length = len(small.prices)
    return small.prices.head(length if changes is RETURNS else length - 1)


def score(config: TrialConfig, params: Any, mid: Any, train_stop: int, origins: Any) -> Scores:
    return evaluate(config, params, mid[None], train_stop=train_stop, origins=origins, horizon=5)


@BOTH
def test_validation_scores_are_those_of_training(changes: Any, small: SimpleNamespace) -> None:
    config, prices = small.changed(**changes, epochs=2), prices_for(changes, small)
    data = small.development(prices)
    split = data.split
    for result in fit(config, data):
        # Days after validation are there now; they change nothing.
        scores = score(
            config, result.params, prices.mid, split.train_stop, split.validation_origins
        )
        # Two programs of the same sums: a compiler may round them differently.
        np.testing.assert_allclose(scores.changes, result.forecasts, rtol=0, atol=1e-6)
        assert scores.relative_mse == pytest.approx(result.relative_mse, rel=1e-5)
        assert scores.half_mse == pytest.approx(result.half_mse, rel=1e-5)
        assert scores.persistence_mse == result.persistence_mse


@BOTH
def test_test_scores_agree_with_numpy(
    changes: Any, small: SimpleNamespace, oracle: SimpleNamespace
) -> None:
    config, prices = small.changed(**changes), prices_for(changes, small)
    split, mid = small.development(prices).split, prices.mid
    params = initial_params(Architecture.of(config), 5)
    origins = split.test_origins
    assert origins[0] - config.unroll_length > split.train_stop
    scores = score(config, params, mid, split.train_stop, origins)

    stack = oracle.NumpyStack.of_params(Architecture.of(config), params)
    growths, came, half_errors = [], [], []
    for origin in origins.tolist():
        days = range(origin + 1, origin + 6)
        came.append([np.log(mid[day] / mid[origin]) for day in days])
        if changes is RETURNS:
            returns = np.diff(np.log(mid))  # returns[i] leads to day i + 1
            mean, std = (
                returns[: split.train_stop - 1].mean(),
                returns[: split.train_stop - 1].std(),
            )
            read = (returns[origin - 5 : origin, None] - mean) / std
            ahead = stack.forecast(read, 5)[0]
            growths.append(np.cumsum(ahead * std + mean))
            half_errors.extend((ahead - (returns[origin : origin + 5] - mean) / std) ** 2 / 2)
        else:
            last_window = mid[160 : split.train_stop]
            low, width = last_window.min(), np.ptp(last_window)
            ahead = stack.forecast((mid[origin - 4 : origin + 1, None] - low) / width, 5)[0]
            growths.append(np.log((ahead * width + low) / mid[origin]))
            half_errors.extend((ahead - (mid[origin + 1 : origin + 6] - low) / width) ** 2 / 2)
    np.testing.assert_allclose(scores.changes[0], growths, rtol=1e-4, atol=1e-6)
    assert scores.half_mse == pytest.approx(np.mean(half_errors), rel=1e-4)
    errors = np.square(np.array(growths) - came)
    assert scores.relative_mse == pytest.approx(errors.mean() / np.square(came).mean(), rel=1e-4)


@BOTH
def test_days_outside_training_windows_and_targets_change_nothing(
    changes: Any, small: SimpleNamespace
) -> None:
    # Nothing is fitted to them: forecasts of the last days do not know what came between.
    config, prices = small.changed(**changes), prices_for(changes, small)
    split = small.development(prices).split
    params = initial_params(Architecture.of(config), 5)
    count = len(split.test_origins)
    origins = np.arange(len(prices) - 5 - count, len(prices) - 5, dtype=np.int32)
    between = slice(split.train_stop, int(origins[0]) - config.unroll_length)
    assert between.stop - between.start > 50
    other = prices.mid.copy()
    other[between] *= np.linspace(0.2, 5, between.stop - between.start)
    first = score(config, params, prices.mid, split.train_stop, origins)
    second = score(config, params, other, split.train_stop, origins)
    np.testing.assert_array_equal(first.changes, second.changes)
    assert (first.relative_mse, first.half_mse) == (second.relative_mse, second.half_mse)
    # Not vacuous: the last training days do.
    other[split.train_stop - 3 : split.train_stop] *= 2
    third = score(config, params, other, split.train_stop, origins)
    assert (first.changes != third.changes).all()


@BOTH
def test_a_forecast_reads_no_day_after_its_origin(changes: Any, small: SimpleNamespace) -> None:
    config, prices = small.changed(**changes), prices_for(changes, small)
    split = small.development(prices).split
    params = initial_params(Architecture.of(config), 5)
    origins = split.test_origins
    other = prices.mid.copy()
    other[int(origins[1]) + 1 :] *= np.linspace(1.5, 2, len(other) - int(origins[1]) - 1)
    first = score(config, params, prices.mid, split.train_stop, origins)
    second = score(config, params, other, split.train_stop, origins)
    np.testing.assert_array_equal(first.changes[:, :2], second.changes[:, :2])
    assert (first.changes[:, 2:] != second.changes[:, 2:]).all()
    assert first.relative_mse != second.relative_mse


def test_windows_that_begin_in_the_training_days_are_smoothed_there(
    small: SimpleNamespace,
) -> None:
    # As the tutorial's first start point: five of these windows hold training days.
    prices = prices_for(LEVELS, small)
    split, count = small.development(prices).split, len(small.data.split.test_origins)
    origins = split.train_stop - 1 + np.arange(count, dtype=np.int32)
    smoothed, raw = (
        small.changed(**LEVELS | {"smoothing": smoothing})
        for smoothing in (LEVELS["smoothing"], 0.0)
    )
    params = initial_params(Architecture.of(raw), 5)
    first, second = (
        score(config, params, prices.mid, split.train_stop, origins) for config in (smoothed, raw)
    )
    differ = (first.changes != second.changes)[0].all(axis=1)
    assert differ.tolist() == [True] * 5 + [False] * (count - 5)
    np.testing.assert_array_equal(first.changes[:, 5:], second.changes[:, 5:])
