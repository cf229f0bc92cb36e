"""Splits: nothing is seen by two parts, and trials never hold a test day."""

import dataclasses
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.samples import random_walk
from foretune.datasets.splits import (
    Split,
    chronological_split,
    development,
    development_folds,
    rows_until,
    walk_forward,
)


@st.composite
def splits(draw: st.DrawFn) -> Split:
    """Any split that `chronological_split` accepts."""
    horizon = draw(st.integers(1, 60))
    try:
        return chronological_split(
            draw(st.integers(10, 3000)),
            horizon=horizon,
            stride=draw(st.integers(1, 80)),
            history=draw(st.integers(1, 60)),
            train_fraction=draw(st.floats(0.1, 0.8)),
            validation_fraction=draw(st.floats(0.05, 0.5)),
        )
    except (ConfigError, DataError):
        assume(False)
        raise


def parts(split: Split) -> dict[str, range]:
    """The days of each part, written out."""
    return {
        "train": range(split.train_stop),
        "validation": range(split.validation_start, split.validation_stop),
        "test": range(split.test_start, split.length),
    }


@given(splits())
def test_parts_are_ordered_with_a_gap_of_one_horizon(split: Split) -> None:
    train, validation, test = parts(split).values()
    assert len(train) > 0
    assert len(validation) >= split.horizon
    assert len(test) >= split.horizon
    assert validation[0] - train[-1] - 1 == split.horizon
    assert test[0] - validation[-1] - 1 == split.horizon
    assert test[-1] == split.length - 1


@given(splits())
def test_no_target_of_one_part_is_seen_by_another(split: Split) -> None:
    train, validation, test = parts(split).values()
    # The furthest target of an origin on the last day of a part lies in the gap after it.
    assert train[-1] + split.horizon < validation[0]
    assert validation[-1] + split.horizon < test[0]


@given(splits())
def test_origins_are_every_stride_days_wherever_all_targets_fit(split: Split) -> None:
    for part, origins in (
        ("validation", split.validation_origins),
        ("test", split.test_origins),
    ):
        days = parts(split)[part]
        first = days[0] - 1
        expected = [
            origin
            for origin in range(first, split.length, split.stride)
            if all(origin + step in days for step in range(1, split.horizon + 1))
        ]
        assert origins.tolist() == expected
        assert origins.dtype == np.int32
        assert len(origins) > 0


