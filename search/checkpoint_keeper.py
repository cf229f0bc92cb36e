"""CheckpointKeeper: saves a long trial every minute, and finds what the worker before it saved."""

import io
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import Trial

from foretune.datasets.errors import ForetuneError
from foretune.datasets.splits import Development
from foretune.models.config import TrialConfig
from foretune.search.artifacts import DatabaseArtifactStore, artifact_store
from foretune.search.checkpoint import Checkpoint
from foretune.search.lost_trials import HISTORY

_NAMESPACE = uuid.UUID("5a3c2d0e-0c55-4a53-9a0b-d7a1f1f7f0c4")

# A trial that takes longer than this between two checkpoints is worth one.
DEFAULT_SECONDS = 60.0


class CheckpointKeeper:
    """Keeps a trial's latest checkpoint in the study's own database, in one transaction.

    It is no artifact of the trial's: the dashboard does not show it, and it goes with the trial's
    end. Storages without a database keep none; they end with their process anyway.

    Args:
        trial: a running trial.
        seconds: between two checkpoints, and before the first.
        clock: seconds.
    """

    def __init__(
        self,
        trial: Trial,
        seconds: float = DEFAULT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        store = artifact_store(trial.storage)
        self._store = store if isinstance(store, DatabaseArtifactStore) else None
        self._trial = trial
        self._seconds = seconds
        self._clock = clock
        self._saved_at = clock()
        self._kept: set[str] = set()

    def epoch_ended(self, checkpoint: Callable[[], Checkpoint]) -> None:
        """Save what ``checkpoint`` returns, if the last one is long enough ago."""
        if self._store is None or self._clock() - self._saved_at < self._seconds:
            return
        mine = _id(self._trial._trial_id)
        self._store.write(mine, io.BytesIO(checkpoint().to_bytes()))
        self._kept.add(mine)
        self._saved_at = self._clock()

    def found(self, config: TrialConfig, folds: Sequence[Development]) -> Checkpoint | None:
        """Return the checkpoint of the trial that this one repeats; None if there is none.

        One that cannot be used is spoken of, and the trial begins anew.
        """
        if self._store is None:
            return None
        try:
            content = self._latest(self._store)
            return None if content is None else Checkpoint.from_bytes(content, config, folds)
        except ForetuneError as error:
            print(f"foretune: trial {self._trial.number} begins anew: {error}", file=sys.stderr)
            return None

    def forget(self) -> None:
        """Remove what was kept, once the trial has ended."""
        if self._store is None:
            return
        for artifact_id in self._kept:
            with suppress(ArtifactNotFound):
                self._store.remove(artifact_id)
        self._kept.clear()

    def _latest(self, store: DatabaseArtifactStore) -> bytes | None:
        """Return the latest checkpoint of the trials that this one repeats; all go with its end."""
        storage, study_id = self._trial.storage, self._trial.study._study_id
        numbers = storage.get_trial(self._trial._trial_id).system_attrs.get(HISTORY, [])
        earlier = [storage.get_trial_id_from_study_id_trial_number(study_id, n) for n in numbers]
        ids = [_id(trial_id) for trial_id in earlier]
        self._kept |= set(ids)
        for artifact_id in reversed(ids):
            try:
                return store.open_reader(artifact_id).read()
            except ArtifactNotFound:
                continue
        return None


def _id(trial_id: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"trial/{trial_id}"))
