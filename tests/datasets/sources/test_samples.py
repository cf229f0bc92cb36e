"""Samples: the embedded series as recorded, simulated prices as their docstrings promise."""

import gzip
import hashlib
import math
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretune.datasets.calendar import infer_calendar
from foretune.datasets.common.errors import DataError
from foretune.datasets.covariates import CovariateEncoding
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources import samples
from foretune.datasets.sources.load import as_series, load_prices
from foretune.datasets.sources.samples import (
    SAMPLES,
    ar1,
    ar1_best_relative_mse,
    load_sample,
    load_simulated,
    noisy_sine,
    random_walk,
    trend_season,
)

SIMULATED: dict[str, Callable[..., PriceSeries]] = {
    "random_walk": random_walk,
    "ar1": ar1,
    "noisy_sine": noisy_sine,
}


# Of random_walk(300, seed=7), as version 1 simulated it.
DIGEST_OF_VERSION_1 = "21157641e170201cd5e5deb5360ba217671ff7a95ff78e057e06319de9e5f696"


def relative_mse(
    logs: NDArray[np.float64], forecast: Callable[[int], NDArray[np.float64]], horizon: int
) -> float:
    """Score `forecast(h)`, the log prices forecast h days ahead from every day, in hindsight."""
    origins = len(logs) - horizon
    error, naive = 0.0, 0.0
    for step in range(1, horizon + 1):
        truth = logs[step : step + origins]
        error += float(np.mean((truth - forecast(step)[:origins]) ** 2))
        naive += float(np.mean((truth - logs[:origins]) ** 2))
    return error / naive


def test_names() -> None:
    assert SAMPLES == ("sp500", "bikes", "random_walk", "ar1", "noisy_sine", "trend_season")
    loaded = {name: load_sample(name) for name in SAMPLES}
    assert [series.name for series in loaded.values()] == list(SAMPLES)
    # Without a name they are listed, each with its rows.
    table = load_sample()
    for text in (repr(table), table._repr_html_()):
        for name, series in loaded.items():
            assert name in text
            assert f"{len(series):,} " in text
    lines = repr(table).splitlines()
    assert lines[0].split() == ["name", "rows", "what"]
    assert [line.split()[0] for line in lines[1:-1]] == list(SAMPLES)
    assert max(map(len, lines)) <= 100


def test_sp500_is_the_file_described() -> None:
    series = load_sample("sp500")
    assert repr(series) == "PriceSeries('sp500', 13594 rows, 1962-01-02 to 2015-12-31)"
    first = (series.open[0], series.high[0], series.low[0], series.close[0])
    assert first == (71.55, 71.96, 70.71, 70.96)
    assert series.volume is not None
    assert series.volume[0] == 3_120_000
    assert series.source == "sp500"
    folder = resources.files("foretune.datasets").joinpath("data")
    file = folder.joinpath("sp500.csv.gz").read_bytes()
    assert hashlib.sha256(file).hexdigest() == (
        "c1cbb8134a8c41de55a1c575ede5691eb902da741bbaaf87f9adafd39ee01c65"
    )
    assert "great-tables" in folder.joinpath("README.md").read_text()


def test_bikes_is_the_file_described() -> None:
    series = load_sample("bikes")
    assert repr(series) == (
        "TimeSeries('bikes', 17544 rows, hourly, 2011-01-01 to 2012-12-31 23:00:00)"
    )
    assert (series.source, series.target_name, series.error_space) == ("bikes", "users", "value")
    assert infer_calendar(series.time) == series.calendar
    folder = resources.files("foretune.datasets").joinpath("data")
    file = folder.joinpath("bikes.csv.gz").read_bytes()
    assert hashlib.sha256(file).hexdigest() == (
        "538ffc64c66866c5225e827a133028545cf24ed584a4cad8fe68c7a71b094536"
    )
    # The same columns, cut out of the text by hand.
    header, *lines = (line.split(",") for line in gzip.decompress(file).decode().splitlines())
    columns = dict(zip(header, zip(*lines, strict=True), strict=True))
    assert series.time.astype(str).tolist() == list(columns["date_time"])
    assert series.target.tolist() == list(map(float, columns["users"]))
    assert list(series.future) == ["holiday", "workingday", "weather", "temp", "hum", "windspeed"]
    for name, values in series.future.items():
        kind = str if name == "weather" else float
        assert values.tolist() == list(map(kind, columns[name]))
    assert not series.past
    assert series.beyond == 0
    assert "not a forecast" in series.remarks[0]
    # Each kind of weather occurs in the first 60 %.
    encoding = CovariateEncoding.fit([series], [10_526])
    assert encoding.encode(series).future.shape == (1, 17_544, 8)
    assert encoding.future[2].categories == ("clear", "mist", "rain")


