"""Splits: nothing is seen by two parts, and trials never hold a test day."""

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from foretune.datasets.errors import ConfigError, DataError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.samples import random_walk
from foretune.datasets.splits import Split, chronological_split, development


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
    assert f"{length} days leave {days} for the {part} part" in message
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
        ({"horizon": 0}, "horizon must be whole days, at least 1, but got 0"),
        ({"stride": -3}, "stride must be whole days, at least 1, but got -3"),
        ({"horizon": 2.5}, "horizon must be whole days, at least 1, but got 2.5"),
        ({"history": 0}, "history must be whole days, at least 1, but got 0"),
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
    data = development(prices, split)
    stop = split.validation_stop
    np.testing.assert_array_equal(data.mid, prices.mid[:stop])
    np.testing.assert_array_equal(data.dates, prices.dates[:stop])
    np.testing.assert_array_equal(data.mid, prices.mid[: split.validation_stop])
    for array in (data.mid, data.dates):
        assert all(len(buffer) <= stop for buffer in buffers(array))
    assert not np.shares_memory(data.mid, prices.mid)
    assert not np.shares_memory(data.dates, prices.dates)


def test_other_test_prices_leave_no_trace_in_development() -> None:
    prices = random_walk(400)
    split = chronological_split(400, horizon=10, stride=5, history=20)
    other = replaced_after(prices, split.validation_stop)
    assert other.digest != prices.digest
    assert pickle.dumps(development(other, split)) == pickle.dumps(development(prices, split))
    # Not vacuous: a single validation price does leave one.
    other = replaced_after(prices, split.validation_stop - 1)
    assert pickle.dumps(development(other, split)) != pickle.dumps(development(prices, split))


def test_a_split_for_another_length_is_refused() -> None:
    split = chronological_split(400, horizon=10, history=20)
    with pytest.raises(ConfigError, match=r"399 days of random_walk, but got 400"):
        development(random_walk(399), split)
