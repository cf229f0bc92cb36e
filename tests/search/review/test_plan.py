"""The line on what a study is about to do: nothing is decided without a word."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.datasets import load_sample
from foretune.datasets.series import TimeSeries
from foretune.search import SearchSpace
from foretune.search.review.plan import plan_line
from foretune.search.study.agreed import agreed_spec


def line(data: Any, *, space: SearchSpace | None = None, **parts: Any) -> str:
    spec, data = agreed_spec(None, data, parts, space=space, epochs=None, seed=None)
    return plan_line(spec, data.development, by_default="horizon" not in parts)


def quarters(count: int, **columns: Any) -> pd.DataFrame:
    values = 5 + np.sin(np.arange(count))
    index = pd.date_range("1990", periods=count, freq="QS", name="quarter")
    return pd.DataFrame({"gdp": values} | columns, index=index)


def test_a_season_is_the_horizon() -> None:
    assert line(quarters(100)) == (
        "horizon 4 quarters (a season), stride 1, gap 4; 55 quarters train, 18 validate, 19 test; "
        "scaling is one of standard, differences, log; networks may read calendar (month)"
    )


def test_what_was_said_has_no_reason() -> None:
    said = line(quarters(100), horizon=1, gap=0, folds=2, split=(50, 30, 20), stride=1)
    assert said == (
        "horizon 1 quarter, stride 1, gap 0, 2 folds; 50 quarters train, 30 validate, 20 test; "
        "scaling is one of standard, differences, log; networks may read calendar (month)"
    )
    space = SearchSpace(scaling="standard", unroll_length=4)
    assert "; scaling standard; networks may read " in line(quarters(100), space=space)


def test_prices_have_a_horizon_of_their_own() -> None:
    said = line(load_sample("sp500"))
    assert said.startswith("horizon 50 days (the default for prices), stride 10, gap 50; 8,096")
    assert said.endswith("scaling log_returns")


READ = "; networks may read "
UNREAD = "; networks do not read "


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (None, READ + "rate, plan, size, calendar (month)"),
        (SearchSpace(units=8), READ + "rate, plan, size, calendar (month)"),
        (
            SearchSpace(past_covariates=(False, True), static_covariates=False),
            READ + "rate, plan, calendar (month); they do not read size",
        ),
        (
            SearchSpace(future_covariates=False, calendar_features=False),
            READ + "rate, size; they do not read plan, calendar (month)",
        ),
        (SearchSpace(head="recursive"), UNREAD + "rate, plan, size, calendar (month)"),
    ],
)
def test_what_networks_may_read_is_said(space: SearchSpace | None, said: str) -> None:
    frame = quarters(100, rate=np.arange(100), plan=np.arange(100), size=3)
    series = TimeSeries.from_frame(
        frame, target="gdp", past=["rate"], future=["plan"], static=["size"]
    )
    assert line(series, space=space).endswith("standard, differences, log" + said)


def test_of_prices_and_steps_there_is_nothing_to_say() -> None:
    for space in (None, SearchSpace(calendar_features=False)):
        assert line(load_sample("sp500").series("mid"), space=space).endswith("log_returns")
    steps = pd.DataFrame({"y": np.sin(np.arange(300)), "step": np.arange(300)})
    assert line(steps).endswith("scaling is one of standard, differences")


@pytest.mark.parametrize(
    ("rows", "why"), [(240, "a twelfth of the rows"), (700, "the default where no season is known")]
)
def test_without_a_season_the_length_decides(rows: int, why: str) -> None:
    frame = pd.DataFrame({"y": np.sin(np.arange(rows)), "step": np.arange(rows)})
    assert line(frame).startswith(f"horizon {min(rows // 12, 50)} steps ({why})")
