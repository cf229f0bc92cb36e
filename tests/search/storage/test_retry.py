"""A database that goes away: calls wait for it, and nothing is written twice."""

import inspect
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, _CachedStorage
from optuna.trial import FrozenTrial, TrialState
from postgresql_server import PostgreSQL
from sqlalchemy import Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    OperationalError,
    PendingRollbackError,
    ProgrammingError,
)
from sqlalchemy.orm import Session

from foretune.search.storage import retry as retry_module
from foretune.search.storage.artifacts import load_artifact, save_artifacts
from foretune.search.storage.connect import open_storage, retry_of
from foretune.search.storage.optuna_internals import RetryingStorage, end_trial, start_trial
from foretune.search.storage.retry import (
    RetryPolicy,
    StorageAwayError,
    StorageFullError,
    is_outage,
)

URL = make_url("postgresql+psycopg://me:secret@nowhere/studies?sslpassword=hidden")


def away(message: str = "connection refused") -> DBAPIError:
    return OperationalError("SELECT 1", {}, ConnectionRefusedError(message))


def state(code: str) -> DBAPIError:
    """What psycopg raises for one of PostgreSQL's error codes."""
    return DBAPIError("SELECT 1", {}, psycopg.errors.lookup(code)("said"))


def sqlite_error(message: str) -> DBAPIError:
    return OperationalError("SELECT 1", {}, sqlite3.OperationalError(message))


def cut_off() -> DBAPIError:
    return ProgrammingError("SELECT 1", {}, RuntimeError("gone"), connection_invalidated=True)


def wrapped(error: Exception) -> Exception:
    """As Optuna hands on what SQLAlchemy raises."""
    wrapper = StorageInternalError("An exception is raised during the commit.")
    wrapper.__cause__ = error
    return wrapper


# The codes' meanings are those of PostgreSQL's manual, appendix A.
OUTAGES = {
    "refused": away(),
    "timeout": away("connection timeout expired"),
    "starting": away("FATAL:  the database system is starting up"),
    "08006 connection_failure": state("08006"),
    "25006 read_only_sql_transaction": state("25006"),
    "40001 serialization_failure": state("40001"),
    "40P01 deadlock_detected": state("40P01"),
    "53300 too_many_connections": state("53300"),
    "57P01 admin_shutdown": state("57P01"),
    "57P02 crash_shutdown": state("57P02"),
    "57P03 cannot_connect_now": state("57P03"),
    "58030 io_error": state("58030"),
    "lost": cut_off(),
    "rolled back": PendingRollbackError("Can't reconnect until invalid transaction is rolled back"),
    "sqlite locked": sqlite_error("database is locked"),
}
MISTAKES = {
    "password": away('FATAL:  password authentication failed for user "me"'),
    "no database": away('FATAL:  database "studies" does not exist'),
    "not allowed": away('FATAL:  no pg_hba.conf entry for host "10.0.0.1"'),
    "57P04 database_dropped": state("57P04"),
    "23505 unique_violation": state("23505"),
    "42P01 undefined_table": state("42P01"),
    "22001 string_data_right_truncation": state("22001"),
    "42501 insufficient_privilege": state("42501"),
    "sqlite table": sqlite_error("no such table: trials"),
    "sqlite twice": IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE failed")),
    "value": ValueError("too long"),
    "key": KeyError("x"),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_what_passes_by_waiting(name: str) -> None:
    assert is_outage(OUTAGES[name])
    assert is_outage(wrapped(OUTAGES[name]))


@pytest.mark.parametrize("name", MISTAKES)
def test_what_does_not(name: str) -> None:
    assert not is_outage(MISTAKES[name])
    assert not is_outage(wrapped(MISTAKES[name]))


class Failing:
    """Fails so many times, then answers."""

    def __init__(self, times: float, error: Exception) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return "answer"


@pytest.mark.parametrize("error", [away(), wrapped(away())], ids=["plain", "wrapped"])
def test_it_calls_until_it_is_answered(error: Exception) -> None:
    call, retry, reconnected = Failing(3, error), RetryPolicy(URL, 60), []
    retry.reconnected = lambda: reconnected.append(call.calls)
    assert retry(call) == "answer"
    assert call.calls == 4
    assert reconnected == [1, 2, 3]  # before each further call, and not before the first


@pytest.mark.parametrize("name", ["password", "23505 unique_violation"])
def test_a_wrong_call_is_made_once(name: str) -> None:
    call = Failing(1, MISTAKES[name])
    with pytest.raises(DBAPIError):
        RetryPolicy(URL, 60)(call)
    assert call.calls == 1


def test_one_that_turns_out_wrong_is_not_made_again() -> None:
    errors = [away(), MISTAKES["password"], away()]

    def call() -> None:
        raise errors.pop(0)

    with pytest.raises(OperationalError, match="password"):
        RetryPolicy(URL, 60)(call)
    assert len(errors) == 1


def test_who_does_not_wait_gets_the_error() -> None:
    call = Failing(1, away())
    with pytest.raises(OperationalError):
        RetryPolicy(URL, 0)(call)
    assert call.calls == 1


def test_what_stays_away_is_given_up_in_one_line() -> None:
    call = Failing(float("inf"), wrapped(away()))
    with pytest.raises(StorageAwayError) as error:
        RetryPolicy(URL, 0.4)(call)
    said = str(error.value)
    assert "me:***@nowhere/studies" in said
    assert "could not be reached for 0.4 s (connection refused)" in said
    assert "\n" not in said
    assert "secret" not in said
    assert "hidden" not in said
    assert error.value.__cause__ is None
    assert call.calls > 1


def test_an_outage_is_told_once_and_without_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_module, "_ANNOUNCE_AFTER", 0.0)
    RetryPolicy(URL, 60)(Failing(4, away("refused\nTry again?")))
    out, said = capsys.readouterr()
    assert out == ""
    lines = said.splitlines()
    assert len(lines) == 2
    assert "cannot be reached (refused); trying again for 60 s; press Ctrl-C to stop" in lines[0]
    assert "is back after" in lines[1]
    assert "secret" not in said
    assert "hidden" not in said


