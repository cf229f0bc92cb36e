"""How wrong forecasts are: metrics, error curves and losses, by NumPy in float64 on the host."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.splits import DevelopmentData
from foretune.datasets.transforms import LOG, ErrorSpace, changes_of, levels_of
from foretune.models.config import MetricName

# Of many series without a unit, a message names so many.
_NAMED = 3

# Changes since an origin, log growth of prices: of several series [S, O, H], of one [O, H], or a
# path [H] of one origin.
Growth = NDArray[np.float64]


def mean_squared_error(forecast: Growth, actual: Growth) -> float:
    """Return the mean of the squared difference of two arrays of one shape."""
    return float(np.mean(np.square(forecast - actual)))


def persistence_mse(actual: Growth) -> float:
    """Return the error of "nothing changes" for actual growth [O, H]."""
    return float(np.mean(np.square(actual)))


def relative_mse(forecast: Growth, actual: Growth) -> float:
    """Return the MSE divided by that of persistence, a study's objective unless it says another.

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Outcomes:
    """What came after the origins of one fold.

    ``actual`` are the changes [S, O, H] in ``spaces``, one a series, ``now`` are the values at the
    origins [S, O], and ``units`` those of MASE, one a series.
    """

    actual: Growth
    now: NDArray[np.float64]
    units: Sequence[float]
    spaces: Sequence[ErrorSpace]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What a study may choose its epochs and trials by: the mean error, lower is better.

    ``label`` is what people call it. ``errors`` are those of forecast changes at each origin and
    step [S, O, H], and ``units`` what the errors of each series are divided by [S]. A series whose
    unit is 0 has no such metric, and no part in the mean over the others.
    """

    label: str
    errors: Callable[[Growth, Outcomes], Growth]
    units: Callable[[Outcomes], Sequence[float]]

    def value(self, changes: Growth, came: Outcomes) -> float:
        """Return the metric of forecast changes [S, O, H]: the mean over the series.

        Raises:
            DataError: no series has a unit.

        Example:
            >>> METRICS["mae"].value(changes, came)
        """
        return float(np.mean([np.mean(own) / unit for own, unit in self._of_each(changes, came)]))

    def by_series(self, changes: Growth, came: Outcomes) -> NDArray[np.float64]:
        """Return the same of each series [S], NaN of one without a unit."""
        each = zip(self.errors(changes, came), self.units(came), strict=True)
        return np.array([np.mean(own) / unit if unit > 0 else np.nan for own, unit in each])

    def by_origin(self, changes: Growth, came: Outcomes) -> NDArray[np.float64]:
        """Return the same of each origin [O], whose mean is the metric."""
        of_series = [np.mean(own, axis=1) / unit for own, unit in self._of_each(changes, came)]
        errors: NDArray[np.float64] = np.mean(of_series, axis=0)
        return errors

    def _of_each(self, changes: Growth, came: Outcomes) -> list[tuple[Growth, float]]:
        """Return the errors of each series that has a unit, and that unit."""
        each = zip(self.errors(changes, came), self.units(came), strict=True)
        known = [(own, unit) for own, unit in each if unit > 0]
        if not known:
            raise DataError(
                f"values must change after some of the {came.actual.shape[1]} forecast origins, "
                "but stand still"
            )
        return known


def _squared_errors(changes: Growth, came: Outcomes) -> Growth:
    squared: Growth = np.square(changes - came.actual)
    return squared


def _absolute_errors(changes: Growth, came: Outcomes) -> Growth:
    return np.abs(changes - came.actual)


def _symmetric_errors(changes: Growth, came: Outcomes) -> Growth:
    """Return 200 |f - a| / (|f| + |a|) of the values that changes lead to."""
    rows = zip(changes, came.actual, came.now, came.spaces, strict=True)
    return np.stack([_symmetric_errors_of(*own) for own in rows])


def _symmetric_errors_of(
    forecast: Growth, actual: Growth, now: NDArray[np.float64], space: ErrorSpace
) -> NDArray[np.float64]:
    if space.name == "log":  # the same of exp(forecast) and exp(actual), which cannot overflow
        return 200 * np.abs(np.tanh((forecast - actual) / 2))
    f, a = (now[:, None] + space.unit * changes for changes in (forecast, actual))
    size = np.abs(f) + np.abs(a)
    return 200 * np.abs(f - a) / np.where(size > 0, size, 1.0)


def _persistence_units(came: Outcomes) -> list[float]:
    return [persistence_mse(own) for own in came.actual]


def _no_units(came: Outcomes) -> list[float]:
    return [1.0] * len(came.actual)


METRICS: dict[MetricName, Metric] = {
    "relative_mse": Metric(label="relative MSE", errors=_squared_errors, units=_persistence_units),
    "mse": Metric(label="MSE", errors=_squared_errors, units=_no_units),
    "mae": Metric(label="MAE", errors=_absolute_errors, units=_no_units),
    "mase": Metric(label="MASE", errors=_absolute_errors, units=lambda came: came.units),
    "smape": Metric(label="sMAPE", errors=_symmetric_errors, units=_no_units),
}


def direction_hits(forecast: Growth, actual: Growth) -> tuple[int, int]:
    """Count the forecasts of the right sign, and those that have a sign to be right about.

    Args:
        forecast: forecast changes [O], or of several series [S, O].
        actual: actual changes, of the same shape.
    """
    directed = _directed(forecast, actual)
    hits = directed & (np.sign(forecast) == np.sign(actual))
    return int(hits.sum()), int(directed.sum())


def _directed(forecast: Growth, actual: Growth) -> NDArray[np.bool_]:
    both: NDArray[np.bool_] = (forecast != 0) & (actual != 0)
    return both


def sign_overlap(overlap: int) -> float:
    """Return how many signs of overlapping changes say as much as one: their design effect.

    The changes after origins l apart share 1 - l / ``overlap`` of their steps; the signs of two
    normal variables with that correlation correlate by (2 / pi) asin(1 - l / overlap). That is of
    the outcomes, and of right directions where forecasts keep their sign. Where they change it
    more, right directions say a little more than is counted here: of random walks at an overlap of
    5, 95 % intervals covered 98 to 100 %, and 0.2 to 2 % of tests were below 0.05.

    Args:
        overlap: origins in a row that have steps in common.

    Example:
        >>> sign_overlap(5).__round__(2)
        3.78
    """
    shared = 1 - np.arange(1, overlap) / overlap
    return float(1 + 2 * np.sum(np.arcsin(shared)) * 2 / np.pi)


def proportion_interval(
    hits: int,
    count: int,
    overlap: int = 1,
    *,
    origins: int | None = None,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return Wilson's interval (1927) of a proportion of right signs.

    Args:
        hits: how many of ``count`` are hits.
        count: how many there are, at least 1.
        overlap: origins in a row that have steps in common: the interval is that of ``count`` /
            :func:`sign_overlap` independent ones with the same proportion, and of 1 at least.
        origins: how many origins these are of, where several series have one each at a time: what
            moves one may move all, so they say no more than one series would. None for ``count``.
        confidence: share of such intervals that cover the true proportion.

    Example:
        >>> low, high = proportion_interval(60, 100)
    """
    independent = max((count if origins is None else origins) / sign_overlap(overlap), 1.0)
    share, squared = hits / count, float(ndtri((1 + confidence) / 2)) ** 2 / independent
    middle = share + squared / 2
    spread = float(np.sqrt(squared * (share * (1 - share) + squared / 4)))
    low, high = ((middle + side * spread) / (1 + squared) for side in (-1, 1))
    return max(low, 0.0) if hits else 0.0, min(high, 1.0) if hits < count else 1.0


