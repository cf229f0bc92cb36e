"""Artifacts: real databases, real processes, Optuna's own functions and its dashboard."""

import gc
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication
from wsgiref.util import setup_testing_defaults

import optuna
import optuna_dashboard
import pytest
from optuna.artifacts import download_artifact, get_all_artifact_meta, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial
from optuna_dashboard.artifact import get_artifact_path
from sqlalchemy import create_engine, event, inspect, text

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.search.storage.artifact_store import (
    DatabaseArtifactStore,
    artifact_store,
    data_store,
)
from foretune.search.storage.artifacts import artifact_names, load_artifact, save_artifacts
from foretune.search.storage.connect import open_storage

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def in_database(path: Path) -> BaseStorage:
    return open_storage(f"sqlite:///{path / 's.db'}")


def in_memory(path: Path) -> BaseStorage:
    return InMemoryStorage()


def execute(storage: BaseStorage, statement: str) -> list[Any]:
    """Execute SQL behind the store's back."""
    store = artifact_store(storage)
    assert isinstance(store, DatabaseArtifactStore)
    with store._engine.begin() as connection:
        result = connection.execute(text(statement))
        return [value for (value,) in result] if result.returns_rows else []


def rows(storage: BaseStorage) -> int:
    """Count what is really in the table."""
    (count,) = execute(storage, "SELECT count(*) FROM foretune_artifacts")
    return int(count)


@pytest.mark.parametrize("make", [in_database, in_memory])
def test_what_is_saved_is_loaded(make: Callable[[Path], BaseStorage], tmp_path: Path) -> None:
    storage = make(tmp_path)
    study = optuna.create_study(storage=storage)
    trial, other = study.ask(), study.ask()
    save_artifacts(storage, trial, {"curves.csv": "epoch,loss\n0,µ\n"})
    save_artifacts(storage, trial, {"figure.png": PNG})
    save_artifacts(storage, study, {"figure.png": b""})
    assert load_artifact(storage, trial, "curves.csv") == "epoch,loss\n0,µ\n".encode()
    assert load_artifact(storage, trial, "figure.png") == PNG
    assert load_artifact(storage, study, "figure.png") == b""
    assert artifact_names(storage, trial) == ["curves.csv", "figure.png"]
    assert artifact_names(storage, study) == ["figure.png"]
    assert artifact_names(storage, other) == []
    # A finished trial, as a study returns it, still has them.
    study.tell(trial, 1.0)
    assert load_artifact(storage, study.trials[0], "figure.png") == PNG


@pytest.mark.parametrize("make", [in_database, in_memory])
def test_optunas_own_functions_see_the_same_artifacts(
    make: Callable[[Path], BaseStorage], tmp_path: Path
) -> None:
    storage = make(tmp_path)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    (saved,) = save_artifacts(storage, trial, {"curves.csv": "epoch,loss"})
    (meta,) = get_all_artifact_meta(trial)
    assert (meta.artifact_id, meta.filename, meta.mimetype) == (saved, "curves.csv", "text/csv")
    save_artifacts(storage, study, {"config.toml": "a = 1"})
    (meta,) = get_all_artifact_meta(study)
    assert (meta.filename, meta.mimetype) == ("config.toml", "text/plain")
    store, got = artifact_store(storage), tmp_path / "got"
    download_artifact(artifact_store=store, artifact_id=saved, file_path=str(got))
    assert got.read_bytes() == b"epoch,loss"
    # What Optuna uploads is loaded by its name, too.
    theirs = tmp_path / "theirs.csv"
    theirs.write_bytes(b"1,2")
    upload_artifact(artifact_store=store, file_path=str(theirs), study_or_trial=trial)
    assert load_artifact(storage, trial, "theirs.csv") == b"1,2"


