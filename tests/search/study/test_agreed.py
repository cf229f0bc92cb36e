"""What a new study of several series needs of each: rows to train on, values that change, times."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.datasets import Panel, TimeSeries, load_sample
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.splits import chronological_split, development
from foretune.datasets.transforms import LOG
from foretune.search import SearchSpace, replay, run_study
from foretune.search.study.agreed import agreed_spec
from foretune.search.study.spec import StudySpec, required_spec

QUIET: dict[str, Any] = {"n_trials": 1, "horizon": 5, "workers": 1, "show_progress_bar": False}


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(**lengths: int) -> pd.DataFrame:
    """Hours that end together."""
    parts = []
    for number, (key, rows) in enumerate(lengths.items()):
        when = pd.date_range(end="2024-03-31 23:00", periods=rows, freq="h")
        values = np.random.default_rng(number).normal(size=rows)
        parts.append(pd.DataFrame({"unique_id": key, "ds": when, "y": values}))
    return pd.concat(parts, ignore_index=True)


def spec_of(data: Any, space: SearchSpace, **split: Any) -> StudySpec:
    return agreed_spec(
        None, data, {"horizon": 5} | split, space=space, epochs=None, seed=None, target=None
    )[0]


def test_rows_are_counted_from_the_end_of_each_series(tiny_space: SearchSpace) -> None:
    panel = Panel.from_frame(table(a=200, b=120, c=180))
    spec = spec_of(panel, tiny_space, split="rest,20,30", gap=0)
    assert spec.split.rows == (150, 20, 30)
    assert (spec.prices.days, spec.prices.series_count) == (200, 3)
    (data,) = spec.development(panel)
    for one, values, first in zip(panel, data.values, data.firsts, strict=True):
        np.testing.assert_array_equal(values[first:], one.target[:-30])


def test_series_without_a_window_to_train_on_are_counted_and_named(
    tiny_space: SearchSpace,
) -> None:
    """A recursive network of 8 rows reads 10 in all: each of 8, a label, and a row for changes."""
    lengths = {"a": 200, "b": 60, "c": 59, "d": 51, "e": 52, "f": 40}
    space = tiny_space.fix(head="recursive")
    with pytest.raises(DataError) as caught:
        spec_of(Panel.from_frame(table(**lengths)), space, split="rest,20,30", gap=0)
    assert str(caught.value) == (
        "4 of 6 series have fewer than the 10 training rows of a window, 8 rows and what follows "
        "them: c (9), d (1), e (2), ...; leave them out with short='drop', least=60 (--short drop "
        "--least 60), or give a shorter unroll_length"
    )
    # The remedy is one.
    with pytest.warns(UserWarning, match="4 of 6 series have fewer than 60 rows"):
        panel = Panel.from_frame(table(**lengths), short="drop", least=60)
    study = run_study("s", panel, **QUIET, space=space.fix(epochs=1), split="rest,20,30", gap=0)
    assert np.isfinite(study.best_value)


def test_a_direct_head_needs_all_steps_ahead(tiny_space: SearchSpace) -> None:
    space = tiny_space.fix(head="direct", scaling="standard", segment_length=1)
    with pytest.raises(
        DataError, match=r"the 13 training rows of a window.*: b \(12\); .* least=63 "
    ):
        spec_of(Panel.from_frame(table(a=200, b=62)), space, split="rest,20,30", gap=0)
    spec_of(Panel.from_frame(table(a=200, b=63)), space, split="rest,20,30", gap=0)


def test_values_that_stand_still_are_counted_and_named() -> None:
    rows = table(a=200, b=200, c=180, d=200)
    rows.loc[(rows["unique_id"] == "b") & (rows["ds"] < "2024-03-30"), "y"] = 3.0
    rows.loc[(rows["unique_id"] == "d") & (rows["ds"] > "2024-03-28"), "y"] = 3.0
    split = chronological_split(200, horizon=5, history=8)
    with pytest.raises(DataError) as caught:
        development(Panel.from_frame(rows), split)
    assert str(caught.value) == (
        "the values of 2 of 4 series stand still in all their training rows, or after every "
        "validation origin, where nothing can be measured; leave them out by leave_out=['b', 'd'] "
        "(--leave-out, once for each)"
    )
    panel = Panel.from_frame(rows, leave_out=["b", "d"])
    assert development(panel, split).names == ("a", "c")


def test_times_end_parts_where_a_row_is_one_time(tiny_space: SearchSpace) -> None:
    aligned = Panel.from_frame(table(a=200, b=150))
    spec = spec_of(aligned, tiny_space, train_end="2024-03-28", validation_end="2024-03-30")
    # By hand: 8 days and 8 hours before the end of the 31st begin at the 23rd, 16:00.
    train = int((aligned.time < pd.Timestamp("2024-03-29")).sum())
    assert spec.split.rows == (train, 200 - 24 - train - 5, 24 - 5)
    moved = table(a=200, b=150)
    moved.loc[moved["unique_id"] == "b", "ds"] -= pd.Timedelta(days=1)
    with pytest.raises(ConfigError, match=r"^train_end must not be given for panel, .* \(--split"):
        spec_of(
            Panel.from_frame(moved), tiny_space, train_end="2024-03-28", validation_end="2024-03-30"
        )


def test_shares_are_a_panel_with_errors_of_logarithms(tiny_space: SearchSpace) -> None:
    walks = [load_sample("random_walk", length=300 + 20 * seed, seed=seed) for seed in range(3)]
    named = [
        TimeSeries(
            name=f"w{number}",
            time=close.time,
            target=close.target,
            calendar=close.calendar,
            error_space="log",
            target_name=close.target_name,
            source="simulated",
        )
        for number, close in enumerate(walk.series("close") for walk in walks)
    ]
    panel = Panel(name="walks", series=tuple(named), source="simulated")
    study = run_study("s", panel, **QUIET, space=tiny_space)
    spec = required_spec(study)
    assert (spec.prices.space, spec.prices.target, spec.prices.series_count) == (
        "log",
        "close price",
        3,
    )
    (data,) = spec.development(panel)
    assert data.spaces == (LOG,) * 3
    assert replay(study, 0).is_identical
    with pytest.raises(DataError, match=r"must be TimeSeries, but got PriceSeries; prices\.series"):
        Panel(name="walks", series=tuple(walks), source="simulated")  # type: ignore[arg-type]


def test_where_lengths_differ_parts_are_counted_from_the_end(tiny_space: SearchSpace) -> None:
    panel = Panel.from_frame(table(a=600, b=220, c=200))
    spec = spec_of(panel, tiny_space, gap=0)
    assert spec.split.rows == (512, 44, 44)  # a fifth of 220 rows each
    same = spec_of(Panel.from_frame(table(a=200, b=200)), tiny_space, gap=0)
    assert (same.split.rows, same.split.train_fraction) == (None, 0.6)


def test_the_default_context_of_a_short_panel_is_whole_segments() -> None:
    """Rounded up to segments of 24 rows, 25 would be 48: more than 64 rows and 12 lags leave."""
    panel = Panel.from_frame(table(**{f"s{number}": 120 for number in range(20)}))
    spec = spec_of(panel, SearchSpace(), horizon=7)
    assert spec.whole_split.train_stop == 64
    assert spec.space.segment_length == 24
    # Half of the rows train for 7 steps from 64 // 2 - 7 = 25 rows, of which 24 are whole segments.
    assert spec.space.history == 24
