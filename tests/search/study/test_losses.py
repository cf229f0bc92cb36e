"""Losses that anybody's objective records: what is kept, and what is refused in one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FixedTrial, Trial

from foretune.datasets import load_sample
from foretune.datasets.common.errors import ConfigError
from foretune.search import SearchSpace, load_study, record_losses, run_study, verdict
from foretune.search.report.evidence import scored_trials
from foretune.search.study.losses import (
    load_baseline_losses,
    recorded_losses,
    recorded_spacing,
)

FINITE = st.floats(-1e100, 1e100, allow_nan=False)
ONES = np.ones(4)


@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=20))
def test_losses_come_back_to_the_last_bit(rows: list[tuple[float, float, float]]) -> None:
    own, naive, other = np.array(rows).T
    study = optuna.create_study()
    trial = study.ask()
    baselines = {"naive, as ever": naive, 'the "other" <ä>': other}
    record_losses(trial, own, benchmark=baselines, horizon=3, stride=np.int64(2))
    study.tell(trial, 0.0)
    assert recorded_losses(study.trials[0], len(own)).tobytes() == own.tobytes()
    assert {n: v.tobytes() for n, v in load_baseline_losses(study).items()} == {
        n: v.tobytes() for n, v in baselines.items()
    }
    assert recorded_spacing(study) == (3, 2)


def objective(trial: Trial) -> float:
    own = np.square(np.random.default_rng(trial.number).standard_normal(50))
    record_losses(trial, own, benchmark=np.square(np.random.default_rng(99).standard_normal(50)))
    return float(own.mean())


@pytest.mark.parametrize("kind", ["memory", "sqlite", "journal"])
def test_any_storage_keeps_them_also_from_several_threads(kind: str, tmp_path: Path) -> None:
    storage: Any = {
        "memory": InMemoryStorage,
        "sqlite": lambda: f"sqlite:///{tmp_path / 's.db'}",
        "journal": lambda: JournalStorage(JournalFileBackend(str(tmp_path / "s.log"))),
    }[kind]()
    study = optuna.create_study(study_name="s", storage=storage)
    study.optimize(objective, n_trials=24, n_jobs=4)
    if kind == "journal":  # as another process reads it
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "s.log")))
    found = scored_trials(load_study("s", storage))
    assert found.losses.shape == (50, 24)
    assert not found.left_out
    best = min(study.trials, key=lambda trial: trial.value or 0)
    assert verdict(study).trial == best.number
    assert verdict(study).value == pytest.approx(best.value)


def test_a_copied_study_goes_on(tmp_path: Path) -> None:
    study = optuna.create_study(study_name="s", storage=f"sqlite:///{tmp_path / 'a.db'}")
    study.optimize(objective, n_trials=2)
    to = f"sqlite:///{tmp_path / 'b.db'}"
    optuna.copy_study(
        from_study_name="s", from_storage=f"sqlite:///{tmp_path / 'a.db'}", to_storage=to
    )
    copy = optuna.load_study(study_name="s", storage=to)
    assert str(verdict(copy)) == str(verdict(study))
    copy.optimize(objective, n_trials=1)
    assert verdict(copy).trials == 3


def test_lists_and_columns_of_pandas_are_taken() -> None:
    study = optuna.create_study()
    trial = study.ask()
    record_losses(trial, [1, 2, 3], benchmark=pd.Series([2.0, 3.0, 4.0], index=[7, 8, 9]))
    study.tell(trial, 2.0)
    found = scored_trials(study)
    np.testing.assert_array_equal(found.losses, [[1.0], [2.0], [3.0]])
    assert found.benchmark == "the benchmark"


def test_the_best_of_several_benchmarks_is_the_benchmark() -> None:
    study = optuna.create_study(direction="maximize")
    for number in range(3):
        trial = study.ask()
        losses = np.full(4, [3.0, 1.0, 2.0][number])
        record_losses(trial, losses, benchmark={"a": np.full(4, 5.0), "b": np.full(4, 4.0)})
        study.tell(trial, [0.1, 0.2, 0.3][number])
    found = scored_trials(study)
    assert found.benchmark == "b"
    assert [trial.number for trial in found.trials] == [1, 2, 0]
    assert str(verdict(study)).endswith("By its value trial 2 is the study's best.")


MASKED = np.ma.masked_array(np.ones(4), mask=[0, 0, 1, 0])


@pytest.mark.parametrize(
    ("losses", "benchmark", "options", "said"),
    [
        ([[1.0, 2.0]], ONES, {}, r"losses must be one number for each .*, but has shape \(1, 2\)"),
        ([], [], {}, r"losses must be one number for each forecast origin, but has shape \(0,\)"),
        (["a"], ONES, {}, r"losses must be real numbers, but got \['a'\]"),
        (ONES * 1j, ONES, {}, "losses must be real numbers, but got"),
        (pd.date_range("2020", periods=4), ONES, {}, "losses must be real numbers, but got Date"),
        (np.array([1, np.nan, 1, 1]), ONES, {}, "losses must be finite, .* but number 1 is nan"),
        (MASKED, ONES, {}, "losses must be finite, .* but number 2 is nan"),
        (ONES, np.array([1, 1, np.inf, 1]), {}, "losses of the benchmark must be finite, .* 2 is"),
        (ONES, np.ones(5), {}, "losses of the benchmark must be of the trial's 4 forecast origins"),
        (ONES, {}, {}, "benchmark must hold the losses of at least 1 forecast, but got none"),
        (ONES, {"ridge": [1.0]}, {}, "losses of ridge must be of the trial's 4 .* are of 1"),
        (ONES, {" ": ONES}, {}, "names of benchmarks must be printable text, but got ' '"),
        (ONES, {"a\rb": ONES}, {}, "names of benchmarks must be printable text, but got 'a"),
        (ONES, {1: ONES}, {}, "names of benchmarks must be printable text, but got 1"),
        (ONES, ONES, {"horizon": 0}, "horizon must be"),
        (ONES, ONES, {"stride": 1.5}, "stride must be"),
    ],
)
def test_what_cannot_be_judged_is_refused_and_nothing_is_kept(
    losses: Any, benchmark: Any, options: Mapping[str, Any], said: str
) -> None:
    study = optuna.create_study()
    trial = study.ask()
    with pytest.raises(ConfigError, match=said):
        record_losses(trial, losses, benchmark=benchmark, **options)
    assert load_baseline_losses(study) == {}
    assert study.trials[0].system_attrs == {}
    # To try an objective, as Optuna's tutorial does: the same is refused.
    with pytest.raises(ConfigError, match=said):
        record_losses(FixedTrial({}), losses, benchmark=benchmark, **options)


def test_a_fixed_trial_has_no_study_to_keep_them() -> None:
    record_losses(FixedTrial({}), ONES, benchmark=ONES)
    with pytest.raises(ConfigError, match="trial must be a running trial of Optuna, but got"):
        record_losses(optuna.create_study(), ONES, benchmark=ONES)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("benchmark", "options", "said"),
    [
        (ONES, {"horizon": 2}, r"stride of every .* 's' must be the same, \[1, 1\], but are \[2"),
        (ONES, {"stride": 2}, "horizon and stride of every trial"),
        (np.array([1, 1, 3, 4]), {}, "same, but 2 of 4 differ, the first at origin 2: 1.0 before"),
        ({"ridge": ONES}, {}, "of study 's' must be the benchmark, but got ridge; begin a new"),
    ],
)
def test_trials_of_other_origins_are_refused_once_one_is_complete(
    benchmark: Any, options: Mapping[str, Any], said: str
) -> None:
    study = optuna.create_study(study_name="s")

    def record(trial: Trial, losses: Any, **other: Any) -> float:
        record_losses(trial, ONES, benchmark=losses, **other)
        return 1.0

    with pytest.raises(ZeroDivisionError):  # the first one is wrong, and fails
        study.optimize(lambda trial: record(trial, 7 * ONES) / 0, n_trials=1)
    study.optimize(lambda trial: record(trial, ONES), n_trials=1)
    with pytest.raises(ConfigError, match=said):
        study.optimize(lambda trial: record(trial, benchmark, **options), n_trials=1)
    assert recorded_spacing(study) == (1, 1)
    np.testing.assert_array_equal(load_baseline_losses(study)["the benchmark"], ONES)


def test_a_study_without_losses_says_what_it_lacks() -> None:
    study = optuna.create_study(study_name="s")
    study.optimize(lambda _: 1.0, n_trials=1)
    with pytest.raises(ConfigError, match="'s' must be one that foretune made, or whose objective"):
        scored_trials(study)


def test_a_study_that_foretune_runs_records_its_own(tiny_space: SearchSpace) -> None:
    study = run_study(
        "s",
        load_sample("random_walk", length=300),
        n_trials=1,
        space=tiny_space,
        epochs=1,
        horizon=5,
        storage=InMemoryStorage(),
        show_progress_bar=False,
        workers=1,
    )
    with pytest.raises(ConfigError, match="is one that foretune runs"):
        record_losses(study.ask(), ONES, benchmark=ONES)
    assert "ridge on lags" in load_baseline_losses(study)
