"""The test part has one door, and whoever goes through it is written down."""

import ast
import re
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import optuna
import pandas as pd
import pytest
from small_study import data_of

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import chronological_split
from foretune.datasets.transforms import ScalingName
from foretune.models import TrialConfig
from foretune.search import SearchSpace, best_config, run_study
from foretune.search.report import access_log
from foretune.search.report.held_out import HeldOutTest
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.baselines import stored_baselines
from foretune.search.study.losses import load_losses

ROOT = Path(__file__).parents[3]
PARTS = ("datasets", "models", "search", "studies")


def imports_of(module: str) -> set[str]:
    """The foretune modules that ``module`` imports anywhere in its text."""
    file = ROOT / (module.removeprefix("foretune.").replace(".", "/") + ".py")
    if not file.exists():
        file = file.with_suffix("") / "__init__.py"
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("foretune.") and exists(name)}


def exists(module: str) -> bool:
    path = ROOT / module.removeprefix("foretune.").replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def reachable(*modules: str) -> set[str]:
    found, new = set[str](), set(modules)
    while new:
        found |= new
        new = {name for module in new for name in imports_of(module)} - found
    return found


def test_code_that_runs_trials_cannot_reach_the_test() -> None:
    """Neither the driver nor a task imports the door, by whatever way."""
    trials = reachable("foretune.search.run", "foretune.models.training.tasks")
    assert "foretune.search.trial.objective" in trials
    assert "foretune.models.training.loop" in trials
    assert "foretune.search.report.held_out" not in trials
    assert "foretune.search.report.report" not in trials
    # This look-up sees the door where it is used.
    assert "foretune.search.report.held_out" in reachable("foretune.search.report.report")


def test_test_origins_are_used_behind_the_door_and_in_two_demonstrations() -> None:
    users = {
        str(file.relative_to(ROOT))
        for part in PARTS
        for file in (ROOT / part).rglob("*.py")
        if "test_origins" in file.read_text()
    }
    shown = {"studies/leakage.py", "studies/tutorial.py"}  # what a leak does
    # models/forecasts/predict.py has it in its docstring's example.
    assert users - {"models/forecasts/predict.py"} == {
        "datasets/splits.py",
        "models/forecasts/baselines.py",  # which are given what the door has let through
        "search/report/held_out.py",
        *shown,
    }


def test_the_whole_data_are_read_where_the_test_is_opened_and_where_a_model_is_made() -> None:
    users = {
        str(file.relative_to(ROOT))
        for part in PARTS
        for file in (ROOT / part).rglob("*.py")
        if re.search(r"\.whole\b", file.read_text())
    }
    assert users == {
        "search/study/data.py",  # stores what a user has given
        "search/report/held_out.py",
        "search/cli/forecast.py",
    }


def test_an_opening_is_recorded_with_time_trial_and_config(walk: PriceSeries) -> None:
    study = optuna.create_study()
    split = chronological_split(len(walk), horizon=5, history=8)
    assert access_log.read_access_log(study, prices=walk.digest) == []
    data = data_of(walk.series("mid"), split.validation_stop)
    opened = HeldOutTest.open(study, data, split, trial=3, config=TrialConfig(seed=1))
    HeldOutTest.open(study, data, split, trial=4, config=TrialConfig(seed=2))
    first, second = access_log.read_access_log(study, prices=walk.digest)
    assert {first.trial, second.trial} == {3, 4}
    assert first.time <= second.time
    assert len({first.config_digest, second.config_digest}) == 2
    # Written by hand: the growth from the first origin, the day before the test part, on.
    log = np.log(walk.mid)
    start = split.test_start
    assert opened.origins[0] == start - 1
    np.testing.assert_allclose(opened.actual[0, 0], log[start : start + 5] - log[start - 1])


def test_an_opening_counts_even_if_what_follows_fails(walk: PriceSeries) -> None:
    def fail() -> TimeSeries:
        raise RuntimeError

    study = optuna.create_study()
    split = chronological_split(len(walk), horizon=5, history=8)
    data = replace(data_of(walk.series("mid"), 397), whole=fail)
    opened = HeldOutTest.open(study, data, split, trial=0, config=TrialConfig())
    with pytest.raises(RuntimeError):
        print(opened.values)
    assert len(access_log.read_access_log(study, prices=walk.digest)) == 1