def test_a_file_of_the_same_name_is_replaced_and_nothing_piles_up(tmp_path: Path) -> None:
    storage = in_database(tmp_path)
    study = optuna.create_study(storage=storage)
    for owner in (study, study.ask()):
        ids = {save_artifacts(storage, owner, {"a.png": os.urandom(100_000)})[0] for _ in range(20)}
        last = os.urandom(100_000)
        assert ids == {*save_artifacts(storage, owner, {"a.png": last})}
        assert load_artifact(storage, owner, "a.png") == last
        assert len(get_all_artifact_meta(owner)) == 1
    assert rows(storage) == 2
    assert (tmp_path / "s.db").stat().st_size < 1_000_000  # 42 files would be 4 MB


def test_a_finished_trials_artifacts_stay_as_they_are(tmp_path: Path) -> None:
    storage = in_database(tmp_path)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    save_artifacts(storage, trial, {"a.csv": b"old"})
    study.tell(trial, 1.0)
    for owner in (trial, study.trials[0]):
        for name in ("a.csv", "b.csv"):
            with pytest.raises(UpdateFinishedTrialError):
                save_artifacts(storage, owner, {name: b"new"})
    assert load_artifact(storage, trial, "a.csv") == b"old"
    assert rows(storage) == 1


def test_the_copy_of_a_study_does_not_write_over_the_original(tmp_path: Path) -> None:
    storage = in_database(tmp_path)
    study = optuna.create_study(study_name="a", storage=storage)
    save_artifacts(storage, study, {"a.png": b"original"})
    optuna.copy_study(
        from_study_name="a", from_storage=storage, to_study_name="b", to_storage=storage
    )
    copy = optuna.load_study(study_name="b", storage=storage)
    assert load_artifact(storage, copy, "a.png") == b"original"
    save_artifacts(storage, copy, {"a.png": b"copy"})
    assert load_artifact(storage, copy, "a.png") == b"copy"
    assert load_artifact(storage, study, "a.png") == b"original"


@pytest.mark.parametrize("make", [in_database, in_memory])
def test_the_stores_themselves(make: Callable[[Path], BaseStorage], tmp_path: Path) -> None:
    """The protocol's three methods, as Optuna's FileSystemArtifactStore has them."""
    store = artifact_store(make(tmp_path))
    store.write("c0ffee", io.BytesIO(b"one"))
    store.write("c0ffee", io.BytesIO(b"two"))
    with store.open_reader("c0ffee") as reader:
        assert reader.read(2) == b"tw"
    store.remove("c0ffee")
    with pytest.raises(ArtifactNotFound):
        store.open_reader("c0ffee")
    with pytest.raises(ArtifactNotFound):
        store.remove("c0ffee")


def test_one_store_for_a_storage_and_for_its_cache(tmp_path: Path) -> None:
    plain = RDBStorage(f"sqlite:///{tmp_path / 's.db'}")
    store = artifact_store(plain)
    assert isinstance(store, DatabaseArtifactStore)
    assert artifact_store(plain) is artifact_store(open_storage(plain)) is store
    # Another handle on the same file has the same artifacts.
    store.write("c0ffee", io.BytesIO(b"one"))
    assert artifact_store(in_database(tmp_path)).open_reader("c0ffee").read() == b"one"


def test_a_table_is_made_when_something_is_written(tmp_path: Path) -> None:
    plain = RDBStorage(f"sqlite:///{tmp_path / 's.db'}")
    for store in (artifact_store(plain), data_store(plain)):
        with pytest.raises(ArtifactNotFound):
            store.open_reader("c0ffee")
        assert store.remove_all(["c0ffee"]) == 0
    assert not [n for n in inspect(plain.engine).get_table_names() if n.startswith("foretune")]
    artifact_store(plain).write("c0ffee", io.BytesIO(b"one"))
    assert not inspect(plain.engine).has_table("foretune_data")
    data_store(plain).write("c0ffee", io.BytesIO(b"two"))
    assert artifact_store(plain).open_reader("c0ffee").read() == b"one"
    assert data_store(plain).open_reader("c0ffee").read() == b"two"


