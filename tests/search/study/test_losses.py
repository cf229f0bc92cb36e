"""Losses that anybody's objective records: what is kept, and what is refused in one line."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import Trial

from foretune.datasets import load_sample
from foretune.datasets.common.errors import ConfigError
from foretune.search import SearchSpace, record_losses, run_study
from foretune.search.report.evidence import scored_trials
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.losses import load_baseline_losses, load_losses, recorded_spacing

FINITE = st.floats(-1e100, 1e100, allow_nan=False)


@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=20))
def test_losses_come_back_to_the_last_bit(rows: list[tuple[float, float, float]]) -> None:
    own, naive, other = np.array(rows).T
    study = optuna.create_study()
    trial = study.ask()
    baselines = {"naive, as ever": naive, 'the "other"\n': other}
    record_losses(trial, own, benchmark=baselines, horizon=3, stride=np.int64(2))
    study.tell(trial, 0.0)
    (kept,) = load_losses(storage_of(study), study.trials[0], "loss", least=-1e100)
    assert kept.tobytes() == own.tobytes()
    assert {n: v.tobytes() for n, v in load_baseline_losses(study).items()} == {
        n: v.tobytes() for n, v in baselines.items()
    }
    assert recorded_spacing(study) == (3, 2)


def test_lists_and_columns_of_pandas_are_taken() -> None:
    import pandas as pd

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
        study.tell(trial, [0.1, 0.3, 0.2][number])
    found = scored_trials(study)
    assert found.benchmark == "b"
    assert [trial.number for trial in found.trials] == [1, 2, 0]


ONES = np.ones(4)


@pytest.mark.parametrize(
    ("losses", "benchmark", "options", "said"),
    [
        ([[1.0, 2.0]], ONES, {}, r"losses must be one number for each .*, but has shape \(1, 2\)"),
        ([], [], {}, r"losses must be one number for each forecast origin, but has shape \(0,\)"),
        (["a"], ONES, {}, r"losses must be numbers, but got \['a'\]"),
        (np.array([1, np.nan, 1, 1]), ONES, {}, "losses must be finite, .* but number 1 is nan"),
        (ONES, np.array([1, 1, np.inf, 1]), {}, "losses of the benchmark must be finite, .* 2 is"),
        (ONES, np.ones(5), {}, "losses of the benchmark must be of the trial's 4 forecast origins"),
        (ONES, {}, {}, "benchmark must hold the losses of at least 1 forecast, but got none"),
        (ONES, {"ridge": [1.0]}, {}, "losses of ridge must be of the trial's 4 .* are of 1"),
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
    assert not study.user_attrs


@pytest.mark.parametrize(
    ("benchmark", "options", "said"),
    [
        (ONES, {"horizon": 2}, "horizon and stride of every trial of study 's' must be .*but got"),
        (ONES, {"stride": 2}, "horizon and stride of every trial"),
        (2 * ONES, {}, "benchmark of every trial of study 's' must have the same losses"),
        ({"ridge": ONES}, {}, "of study 's' must be 'the benchmark', but got ridge"),
    ],
)
def test_trials_of_other_origins_are_refused(
    benchmark: Any, options: Mapping[str, Any], said: str
) -> None:
    study = optuna.create_study(study_name="s")

    def objective(trial: Trial) -> float:
        first = trial.number == 0
        record_losses(
            trial,
            ONES,
            benchmark=ONES if first else benchmark,
            **{"horizon": 1, "stride": 1} | ({} if first else dict(options)),
        )
        return 1.0

    study.optimize(objective, n_trials=1)
    with pytest.raises(ConfigError, match=said):
        study.optimize(objective, n_trials=1)
    assert recorded_spacing(study) == (1, 1)


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
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        workers=1,
    )
    with pytest.raises(ConfigError, match="is one that foretune runs"):
        record_losses(study.ask(), ONES, benchmark=ONES)
    assert "ridge on lags" in load_baseline_losses(study)