def test_no_opening_is_lost_when_processes_open_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    optuna.create_study(study_name="s", storage=url)
    code = f"""
from foretune.datasets import load_sample
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import chronological_split
from foretune.datasets.transforms import ScalingName
from foretune.models import TrialConfig
from foretune.search import load_study
from foretune.search.report.held_out import HeldOutTest
from foretune.search.study.data import StudyData
prices = load_sample("random_walk", length=500)
split = chronological_split(500, horizon=5, history=8)
study = load_study("s", {url!r})
mid = prices.series("mid")
data = StudyData(development=mid, time=mid.time, digest=mid.digest, whole=lambda: mid)
for number in range(10):
    HeldOutTest.open(study, data, split, trial=number, config=TrialConfig())
"""
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    digest = load_sample("random_walk", length=500).digest
    study = optuna.load_study(study_name="s", storage=url)
    assert len(access_log.read_access_log(study, prices=digest)) == 20
    assert access_log.read_access_log(study, prices="another") == []


def test_other_test_prices_change_nothing_in_any_fold(
    walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    split = chronological_split(len(walk), horizon=5, history=8)

    def stored(prices: PriceSeries) -> tuple[object, ...]:
        study = run_study(
            "s",
            prices,
            space=tiny_space,
            n_trials=3,
            horizon=5,
            folds=3,
            workers=1,
            storage=optuna.storages.InMemoryStorage(),
            show_progress_bar=False,
            target="mid",
        )
        losses = [
            load_losses(storage_of(study), trial, "loss")[0].tobytes() for trial in study.trials
        ]
        values = [(t.value, t.intermediate_values, t.params) for t in study.trials]
        return values, losses, best_config(study)

    untouched = stored(walk)
    assert stored(changed(walk, split.test_start)) == untouched
    # The comparison sees a change of validation prices.
    assert stored(changed(walk, split.validation_start + 5)) != untouched


def test_no_later_row_of_any_column_reaches_any_transform(tiny_space: SearchSpace) -> None:
    """Every transform, in both heads, with every group of covariates and the calendar."""
    rng, hours = np.random.default_rng(0), pd.date_range("2024-03-01", periods=400, freq="h")
    split = chronological_split(400, horizon=5, history=8)
    columns: dict[str, Any] = {
        "level": np.exp(rng.normal(size=400)),
        "wind": rng.normal(size=400),
        "sky": rng.choice(["clear", "rain"], size=400),
        "plan": rng.normal(size=400),
        "open": rng.choice(["yes", "no"], size=400),
    }
    space = tiny_space.fix(
        learning_rate=0.01, dropout=0.0, epochs=1, scaling=get_args(ScalingName), scaling_window=60
    ).fix(
        head=("recursive", "direct"),
        skip="linear",
        segment_length=1,
        window_scaling="none",
        past_covariates=True,
        future_covariates=True,
        calendar_features=True,
    )

    def stored(start: int) -> tuple[object, ...]:
        frame = {name: column.copy() for name, column in columns.items()}
        for column in frame.values():
            column[start:] = column[start:][::-1]
        series = TimeSeries.from_frame(
            pd.DataFrame(frame, index=hours),
            target="level",
            past=["wind", "sky"],
            future=["plan", "open"],
        )
        study = run_study(
            "s",
            series,
            space=space,
            n_trials=12,
            horizon=5,
            workers=1,
            sampler=optuna.samplers.GridSampler(
                {"scaling": list(space.scaling), "head": list(space.head)}, seed=0
            ),
            pruner=optuna.pruners.NopPruner(),
            storage=optuna.storages.InMemoryStorage(),
            show_progress_bar=False,
        )
        drawn = {(trial.params["scaling"], trial.params["head"]) for trial in study.trials}
        assert drawn == set(product(space.scaling, space.head))
        losses = [
            load_losses(storage_of(study), trial, "loss")[0].tobytes() for trial in study.trials
        ]
        values = [(t.value, t.intermediate_values, t.params) for t in study.trials]
        return values, losses, best_config(study), stored_baselines(study)

    untouched = stored(400)
    assert stored(split.validation_stop) == untouched
    # The comparison sees a change of validation rows.
    for ours, theirs in zip(stored(split.validation_start + 5)[:2], untouched, strict=False):
        assert ours != theirs


def changed(prices: PriceSeries, start: int) -> PriceSeries:
    """The same prices, half as high again from day ``start`` on: no factor of a split."""
    factor = np.where(np.arange(len(prices)) < start, 1.0, 1.5)
    fields = {name: getattr(prices, name) * factor for name in ("open", "high", "low", "close")}
    return PriceSeries(
        name=prices.name, dates=prices.dates, volume=None, source=prices.source, **fields
    )
