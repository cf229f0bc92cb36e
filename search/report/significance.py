"""Is a difference between forecasts more than luck, given how many were tried and how they overlap?

Losses are one number per forecast origin, in time order. Forecasts from neighbouring origins share
target days, so their losses move together: 700 origins a day apart with a horizon of 50 days say
about as much as 14. Every test here takes that into account, by resampling blocks of origins or by
the autocovariances that the overlap causes.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from foretune.datasets.common.errors import ConfigError

Losses = NDArray[np.float64]

# Relative to the largest loss, and to the variance: far below any difference that matters.
_TIE_BREAK = 1e-12
_ROUNDING = 1e-12


@dataclass(frozen=True, kw_only=True)
class SPAResult:
    """Whether the best of many alternatives beats a benchmark: a small ``p_value`` says it does.

    ``lower`` and ``upper`` enclose ``p_value``: how many alternatives are too poor to have had a
    chance is an estimate, and they are the p-values of the two extremes. ``independent`` counts
    the origins whose forecasts share no day, ``block`` is the mean length of a resampled block in
    origins, ``alternatives`` is how many were tried.
    """

    p_value: float
    lower: float
    upper: float
    origins: int
    independent: int
    block: int
    alternatives: int


@dataclass(frozen=True, kw_only=True)
class DieboldMariano:
    """Whether two forecasts are equally accurate: a small ``p_value`` says they are not.

    ``mean_difference`` is the mean loss less that of the benchmark; it and ``statistic`` are
    negative where the benchmark is beaten.
    """

    statistic: float
    p_value: float
    mean_difference: float


def block_length(origins: int, *, horizon: int, stride: int) -> int:
    """Return how many origins in a row to resample together.

    A block covers the forecasts that overlap, and grows with the cube root of the number of
    origins, the rate at which block lengths are optimal (Hall, Horowitz & Jing 1995, "On blocking
    rules for the bootstrap with dependent data").

    Args:
        origins: number of forecast origins, at least 1.
        horizon: days that each forecast covers, at least 1.
        stride: days from one origin to the next, at least 1.

    Example:
        >>> block_length(500, horizon=50, stride=5)
        10
    """
    return min(max(_overlap(horizon, stride), math.ceil(math.pow(origins, 1 / 3))), origins)


def spa_test(
    losses: Losses,
    benchmark: Losses,
    *,
    horizon: int,
    stride: int,
    seed: int = 0,
    reps: int = 1000,
) -> SPAResult:
    """Test whether any alternative beats the benchmark, all of them counted.

    The best of many looks good by chance alone. The test asks how good the best would look if none
    were better: it resamples blocks of origins of random length (stationary bootstrap) and
    compares the largest mean gain over the benchmark.

    Gains are compared as they are, not in units of their standard errors. Look at ``independent``
    before the p-value: resamples of few independent origins are nearly alike, and the p-value is
    then too small. With 20 of them, and 20 alternatives as good as the benchmark, the test claims a
    winner at the 5 % level in about one study of seven (the tests simulate some of them).

    Args:
        losses: losses of the K alternatives [T, K].
        benchmark: losses of the benchmark at the same origins [T].
        horizon: days that each forecast covers.
        stride: days from one origin to the next.
        seed: of the resampling.
        reps: how many times to resample, B.

    Returns:
        Hansen's consistent p-value and its bounds. They are (b + 1) / (B + 1), b of B resamples
        exceeding the gain, so none is ever 0 (Davison & Hinkley 1997, "Bootstrap Methods and
        their Application", section 4.2); all are 1 where no alternative has a lower mean loss, or
        with fewer than 3 origins.

    Raises:
        ConfigError: there is no alternative, the shapes differ or a loss is not finite.

    Source: Hansen 2005, "A test for superior predictive ability"; Politis & Romano 1994, "The
    stationary bootstrap".

    Example:
        >>> spa_test(losses, persistence, horizon=50, stride=5).p_value < 0.05
    """
    losses, benchmark = _finite("losses", losses, 2), _finite("benchmark", benchmark, 1)
    origins, alternatives = losses.shape
    if alternatives == 0:
        raise ConfigError("losses must have a column for at least 1 alternative, but have 0")
    _require_pairs(losses, benchmark)
    block = block_length(origins, horizon=horizon, stride=stride)
    lower, consistent, upper = 1.0, 1.0, 1.0
    gains = benchmark[:, None] - losses
    # Hansen's statistic is cut off at 0: without a gain there is nothing to test. arch does not cut
    # it, and its strict comparison would find no resample above a gain of exactly 0. Hansen's
    # bound, log log T, needs three origins.
    if origins >= 3 and np.max(np.mean(gains, axis=0)) > 0:
        from arch.bootstrap import SPA  # here: it takes longer to import than all of Optuna

        scaled = gains / _units(gains, block)
        spa = SPA(np.zeros(origins), -scaled, block_size=block, reps=reps, seed=seed)
        spa.compute()
        shares = spa.pvalues[["lower", "consistent", "upper"]].to_numpy(dtype=np.float64)
        lower, consistent, upper = _never_zero(shares, reps).tolist()
    return SPAResult(
        p_value=consistent,
        lower=lower,
        upper=upper,
        origins=origins,
        independent=-(-origins // _overlap(horizon, stride)),
        block=block,
        alternatives=alternatives,
    )


def _units(gains: Losses, block: int) -> Losses:
    """Return what to divide each column of gains [T, K] by: [K], 1 for most.

    Hansen divides each gain by its standard error; arch 8 compares means as they are. Neither works
    here. With the few independent origins of a validation split an estimated error can be far too
    small: over 60 random-walk studies at horizon 50 with 15 independent origins, Hansen's way made
    7 claims at the 5 % level, arch's 3. But in arch's way one trial with one huge loss hides every
    other: skill was then found in 0 of 40 studies on AR(1) returns. So a gain is scaled down only
    where its standard error is more than twice the median one: 4 claims of 60, and 35 of 40 found,
    with such a trial or without.
    """
    centred = gains - gains.mean(axis=0)
    origins = len(gains)
    variance = np.mean(centred**2, axis=0)
    # The variance of a mean under the stationary bootstrap (Politis & Romano 1994, lemma 1).
    for lag in range(1, origins):
        share, stay = lag / origins, 1 - 1 / block
        weight = (1 - share) * stay**lag + share * stay ** (origins - lag)
        if weight < _ROUNDING:
            continue
        variance += 2 * weight * np.sum(centred[:-lag] * centred[lag:], axis=0) / origins
    errors = np.sqrt(np.maximum(variance, 0))
    units: Losses = np.maximum(1.0, errors / max(2 * float(np.median(errors)), _TIE_BREAK))
    return units


def model_confidence_set(
    losses: Losses, *, horizon: int, stride: int, seed: int = 0, reps: int = 1000
) -> NDArray[np.float64]:
    """Return the p-value with which each forecast is among the best ones.

    The set of all forecasts whose p-value exceeds a size (:func:`in_confidence_set`) contains the
    best one with probability of about 1 - size. Forecasts leave it one by one, the worst in units
    of its standard error first, for as long as those that remain are not equally good.

    Args:
        losses: losses of K forecasts at the same origins [T, K].
        horizon: days that each forecast covers.
        stride: days from one origin to the next.
        seed: of the resampling.
        reps: how many times to resample, B.

    Returns:
        [K]: 1 for the last to remain. As in :func:`spa_test` none is 0. Forecasts with
        the same losses count once and share a p-value.

    Raises:
        ConfigError: there is no forecast, there are fewer than 2 origins, a loss is not finite or
            every resample is the sample itself (a few of 2 origins).

    Source: Hansen, Lunde & Nason 2011, "The model confidence set"; its statistic T_max.

    Example:
        >>> model_confidence_set(losses, horizon=50, stride=5) > 0.1
    """
    losses = _finite("losses", losses, 2)
    origins, forecasts = losses.shape
    if forecasts == 0:
        raise ConfigError("losses must have a column for at least 1 forecast, but have 0")
    if origins < 2:
        raise ConfigError(f"losses must be of at least 2 forecast origins, but are of {origins}")
    # Equal columns cannot be compared. Sorting also frees the result from the columns' order.
    distinct, twin = np.unique(losses, axis=1, return_inverse=True)
    if distinct.shape[1] == 1:
        return np.ones(forecasts)
    # arch divides by the standard deviation of each loss less the average loss, and never ends
    # where both are exactly 0, as for a loss that is the average of the others. Of two with exactly
    # equal means it keeps neither. Noise far below any difference that matters prevents both.
    noise = np.random.default_rng(seed).standard_normal(distinct.shape)
    distinct = distinct / np.max(np.abs(distinct)) + _TIE_BREAK * noise
    block = block_length(origins, horizon=horizon, stride=stride)
    from arch.bootstrap import MCS  # see spa_test

    # The statistic "R" compares all pairs and holds [B, K, K] numbers, 8 GB for 1000 forecasts.
    mcs = MCS(distinct, size=0.1, reps=reps, block_size=block, method="max", seed=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            mcs.compute()
        except RuntimeWarning as error:
            raise ConfigError(
                f"reps must be enough for resamples of {origins} origins to differ, but is {reps}"
            ) from error
    shares = mcs.pvalues["Pvalue"].sort_index().to_numpy(dtype=np.float64)
    return _never_zero(shares, reps)[twin.reshape(-1)]


def in_confidence_set(p_values: NDArray[np.float64], size: float = 0.1) -> NDArray[np.bool_]:
    """Return which forecasts [K] are in the model confidence set of level 1 - ``size``."""
    return p_values > size


def diebold_mariano(losses: Losses, benchmark: Losses, *, overlap: int) -> DieboldMariano:
    """Test whether two forecasts are equally accurate, two-sided.

    For a forecast that was chosen before these losses were seen; for the best of many see
    :func:`spa_test`.

    The variance of the mean difference is the sum of its autocovariances up to lag
    ``overlap - 1``, which may be negative. They then get Bartlett's weights, whose sum is positive
    unless the difference never changes. (R's ``forecast::dm.test`` then uses ``overlap`` 1, which
    takes overlapping forecasts for independent ones.)

    Args:
        losses: losses of one forecast [T].
        benchmark: losses of the other at the same origins [T].
        overlap: origins in a row whose forecasts share days, ceil(horizon / stride); 1 if none.

    Returns:
        The statistic with its small-sample correction, and its p-value by Student's t with T - 1
        degrees of freedom. The statistic is 0 and the p-value 1 where there is no evidence: the
        losses are the same, or all forecasts overlap (T <= ``overlap``). Where the difference is
        the same at every origin, but not 0, the statistic is infinite and the p-value 0.

    Raises:
        ConfigError: ``overlap`` is below 1, there is no origin, the shapes differ or a loss is not
            finite.

    Source: Diebold & Mariano 1995, "Comparing predictive accuracy"; Harvey, Leybourne & Newbold
    1997, "Testing the equality of prediction mean squared errors"; Newey & West 1987 for the
    weights.

    Example:
        >>> diebold_mariano(test.losses, persistence, overlap=10).p_value
    """
    losses, benchmark = _finite("losses", losses, 1), _finite("benchmark", benchmark, 1)
    _require_pairs(losses, benchmark)
    if overlap < 1:
        raise ConfigError(f"overlap must be at least 1, but is {overlap}")
    difference = losses - benchmark
    origins = len(difference)
    if origins == 0:
        raise ConfigError("losses must be of at least 1 forecast origin, but are of 0")
    mean = float(np.mean(difference))
    if origins <= overlap or not np.any(difference):
        statistic = 0.0
    elif np.ptp(difference) == 0:
        statistic = math.copysign(math.inf, mean)
    else:
        # The correction of Harvey et al., (T + 1 - 2 h + h (h - 1) / T) / T, as a product.
        correction = (origins - overlap) * (origins - overlap + 1) / origins**2
        variance = _long_run_variance(difference - mean, overlap) / origins
        statistic = mean * math.sqrt(correction / variance)
    return DieboldMariano(
        statistic=statistic,
        p_value=float(2 * stdtr(max(origins - 1, 1), -abs(statistic))),
        mean_difference=mean,
    )


def _long_run_variance(centred: NDArray[np.float64], overlap: int) -> float:
    """Sum the autocovariances of centred [T] up to lag ``overlap - 1``, both sides."""
    origins = len(centred)
    variance, *covariances = (
        float(centred[: origins - lag] @ centred[lag:]) / origins for lag in range(overlap)
    )
    flat = variance + 2 * math.fsum(covariances)
    # A sum that cancels is left with rounding errors of either sign.
    if flat > _ROUNDING * variance:
        return flat
    weighted = ((1 - lag / overlap) * value for lag, value in enumerate(covariances, start=1))
    return variance + 2 * math.fsum(weighted)


def _overlap(horizon: int, stride: int) -> int:
    """Return how many origins in a row have target days in common."""
    return -(-horizon // stride)


def _never_zero(shares: NDArray[np.float64], reps: int) -> NDArray[np.float64]:
    """Count the sample itself among its resamples: from b / B to (b + 1) / (B + 1)."""
    return (np.rint(shares * reps) + 1) / (reps + 1)


def _finite(name: str, values: Losses, dimensions: int) -> Losses:
    """Return ``values`` as float64, refusing another number of dimensions or a NaN."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != dimensions:
        raise ConfigError(f"{name} must have {dimensions} dimensions, but has shape {values.shape}")
    broken = np.count_nonzero(~np.isfinite(values))
    if broken:
        raise ConfigError(f"{name} must be finite, but {broken} of {values.size} are not")
    return values


def _require_pairs(losses: Losses, benchmark: Losses) -> None:
    """Refuse losses of other origins than the benchmark's."""
    if len(losses) != len(benchmark):
        raise ConfigError(
            f"losses must be of the benchmark's {len(benchmark)} forecast origins, but are of "
            f"{len(losses)}"
        )
