import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from foretune.datasets.common.errors import ConfigError
from foretune.search.storage.connect import load_study, open_storage


def test_sqlite_transactions_take_the_write_lock_at_once(tmp_path: Path) -> None:
    """Two transactions cannot both read a waiting trial: the second one has to wait."""
    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")
    (engine,) = [
        part.engine
        for part in vars(storage).values()
        if isinstance(part, optuna.storages.RDBStorage)
    ]
    with engine.begin():
        other = sqlite3.connect(tmp_path / "s.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


OPEN = """
import sys

from foretune.search.storage.connect import open_storage

open_storage(sys.argv[1])
"""


def test_several_processes_may_make_one_database(tmp_path: Path) -> None:
    """Real processes, all at once, on a file that is not there yet."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    command = [sys.executable, "-c", OPEN, url]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, errors


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("foretune.db", "must be a database URL such as sqlite:///foretune.db"),
        ("mysql://user:hunter2@host/db", "must be sqlite:// or postgresql://, but got mysql://"),
        ("sqlite:////nowhere/at/all.db", "cannot be opened: unable to open database file"),
        ("postgresql+nodriver://user:hunter2@host/db", r"postgresql\+nodriver://user:\*\*\*@host"),
    ],
)
def test_unusable_storage_is_one_line_without_secrets(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        open_storage(url)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_loading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "s.db"
    with pytest.raises(ConfigError, match="must be a database that exists"):
        load_study("a", f"sqlite:///{file}")
    assert not file.exists()
    optuna.create_study(study_name="mine", storage=f"sqlite:///{file}")
    with pytest.raises(ConfigError, match="but got 'a'; available: mine"):
        load_study("a", f"sqlite:///{file}")


def test_storage_objects_pass_through() -> None:
    storage = optuna.storages.InMemoryStorage()
    assert open_storage(storage) is storage


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@x:word@h/db", "sqlite:///x?timeout=a"])
def test_a_url_that_breaks_the_parser_is_one_line(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        open_storage(url)
    assert "hunter2" not in str(error.value)