@given(st.integers(200, 3000), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
def test_dates_do_not_depend_on_the_unroll_length(
    length: int, horizon: int, shorter: int, longer: int
) -> None:
    # Every trial of a search is scored on the same target dates.
    first = (
        chronological_split(length, horizon=horizon, stride=7, history=shorter)
        if (length >= 2 * horizon + 6 * max(horizon, 60))
        else None
    )
    assume(first is not None)
    assert first == chronological_split(length, horizon=horizon, stride=7, history=longer)


@given(splits(), st.integers(1, 60))
def test_history_is_long_enough_for_the_longest_unroll(split: Split, history: int) -> None:
    usable = split.length - 2 * split.horizon
    fractions = {
        "train_fraction": split.train_stop / usable,
        "validation_fraction": (split.validation_stop - split.validation_start) / usable,
    }
    try:
        again = chronological_split(
            split.length, horizon=split.horizon, history=history, **fractions
        )
    except DataError:
        assert split.train_stop < history + 2
        return
    # Returns lose the first day; an unroll needs its inputs and one more day for the last label.
    assert again.train_stop - 1 >= history + 1
    assert again.validation_origins[0] >= history


def test_the_default_split_of_the_index() -> None:
    # By hand: 13,594 - 2 * 50 = 13,494 days outside the gaps; 60 % and 20 % of them are
    # 8,096.4 and 2,698.8.
    assert chronological_split(13_594) == Split(
        length=13_594,
        train_stop=8_096,
        validation_start=8_146,
        validation_stop=10_845,
        test_start=10_895,
        horizon=50,
        stride=10,
    )


def test_origins_by_hand() -> None:
    split = Split(
        length=24,
        train_stop=6,
        validation_start=8,
        validation_stop=14,
        test_start=16,
        horizon=2,
        stride=3,
    )
    # Targets of 7 are 8 and 9; 10 has 11 and 12; 13 would need day 15, outside the part.
    assert split.validation_origins.tolist() == [7, 10]
    assert split.test_origins.tolist() == [15, 18, 21]


@pytest.mark.parametrize(
    ("length", "arguments", "part", "days", "needed"),
    [
        # 20 days outside the gaps: 12 + 4 + 4.
        (30, {"horizon": 5, "history": 4}, "validation", 4, 5),
        (30, {"horizon": 5, "history": 11}, "training", 12, 13),
        (24, {"horizon": 2, "history": 4, "validation_fraction": 0.36}, "test", 1, 2),
        (4, {"horizon": 50, "history": 50}, "training", 0, 52),
        (0, {}, "training", 0, 52),
    ],
)
def test_too_short_a_series_is_refused_with_both_numbers(
    length: int, arguments: dict[str, float], part: str, days: int, needed: int
) -> None:
    with pytest.raises(DataError) as refusal:
        chronological_split(length, **arguments)  # type: ignore[arg-type]
    message = str(refusal.value)
    assert f"{length} rows leave {days} for the {part} part" in message
    assert f"needs at least {needed}" in message


def test_just_enough_days_are_accepted() -> None:
    # 25 outside the gaps: 15 + 5 + 5, each part exactly as long as it must be.
    split = chronological_split(35, horizon=5, history=13)
    assert (split.train_stop, len(split.validation_origins), len(split.test_origins)) == (15, 1, 1)
    for too_short in ({"length": 33, "history": 12}, {"length": 35, "history": 14}):
        with pytest.raises(DataError):
            chronological_split(horizon=5, **too_short)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"horizon": 0}, "horizon must be a whole number of at least 1, but got 0"),
        ({"stride": -3}, "stride must be a whole number of at least 1, but got -3"),
        ({"horizon": 2.5}, "horizon must be a whole number of at least 1, but got 2.5"),
        ({"history": 0}, "history must be a whole number of at least 1, but got 0"),
        ({"train_fraction": 0.0}, "got 0.0 and 0.2"),
        ({"train_fraction": 0.9}, "got 0.9 and 0.2"),
        ({"validation_fraction": -0.1}, "got 0.6 and -0.1"),
        ({"validation_fraction": 0.4}, "got 0.6 and 0.4"),
        ({"train_fraction": 0.7, "validation_fraction": 0.3}, "got 0.7 and 0.3"),
        ({"train_fraction": float("nan")}, "got nan and 0.2"),
        ({"validation_fraction": float("nan")}, "got 0.6 and nan"),
    ],
)
def test_parameters_out_of_range_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chronological_split(1000, **arguments)  # type: ignore[arg-type]


def replaced_after(prices: PriceSeries, day: int) -> PriceSeries:
    """The same series with other valid prices from ``day`` on."""
    other = random_walk(len(prices), seed=99)
    fields = {
        field: np.concatenate([getattr(prices, field)[:day], getattr(other, field)[day:]])
        for field in ("open", "high", "low", "close")
    }
    return dataclasses.replace(prices, **fields)


def buffers(array: NDArray[np.generic] | None) -> list[NDArray[np.generic]]:
    """An array and every array that it is a view of."""
    return [] if array is None else [array, *buffers(array.base)]  # type: ignore[arg-type]


def test_development_holds_the_days_before_the_test_and_no_other() -> None:
    prices = random_walk(400)
    split = chronological_split(400, horizon=10, stride=5, history=20)
    data = development(prices.series("mid"), split)
    stop = split.validation_stop
    np.testing.assert_array_equal(data.values, prices.mid[None, :stop])
    np.testing.assert_array_equal(data.dates, prices.dates[:stop])
    np.testing.assert_array_equal(data.values, prices.mid[None, : split.validation_stop])
    assert data.capacity == stop
    for array in (data.values[0], data.dates):
        assert all(len(buffer) <= stop for buffer in buffers(array))
    assert not np.shares_memory(data.values, prices.mid)
    assert not np.shares_memory(data.dates, prices.dates)


def test_other_test_prices_leave_no_trace_in_development() -> None:
    prices = random_walk(400)
    split = chronological_split(400, horizon=10, stride=5, history=20)
    other = replaced_after(prices, split.validation_stop)
    assert other.digest != prices.digest
    assert pickle.dumps(development(other.series("mid"), split)) == pickle.dumps(
        development(prices.series("mid"), split)
    )
    # Not vacuous: a single validation price does leave one.
    other = replaced_after(prices, split.validation_stop - 1)
    assert pickle.dumps(development(other.series("mid"), split)) != pickle.dumps(
        development(prices.series("mid"), split)
    )


COLUMNS = {"level": "target", "wind": "past", "sky": "past", "plan": "future", "open": "future"}