def test_both_licences_of_the_bikes_are_named_where_they_are() -> None:
    text = resources.files("foretune.datasets").joinpath("data", "README.md").read_text()
    for part in ("10.24432/C5W894", "CC BY 4.0", "skforecast-datasets", "BSD 3-Clause License"):
        assert part in text
    assert "Copyright (c) 2023, Joaquín Amat Rodrigo" in text


@pytest.mark.parametrize("name", SIMULATED)
def test_simulated_series_look_like_prices(name: str) -> None:
    series = load_sample(name, length=300, seed=7)
    assert isinstance(series, PriceSeries)
    assert series.name == name
    assert series.source.startswith(f"{name}(length=300, seed=7, ")
    assert len(series) == 300
    assert series.volume is None
    assert str(series.dates[0]) == "1970-01-02"
    assert np.is_busday(series.dates).all()
    assert (np.diff(series.dates).astype(int) <= 3).all()
    for price in (series.open, series.close):
        assert ((series.low <= price) & (price <= series.high)).all()
    spread = (series.high - series.low) / series.mid / 2
    assert 0.001 < spread.min() < 0.0015 < 0.0045 < spread.max() < 0.005


@pytest.mark.parametrize("name", SIMULATED)
def test_seeds_and_defaults(name: str) -> None:
    series = load_sample(name)
    assert len(series) == 4000
    assert series.digest == SIMULATED[name](4000, seed=0).digest
    assert series.digest != load_sample(name, seed=1).digest
    assert series.digest == load_sample(name, length=np.int64(4000), seed=np.int64(0)).digest  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SIMULATED)
def test_mid_is_in_single_precision_so_that_digests_travel(name: str) -> None:
    mid = SIMULATED[name](seed=3).mid
    np.testing.assert_array_equal(mid, mid.astype(np.float32).astype(np.float64))


def test_random_walk_is_the_path_by_hand() -> None:
    steps = 0.02 * np.random.default_rng(5).standard_normal(499)
    path = 100 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    np.testing.assert_allclose(random_walk(500, seed=5, volatility=0.02).mid, path, rtol=1e-7)


def test_random_walk_returns_are_white() -> None:
    returns = np.diff(np.log(random_walk(100_000, seed=1).mid))
    assert abs(returns.mean()) < 4 * 0.01 / math.sqrt(1e5)
    assert returns.std() == pytest.approx(0.01, rel=0.01)
    assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 4 / math.sqrt(1e5)


def test_without_ticks_it_is_the_walk_of_version_1_bit_for_bit() -> None:
    walk = random_walk(300, seed=7)
    assert walk.source == "random_walk(length=300, seed=7, volatility=0.01)"
    assert walk.digest == DIGEST_OF_VERSION_1
    assert random_walk(300, seed=7, ticks=0).digest == DIGEST_OF_VERSION_1
    assert random_walk(300, seed=7, ticks=1).digest != DIGEST_OF_VERSION_1


