"""The regression on lags: against least squares by hand, and that it reads nothing it may not."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from regressors import one
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from foretune.datasets.common.errors import DataError
from foretune.datasets.sources.samples import ar1, ar1_best_relative_mse, random_walk
from foretune.datasets.splits import Split, chronological_split, walk_forward
from foretune.models.forecasts import ridge as module
from foretune.models.forecasts.metrics import relative_mse
from foretune.models.forecasts.ridge import (
    LAGS,
    PENALTIES,
    Regressors,
    Ridge,
    choose_ridge,
    fit_ridge,
)

Array = NDArray[np.float64]


def growth(levels: Array, origins: Array, horizon: int) -> Array:
    return np.array([levels[o + 1 : o + 1 + horizon] - levels[o] for o in origins])


def design(
    levels: Array, origins: Any, lags: int, horizon: int, past: Any = None, future: Any = None
) -> Array:
    """What is read at each origin, written down row by row."""
    rows = []
    for o in origins:
        row = [level - levels[o] for level in levels[o - lags + 1 : o]]
        back = min(lags, 24)
        for at in range(o, o - back, -1) if past is not None else ():
            row.extend(past[at])
        for at in range(o + horizon, o - back, -1) if future is not None else ():
            row.extend(future[at])
        rows.append(row)
    return np.array(rows)


def by_least_squares(x: Array, y: Array, penalty: float) -> tuple[Array, Array]:
    """Solve the penalised problem as a longer ordinary one, by NumPy's SVD."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1
    columns = x.shape[1]
    above = np.column_stack([(x - mean) / scale, np.ones(len(x))])
    below = np.column_stack([np.sqrt(penalty * len(x)) * np.eye(columns), np.zeros(columns)])
    zeros = np.zeros((columns, y.shape[1]))
    solution, *_ = np.linalg.lstsq(np.vstack([above, below]), np.vstack([y, zeros]))
    weights = solution[:-1] / scale[:, None]
    return weights, solution[-1] - mean @ weights


@pytest.mark.parametrize("block", [7, 2048])
@given(
    seed=st.integers(0, 2**32 - 1),
    lags=st.integers(1, 30),
    horizon=st.integers(1, 6),
    penalty=st.sampled_from(PENALTIES),
    shape=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_it_is_least_squares_by_hand(
    block: int, seed: int, lags: int, horizon: int, penalty: float, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    levels = rng.normal(size=80).cumsum() + 50
    past, future = (1e3 + rng.normal(size=(80, count)) for count in shape)
    train_stop, last = 60, np.arange(60, 80 - horizon)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        ridge = fit_ridge(
            one(levels, past=past, future=future),
            train_stop=train_stop,
            horizon=horizon,
            lags=lags,
            penalty=penalty,
        )
        ours = ridge.changes(levels, last, past=past, future=future)
    windows = range(lags - 1, train_stop - horizon)
    x = design(levels, windows, lags, horizon, past, future)
    weights, intercept = by_least_squares(x, growth(levels, np.array(windows), horizon), penalty)
    np.testing.assert_allclose(ridge.weights, weights, rtol=1e-6, atol=1e-8)
    expected = design(levels, last, lags, horizon, past, future) @ weights + intercept
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-7)
    assert (ridge.history, ridge.penalty, ours.shape) == (lags, penalty, (len(last), horizon))


@pytest.mark.parametrize("shape", [(0, 0), (1, 2)], ids=["lags", "covariates"])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_it_is_the_regression_of_scikit_learn(penalty: float, shape: tuple[int, int]) -> None:
    """Standardised columns, and a penalty beside the mean squared error, not beside their sum."""
    rng = np.random.default_rng(9)
    levels, horizon, lags, train_stop = rng.normal(size=400).cumsum(), 4, 12, 330
    past, future = (5 + 3 * rng.normal(size=(400, count)) for count in shape)
    windows, last = np.arange(lags - 1, train_stop - horizon), np.arange(330, 390)
    known: dict[str, Any] = {"past": past, "future": future}
    fitted = make_pipeline(StandardScaler(), SklearnRidge(alpha=penalty * len(windows))).fit(
        design(levels, windows, lags, horizon, **known), growth(levels, windows, horizon)
    )
    ridge = fit_ridge(
        one(levels, **known), train_stop=train_stop, horizon=horizon, lags=lags, penalty=penalty
    )
    expected = fitted.predict(design(levels, last, lags, horizon, **known))
    np.testing.assert_allclose(ridge.changes(levels, last, **known), expected, rtol=1e-7, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1), penalty=st.sampled_from(PENALTIES))
def test_the_decomposition_solves_the_normal_equations(seed: int, penalty: float) -> None:
    levels = np.random.default_rng(seed).normal(size=80).cumsum()
    windows = np.arange(7, 57)
    x, y = design(levels, windows, 8, 3), growth(levels, windows, 3)
    centred, scale = x - x.mean(axis=0), x.std(axis=0)
    standard = centred / scale
    gram = standard.T @ standard / len(windows) + penalty * np.eye(7)
    cross = standard.T @ (y - y.mean(axis=0)) / len(windows)
    expected = np.linalg.solve(gram, cross) / scale[:, None]
    ridge = fit_ridge(one(levels), train_stop=60, horizon=3, lags=8, penalty=penalty)
    np.testing.assert_allclose(ridge.weights, expected, rtol=1e-7, atol=1e-10)


