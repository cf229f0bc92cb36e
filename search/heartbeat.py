"""Heartbeat: a worker's sign of life, written beside the training."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage

from foretune.search.storage.connect import behind_cache, is_on_disk
from foretune.search.trial_marks import BEAT, DEFAULT_BEAT, beat_mark


class Heartbeat:
    """Counts on in an attribute of every trial that this process runs.

    A thread does it while the context lasts, and waits with the storage while the database is away.
    The first beat is written with the trial's start.

    Args:
        storage: of the trials.
        seconds: between two beats.
        look: called at every beat, to look at the others' hearts.

    Example:
        >>> with Heartbeat(storage) as heart, heart.beating_for(trial._trial_id):
        ...     objective(trial)
    """

    def __init__(
        self,
        storage: BaseStorage,
        seconds: float = DEFAULT_BEAT,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self._look = look
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
        # Ctrl-C while waiting for the database: this process is about to end.
        with suppress(KeyboardInterrupt):
            while not self._stopped.wait(self._seconds):
                self._beat_once()

    def _beat_once(self) -> None:
        self._count += 1
        with self._lock:
            trials = sorted(self._trials)
        for trial_id in trials:
            self._beat(trial_id)
        # Whatever the database says: a heart that stops is a worker lost.
        with suppress(Exception):
            self._look()

    def _beat(self, trial_id: int) -> None:
        try:
            mark = beat_mark(self._count, self._seconds)
            self._storage.set_trial_system_attr(trial_id, BEAT, mark)
        except (UpdateFinishedTrialError, KeyError):
            self.stop(trial_id)  # it is not this worker's any more, or was deleted
        except Exception:
            pass


def _is_open_to_threads(storage: BaseStorage) -> bool:
    """Whether this thread sees what others do: SQLite in memory gives each its own database."""
    database = behind_cache(storage)
    return not isinstance(database, RDBStorage) or is_on_disk(database.engine.url)
