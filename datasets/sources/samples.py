"""Prices to try things on: an embedded index and simulated series whose best forecast is known.

**Relative MSE**, as used below: the mean squared error of the forecast log price over that of
persistence ("the last price stays"), both averaged over the origins and the steps 1 to H.
A forecaster that is much better than a sample's best achievable value has seen the future.

Simulated prices start near 100 on the business days from 1970-01-02. Every mid price is the
simulated path rounded to single precision (6e-8, relative): maths libraries that differ in the
last bit then still give the same digest. High and low are ``mid * (1 + s_t)`` and
``mid * (1 - s_t)``, exactly, for a random s_t of 0.1 to 0.5 percent; open and close lie between.
"""

import dataclasses
import math
import re
from collections.abc import Callable
from importlib import resources
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import DataError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.readers import read_prices

_MAX_LENGTH = 1_000_000


def load_sample(name: str, *, length: int | None = None, seed: int = 0) -> PriceSeries:
    """Load the sample called ``name``.

    Args:
        name: "sp500" (embedded: S&P 500, 13,594 days from 1962 to 2015; ``datasets/data/README.md``
            says where it is from), "random_walk", "ar1" or "noisy_sine" (simulated).
        length: days to simulate, 4000 by default; not for "sp500".
        seed: seed of the simulation; not for "sp500".

    Returns:
        The series; simulated ones have no volume.

    Raises:
        DataError: unknown name, a length or seed that is not allowed.

    Example:
        >>> load_sample("sp500")
        PriceSeries('sp500', 13594 rows, 1962-01-02 to 2015-12-31)
    """
    if name not in SAMPLES:
        raise DataError(f"name of a sample must be one of {', '.join(SAMPLES)}, but got {name!r}")
    if name in _SIMULATED:
        return _SIMULATED[name](4000 if length is None else length, seed=seed)
    if length is not None or seed != 0:
        raise DataError(
            f"{name} is recorded: it takes no length or seed, but got {length=}, {seed=}"
        )
    embedded = resources.files("foretune.datasets").joinpath("data/sp500.csv.gz")
    with resources.as_file(embedded) as path:
        return dataclasses.replace(read_prices(path, name="sp500"), source="sp500")


def random_walk(length: int = 4000, *, seed: int = 0, volatility: float = 0.01) -> PriceSeries:
    """Simulate a random walk: independent normal log returns without drift.

    Best achievable relative MSE: exactly 1. Future returns are independent of the past and have
    mean 0, so the conditional mean of every future log price is the last one: persistence.

    Args:
        length: days, at least 2.
        seed: seed of the simulation, at least 0.
        volatility: standard deviation of a daily log return, in (0, 1].

    Returns:
        The series, named "random_walk".

    Raises:
        DataError: an argument is not allowed.

    Example:
        >>> random_walk(3).dates.astype(str).tolist()
        ['1970-01-02', '1970-01-05', '1970-01-06']
    """
    rng = _generator(length, seed)
    _check_number("volatility", volatility, "in (0, 1]", 0 < volatility <= 1)
    returns = volatility * rng.standard_normal(length - 1)
    source = f"random_walk(length={length}, seed={seed}, volatility={volatility})"
    return _series("random_walk", source, np.cumsum([0.0, *returns]), rng)


def ar1(
    length: int = 4000, *, seed: int = 0, phi: float = 0.6, volatility: float = 0.01
) -> PriceSeries:
    """Simulate autoregressive log returns, ``r_t = phi r_{t-1} + eps_t``, from the stationary law.

    Best achievable relative MSE: ``ar1_best_relative_mse(phi, horizon)``, below 1.

    Args:
        length: days, at least 2.
        seed: seed of the simulation, at least 0.
        phi: correlation of a return with the one before, in (-1, 1).
        volatility: standard deviation of a daily log return, in (0, 1]; that of ``eps_t`` is
            ``volatility * sqrt(1 - phi^2)``.

    Returns:
        The series, named "ar1".

    Raises:
        DataError: an argument is not allowed.

    Example:
        >>> ar1(500, phi=0.9)
        PriceSeries('ar1', 500 rows, 1970-01-02 to 1971-12-02)
    """
    rng = _generator(length, seed)
    _check_number("phi", phi, "in (-1, 1)", -1 < phi < 1)
    _check_number("volatility", volatility, "in (0, 1]", 0 < volatility <= 1)
    shocks = volatility * rng.standard_normal(length - 1)
    shocks[1:] *= math.sqrt(1 - phi**2)  # the first return is a draw from the stationary law
    returns = accumulate(shocks.tolist(), lambda last, shock: phi * last + shock)
    source = f"ar1(length={length}, seed={seed}, phi={phi}, volatility={volatility})"
    return _series("ar1", source, np.cumsum([0.0, *returns]), rng)


def ar1_best_relative_mse(phi: float, horizon: int) -> float:
    """Compute the best relative MSE that any forecaster can reach on ``ar1`` prices.

    With ``g_k = 1 + phi + ... + phi^(k-1)``, the log price h days ahead moves by the sum of the
    next h returns, ``phi g_h r_t + sum_{k=1..h} g_k eps_{t+h+1-k}``. The first term is known at the
    origin and is the conditional mean, the optimal forecast. With ``Var r = 1``, hence
    ``Var eps = 1 - phi^2``, the errors at step h are

      optimal:      e_h = (1 - phi^2) (g_1^2 + ... + g_h^2)
      persistence:  e_h + (phi g_h)^2

    and the result is the ratio of their means over h = 1..H; the volatility cancels.

    Args:
        phi: correlation of a return with the one before, in (-1, 1).
        horizon: H, the number of forecast steps, at least 1.

    Returns:
        The relative MSE, in (0, 1]; 1 for ``phi = 0``, a random walk.

    Raises:
        DataError: an argument is not allowed.

    Source: Hamilton, "Time Series Analysis" (1994), section 4.2.

    Example:
        >>> round(ar1_best_relative_mse(0.6, 1), 6)
        0.64
    """
    _check_number("phi", phi, "in (-1, 1)", -1 < phi < 1)
    require_whole_number("horizon", horizon, 1, _MAX_LENGTH, error=DataError)
    gains = np.cumsum(float(phi) ** np.arange(horizon))
    optimal = (1 - phi**2) * np.cumsum(gains**2)
    persistence = optimal + (phi * gains) ** 2
    return float(optimal.sum() / persistence.sum())


