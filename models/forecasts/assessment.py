"""What forecasts are worth: every metric, error curve and loss of one model at its origins."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.splits import DevelopmentData
from foretune.datasets.transforms import log_growth_between
from foretune.models.forecasts.metrics import (
    direction_hits,
    mean_daily_change,
    mean_squared_error,
    proportion_interval,
    relative_mse,
)

Growth = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The numbers that rank forecasts; errors are of log prices.

    ``relative_mse`` is the mean over folds of MSE / persistence MSE. ``mae`` is the mean absolute
    error (0.01 is about 1 % of the price); ``mase`` is it in units of the mean absolute daily
    change of the training days (Hyndman & Koehler 2006). ``directional_accuracy`` is the share of
    origins where the price ended on the forecast side of the origin's, with a 95 % binomial
    interval; None where nothing has a direction, as in persistence.
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
    """Assess forecasts against what came.

    Args:
        forecasts: for each fold, forecast log growth since each origin [O, H].
        actuals: for each fold, actual log growth since each origin [O, H].
        daily_change: mean absolute change of the log price from one training day to the next.
        overlap: origins in a row whose targets overlap; only every ``overlap``-th is new evidence
            for the binomial interval.

    Raises:
        DataError: the prices stood still after every origin of a fold.

    Example:
        >>> assess([forecast], [actual], daily_change=0.007, overlap=5).metrics.mase
    """
    pairs = list(zip(forecasts, actuals, strict=True))
    relative = [relative_mse(forecast, actual) for forecast, actual in pairs]
    units = [mean_squared_error(np.zeros_like(actual), actual) for actual in actuals]
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
            [_by_origin(f - a) / unit for (f, a), unit in zip(pairs, units, strict=True)]
        ),
        persistence_losses=np.concatenate(
            [_by_origin(actual) / unit for actual, unit in zip(actuals, units, strict=True)]
        ),
        mse_by_step=np.mean(error**2, axis=0),
        persistence_mse_by_step=np.mean(moves**2, axis=0),
        mae_by_step=np.mean(np.abs(error), axis=0),
    )


def assess_folds(folds: Sequence[DevelopmentData], forecasts: Sequence[Growth]) -> Assessment:
    """Assess validation forecasts, one array [O, H] of log growth a fold.

    Raises:
        DataError: the prices stood still after every origin of a fold.
    """
    return assess(
        forecasts,
        [validation_growth(fold) for fold in folds],
        daily_change=training_daily_change(folds),
        overlap=folds[0].split.overlap,
    )


def training_daily_change(folds: Sequence[DevelopmentData]) -> float:
    """Return the unit of MASE: of the first fold's training days, which every fold has."""
    first = folds[0]
    return mean_daily_change(np.log(first.values[: first.split.train_stop]))


def validation_growth(fold: DevelopmentData) -> Growth:
    """Return the actual log growth since each validation origin [O, H]."""
    return log_growth_between(fold.values, fold.split.validation_origins, fold.split.horizon)


def _by_origin(error: Growth) -> NDArray[np.float64]:
    losses: NDArray[np.float64] = np.mean(np.square(error), axis=1)
    return losses
