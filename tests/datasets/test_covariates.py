"""Covariates as numbers: scaled and encoded on training rows alone, against NumPy by hand."""

import pickle
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from foretune.datasets.calendar import Calendar, infer_calendar
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.common.toml_files import TomlModel
from foretune.datasets.covariates import Column, CovariateEncoding, Covariates
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import chronological_split, development, development_folds

HOURS = pd.date_range("2024-03-01", periods=60, freq="h")
RNG = np.random.default_rng(0)
WIND, PLAN = RNG.normal(7, 3, size=60), RNG.normal(-2, 0.1, size=64)
SKY = np.array(["rain", "clear", "mist"])[RNG.integers(3, size=60)]
OPEN = RNG.random(64) < 0.5


def make(**changes: Any) -> TimeSeries:
    fields: dict[str, Any] = {
        "name": "demo",
        "time": HOURS,
        "target": np.arange(60.0) ** 2,
        "calendar": infer_calendar(HOURS),
        "past": {"wind": WIND, "sky": SKY},
        "future": {"plan": PLAN, "open": OPEN},
        "static": {"region": "north", "size": 3.0},
        "source": "by hand",
    }
    return TimeSeries(**(fields | changes))


def test_numbers_are_scaled_on_the_training_rows_and_categories_are_0_and_1() -> None:
    encoding = CovariateEncoding.fit([make()], [40])
    found = encoding.encode(make())
    sky = [word == SKY for word in ("clear", "mist", "rain")]
    past = [(WIND - WIND[:40].mean()) / np.sqrt(np.mean((WIND[:40] - WIND[:40].mean()) ** 2)), *sky]
    np.testing.assert_allclose(found.past, np.column_stack(past)[None], rtol=1e-12)
    plan = (PLAN - PLAN[:40].mean()) / PLAN[:40].std()
    future = np.column_stack([plan, ~OPEN, OPEN])[None]
    np.testing.assert_allclose(found.future, future, rtol=1e-9)
    np.testing.assert_array_equal(found.static, [[1, 0]])  # a number of one series has no spread
    names = [column.columns for column in (*encoding.past, *encoding.future)]
    assert names == [
        ("wind",),
        ("sky=clear", "sky=mist", "sky=rain"),
        ("plan",),
        ("open=False", "open=True"),
    ]
    assert {array.dtype for array in found.arrays} == {np.dtype(np.float64)}


def test_calendar_features_go_on_beyond_the_last_row() -> None:
    encoding = CovariateEncoding.fit([make()], [40])
    assert encoding.calendar == ("hour", "weekday")
    found = encoding.encode(make()).calendar
    step = np.arange(64)
    hour, day = 2 * np.pi * (step % 24) / 24, 2 * np.pi * (4 + step // 24) / 7  # from a Friday
    by_hand = [np.sin(hour), np.cos(hour), np.sin(day), np.cos(day)]
    np.testing.assert_allclose(found, np.column_stack(by_hand)[None], atol=1e-12)
    none = replace(encoding, past=(), future=(), static=())
    alone = none.encode(make(future={}), ahead=4)
    np.testing.assert_array_equal(alone.calendar, found)
    assert [array.shape for array in alone.arrays] == [(1, 60, 0), (1, 64, 0), (1, 64, 4), (1, 0)]
    counted = make(time=range(60), calendar=Calendar(frequency="steps"))
    found = CovariateEncoding.fit([counted], [40]).encode(counted, ahead=2)
    assert found.calendar.shape == (1, 64, 0)


@pytest.mark.parametrize(("frequency", "names"), [
    ("30s", ("minute", "hour", "weekday")), ("15min", ("minute", "hour", "weekday")),
    ("h", ("hour", "weekday")), ("3h", ("hour", "weekday")), ("D", ("weekday", "day_of_year")),
    ("24h", ("weekday", "day_of_year")), ("B", ("weekday",)), ("sessions", ("weekday",)),
    ("W-FRI", ("day_of_year",)), ("MS", ("month",)), ("BME", ("month",)), ("QE-DEC", ("month",)),
    ("YS", ()), ("steps", ()),
])  # fmt: skip
def test_calendar_features_are_those_that_change_from_step_to_step(
    frequency: str, names: tuple[str, ...]
) -> None:
    weekdays = (0, 1, 2) if frequency == "sessions" else ()
    assert Calendar(frequency=frequency, weekdays=weekdays).default_features() == names


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 / 3, -7e-5])
def test_a_column_that_stands_still_in_training_is_0_everywhere(value: float) -> None:
    wind = np.full(60, value)
    wind[::2] *= 1 + 2e-16
    wind[50] += 1
    series = make(past={"wind": wind})
    encoding = CovariateEncoding.fit([series], [40])
    assert encoding.past[0].std == 0
    np.testing.assert_array_equal(encoding.encode(series).past, np.zeros((1, 60, 1)))
    assert CovariateEncoding.fit([series], [51]).encode(series).past[0, 50, 0] > 7


