"""Losses of simulated studies, of which it is known how good the trials truly are: no network."""

import math

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.float64]

# Parts of the error's variance that a perfect forecast of the mean would remove.
_SIGNAL = 0.02

# Days before the first one, so that the volatility is a draw from its stationary law.
_BURN_IN = 300


def equally_good(
    seed: int,
    *,
    origins: int,
    horizon: int,
    stride: int,
    trials: int,
    correlation: float,
    garch: bool = False,
    studies: int,
) -> Losses:
    """Simulate studies in which every trial is exactly as good as the benchmark.

    A day's return is m + e. The benchmark forecasts no change; trial k forecasts m - w_k each day,
    with noise w_k of m's variance, a fiftieth of e's, so both errors have the same one. Losses are
    means over the horizon of squared errors of the path, so neighbouring ones overlap. The w_k have
    a common part.

    Args:
        seed: of the simulation.
        origins: forecast origins, O.
        horizon: days that each forecast covers.
        stride: days from one origin to the next.
        trials: K.
        correlation: of the daily gains of two trials over the benchmark, in [0.5, 1].
        garch: give the days the volatility of a GARCH(1, 1).
        studies: how many, S.

    Returns:
        Losses [S, O, K + 1], those of the benchmark last.

    Example:
        >>> equally_good(0, origins=74, horizon=50, stride=10, trials=24, correlation=0.5,
        ...     studies=500).shape
        (500, 74, 25)
    """
    rng = np.random.default_rng(seed)
    days = (origins - 1) * stride + horizon
    volatility = garch_volatility(rng, days, studies) if garch else np.ones((days, studies))
    common = 2 * correlation - 1
    losses = np.empty((studies, origins, trials + 1))
    for study in range(studies):
        signal, shared, error = rng.standard_normal((3, days, 1))
        noise = math.sqrt(common) * shared + math.sqrt(1 - common) * rng.standard_normal(
            (days, trials)
        )
        missed = np.hstack(
            [error - math.sqrt(_SIGNAL) * noise, error + math.sqrt(_SIGNAL) * signal]
        )
        path = np.lib.stride_tricks.sliding_window_view(
            volatility[:, study, None] * missed, horizon, axis=0
        )[::stride]
        losses[study] = np.square(np.cumsum(path, axis=-1)).mean(axis=-1)
    return losses


def garch_volatility(rng: np.random.Generator, days: int, series: int) -> Losses:
    """Simulate standard deviations [days, series] of a GARCH(1, 1) whose variance has mean 1.

    Source: Bollerslev 1986, "Generalized autoregressive conditional heteroskedasticity"; with
    0.09 and 0.9, as daily returns of stocks have it.
    """
    shocks = rng.standard_normal((_BURN_IN + days, series))
    variances = [np.ones(series)]
    for shock in shocks[:-1]:
        variances.append(0.01 + (0.09 * shock**2 + 0.9) * variances[-1])
    volatility: Losses = np.sqrt(np.array(variances)[_BURN_IN:])
    return volatility


def with_skill(losses: Losses, errors: float = 3.0) -> Losses:
    """Make the first trial better by so many true standard errors of its mean gain.

    Args:
        losses: of many studies [S, O, K + 1], from which the standard error is known.
        errors: how many.
    """
    gains = np.mean(losses[..., -1:] - losses[..., :-1], axis=1)
    better = losses.copy()
    better[..., 0] -= errors * gains.std()
    return better


def astray(losses: Losses, times: float) -> Losses:
    """Let the last trial go wrong once: its errors at one origin are so many ``times`` as large."""
    spoilt = losses.copy()
    spoilt[:, losses.shape[1] // 2, -2] *= times**2
    return spoilt
