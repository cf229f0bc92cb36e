"""Intervals around forecasts, from the errors of earlier ones: conformal, step by step.

Forecasts and outcomes are changes since the origin, in a study's error space. The intervals assume
nothing about the distribution of the errors. Split-conformal ones (:func:`conformal_widths`) do
assume that the errors to come are like those that set the widths (exchangeable); of series that is
only roughly true. :func:`adaptive_widths` does not: its intervals follow the volatility as far as
the errors do, and their level follows how often they held.

Shapes: ``S`` series, ``N`` rows, ``O`` origins, ``H`` steps; all functions work on the last axes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.transforms import exponential_moving_average
from foretune.models.forecasts.metrics import Growth

# Share of outcomes that intervals are made to cover.
COVERAGE = 0.9

# Weight of the past in the running variance (RiskMetrics 1996).
_DECAY = 0.94

# How much one outcome moves the level, and how many known origins set a width, where at most so
# many origins in a row overlap. Where more do, they say less: one of 50 moves it by a tenth.
_RATE = 0.03
_TRAILING = 100
_OVERLAP = 5

# Of a rank, so that 90.00000000000001 is the 90th.
_ROUNDING = 1e-9

# Numbers that are sorted at once: series are taken in groups, or a thousand of them would fill the
# memory.
_ROOM = 2**20

# Errors are never taken to follow the volatility wholly: where a series stands still, its intervals
# keep a width.
_MOST = 0.99


def conformal_widths(forecast: Growth, actual: Growth, *, coverage: float = COVERAGE) -> Growth:
    """Return the half-width of the interval at each step.

    It is the ceil((O + 1) ``coverage``)-th smallest absolute error of the O forecasts. A further
    error, exchangeable with them, is at most that with a probability of at least ``coverage``. The
    guarantee holds for each step by itself; a whole path stays inside less often.

    Where that rank exceeds O, there are too few forecasts for the guarantee. The largest error is
    used, which covers O / (O + 1), less than ``coverage``: 0.9 needs at least 9 forecasts.

    Args:
        forecast: forecast changes [O, H], at origins whose days trained nothing; or of several
            series [S, O, H], each of which has widths of its own.
        actual: actual changes, of the same shape.
        coverage: share of outcomes to cover, above 0 and below 1.

    Returns:
        Changes [H], or [S, H].

    Raises:
        ConfigError: ``coverage`` is out of range, the shapes differ or there is no forecast.

    Source: Vovk, Gammerman & Shafer 2005, "Algorithmic learning in a random world"; Lei et al.
    2018, "Distribution-free predictive inference for regression"; step by step as in Stankeviciute
    et al. 2021, "Conformal time-series forecasting", without its correction for whole paths.

    Example:
        >>> widths = conformal_widths(validation_forecast, validation_actual)
        >>> lower, upper = interval(test_forecast, widths)
    """
    _require_share(coverage)
    if forecast.shape != actual.shape or forecast.ndim not in (2, 3) or forecast.size == 0:
        raise ConfigError(
            "forecast and actual must have one shape [O, H] that is not empty, but have "
            f"{forecast.shape} and {actual.shape}"
        )
    origins = forecast.shape[-2]
    # In decimals, because 100 * 0.55 is above 55 in binary and would round up to 56.
    rank = math.ceil(Decimal(str(float(coverage))) * (origins + 1))
    errors: Growth = np.sort(np.abs(actual - forecast), axis=-2)
    widths: Growth = errors[..., min(rank, origins) - 1, :]
    return widths


def interval(forecast: Growth, widths: Growth) -> tuple[Growth, Growth]:
    """Return the ends around forecasts [..., O, H], for half-widths like them or [H]."""
    return forecast - widths, forecast + widths


def running_volatility(levels: Growth) -> Growth:
    """Return the root of the running mean of squared changes from row to row, at each row.

    Args:
        levels: values in the error space [N], at least 2; nothing after a row is read for it.

    Returns:
        [N]; row 0, before which nothing has changed, has row 1's.

    Source: J. P. Morgan & Reuters 1996, "RiskMetrics - Technical document", with its weight of 0.94
    for the past.
    """
    squares = np.diff(levels) ** 2
    # The average begins at 0; so it is divided by the weights that it has seen.
    seen = 1 - _DECAY ** np.arange(1, len(squares) + 1)
    volatility = np.sqrt(exponential_moving_average(squares, _DECAY) / seen)
    return np.concatenate([volatility[:1], volatility])


def volatility_by_series(levels: Growth, firsts: NDArray[np.integer]) -> Growth:
    """Return the :func:`running_volatility` of several series, each from its first row on [S, N].

    Args:
        levels: of each series [S, N].
        firsts: its first row [S]; those before have the volatility of that one.
    """
    return np.stack(
        [
            np.pad(running_volatility(own[first:]), (first, 0), mode="edge")
            for own, first in zip(levels, firsts.tolist(), strict=True)
        ]
    )


def adaptive_widths(
    errors: Growth,
    origins: NDArray[np.integer],
    volatility: Growth,
    *,
    overlap: int,
    coverage: float = COVERAGE,
    rate: float = _RATE,
    only: slice = slice(None),
) -> Growth:
    """Return the half-width of each interval, from what was known at its origin.

    The outcome at step h is known h rows after its origin, and is used from then on only:

    - An error counts in units of ``w v + (1 - w) m``, for the volatility v at its origin and the
      mean m of v so far: w is the share of the errors' size that followed the volatility, from 0
      to 1, by least squares over the known origins and all steps. Of the S&P 500 it is 0.6; of a
      series whose changes are mostly its season it is near 0. Intervals that followed those wholly
      would be too narrow in its quiet rows: of hourly bike rentals they covered 79 % there.
    - The width is a quantile of the trailing known errors, 100 of them, as in
      :func:`conformal_widths`. Its level begins at ``coverage``. Each known outcome moves it: up
      by ``rate * coverage`` where its interval missed, down by ``rate * (1 - coverage)`` where it
      held. So the intervals hold as often as they should over time, also where errors grow.

    The level stays between 0 and 1, and no interval is wider than the largest of the trailing
    errors, each in the unit of its width: a wider one would have no end. Where nearly every error
    is larger than all before it, as of a model that a trend leaves behind, intervals hold less
    often than they should.

    Each of several series has its own share, level and errors. Only where fewer of them are known
    than a quantile takes (9 for 90 %; all series have the same origins) is it one of all series'
    errors, each in its own unit. Such an interval holds for about ``coverage`` of the series, not
    as often for each of them, and as far as the origins to come are like the few that are known: at
    one time all series may err together.

    Args:
        errors: absolute errors of one series [O, H], or of several [..., S, O, H]; what is not
            known yet is not read, and may be NaN.
        origins: the row of each [O], in order.
        volatility: at each origin, [O] or [..., S, O].
        overlap: origins in a row that have rows in common. Of more than 5, more set a width, and
            each moves the level less.
        coverage: share of outcomes to cover, above 0 and below 1.
        rate: how far an outcome moves the level; 0 leaves it.
        only: of which series the widths are returned; the others are read where few errors are
            known.

    Returns:
        Like the errors, and in their unit; NaN where no outcome of that step is known yet.

    Raises:
        ConfigError: ``coverage`` is out of range.

    Source: Gibbs & Candes 2021, "Adaptive conformal inference under distribution shift", with each
    outcome counted when it is known; scaled errors as in Lei et al. 2018, "Distribution-free
    predictive inference for regression".

    Example:
        >>> volatility = running_volatility(levels)[origins]
        >>> widths = adaptive_widths(np.abs(forecast - actual), origins, volatility, overlap=5)
    """
    _require_share(coverage)
    if errors.ndim == 2:
        one = errors[None], origins, volatility[None]
        own: Growth = adaptive_widths(*one, overlap=overlap, coverage=coverage, rate=rate)[0]
        return own
    alike = max(overlap / _OVERLAP, 1.0)
    trailing, rate = round(_TRAILING * alike), rate / alike
    count, horizon = errors.shape[-2:]
    steps = np.arange(horizon)
    # How many origins' outcomes are known at each origin [O, H].
    known = np.searchsorted(origins, origins[:, None] - steps - 1, side="right")
    enough = _enough(coverage)
    follows = np.concatenate(
        [
            _share_that_follows(errors[..., some, :, :], known, volatility[..., some, :])
            for some in _groups(errors.shape[-3], errors[0].size)
        ],
        axis=-2,
    )
    usual = np.cumsum(volatility, axis=-1) / np.arange(1, count + 1)
    chosen = errors[..., only, :, :]
    widths: Growth = np.full(chosen.shape, np.nan)
    outside = np.full((*chosen.shape[:-2], horizon), 1 - coverage)  # 1 - level
    heard = np.zeros(horizon, np.int64)
    for origin in range(count):
        while (new := heard < known[origin]).any():
            last = np.minimum(heard, count - 1)
            width, error = widths[..., last, steps], chosen[..., last, steps]
            moved = outside + rate * (1 - coverage - (error > width))
            outside = np.where(new & ~np.isnan(width), np.clip(moved, 0, 1), outside)
            heard += new
        held = np.minimum(known[origin], trailing)
        share, mean = follows[..., origin, None], usual[..., origin, None]
        unit = share * volatility[..., : origin + 1] + (1 - share) * mean
        own = unit[..., only, :]
        of_all, of_each = steps[(held > 0) & (held < enough)], steps[held >= enough]
        if len(of_all):
            scores = _scores(errors, unit, known[origin], held, of_all)
            pool = scores.reshape(*scores.shape[:-3], 1, -1, len(of_all))
            found = _quantile(pool, outside[..., of_all], held[of_all] * errors.shape[-3])
            widths[..., origin, of_all] = found * own[..., -1:]
        for some in _groups(chosen.shape[-3], horizon * held.max()) if len(of_each) else ():
            scores = _scores(
                chosen[..., some, :, :], own[..., some, :], known[origin], held, of_each
            )
            found = _quantile(scores, outside[..., some, of_each], held[of_each])
            widths[..., some, origin, of_each] = found * own[..., some, -1:]
    return widths


def _enough(coverage: float) -> int:
    """Return how many errors a quantile takes whose rank is no more than their number."""
    return math.ceil(coverage / (1 - coverage) - _ROUNDING)


def _groups(count: int, size: int) -> list[slice]:
    """Return groups of ``count`` series, each of which has ``size`` numbers to sort."""
    most = max(_ROOM // max(size, 1), 1)
    return [slice(first, first + most) for first in range(0, count, most)]


def _scores(
    errors: Growth,
    unit: Growth,
    known: NDArray[np.integer],
    held: NDArray[np.integer],
    steps: NDArray[np.integer],
) -> Growth:
    """Return the last ``held`` [H] of the ``known`` [H] errors [..., O, H] of some steps.

    They are in units [..., O]: [..., R, steps]. Those of a step that holds fewer than another are
    infinite where it has none: they come last, and are never taken.
    """
    rows = known[steps] - np.arange(held[steps].max(), 0, -1)[:, None]
    return np.where(rows >= 0, errors[..., rows, steps] / _positive(unit[..., rows]), np.inf)


def _quantile(scores: Growth, outside: Growth, held: NDArray[np.integer]) -> Growth:
    """Return the quantile of ``held`` [C] scores [..., R, C] whose level is 1 less ``outside``."""
    rank = np.ceil((1 - outside) * (held + 1) - _ROUNDING).astype(np.int64)
    rank = np.minimum(rank, held)
    at = np.maximum(rank - 1, 0)[..., None, :]
    chosen = np.take_along_axis(np.sort(scores, axis=-2), at, axis=-2)[..., 0, :]
    return np.where(rank > 0, chosen, 0.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Calibration:
    """What the intervals of a trained model are made from, and go on from with newer rows.

    Args:
        errors: absolute errors on validation [O, H].
        first: the row of the first validation origin; the others are ``stride`` rows apart.
        stride: rows between two origins.
        since: the row after which the trained model forecast first, all validation rows before it;
            outcomes of its forecasts after this row and every ``stride`` rows later count too.
    """

    errors: Growth
    first: int
    stride: int
    since: int

    def origins(self, rows: int) -> NDArray[np.int64]:
        """Return the origins after ``since`` whose first outcome is among ``rows`` known rows."""
        return np.arange(self.since, rows - 1, self.stride)

    def outcomes(self, levels: Growth, forecasts: Growth) -> tuple[Growth, NDArray[np.integer]]:
        """Return all errors [O, H] with the rows of their origins [O]; the last are not known yet.

        Args:
            levels: known values in the error space [N].
            forecasts: changes forecast since each of :meth:`origins`, or the first ones [O, H].
        """
        horizon = self.errors.shape[1]
        rows, later = len(levels), self.origins(len(levels))[: len(forecasts)]
        # What is not known yet is not read, whatever stands in its place.
        ahead = np.minimum(later[:, None] + np.arange(1, horizon + 1), rows - 1)
        errors = np.abs(levels[ahead] - levels[later][:, None] - forecasts)
        unknown = np.full((1, horizon), np.nan)
        origins = np.concatenate([self.earlier, later, [rows - 1]])
        return np.concatenate([self.errors, errors, unknown]), origins

    @property
    def earlier(self) -> NDArray[np.int64]:
        """The rows of the validation origins [O]."""
        return self.first + self.stride * np.arange(len(self.errors))


def calibrated_widths(
    calibrations: Sequence[Calibration],
    levels: Sequence[Growth],
    forecasts: Sequence[Growth],
    *,
    coverage: float,
    pooled: Growth | None = None,
) -> list[Growth]:
    """Return the half-widths of the intervals after the last known row of each series [H].

    They come from the errors of its own. Where fewer of them are known than the quantile takes (9
    for 90 %), or none, they are :func:`pooled_errors`, times the usual volatility of the series.
    Such an interval holds for about ``coverage`` of the series, not as often for each of them.

    Args:
        calibrations: of each series.
        levels: known values in the error space [N], of each.
        forecasts: changes forecast since the first of its origins [O, H], of each.
        coverage: share of outcomes to cover.
        pooled: of all series of a panel; None of a single series, which has only its own.
    """
    widths: list[Growth] = [np.empty(0)] * len(calibrations)
    alike = dict[tuple[int, ...], list[int]]()
    known = [c.outcomes(*own) for c, *own in zip(calibrations, levels, forecasts, strict=True)]
    for number, (_, origins) in enumerate(known):  # those with the same origins at once
        alike.setdefault(tuple((origins - origins[-1]).tolist()), []).append(number)
    for numbers in alike.values():
        first = calibrations[numbers[0]]
        horizon, origins = first.errors.shape[1], known[numbers[0]][1]
        volatility = np.stack([running_volatility(levels[n])[known[n][1]] for n in numbers])
        # Each as a panel of one: what is known of others may change, and be more or less.
        own = adaptive_widths(
            np.stack([known[n][0] for n in numbers])[:, None],
            origins,
            volatility[:, None],
            overlap=-(-horizon // first.stride),
            coverage=coverage,
        )[:, 0, -1]
        if pooled is not None:
            count = np.searchsorted(origins, origins[-1] - np.arange(horizon) - 1, side="right")
            few = count < _enough(coverage)
            own[:, few] = pooled[few] * volatility.mean(axis=1)[:, None]
        for number, width in zip(numbers, own, strict=True):
            widths[number] = width
    return widths


def pooled_errors(
    calibrations: Sequence[Calibration], levels: Sequence[Growth], *, coverage: float
) -> Growth:
    """Return the quantile of the validation errors of all series [H].

    Each is divided by the usual volatility of its series: the mean of its running volatility at the
    origins.

    Args:
        calibrations: of each series; those without errors have no part in it.
        levels: known values in the error space [N], of each.
        coverage: the level of the quantile.
    """
    scores = np.concatenate(
        [
            each.errors / _positive(running_volatility(own)[each.earlier].mean())
            for each, own in zip(calibrations, levels, strict=True)
            if len(each.errors)
        ]
    )
    rank = math.ceil(coverage * (len(scores) + 1) - _ROUNDING)
    quantile: Growth = np.sort(scores, axis=0)[min(rank, len(scores)) - 1]
    return quantile


def _share_that_follows(
    errors: Growth, known: NDArray[np.integer], volatility: Growth
) -> NDArray[np.float64]:
    """Return the slope of relative errors on relative volatility, at each origin [..., O]."""

    def mean(values: Growth) -> Growth:
        """Average over the known origins: [..., O, H]."""
        before = np.zeros_like(values[..., :1, :])
        sums = np.concatenate([before, np.cumsum(values, axis=-2)], axis=-2)
        means: Growth = sums[..., known, np.arange(known.shape[1])] / np.maximum(known, 1)
        return means

    wide = np.broadcast_to(volatility[..., None], errors.shape)
    error, moved = mean(errors), mean(wide)
    together = (mean(errors * wide) - error * moved) / _positive(error * moved)
    spread = (mean(wide**2) - moved**2) / _positive(moved**2)
    together, spread = np.sum(known * together, axis=-1), np.sum(known * spread, axis=-1)
    share: NDArray[np.float64] = np.clip(together / _positive(spread), 0, _MOST)
    return share


def coverage_by_step(forecast: Growth, actual: Growth, widths: Growth) -> NDArray[np.float64]:
    """Return the share of origins whose outcome is inside its interval, ends included.

    Args:
        forecast: forecast changes [..., O, H].
        actual: actual changes, of the same shape.
        widths: half-widths of the same shape, or [H].
    """
    # Errors against widths, and not outcomes against ends: the sums that make the ends round, and
    # would leave out the very outcomes that set the widths.
    inside: NDArray[np.float64] = np.mean(np.abs(actual - forecast) <= widths, axis=-2)
    return inside


def coverage_by_volatility(
    forecast: Growth, actual: Growth, widths: Growth, volatility: Growth
) -> NDArray[np.float64]:
    """Return the same over all steps, by thirds of the origins: low, middle, high volatility.

    Args:
        forecast: forecast changes [..., O, H], of at least 3 origins.
        actual: actual changes, of the same shape.
        widths: half-widths of the same shape.
        volatility: at each origin [..., O].

    Returns:
        [..., 3]: of several series, by the thirds of each.
    """
    inside = np.mean(np.abs(actual - forecast) <= widths, axis=-1)
    ordered = np.take_along_axis(inside, np.argsort(volatility, axis=-1, kind="stable"), axis=-1)
    thirds = np.array_split(ordered, 3, axis=-1)
    return np.stack([np.mean(third, axis=-1) for third in thirds], axis=-1)


def _require_share(coverage: float) -> None:
    if not 0 < coverage < 1:
        raise ConfigError(f"coverage must be above 0 and below 1, but is {coverage}")


def _positive(values: Growth) -> Growth:
    """Return values to divide by: 1 where there is nothing to divide by."""
    positive: Growth = np.where(values > 0, values, 1.0)
    return positive