@given(
    hnp.arrays(np.float64, 60, elements=st.floats(-1e9, 1e9)),
    st.integers(1, 60),
    hnp.arrays(np.float64, 60, elements=st.floats(-1e9, 1e9)),
)
def test_later_rows_change_neither_the_fit_nor_earlier_numbers(
    values: Any, stop: int, later: Any
) -> None:
    other = np.concatenate([values[:stop], later[stop:]])
    both = [make(past={"wind": wind}, future={}, static={}) for wind in (values, other)]
    encoding = CovariateEncoding.fit([both[0]], [stop])
    assert encoding == CovariateEncoding.fit([both[1]], [stop])
    found, same = (encoding.encode(series).past[0, :stop] for series in both)
    np.testing.assert_array_equal(found, same)
    assert np.isfinite(found).all()
    # A spread of 1e-12 beside the size is known to a few digits.
    assert found.mean() == pytest.approx(0, abs=1e-3)
    assert found.std() == pytest.approx(float(encoding.past[0].std > 0), abs=1e-3)


def test_numbers_whose_squares_overflow_are_refused() -> None:
    with pytest.raises(DataError) as caught:
        CovariateEncoding.fit([make(past={"wind": [1e200, -1e200] * 30})], [40])
    assert str(caught.value) == (
        "wind must have a standard deviation, but has values of size 1e+200; rescale the column, "
        "or leave it out"
    )


HAIL = np.where(np.arange(60) == 50, "hail", SKY)
HALF = np.where(np.arange(64) == 62, "half", OPEN.astype(str))


