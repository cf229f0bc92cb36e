"""One driver a study: others are told, who is killed lets go, who has lost it writes nothing."""

import gc
import os
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
import psycopg
import pytest
from command_line import FORETUNE, ended_at_last, wait_until
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from postgresql_server import PostgreSQL

from foretune.datasets.common.errors import ConfigError
from foretune.search.storage import lease
from foretune.search.storage.artifacts import save_artifacts
from foretune.search.storage.connect import open_storage
from foretune.search.storage.lease import driver_of, study_lease
from foretune.search.storage.optuna_internals import (
    end_trial,
    set_trial_attrs,
    start_trial,
    storage_of,
    study_id,
    trial_id,
)

HOLD = """
import sys, optuna
from foretune.search.storage.connect import open_storage
from foretune.search.storage.lease import study_lease
study = optuna.load_study(study_name="s", storage=open_storage(sys.argv[1], timeout=60))
with study_lease(study):
    print("held", flush=True)
    sys.stdin.read()
"""

# Plain Optuna, on its own storage, in processes that know nothing of foretune.
MAKE = """
import sys, optuna
study = optuna.create_study(study_name="s", storage=sys.argv[1])
study.enqueue_trial({"x": 1.0})
"""
# On PostgreSQL its deletion does nothing, and says so to nobody, where somebody writes meanwhile.
REMAKE = f"""
import sys, optuna
while "s" in optuna.get_all_study_names(storage=sys.argv[1]):
    optuna.delete_study(study_name="s", storage=sys.argv[1])
{MAKE}
"""
# On SQLite plain Optuna deletes in several transactions, so that a trial that is made between them
# is left behind, and on an old file goes to the next study; here it is one.
REMAKE_IN_FORETUNE = f"""
import sys
from foretune.search.storage.connect import open_storage
sys.argv[1] = open_storage(sys.argv[1])
{REMAKE}
"""
UNTOUCHED = [(0, "WAITING", {"fixed_params": {"x": 1.0}}, {}, {}), {}, {}]


def in_process(script: str, url: str) -> None:
    subprocess.run([sys.executable, "-c", script, url], check=True)


def shown(url: str) -> list[object]:
    """All that the study ``s`` holds, as plain Optuna reads it."""
    storage = RDBStorage(url)
    try:
        study = optuna.load_study(study_name="s", storage=storage)
        trials = [
            (t.number, t.state.name, t.system_attrs, t.user_attrs, t.intermediate_values)
            for t in study.trials
        ]
        return [*trials, study.user_attrs, storage.get_study_system_attrs(study._study_id)]
    finally:
        storage.engine.dispose()


def new_study(url: str) -> optuna.Study:
    """The study ``s`` as a driver opens it."""
    storage = open_storage(url, timeout=60)
    return optuna.create_study(study_name="s", storage=storage, load_if_exists=True)