@pytest.mark.parametrize("at_once", [12, 1 << 20])
def test_the_day_of_ticks_is_the_path_by_hand(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "_AT_ONCE", at_once)
    walk = random_walk(50, seed=5, volatility=0.02, ticks=6)
    steps = 0.02 / math.sqrt(6) * np.random.default_rng(5).standard_normal(300)
    path = 100 * np.exp(np.cumsum(steps)).reshape(50, 6)
    np.testing.assert_allclose(walk.open, path[:, 0], rtol=1e-7)
    np.testing.assert_allclose(walk.high, [day.max() for day in path], rtol=1e-7)
    np.testing.assert_allclose(walk.low, [day.min() for day in path], rtol=1e-7)
    np.testing.assert_allclose(walk.close, path[:, -1], rtol=1e-7)


def test_the_range_of_ticks_is_that_of_a_market() -> None:
    walk = random_walk(20_000, seed=6, ticks=400)
    # Parkinson 1980: the squared log range of a day is 4 log 2 variances, less for few ticks.
    spread = np.mean(np.log(walk.high / walk.low) ** 2) / (4 * math.log(2) * 0.01**2)
    assert 0.9 < spread < 1
    close, mid = np.log(walk.close), np.log(walk.mid)
    assert abs(np.corrcoef(np.diff(close)[1:], np.diff(close)[:-1])[0, 1]) < 4 / math.sqrt(2e4)
    assert np.diff(close).std() == pytest.approx(0.01, rel=0.02)
    # Working 1960: what averages over a day correlates, and the last close knows more of it.
    assert 0.2 < np.corrcoef(np.diff(mid)[1:], np.diff(mid)[:-1])[0, 1] < 0.4
    assert np.mean((mid[1:] - close[:-1]) ** 2) < 0.6 * np.mean(np.diff(mid) ** 2)


@pytest.mark.parametrize("phi", [-0.5, 0.0, 0.6])
def test_ar1_returns_follow_the_recursion_by_hand(phi: float) -> None:
    shocks = 0.01 * np.random.default_rng(2).standard_normal(399)
    returns = [shocks[0]]
    for shock in shocks[1:]:
        returns.append(phi * returns[-1] + math.sqrt(1 - phi * phi) * shock)
    mid = ar1(400, seed=2, phi=phi).mid
    assert mid[0] == 100.0
    np.testing.assert_allclose(np.diff(np.log(mid)), returns, atol=2e-7)


def test_ar1_is_stationary_from_the_first_return_on() -> None:
    firsts = [np.log(ar1(3, seed=seed, phi=0.9).mid) for seed in range(2000)]
    returns = np.diff(np.array(firsts), axis=1)
    np.testing.assert_allclose(returns.std(axis=0), 0.01, rtol=0.06)
    assert np.corrcoef(returns.T)[0, 1] == pytest.approx(0.9, abs=0.02)


def best_by_regression(phi: float, horizon: int) -> float:
    """Solve the normal equations on the exact covariance of ten past and all future returns."""
    past, total = 10, 10 + horizon
    lags = np.abs(np.subtract.outer(np.arange(total), np.arange(total)))
    covariance = np.asarray(float(phi) ** lags)
    optimal = persistence = 0.0
    for step in range(1, horizon + 1):
        move = np.zeros(total)
        move[past : past + step] = 1.0
        variance = move @ covariance @ move
        cross = covariance[:past] @ move
        persistence += float(variance)
        explained = cross @ np.linalg.solve(covariance[:past, :past], cross)
        optimal += float(variance - explained)
    return float(optimal / persistence)


@pytest.mark.parametrize("phi", [-0.9, -0.3, 0.0, 0.2, 0.6, 0.95])
@pytest.mark.parametrize("horizon", [1, 2, 10, 50])
def test_ar1_best_relative_mse_against_exact_covariances(phi: float, horizon: int) -> None:
    best = ar1_best_relative_mse(phi, horizon)
    assert best == pytest.approx(best_by_regression(phi, horizon), rel=1e-9)
    assert best < 1 if phi else best == 1


def test_ar1_best_relative_mse_is_what_the_optimal_forecast_scores() -> None:
    logs = np.log(ar1(200_000, seed=4, phi=0.6).mid)
    returns = np.diff(logs, prepend=logs[0])

    def optimal(step: int) -> NDArray[np.float64]:
        return logs + returns * sum(0.6**k for k in range(1, step + 1))

    scored = relative_mse(logs, optimal, 10)
    assert scored == pytest.approx(ar1_best_relative_mse(0.6, 10), rel=0.01)


