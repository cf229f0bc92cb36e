"""Series to try things on: two embedded ones, and simulated ones whose best forecast is known.

**Relative MSE**, as used below: the mean squared error of the forecast (of log prices, where the
series are prices) over that of persistence ("the last value stays"), both averaged over the
origins and the steps 1 to H. A forecaster that is much better than a sample's best achievable value
has seen the future.

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
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import DataError
from foretune.datasets.common.html_table import html_table
from foretune.datasets.prices import PriceSeries

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    from foretune.datasets.series import TimeSeries

T = TypeVar("T")

_MAX_LENGTH = 1_000_000
_MAX_MONTHS = 3_000  # from 1970 on; nanoseconds end in 2262
_MAX_TICKS = 10_000
_AT_ONCE = 1 << 20  # ticks

_ABOUT = {
    "sp500": ("13,594 days", "the S&P 500, prices from 1962 to 2015"),
    "bikes": (
        "17,544 hours",
        "bike rentals in Washington, 2011 and 2012, with weather and holidays",
    ),
    "random_walk": ("4,000 days", "simulated prices; of the mid nothing can be forecast"),
    "ar1": ("4,000 days", "simulated prices; a return depends on the one before"),
    "noisy_sine": ("4,000 days", "simulated prices; a wave under noise"),
    "trend_season": ("144 months", "simulated values; a trend and a season under noise"),
}
SAMPLES: tuple[str, ...] = tuple(_ABOUT)


class SampleTable:
    """The samples, as a table: in a terminal and in a notebook."""

    def __repr__(self) -> str:
        lines = [f"{name:<13} {rows:>13}  {what}" for name, (rows, what) in _ABOUT.items()]
        return "\n".join([f"{'name':<13} {'rows':>13}  what", *lines, _HOW_TO_LOAD])

    def _repr_html_(self) -> str:
        rows = [(name, *about) for name, about in _ABOUT.items()]
        return html_table(rows, header=("name", "rows", "what"), caption=_HOW_TO_LOAD)


_HOW_TO_LOAD = 'load_sample("bikes") loads one; those that are simulated take length= and seed=.'


@overload
def load_sample() -> SampleTable: ...


@overload
def load_sample(
    name: Literal["sp500", "random_walk", "ar1", "noisy_sine"],
    *,
    length: int | None = None,
    seed: int = 0,
) -> PriceSeries: ...


@overload
def load_sample(
    name: Literal["bikes", "trend_season"], *, length: int | None = None, seed: int = 0
) -> "TimeSeries": ...


@overload
def load_sample(
    name: str, *, length: int | None = None, seed: int = 0
) -> "PriceSeries | TimeSeries": ...


def load_sample(
    name: str | None = None, *, length: int | None = None, seed: int = 0
) -> "PriceSeries | TimeSeries | SampleTable":
    """Load the sample called ``name``; without a name, list the samples.

    Args:
        name: "sp500" or "bikes" (embedded; ``datasets/data/README.md`` says where they are from);
            "random_walk", "ar1", "noisy_sine" or "trend_season" (simulated).
        length: days to simulate, 4000 by default, or months, 144 by default; not for embedded ones.
        seed: seed of the simulation; not for embedded ones.

    Returns:
        Prices; of "bikes" and "trend_season" a `TimeSeries`. Simulated prices have no volume.

    Raises:
        DataError: unknown name, a length or seed that is not allowed.

    Example:
        >>> load_sample("sp500")
        PriceSeries('sp500', 13594 rows, 1962-01-02 to 2015-12-31)
        >>> load_sample("bikes")
        TimeSeries('bikes', 17544 rows, hourly, 2011-01-01 to 2012-12-31 23:00:00)
    """
    if name is None:
        return SampleTable()
    if name not in SAMPLES:
        raise DataError(f"name of a sample must be one of {', '.join(SAMPLES)}, but got {name!r}")
    if name in _SIMULATED:
        simulate = _SIMULATED[name]
        return simulate(seed=seed) if length is None else simulate(length, seed=seed)
    if length is not None or seed != 0:
        raise DataError(
            f"{name} is recorded: it takes no length or seed, but got {length=}, {seed=}"
        )
    return (
        _embedded("sp500.csv.gz", _sp500) if name == "sp500" else _embedded("bikes.csv.gz", _bikes)
    )


def _embedded(file: str, read: Callable[[Path], T]) -> T:
    with resources.as_file(resources.files("foretune.datasets").joinpath("data", file)) as path:
        return read(path)


def _sp500(path: Path) -> PriceSeries:
    from foretune.datasets.sources.readers import read_prices

    return dataclasses.replace(read_prices(path, name="sp500"), source="sp500")


def _bikes(path: Path) -> "TimeSeries":
    import pandas as pd

    from foretune.datasets.calendar import Calendar
    from foretune.datasets.series import TimeSeries

    table = pd.read_csv(path, index_col="date_time", parse_dates=True)
    known = ("holiday", "workingday", "weather", "temp", "hum", "windspeed")
    return TimeSeries(
        name="bikes",
        time=table.index,
        target=table["users"].to_numpy(),
        calendar=Calendar(frequency="h", seasonality=24),
        future={name: table[name].to_numpy() for name in known},
        target_name="users",
        source="bikes",
        remarks=("the weather of the hours ahead is the weather that came, not a forecast of it",),
    )


def random_walk(
    length: int = 4000, *, seed: int = 0, volatility: float = 0.01, ticks: int = 0
) -> PriceSeries:
    """Simulate a random walk: independent normal log returns without drift.

    Best achievable relative MSE: exactly 1, of the mid price without ticks and of the close with
    them. Future returns are independent of the past and have mean 0, so the conditional mean of
    every future log price is the last one: persistence. With ticks, the mid price has less: it
    averages over a day, so its returns correlate (Working 1960), and the last close forecasts it
    better than the last mid price.

    Args:
        length: days, at least 2.
        seed: seed of the simulation, at least 0.
        volatility: standard deviation of a daily log return, in (0, 1].
        ticks: prices within a day, at equal steps of the walk, whose first, highest, lowest and
            last are the day's, as in a market. 0 draws the day's range around the walk instead.

    Returns:
        The series, named "random_walk".

    Raises:
        DataError: an argument is not allowed.

    Source: Working, "Note on the Correlation of First Differences of Averages in a Random Chain"
    (1960).

    Example:
        >>> random_walk(3).dates.astype(str).tolist()
        ['1970-01-02', '1970-01-05', '1970-01-06']
    """
    rng = _generator(length, seed)
    _check_number("volatility", volatility, "in (0, 1]", 0 < volatility <= 1)
    require_whole_number("ticks", ticks, 0, _MAX_TICKS, error=DataError)
    source = f"random_walk(length={length}, seed={seed}, volatility={volatility}"
    if ticks:
        days = _days_of_ticks(length, ticks, volatility, rng)
        return _prices("random_walk", f"{source}, ticks={ticks})", *days)
    returns = volatility * rng.standard_normal(length - 1)
    return _series("random_walk", f"{source})", np.cumsum([0.0, *returns]), rng)


def _days_of_ticks(
    length: int, ticks: int, volatility: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], ...]:
    """Return open, high, low and close of each day of a walk [N], in single precision."""
    days, last = [], 0.0
    at_once = max(_AT_ONCE // ticks, 1)
    for start in range(0, length, at_once):
        steps = rng.standard_normal((min(at_once, length - start), ticks))
        path = last + np.cumsum(volatility / math.sqrt(ticks) * steps).reshape(steps.shape)
        last = path[-1, -1]
        days.append(np.stack([path[:, 0], path.max(axis=1), path.min(axis=1), path[:, -1]]))
    with np.errstate(all="ignore"):  # what leaves the range of numbers PriceSeries names
        prices = (100 * np.exp(np.concatenate(days, axis=1))).astype(np.float32)
    return tuple(prices.astype(np.float64))


def ar1(
    length: int = 4000, *, seed: int = 0, phi: float = 0.6, volatility: float = 0.01
) -> PriceSeries:
    """Simulate autoregressive log returns, ``r_t = phi r_{t-1} + eps_t``, from the stationary law.

    Best achievable relative MSE, of the mid price: ``ar1_best_relative_mse(phi, horizon)``, which
    is below 1.

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

    Best achievable relative MSE of the mid price, over whole periods and H steps:

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