def test_a_short_one_is_not_worth_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    RetryPolicy(URL, 60)(Failing(1, away()))
    assert capsys.readouterr().err == ""


def test_a_wish_to_stop_ends_the_wait() -> None:
    asked = []

    def check_stop() -> None:
        asked.append(True)
        if len(asked) == 3:
            raise KeyboardInterrupt

    retry = RetryPolicy(URL, 600)
    retry.check_stop = check_stop
    with pytest.raises(KeyboardInterrupt):
        retry(Failing(float("inf"), away()))


def test_a_full_disk_is_said_with_its_path_and_what_is_free(tmp_path: Path) -> None:
    """SQLite itself says so: it may not have another page."""
    file = tmp_path / "s.db"
    storage = open_storage(f"sqlite:///{file}", timeout=60)
    study = optuna.create_study(storage=storage)

    @event.listens_for(engine_of(storage), "engine_connect")
    def _fill(connection: Any) -> None:
        (pages,) = connection.exec_driver_sql("PRAGMA page_count").one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    with pytest.raises(StorageFullError) as error:
        study.set_user_attr("large", "x" * 100_000)
    said = str(error.value)
    assert re.search(rf"{file} must have room to grow, but its disk has \d+ bytes free", said)
    assert "\n" not in said


def engine_of(storage: object) -> Engine:
    assert isinstance(storage, _CachedStorage)
    engine: Engine = storage._backend.engine
    return engine


def test_all_that_the_cache_calls_is_retried() -> None:
    """Optuna's cache of finished trials calls the storage behind it by private names as well."""
    called = set(re.findall(r"self\._backend\.(\w+)\(", inspect.getsource(_CachedStorage)))
    called = {name for name in called if "heartbeat" not in name and "stale" not in name}
    assert {"_set_trial_param", "_create_new_trial", "delete_study"} <= called
    own = {name for name in called if getattr(RetryingStorage, name) is getattr(RDBStorage, name)}
    assert own == set()


# A commit is made, and its answer is lost; or it is not made, and another is quicker