def test_the_table_may_appear_while_it_is_being_made(tmp_path: Path) -> None:
    """The second store finds it missing, and then the first has made it."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    first, second = create_engine(url), create_engine(url)

    @event.listens_for(second, "before_cursor_execute")
    def overtake(_: object, __: object, statement: str, *___: object) -> None:
        if "CREATE TABLE" in statement:
            DatabaseArtifactStore(first).write("c0ffee", io.BytesIO(b"one"))

    store = DatabaseArtifactStore(second)
    store.write("decaf", io.BytesIO(b"two"))
    assert store.open_reader("c0ffee").read() == b"one"
    assert store.open_reader("decaf").read() == b"two"
    first.dispose()
    second.dispose()


def test_a_storage_without_a_database_has_one_memory_while_it_lives(tmp_path: Path) -> None:
    storage, other = InMemoryStorage(), InMemoryStorage()
    store = artifact_store(storage)
    assert artifact_store(storage) is store is not artifact_store(other)
    forgotten = weakref.ref(store)
    del store, storage
    gc.collect()
    assert forgotten() is None
    # A journal has no database either, and no other process has what this one kept.
    file = str(tmp_path / "journal")
    journal, again = (JournalStorage(JournalFileBackend(file)) for _ in range(2))
    study = optuna.create_study(study_name="s", storage=journal)
    save_artifacts(journal, study, {"a.csv": b"1"})
    assert load_artifact(journal, study, "a.csv") == b"1"
    with pytest.raises(ConfigError, match=r"'a.csv' of study 's' must be in this storage"):
        load_artifact(again, study, "a.csv")


def test_what_is_not_there_is_one_line_that_says_what_is(tmp_path: Path) -> None:
    storage = in_database(tmp_path)
    study = optuna.create_study(study_name="s", storage=storage)
    trial = study.ask()
    save_artifacts(storage, trial, {"a.csv": b"1"})
    with pytest.raises(ConfigError, match=r"one of trial 0, but got 'b.csv'; available: a.csv"):
        load_artifact(storage, trial, "b.csv")
    with pytest.raises(ConfigError, match=r"one of study 's', but got 'a.csv'; available: none"):
        load_artifact(storage, study, "a.csv")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE foretune_artifacts SET content = substr(content, 1, 5)",
        "UPDATE foretune_artifacts SET content = CAST('E' || substr(content, 2) AS BLOB)",
        "UPDATE foretune_artifacts SET size = size + 1",
        "UPDATE foretune_artifacts SET sha256 = ''",
        "UPDATE foretune_artifacts SET content = 'a text'",
    ],
)
def test_a_damaged_artifact_is_refused(damage: str, tmp_path: Path) -> None:
    storage = in_database(tmp_path)
    trial = optuna.create_study(storage=storage).ask()
    (artifact_id,) = save_artifacts(storage, trial, {"curves.csv": "epoch,loss"})
    execute(storage, damage)
    with pytest.raises(ForetuneError, match=r"must be (1[01] bytes with SHA-256|bytes)") as error:
        load_artifact(storage, trial, "curves.csv")
    assert "'curves.csv' of trial 0" in str(error.value)
    with pytest.raises(ForetuneError, match=artifact_id):
        artifact_store(storage).open_reader(artifact_id)
    # Saved again, it is whole again.
    save_artifacts(storage, trial, {"curves.csv": "epoch"})
    assert load_artifact(storage, trial, "curves.csv") == b"epoch"


BAD_NAMES = ["", ".", "..", "a/b", "../a", "a\\b", "C:a", "a\0b", "a\nb", "\ud800", "é" * 101]


@pytest.mark.parametrize("filename", BAD_NAMES)
def test_a_filename_must_be_a_plain_name(filename: str) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage)
    with pytest.raises(ConfigError, match="filename must be a plain name") as error:
        save_artifacts(storage, study, {filename: b""})
    assert "\n" not in str(error.value)
    # One that came by another way is not offered as a name to write a file under.
    meta = {"artifact_id": "c0ffee", "filename": filename, "mimetype": "a/b", "encoding": None}
    storage.set_study_system_attr(study._study_id, "artifacts:c0ffee", json.dumps(meta))
    assert artifact_names(storage, study) == []


def test_any_plain_name_will_do() -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage)
    names = sorted(["..a", "a..b", ".hidden", "loss curve (1).png", "größe.csv", "é" * 100])
    for name in names:
        save_artifacts(storage, study, {name: name})
    assert artifact_names(storage, study) == names
    assert [load_artifact(storage, study, name).decode() for name in names] == names


def start(script: str, url: str, *args: str) -> subprocess.Popen[str]:
    """Start a process that makes its imports and waits for :func:`go`."""
    code = textwrap.dedent(HEAD) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, url, *args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def go(*processes: subprocess.Popen[str]) -> None:
    """Let them begin together, once the last of them is ready."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


