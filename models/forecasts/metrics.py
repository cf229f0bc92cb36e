"""How wrong forecasts are: metrics, error curves and losses, by NumPy in float64 on the host."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from foretune.datasets.common.errors import DataError
from foretune.datasets.splits import DevelopmentData

# Changes since an origin, log growth of prices: [O, H], or a path [H] of one origin.
Growth = NDArray[np.float64]


def mean_squared_error(forecast: Growth, actual: Growth) -> float:
    """Return the mean over origins and steps of the squared difference of two [O, H] arrays."""
    return float(np.mean(np.square(forecast - actual)))


def persistence_mse(actual: Growth) -> float:
    """Return the error of "nothing changes" for actual growth [O, H]."""
    return float(np.mean(np.square(actual)))


def relative_mse(forecast: Growth, actual: Growth) -> float:
    """Return the MSE divided by that of persistence, the study's objective.

    1.0 is no better than "tomorrow is like today"; below 1 beats it. It has no unit, so trials
    with different scalings can be compared.

    Args:
        forecast: forecast changes since the origin [O, H].
        actual: actual changes since the origin [O, H].

    Raises:
        DataError: the values stood still after every origin: persistence was never wrong.
    """
    persistence = persistence_mse(actual)
    if persistence == 0:
        raise DataError(
            f"values must change after some of the {len(actual)} forecast origins, but stand still"
        )
    return mean_squared_error(forecast, actual) / persistence


def direction_hits(forecast: Growth, actual: Growth) -> tuple[int, int]:
    """Count the forecasts of the right sign, and those that have a sign to be right about.

    Args:
        forecast: forecast changes [O].
        actual: actual changes [O].
    """
    directed = (forecast != 0) & (actual != 0)
    hits = directed & (np.sign(forecast) == np.sign(actual))
    return int(hits.sum()), int(directed.sum())


def proportion_interval(
    hits: int, count: int, overlap: int = 1, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the exact binomial interval (Clopper & Pearson 1934) of a proportion.

    Args:
        hits: how many of ``count`` are hits.
        count: how many there are, at least 1.
        overlap: how many in a row share their evidence: the interval is that of ``count /
            overlap`` independent ones with the same proportion.
        confidence: share of such intervals that cover the true proportion.

    Example:
        >>> low, high = proportion_interval(60, 100)
    """
    independent = max(count / overlap, 1.0)
    successes = independent * hits / count
    failures = independent - successes
    outside = (1 - confidence) / 2
    low = betaincinv(successes, failures + 1, outside) if successes > 0 else 0.0
    high = betaincinv(successes + 1, failures, 1 - outside) if failures > 0 else 1.0
    return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The numbers that rank forecasts; errors are in the data's error space.

    ``relative_mse`` is the mean over folds of MSE / persistence MSE. ``mae`` is the mean absolute
    error (of log prices 0.01 is about 1 %); ``mase`` is the same in units of the mean absolute
    change from one training row to the next (Hyndman & Koehler 2006). ``directional_accuracy`` is
    the share of origins where the value ended on the forecast side of the origin's, with a 95 %
    binomial interval; None where nothing has a direction, as in persistence.
    """

    relative_mse: float
    mse: float
    mae: float
    mase: float
    directional_accuracy: float | None
    directional_low: float | None
    directional_high: float | None

    def known(self) -> dict[str, float]:
        """Return the numbers that there are, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, eq=False, kw_only=True)
class Assessment:
    """Metrics, and the curves behind them.

    ``losses`` [O] is each origin's MSE over the steps, in units of its fold's persistence MSE:
    their mean is ``relative_mse``. ``persistence_losses`` [O] are persistence's, of mean 1.
    ``mse_by_step``, ``persistence_mse_by_step`` and ``mae_by_step`` are [H].
    """

    metrics: Metrics
    losses: NDArray[np.float64]
    persistence_losses: NDArray[np.float64]
    mse_by_step: NDArray[np.float64]
    persistence_mse_by_step: NDArray[np.float64]
    mae_by_step: NDArray[np.float64]


def assess(
    forecasts: Sequence[Growth], actuals: Sequence[Growth], *, daily_change: float, overlap: int
) -> Assessment:
    """Assess forecasts against the actual growth.

    Args:
        forecasts: for each fold, forecast changes since each origin [O, H].
        actuals: for each fold, actual changes since each origin [O, H].
        daily_change: mean absolute change from one training row to the next.
        overlap: origins in a row whose targets overlap; only every ``overlap``-th is new evidence
            for the binomial interval.

    Raises:
        DataError: the values stood still after every origin of a fold.

    Example:
        >>> assess([forecast], [actual], daily_change=0.007, overlap=5).metrics.mase
    """
    pairs = list(zip(forecasts, actuals, strict=True))
    relative = [relative_mse(forecast, actual) for forecast, actual in pairs]
    error = np.concatenate([forecast - actual for forecast, actual in pairs])
    moves = np.concatenate(actuals)
    hits, directed = direction_hits(np.concatenate(forecasts)[:, -1], moves[:, -1])
    low, high = proportion_interval(hits, directed, overlap) if directed else (None, None)
    mae = float(np.mean(np.abs(error)))
    return Assessment(
        metrics=Metrics(
            relative_mse=float(np.mean(relative)),
            mse=float(np.mean(error**2)),
            mae=mae,
            mase=mae / daily_change,
            directional_accuracy=hits / directed if directed else None,
            directional_low=low,
            directional_high=high,
        ),
        losses=np.concatenate(
            [np.mean((f - a) ** 2, axis=1) / persistence_mse(a) for f, a in pairs]
        ),
        persistence_losses=np.concatenate(
            [np.mean(a**2, axis=1) / persistence_mse(a) for a in actuals]
        ),
        mse_by_step=np.mean(error**2, axis=0),
        persistence_mse_by_step=np.mean(moves**2, axis=0),
        mae_by_step=np.mean(np.abs(error), axis=0),
    )


def assess_folds(folds: Sequence[DevelopmentData], forecasts: Sequence[Growth]) -> Assessment:
    """Assess validation forecasts, one array [O, H] of changes a fold.

    Raises:
        DataError: the values stood still after every origin of a fold.
    """
    return assess(
        forecasts,
        [validation_growth(fold) for fold in folds],
        daily_change=training_daily_change(folds),
        overlap=folds[0].split.overlap,
    )


def training_daily_change(folds: Sequence[DevelopmentData]) -> float:
    """Return the unit of MASE: of the first fold's training rows, which every fold has.

    It is the mean absolute change from one row to the next, the error of "tomorrow is like today"
    one step ahead (Hyndman & Koehler 2006, "Another look at measures of forecast
    accuracy").
    """
    first = folds[0]
    levels = first.space.levels(first.values[: first.split.train_stop])
    return float(np.mean(np.abs(np.diff(levels))))


def validation_growth(fold: DevelopmentData) -> Growth:
    """Return the actual changes since each validation origin [O, H]."""
    return fold.space.changes(fold.values, fold.split.validation_origins, fold.split.horizon)
