"""Version 1's studies go on, and its numbers come out the same.

``version1/`` holds what version 1 wrote: a database of three studies as an SQLite file and as a
PostgreSQL dump, and its own values. In the study "first" 13 was lost with its worker and repeated
as 15, 14 was running when its worker was killed, 16 was interrupted and not repeated yet, all with
checkpoints; 17 and 18 were enqueued, the last with a dropout that no config can have. In "second"
3 waits to repeat 2. "finished" has as many trials as it was to have.
"""

import gzip
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.common.errors import ConfigError
from foretune.search import (
    FloatRange,
    SearchSpace,
    finished_trials,
    load_study,
    replay,
    run_study,
    study_status,
)
from foretune.search.study.trials import format_states
from foretune.search.study.version1 import was_running

FOLDER = Path(__file__).parent / "version1"
VALUES = json.loads((FOLDER / "values.json").read_text())


@pytest.fixture(params=["sqlite", "postgresql"])
def old_studies(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a copy of version 1's database."""
    if request.param == "sqlite":
        file = tmp_path / "studies.db"
        file.write_bytes(gzip.decompress((FOLDER / "version1.db.gz").read_bytes()))
        return f"sqlite:///{file}"
    server = request.getfixturevalue("postgresql")
    url: str = server.new_database()
    subprocess.run(
        [server.program("psql"), "-q", "-v", "ON_ERROR_STOP=1", url.replace("+psycopg", "")],
        input=gzip.decompress((FOLDER / "version1.sql.gz").read_bytes()),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return url


def go_on(name: str, url: str, walk: PriceSeries, n_trials: int) -> optuna.Study:
    return run_study(
        name, walk, n_trials=n_trials, storage=url, workers=1, show_progress_bar=False, target="mid"
    )


def kept(trials: list[FrozenTrial]) -> list[Any]:
    return [
        (t.number, t.state, t.values, t.params, t.intermediate_values, t.user_attrs)
        for t in trials
        if t.state.is_finished()
    ]


@pytest.mark.filterwarnings("ignore:Fixed parameter dropout with value 5.0:UserWarning")
def test_a_study_of_every_state_goes_on(old_studies: str, walk: PriceSeries) -> None:
    before = kept(load_study("first", old_studies).trials)
    study = go_on("first", old_studies, walk, 18)
    assert finished_trials(study) == 18
    trials = study.trials
    ended = {number for number, *_ in before}
    assert [row for row in kept(trials) if row[0] in ended] == before
    # The one that ran goes on under its own number, the interrupted one as another trial.
    assert trials[14].user_attrs["resumed_after_epoch"] == 4
    (again,) = [t for t in trials if t.system_attrs.get("foretune:repeats") == 16]
    assert again.user_attrs["resumed_after_epoch"] == 4
    assert trials[17].params == {"learning_rate": 0.005, "dropout": 0.25}
    assert trials[18].state == TrialState.FAIL
    assert trials[18].user_attrs["error"].startswith("enqueued parameters: ")
    # What they come to is what version 1 came to from the same database.
    then = {json.dumps(t["params"], sort_keys=True): t for t in VALUES["continued"]["first"]}
    for trial in (trials[14], again, trials[17]):
        expected = then[json.dumps(trial.params, sort_keys=True)]["reported"]
        reported = {str(step): value for step, value in trial.intermediate_values.items()}
        assert reported == pytest.approx(expected, rel=1e-6)
    # Tries that were run again are counted nowhere.
    shown = study_status(load_study("first", old_studies))
    assert (shown.state, shown.finished, shown.wanted) == ("done", 18, 18)
    counted = sum(shown.states.values())
    assert counted == len(trials) - 2
    assert f"{shown.states['complete']} complete" in format_states(study)
    assert replay(study, 14, walk).difference < 1e-6


def test_a_retry_that_waits_goes_on(old_studies: str, walk: PriceSeries) -> None:
    study = go_on("second", old_studies, walk, 4)
    assert finished_trials(study) == 4
    assert study.trials[3].user_attrs["resumed_after_epoch"] == 4
    assert study.trials[3].system_attrs["retry_history"] == [2]
    (then,) = [t for t in VALUES["continued"]["second"] if t["number"] == 3]
    reported = {str(step): v for step, v in study.trials[3].intermediate_values.items()}
    assert reported == pytest.approx(then["reported"], rel=1e-6)


def test_a_finished_study_stays_as_it_is_and_can_be_extended(
    old_studies: str, walk: PriceSeries
) -> None:
    before = kept(load_study("finished", old_studies).trials)
    assert study_status(load_study("finished", old_studies)).state == "done"
    assert kept(go_on("finished", old_studies, walk, 8).trials) == before
    extended = go_on("finished", old_studies, walk, 10)
    assert finished_trials(extended) == 10
    assert kept(extended.trials)[:8] == before


def test_a_worker_of_version_1_that_lives_is_not_robbed(tmp_path: Path) -> None:
    study = optuna.create_study()
    study.ask()
    (trial,) = study.get_trials()
    trial.system_attrs["foretune:owner"] = ["elsewhere boot ns", 7, "1"]
    trial.system_attrs["foretune:beat"] = [3, 10.0, time.time() - 30]
    with pytest.raises(
        ConfigError,
        match=r"still being run by process 7 of host elsewhere, a worker of version 1; stop",
    ):
        was_running(trial)
    trial.system_attrs["foretune:beat"] = [3, 10.0, time.time() - 90]
    assert was_running(trial)


TINY = SearchSpace(
    layers=1,
    units=4,
    unroll_length=8,
    batch_size=8,
    learning_rate=FloatRange(low=1e-3, high=1e-1, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    epochs=6,
    steps_per_epoch=5,
)
WIDE = SearchSpace(
    layers=(1, 2),
    units=(32, 64),
    unroll_length=(25, 50),
    learning_rate=FloatRange(low=1e-4, high=1e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    epochs=4,
)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one", {}),
        ("folds", {"folds": 2, "seed": 4}),
        ("wilcoxon", {"folds": 3, "pruner": optuna.pruners.WilcoxonPruner}),
        ("lanes", {"lanes": 3}),
        pytest.param("sp500", {"space": WIDE, "horizon": None}, marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_seeded_search_finds_what_version_1_found(
    name: str, options: dict[str, Any], walk: PriceSeries
) -> None:
    expected = VALUES["searched"][name]
    given: dict[str, Any] = {"space": TINY, "horizon": 5, "lanes": 1} | options
    if "pruner" in given:
        given["pruner"] = given["pruner"]()
    prices = load_sample("sp500") if name == "sp500" else walk
    study = run_study(
        name,
        prices,
        n_trials=len(expected),
        storage=optuna.storages.InMemoryStorage(),
        workers=1,
        show_progress_bar=False,
        **given,
        target="mid",
    )
    for trial, then in zip(study.trials, expected, strict=True):
        assert trial.state.name == then["state"]
        assert trial.value == pytest.approx(then["value"], rel=1e-6)
        assert trial.params == pytest.approx(then["params"], rel=1e-6)
        reported = list(trial.intermediate_values.values())
        assert reported == pytest.approx(then["reported"], rel=1e-6)
