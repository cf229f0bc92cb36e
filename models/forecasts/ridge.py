"""Ridge regression on lags: a direct linear forecast of all steps at once, in closed form.

Shapes: ``N`` rows, ``O`` origins, ``H`` steps, ``P`` past and ``F`` future covariates, ``C``
columns of the regression.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.splits import Split
from foretune.models.forecasts.metrics import relative_mse
from foretune.models.runtime.threads import on_one_blas_thread

Values = NDArray[np.float64]
Rows = NDArray[np.integer]

# Chosen from, on validation; the long ones where all series have so many windows for each lag.
LAGS = (2, 6, 12, 24, 48, 96, 168, 336, 504, 720)
_LONG, _WINDOWS_A_LAG = 336, 50
PENALTIES = (100.0, 10.0, 1.0, 0.1, 0.01, 0.001)

# Covariates are read from so many rows up to the origin on, and make no more columns than this:
# where they would, they are read from every second row, every third, ...
_COVARIATE_ROWS = 24
_COVARIATE_COLUMNS = 512

# Windows at a time, which bounds the memory.
_BLOCK = 2048

# A column that varies less than this beside its mean is constant but for rounding.
_SMALLEST_VARIATION = 1e-9


@dataclass(frozen=True, eq=False, kw_only=True)
class Ridge:
    """A fitted regression of the next H changes on the last ``lags`` levels and on covariates.

    The level at the origin is subtracted from all others, so that a forecast moves with its series.

    Args:
        lags: levels that it reads, the origin's among them.
        penalty: on the squared weights of standardised columns, beside the mean squared error.
        weights: [C, H]; the lags come first, from the oldest on, then past and future covariates.
        intercept: [H].
    """

    lags: int
    penalty: float
    weights: Values
    intercept: Values

    name = "ridge on lags"

    @property
    def history(self) -> int:
        """How many rows it needs up to an origin."""
        return self.lags

    def changes(
        self,
        levels: Values,
        origins: Rows,
        *,
        past: Values | None = None,
        future: Values | None = None,
    ) -> Values:
        """Forecast the changes of the level since each origin.

        Args:
            levels: [N]; nothing after an origin is read for it.
            origins: the last row that each forecast may see [O].
            past: covariates [N, P], as in the fit; nothing after an origin is read for it.
            future: covariates known beyond the origins too, [N, F] or longer.

        Returns:
            Changes [O, H].

        Raises:
            DataError: an origin has too few rows up to it, or ``future`` too few after it.
        """
        (changes,) = _changes_of([self], levels, origins, past, future)
        return changes


@dataclass(frozen=True, eq=False, kw_only=True)
class Regressors:
    """What a regression reads of several series, which all have one regression.

    Args:
        levels: of each series [S, N], on one scale.
        past: covariates [S, N, P], read on the last rows up to an origin.
        future: covariates [S, N, F] or longer, read there and at the H target steps.
        firsts: the first row of each series [S], before which nothing is read; None for row 0.
    """

    levels: Values
    past: Values | None = None
    future: Values | None = None
    firsts: NDArray[np.int32] | None = None

    def each(self) -> Iterator[tuple[Values, Values | None, Values | None, int]]:
        """Return levels [N], past [N, P], future [N, F] and first row of each series."""
        rows = np.zeros(len(self.levels), int) if self.firsts is None else self.firsts
        for number, (own, first) in enumerate(zip(self.levels, rows, strict=True)):
            others = (None if x is None else x[number] for x in (self.past, self.future))
            yield own, *others, int(first)


def fit_ridge(
    read: Regressors, *, train_stop: int, horizon: int, lags: int, penalty: float
) -> Ridge:
    """Fit one regression to every window of the training rows, by the normal equations.

    Args:
        read: levels and covariates; no level from ``train_stop`` on is read.
        train_stop: the row after the training part, in which the targets of each window lie.
        horizon: steps to forecast, H.
        lags: levels up to the origin that it reads, at least 1.
        penalty: above 0; on the squared weights of standardised columns, beside the mean squared
            error.

    Raises:
        DataError: there is no such window.

    Example:
        >>> line = np.arange(100.0)
        >>> read = Regressors(levels=line[None])
        >>> ridge = fit_ridge(read, train_stop=80, horizon=3, lags=6, penalty=0.1)
        >>> ridge.changes(line, np.array([90])).round(9)
        array([[1., 2., 3.]])
    """
    (fitted,) = _fits(read, train_stop, horizon, lags, (penalty,))
    return fitted


def choose_ridge(
    read: Regressors, folds: Sequence[Split], *, most: int = LAGS[-1]
) -> tuple[Ridge, ...]:
    """Fit the regression to each fold, with the lags and the penalty that are best on validation.

    They are the same in all folds: those of the lowest mean relative MSE over folds and series,
    from :data:`LAGS` as far as there are no more lags than training windows of the shortest series,
    and 50 windows of all series for each lag beyond 336; and from :data:`PENALTIES`.

    Args:
        read: levels, up to the last validation row at least, and covariates; no later row is read.
        folds: where the training and validation rows lie.
        most: lags at most.

    Returns:
        One regression a fold; none where the training rows are too few for any lags.

    Raises:
        DataError: the levels of a series stand still after every origin of a fold.
    """
    series = list(read.each())
    horizon = folds[0].horizon
    stop, firsts = min(fold.train_stop for fold in folds), [first for *_, first in series]
    shortest = stop - max(firsts)
    came = [
        [_changes_after(own, fold.validation_origins, horizon) for own, *_ in series]
        for fold in folds
    ]
    best = np.inf
    chosen: tuple[Ridge, ...] = ()
    for lags in LAGS:
        windows = sum(stop - first - horizon - lags + 1 for first in firsts)
        few = lags > _LONG and windows < lags * _WINDOWS_A_LAG
        if few or lags > min(most, shortest - horizon - lags + 1):
            break
        of_folds = [_fits(read, fold.train_stop, horizon, lags, PENALTIES) for fold in folds]
        errors = np.zeros(len(PENALTIES))
        for ridges, fold, of_series in zip(of_folds, folds, came, strict=True):
            for (own, past, future, _), actual in zip(series, of_series, strict=True):
                every = _changes_of(ridges, own, fold.validation_origins, past, future)
                count = len(folds) * len(series)
                errors += [relative_mse(changes, actual) / count for changes in every]
        if np.min(errors) < best:
            best, place = float(np.min(errors)), int(np.argmin(errors))
            chosen = tuple(ridges[place] for ridges in of_folds)
    return chosen


def column_count(lags: int, horizon: int, *, past: int = 0, future: int = 0) -> int:
    """Return how many columns C a regression has that reads so many covariates of each kind."""
    counts = ((past, 0), (future, horizon))
    return lags - 1 + sum(len(_steps_read(lags, n, last)) * n for n, last in counts if n)


@on_one_blas_thread
def _changes_of(
    ridges: Sequence[Ridge],
    levels: Values,
    origins: Rows,
    past: Values | None,
    future: Values | None,
) -> list[Values]:
    """Forecast with several regressions on the same columns, which are read once: [O, H] each."""
    horizon, lags = len(ridges[0].intercept), ridges[0].lags
    weights = np.concatenate([ridge.weights for ridge in ridges], axis=1)
    forecasts = np.empty((len(origins), weights.shape[1]))
    for block in _blocks(len(origins)):
        forecasts[block] = _columns(levels, origins[block], horizon, lags, past, future) @ weights
    forecasts += np.concatenate([ridge.intercept for ridge in ridges])
    return np.split(forecasts, len(ridges), axis=1)


@on_one_blas_thread
def _fits(
    read: Regressors, train_stop: int, horizon: int, lags: int, penalties: Sequence[float]
) -> list[Ridge]:
    """Fit one regression a penalty, from the same sums over the windows of all series."""
    series = list(read.each())
    shortest = train_stop - max(first for *_, first in series)
    if shortest < lags + horizon:
        raise DataError(
            f"{shortest} training rows must hold a window of {lags} lags and {horizon} steps, "
            "but are too few"
        )

    def windows() -> Iterator[tuple[Values, Values]]:
        """Return columns [O, C] and the changes after them [O, H], some windows at a time."""
        for levels, past, future, first in series:
            origins = np.arange(first + lags - 1, train_stop - horizon)
            for block in _blocks(len(origins)):
                some = origins[block]
                x = _columns(levels, some, horizon, lags, past, future)
                yield x, _changes_after(levels, some, horizon)

    # Sums of squares lose no digits where columns are near 0.
    shift = next(windows())[0].mean(axis=0)
    gram, count = np.zeros((len(shift), len(shift))), 0
    cross, total, target = np.zeros((len(shift), horizon)), np.zeros(len(shift)), np.zeros(horizon)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused below
        for x, y in windows():
            x = x - shift
            gram += x.T @ x
            cross += x.T @ y
            total += x.sum(axis=0)
            target += y.sum(axis=0)
            count += len(x)
    if not np.isfinite(gram).all():
        size = float(np.max(np.abs(read.levels[:, :train_stop])))
        raise DataError(
            f"values must have squares that a number can hold, but are as large as {size:.3g}; "
            "rescale them"
        )
    mean, target = total / count, target / count
    gram = gram / count - np.outer(mean, mean)
    cross = cross / count - np.outer(mean, target)
    scale = np.sqrt(np.maximum(np.diagonal(gram), 0))
    scale = np.where(scale > _SMALLEST_VARIATION * np.abs(shift + mean), scale, 1.0)
    gram /= np.outer(scale, scale)
    cross /= scale[:, None]
    # One decomposition for all penalties.
    values, vectors = np.linalg.eigh(gram)
    rotated = vectors.T @ cross
    fitted = []
    for penalty in penalties:
        weights = vectors @ (rotated / (values + penalty)[:, None]) / scale[:, None]
        intercept = target - (shift + mean) @ weights
        fitted.append(Ridge(lags=lags, penalty=penalty, weights=weights, intercept=intercept))
    return fitted


def _columns(
    levels: Values,
    origins: Rows,
    horizon: int,
    lags: int,
    past: Values | None,
    future: Values | None,
) -> Values:
    """Return what the regression reads at each origin: [O, C]."""
    if np.min(origins) < lags - 1:
        raise DataError(
            f"ridge on lags needs {lags} rows up to each origin, but got the origin "
            f"{np.min(origins)}"
        )
    windows = sliding_window_view(levels, lags)[origins - lags + 1]
    parts = [windows[:, :-1] - windows[:, -1:]]
    for covariates, last in ((past, 0), (future, horizon)):
        if covariates is None or not covariates.shape[1]:
            continue
        if np.max(origins) + last >= len(covariates):
            raise DataError(
                f"future covariates must reach {last} rows beyond the origin {np.max(origins)}, "
                f"but have {len(covariates)} rows"
            )
        steps = _steps_read(lags, covariates.shape[1], last)
        parts.append(covariates[origins[:, None] + steps].reshape(len(origins), -1))
    return np.concatenate(parts, axis=1)


def _steps_read(lags: int, covariates: int, last: int) -> NDArray[np.int64]:
    """Return the rows, since the origin, at which so many covariates are read, up to ``last``."""
    first = 1 - min(lags, _COVARIATE_ROWS)
    rows = max(_COVARIATE_COLUMNS // covariates, 1)
    apart = -(-(last - first + 1) // rows)
    return np.arange(last, first - 1, -apart)


def _changes_after(levels: Values, origins: Rows, horizon: int) -> Values:
    """Return the actual changes of the level [N] since each origin [O]: [O, H]."""
    changes: Values = levels[origins[:, None] + np.arange(1, horizon + 1)]
    changes -= levels[origins][:, None]
    return changes


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, count, _BLOCK))