@pytest.mark.parametrize("gap", [0, 10])
@pytest.mark.parametrize("column", COLUMNS)
def test_other_rows_after_the_split_leave_no_trace_of_any_column(column: str, gap: int) -> None:
    rng = np.random.default_rng(0)
    split = chronological_split(400, horizon=10, history=20, gap=gap)
    frame = pd.DataFrame(
        {
            name: rng.choice(["a", "b"], size=400) if name in ("sky", "open") else rng.random(400)
            for name in COLUMNS
        },
        index=pd.date_range("2024-01-01", periods=400, freq="h"),
    )

    def held(start: int, *, new: bool = False) -> list[bytes]:
        other = frame.copy()
        other.loc[other.index[start:], column] = (
            "new" if new else other[column].to_numpy()[start:][::-1]
        )
        series = TimeSeries.from_frame(
            other, target="level", past=["wind", "sky"], future=["plan", "open"]
        )
        return [pickle.dumps(part) for part in development_folds(series, split, 2)]

    assert held(split.validation_stop) == held(400)
    assert held(split.validation_stop - 50)[-1] != held(400)[-1]
    if column in ("sky", "open"):
        assert held(split.validation_stop, new=True) == held(400)


def test_a_split_for_another_length_is_refused() -> None:
    split = chronological_split(400, horizon=10, history=20)
    with pytest.raises(ConfigError, match=r"399 rows of random_walk, but got 400"):
        development(random_walk(399).series("mid"), split)


@given(st.integers(1, 60), st.integers(1, 80))
def test_overlap_counts_the_origins_in_a_row_that_share_target_days(
    horizon: int, stride: int
) -> None:
    split = dataclasses.replace(chronological_split(1000), horizon=horizon, stride=stride)
    targets = set(range(1, horizon + 1))
    sharing = [
        number
        for number in range(horizon + 1)
        if targets & {number * stride + day for day in targets}
    ]
    assert sharing == list(range(split.overlap))


def most_folds(split: Split) -> int:
    """How many forecasts fit side by side into the validation part."""
    return len(parts(split)["validation"]) // split.horizon


@st.composite
def rolled(draw: st.DrawFn) -> tuple[Split, tuple[Split, ...]]:
    """Any split and its folds, as many as `walk_forward` accepts."""
    split = draw(splits())
    return split, walk_forward(split, draw(st.integers(1, most_folds(split))))


@given(rolled())
def test_blocks_are_equally_long_and_fill_the_validation_part_from_its_end(
    rolled: tuple[Split, tuple[Split, ...]],
) -> None:
    split, folds = rolled
    blocks = [parts(fold)["validation"] for fold in folds]
    assert len({len(block) for block in blocks}) == 1
    # One after another: no day twice and none left out but a few of the first.
    validation, scored = (
        list(parts(split)["validation"]),
        [day for block in blocks for day in block],
    )
    left_over = len(validation) - len(scored)
    assert scored == validation[left_over:]
    assert left_over < len(folds)


@given(rolled())
def test_every_fold_trains_on_all_days_up_to_its_gap(
    rolled: tuple[Split, tuple[Split, ...]],
) -> None:
    split, folds = rolled
    for fold in folds:
        assert fold.train_stop + split.horizon == fold.validation_start
    assert folds[0].train_stop >= split.train_stop
    assert all(before.train_stop < after.train_stop for before, after in pairwise(folds))


@given(rolled())
def test_no_target_leaves_its_block_and_every_fold_has_as_many_origins(
    rolled: tuple[Split, tuple[Split, ...]],
) -> None:
    split, folds = rolled
    for fold in folds:
        block, origins = parts(fold)["validation"], fold.validation_origins.tolist()
        expected = [
            origin
            for origin in range(block[0] - 1, block[-1], split.stride)
            if origin + 1 in block and origin + split.horizon in block
        ]
        assert origins == expected
        assert len(origins) == len(folds[0].validation_origins) > 0


@given(rolled())
def test_folds_leave_the_test_part_as_it_is(rolled: tuple[Split, tuple[Split, ...]]) -> None:
    split, folds = rolled
    for fold in folds:
        assert parts(fold)["test"] == parts(split)["test"]
        assert fold.test_origins.tolist() == split.test_origins.tolist()
        assert (fold.length, fold.horizon, fold.stride) == (
            split.length,
            split.horizon,
            split.stride,
        )


