"""Further formats: read as they were written, with nothing said but what is expected."""

import sys
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import more_people_formats as more
import numpy as np
import pandas as pd
import people_formats as people
import pytest

from foretune.datasets.common.errors import DataError, DataWarning
from foretune.datasets.sources.load import as_series
from foretune.datasets.sources.readers import read_prices, read_series

GIVEN = people.prices(40)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], str]:
    """Write a file into the working folder, so that messages start with its bare name."""
    monkeypatch.chdir(tmp_path)

    def write(content: bytes) -> str:
        Path("p.csv").write_bytes(content)
        return "p.csv"

    return write


def said_of(read: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True, action="always") as caught:
        found = read(*arguments, **options)
    assert all(item.category is DataWarning for item in caught)
    return found, [str(item.message) for item in caught]


@pytest.mark.parametrize("name", more.MORE)
def test_more_formats_are_read_and_said(name: str, write: Callable[[bytes], str]) -> None:
    if name.startswith("Parquet"):
        pytest.importorskip("pyarrow")
    path = write(more.MORE[name](GIVEN))
    prices, said = said_of(read_prices, path)
    assert prices.dates.tolist() == GIVEN["date"].dt.date.tolist()
    for field in people.NAMES[:4]:
        np.testing.assert_array_equal(getattr(prices, field), GIVEN[field], err_msg=field)
    series, same = said_of(read_series, path)
    np.testing.assert_array_equal(series.target, GIVEN["close"])
    assert (series.error_space, series.target_name) == ("log", "close price")
    assert said == same == [f"p.csv: {remark}" for remark in series.remarks]
    expected = more.SAID.get(name, ())
    assert len(said) == len(expected), said
    for line, beginning in zip(said, expected, strict=True):
        assert line.startswith(f"p.csv: {beginning}")


def test_there_are_forty_more() -> None:
    assert len(more.MORE) + len(more.STOCKS) >= 40
    assert set(more.SAID) <= set(more.MORE)


@pytest.mark.parametrize("name", more.STOCKS)
def test_of_several_tickers_one_is_chosen(name: str, write: Callable[[bytes], str]) -> None:
    path = write(more.STOCKS[name](GIVEN))
    for read in (read_prices, read_series):
        with pytest.raises(DataError, match=r"series=|--column|--target"):
            read(path)
        with pytest.raises(DataError, match="no column names a series 'IBM'"):
            read(path, series="IBM")
    for ticker, factor in (("AAPL", 1), ("MSFT", 2)):
        prices, said = said_of(read_prices, path, series=ticker)
        assert said == []
        for field in people.NAMES[:4]:
            np.testing.assert_allclose(getattr(prices, field), factor * GIVEN[field], rtol=1e-12)
        assert prices.dates.tolist() == GIVEN["date"].dt.date.tolist()
        series = as_series(path, series=ticker)
        np.testing.assert_array_equal(series.target, prices.close)


@pytest.mark.parametrize(
    ("column", "words"),
    [("Ticker", {"AAPL": "AAPL", "MSFT": "MSFT"}), ("store", {"store=1": 1, "store=2": 2})],
)
def test_of_several_tickers_in_a_frame_one_is_chosen(column: str, words: dict[str, Any]) -> None:
    one, two = (
        GIVEN.assign(**{name: factor * GIVEN[name] for name in people.NAMES[:4]} | {column: word})
        for factor, word in enumerate(words.values(), start=1)
    )
    both = pd.concat([one, two])
    with pytest.raises(DataError, match="2023-01-02 is there twice"):
        as_series(both)
    with pytest.raises(DataError, match="a DataFrame: no column names a series 'IBM'"):
        as_series(both, series="IBM")
    for factor, word in enumerate(words, start=1):
        series = as_series(both, series=word)
        assert series.error_space == "log"
        np.testing.assert_array_equal(series.target, factor * GIVEN["close"])
        assert series.reading["series"] == word


def test_a_ticker_in_two_columns_is_asked_for(write: Callable[[bytes], str]) -> None:
    path = write(b"date,a,b,y\n" + b"".join(b"2024-01-%02d,X,X,5\n" % day for day in range(1, 31)))
    with pytest.raises(DataError, match=r"series 'X' may be in the columns 'a', 'b'; name one by "):
        read_series(path, series="X")
    assert len(read_series(path, series="b=X")) == 30


def test_numbers_of_parquet_are_read_as_they_are(write: Callable[[bytes], str]) -> None:
    pytest.importorskip("pyarrow")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=200, freq="h", tz="UTC"),
            # In text, 1.234 could be 1234.
            "load": (10 * rng.integers(100, 1000, 200) + rng.integers(1, 10, 200)) / 1000,
            "fine": rng.normal(size=200) * 10.0 ** rng.integers(-30, 30, 200),
            "word": rng.choice(["a", "b"], 200),
            "no": 7,
        }
    )
    frame.to_parquet("p.parquet")
    series, said = said_of(
        read_series, "p.parquet", target="load", past=["fine", "no", "word"], time="when"
    )
    assert said == []
    assert (series.name, series.source, series.calendar.frequency) == ("p", "p.parquet", "h")
    np.testing.assert_array_equal(series.target, frame["load"])
    np.testing.assert_array_equal(series.past["fine"], frame["fine"])
    np.testing.assert_array_equal(series.past["word"], frame["word"])
    np.testing.assert_array_equal(series.past["no"], frame["no"])
    assert series.time.tolist() == frame["when"].tolist()


def test_parquet_that_is_too_large_is_refused(write: Callable[[bytes], str]) -> None:
    """A column of one value takes next to nothing."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {name: np.zeros(2**20) for name in map(str, range(20))}
    parquet.write_table(pyarrow.table(columns), "p.csv")
    assert Path("p.csv").stat().st_size < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="must hold at most 32 MiB of text, but has more"):
            read_series("p.csv")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**27, "it was unpacked"


def test_without_pyarrow_the_error_names_the_extra(
    write: Callable[[bytes], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = write(b"PAR1")
    with pytest.raises(DataError) as caught:
        read_series(path)
    assert str(caught.value) == (
        "p.csv: a Parquet file needs pyarrow; pip install 'foretune[parquet]', or save it as CSV"
    )
