"""Heartbeat: a worker's sign of life, written beside the training."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from foretune.datasets.errors import ForetuneError
from foretune.search.lost_trials import BEAT, DEFAULT_BEAT
from foretune.search.storage import behind_cache, is_on_disk


class Heartbeat:
    """Counts on in an attribute of every trial that this process runs.

    A thread does it while the context lasts, and waits with the storage while the database is away.
    What it writes is the count, the seconds between two beats, so that others know how long to wait
    for the next, and this machine's time, for people.

    Args:
        storage: of the trials.
        seconds: between two beats.

    Example:
        >>> with Heartbeat(storage) as heart, heart.beating_for(trial._trial_id):
        ...     objective(trial)
    """

    def __init__(self, storage: BaseStorage, seconds: float = DEFAULT_BEAT) -> None:
        self._storage = storage
        self._seconds = seconds
        self._trials: set[int] = set()
        self._count = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_on, daemon=True)

    def __enter__(self) -> Self:
        """Start to beat."""
        if _is_open_to_threads(self._storage):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stopped.set()

    def start(self, trial_id: int) -> None:
        """Beat for a trial from now on."""
        with self._lock:
            self._trials.add(trial_id)

    def stop(self, trial_id: int) -> None:
        """Beat for a trial no longer."""
        with self._lock:
            self._trials.discard(trial_id)

    @contextmanager
    def beating_for(self, trial_id: int) -> Iterator[None]:
        """Beat for a trial while the context lasts."""
        self.start(trial_id)
        try:
            yield
        finally:
            self.stop(trial_id)

    def _beat_on(self) -> None:
        while not self._stopped.wait(self._seconds):
            self._count += 1
            with self._lock:
                trials = sorted(self._trials)
            for trial_id in trials:
                self._beat(trial_id)

    def _beat(self, trial_id: int) -> None:
        try:
            with suppress(StorageInternalError, SQLAlchemyError, ForetuneError):
                beat = [self._count, self._seconds, round(time.time(), 3)]
                self._storage.set_trial_system_attr(trial_id, BEAT, beat)
        except (UpdateFinishedTrialError, KeyError):
            self.stop(trial_id)  # it is not this worker's any more, or was deleted
        except KeyboardInterrupt:
            self._stopped.set()  # while waiting for the database


def _is_open_to_threads(storage: BaseStorage) -> bool:
    """Whether this thread sees what others do: SQLite in memory gives each its own database."""
    database = behind_cache(storage)
    return not isinstance(database, RDBStorage) or is_on_disk(database.engine.url)