def test_noisy_sine_best_relative_mse_is_what_the_sine_scores() -> None:
    period, amplitude, noise, horizon = 20, 0.05, 0.02, 8
    series = noisy_sine(100_000, seed=6, period=period, amplitude=amplitude, noise=noise)
    days = np.arange(len(series))

    def sine(step: int) -> NDArray[np.float64]:
        wave: NDArray[np.float64] = amplitude * np.sin(2 * np.pi * (days + step) / period)
        return math.log(100) + wave

    steps = np.arange(1, horizon + 1)
    moves = amplitude**2 * (1 - np.cos(2 * np.pi * steps / period))
    stated = noise**2 / np.mean(moves + 2 * noise**2)
    assert relative_mse(np.log(series.mid), sine, horizon) == pytest.approx(stated, rel=0.02)


def test_noisy_sine_without_noise_is_the_sine() -> None:
    logs = np.log(noisy_sine(101, period=40, amplitude=0.2, noise=0).mid / 100)
    np.testing.assert_allclose(logs[[0, 10, 20, 30, 40]], [0, 0.2, 0, -0.2, 0], atol=2e-7)


def test_trend_season_is_the_sum_by_hand() -> None:
    series = trend_season(30, seed=4, trend=2, amplitude=10, noise=0.5)
    noise = np.random.default_rng(4).standard_normal(30)
    expected = [
        100 + 2 * month + 10 * math.sin(math.pi * month / 6) + 0.5 * noise[month]
        for month in range(30)
    ]
    np.testing.assert_allclose(series.target, expected, rtol=1e-6)
    assert series.time.astype(str).tolist()[10:13] == ["1970-11-01", "1970-12-01", "1971-01-01"]
    assert infer_calendar(series.time) == series.calendar
    assert series.calendar.seasonality == 12
    assert len(load_sample("trend_season")) == 144
    assert (
        load_sample("trend_season", length=200, seed=3).digest == trend_season(200, seed=3).digest
    )
    assert len(trend_season(3000)) == 3000