HEAD = """
    import os, signal, sys
    import optuna
    from foretune.search.storage.artifact_store import artifact_store
    from foretune.search.storage.artifacts import save_artifacts
    from foretune.search.storage.connect import open_storage
    optuna.logging.disable_default_handler()
    url = sys.argv[1]
    print("ready", flush=True)
    input()
"""

SAVE_BESIDE_ANOTHER = """
    me = sys.argv[2]
    storage = open_storage(url)
    study = optuna.create_study(study_name="s", storage=storage, load_if_exists=True)
    trial = study.ask()
    for number in range(5):
        save_artifacts(storage, trial, {f"{number}.csv": f"{me} {number}" * 1000})
        save_artifacts(storage, study, {f"{me}-{number}.csv": f"{me} {number}" * 1000})
        save_artifacts(storage, study, {"of all.csv": me * 1000})
"""


def test_processes_save_at_the_same_time_into_a_fresh_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    processes = [start(SAVE_BESIDE_ANOTHER, url, me) for me in ("a", "b")]
    go(*processes)
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    storage = open_storage(url)
    study = optuna.load_study(study_name="s", storage=storage)
    for number in range(5):
        contents = {load_artifact(storage, trial, f"{number}.csv") for trial in study.trials}
        assert contents == {f"{me} {number}".encode() * 1000 for me in "ab"}
        for me in "ab":
            content = load_artifact(storage, study, f"{me}-{number}.csv")
            assert content == f"{me} {number}".encode() * 1000
    assert load_artifact(storage, study, "of all.csv") in (b"a" * 1000, b"b" * 1000)
    assert rows(storage) == len(get_all_artifact_meta(study)) + 10 == 21


def assert_all_whole(storage: BaseStorage, owner: optuna.Study | FrozenTrial) -> int:
    """Load all that is announced; each file is one letter, many times."""
    metas = get_all_artifact_meta(owner, storage=storage)
    for meta in metas:
        content = load_artifact(storage, owner, meta.filename)
        assert content == content[:1] * 300_000
    return len(metas)


# One process for each statement that two savings make, killed before it.
KILLED_BEFORE_EACH_STATEMENT = """
    from sqlalchemy import Engine, event

    def save(before):
        storage = open_storage(url)
        study = optuna.create_study(study_name=str(before), storage=storage)
        left = before
        artifact_store(storage)

        @event.listens_for(Engine, "before_cursor_execute")
        def count(*_):
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

        save_artifacts(storage, study, {"a.png": b"a" * 300_000})
        save_artifacts(storage, study, {"a.png": b"b" * 300_000})

    open_storage("sqlite:///:memory:")  # what the first opening loads, for all children
    for before in range(100):
        child = os.fork()
        if not child:
            save(before)
            os._exit(0)
        if os.waitpid(child, 0)[1] != signal.SIGKILL:
            print(before)
            break
"""


