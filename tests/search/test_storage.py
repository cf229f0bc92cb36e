from pathlib import Path

import optuna
import pytest

from foretune.datasets.errors import ConfigError
from foretune.search.storage import load_study, open_storage


def test_sqlite_transactions_take_the_write_lock_at_once(tmp_path: Path) -> None:
    """Two transactions cannot both read a waiting trial: the second one has to wait."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    first, second = open_storage(url), open_storage(url)
    assert isinstance(first, optuna.storages.RDBStorage)
    assert isinstance(second, optuna.storages.RDBStorage)
    with second.engine.connect() as impatient:
        impatient.exec_driver_sql("PRAGMA busy_timeout = 1")
    with first.engine.begin():
        import sqlite3

        other = sqlite3.connect(tmp_path / "s.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()


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
    with pytest.raises(ConfigError, match="but got 'a'; there: mine"):
        load_study("a", f"sqlite:///{file}")


def test_storage_objects_pass_through() -> None:
    storage = optuna.storages.InMemoryStorage()
    assert open_storage(storage) is storage