def test_trend_season_best_relative_mse_is_what_trend_and_season_score() -> None:
    trend, amplitude, noise, horizon = 1.0, 8.0, 4.0, 12
    values = [
        trend_season(2401, seed=seed, trend=trend, amplitude=amplitude, noise=noise).target
        for seed in range(20)
    ]
    months = np.arange(2401)
    known = 100 + trend * months + amplitude * np.sin(2 * np.pi * months / 12)
    error, naive = [], []
    for step in range(1, horizon + 1):
        error.extend([np.mean((one - known)[step:] ** 2) for one in values])
        naive.extend([np.mean((one[step:] - one[:-step]) ** 2) for one in values])
    steps = np.arange(1, horizon + 1)
    season = amplitude**2 * (1 - np.cos(2 * np.pi * steps / 12))
    stated = noise**2 / np.mean(trend**2 * steps**2 + season + 2 * noise**2)
    assert np.mean(error) / np.mean(naive) == pytest.approx(stated, rel=0.02)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown name": (
        lambda: load_sample("dax"),
        "name of a sample must be one of sp500, bikes, random_walk, ar1, noisy_sine, trend_season, "
        "but got 'dax'",
    ),
    "recorded, with length": (
        lambda: load_sample("sp500", length=100),
        "sp500 is recorded: it takes no length or seed, but got length=100, seed=0",
    ),
    "recorded, with seed": (
        lambda: load_sample("sp500", seed=1),
        "sp500 is recorded: it takes no length or seed, but got length=None, seed=1",
    ),
    "bikes, with length": (
        lambda: load_sample("bikes", length=100),
        "bikes is recorded: it takes no length or seed, but got length=100, seed=0",
    ),
    "months": (
        lambda: trend_season(3001),
        "length must be a whole number from 2 to 3000, but got 3001",
    ),
    "no trend": (
        lambda: trend_season(trend=math.nan),
        "trend must be at most 1e6 up or down and finite, but got nan",
    ),
    "ticks": (
        lambda: random_walk(100, ticks=-1),
        "ticks must be a whole number from 0 to 10000, but got -1",
    ),
    "short": (
        lambda: load_sample("ar1", length=1),
        "length must be a whole number from 2 to 1000000, but got 1",
    ),
    "long": (
        lambda: noisy_sine(10**7),
        "length must be a whole number from 2 to 1000000, but got 10000000",
    ),
    "half": (
        lambda: random_walk(2.5),  # type: ignore[arg-type]
        "length must be a whole number from 2 to 1000000, but got 2.5",
    ),
    "bool": (
        lambda: random_walk(100, seed=True),
        "seed must be a whole number from 0 to 18446744073709551615, but got True",
    ),
    "negative seed": (
        lambda: random_walk(100, seed=-1),
        "seed must be a whole number from 0 to 18446744073709551615, but got -1",
    ),
    "explosive": (lambda: ar1(100, phi=1.0), "phi must be in (-1, 1) and finite, but got 1.0"),
    "still": (
        lambda: random_walk(100, volatility=0.0),
        "volatility must be in (0, 1] and finite, but got 0.0",
    ),
    "no volatility": (
        lambda: ar1(100, volatility=math.nan),
        "volatility must be in (0, 1] and finite, but got nan",
    ),
    "endless": (
        lambda: noisy_sine(100, period=math.inf),
        "period must be above 0 and finite, but got inf",
    ),
    "amplitude": (
        lambda: noisy_sine(100, amplitude=-0.1),
        "amplitude must be in [0, 1] and finite, but got -0.1",
    ),
    "noise": (
        lambda: noisy_sine(100, noise=1.1),
        "noise must be in [0, 1] and finite, but got 1.1",
    ),
    "no horizon": (
        lambda: ar1_best_relative_mse(0.5, 0),
        "horizon must be a whole number from 1 to 1000000, but got 0",
    ),
    "no phi": (
        lambda: ar1_best_relative_mse(-1.0, 5),
        "phi must be in (-1, 1) and finite, but got -1.0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message


def test_a_walk_that_leaves_the_range_of_numbers_is_named() -> None:
    with pytest.raises(DataError, match=r"^random_walk: \w+ on \S+ must be a finite number above"):
        random_walk(100_000, volatility=1.0)


def test_a_walk_of_ticks_that_leaves_the_range_of_numbers_is_named() -> None:
    with pytest.raises(DataError, match=r"^random_walk: \w+ on \S+ must be a finite number above"):
        random_walk(100_000, volatility=1.0, ticks=2)


lengths, seeds = st.integers(2, 40), st.integers(0, 2**64 - 1)
shares = st.floats(0, 1)
ARGUMENTS: dict[str, dict[str, st.SearchStrategy[float]]] = {
    "random_walk": {
        "volatility": st.floats(0, 1, exclude_min=True),
        "ticks": st.integers(0, 9),
    },
    "ar1": {
        "phi": st.floats(-1, 1, exclude_min=True, exclude_max=True),
        "volatility": st.floats(0, 1, exclude_min=True),
    },
    "noisy_sine": {
        "period": st.floats(1e-3, 1e300) | st.integers(1, 10**6),
        "amplitude": shares,
        "noise": shares,
    },
}


@given(
    st.sampled_from(sorted(SIMULATED)).flatmap(
        lambda name: st.tuples(
            st.just(name),
            st.fixed_dictionaries({"length": lengths, "seed": seeds, **ARGUMENTS[name]}),
        )
    )
)
@example(("random_walk", {"length": 2, "seed": 2**64 - 1, "volatility": 5e-324}))
@example(("ar1", {"length": 77, "seed": 0, "phi": -0.1 - 0.2, "volatility": 1}))
@example(("ar1", {"length": 77, "seed": 0, "phi": np.float64(1e-7), "volatility": 0.01}))
@example(("noisy_sine", {"length": 77, "seed": 9, "period": 1 / 3, "amplitude": 0, "noise": 1}))
def test_the_source_of_a_simulation_simulates_it_again(call: tuple[str, dict[str, Any]]) -> None:
    name, arguments = call
    series = SIMULATED[name](**arguments)
    for again in (load_simulated(series.source), load_prices(series.source)):
        assert again is not None
        assert again.digest == series.digest
        assert (again.name, again.source) == (name, series.source)


@pytest.mark.parametrize("name", SIMULATED)
def test_a_source_need_not_name_every_argument(name: str) -> None:
    for text, series in (
        (f"{name}()", SIMULATED[name]()),
        (f"{name}(seed=3)", SIMULATED[name](seed=3)),
        (f"{name}( seed = 3 ,length=500)", SIMULATED[name](500, seed=3)),
    ):
        again = load_simulated(text)
        assert again is not None
        assert again.digest == series.digest


def test_the_source_of_trend_season_simulates_it_again() -> None:
    series = trend_season(40, seed=3, trend=-0.1, amplitude=3, noise=1 / 3)
    for again in (load_simulated(series.source), as_series(series.source)):
        assert again is not None
        assert (again.digest, again.source) == (series.digest, series.source)
    with pytest.raises(DataError, match=r"^trend_season\(seed=1\) must be prices, but is a series"):
        load_prices("trend_season(seed=1)")
    with pytest.raises(DataError, match=r"^bikes must be prices, but is a series of users$"):
        load_prices("bikes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ar1(length=30, drift=0.1)", r"'ar1\(length=30, drift=0.1\)' is not .* argument 'drift'"),
        ("random_walk(phi=0.1)", r"'random_walk\(phi=0.1\)' is not a simulation: .*'phi'"),
        ("ar1(=3)", r"'ar1\(=3\)' is not a simulation: "),
        (
            "ar1(length=many)",
            r"of 'ar1\(length=many\)' must be name=number, but got 'length=many'$",
        ),
        ("ar1(length=30, phi)", r"must be name=number, but got 'phi'$"),
        ("ar1(30)", r"must be name=number, but got '30'$"),
        ("ar1(length=30, phi=)", r"must be name=number, but got 'phi='$"),
        ("ar1(phi=(0.5))", r"must be name=number, but got 'phi=\(0.5\)'$"),
        ("ar1(length=30, seed=None)", r"must be name=number, but got 'seed=None'$"),
        ("ar1(length=1)", r"^length must be a whole number from 2 to 1000000, but got 1$"),
        (
            "random_walk(length=1000001)",
            r"^length must be a whole number from 2 to 1000000, but got 1000001$",
        ),
        (
            "random_walk(length=30.5)",
            r"^length must be a whole number from 2 to 1000000, but got 30\.5$",
        ),
        ("ar1(length=30, phi=1)", r"^phi must be in \(-1, 1\) and finite, but got 1$"),
        ("ar1(length=30, phi=nan)", r"^phi must be in \(-1, 1\) and finite, but got nan$"),
        ("noisy_sine(length=30, period=inf)", r"^period must be above 0 and finite, but got inf"),
    ],
)
def test_what_is_no_simulation_is_refused_in_one_line(text: str, message: str) -> None:
    for load in (load_simulated, load_prices):
        with pytest.raises(DataError, match=message) as refusal:
            load(text)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ar1",
        "sp500",
        "sp500()",
        "ar2(length=30)",
        "AR1(length=30)",
        "ar1(length=30",
        "ar1 (length=30)",
        "ar1(length=30).csv",
        "prices/ar1(length=30)",
        "prices.csv",
        "alphavantage:AR1(length=30)",
    ],
)
def test_other_words_are_of_no_simulation(text: str) -> None:
    assert load_simulated(text) is None


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("ar1(length=30, length=40)", "length comes twice"),
        ("ar1(length=-30)", "length must be a whole number from 2 to 1000000, but got -30"),
        (f"noisy_sine(length=30, period=1{'0' * 309})", "is not a simulation"),
    ],
)
def test_odd_arguments_of_a_simulation_are_one_line(source: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_simulated(source)