@contextmanager
def held_elsewhere(url: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lease until its input ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder, ended_at_last([holder]):
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder


def let_go(holder: subprocess.Popen[str]) -> None:
    assert holder.communicate("", timeout=60)[1] is None
    assert holder.returncode == 0


def name_of(pid: int) -> str:
    host = platform.node()
    return rf"is already being run by process {pid} of host {host} since 20\d\d-\d\d-\d\dT"


def test_a_second_process_is_told_who_has_it(database_url: str) -> None:
    study = new_study(database_url)
    assert driver_of(study) is None
    with held_elsewhere(database_url) as holder:
        with pytest.raises(ConfigError, match=name_of(holder.pid)), study_lease(study):
            pass
        driver = driver_of(study)
        assert driver is not None
        assert (driver["pid"], driver["host"]) == (holder.pid, platform.node())
        let_go(holder)
    assert driver_of(study) is None
    with study_lease(study):
        pass


def test_who_is_killed_lets_go_at_once(database_url: str) -> None:
    study = new_study(database_url)
    with held_elsewhere(database_url) as holder:
        holder.kill()
        holder.wait()
        with study_lease(study):
            driver = driver_of(study)
            assert driver is not None
            assert driver["pid"] == os.getpid()


def test_two_in_one_process(database_url: str) -> None:
    first, second = new_study(database_url), new_study(database_url)
    with study_lease(first):
        with pytest.raises(ConfigError, match=name_of(os.getpid())), study_lease(second):
            pass
        assert driver_of(second) is not None
    with study_lease(second):
        assert driver_of(first) is not None


def test_two_in_memory() -> None:
    storage = optuna.storages.InMemoryStorage()
    first = optuna.create_study(study_name="s", storage=storage)
    second = optuna.load_study(study_name="s", storage=storage)
    other = optuna.create_study(study_name="t", storage=storage)
    with study_lease(first), study_lease(other):
        with pytest.raises(ConfigError, match=name_of(os.getpid())), study_lease(second):
            pass
        assert driver_of(second) is not None
    assert driver_of(second) is None
    with study_lease(second):
        pass


def test_two_studies_of_one_database_have_each_a_driver(database_url: str) -> None:
    first = new_study(database_url)
    second = optuna.create_study(study_name="t", storage=open_storage(database_url))
    with study_lease(first), study_lease(second):
        first.set_user_attr("written", 1)
        second.set_user_attr("written", 2)
    assert (first.user_attrs, second.user_attrs) == ({"written": 1}, {"written": 2})


# PostgreSQL: the lease hangs on a connection


def backends(url: str) -> list[int]:
    """The server processes that hold an advisory lock in this database, as the server says."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute(
            "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
            "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
        )
        return [pid for (pid,) in found]


def cut(url: str) -> None:
    """End the connection that holds the lease, as an administrator or a firewall does."""
    (pid,) = backends(url)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    wait_until(lambda: not backends(url))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has lost its lease waits half a second, not 20, for its own cut connection to go."""
    monkeypatch.setattr(lease, "_CUT_OFF", 0.5)


def test_a_lost_lease_is_taken_again(postgresql: PostgreSQL) -> None:
    url = postgresql.new_database()
    study, other = new_study(url), new_study(url)
    with study_lease(study) as check:
        for _ in range(2):
            cut(url)
            check()
            assert len(backends(url)) == 1
            with pytest.raises(ConfigError, match=name_of(os.getpid())), study_lease(other):
                pass
    assert backends(url) == []


@pytest.mark.usefixtures("impatient")
def test_a_lease_that_another_took_meanwhile_is_lost(postgresql: PostgreSQL) -> None:
    url = postgresql.new_database()
    study = new_study(url)
    with study_lease(study) as check:
        cut(url)
        with held_elsewhere(url) as holder:
            for _ in range(2):
                with pytest.raises(ConfigError, match=name_of(holder.pid)):
                    check()
            let_go(holder)


def test_after_a_crash_it_is_taken_before_anything_is_written(new_postgresql: PostgreSQL) -> None:
    url = new_postgresql.url()
    study = new_study(url)
    with study_lease(study):
        study.set_user_attr("before", 1)
        new_postgresql.kill()
        new_postgresql.start()
        assert backends(url) == []
        study.set_user_attr("after", 2)
        assert len(backends(url)) == 1
    assert study.user_attrs == {"before": 1, "after": 2}


@pytest.mark.usefixtures("impatient")
def test_after_a_crash_nothing_is_written_beside_another_driver(
    new_postgresql: PostgreSQL,
) -> None:
    url = new_postgresql.url()
    study = new_study(url)
    trial = study.ask()
    with study_lease(study):
        new_postgresql.kill()
        new_postgresql.start()
        with held_elsewhere(url) as holder:
            with pytest.raises(ConfigError, match=name_of(holder.pid)):
                trial.report(0.5, step=1)
            let_go(holder)
    assert [t.intermediate_values for t in new_study(url).trials] == [{}]


def test_a_database_that_is_away_at_first_is_waited_for(new_postgresql: PostgreSQL) -> None:
    study = new_study(new_postgresql.url())
    new_postgresql.kill()
    retry = lease.retry_of(storage_of(study))
    retry.check_stop = Once(new_postgresql.start)
    with study_lease(study):
        assert len(backends(new_postgresql.url())) == 1


class Once:
    """Does something the first time that it is called."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work: list[Callable[[], object]] = [work]

    def __call__(self) -> None:
        if self._work:
            self._work.pop()()


# A study deleted and made again under its name


def old_database(file: Path) -> str:
    """An SQLite file as Optuna makes it, which gives the ids of what was deleted again."""
    url = f"sqlite:///{file}"
    in_process(MAKE, url)
    assert "AUTOINCREMENT" not in str(rows(file, "SELECT sql FROM sqlite_master"))
    return url


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def storages(postgresql: Callable[[], PostgreSQL], kind: str, tmp_path: Path) -> str:
    """A database with the study ``s``, one trial of which waits."""
    if kind == "old":
        return old_database(tmp_path / "studies.db")
    url = postgresql().new_database() if kind == "postgresql" else f"sqlite:///{tmp_path / 's.db'}"
    new_study(url).enqueue_trial({"x": 1.0})
    return url


@pytest.mark.parametrize("kind", ["sqlite", "old", "postgresql"])
def test_a_study_made_again_receives_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = storages(lambda: request.getfixturevalue("postgresql"), kind, tmp_path)
    study = new_study(url)
    storage, before = storage_of(study), study_id(study)
    waiting = study.trials
    with study_lease(study):
        trial = start_trial(study, {"mark": "mine"}, waiting)
        in_process(REMAKE, url)
        assert (study_id(new_study(url)) == before) == (kind == "old")
        writes: list[Callable[[], object]] = [
            lambda: trial.report(0.5, step=1),
            lambda: trial.suggest_float("y", 0.0, 1.0),
            lambda: trial.set_user_attr("name", 1),
            lambda: set_trial_attrs(storage, trial_id(trial), {"name": 1}),
            lambda: save_artifacts(storage, trial, {"file.txt": "content"}),
            lambda: save_artifacts(storage, study, {"file.txt": "content"}),
            lambda: study.set_user_attr("name", 1),
            lambda: study.enqueue_trial({"x": 2.0}),
            lambda: start_trial(study, {"mark": "another"}, waiting),
            lambda: end_trial(trial, TrialState.COMPLETE, 0.5),
            lambda: storage.set_trial_state_values(trial_id(trial), TrialState.FAIL),
        ]
        for write in writes:
            with pytest.raises((ConfigError, KeyError, ValueError)):
                write()
            assert shown(url) == UNTOUCHED
            # Whoever was refused keeps no lock: others can write.
            other = optuna.create_study(storage=open_storage(url))
            optuna.delete_study(study_name=other.study_name, storage=storage_of(other))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "old", "postgresql"])
def test_its_driver_ends_with_one_line(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = storages(lambda: request.getfixturevalue("postgresql"), kind, tmp_path)
    optuna.delete_study(study_name="s", storage=open_storage(url))
    space = tmp_path / "space.toml"
    space.write_text(
        # Long enough that PostgreSQL, which deletes nothing while somebody writes, comes to it.
        "layers = 1\nunits = 4\nunroll_length = 8\nbatch_size = 8\nepochs = 4\n"
        "steps_per_epoch = 3000\n"
    )
    command = [FORETUNE, "run", "--prices", "ar1(length=500, seed=3)", "--horizon", "5"]
    command += ["--study", "s", "--trials", "400", "--space", str(space), "--workers", "1"]
    log = tmp_path / "log"
    with log.open("w") as said:
        driver = subprocess.Popen(
            [*command, "--storage", url], cwd=tmp_path, stdout=said, stderr=said
        )
    with ended_at_last([driver]):
        wait_until(lambda: "trial 2 " in log.read_text() or driver.poll() is not None)
        assert driver.poll() is None, log.read_text()
        in_process(REMAKE_IN_FORETUNE, url)
        assert driver.wait(timeout=120) == 2, log.read_text()
    lines = [line for line in log.read_text().splitlines() if not line.startswith("trial ")]
    assert "Traceback" not in log.read_text()
    assert "must be in the storage, but was deleted" in lines[-1], lines
    assert shown(url) == UNTOUCHED


def test_new_files_never_give_an_id_twice(tmp_path: Path) -> None:
    url, file = f"sqlite:///{tmp_path / 's.db'}", tmp_path / "s.db"
    given: list[tuple[int, int]] = []
    for _ in range(3):
        study = new_study(url)
        study.ask()
        given += rows(file, "SELECT study_id, trial_id FROM trials")
        optuna.delete_study(study_name="s", storage=url)
    assert [len({ids[n] for ids in given}) for n in range(2)] == [3, 3]


# SQLite: the file


def journal(file: Path) -> str:
    """What the header of a database says: its bytes 18 and 19 are 2 with a write-ahead log."""
    return {b"\1\1": "rollback", b"\2\2": "write-ahead"}[file.read_bytes()[18:20]]


def test_at_rest_the_database_is_a_single_file(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    study = new_study(f"sqlite:///{file}")
    with study_lease(study):
        study.ask()
        assert journal(file) == "write-ahead"
    assert journal(file) == "rollback"
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(("-wal", "-shm"))]
    study.ask()
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "s.db"
    copy.write_bytes(file.read_bytes())
    assert rows(copy, "SELECT count(*) FROM trials") == [(2,)]


def test_a_driver_that_comes_after_a_killed_one_tidies_up(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    study = new_study(f"sqlite:///{file}")
    with held_elsewhere(f"sqlite:///{file}") as holder:
        holder.kill()
        holder.wait()
    assert journal(file) == "write-ahead"
    with study_lease(study):
        pass
    assert journal(file) == "rollback"
    assert not file.with_name("s.db-wal").exists()


def test_readers_do_not_wait_for_a_writer_nor_it_for_them(tmp_path: Path) -> None:
    """Who waited would do so for ever: what it waits for ends after it."""
    file = tmp_path / "s.db"
    study = new_study(f"sqlite:///{file}")
    with (
        study_lease(study),
        closing(sqlite3.connect(file, isolation_level=None)) as writer,
        closing(sqlite3.connect(file, isolation_level=None)) as reader,
    ):
        study.ask()
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO trials (number, study_id, state) VALUES (1, 1, 'RUNNING')")
        other = optuna.load_study(study_name="s", storage=open_storage(f"sqlite:///{file}"))
        assert len(other.trials) == 1
        assert len(study.trials) == 1
        writer.execute("ROLLBACK")
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM trials").fetchone() == (1,)
        trial = study.ask()
        trial.set_user_attr("name", 1)
        study.tell(trial, 0.5)
        assert reader.execute("SELECT count(*) FROM trials").fetchone() == (1,)
        reader.execute("ROLLBACK")


def test_a_storage_that_nobody_uses_any_more_leaves_no_file_open(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    for _ in range(3):
        study = new_study(f"sqlite:///{file}")
        study.ask()
    assert open_files(file)
    del study
    gc.collect()
    assert open_files(file) == []


def open_files(file: Path) -> list[str]:
    """What of a file this process has open, as the kernel says."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if target == str(file):
            found.append(number)
    return found