def direction_p_value(forecast: Growth, actual: Growth, overlap: int = 1) -> float | None:
    """Return the p-value that right directions come of forecasts that know nothing of the outcome.

    In a market that rises most of the time, "up" is right most of the time; so the share of right
    directions is compared with the one that forecasts and outcomes of these shares of ups would
    have if they were independent. One-sided: small where more are right.

    Of several series each is compared with its own ups and downs, because a forecast that knows
    only which of them rise knows nothing of when. Their differences are averaged, and their
    standard errors too, as if all moved as one: that is never too small, whatever they have in
    common, and more series alone are no more evidence.

    Args:
        forecast: forecast changes [O], or of several series [S, O]; those of 0, or with an actual
            one of 0, are left out.
        actual: actual changes, of the same shape.
        overlap: origins in a row that have steps in common, as in :func:`proportion_interval`.

    Returns:
        None where, in every series, all forecasts or all outcomes have one sign, or so few origins
        leave the difference no variance: that is no evidence at all.

    Source: Pesaran & Timmermann 1992, "A simple nonparametric test of predictive performance".
    """
    found = [
        _direction_gain(*own, overlap)
        for own in zip(np.atleast_2d(forecast), np.atleast_2d(actual), strict=True)
    ]
    known = [(count, gain, error) for count, gain, error in found if error > 0]
    if not known:
        return None
    counts, gains, errors = np.array(known).T
    weights = counts / np.sum(counts)
    return float(ndtr(-np.sum(weights * gains) / np.sum(weights * errors)))


