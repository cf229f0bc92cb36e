"""Splits on any date are found, and nothing in prices that only move, however wild."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretune.datasets.common.errors import DataWarning
from foretune.datasets.plausibility import outside_range, split_jumps
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.load import as_series
from foretune.datasets.sources.readers import read_prices, read_series
from foretune.datasets.sources.samples import SAMPLES, load_sample


def garch(rng: np.random.Generator, rows: int, tails: float = 6.0) -> np.ndarray:
    """GARCH(1, 1) prices whose shocks have Student's tails: 1.3 % a day on average."""
    shocks = rng.standard_t(tails, rows) / np.sqrt(tails / (tails - 2))
    variance, moves = 1.6e-4, []
    for shock in shocks:
        moves.append(np.sqrt(variance) * shock)
        variance = 3e-6 + 0.1 * moves[-1] ** 2 + 0.88 * variance
    return 100 * np.exp(np.cumsum(moves))


def frame(close: np.ndarray) -> pd.DataFrame:
    """Daily OHLC around closes."""
    days = pd.bdate_range("2020-01-01", periods=len(close), name="Date")
    return pd.DataFrame(
        {"Open": close, "High": close * 1.01, "Low": close * 0.99, "Close": close}, index=days
    )


@given(
    seed=st.integers(0, 10_000),
    row=st.integers(1, 499),
    factor=st.sampled_from([2, 3, 4, 5, 7, 10, 20]),
    inverse=st.booleans(),
    daily=st.floats(0.0, 0.02),
)
@settings(max_examples=200)
def test_a_split_on_any_day_is_found_and_no_other_day(
    seed: int, row: int, factor: int, inverse: bool, daily: float
) -> None:
    moves = np.random.default_rng(seed).normal(0, daily, 500).clip(-4 * daily, 4 * daily)
    whole = 80 * np.exp(np.cumsum(moves))
    ratio = 1 / factor if inverse else float(factor)
    assert split_jumps(whole).tolist() == []
    assert split_jumps(np.where(np.arange(500) < row, whole, whole * ratio)).tolist() == [row]


def test_several_splits_are_found() -> None:
    whole = garch(np.random.default_rng(1), 3000)
    rows = [300, 301, 900, 1500, 2999]
    assert np.abs(np.diff(np.log(whole)))[np.array(rows) - 1].max() < 0.05
    divided = whole.copy()
    for row, factor in zip(rows, (2, 7, 0.1, 20, 3), strict=True):
        divided[row:] /= factor
    assert split_jumps(divided).tolist() == rows


def test_simulated_prices_have_no_splits() -> None:
    rng = np.random.default_rng(0)
    for size in np.geomspace(0.001, 0.5, 100):
        walk = 100 * np.exp(np.cumsum(rng.normal(0, size, 1000)))
        assert [*split_jumps(walk), *split_jumps(garch(rng, 1000))] == []


def test_a_penny_share_that_often_doubles_has_none() -> None:
    ticks = np.random.default_rng(2).choice([0.01, 0.02], 500, p=[0.9, 0.1])
    assert split_jumps(ticks).tolist() == []


def test_a_crash_is_no_split() -> None:
    """The worst day of 1987: -20.5 % in the S&P 500; and half of that again the day after."""
    whole = garch(np.random.default_rng(3), 1000)
    whole[500:] *= 0.795
    whole[501:] *= 0.6
    assert split_jumps(whole).tolist() == []


@pytest.mark.parametrize("name", [n for n in SAMPLES if n != "bikes"])
def test_samples_are_plausible(name: str) -> None:
    prices = load_sample(name)
    if isinstance(prices, PriceSeries):
        assert prices.doubts() == prices.doubts("mid") == ()
        assert prices.series().remarks == prices.remarks


def test_a_close_far_off_its_range_is_found() -> None:
    low, high = np.array([10.0, 10.0, 10.0, 0.2]), np.array([11.0, 11.0, 11.0, 0.2])
    assert outside_range(np.array([9.4, 11.6, 9.9, 0.205]), low, high).tolist() == [0, 1]


