"""Where checkpoints lie: rows of the artifact table, by ids that no trial announces."""

import uuid

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from foretune.search.storage.artifact_store import DatabaseArtifactStore, artifact_store
from foretune.search.trial_marks import earlier_trials

_NAMESPACE = uuid.UUID("5a3c2d0e-0c55-4a53-9a0b-d7a1f1f7f0c4")


def checkpoint_id(trial_id: int) -> str:
    """Return the id of the checkpoint of a trial, given Optuna's number of it in the database."""
    return str(uuid.uuid5(_NAMESPACE, f"trial/{trial_id}"))


def earlier_checkpoint(
    store: DatabaseArtifactStore, storage: BaseStorage, study_id: int, trial: FrozenTrial
) -> bytes | None:
    """Return the latest checkpoint of the trials that ``trial`` repeats; None without one.

    Raises:
        ForetuneError: it is damaged.
    """
    for artifact_id in reversed(_earlier_ids(storage, study_id, trial)):
        try:
            return store.read(artifact_id)
        except ArtifactNotFound:
            continue
    return None


def forget_checkpoints(storage: BaseStorage, study_id: int, trial: FrozenTrial) -> None:
    """Remove what was kept of a trial that has ended, and of those that it repeats."""
    store = artifact_store(storage)
    if isinstance(store, DatabaseArtifactStore):
        earlier = _earlier_ids(storage, study_id, trial)
        store.remove_all([*earlier, checkpoint_id(trial._trial_id)])


def _earlier_ids(storage: BaseStorage, study_id: int, trial: FrozenTrial) -> list[str]:
    """Return the ids of the checkpoints of the trials that ``trial`` repeats, the first's first."""
    numbers = earlier_trials(trial)
    ids = [storage.get_trial_id_from_study_id_trial_number(study_id, n) for n in numbers]
    return [checkpoint_id(trial_id) for trial_id in ids]