def _direction_gain(forecast: Growth, actual: Growth, overlap: int) -> tuple[int, float, float]:
    """Return of one series [O] how many changes have a direction, and how many more are right.

    That is as a share, less the one that is expected, with its standard error; 0 where there is
    none.
    """
    hits, count = direction_hits(forecast, actual)
    directed = _directed(forecast, actual)
    if count == 0:
        return 0, 0.0, 0.0
    x, y = float(np.mean(forecast[directed] > 0)), float(np.mean(actual[directed] > 0))
    independent = max(count / sign_overlap(overlap), 1.0)
    expected = x * y + (1 - x) * (1 - y)
    of_share = expected * (1 - expected) / independent
    of_expected = (
        (2 * y - 1) ** 2 * x * (1 - x)
        + (2 * x - 1) ** 2 * y * (1 - y)
        + 4 * x * y * (1 - x) * (1 - y) / independent
    ) / independent
    if x in (0, 1) or y in (0, 1) or not of_share > of_expected:
        return count, 0.0, 0.0
    return count, hits / count - expected, float(np.sqrt(of_share - of_expected))


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The numbers that rank forecasts; errors are in the data's error space.

    All are means over the series, and directions are counted in all of them. ``relative_mse`` is
    the mean over folds of MSE divided by persistence's, over the series that do not stand still;
    NaN of one that does.
    ``mae`` is the mean absolute error (of log prices 0.01 is about 1 %); ``mase`` is the same in
    units of :func:`seasonal_naive_error`, over the series where that is not 0, and None where it
    is 0 in all. ``smape`` is the symmetric mean absolute percentage error of the values, from 0 to
    200.
    ``directional_accuracy`` is the share of origins where the value ended on the forecast side of
    the origin's, with a 95 % interval, for which the series at one origin count as one; None where
    nothing has a direction, as in persistence.
    ``directional_p_value`` says whether that is more than the ups and downs alone give
    (:func:`direction_p_value`).
    """

    relative_mse: float
    mse: float
    mae: float
    mase: float | None
    smape: float
    directional_accuracy: float | None
    directional_low: float | None
    directional_high: float | None
    directional_p_value: float | None

    def of(self, metric: MetricName) -> float:
        """Return the number of this name, which there is where a study chooses by it."""
        value: float = getattr(self, metric)
        return value

    def known(self) -> dict[str, float]:
        """Return the numbers that there are, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, eq=False, kw_only=True)
class Assessment:
    """Metrics, and the curves behind them.

    ``losses`` [O] is each origin's MSE over the steps, in units of its fold's persistence MSE, the
    mean over the series: their mean is ``relative_mse``. By another metric it is each origin's
    error of that metric, in units of ``persistence``, which is persistence's mean over all folds;
    1 by the relative MSE. ``persistence_losses`` [O] are persistence's, of mean 1. ``mse_by_step``,
    ``persistence_mse_by_step`` and ``mae_by_step`` are [H].
    """

    metrics: Metrics
    persistence: float
    losses: NDArray[np.float64]
    persistence_losses: NDArray[np.float64]
    mse_by_step: NDArray[np.float64]
    persistence_mse_by_step: NDArray[np.float64]
    mae_by_step: NDArray[np.float64]