def test_it_reads_the_training_rows_alone() -> None:
    rng = np.random.default_rng(1)
    levels, past, future = rng.normal(size=90), rng.normal(size=(90, 1)), rng.normal(size=(95, 2))
    options: dict[str, Any] = {"train_stop": 60, "horizon": 4, "lags": 6, "penalty": 0.1}
    ridge = fit_ridge(one(levels, past=past, future=future), **options)
    for array in (levels, past, future):
        array[60:] += 1000
    again = fit_ridge(one(levels, past=past, future=future), **options)
    np.testing.assert_array_equal(again.weights, ridge.weights)
    np.testing.assert_array_equal(again.intercept, ridge.intercept)
    # The last training row is read: it is the last target of the last window.
    levels[59] += 1000
    assert (
        fit_ridge(one(levels, past=past, future=future), **options).weights != ridge.weights
    ).any()


def test_a_forecast_reads_nothing_after_its_origin_but_what_is_known_there() -> None:
    rng = np.random.default_rng(2)
    levels, past, future = rng.normal(size=90), rng.normal(size=(90, 1)), rng.normal(size=(90, 2))
    ridge = fit_ridge(
        one(levels, past=past, future=future), train_stop=60, horizon=4, lags=6, penalty=0.1
    )
    origins = np.array([70])
    seen = ridge.changes(levels, origins, past=past, future=future)
    for array, known in ((levels, 71), (past, 71), (future, 75)):
        later, within = array.copy(), array.copy()
        later[known:] += 1000
        within[known - 1] += 1000
        for given_array, same in ((later, True), (within, False)):
            arrays = [given_array if one is array else one for one in (levels, past, future)]
            forecast = ridge.changes(arrays[0], origins, past=arrays[1], future=arrays[2])
            assert np.array_equal(forecast, seen) == same


def test_a_shifted_series_has_the_same_changes() -> None:
    levels = np.random.default_rng(3).normal(size=200).cumsum()
    options: dict[str, Any] = {"train_stop": 150, "horizon": 3, "lags": 12, "penalty": 0.01}
    origins = np.arange(150, 190)
    ours = fit_ridge(one(levels), **options).changes(levels, origins)
    far = fit_ridge(one(levels + 2.0**20), **options).changes(levels + 2.0**20, origins)
    np.testing.assert_allclose(far, ours, atol=1e-6)


def test_columns_that_stand_still_in_training_weigh_nothing_later() -> None:
    rng = np.random.default_rng(4)
    levels = rng.normal(size=5000).cumsum()
    # Constant but for rounding, as sums of fractions are.
    constant = np.tile([0.1, 1e6 / 3, -1e-3, 0.0], (5000, 1)) * (1 + 1e-15 * rng.random((5000, 1)))
    options: dict[str, Any] = {"train_stop": 4500, "horizon": 2, "lags": 4, "penalty": 0.001}
    without = fit_ridge(one(levels), **options)
    ours = fit_ridge(one(levels, future=constant), **options)
    constant[4600:] += 1
    origins = np.arange(4700, 4900)
    np.testing.assert_allclose(
        ours.changes(levels, origins, future=constant), without.changes(levels, origins), atol=1e-7
    )


def test_many_covariates_are_read_from_fewer_rows() -> None:
    rng = np.random.default_rng(5)
    levels, future = rng.normal(size=400), rng.normal(size=(400, 40))
    ridge = fit_ridge(one(levels, future=future), train_stop=300, horizon=50, lags=24, penalty=1.0)
    covariates = len(ridge.weights) - 23
    assert covariates % 40 == 0
    assert 256 < covariates <= 512
    # The last step ahead is among what is read.
    other = future.copy()
    other[360] += 1
    origins = np.array([310])
    seen, moved = (ridge.changes(levels, origins, future=one) for one in (future, other))
    assert (seen != moved).any()


def test_the_choice_is_that_of_a_loop_over_all_candidates() -> None:
    prices = ar1(400, seed=3)
    levels, split = np.log(prices.mid), chronological_split(400, horizon=5, history=10)
    (chosen,) = choose_ridge(one(levels), [split])
    origins = split.validation_origins
    came = growth(levels, origins, 5)
    scores = {}
    for lags in LAGS:
        windows = np.arange(lags - 1, split.train_stop - 5)
        if lags > len(windows):
            continue
        for penalty in PENALTIES:
            weights, intercept = by_least_squares(
                design(levels, windows, lags, 5), growth(levels, windows, 5), penalty
            )
            forecast = design(levels, origins, lags, 5) @ weights + intercept
            scores[lags, penalty] = float(np.mean((forecast - came) ** 2))
    assert (chosen.lags, chosen.penalty) == min(scores, key=scores.__getitem__)
    assert max(lags for lags, _ in scores) == 96  # of 234 training rows


