"""What a trained model remembers: covariates go on with the rows, and future ones are taken."""

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.calendar import Calendar, infer_calendar
from foretune.datasets.common.errors import DataError, DataWarning
from foretune.datasets.history import History
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.samples import ar1

HOURS = pd.date_range("2024-03-01", periods=60, freq="h", name="when")
AFTER = pd.date_range("2024-03-03 12:00", periods=8, freq="h", name="when")
RNG = np.random.default_rng(0)
LEVEL, WIND, PLAN = np.arange(60.0), RNG.normal(size=60), RNG.normal(size=68)
SKY = RNG.choice(["clear", "rain"], size=60)
OPEN = (RNG.random(68) < 0.5).astype(str)


def make(stop: int = 60, beyond: int = 0, start: int = 0, **changes: Any) -> TimeSeries:
    fields: dict[str, Any] = {
        "name": "demo",
        "time": HOURS[start:stop],
        "target": LEVEL[start:stop],
        "calendar": infer_calendar(HOURS),
        "past": {"wind": WIND[start:stop], "sky": SKY[start:stop]},
        "future": {"plan": PLAN[start : stop + beyond], "open": OPEN[start : stop + beyond]},
        "static": {"region": "north", "size": 3.0},
        "source": "by hand",
    }
    return TimeSeries(**(fields | changes))


def frame(first: int = 0, last: int = 8) -> pd.DataFrame:
    """The future covariates of some of the times in ``AFTER``."""
    rows = slice(60 + first, 60 + last)
    return pd.DataFrame({"plan": PLAN[rows], "open": OPEN[rows] == "True"}, AFTER[first:last])


def holds(history: History, beyond: int) -> bool:
    """Whether it holds the rows as they are, and the plan so far beyond them."""
    assert history.series.digest
    return (
        history.series.future["plan"].tolist() == PLAN[: 60 + beyond].tolist()
        and history.series.future["open"].tolist() == OPEN[: 60 + beyond].tolist()
        and history.values.tolist() == LEVEL.tolist()
        and history.series.past["wind"].tolist() == WIND.tolist()
        and history.series.past["sky"].tolist() == SKY.tolist()
    )


@pytest.mark.parametrize("beyond", [0, 3])
def test_a_series_comes_back_whole_and_groups_that_nobody_reads_are_left_out(beyond: int) -> None:
    series = make(beyond=beyond)
    history = History.of(series)
    assert holds(history, beyond)
    assert holds(pickle.loads(pickle.dumps(history)), beyond)
    assert (history.digest, dict(history.series.static)) == (series.digest, dict(series.static))
    part = History.of(series, ["past"])
    assert list(part.series.past) == ["wind", "sky"]
    assert not part.series.future
    assert not part.series.static
    assert (part.digest, len(part)) == (series.digest, 60)


@given(st.integers(5, 59), st.integers(0, 3), st.integers(0, 3), st.data())
def test_newer_rows_bring_their_covariates(
    stop: int, before: int, beyond: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, stop - 1))
    known = History.of(make(stop, before))
    newer = make(
        60,
        beyond,
        start,
        static={},
        past={"wind": WIND[start:], "sky": SKY[start:], "x": WIND[start:]},
    )
    continued = known.continued(newer)
    assert holds(continued, beyond)
    assert list(continued.series.past) == ["wind", "sky"]  # another column is left out
    assert continued.series.static == known.series.static
    assert continued.digest == newer.digest
    # Nothing that was known is read from the newer data: a plan that was changed since is kept.
    other = make(60, beyond, future={"plan": PLAN[: 60 + beyond] + 1, "open": OPEN[: 60 + beyond]})
    plan = known.continued(other).series.future["plan"]
    np.testing.assert_array_equal(plan[:stop], PLAN[:stop])
    np.testing.assert_array_equal(plan[stop:], PLAN[stop : 60 + beyond] + 1)


