"""Is a difference between forecasts more than luck, given how many were tried and how they overlap?

Losses are one number per forecast origin, in time order. Forecasts from neighbouring origins share
target days, so their losses move together: 700 origins a day apart with a horizon of 50 days say
about as much as 14. Every test here takes that into account, by resampling blocks of origins or by
the autocovariances that the overlap causes.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from foretune.datasets.common.errors import ConfigError

Losses = NDArray[np.float64]

# Relative to the variance: far below any difference that matters.
_ROUNDING = 1e-12

# Differences are cut off this many robust standard deviations from their median.
_OUTLIER = 10
# No standard error counts less than this share of the median one.
_LEAST_ERROR = 0.5


@dataclass(frozen=True, kw_only=True)
class SPAResult:
    """Whether the best of many alternatives beats a benchmark: a small ``p_value`` says it does.

    ``independent`` counts the origins whose forecasts share no day, ``block`` is the length of a
    resampled block in origins, ``alternatives`` is how many were tried.
    """

    p_value: float
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
    rules for the bootstrap with dependent data"). Where forecasts overlap it is twice as long,
    because a block of L origins gives the autocovariance at lag l only the weight 1 - l / L.

    Args:
        origins: number of forecast origins, at least 1.
        horizon: days that each forecast covers, at least 1.
        stride: days from one origin to the next, at least 1.

    Example:
        >>> block_length(500, horizon=50, stride=5)
        20
    """
    overlap = _overlap(horizon, stride)
    length = max(overlap, math.ceil(math.pow(origins, 1 / 3)))
    return min(length if overlap == 1 else 2 * length, origins)


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
    were better: it resamples blocks of origins and compares the largest mean gain over the
    benchmark, in units of its standard error, which every resample estimates anew.

    Three rules keep one alternative from deciding for all. Gains are cut off 10 robust standard
    deviations from their median, or one huge loss would hide every other alternative; no mean gain
    counts for more than it was before. No standard error counts less than half the median
    one, because the smallest of many is too small by chance. Alternatives that are clearly worse
    than the benchmark are no competition (Hansen's recentring).

    On simulated losses whose gains correlate by 0.5 or by 0.9, 24 or 60 alternatives exactly as
    good as the benchmark make a claim at the 5 % level in 2.6 to 7.3 % of studies: 3.9 and 6.8 %
    with 15 independent origins and 24 alternatives, 3.0 and 7.1 % where the volatility is that of
    a GARCH(1, 1), 5.7 and 6.4 % with 54 independent origins, 5.8 and 6.0 % with 159. One of 24
    that is better by 3 standard errors is found in 46 % (0.5) and 64 % (0.9) of studies with 15
    independent origins, as often beside one whose errors at an origin are 3, 100 or a million
    times as large. ``foretune.studies.calibration`` repeats these simulations.

    Args:
        losses: losses of the K alternatives [T, K].
        benchmark: losses of the benchmark at the same origins [T].
        horizon: days that each forecast covers.
        stride: days from one origin to the next.
        seed: of the resampling.
        reps: how many times to resample, B.

    Returns:
        The p-value (b + 1) / (B + 1), b of B resamples reaching the gain, so it is never 0
        (Davison & Hinkley 1997, "Bootstrap Methods and their Application", section 4.2). It is 1
        where no alternative has a lower mean loss, or where the origins are too few for two
        blocks.

    Raises:
        ConfigError: there is no alternative, the shapes differ or a loss is not finite.

    Source: Hansen 2005, "A test for superior predictive ability"; Götze & Künsch 1996,
    "Second-order correctness of the blockwise bootstrap for stationary observations", for the
    standard errors; Politis & Romano 1992, "A circular block-resampling procedure".

    Example:
        >>> spa_test(losses, persistence, horizon=50, stride=5).p_value < 0.05
    """
    losses, benchmark = _finite("losses", losses, 2), _finite("benchmark", benchmark, 1)
    origins, alternatives = losses.shape
    if alternatives == 0:
        raise ConfigError("losses must have a column for at least 1 alternative, but have 0")
    _require_pairs(losses, benchmark)
    block = block_length(origins, horizon=horizon, stride=stride)
    p_value = 1.0
    if origins >= 2 * block:
        raw = benchmark[:, None] - losses
        gains = _without_outliers(raw, block)
        # Cutting off what an alternative lost must not turn a loss into a gain.
        means = np.minimum(gains.mean(axis=0), raw.mean(axis=0))
        counts = _resamples(origins, block, seed, reps)
        block_means = _block_means(gains - gains.mean(axis=0), block)
        statistics = _ratio(means, _standard_errors(block_means, block))
        worse = statistics < -math.sqrt(2 * math.log(math.log(origins)))
        drawn = _means_drawn(block_means, counts)
        errors = _standard_errors_drawn(block_means, drawn, counts)
        best = _ratio(drawn + np.where(worse, means, 0.0), errors).max(axis=1)
        p_value = _p_value(statistics.max(), np.maximum(best, 0.0))
    return SPAResult(
        p_value=p_value,
        origins=origins,
        independent=-(-origins // _overlap(horizon, stride)),
        block=block,
        alternatives=alternatives,
    )


def model_confidence_set(
    losses: Losses, *, horizon: int, stride: int, seed: int = 0, reps: int = 1000
) -> NDArray[np.float64]:
    """Return the p-value with which each forecast is among the best ones.

    The set of all forecasts whose p-value exceeds a size (:func:`in_confidence_set`) contains the
    best one with probability of about 1 - size. Forecasts leave it one by one, the worst in units
    of its standard error first, for as long as those that remain are not equally good. Blocks,
    standard errors and outliers are those of :func:`spa_test`; outliers are cut off from the
    differences to the median forecast of their origin.

    On the losses that :func:`spa_test` is simulated with, the 90 % set keeps all of 24 forecasts
    that are equally good in 98 % of studies with 15 independent origins.

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
        ConfigError: there is no forecast, a loss is not finite or the origins are too few for two
            blocks.

    Source: Hansen, Lunde & Nason 2011, "The model confidence set"; its statistic T_max.

    Example:
        >>> model_confidence_set(losses, horizon=50, stride=5) > 0.1
    """
    losses = _finite("losses", losses, 2)
    origins, forecasts = losses.shape
    if forecasts == 0:
        raise ConfigError("losses must have a column for at least 1 forecast, but have 0")
    block = block_length(origins, horizon=horizon, stride=stride)
    if origins < 2 * block:
        raise ConfigError(
            f"losses must be of at least {2 * block} forecast origins, two blocks of {block}, but "
            f"are of {origins}"
        )
    # Equal columns cannot be compared. Sorting also frees the result from the columns' order.
    distinct, twin = np.unique(losses, axis=1, return_inverse=True)
    relative = distinct - np.median(distinct, axis=1, keepdims=True)
    relative = _without_outliers(relative, block)
    means = relative.mean(axis=0)
    block_means = _block_means(relative - means, block)
    counts = _resamples(origins, block, seed, reps)
    drawn = _means_drawn(block_means, counts)
    p_values = np.ones(distinct.shape[1])
    remaining = np.arange(distinct.shape[1])
    largest = 0.0
    while len(remaining) > 1:
        blocks, again, behind = (
            _less_average(values[..., remaining]) for values in (block_means, drawn, means)
        )
        # Blocks vary less about their own mean than about the true one. So many comparisons need
        # the difference; for spa_test it would cost more power than the size is worth.
        errors = _standard_errors(blocks, block) / math.sqrt(1 - block / origins)
        statistics = _ratio(behind, errors)
        worst = int(np.argmax(statistics))
        errors = _standard_errors_drawn(blocks, again, counts)
        beyond = _ratio(again, errors).max(axis=1)
        largest = max(largest, _p_value(statistics[worst], beyond))
        p_values[remaining[worst]] = largest
        remaining = np.delete(remaining, worst)
    return p_values[twin.reshape(-1)]


def _without_outliers(differences: Losses, block: int) -> Losses:
    """Cut off differences [T, K] that are far from their common median, on the scale of most.

    The scale is the root mean square within a block, the median over blocks and forecasts. In units
    of the median deviation of single origins most of a difference would be cut off where quiet
    hours alternate with busy ones.
    """
    whole = len(differences) // block * block
    deviations = (differences - np.median(differences, axis=0))[:whole]
    blocks = deviations.reshape(-1, block, differences.shape[1])
    scales = np.median(np.sqrt(np.mean(blocks**2, axis=1)), axis=0)
    if not np.any(scales):
        return differences
    # A column that stands still has no scale.
    reach = _OUTLIER * np.median(scales[scales > 0])
    middle = np.median(differences)
    clipped: Losses = np.clip(differences, middle - reach, middle + reach)
    return clipped


def _less_average(values: Losses) -> Losses:
    """Make the values [..., K] of forecasts relative to their average."""
    relative: Losses = values - values.mean(axis=-1, keepdims=True)
    return relative


def _resamples(origins: int, block: int, seed: int, reps: int) -> Losses:
    """Draw blocks: how often each resample holds the one that starts at each origin [B, T].

    As many blocks as the sample has on average: 7 or 8 where it has 7.4.
    """
    rng = np.random.default_rng(seed)
    blocks = np.floor(origins / block + rng.random(reps)).astype(np.int64)
    firsts = rng.integers(origins, size=blocks.sum())
    cells = np.repeat(np.arange(reps) * origins, blocks) + firsts
    return np.bincount(cells, minlength=reps * origins).reshape(reps, origins).astype(np.float64)


def _block_means(values: Losses, block: int) -> Losses:
    """Return the mean of the ``block`` rows from each on, the first follow the last: [T, K]."""
    around = np.concatenate([np.zeros_like(values[:1]), values, values[: block - 1]])
    sums = np.cumsum(around, axis=0)
    means: Losses = (sums[block:] - sums[:-block]) / block
    return means


def _standard_errors(block_means: Losses, block: int) -> Losses:
    """Return the standard errors [K] of means, from centred block means [T, K]."""
    variances = np.mean(block_means**2, axis=0) * block / len(block_means)
    return _not_too_small(np.sqrt(variances))


def _means_drawn(block_means: Losses, counts: Losses) -> Losses:
    """Return the mean of each resample [B, K]."""
    means: Losses = counts @ block_means / counts.sum(axis=1, keepdims=True)
    return means


def _standard_errors_drawn(block_means: Losses, means: Losses, counts: Losses) -> Losses:
    """Return the standard error of each resample's mean, estimated from it alone [B, K]."""
    blocks = counts.sum(axis=1, keepdims=True)
    variances = (counts @ block_means**2 / blocks - means**2) / (blocks - 1)
    return _not_too_small(np.sqrt(np.maximum(variances, 0.0)))


def _not_too_small(errors: Losses) -> Losses:
    least = _LEAST_ERROR * np.median(errors, axis=-1, keepdims=True)
    raised: Losses = np.maximum(errors, least)
    return raised


def _ratio(means: Losses, errors: Losses) -> Losses:
    """Divide, where a mean without an error is infinitely many of them, and 0 none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(means == 0, 0.0, means / errors)


def _p_value(statistic: float, drawn: Losses) -> float:
    """Count the sample itself among its resamples: from b / B to (b + 1) / (B + 1)."""
    return float(np.count_nonzero(drawn >= statistic) + 1) / (len(drawn) + 1)


def in_confidence_set(p_values: NDArray[np.float64], size: float = 0.1) -> NDArray[np.bool_]:
    """Return which forecasts [K] are in the model confidence set of level 1 - ``size``."""
    return p_values > size


def diebold_mariano(
    losses: Losses,
    benchmark: Losses,
    *,
    overlap: int,
    one_sided: bool = False,
    degrees: int | None = None,
) -> DieboldMariano:
    """Test whether two forecasts are equally accurate; one-sided, whether the first one is better.

    For a forecast that was chosen before these losses were seen; for the best of many see
    :func:`spa_test`. Of forecasts whose weights are fixed it is the test of Giacomini and White:
    it asks which forecasts better as they are, estimation errors included.

    The variance of the mean difference is the sum of its autocovariances up to lag
    ``overlap - 1``, which may be negative. They then get Bartlett's weights, whose sum is positive
    unless the difference never changes. (R's ``forecast::dm.test`` then uses ``overlap`` 1, which
    takes overlapping forecasts for independent ones.)

    Args:
        losses: losses of one forecast [T].
        benchmark: losses of the other at the same origins [T].
        overlap: origins in a row whose forecasts share days, ceil(horizon / stride); 1 if none.
        one_sided: ask whether the losses are lower than the benchmark's.
        degrees: degrees of freedom of Student's t, at least 1; None for T - 1. Where forecasts
            overlap and only 2 to 15 do not, one-sided tests at 5 % with T - 1 find something in 6
            to 17 % of cases without any difference; with one fewer than there are forecasts that
            do not overlap, in 2 to 6 %.

    Returns:
        The statistic with its small-sample correction, and its p-value by Student's t. The
        statistic is 0 and the p-value 1 where there is no evidence: the losses are the same, or all
        forecasts overlap (T <= ``overlap``). Where the difference is the same at every origin, but
        not 0, the statistic is infinite.

    Raises:
        ConfigError: ``overlap`` is below 1, there is no origin, the shapes differ or a loss is not
            finite.

    Source: Diebold & Mariano 1995, "Comparing predictive accuracy"; Harvey, Leybourne & Newbold
    1997, "Testing the equality of prediction mean squared errors"; Newey & West 1987 for the
    weights; Giacomini & White 2006, "Tests of conditional predictive ability".

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
    freedom = max(origins - 1 if degrees is None else degrees, 1)
    p_value = 1.0
    if statistic != 0:
        p_value = float(
            stdtr(freedom, statistic) if one_sided else 2 * stdtr(freedom, -abs(statistic))
        )
    return DieboldMariano(
        statistic=statistic,
        p_value=p_value,
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
