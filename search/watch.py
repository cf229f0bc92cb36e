"""Watch: what one process has seen of the hearts of the others.

A worker is lost when its process has ended, which is known at once on its own machine, or when its
heart has stood still for a while before the eyes of another worker. Only time that was watched
counts, a beat for each look at most: clocks need not agree, and neither an outage of the database
nor a machine that slept makes anybody seem lost.
"""

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from typing import NamedTuple

from optuna.trial import FrozenTrial, TrialState

from foretune.search.process_identity import ProcessIdentity
from foretune.search.trial_marks import (
    BEAT,
    OWNER,
    TICKET,
    seconds_between_beats,
    seconds_until_lost,
)

# The tickets that this process holds. A trial of its own without one was left behind by it.
_held: set[str] = set()


def new_ticket() -> str:
    """Return a ticket that this process holds from now on."""
    ticket = uuid.uuid4().hex
    _held.add(ticket)
    return ticket


def let_go(ticket: str) -> None:
    """Hold ``ticket`` no longer: if its trial still runs, it was left behind."""
    _held.discard(ticket)


class _Sight(NamedTuple):
    beat: object
    silent: float  # seconds of silence that were watched


class Watch:
    """Tells whose worker is lost; look at least once a beat, from any thread.

    Args:
        clock: seconds, of this process alone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = clock()
        self._seen: dict[int, _Sight] = {}
        self._lock = threading.Lock()

    def lost(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Return those of ``trials`` whose worker is lost."""
        running = [t for t in trials if t.state == TrialState.RUNNING and OWNER in t.system_attrs]
        with self._lock:
            now = self._clock()
            passed, self._looked = now - self._looked, now
            before, self._seen = self._seen, {}
            for trial in running:
                self._seen[trial._trial_id] = _look(trial, before.get(trial._trial_id), passed)
            mine = ProcessIdentity.mine()
            return [trial for trial in running if self._is_lost(trial, mine)]

    def _is_lost(self, trial: FrozenTrial, mine: ProcessIdentity) -> bool:
        owner = ProcessIdentity.read(trial.system_attrs[OWNER])
        if owner == mine:
            return trial.system_attrs.get(TICKET) not in _held
        if owner is None or owner.is_gone():
            return True
        return self._seen[trial._trial_id].silent > seconds_until_lost(trial)


def _look(trial: FrozenTrial, before: _Sight | None, passed: float) -> _Sight:
    beat = trial.system_attrs.get(BEAT)
    if before is None or before.beat != beat:
        return _Sight(beat, 0.0)
    return _Sight(beat, before.silent + min(passed, seconds_between_beats(trial)))
