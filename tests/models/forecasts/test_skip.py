"""The linear skip: a regression's forecasts, scaled as a network's outputs are."""

from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from regressors import one

from foretune.datasets.splits import DevelopmentData
from foretune.datasets.transforms import ErrorSpace, ScalingName, fit_scaling
from foretune.models.config import TrialConfig
from foretune.models.forecasts.ridge import choose_ridge, fit_ridge
from foretune.models.forecasts.skip import choose_skips

SCALINGS = get_args(ScalingName)
GROUPS = ("past_covariates", "future_covariates", "calendar_features")


def known(data: DevelopmentData, names: tuple[str, ...]) -> dict[str, NDArray[np.float64] | None]:
    """What a regression may read of the first series with these groups."""
    ahead = [
        array[0]
        for name, array in (
            ("future_covariates", data.covariates.future),
            ("calendar_features", data.covariates.calendar),
        )
        if name in names
    ]
    return {
        "past": data.covariates.past[0] if "past_covariates" in names else None,
        "future": np.concatenate(ahead, axis=1) if ahead else None,
    }


@pytest.mark.parametrize("names", [(), GROUPS, *((name,) for name in GROUPS)], ids=str)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_its_paths_are_the_regressions_changes_from_each_origin_on(
    scaling: Any, names: tuple[str, ...], mixed: SimpleNamespace
) -> None:
    """By hand: the value at the origin and the change, or its logarithm, then scaled."""
    data = mixed.data
    config = TrialConfig(skip="linear", scaling=scaling, **dict.fromkeys(names, True))
    (skip,) = choose_skips(config, [data]) or ()
    log = scaling in ("log", "log_returns")
    levels, split = np.log(data.values[0]) if log else data.values[0], data.split
    (ridge,) = choose_ridge(one(levels, **known(data, names)), [split])
    np.testing.assert_array_equal(skip.ridge.weights, ridge.weights)
    assert (skip.log, skip.history) == (log, ridge.lags)

    origins, values = split.validation_origins, data.values[0]
    changes = ridge.changes(levels, origins, **known(data, names))
    train = values[: split.train_stop]
    fitted = fit_scaling(scaling, train, window=100)
    (ours,) = skip.scaled_paths((fitted,), data.values, data.covariates, origins)
    assert ours.shape == (len(origins), split.horizon)
    raw = levels[origins][:, None] + changes
    if scaling in ("log_returns", "differences"):
        steps = np.diff(np.log(train) if log else train)
        moved = np.diff(np.column_stack([levels[origins], raw]), axis=1)
        expected = (moved - steps.mean()) / steps.std()
    elif scaling == "windowed_min_max":
        last = train[100 * (len(train) // 100) :]  # the last window scales what follows
        last = last if len(last) >= 10 else train[100 * (len(train) // 100 - 1) :]
        expected = (raw - last.min()) / np.ptp(last)
    elif scaling == "none":
        expected = raw
    else:
        of_training = np.log(train) if log else train
        expected = (raw - of_training.mean()) / of_training.std()
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)
    # Not vacuous: neither all the same, nor persistence.
    assert np.ptp(expected, axis=0).min() > 1e-3
    assert abs(changes).min(axis=0).max() > 0


@pytest.mark.parametrize("space", ["log", "value"])
@pytest.mark.parametrize("scaling", SCALINGS)
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1e-3, 1.0, 1e4]))
def test_scaling_a_path_is_the_inverse_of_reading_changes_off_it(
    scaling: Any, space: Any, seed: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    values = size * np.exp(0.3 * rng.normal(size=60))
    origins = rng.integers(1, 59, size=4).astype(np.int32)
    path = size * np.exp(0.3 * rng.normal(size=(4, 3)))
    fitted, errors = (
        fit_scaling(scaling, values[:40], window=15),
        ErrorSpace.fit(space, values[:40]),
    )
    changes = fitted.change(fitted.scale_path(path, origins, values), origins, values, errors)
    now = values[origins][:, None]
    expected = np.log(path / now) if space == "log" else (path - now) / values[:40].std()
    np.testing.assert_allclose(changes, expected, rtol=1e-7, atol=1e-9)


def test_folds_share_lags_and_penalty_and_are_fitted_to_their_own_rows(
    mixed: SimpleNamespace,
) -> None:
    config = TrialConfig(skip="linear", scaling="standard", past_covariates=True)
    skips = choose_skips(config, mixed.folds) or ()
    chosen = [(skip.ridge.lags, skip.ridge.penalty) for skip in skips]
    assert len(chosen) == 2
    assert chosen[0] == chosen[1]
    alone = [(choose_skips(config, [fold]) or ())[0].ridge for fold in mixed.folds]
    # Not vacuous: each by itself would choose otherwise.
    assert len({(ridge.lags, ridge.penalty) for ridge in alone}) == 2
    for skip, fold in zip(skips, mixed.folds, strict=True):
        own = fit_ridge(
            one(fold.values[0], past=fold.covariates.past[0]),
            train_stop=fold.split.train_stop,
            horizon=fold.split.horizon,
            lags=chosen[0][0],
            penalty=chosen[0][1],
        )
        np.testing.assert_allclose(skip.ridge.weights, own.weights, rtol=1e-12)
    assert (skips[0].ridge.weights != skips[1].ridge.weights).all()


def test_without_a_skip_there_is_none(mixed: SimpleNamespace) -> None:
    assert choose_skips(TrialConfig(), mixed.folds) == (None,) * len(mixed.folds)