def test_no_artifact_is_announced_before_it_is_whole(tmp_path: Path) -> None:
    """Whichever statement a saving process gets to, what it leaves can be loaded."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    process = start(KILLED_BEFORE_EACH_STATEMENT, url)
    go(process)
    output, errors = process.communicate()
    statements = int(output) if output.strip().isdigit() else pytest.fail(errors)
    assert statements >= 8
    storage = open_storage(url)
    names = [str(before) for before in range(statements + 1)]
    studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
    announced = [assert_all_whole(storage, study) for study in studies]
    # Nothing, then the first file, then (found by its letter) the second.
    assert announced == sorted(announced)
    assert set(announced) == {0, 1}
    assert load_artifact(storage, studies[-1], "a.png")[:1] == b"b"


SAVE_UNTIL_KILLED = """
    storage = open_storage(url)
    study = optuna.create_study(study_name="s", storage=storage)
    trial = study.ask()
    for number in range(100_000):
        letter = b"abcdefghij"[number % 10 :][:1]
        save_artifacts(storage, trial, {f"{number % 50}.png": letter * 300_000})
        save_artifacts(storage, study, {f"{number}.png": letter * 300_000})
        if number == 3:
            print("saving", flush=True)
"""


def test_a_killed_process_leaves_whole_files(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    process = start(SAVE_UNTIL_KILLED, url)
    go(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "saving\n"
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    storage = open_storage(url)
    study = optuna.load_study(study_name="s", storage=storage)
    announced = assert_all_whole(storage, study) + assert_all_whole(storage, study.trials[0])
    assert announced >= 8
    assert rows(storage) - announced in (0, 1)  # one may have been written, not announced


def request(app: WSGIApplication, path: str, method: str = "GET") -> tuple[str, str, bytes]:
    """Ask a WSGI application; return the status, content type and body."""
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ |= {"PATH_INFO": path, "REQUEST_METHOD": method}
    answer: dict[str, Any] = {}

    def start_response(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
        answer.update(dict(headers), status=status)

    body = b"".join(app(environ, start_response))
    return answer["status"], answer.get("Content-Type", ""), body


@pytest.mark.parametrize("make", [in_database, in_memory])
def test_the_dashboard_shows_artifacts(make: Callable[[Path], BaseStorage], tmp_path: Path) -> None:
    storage = make(tmp_path)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    (of_trial,) = save_artifacts(storage, trial, {"curves.csv": "epoch,loss"})
    (of_study,) = save_artifacts(storage, study, {"figure.png": PNG})
    app = optuna_dashboard.wsgi(storage, artifact_store=artifact_store(storage))
    got = request(app, get_artifact_path(trial, of_trial))
    assert got == ("200 OK", "text/csv", b"epoch,loss")
    assert request(app, get_artifact_path(study, of_study)) == ("200 OK", "image/png", PNG)
    # It lists them where its pages look.
    listed = json.loads(request(app, f"/api/studies/{study._study_id}")[2])
    assert [each["artifact_id"] for each in listed["artifacts"]] == [of_study]
    (shown,) = listed["trials"]
    assert [each["artifact_id"] for each in shown["artifacts"]] == [of_trial]
    # The page's address for a file stays when the file is replaced.
    save_artifacts(storage, study, {"figure.png": PNG * 2})
    assert request(app, get_artifact_path(study, of_study))[2] == PNG * 2


def test_what_the_dashboard_deletes_is_gone_until_it_is_saved_again(tmp_path: Path) -> None:
    storage = in_database(tmp_path)
    study = optuna.create_study(storage=storage)
    app = optuna_dashboard.wsgi(storage, artifact_store=artifact_store(storage))
    for owner in (study, study.ask()):
        (artifact_id,) = save_artifacts(storage, owner, {"a.csv": b"1"})
        path = get_artifact_path(owner, artifact_id)
        assert request(app, "/api" + path, "DELETE")[0].startswith("204")
        assert artifact_names(storage, owner) == []
        assert request(app, path)[0].startswith("404")
        with pytest.raises(ConfigError, match="available: none"):
            load_artifact(storage, owner, "a.csv")
        assert rows(storage) == 0
        # The dashboard never again shows what it has deleted: this is another.
        again = {save_artifacts(storage, owner, {"a.csv": content})[0] for content in (b"2", b"3")}
        (path,) = {get_artifact_path(owner, artifact_id) for artifact_id in again}
        assert request(app, path)[2] == b"3"
        assert load_artifact(storage, owner, "a.csv") == b"3"
        assert rows(storage) == 1
        assert request(app, "/api" + path, "DELETE")[0].startswith("204")
