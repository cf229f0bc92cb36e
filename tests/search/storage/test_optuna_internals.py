"""Many attributes at once, as Optuna itself reads them."""

from collections.abc import Iterator

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, InMemoryStorage

from foretune.search.storage.connect import open_storage
from foretune.search.storage.optuna_internals import behind_cache, set_trial_attrs

USER = {"value": 0.1, "name": 'ü "<b>"', "list": [1, None, {"a": True}]}
SYSTEM = {"artifacts:1": "{}", "fixed": 3}


@pytest.fixture
def storage(database_url: str) -> Iterator[BaseStorage]:
    opened = open_storage(database_url)
    yield opened
    opened.remove_session()
    behind_cache(opened).engine.dispose()  # type: ignore[attr-defined]


def test_optuna_reads_what_was_written_last(storage: BaseStorage) -> None:
    study = optuna.create_study(study_name="s", storage=storage)
    trial, other = study.ask(), study.ask()
    trial.set_user_attr("value", "before")
    trial.set_user_attr("stays", 1)
    set_trial_attrs(storage, trial._trial_id, USER)
    set_trial_attrs(storage, trial._trial_id, SYSTEM, system=True)
    set_trial_attrs(storage, trial._trial_id, {"name": "again"})
    set_trial_attrs(storage, trial._trial_id, {})
    read = optuna.load_study(study_name="s", storage=storage).trials
    assert read[0].user_attrs == {"stays": 1} | USER | {"name": "again"}
    assert read[0].system_attrs == SYSTEM
    assert read[other.number].user_attrs == {}


def test_a_finished_trial_stays_as_it_is(storage: BaseStorage) -> None:
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    study.tell(trial, 1.0)
    with pytest.raises(UpdateFinishedTrialError):
        set_trial_attrs(storage, trial._trial_id, USER)
    assert study.trials[0].user_attrs == {}


def test_a_storage_without_a_database_has_them_one_by_one() -> None:
    storage = InMemoryStorage()
    trial = optuna.create_study(storage=storage).ask()
    set_trial_attrs(storage, trial._trial_id, USER)
    set_trial_attrs(storage, trial._trial_id, SYSTEM, system=True)
    assert storage.get_trial(trial._trial_id).user_attrs == USER
    assert storage.get_trial(trial._trial_id).system_attrs == SYSTEM
