"""The two writes that hand out a trial, each in one transaction and only where it still applies.

A worker can be paused between reading a trial and writing it, for longer than it keeps the study's
lock. What another has done meanwhile must stay.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from optuna.storages import BaseStorage, RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import TrialState

from foretune.search.storage.attributes import set_trial_attrs, write_rows
from foretune.search.storage.connect import behind_cache, patience_of
from foretune.search.trial_marks import TICKET


def start_trial(
    storage: BaseStorage, trial_id: int, *, user: Mapping[str, Any], system: Mapping[str, Any]
) -> bool:
    """Set a waiting trial running, with marks that name whose it is.

    Args:
        storage: the study's.
        trial_id: Optuna's number of the trial.
        user: user attributes.
        system: system attributes, a ticket among them.

    Returns:
        Whether it was waiting, or has been started with this very ticket.
    """
    database = behind_cache(storage)
    if not isinstance(database, RDBStorage):
        if not _is(storage, trial_id, TrialState.WAITING):
            return False
        set_trial_attrs(storage, trial_id, user=user, system=system)
        return storage.set_trial_state_values(trial_id, TrialState.RUNNING)

    def start(session: Any, trial: Any) -> bool:
        if trial.state != TrialState.WAITING:
            return False
        write_rows(database, session, models.TrialUserAttributeModel, trial_id, user)
        write_rows(database, session, models.TrialSystemAttributeModel, trial_id, system)
        trial.state = TrialState.RUNNING
        trial.datetime_start = datetime.now()
        return True

    started = patience_of(storage)(lambda: _in_transaction(database, trial_id, start))
    return started or is_held(storage, trial_id, system[TICKET])


def give_back(storage: BaseStorage, trial_id: int, ticket: str) -> None:
    """Let a trial wait again, if it still runs with this ticket."""
    database = behind_cache(storage)
    if not isinstance(database, RDBStorage):
        if is_held(storage, trial_id, ticket):
            storage.set_trial_state_values(trial_id, TrialState.WAITING)
        return

    def back(session: Any, trial: Any) -> bool:
        mark = models.TrialSystemAttributeModel.find_by_trial_and_key(trial, TICKET, session)
        held = mark is not None and json.loads(str(mark.value_json)) == ticket
        if trial.state == TrialState.RUNNING and held:
            trial.state = TrialState.WAITING
        return True

    patience_of(storage)(lambda: _in_transaction(database, trial_id, back))


def is_held(storage: BaseStorage, trial_id: int, ticket: str) -> bool:
    """Whether a trial runs with this ticket."""
    trial = storage.get_trial(trial_id)
    return trial.state == TrialState.RUNNING and trial.system_attrs.get(TICKET) == ticket


def _is(storage: BaseStorage, trial_id: int, state: TrialState) -> bool:
    return storage.get_trial(trial_id).state == state


def _in_transaction(database: RDBStorage, trial_id: int, write: Callable[[Any, Any], bool]) -> bool:
    """Call ``write`` with a session and the trial's row, locked."""
    with _create_scoped_session(database.scoped_session) as session:
        trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        return write(session, trial)
