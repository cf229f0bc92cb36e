"""Many attributes of a trial written at once.

Optuna commits each attribute by itself, which on a disk takes as long as all of them together.
"""

from collections.abc import Mapping
from typing import Any

from optuna.storages import BaseStorage

from foretune.search.storage.optuna_internals import RetryingStorage, behind_cache


def set_trial_attrs(
    storage: BaseStorage,
    trial_id: int,
    *,
    user: Mapping[str, Any] | None = None,
    system: Mapping[str, Any] | None = None,
) -> None:
    """Write user and system attributes of a trial, in one transaction where foretune opened it.

    Args:
        storage: the study's.
        trial_id: Optuna's number of the trial in the database.
        user: attributes that people read.
        system: attributes of Optuna and its dashboard.

    Raises:
        UpdateFinishedTrialError: the trial has finished.
    """
    user, system = user or {}, system or {}
    database = behind_cache(storage)
    if isinstance(database, RetryingStorage):
        database.write_attributes(trial_id, user, system)
        return
    for name, value in user.items():
        storage.set_trial_user_attr(trial_id, name, value)
    for name, value in system.items():
        storage.set_trial_system_attr(trial_id, name, value)
