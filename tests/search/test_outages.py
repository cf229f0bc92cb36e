"""The database goes away and comes back: workers wait, and nothing that was stored is lost."""

import inspect
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from command_line import FORETUNE, ended_at_last, wait_until
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, _CachedStorage
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from foretune.datasets import PriceSeries, load_sample
from foretune.search import SearchSpace, run_study, ticket_writes
from foretune.search.patience import Patience, is_outage
from foretune.search.patient_storage import PatientStorage
from foretune.search.storage.connect import open_storage, storage_of
from foretune.search.tickets import finished_trials, is_under_way
from foretune.search.trial_marks import TICKET

URL = "postgresql+psycopg://me:secret@nowhere/studies"


def away(message: str = "connection refused") -> Exception:
    return OperationalError("SELECT 1", {}, ConnectionRefusedError(message))


class Failing:
    """Fails so many times, then answers."""

    def __init__(self, times: int, error: Exception) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return "answer"


def wrapped(error: Exception) -> Exception:
    """As Optuna hands on what SQLAlchemy raises."""
    wrapper = StorageInternalError("An exception is raised during the commit.")
    wrapper.__cause__ = error
    return wrapper


@pytest.mark.parametrize("error", [away(), wrapped(away())], ids=["plain", "wrapped"])
def test_it_calls_until_it_is_answered(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretune.search.patience._FIRST", 0.001)
    call = Failing(3, error)
    patience = Patience(URL)
    assert patience(call) == "answer"
    assert call.calls == 4


def test_a_wrong_call_is_no_outage() -> None:
    for error in (away('FATAL:  password authentication failed for user "me"'), KeyError("x")):
        call = Failing(1, error)
        with pytest.raises(type(error)):
            Patience(URL)(call)
        assert call.calls == 1
    assert not is_outage(wrapped(ValueError("too long")))


def test_a_wish_to_stop_ends_the_wait_and_no_secret_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretune.search.patience._WORTH_A_WORD", 0.0)
    asked = []

    def heed() -> None:
        asked.append(True)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Patience(URL, heed)(Failing(1000, away()))
    said = capsys.readouterr().err
    assert "cannot be reached (connection refused); waiting" in said
    assert "secret" not in said


@pytest.fixture
def flaky(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets a named call of Optuna's storage do its work once, and then lose the answer."""
    monkeypatch.setattr("foretune.search.patience._FIRST", 0.001)

    def lose_the_answer(name: str) -> None:
        call, lost = getattr(RDBStorage, name), []

        def flaky(self: RDBStorage, *args: Any, **kwargs: Any) -> Any:
            result = call(self, *args, **kwargs)
            if not lost:
                lost.append(True)
                raise wrapped(away("server closed the connection"))
            return result

        monkeypatch.setattr(RDBStorage, name, flaky)

    return lose_the_answer


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_a_trial_that_was_told_without_an_answer_is_told_once(
    state: TrialState, database_url: str, flaky: Callable[[str], None]
) -> None:
    study = optuna.create_study(storage=open_storage(database_url, heed=lambda: None))
    trial = study.ask()
    flaky("set_trial_state_values")
    study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state=state)
    assert [t.state for t in study.trials] == [state]


def test_what_another_has_told_meanwhile_is_not_taken_for_ones_own(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretune.search.patience._FIRST", 0.001)
    storage = open_storage(database_url, heed=lambda: None)
    trial = optuna.create_study(storage=storage).ask()
    write, lost = RDBStorage.set_trial_state_values, []

    def overtaken(self: RDBStorage, *args: Any) -> bool:
        if not lost:  # nothing was written, and another is quicker than the second attempt
            lost.append(True)
            write(open_storage(database_url)._backend, trial._trial_id, TrialState.FAIL)  # type: ignore[attr-defined]
            raise wrapped(away("server closed the connection"))
        return write(self, *args)

    monkeypatch.setattr(RDBStorage, "set_trial_state_values", overtaken)
    with pytest.raises(UpdateFinishedTrialError):
        storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.5])