def assess(
    forecasts: Sequence[Growth],
    actuals: Sequence[Growth],
    *,
    now: Sequence[NDArray[np.float64]],
    units: Sequence[float],
    overlap: int,
    spaces: Sequence[ErrorSpace] = (LOG,),
    metric: MetricName = "relative_mse",
) -> Assessment:
    """Assess forecasts against the actual growth.

    Args:
        forecasts: for each fold, forecast changes since each origin [S, O, H].
        actuals: for each fold, actual changes since each origin [S, O, H].
        now: for each fold, the values at the origins [S, O].
        units: of MASE for each series, the :func:`seasonal_naive_error` before what is scored.
        overlap: origins in a row whose targets overlap, so that their directions say less.
        spaces: of the changes, one a series.
        metric: whose errors the losses are.

    Raises:
        DataError: the values stood still after every origin of a fold.

    Example:
        >>> assess([forecast], [actual], now=[now], units=[0.007], overlap=5).metrics.mase
    """
    came = [
        Outcomes(actual=actual, now=at, units=units, spaces=spaces)
        for actual, at in zip(actuals, now, strict=True)
    ]
    pairs = list(zip(forecasts, came, strict=True))
    relative = [METRICS["relative_mse"].value(*pair) for pair in pairs]
    made, whole = np.concatenate(forecasts, axis=1), _joined(came)
    moves = whole.actual
    error = made - moves
    horizon, by_origin = error.shape[-1], METRICS[metric].by_origin
    losses = np.concatenate([by_origin(*pair) for pair in pairs])
    still = np.concatenate([by_origin(np.zeros_like(own.actual), own) for own in came])
    persistence = 1.0 if metric == "relative_mse" else float(np.mean(still))
    return Assessment(
        metrics=_metrics(float(np.mean(relative)), made, whole, overlap),
        persistence=persistence,
        losses=losses / persistence,
        persistence_losses=still / persistence,
        mse_by_step=np.mean(error.reshape(-1, horizon) ** 2, axis=0),
        persistence_mse_by_step=np.mean(moves.reshape(-1, horizon) ** 2, axis=0),
        mae_by_step=np.mean(np.abs(error.reshape(-1, horizon)), axis=0),
    )


def _joined(folds: Sequence[Outcomes]) -> Outcomes:
    """Return the outcomes of all folds, which have the units and spaces of the first one."""
    actual, now = ([getattr(fold, name) for fold in folds] for name in ("actual", "now"))
    return replace(folds[0], actual=np.concatenate(actual, axis=1), now=np.concatenate(now, axis=1))


def _metrics(relative_mse: float, made: Growth, came: Outcomes, overlap: int) -> Metrics:
    """Return the numbers of forecast changes [S, O, H], whose relative MSE is known."""
    ends = made[..., -1], came.actual[..., -1]
    hits, directed = direction_hits(*ends)
    times = int(np.any(_directed(*ends), axis=0).sum())
    low, high = (
        proportion_interval(hits, directed, overlap, origins=times) if directed else (None, None)
    )
    return Metrics(
        relative_mse=relative_mse,
        mse=METRICS["mse"].value(made, came),
        mae=METRICS["mae"].value(made, came),
        mase=METRICS["mase"].value(made, came) if max(came.units) > 0 else None,
        smape=METRICS["smape"].value(made, came),
        directional_accuracy=hits / directed if directed else None,
        directional_low=low,
        directional_high=high,
        directional_p_value=direction_p_value(*ends, overlap),
    )


def assess_each(
    forecasts: Sequence[Growth],
    actuals: Sequence[Growth],
    *,
    now: Sequence[NDArray[np.float64]],
    units: Sequence[float],
    overlap: int,
    spaces: Sequence[ErrorSpace] = (LOG,),
) -> list[Metrics]:
    """Assess each series by itself, as :func:`assess` does all of them.

    One that stands still after every origin has a relative MSE of NaN.

    Example:
        >>> [own.mae for own in assess_each([forecast], [actual], now=[now], units=u, overlap=5)]
    """
    came = [
        Outcomes(actual=actual, now=at, units=units, spaces=spaces)
        for actual, at in zip(actuals, now, strict=True)
    ]
    pairs = zip(forecasts, came, strict=True)
    relative = np.mean([METRICS["relative_mse"].by_series(*pair) for pair in pairs], axis=0)
    made, whole = np.concatenate(forecasts, axis=1), _joined(came)
    return [
        _metrics(
            float(relative[number]),
            made[number : number + 1],
            Outcomes(
                actual=whole.actual[number : number + 1],
                now=whole.now[number : number + 1],
                units=[unit],
                spaces=[space],
            ),
            overlap,
        )
        for number, (unit, space) in enumerate(zip(units, spaces, strict=True))
    ]