def trend_season(
    length: int = 144,
    *,
    seed: int = 0,
    trend: float = 0.5,
    amplitude: float = 20,
    noise: float = 5,
) -> "TimeSeries":
    """Simulate months with a trend and a yearly season: `100 + b t + a sin(2 pi t / 12) + s z_t`.

    Best achievable relative MSE, over whole years and H steps:

      s^2 / mean_{h=1..H} (b^2 h^2 + a^2 (1 - cos(2 pi h / 12)) + 2 s^2)

    The noise is independent of the past, so the best forecast is trend and season, and misses by
    s^2 at every step. Persistence misses by the noise of both months, and by the move of trend and
    season, whose product averages to 0 over a year; see ``noisy_sine``.

    Args:
        length: months from January 1970 on, from 2 to 3000.
        seed: seed of the simulation, at least 0.
        trend: b, the climb a month.
        amplitude: a, the size of the swing, at least 0.
        noise: s, the standard deviation of the noise, at least 0.

    Returns:
        The series, named "trend_season"; its values are rounded to single precision.

    Raises:
        DataError: an argument is not allowed.

    Example:
        >>> trend_season()
        TimeSeries('trend_season', 144 rows, monthly, 1970-01-01 to 1981-12-01)
    """
    rng = _generator(length, seed, _MAX_MONTHS)
    _check_number("trend", trend, "at most 1e6 up or down", abs(trend) <= 1e6)
    _check_number("amplitude", amplitude, "in [0, 1e6]", 0 <= amplitude <= 1e6)
    _check_number("noise", noise, "in [0, 1e6]", 0 <= noise <= 1e6)
    months = np.arange(length)
    season = amplitude * np.sin(2 * np.pi * months / 12)
    values = 100 + trend * months + season + noise * rng.standard_normal(length)
    import pandas as pd

    from foretune.datasets.calendar import Calendar
    from foretune.datasets.series import TimeSeries

    return TimeSeries(
        name="trend_season",
        time=pd.date_range("1970-01-01", periods=length, freq="MS"),
        target=values.astype(np.float32),
        calendar=Calendar(frequency="MS", seasonality=12),
        source=(
            f"trend_season(length={length}, seed={seed}, trend={trend}, amplitude={amplitude}, "
            f"noise={noise})"
        ),
    )


_SIMULATED: "dict[str, Callable[..., PriceSeries | TimeSeries]]" = {
    "random_walk": random_walk,
    "ar1": ar1,
    "noisy_sine": noisy_sine,
    "trend_season": trend_season,
}


def load_simulated(source: str) -> "PriceSeries | TimeSeries | None":
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
    return _prices(name, source, np.clip(first, low, high), high, low, np.clip(last, low, high))


def _prices(
    name: str,
    source: str,
    first: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    last: NDArray[np.float64],
) -> PriceSeries:
    return PriceSeries(
        name=name,
        source=source,
        dates=np.busday_offset(np.datetime64("1970-01-02"), np.arange(len(first))),
        open=first,
        high=high,
        low=low,
        close=last,
        volume=None,
    )


def _generator(length: int, seed: int, longest: int = _MAX_LENGTH) -> np.random.Generator:
    require_whole_number("length", length, 2, longest, error=DataError)
    require_whole_number("seed", seed, 0, 2**64 - 1, error=DataError)
    return np.random.default_rng(seed)


def _check_number(name: str, value: float, rule: str, holds: bool) -> None:
    if not (holds and math.isfinite(value)):
        raise DataError(f"{name} must be {rule} and finite, but got {value!r}")
