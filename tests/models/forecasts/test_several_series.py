"""Several series at once [S, ...]: each is what it is alone, and scores are their means."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foretune.datasets.splits import DevelopmentData, Split, walk_forward
from foretune.datasets.transforms import ErrorSpace, ScalingName, fit_scaling
from foretune.models.config import TrialConfig
from foretune.models.forecasts.baselines import baseline_changes
from foretune.models.forecasts.intervals import conformal_widths, coverage_by_step, interval
from foretune.models.forecasts.metrics import assess_folds, validation_growth
from foretune.models.forecasts.predict import evaluate
from foretune.models.forecasts.ridge import Regressors, choose_ridge
from foretune.models.forecasts.scoring import Scorer, scale
from foretune.models.training.loop import fit

Array = NDArray[np.float64]

ROWS, HORIZON = 160, 3
SPLIT = Split(
    length=200,
    train_stop=100,
    validation_start=103,
    validation_stop=ROWS,
    test_start=163,
    horizon=HORIZON,
    stride=2,
)


def values_of(count: int) -> Array:
    """Positive values of very different sizes [S, N]."""
    rng = np.random.default_rng(7)
    walks = np.exp(0.1 * rng.normal(size=(count, ROWS)).cumsum(axis=1))
    return walks * np.array([1.0, 500.0, 1e-3])[:count, None]


def spaces_of(values: Array, *, log: bool) -> tuple[ErrorSpace, ...]:
    return tuple(ErrorSpace.fit("log" if log else "value", own[:100]) for own in values)


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.9])
@pytest.mark.parametrize("scaling", get_args(ScalingName))
def test_each_is_scaled_and_scored_by_itself(scaling: Any, smoothing: float, log: bool) -> None:
    config = TrialConfig(scaling=scaling, scaling_window=40, smoothing=smoothing)
    values, origins = values_of(3), SPLIT.validation_origins
    spaces = spaces_of(values, log=log)
    scaled = scale(config, values, 100)
    forecasts = np.random.default_rng(1).normal(size=(3, len(origins), HORIZON)) * 0.1
    scores = Scorer(values, origins, HORIZON, scaled, spaces)(forecasts)
    relative, persistence, half = [], [], []
    for number, (own, space) in enumerate(zip(values, spaces, strict=True)):
        alone = fit_scaling(scaling, own[:100], window=40)
        assert scaled.scalings[number] == alone
        targets = alone.transform(own)
        np.testing.assert_array_equal(scaled.targets[number], targets)
        changes = alone.change(forecasts[number], origins, own, space)
        np.testing.assert_array_equal(scores.changes[number], changes)
        levels = np.log(own) if log else own / np.std(own[:100])
        came = np.array([levels[o + 1 : o + 4] - levels[o] for o in origins])
        relative.append(np.mean((changes - came) ** 2) / np.mean(came**2))
        persistence.append(np.mean(came**2))
        ahead = np.array([targets[o + 1 - alone.lag : o + 4 - alone.lag] for o in origins])
        half.append(np.mean((forecasts[number] - ahead) ** 2) / 2)
        one = scale(config, own[None], 100)
        np.testing.assert_array_equal(one.inputs[0], scaled.inputs[number])
    assert scores.relative_mse == pytest.approx(np.mean(relative), rel=1e-9)
    assert scores.persistence_mse == pytest.approx(np.mean(persistence), rel=1e-9)
    assert scores.half_mse == pytest.approx(np.mean(half), rel=1e-9)


def development_of(values: Array, split: Split, *, log: bool = True) -> DevelopmentData:
    return DevelopmentData(
        time=pd.RangeIndex(split.validation_stop),
        values=values[:, : split.validation_stop],
        split=split,
        capacity=ROWS,
        spaces=spaces_of(values, log=log),
    )


@pytest.mark.parametrize("log", [True, False])
def test_metrics_are_means_over_the_series(log: bool) -> None:
    values, splits = values_of(3), walk_forward(SPLIT, 2)
    folds = [development_of(values, split, log=log) for split in splits]
    rng = np.random.default_rng(2)
    forecasts = [
        0.2 * rng.normal(size=(3, len(split.validation_origins), HORIZON)) for split in splits
    ]
    found = assess_folds(folds, forecasts)
    alone = []
    for number in range(3):
        one = [
            replace(fold, values=fold.values[number][None], spaces=fold.spaces[number : number + 1])
            for fold in folds
        ]
        alone.append(assess_folds(one, [forecast[number][None] for forecast in forecasts]))
    for name in ("relative_mse", "mse", "mae", "mase", "smape"):
        mean = np.mean([getattr(one.metrics, name) for one in alone])
        assert getattr(found.metrics, name) == pytest.approx(mean, rel=1e-12)
    names = ("losses", "persistence_losses", "mse_by_step", "persistence_mse_by_step")
    for name in (*names, "mae_by_step"):
        mean = np.mean([getattr(one, name) for one in alone], axis=0)
        np.testing.assert_allclose(getattr(found, name), mean, rtol=1e-12)
    assert found.losses.shape == (sum(len(split.validation_origins) for split in splits),)
    assert found.losses.mean() == pytest.approx(found.metrics.relative_mse, rel=1e-12)
    came = [np.concatenate([validation_growth(fold)[s] for fold in folds]) for s in range(3)]
    made = [np.concatenate([forecast[s] for forecast in forecasts]) for s in range(3)]
    hits = [np.sign(m[:, -1]) == np.sign(c[:, -1]) for m, c in zip(made, came, strict=True)]
    assert found.metrics.directional_accuracy == pytest.approx(np.mean(hits), rel=1e-12)


@pytest.mark.parametrize("test", [False, True])
def test_each_has_the_baselines_that_it_has_alone(test: bool) -> None:
    rng = np.random.default_rng(3)
    levels, folds = rng.normal(size=(3, 200)).cumsum(axis=1), walk_forward(SPLIT, 2)
    close = levels + rng.normal(size=(3, 200))
    known = {"past": rng.normal(size=(3, 200, 1)), "future": rng.normal(size=(3, 205, 2))}
    found = baseline_changes(levels, folds, test=test, seasonality=7, close=close, **known)
    names = ["persistence", "drift", "seasonal naive 7", "last close", "ridge on lags"]
    assert list(found) == names
    ridges = choose_ridge(Regressors(levels=levels, **known), folds)
    for number in range(3):
        own = {name: covariates[number] for name, covariates in known.items()}
        for place, split in enumerate(folds[-1:] if test else folds):
            origins = split.test_origins if test else split.validation_origins
            ridge = ridges[-1 if test else place]
            of_ridge = found["ridge on lags"][place][number]
            np.testing.assert_array_equal(of_ridge, ridge.changes(levels[number], origins, **own))
            now = levels[number][origins]
            slope = (levels[number, split.train_stop - 1] - levels[number, 0]) / (
                split.train_stop - 1
            )
            for step in range(HORIZON):
                expected = {
                    "persistence": 0 * now,
                    "drift": slope * (step + 1),
                    "seasonal naive 7": levels[number][origins + step - 6] - now,
                    "last close": close[number][origins] - now,
                }
                for name, changes in expected.items():
                    ours = found[name][place][number, :, step]
                    np.testing.assert_allclose(ours, changes, atol=1e-12, err_msg=name)
    again = baseline_changes(
        levels, folds, test=test, seasonality=7, close=close, ridges=ridges, **known
    )
    for name in names:
        for ours, theirs in zip(again[name], found[name], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_each_has_intervals_of_its_own() -> None:
    rng = np.random.default_rng(4)
    actual = rng.normal(size=(3, 30, HORIZON)) * np.array([1.0, 10.0, 0.1])[:, None, None]
    forecast = np.zeros_like(actual)
    widths = conformal_widths(forecast, actual)
    whole = widths[:, None]  # the same at every origin
    ends, coverage = interval(forecast, whole), coverage_by_step(forecast, actual, whole)
    for number in range(3):
        # The 28th of 30: ceil(31 * 0.9).
        expected = np.sort(abs(actual[number]), axis=0)[27]
        np.testing.assert_array_equal(widths[number], expected)
        np.testing.assert_array_equal(ends[0][number], forecast[number] - expected)
        np.testing.assert_array_equal(ends[1][number], forecast[number] + expected)
        assert coverage[number].tolist() == [28 / 30] * HORIZON


def test_one_network_is_trained_on_all_and_forecasts_each_from_its_own_rows(
    small: SimpleNamespace,
) -> None:
    split, (mid,) = small.data.split, small.data.values
    both = replace(small.data, values=np.stack([mid, 7 * mid[::-1]]), spaces=small.data.spaces * 2)
    config = small.changed(scaling="standard", steps_per_epoch=40)  # cursors jump many times
    *_, result = fit(config, both)
    assert result.forecasts.shape == (2, len(split.validation_origins), split.horizon)
    relative = []
    for own, forecasts in zip(both.values, result.forecasts, strict=True):
        alone = evaluate(
            config,
            result.params,
            own[None],
            train_stop=split.train_stop,
            origins=split.validation_origins,
            horizon=split.horizon,
        )
        np.testing.assert_allclose(forecasts, alone.changes[0], rtol=0, atol=1e-6)
        relative.append(alone.relative_mse)
    assert result.relative_mse == pytest.approx(np.mean(relative), rel=1e-5)
    # The second series reaches the weights, its validation rows do not in the first epoch.
    first, changed = next(fit(config, both)), both.values.copy()
    changed[1, split.train_stop :] *= 1.5
    later = next(fit(config, replace(both, values=changed)))
    assert first.train_loss == later.train_loss
    changed[1, : split.train_stop] = changed[0, : split.train_stop]
    assert next(fit(config, replace(both, values=changed))).train_loss != first.train_loss


def test_a_series_without_a_season_yet_repeats_its_last_value_in_the_seasonal_naive() -> None:
    levels = np.random.default_rng(8).normal(size=(3, 200))
    first = SPLIT.validation_start - 6
    firsts = np.array([0, 0, first], np.int32)
    ridges = choose_ridge(Regressors(levels=levels), [SPLIT])
    found = baseline_changes(levels, [SPLIT], seasonality=7, firsts=firsts, ridges=ridges)
    (changes,) = found["seasonal naive 7"]
    origins = SPLIT.validation_origins
    for step in range(HORIZON):
        now = levels[:2, origins]
        np.testing.assert_allclose(changes[:2, :, step], levels[:2, origins + step - 6] - now)
    assert not changes[2].any()
    # Of most series it is none, and then there is no such baseline.
    late = np.array([0, first, first], np.int32)
    found = baseline_changes(levels, [SPLIT], seasonality=7, firsts=late, ridges=ridges)
    assert "seasonal naive 7" not in found