def test_a_ticket_that_was_taken_without_an_answer_is_ones_own(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretune.search.patience._FIRST", 0.001)
    storage = open_storage(database_url, heed=lambda: None)
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({})
    (waiting,) = study.trials
    write, lost = ticket_writes._in_transaction, []

    def flaky(*args: Any) -> bool:
        result = write(*args)
        if not lost:
            lost.append(True)
            raise wrapped(away("server closed the connection"))
        return result

    monkeypatch.setattr(ticket_writes, "_in_transaction", flaky)
    for ticket, is_ones_own in (("mine", True), ("another's", False)):
        marks = {TICKET: ticket}
        started = ticket_writes.start_trial(storage, waiting._trial_id, user={}, system=marks)
        assert started is is_ones_own
    assert lost


def test_all_that_the_cache_calls_is_patient() -> None:
    """Optuna's cache of finished trials calls the storage behind it by private names as well."""
    called = set(re.findall(r"self\._backend\.(\w+)\(", inspect.getsource(_CachedStorage)))
    # Not used by workers, or not a call of the database.
    called -= {"delete_study", "check_trial_is_updatable", "remove_session"}
    called -= {name for name in called if "heartbeat" in name or "stale" in name}
    assert "_set_trial_param" in called
    own = {name for name in called if getattr(PatientStorage, name) is getattr(RDBStorage, name)}
    assert own == set()


@pytest.mark.slow
def test_five_crashes_of_the_server(new_postgresql: Any, tmp_path: Path) -> None:
    """No worker exits, nothing complete is lost, what ran through an outage keeps its result."""
    url = new_postgresql.url()
    space = SearchSpace(
        layers=1, units=8, unroll_length=16, batch_size=16, epochs=80, steps_per_epoch=60
    ).fix(stop_patience=80)
    prices = load_sample("random_walk", length=500, seed=3)
    run_study("s", prices, n_trials=24, space=space, horizon=5, storage=url, workers=0)
    command = [FORETUNE, "worker", "--storage", url]
    team = [
        start([*command, "--study", "s", "--beat", "1"], tmp_path / f"{n}.log") for n in range(3)
    ]
    study = open_study(url)
    dice = random.Random(0)
    complete: dict[int, Any] = {}
    through: set[int] = set()
    with ended_at_last(team):
        for seconds in (1, 2, 10, 5, 3):
            wait_until(lambda: sum(map(is_under_way, study.get_trials())) >= 2)
            time.sleep(dice.uniform(0, 1))
            trials = study.get_trials()
            complete |= {t.number: t.values for t in trials if t.state == TrialState.COMPLETE}
            through |= {t.number for t in trials if is_under_way(t)}
            new_postgresql.kill()
            time.sleep(seconds)
            assert [process.poll() for process in team] == [None] * 3
            new_postgresql.start()
        assert [process.wait(timeout=300) for process in team] == [0] * 3
    trials = study.get_trials()
    assert finished_trials(study) == 24
    assert [t.state.is_finished() for t in trials] == [True] * len(trials)
    assert {n: trials[n].values for n in complete} == complete
    # All of them: most outages are shorter than six beats, and nobody watches through one.
    assert {n: trials[n].state for n in through if trials[n].state == TrialState.FAIL} == {}
    said = "".join(file.read_text() for file in tmp_path.glob("*.log"))
    assert "Traceback" not in said
    assert "cannot be reached" in said
    assert "is back after" in said


def open_study(url: str) -> optuna.Study:
    """The study, to be looked at also while its database is away."""
    return optuna.load_study(study_name="s", storage=open_storage(url, heed=lambda: None))


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)


@pytest.mark.slow
def test_ctrl_c_ends_a_worker_that_waits(
    new_postgresql: Any, tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    url = new_postgresql.url()
    space = tiny_space.fix(epochs=4000, stop_patience=4000)
    study = run_study("s", walk, n_trials=1, space=space, horizon=5, storage=url, workers=0)
    command = [FORETUNE, "worker", "--storage", url]
    worker = start([*command, "--study", "s"], tmp_path / "log")
    with ended_at_last([worker]):
        wait_until(lambda: any(map(is_under_way, study.get_trials())))
        new_postgresql.kill()
        wait_until(lambda: "cannot be reached" in (tmp_path / "log").read_text())
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 130
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "Interrupted" in said
    new_postgresql.start()
    assert storage_of(study).get_n_trials(study._study_id) == 1
