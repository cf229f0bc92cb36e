"""Many attributes of a trial written at once.

Optuna commits each attribute by itself, which on a disk takes as long as all of them together.
"""

from collections.abc import Mapping
from typing import Any

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session

from foretune.search.storage import behind_cache, patience_of


def set_trial_attrs(
    storage: BaseStorage,
    trial_id: int,
    *,
    user: Mapping[str, Any] | None = None,
    system: Mapping[str, Any] | None = None,
) -> None:
    """Write user and system attributes of a trial, in a database in one transaction.

    Args:
        storage: the study's.
        trial_id: Optuna's number of the trial in the database.
        user: attributes that people read.
        system: attributes of Optuna and its dashboard.

    Raises:
        UpdateFinishedTrialError: the trial has finished.
    """
    database = behind_cache(storage)
    if not isinstance(database, RDBStorage):
        for name, value in (user or {}).items():
            storage.set_trial_user_attr(trial_id, name, value)
        for name, value in (system or {}).items():
            storage.set_trial_system_attr(trial_id, name, value)
        return
    rows: list[tuple[Any, str, Any]] = [
        *((models.TrialUserAttributeModel, *item) for item in (user or {}).items()),
        *((models.TrialSystemAttributeModel, *item) for item in (system or {}).items()),
    ]

    def write() -> None:
        # Optuna has no public way to more than one attribute.
        with _create_scoped_session(database.scoped_session, True) as session:
            for model, name, value in rows:
                database._set_trial_attr_without_commit(session, model, trial_id, name, value)

    patience_of(storage)(write)