@contextmanager
def failing_commit(
    storage: object, *, arrives: bool, then: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Let the next commit of a write fail, after the server has made it or without."""
    wrote, failed, commit = [False], [False], Session.commit
    engine = engine_of(storage)

    def note(*arguments: Any) -> None:
        wrote[0] |= str(arguments[2]).startswith(("INSERT", "UPDATE", "DELETE"))

    def commit_once(session: Session) -> None:
        if session.get_bind() is not engine or failed[0]:
            return commit(session)
        if arrives:
            commit(session)
        else:
            session.flush()
        if not wrote[0]:
            return None if arrives else commit(session)
        failed[0] = True
        if not arrives:
            session.rollback()
        then()
        raise OperationalError("COMMIT", {}, ConnectionResetError("server closed the connection"))

    event.listen(engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "commit", commit_once)
        yield
    event.remove(engine, "before_cursor_execute", note)
    assert failed[0]


def new_study(url: str) -> optuna.Study:
    return optuna.create_study(
        study_name="s", storage=open_storage(url, timeout=60), load_if_exists=True
    )


def start(study: optuna.Study, mark: object) -> optuna.Trial:
    """As a driver does it."""
    waiting = study.get_trials(states=(TrialState.WAITING,))
    return start_trial(study, {"mark": mark}, waiting)


@contextmanager
def plain_optuna(url: str) -> Iterator[optuna.Study]:
    """The study on Optuna's own storage."""
    storage = RDBStorage(url)
    try:
        yield optuna.load_study(study_name="s", storage=storage)
    finally:
        storage.engine.dispose()


def stored(url: str) -> list[FrozenTrial]:
    """The trials as plain Optuna reads them."""
    with plain_optuna(url) as study:
        return study.trials


def test_a_trial_that_was_asked_for_without_an_answer_is_one(database_url: str) -> None:
    study = new_study(database_url)
    start(study, "first")
    with failing_commit(study._storage, arrives=True):
        trial = start(study, "mine")
    assert [t.system_attrs["mark"] for t in stored(database_url)] == ["first", "mine"]
    assert trial.number == 1
    trial.suggest_float("x", 0.0, 1.0)
    study.tell(trial, 0.5)
    assert [t.state.name for t in stored(database_url)] == ["RUNNING", "COMPLETE"]


def test_one_that_was_not_made_is_made(database_url: str) -> None:
    study = new_study(database_url)
    with failing_commit(study._storage, arrives=False):
        trial = start(study, "mine")
    assert [(t.number, t.state.name) for t in stored(database_url)] == [(0, "RUNNING")]
    assert trial.number == 0


def test_an_enqueued_trial_that_was_made_without_an_answer_is_one(database_url: str) -> None:
    study = new_study(database_url)
    with failing_commit(study._storage, arrives=True):
        study.enqueue_trial({"x": 0.5})
    assert [t.state.name for t in stored(database_url)] == ["WAITING"]


@pytest.mark.parametrize("arrives", [True, False])
def test_a_waiting_trial_that_was_taken_without_an_answer_is_ones_own(
    database_url: str, *, arrives: bool
) -> None:
    study = new_study(database_url)
    study.enqueue_trial({"x": 0.5})
    with failing_commit(study._storage, arrives=arrives):
        trial = start(study, "mine")
    (only,) = stored(database_url)
    assert (only.number, only.state.name, only.system_attrs["mark"]) == (0, "RUNNING", "mine")
    assert (trial.number, trial.suggest_float("x", 0.0, 1.0)) == (0, 0.5)


def test_one_that_another_program_took_meanwhile_is_left_to_it(database_url: str) -> None:
    study = new_study(database_url)
    study.enqueue_trial({"x": 0.5})
    with (
        plain_optuna(database_url) as theirs,
        failing_commit(study._storage, arrives=False, then=theirs.ask),
    ):
        trial = start(study, "mine")
    assert trial.number == 1
    assert [t.system_attrs.get("mark") for t in stored(database_url)] == [None, "mine"]


@pytest.mark.parametrize("end", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
def test_a_trial_that_was_told_without_an_answer_is_told_once(
    end: TrialState, database_url: str
) -> None:
    study = new_study(database_url)
    trial = start(study, "mine")
    trial.report(0.25, step=1)
    value = 0.5 if end == TrialState.COMPLETE else None
    with failing_commit(study._storage, arrives=True):
        told = study.tell(trial, value, state=end)
    (only,) = stored(database_url)
    assert (only.state, only.value) == (told.state, told.value)
    expected = {TrialState.COMPLETE: 0.5, TrialState.PRUNED: 0.25, TrialState.FAIL: None}
    assert (only.state, only.value) == (end, expected[end])


@pytest.mark.parametrize("value", [0.5, 0.75])
def test_what_another_has_told_meanwhile_is_not_taken_for_ones_own(
    value: float, database_url: str
) -> None:
    study = new_study(database_url)
    trial = study.ask()
    end = TrialState.COMPLETE if value == 0.75 else TrialState.FAIL

    def overtake() -> None:
        with plain_optuna(database_url) as theirs:
            theirs.tell(0, value if end == TrialState.COMPLETE else None, state=end)

    with (
        failing_commit(study._storage, arrives=False, then=overtake),
        pytest.raises(UpdateFinishedTrialError),
    ):
        study._storage.set_trial_state_values(trial._trial_id, TrialState.COMPLETE, [0.5])
    (only,) = stored(database_url)
    assert only.state == end


def test_an_artifact_and_attributes_are_written_once(database_url: str) -> None:
    study = new_study(database_url)
    trial = study.ask()
    for content in ("first", "second"):
        with failing_commit(study._storage, arrives=True):
            save_artifacts(study._storage, trial, {"file.txt": content})
        with failing_commit(study._storage, arrives=True):
            trial.set_user_attr("content", content)
    assert load_artifact(open_storage(database_url), trial, "file.txt") == b"second"
    (only,) = stored(database_url)
    assert only.user_attrs == {"content": "second"}
    assert len(only.system_attrs) == 1


def test_a_study_that_was_made_without_an_answer_is_one(database_url: str) -> None:
    storage = open_storage(database_url, timeout=60)
    with failing_commit(storage, arrives=True):
        optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
    with plain_optuna(database_url) as study:
        assert len(study._storage.get_all_studies()) == 1


# A real server


def test_a_server_that_crashes_during_calls(new_postgresql: PostgreSQL) -> None:
    url = new_postgresql.url()
    study = new_study(url)
    over = threading.Event()

    def crash() -> None:
        for seconds in (0.0, 0.5, 1.0):
            time.sleep(0.7)
            new_postgresql.kill()
            time.sleep(seconds)
            new_postgresql.start()
        over.set()

    thread = threading.Thread(target=crash)
    thread.start()
    told: dict[int, float] = {}
    try:
        while not over.is_set() or len(told) < 20:
            trial = start(study, len(told))
            x = trial.suggest_float("x", 0.0, 1.0)
            trial.report(x, step=1)
            trial.set_user_attr("x", x)
            save_artifacts(study._storage, trial, {"x.txt": str(x)})
            end_trial(trial, TrialState.COMPLETE, x)
            told[trial.number] = x
    finally:
        thread.join()
    trials = stored(url)
    assert {t.number: t.value for t in trials} == told
    assert [t.system_attrs["mark"] for t in trials] == list(range(len(told)))
    for trial in trials:
        assert trial.user_attrs == trial.params == {"x": trial.value}
        assert trial.intermediate_values == {1: trial.value}


def test_a_server_that_stays_away(new_postgresql: PostgreSQL) -> None:
    storage = open_storage(new_postgresql.url(), timeout=1)
    study = optuna.create_study(study_name="s", storage=storage)
    new_postgresql.kill()
    for call in (study.ask, lambda: study.trials, lambda: study.set_user_attr("x", 1)):
        with pytest.raises(StorageAwayError, match=r"could not be reached for 1 s \(") as error:
            call()
        assert "\n" not in str(error.value)
    new_postgresql.start()
    study.set_user_attr("x", 2)
    with plain_optuna(new_postgresql.url()) as theirs:
        assert theirs.user_attrs == {"x": 2}
    assert retry_of(storage).timeout == 1
