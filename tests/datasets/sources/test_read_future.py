"""read_future: values of covariates for the steps ahead, from files as people have them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.datasets.calendar import infer_calendar
from foretune.datasets.common.errors import DataError
from foretune.datasets.history import History
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.readers import read_future

DAYS = pd.date_range("2024-01-29", periods=3, name="day")  # to 31 January


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a file into the working folder, so that messages start with its bare name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str) -> str:
        Path("f.csv").write_text(content)
        return "f.csv"

    return write


def known(time: Any = DAYS, **changes: Any) -> TimeSeries:
    fields: dict[str, Any] = {
        "name": "demo",
        "time": time,
        "target": np.arange(3.0),
        "calendar": infer_calendar(time),
        "future": {"wind": np.arange(3.0), "code": np.array(["1", "2", "x"])},
        "source": "made up",
    }
    return TimeSeries(**fields | changes)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("day,wind,code\n2024-02-01,1.5,2\n2024-02-02,2.5,x\n", {}),
        ("day;code;wind\n01.02.2024;2;1,5\n02.02.2024;x;2,5\n", {}),
        # 1/2 and 2/2 follow the series day by day, and no months do.
        ("wind,day,code,tide\n1.5,01/02/2024,2,9\n2.5,02/02/2024,x,9\n", {}),
        ("when,code,wind\n2024-02-01,2,1.5\n2024-02-02,x,2.5\n", {}),
        ("on,day,code,wind\n2024-02-01,Thu,2,1.5\n2024-02-02,Fri,x,2.5\n", {"time": "on"}),
        ("day,wind,code\n2024-01-31,9,1\n2024-02-01,1.5,2\n2024-02-02,2.5,x\n", {}),
    ],
)
def test_values_and_times_are_read_as_those_of_a_series(
    content: str, options: dict[str, Any], write: Callable[[str], str]
) -> None:
    history = History.of(known())
    ahead = history.with_future(read_future(write(content), history.series, **options)).series
    assert ahead.future["wind"].tolist() == [0.0, 1.0, 2.0, 1.5, 2.5]
    assert ahead.future["code"].tolist() == ["1", "2", "x", "2", "x"]


def test_codes_that_are_text_in_the_series_stay_text(write: Callable[[str], str]) -> None:
    frame = read_future(write("day,wind,code\n2024-02-01,1,2\n2024-02-02,,1\n"), known())
    assert frame["code"].tolist() == ["2", "1"]
    np.testing.assert_array_equal(frame["wind"], [1.0, np.nan])
    assert frame.index.tolist() == [*pd.date_range("2024-02-01", periods=2)]


def test_rows_of_numbers_without_times_are_the_next_steps(write: Callable[[str], str]) -> None:
    series = known(pd.RangeIndex(3, name="step"), future={"wind": np.arange(3.0)})
    history = History.of(series)
    for content in ("wind\n7\n8\n", "step,wind\n3,7\n4,8\n"):
        ahead = history.with_future(read_future(write(content), series))
        assert ahead.series.future["wind"].tolist() == [0.0, 1.0, 2.0, 7.0, 8.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "f.csv"),
        ("day,wind,code\n2024-02-01,a,2\n", "f.csv, line 2, column 'wind': must be a number"),
        ("day,wind,code\n2024-02-01,1,2\n2024-02-31,2,x\n", "f.csv, line 3, column 'day': must be"),
        ("day,wind,code\n2024-02-01,1,2\n,2,x\n", "f.csv, line 3, column 'day': must be a time"),
    ],
)
def test_a_cell_that_cannot_be_is_named(
    content: str, message: str, write: Callable[[str], str]
) -> None:
    with pytest.raises(DataError) as caught:
        read_future(write(content), known())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