def noisy_sine(
    length: int = 4000,
    *,
    seed: int = 0,
    period: float = 50,
    amplitude: float = 0.1,
    noise: float = 0.01,
) -> PriceSeries:
    """Simulate a sine with white noise: log price ``log 100 + a sin(2 pi t / period) + noise z_t``.

    Best achievable relative MSE, over whole periods and H steps:

      noise^2 / mean_{h=1..H} (a^2 (1 - cos(2 pi h / period)) + 2 noise^2)

    The noise is independent of the past, so the best forecast is the sine itself and misses by
    noise^2 at every step. Persistence misses by the noise of both days, 2 noise^2, and by the
    sine's move, whose square ``a^2 (sin(w(t+h)) - sin(w t))^2`` averages to ``a^2 (1 - cos(w h))``.

    Args:
        length: days, at least 2.
        seed: seed of the simulation, at least 0.
        period: days per cycle, above 0.
        amplitude: a, the size of the swing in log price, in [0, 1].
        noise: standard deviation of the noise in log price, in [0, 1].

    Returns:
        The series, named "noisy_sine".

    Raises:
        DataError: an argument is not allowed.

    Example:
        >>> len(noisy_sine(200, period=20))
        200
    """
    rng = _generator(length, seed)
    _check_number("period", period, "above 0", period > 0)
    _check_number("amplitude", amplitude, "in [0, 1]", 0 <= amplitude <= 1)
    _check_number("noise", noise, "in [0, 1]", 0 <= noise <= 1)
    cycle = amplitude * np.sin(2 * np.pi * np.arange(length) / period)
    source = (
        f"noisy_sine(length={length}, seed={seed}, period={period}, amplitude={amplitude}, "
        f"noise={noise})"
    )
    return _series("noisy_sine", source, cycle + noise * rng.standard_normal(length), rng)


_SIMULATED: dict[str, Callable[..., PriceSeries]] = {
    "random_walk": random_walk,
    "ar1": ar1,
    "noisy_sine": noisy_sine,
}
SAMPLES: tuple[str, ...] = ("sp500", *_SIMULATED)


def load_simulated(source: str) -> PriceSeries | None:
    """Simulate again what the ``source`` of a simulated series says; None if it is not of one.

    Args:
        source: a simulation with its arguments, such as "ar1(length=4000, seed=3, phi=0.6)".

    Raises:
        DataError: an argument is not known, not a number or not allowed.

    Example:
        >>> load_simulated("random_walk(length=500, seed=3)")
        PriceSeries('random_walk', 500 rows, 1970-01-02 to 1971-12-02)
    """
    call = re.fullmatch(r"(\w+)\((.*)\)", source)
    if call is None or call[1] not in _SIMULATED:
        return None
    arguments: dict[str, float] = {}
    for part in filter(None, map(str.strip, call[2].split(","))):
        name, value = _argument(source, part)
        if name in arguments:
            raise DataError(f"arguments of {source!r} must be given once, but {name} comes twice")
        arguments[name] = value
    try:
        return _SIMULATED[call[1]](**arguments)
    except (TypeError, OverflowError) as error:
        raise DataError(f"{source!r} is not a simulation: {error}") from None


def _argument(source: str, text: str) -> tuple[str, float]:
    name, _, value = (part.strip() for part in text.partition("="))
    try:
        return name, int(value) if re.fullmatch(r"-?\d+", value) else float(value)
    except ValueError:
        raise DataError(f"arguments of {source!r} must be name=number, but got {text!r}") from None


def _series(
    name: str, source: str, log_path: NDArray[np.float64], rng: np.random.Generator
) -> PriceSeries:
    """Put a day's range around ``100 exp(log_path)``, [N]."""
    # Paths out of range become infinities or zeros here; PriceSeries then names the first one.
    with np.errstate(all="ignore"):
        mid = (100 * np.exp(log_path)).astype(np.float32).astype(np.float64)
        # Multiples of 2^-20 keep both products exact: (high + low) / 2 is ``mid`` to the bit.
        spread = rng.integers(1049, 5243, len(mid)) / 2**20
        high, low = mid * (1 + spread), mid * (1 - spread)
        first, last = low + rng.random((2, len(mid))) * (high - low)
    return PriceSeries(
        name=name,
        source=source,
        dates=np.busday_offset(np.datetime64("1970-01-02"), np.arange(len(mid))),
        open=np.clip(first, low, high),
        high=high,
        low=low,
        close=np.clip(last, low, high),
        volume=None,
    )


def _generator(length: int, seed: int) -> np.random.Generator:
    require_whole_number("length", length, 2, _MAX_LENGTH, error=DataError)
    require_whole_number("seed", seed, 0, 2**64 - 1, error=DataError)
    return np.random.default_rng(seed)


def _check_number(name: str, value: float, rule: str, holds: bool) -> None:
    if not (holds and math.isfinite(value)):
        raise DataError(f"{name} must be {rule} and finite, but got {value!r}")