@pytest.mark.parametrize(("changes", "message"), [
    (
        {"past": {"wind": WIND, "sky": HAIL}},
        "demo: sky in row 50 must be a category of the training part (clear, mist, rain), but got "
        "'hail'; leave the column out, or merge its rare categories",
    ),
    (
        {"future": {"plan": PLAN, "open": HALF}},
        "demo: open at 2024-03-03 14:00:00 must be a category of the training part (False, True), "
        "but got 'half'; leave the column out, or merge its rare categories",
    ),
    (
        {"past": {"wind": ["low"] * 60, "sky": SKY}},
        "demo: wind in row 0 must be a number, as in the training part, but got 'low'",
    ),
    (
        {"static": {"region": "south", "size": 3.0}},
        "demo: region must be a category of the training part (north), but got 'south'; leave the "
        "column out, or merge its rare categories",
    ),
    (
        {"past": {}},
        "demo must have the past covariates of the training part, but lacks wind and sky; it has "
        "none",
    ),
    (
        {"future": {"plan": PLAN}},
        "demo must have the future covariates of the training part, but lacks open; it has plan",
    ),
])  # fmt: skip
def test_what_training_did_not_have_is_refused_by_name_and_place(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        CovariateEncoding.fit([make()], [40]).encode(make(**changes))
    assert str(caught.value) == message


def test_of_many_categories_a_message_shows_ten() -> None:
    many = Column.fit("code", np.array([f"c{number:02}" for number in range(40)]))
    with pytest.raises(DataError, match=r"\(c00, .*, c09, \.\.\.\), but got 'x'"):
        many.encode(np.array(["x"]), lambda name, row: name)


def test_future_covariates_are_asked_for_by_name_and_first_missing_time() -> None:
    series, year_end = make(), pd.date_range("2012-12-30", periods=25, freq="h")
    encoding = CovariateEncoding.fit([series], [40])
    assert encoding.encode(series, ahead=4).future.shape == (1, 64, 3)
    with pytest.raises(DataError) as caught:
        encoding.encode(series, ahead=5)
    assert str(caught.value) == (
        "plan and open must be known up to 2024-03-03 16:00:00, 5 hours ahead, but are missing "
        "from 2024-03-03 16:00:00 on; give forecast(future=...) (--future)"
    )
    one = TimeSeries(
        name="bikes",
        time=year_end,
        target=np.arange(25.0),
        calendar=infer_calendar(year_end),
        future={"temperature": np.arange(25.0)},
        source="by hand",
    )
    with pytest.raises(DataError) as caught:
        CovariateEncoding.fit([one], [20]).encode(one, ahead=23)
    assert str(caught.value) == (
        "temperature must be known up to 2012-12-31 23:00:00, 23 hours ahead, but is missing from "
        "2012-12-31 01:00:00 on; give forecast(future=...) (--future)"
    )
    # Who does not read them needs none.
    assert replace(encoding, future=()).encode(series, ahead=9).calendar.shape == (1, 69, 4)


class Saved(TomlModel):
    _WHAT: ClassVar[str] = "what was saved"
    covariates: CovariateEncoding


def test_an_encoding_is_plain_values_that_a_pickle_and_toml_keep() -> None:
    encoding = CovariateEncoding.fit([make()], [40])
    assert pickle.loads(pickle.dumps(encoding)) == encoding
    text = Saved(covariates=encoding).to_toml()
    read = Saved.from_toml(text).covariates
    assert read == encoding
    assert hash(read) == hash(encoding)
    for bad in ("mean = nan", "scale = 2"):
        with pytest.raises(ConfigError, match=r"covariates\.past\.0\.(mean must|scale')"):
            Saved.from_toml(f"[[covariates.past]]\nname = 'wind'\n{bad}")


def test_rows_are_taken_of_every_group_and_none_have_no_columns() -> None:
    all_rows = CovariateEncoding.fit([make()], [40]).encode(make())
    part = all_rows.rows(10, 62)
    np.testing.assert_array_equal(part.past, all_rows.past[:, 10:60])
    np.testing.assert_array_equal(part.future, all_rows.future[:, 10:62])
    np.testing.assert_array_equal(part.calendar, all_rows.calendar[:, 10:62])
    assert part.static is all_rows.static
    shapes = [array.shape for array in Covariates.none(3, 5).arrays]
    assert shapes == [(3, 5, 0), (3, 5, 0), (3, 5, 0), (3, 0)]
    assert [array.shape for array in Covariates().arrays] == [(1, 0, 0)] * 3 + [(1, 0)]


def test_each_fold_scales_its_covariates_on_its_own_training_rows() -> None:
    series = make()
    split = chronological_split(60, horizon=3, history=5)
    folds = development_folds(series, split, 2)
    for fold in folds:
        stop, end = fold.split.train_stop, fold.split.validation_stop
        wind = (WIND[:end] - WIND[:stop].mean()) / WIND[:stop].std()
        np.testing.assert_allclose(fold.covariates.past[0, :, 0], wind, rtol=1e-12)
        plan = (PLAN[:end] - PLAN[:stop].mean()) / PLAN[:stop].std()
        np.testing.assert_allclose(fold.covariates.future[0, :, 0], plan, rtol=1e-9)
        assert fold.covariates.calendar.shape == (1, end, 4)
        assert fold.encoding == CovariateEncoding.fit([series], [stop])
        assert (fold.past, fold.future) == (fold.covariates.past, fold.covariates.future)
    # Validation rows take no part in the fit; without any covariate only the calendar is left.
    wind = WIND.copy()
    wind[split.train_stop :] = 1e6
    other = development(make(past={"wind": wind, "sky": SKY}), split)
    assert other.encoding == development(series, split).encoding
    bare = development(make(past={}, future={}, static={}), split).covariates
    assert [array.shape[-1] for array in bare.arrays] == [0, 0, 4, 0]