def test_long_lags_are_tried_where_all_series_have_windows_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LAGS", (2, 24))
    monkeypatch.setattr(module, "_LONG", 12)
    rng = np.random.default_rng(5)
    levels = np.tile(rng.normal(size=24), 20)[:400] + 0.01 * rng.normal(size=(6, 400))
    split = chronological_split(400, horizon=5, history=24)
    # 24 lags need 1,200 windows: 234 training rows have 206 each.
    for count, lags in ((5, 2), (6, 24)):
        (chosen,) = choose_ridge(Regressors(levels=levels[:count]), [split])
        assert chosen.lags == lags, count


def test_folds_share_lags_and_penalty_and_no_test_row_is_read() -> None:
    levels = np.log(ar1(900, seed=4).mid)
    folds = walk_forward(chronological_split(900, horizon=5, history=10), 3)
    chosen = choose_ridge(one(levels), folds)
    assert len({(ridge.lags, ridge.penalty) for ridge in chosen}) == 1
    assert len({float(ridge.intercept[0]) for ridge in chosen}) == 3
    other = levels.copy()
    other[folds[-1].validation_stop :] = np.nan
    for ridge, again in zip(chosen, choose_ridge(one(other), folds), strict=True):
        np.testing.assert_array_equal(ridge.weights, again.weights)
    means = []
    for lags, penalty in ((chosen[0].lags, chosen[0].penalty), (24, 0.01), (2, 100.0)):
        errors = []
        for fold in folds:
            ridge = fit_ridge(
                one(levels), train_stop=fold.train_stop, horizon=5, lags=lags, penalty=penalty
            )
            origins = fold.validation_origins
            errors.append(relative_mse(ridge.changes(levels, origins), growth(levels, origins, 5)))
        means.append(np.mean(errors))
    assert means[0] == min(means)


def on_test(levels: Array, split: Split, ridge: Ridge) -> float:
    origins = split.test_origins
    return relative_mse(ridge.changes(levels, origins), growth(levels, origins, split.horizon))


def test_it_finds_what_there_is_to_find_and_not_more() -> None:
    split = chronological_split(8000, horizon=5, stride=1, history=10)
    levels = np.log(ar1(8000, seed=5).mid)
    (ridge,) = choose_ridge(one(levels), [split])
    best = ar1_best_relative_mse(0.6, 5)
    assert best * 0.97 < on_test(levels, split, ridge) < best * 1.05
    walk = np.log(random_walk(8000, seed=5).mid)
    (ridge,) = choose_ridge(one(walk), [split])
    assert 0.98 < on_test(walk, split, ridge) < 1.05


def test_too_few_rows_for_any_lags_are_no_ridge() -> None:
    levels = np.random.default_rng(6).normal(size=30)
    split = Split(
        length=30,
        train_stop=8,
        validation_start=8,
        validation_stop=20,
        test_start=20,
        horizon=6,
        stride=1,
    )
    assert choose_ridge(one(levels), [split]) == ()


def test_what_cannot_be_is_refused_in_one_line() -> None:
    levels = np.random.default_rng(7).normal(size=50)
    options: dict[str, Any] = {"horizon": 4, "lags": 6, "penalty": 0.1}
    with pytest.raises(DataError, match="9 training rows must hold a window of 6 lags and 4 steps"):
        fit_ridge(one(levels), train_stop=9, **options)
    fit_ridge(one(levels), train_stop=10, **options)
    future = levels[:, None]
    ridge = fit_ridge(one(levels, future=future), train_stop=40, **options)
    with pytest.raises(DataError, match="needs 6 rows up to each origin, but got the origin 4"):
        ridge.changes(levels, np.array([4, 20]), future=future)
    with pytest.raises(DataError, match="must reach 4 rows beyond the origin 46, but have 50 rows"):
        ridge.changes(levels, np.array([45, 46]), future=future)
    assert ridge.changes(levels, np.array([45]), future=future).shape == (1, 4)


def test_a_fit_rounds_alike_on_any_number_of_blas_threads() -> None:
    """Workers have one thread, a command has all: a trial must be the same in both."""
    rng = np.random.default_rng(0)
    levels, future = rng.normal(size=3000).cumsum(), rng.normal(size=(3000, 15))
    fitted = []
    for threads in (2, 1):
        with threadpool_limits(threads, "blas"):
            ridge = fit_ridge(
                one(levels, future=future), train_stop=2900, horizon=24, lags=200, penalty=0.1
            )
            changes = ridge.changes(levels, np.arange(400, 2900), future=future)
        fitted.append((ridge.weights.tobytes(), changes.tobytes()))
    assert fitted[0] == fitted[1]


def test_values_whose_squares_overflow_are_refused() -> None:
    levels = np.random.default_rng(0).normal(size=200) * 1e160
    with pytest.raises(DataError, match="squares that a number can hold, but are as large as"):
        fit_ridge(one(levels), train_stop=150, horizon=3, lags=4, penalty=0.1)