SPLIT = frame(np.r_[100 + np.arange(30.0) / 10, 14.7 + np.arange(30.0) / 100])
# 102.9 to 14.7 is 7.0; the 31st business day from Wednesday, 1 January 2020, is 12 February.
FOUND = "close falls from 102.9 to 14.7 on 2020-02-12, by a factor of 7, as at a split that is not "
ADJUST = "adjusted; if it was a split, adjust the prices before"
TAKE = r"adjusted; target='adj_close' \(--target adj_close\) takes the adjusted prices"
ADJUSTED = SPLIT.assign(**{"Adj Close": SPLIT["Close"].where(SPLIT["Close"] < 20, SPLIT.Close / 7)})


def test_files_frames_and_price_series_warn(tmp_path: Path) -> None:
    file = tmp_path / "acme.csv"
    SPLIT.to_csv(file)
    with pytest.warns(DataWarning, match=f"acme.csv: {FOUND}{ADJUST}$"):
        prices = read_prices(file)
    np.testing.assert_array_equal(prices.close, SPLIT["Close"])
    with pytest.warns(DataWarning, match=f"acme.csv: {FOUND}{ADJUST}$") as caught:
        series = read_series(file)
    assert len(caught) == len(series.remarks) == 1
    with pytest.warns(DataWarning, match=f"a DataFrame: {FOUND}{ADJUST}$") as caught:
        series = as_series(SPLIT)
    assert len(caught) == len(series.remarks) == 1
    np.testing.assert_array_equal(series.target, SPLIT["Close"])
    with pytest.warns(DataWarning, match=f"acme.csv: {FOUND}{ADJUST}$") as caught:
        assert as_series(prices, "mid").remarks == series.remarks
    assert len(caught) == 1


def test_prices_of_hours_and_with_covariates_warn(tmp_path: Path) -> None:
    hours = SPLIT.set_index(pd.date_range("2020-01-01", periods=60, freq="h", name="Date"))
    hours.to_csv(tmp_path / "hours.csv")
    words = FOUND.replace("2020-02-12", "2020-01-02 06:00:00") + ADJUST
    with pytest.warns(DataWarning, match=f"hours.csv: {words}$"):
        assert len(read_series(tmp_path / "hours.csv").remarks) == 1
    with pytest.warns(DataWarning, match=f"a DataFrame: {words}$"):
        assert len(as_series(hours).remarks) == 1
    with pytest.warns(DataWarning, match=f"a DataFrame: {FOUND}{ADJUST}$"):
        assert as_series(SPLIT, past=["Open"]).error_space == "log"


def test_adjusted_closes_are_the_remedy(tmp_path: Path) -> None:
    ADJUSTED.to_csv(tmp_path / "acme.csv")
    with pytest.warns(DataWarning, match=FOUND + TAKE + "$"):
        read_series(tmp_path / "acme.csv")
    with warnings.catch_warnings(action="error"):
        assert read_series(tmp_path / "acme.csv", target="adj_close").remarks == ()
        assert as_series(ADJUSTED, "adj_close").remarks == ()
    same = ADJUSTED.assign(**{"Adj Close": SPLIT["Close"]})
    with pytest.warns(DataWarning, match=FOUND + ADJUST + "$"):
        as_series(same)
    with pytest.warns(DataWarning, match=FOUND.replace("close", "adj_close", 1) + ADJUST + "$"):
        as_series(same, "adj_close")


def test_a_close_that_alone_was_adjusted_warns() -> None:
    off = frame(np.full(30, 50.0)).assign(Close=np.r_[np.full(10, 45.0), np.full(20, 50.0)])
    words = (
        "close on 2020-01-01, 45, is far outside low and high, 49.5 to 50.5, by a factor of 1.1; "
        "10 rows are so; adjust the prices before, all or none of them"
    )
    with pytest.warns(DataWarning, match=f"a DataFrame: {words}$"):
        as_series(off)
