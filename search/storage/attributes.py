"""Many attributes of a trial written at once.

Optuna commits each attribute by itself, which on a disk takes as long as all of them together.
"""

import json
from collections.abc import Mapping
from typing import Any

from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from foretune.search.storage.connect import retry_of
from foretune.search.storage.optuna_internals import (
    SystemAttributes,
    TrialRow,
    UserAttributes,
    behind_cache,
    session_of,
    write_attribute,
)

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


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

    rows = {
        UserAttributes: user or {},
        SystemAttributes: system or {},
    }

    def write() -> None:
        with session_of(database.scoped_session, True) as session:
            trial: Any = TrialRow.find_or_raise_by_id(trial_id, session)
            database.check_trial_is_updatable(trial_id, trial.state)
            for model, attributes in rows.items():
                _write_rows(database, session, model, trial_id, attributes)

    retry_of(storage)(write)


def _write_rows(
    database: RDBStorage,
    session: Session,
    model: Any,
    trial_id: int,
    attributes: Mapping[str, Any],
) -> None:
    """Write attributes of a trial with one statement; Optuna has one, and a look, for each.

    Args:
        database: of ``session``.
        session: a transaction that is under way.
        model: Optuna's table of user attributes, or of system attributes.
        trial_id: Optuna's number of the trial.
        attributes: by name.
    """
    if not attributes:
        return
    insert = _INSERTS.get(database.engine.name)
    if insert is None:
        for name, value in attributes.items():
            write_attribute(database, session, model, trial_id, name, value)
        return
    rows = [
        {"trial_id": trial_id, "key": name, "value_json": json.dumps(value)}
        for name, value in attributes.items()
    ]
    statement = insert(model.__table__)
    replaced = {"value_json": statement.excluded.value_json}
    keys = ["trial_id", "key"]
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=replaced), rows)
