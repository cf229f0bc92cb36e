"""How far a study is, against numbers reckoned by hand."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from foretune.datasets import load_sample
from foretune.search import SearchSpace
from foretune.search.engine.status import study_status
from foretune.search.process_identity import ProcessIdentity
from foretune.search.spec import agreed_spec, store_spec
from foretune.search.storage.connect import open_storage, storage_of
from foretune.search.trial_marks import BEAT, OWNER
from foretune.search.wanted import Wanted

ELSEWHERE = ["another machine", 7, "1"]


def trial_of(
    *, begun: float, ended: float | None, beaten: float = 0.0, value: float = 0.5
) -> FrozenTrial:
    """A trial that a worker began so many seconds ago."""

    def local(ago: float) -> datetime:
        return datetime.now() - timedelta(seconds=ago)

    trial = create_trial(
        state=TrialState.RUNNING if ended is None else TrialState.COMPLETE,
        value=None if ended is None else value,
        user_attrs={"worker": "there:7"},
        system_attrs={OWNER: ELSEWHERE, BEAT: [1, 10.0, time.time() - beaten]},
    )
    trial.datetime_start = local(begun)
    trial.datetime_complete = None if ended is None else local(ended)
    return trial


def study_of_foretune(storage: str | None = None) -> optuna.Study:
    study = optuna.create_study(study_name="s", storage=storage and open_storage(storage))
    prices = load_sample("random_walk", length=500, seed=3)
    spec = agreed_spec("s", storage_of(study), prices, horizon=5, space=SearchSpace())
    store_spec(study, spec)
    return study


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Moves this process into another time zone."""

    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("here", ["UTC", "Asia/Tokyo", "America/St_Johns"])
def test_rate_and_time_left_do_not_depend_on_the_workers_time_zone(
    here: str, zone: Callable[[str], None], tmp_path: Path
) -> None:
    zone("Asia/Kathmandu")
    study = study_of_foretune(f"sqlite:///{tmp_path / 'studies.db'}")
    Wanted(trials=10, sampler="tpe", pruner="median").store(study)
    for number in range(4):  # one ended every 900 s, the last one 900 s ago
        ago = 900.0 * (4 - number)
        study.add_trial(trial_of(begun=ago + 900, ended=ago, value=1.0 - number / 10))
    study.add_trial(trial_of(begun=900, ended=None, beaten=12))
    zone(here)
    status = study_status(study)
    # Three more than the first, in the 3,600 s since that one has ended.
    assert status.trials_per_hour == pytest.approx(3.0, rel=0.01)
    assert status.left is not None
    assert status.left / timedelta(hours=2) == pytest.approx(1, rel=0.01)
    assert (status.finished, status.wanted) == (4, 10)
    assert status.states == {"complete": 4, "running": 1}
    assert (status.best_value, status.best_number) == (0.7, 3)
    (worker,) = status.workers
    assert (worker.name, worker.trials, worker.alive) == ("there:7", (4,), True)
    assert worker.begun_seconds_ago == pytest.approx(900, abs=60)
    assert worker.beat_seconds_ago == pytest.approx(12, abs=60)


def test_a_study_at_rest_keeps_its_rate() -> None:
    study = optuna.create_study(study_name="s")
    for ago in (7200.0, 5400.0):
        study.add_trial(trial_of(begun=ago + 60, ended=ago))
    status = study_status(study)
    assert status.trials_per_hour == pytest.approx(2.0, rel=0.01)
    assert (status.wanted, status.left, status.workers) == (None, None, ())


@pytest.mark.parametrize(
    "marks",
    [
        {BEAT: [1, 10.0, time.time() - 3600]},
        {OWNER: [ProcessIdentity.mine().machine, ProcessIdentity.mine().pid, "another time"]},
        {OWNER: "nobody"},
    ],
)
def test_a_worker_without_signs_of_life_is_shown_as_lost(marks: dict[str, Any]) -> None:
    study = optuna.create_study(study_name="s")
    trial = trial_of(begun=7200, ended=None)
    trial.system_attrs |= marks
    study.add_trial(trial)
    (worker,) = study_status(study).workers
    assert not worker.alive


@pytest.mark.parametrize("directions", [["maximize"], ["minimize", "minimize"]])
def test_of_another_programs_study_no_best_value_is_shown(directions: list[str]) -> None:
    study = optuna.create_study(study_name="s", directions=directions)
    study.add_trial(create_trial(values=[0.5] * len(directions)))
    status = study_status(study)
    assert (status.finished, status.best_value) == (1, None)