@given(splits())
def test_one_fold_is_the_split_itself(split: Split) -> None:
    assert walk_forward(split, 1) == (split,)


def test_three_folds_of_the_index() -> None:
    # By hand: 10,845 - 8,146 = 2,699 validation days are 3 * 899 and 2 left over, so that the
    # blocks start on 8,148, 9,047 and 9,946, each 50 days after its training.
    split = chronological_split(13_594)
    folds = walk_forward(split, np.int64(3))  # type: ignore[arg-type]
    assert folds == tuple(
        dataclasses.replace(split, train_stop=train, validation_start=start, validation_stop=stop)
        for train, start, stop in (
            (8_098, 8_148, 9_047),
            (8_997, 9_047, 9_946),
            (9_896, 9_946, 10_845),
        )
    )


@given(splits(), st.integers(1, 100))
def test_too_many_folds_are_refused_with_both_numbers(split: Split, more: int) -> None:
    days, most = len(parts(split)["validation"]), most_folds(split)
    folds = most + more
    with pytest.raises(DataError) as refusal:
        walk_forward(split, folds)
    message = str(refusal.value)
    assert f"{days} validation rows leave {days // folds} for each of {folds} folds" in message
    assert f"needs at least {split.horizon};" in message
    assert len(walk_forward(split, most)) == most


@pytest.mark.parametrize("folds", [0, -1, 1.5, 2.0, True, "2", None])
def test_folds_must_be_a_count(folds: Any) -> None:
    prices, split = random_walk(400), chronological_split(400, horizon=10, history=20)
    for cut in (
        lambda: walk_forward(split, folds),
        lambda: development_folds(prices.series("mid"), split, folds),
    ):
        with pytest.raises(ConfigError) as refusal:
            cut()
        message = f"folds must be a whole number of at least 1, but got {folds!r}"
        assert str(refusal.value) == message


def test_a_fold_holds_the_days_up_to_its_block_and_no_other() -> None:
    prices = random_walk(400)
    split = chronological_split(400, horizon=10, stride=5, history=20)
    folds = development_folds(prices.series("mid"), split, 3)
    # 380 days outside the gaps: 228, then 76 from day 238 on, which are 3 * 25 and 1 left over.
    assert [fold.split.validation_stop for fold in folds] == [264, 289, 314]
    assert tuple(fold.split for fold in folds) == walk_forward(split, 3)
    for fold in folds:
        stop = fold.split.validation_stop
        np.testing.assert_array_equal(fold.values, prices.mid[None, :stop])
        np.testing.assert_array_equal(fold.dates, prices.dates[:stop])
        for array in (fold.values[0], fold.dates):
            assert all(len(buffer) <= stop for buffer in buffers(array))
        # Room for the longest fold, so that one compiled program trains them all.
        assert fold.capacity == 314


def test_other_prices_leave_a_trace_in_later_folds_alone() -> None:
    prices = random_walk(400)
    split = chronological_split(400, horizon=10, stride=5, history=20)
    folds = development_folds(prices.series("mid"), split, 3)
    for number, fold in enumerate(folds):
        other = replaced_after(prices, fold.split.validation_stop)
        assert other.digest != prices.digest
        traces = [
            pickle.dumps(theirs) != pickle.dumps(ours)
            for theirs, ours in zip(
                development_folds(other.series("mid"), split, 3), folds, strict=True
            )
        ]
        # After the last fold come the test prices: no trace in any.
        assert traces == [later > number for later in range(3)]


def test_a_fold_whose_prices_stand_still_is_refused_by_its_days() -> None:
    prices = random_walk(400)
    split = chronological_split(400, horizon=10, stride=5, history=20)
    fields = {field: getattr(prices, field).copy() for field in ("open", "high", "low", "close")}
    for values in fields.values():
        values[263:289] = 100.0  # from the first origin of the second fold to its last day
    still = dataclasses.replace(prices, **fields)
    development(still.series("mid"), split)
    with pytest.raises(DataError, match=r"rows 264 to 288, must change .* but stand still"):
        development_folds(still.series("mid"), split, 3)


def test_parts_by_rows_leave_out_what_comes_after() -> None:
    split = chronological_split(
        17_420, horizon=96, stride=1, history=336, gap=0, rows=(8640, 2880, 2880)
    )
    assert (split.train_stop, split.validation_start, split.validation_stop) == (8640, 8640, 11_520)
    assert (split.test_start, split.test_stop, split.left_out) == (11_520, 14_400, 3020)
    assert (len(split.validation_origins), len(split.test_origins)) == (2785, 2785)
    assert split.test_origins[-1] + split.horizon == split.test_stop - 1