def assess_folds(
    folds: Sequence[DevelopmentData],
    forecasts: Sequence[Growth],
    *,
    metric: MetricName = "relative_mse",
) -> Assessment:
    """Assess validation forecasts, one array [S, O, H] of changes a fold.

    Raises:
        DataError: the values stood still after every origin of a fold.
    """
    return assess(forecasts, metric=metric, **on_validation(folds))


def errors_by_series(
    folds: Sequence[DevelopmentData], forecasts: Sequence[Growth], metric: MetricName
) -> NDArray[np.float64]:
    """Return a metric of validation forecasts for each series [S], as a mean over the folds."""
    came = on_validation(folds)
    of_folds = [
        METRICS[metric].by_series(
            changes, Outcomes(actual=actual, now=now, units=came["units"], spaces=came["spaces"])
        )
        for changes, actual, now in zip(forecasts, came["actuals"], came["now"], strict=True)
    ]
    errors: NDArray[np.float64] = np.mean(of_folds, axis=0)
    return errors


def on_validation(folds: Sequence[DevelopmentData]) -> dict[str, Any]:
    """Return what :func:`assess` and :func:`assess_each` take of the validation parts of folds."""
    first = folds[0]
    return {
        "actuals": [validation_growth(fold) for fold in folds],
        "now": [fold.values[:, fold.split.validation_origins] for fold in folds],
        "units": _units_of(first),
        "overlap": first.split.overlap,
        "spaces": first.spaces,
    }


def mase_units(
    levels: Growth, firsts: NDArray[np.int32], stop: int, season: int | None
) -> list[float]:
    """Return the unit of MASE of each series [S, N]: :func:`seasonal_naive_error` before ``stop``.

    Args:
        levels: of each series in its error space.
        firsts: the first row of each [S].
        stop: the first row that is not read.
        season: steps in a season.
    """
    return [
        seasonal_naive_error(own[first:stop], season)
        for own, first in zip(levels, firsts, strict=True)
    ]


def _units_of(first: DevelopmentData) -> list[float]:
    """Return the units of MASE, one a series, of all folds: those of the rows before the first."""
    levels = levels_of(first.spaces, first.values)
    return mase_units(levels, first.firsts, first.split.validation_start, first.seasonality)


def require_mase_units(first: DevelopmentData) -> list[float]:
    """Return the units of MASE, one a series, of all folds from ``first`` on.

    Raises:
        ConfigError: one of them is 0.
    """
    units = _units_of(first)
    if min(units) == 0:
        season = mase_season(first.seasonality, first.split.validation_start)
        names = [name for name, unit in zip(first.names, units, strict=True) if unit == 0]
        some = ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
        raise ConfigError(
            f"metric must not be 'mase' for {some}, without a unit: every value before validation "
            f"is the one {season} rows earlier; give relative_mse, mse, mae or smape"
            + f", or leave_out={names} (--leave-out, once for each)"
            * (len(units) > len(names))
        )
    return units


def seasonal_naive_error(levels: NDArray[np.float64], season: int | None) -> float:
    """Return the unit of MASE: the mean absolute change of levels [N] over one season.

    It is the error of the seasonal naive in sample (Hyndman & Koehler 2006, "Another look at
    measures of forecast accuracy").

    Example:
        >>> seasonal_naive_error(np.array([1.0, 5.0, 2.0, 6.0]), 2)
        1.0
    """
    apart = mase_season(season, len(levels))
    return float(np.mean(np.abs(levels[apart:] - levels[:-apart])))


def mase_season(season: int | None, rows: int) -> int:
    """Return the season of the unit of MASE: 1 where there is none, or the rows hold no change.

    Over one row it is the error of "tomorrow is like today".
    """
    return season if season is not None and season < rows else 1


def validation_growth(fold: DevelopmentData) -> Growth:
    """Return the actual changes since each validation origin [S, O, H]."""
    return changes_of(fold.spaces, fold.values, fold.split.validation_origins, fold.split.horizon)