@pytest.mark.parametrize(("changes", "message"), [
    (
        {"past": {"wind": WIND}, "future": {}},
        "newer must have the covariates known of demo, but lacks sky (past) and plan (future) and "
        "open (future); read it with past=['wind', 'sky'], future=['plan', 'open']",
    ),
    (
        {"past": {"wind": SKY, "sky": SKY}},
        "wind of newer must be numbers, as in demo, but is text",
    ),
    (
        {"future": {"plan": PLAN[:60], "open": PLAN[:60]}},
        "open of newer must be text, as in demo, but is numbers",
    ),
    (
        {"static": {"region": "south"}},
        "region of newer must be 'north', as in demo, but is 'south'",
    ),
])  # fmt: skip
def test_newer_rows_that_lack_a_covariate_are_refused_by_name(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        History.of(make(50)).continued(make(name="newer", **changes))
    assert str(caught.value) == message


def test_rows_of_mid_prices_of_version_1_ask_for_no_covariate() -> None:
    prices = ar1(100)
    known = History.of_mid_prices(
        name="ar1", digest="1", dates=prices.dates[:90], values=prices.mid[:90]
    )
    assert (known.digest, known.target_name) == ("1", "mid price")
    continued = known.continued(prices)
    assert not continued.series.past
    np.testing.assert_array_equal(continued.values, prices.mid)
    assert continued.with_future({"plan": [1.0]}) is continued


GIVEN = {
    "an index": frame(),
    "a column that is called as the time": frame().reset_index(),
    "the only column of dates": frame().rename_axis("moment").reset_index().assign(note="x"),
    "text": frame().reset_index().assign(when=AFTER.astype(str)),
    "no time": frame().reset_index(drop=True).assign(other=1.0),
    "another order": frame()[::-1],
    "arrays": {"plan": PLAN[60:], "open": OPEN[60:], "other": np.ones((2, 2))},
    "arrays and their times": {"plan": PLAN[60:], "open": OPEN[60:], "when": AFTER},
    "columns of pandas": {"plan": frame()["plan"][::-1], "open": frame()["open"]},
    "more than is known ahead": pd.concat(
        [frame().assign(open=OPEN[60:]), pd.DataFrame(index=AFTER + pd.Timedelta("8h"))]
    ),
    "earlier rows too": pd.concat(
        [pd.DataFrame({"plan": 9.0, "open": "never"}, HOURS[50:]), frame().astype({"open": str})]
    ),
}


@pytest.mark.parametrize("beyond", [0, 3])
@pytest.mark.parametrize("how", GIVEN)
def test_future_values_are_taken_for_the_next_steps(how: str, beyond: int) -> None:
    history = History.of(make(beyond=beyond))
    found = history.with_future(GIVEN[how])
    assert holds(found, 8)
    assert found.digest == history.digest
    assert holds(history, beyond)


def test_what_is_given_goes_before_what_was_planned_and_the_rest_of_a_plan_stays() -> None:
    history = History.of(make(beyond=6))
    with pytest.warns(DataWarning, match="given without open: what was known ahead counts"):
        found = history.with_future({"plan": [5.0, 6.0]}).series.future
    assert found["plan"].tolist() == [*PLAN[:60], 5.0, 6.0, *PLAN[62:66]]
    assert found["open"].tolist() == OPEN[:66].tolist()
    assert holds(history.with_future(frame(6, 8)), 8)
    assert holds(history.with_future({}), 6)


def test_what_would_change_nothing_is_refused_where_values_are_known_ahead() -> None:
    history = History.of(make(beyond=6))
    with pytest.raises(DataError, match="future covariates must be called plan or open"):
        history.with_future(frame().rename(columns={"plan": "Plan", "open": "Open"}))
    with pytest.warns(DataWarning, match="future covariates were given without plan: what was"):
        found = history.with_future({"Plan": PLAN[60:62], "open": OPEN[60:62]})
    assert holds(found, 6)
    earlier = pd.DataFrame({"plan": 9.0}, HOURS[50:60])
    with pytest.raises(DataError) as caught:
        history.with_future(earlier)
    assert str(caught.value) == (
        "the times of future covariates must go on after 2024-03-03 11:00:00, the last known one, "
        "but end at 2024-03-03 11:00:00"
    )


def test_whole_numbers_go_on_whether_they_are_a_range_or_not() -> None:
    def counted(time: Any, stop: int) -> TimeSeries:
        return TimeSeries(
            name="demo",
            time=time,
            target=LEVEL[:stop],
            calendar=Calendar(frequency="steps"),
            source="by hand",
        )

    for known, newer in ((range, np.arange), (np.arange, range)):
        history = History.of(counted(pd.Index(known(50)), 50))
        assert len(history.continued(counted(pd.Index(newer(60)), 60))) == 60


def test_times_of_another_zone_are_the_same_moments_and_whole_numbers_are_times_too() -> None:
    time = HOURS.tz_localize("Europe/Berlin")
    history = History.of(make(time=time, calendar=infer_calendar(time)))
    given = frame().tz_localize("Europe/Berlin").tz_convert("UTC")
    assert holds(history.with_future(given), 8)
    with pytest.raises(DataError, match=r"but got 2024-03-04 12:00:00\+01:00"):
        history.with_future(given.shift(1, freq="D"))
    with pytest.raises(DataError) as caught:
        history.with_future(frame())
    assert str(caught.value) == (
        "when of future covariates must be of the kind and the time zone of "
        "2024-03-03 11:00:00+01:00, the last known one, but got 2024-03-03 12:00:00"
    )
    years = pd.Index(range(1960, 2020), name="year")
    history = History.of(make(time=years, calendar=Calendar(frequency="steps")))
    given = frame().reset_index(drop=True)
    for ahead in (
        given,
        given.assign(year=range(2020, 2028)),
        given.set_index(pd.Index(range(2020, 2028)).astype("int32")),
    ):
        assert holds(history.with_future(ahead), 8)
    with pytest.raises(DataError, match=r"must be 2020, one step after 2019, .* but got 2028"):
        history.with_future(given.assign(year=range(2023, 2031)))


INFINITE, HOLE = PLAN[60:].copy(), PLAN[60:].copy()
INFINITE[3], HOLE[2] = -np.inf, np.nan


@pytest.mark.parametrize(("future", "message"), [
    (
        {"plan": PLAN[60:]},
        "open must be known up to 2024-03-03 19:00:00, 8 hours ahead, but is missing from "
        "2024-03-03 12:00:00 on; give forecast(future=...) (--future)",
    ),
    (
        {"plan": HOLE, "open": OPEN[60:65]},
        "plan must be known up to 2024-03-03 16:00:00, 5 hours ahead, but is missing from "
        "2024-03-03 14:00:00 on; give forecast(future=...) (--future)",
    ),
    (
        {"plan": INFINITE, "open": OPEN[60:]},
        "plan at 2024-03-03 15:00:00 must be a finite number, as in demo, but got -inf",
    ),
    (
        {"plan": ["1", "2"], "open": OPEN[60:62]},
        "plan at 2024-03-03 12:00:00 must be a finite number, as in demo, but got '1'",
    ),
    (
        {"plan": [1, 2], "open": [0, 1]},
        "open at 2024-03-03 12:00:00 must be text, as in demo, but got 0.0",
    ),
    (
        frame().shift(1, freq="30min"),
        "the times of future covariates must be 2024-03-03 12:00:00, one step after 2024-03-03 "
        "11:00:00, and on (hourly), each once, but got 2024-03-03 12:30:00",
    ),
    (
        frame().shift(1, freq="D"),
        "the times of future covariates must be 2024-03-03 12:00:00, one step after 2024-03-03 "
        "11:00:00, and on (hourly), each once, but got 2024-03-04 12:00:00",
    ),
    (
        pd.concat([frame(0, 3), frame(2, 5)]),
        "the times of future covariates must be 2024-03-03 12:00:00, one step after 2024-03-03 "
        "11:00:00, and on (hourly), each once, but got 2024-03-03 14:00:00",
    ),
    (
        frame().reset_index(drop=True).assign(a=AFTER, b=AFTER),
        "the time of future covariates may be a or b; keep one of them",
    ),
    (
        frame().reset_index().assign(when=[*AFTER[:5], pd.NaT, *AFTER[6:]]),
        "row 5: when must be given, but is missing",
    ),
    ([1.0], "future covariates must be a DataFrame, or values by name, but got list"),
    (
        {"plan": np.ones((2, 2)), "open": OPEN[60:62]},
        "future covariates must be a list of values each, one a step: Data must be "
        "1-dimensional, got ndarray of shape (2, 2) instead",
    ),
])  # fmt: skip
def test_future_values_that_cannot_be_are_refused_by_name_and_time(
    future: Any, message: str
) -> None:
    with pytest.raises(DataError) as caught:
        History.of(make()).with_future(future)
    assert str(caught.value) == message


def test_covariates_that_end_at_different_times_are_each_named_with_theirs() -> None:
    history = History.of(make(future={"plan": PLAN[:60], "open": OPEN[:60], "tide": PLAN[:60]}))
    with pytest.raises(DataError) as caught:
        history.with_future({"plan": PLAN[60:], "open": OPEN[60:62]})
    assert str(caught.value) == (
        "open and tide must be known up to 2024-03-03 19:00:00, 8 hours ahead, but open is missing "
        "from 2024-03-03 14:00:00 on, tide is missing from 2024-03-03 12:00:00 on; give "
        "forecast(future=...) (--future)"
    )