@pytest.mark.parametrize("gap", [None, 0, 3, 30])
def test_rows_are_those_of_the_parts_and_gaps_lie_between(gap: int | None) -> None:
    split = chronological_split(400, horizon=10, history=20, gap=gap, rows=(200, 50, 60))
    between = 10 if gap is None else gap
    assert split.gap == split.test_start - split.validation_stop == between
    assert split.train_stop == 200
    assert split.validation_stop - split.validation_start == 50
    assert split.test_stop - split.test_start == 60
    assert split.left_out == 400 - 310 - 2 * between
    for fold in walk_forward(split, 3):
        assert fold.gap == between


@pytest.mark.parametrize("gap", [0, 5, 10, 40])
def test_shares_are_of_the_rows_outside_the_gaps(gap: int) -> None:
    split = chronological_split(400, horizon=10, history=20, gap=gap)
    assert split.left_out == 0
    assert split.train_stop == round((400 - 2 * gap) * 0.6)
    assert split.test_start - split.validation_stop == gap
    if gap == 10:
        assert split == chronological_split(400, horizon=10, history=20)


def test_parts_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError, match="200, 150 and 60 rows and 2 gaps of 10 are 430, but there"):
        chronological_split(400, horizon=10, history=20, rows=(200, 150, 60))
    with pytest.raises(DataError, match="400 rows leave 5 for the test part"):
        chronological_split(400, horizon=10, history=20, rows=(200, 50, 5))
    with pytest.raises(
        ConfigError, match="rows must be three counts, train, validation, test, but"
    ):
        chronological_split(400, horizon=10, history=20, rows=(200, 50))
    with pytest.raises(ConfigError, match="gap must be a whole number of at least 0, but got -1"):
        chronological_split(400, horizon=10, history=20, gap=-1)


def test_parts_by_dates() -> None:
    hours = pd.date_range("2024-01-01", "2024-12-31 23:00", freq="h")
    ends = {"train_end": "2024-06-30", "validation_end": "2024-08"}
    train, validation, test = rows_until(hours, 24, **ends)
    assert str(hours[train - 1]) == "2024-06-30 23:00:00"
    assert str(hours[train + 24 + validation - 1]) == "2024-08-31 23:00:00"
    assert train + validation + test + 48 == len(hours)
    some = rows_until(hours, 24, **ends, test_end=pd.Timestamp("2024-10-01 05:00"))
    assert str(hours[sum(some) + 48 - 1]) == "2024-10-01 05:00:00"
    split = chronological_split(len(hours), horizon=24, history=100, rows=some)
    assert split.left_out == len(hours) - sum(some) - 48
    berlin = hours.tz_localize("Asia/Tokyo")
    assert rows_until(berlin, 24, **ends) == (train, validation, test)
    counts = pd.Index(range(100, 200))
    assert rows_until(counts, 0, train_end="149", validation_end=169) == (50, 20, 30)


def test_dates_that_are_none_are_refused() -> None:
    days = pd.date_range("2024-01-01", periods=100)
    with pytest.raises(
        ConfigError, match=r"train_end must be a time written like 2024-04-09T.* got 'Mayo'"
    ):
        rows_until(days, 0, train_end="Mayo", validation_end="2024-03")
    with pytest.raises(ConfigError, match=r"validation_end must be a time written .* but got 17"):
        rows_until(days, 0, train_end="2024-01", validation_end=17)
    with pytest.raises(ConfigError, match=r"must follow one another, more than 40 rows apart"):
        rows_until(days, 40, train_end="2024-01", validation_end="2024-02")


def test_an_end_is_read_as_iso_8601_alone_and_a_day_whole() -> None:
    hours = pd.date_range("2024-01-01", periods=24 * 200, freq="h")
    ends = {"validation_end": "2024-03", "test_end": "2024-04"}
    day = pd.Timestamp("2024-02-02 23:00")
    for end in ("2024-02-02", day.date(), "2024-02-02T23:00", day):
        assert rows_until(hours, 0, train_end=end, **ends)[0] == 33 * 24
        zoned = hours.tz_localize("Asia/Tokyo")
        assert rows_until(zoned, 0, train_end=end, **ends)[0] == 33 * 24
    with pytest.raises(ConfigError, match=r"train_end must be a time written like 2024-07-18T23"):
        rows_until(hours, 0, train_end="02/01/2024", **ends)
