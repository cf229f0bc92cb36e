"""Many attributes at once, as Optuna itself reads them."""

from pathlib import Path

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage
from sqlalchemy import event

from foretune.search.attributes import set_trial_attrs
from foretune.search.storage import behind_cache, open_storage

USER = {"value": 0.1, "name": 'ü "<b>"', "list": [1, None, {"a": True}]}
SYSTEM = {"artifacts:1": "{}", "fixed": 3}


@pytest.fixture(params=["database", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> BaseStorage:
    in_memory = request.param == "memory"
    return InMemoryStorage() if in_memory else open_storage(f"sqlite:///{tmp_path / 's.db'}")


def test_optuna_reads_what_was_written_last(storage: BaseStorage) -> None:
    study = optuna.create_study(study_name="s", storage=storage)
    trial, other = study.ask(), study.ask()
    trial.set_user_attr("value", "before")
    trial.set_user_attr("stays", 1)
    set_trial_attrs(storage, trial._trial_id, user=USER, system=SYSTEM)
    set_trial_attrs(storage, trial._trial_id, user={"name": "again"})
    set_trial_attrs(storage, trial._trial_id)
    read = optuna.load_study(study_name="s", storage=storage).trials
    assert read[0].user_attrs == {"stays": 1} | USER | {"name": "again"}
    assert read[0].system_attrs == SYSTEM
    assert read[other.number].user_attrs == {}


def test_a_finished_trial_stays_as_it_is(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(UpdateFinishedTrialError):
        set_trial_attrs(storage, trial._trial_id, user=USER)
    assert study.trials[0].user_attrs == {}


def test_more_attributes_take_no_more_statements(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 's.db'}")
    trial = optuna.create_study(storage=storage).ask()
    counts = []
    for many in (1, 50):
        said: list[str] = []

        def note(*arguments: object, said: list[str] = said) -> None:
            said.append(str(arguments[2]))

        engine = behind_cache(storage).engine  # type: ignore[attr-defined]
        event.listen(engine, "before_cursor_execute", note)
        set_trial_attrs(storage, trial._trial_id, user={f"n{n}": n for n in range(many)})
        event.remove(engine, "before_cursor_execute", note)
        counts.append(len(said))
    assert counts[0] == counts[1]
