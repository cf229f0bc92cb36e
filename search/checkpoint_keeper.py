"""CheckpointKeeper: saves a long trial every minute, and finds what the worker before it saved."""

import io
import sys
import time
from collections.abc import Callable, Sequence

from optuna.trial import Trial

from foretune.datasets.errors import ForetuneError
from foretune.datasets.splits import Development
from foretune.models.config import TrialConfig
from foretune.search.checkpoint import Checkpoint
from foretune.search.checkpoint_rows import checkpoint_id, earlier_checkpoint
from foretune.search.storage.artifact_store import DatabaseArtifactStore, artifact_store

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
        self._has_failed = False

    def epoch_ended(self, checkpoint: Callable[[], Checkpoint]) -> None:
        """Save what ``checkpoint`` returns, if the last one is long enough ago."""
        if self._store is None or self._clock() - self._saved_at < self._seconds:
            return
        try:
            content = checkpoint().to_bytes()
        except Exception as error:
            # Training matters more: a full folder for temporary files shall not end it.
            self._speak_once(f"no checkpoint of trial {self._trial.number} can be made: {error}")
        else:
            self._store.write(checkpoint_id(self._trial._trial_id), io.BytesIO(content))
        self._saved_at = self._clock()

    def found(self, config: TrialConfig, folds: Sequence[Development]) -> Checkpoint | None:
        """Return the checkpoint of the trial that this one repeats; None if there is none.

        One that cannot be used is spoken of, and the trial begins anew.
        """
        if self._store is None:
            return None
        try:
            storage, study_id = self._trial.storage, self._trial.study._study_id
            trial = storage.get_trial(self._trial._trial_id)
            content = earlier_checkpoint(self._store, storage, study_id, trial)
            return None if content is None else Checkpoint.from_bytes(content, config, folds)
        except ForetuneError as error:
            self._speak_once(f"trial {self._trial.number} begins anew: {error}")
            return None

    def _speak_once(self, words: str) -> None:
        if not self._has_failed:
            print(f"foretune: {words}", file=sys.stderr)
        self._has_failed = True
