"""How far a study is: trials by state, workers alive, rate, time left, best value."""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

import optuna
from optuna.trial import FrozenTrial
from rich.markup import escape
from rich.table import Table

from foretune.search.best import best_so_far
from foretune.search.process_identity import ProcessIdentity
from foretune.search.spec import OBJECTIVE_NAME, StudySpec
from foretune.search.tickets import is_finished, is_under_way
from foretune.search.trial_marks import (
    OWNER,
    seconds_since_beat,
    seconds_until_lost,
)
from foretune.search.wanted import Wanted

# The rate is that of the latest trials, at most so many.
_LATEST = 50


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """A process with a trial, as its signs of life show it.

    Seconds are by the clocks of two machines; ``beat_seconds_ago`` is None before the first beat.
    """

    name: str
    trials: tuple[int, ...]
    begun_seconds_ago: float
    beat_seconds_ago: float | None
    alive: bool


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """How far a study is.

    ``wanted`` and ``left`` are None where nobody has said how many trials it wants.
    ``trials_per_hour`` is None before the second trial has finished, as is ``left``.
    """

    study_name: str
    finished: int
    wanted: int | None
    states: dict[str, int]
    workers: tuple[WorkerStatus, ...]
    trials_per_hour: float | None
    left: timedelta | None
    best_value: float | None
    best_number: int | None

    def table(self) -> Table:
        """Return it as a table for a terminal."""
        table = Table(title=escape(f"study {self.study_name}"), title_justify="left")
        table.show_header = False
        of = "" if self.wanted is None else f" of {self.wanted}"
        table.add_row("finished", f"{self.finished}{of}")
        table.add_row("trials by state", self._states())
        table.add_row("workers at work", str(sum(worker.alive for worker in self.workers)))
        for worker in self.workers:
            table.add_row("", escape(_worker_in_words(worker)))
        rate = self.trials_per_hour
        table.add_row("rate", "unknown yet" if rate is None else f"{rate:.4g} trials an hour")
        table.add_row("time left", "unknown yet" if self.left is None else _in_words(self.left))
        best = "none yet"
        if self.best_value is not None:
            best = f"{self.best_value:.6f} (trial {self.best_number}; persistence is 1)"
        table.add_row(f"best {OBJECTIVE_NAME}", best)
        return table

    def _states(self) -> str:
        return ", ".join(f"{count} {state}" for state, count in self.states.items()) or "none"


def study_status(study: optuna.Study) -> StudyStatus:
    """Return how far ``study`` is.

    Example:
        >>> study_status(load_study("sp500")).trials_per_hour
    """
    trials = study.get_trials(deepcopy=False)
    finished = sum(map(is_finished, trials))
    wanted = Wanted.of(study).trials if Wanted.is_known(study) else None
    rate = _trials_per_hour(trials)
    # Of a study of another program nobody knows what its values are.
    best = None if StudySpec.stored(study) is None else best_so_far(study)
    left = None
    if wanted is not None and (rate or finished >= wanted):
        left = timedelta(hours=max(wanted - finished, 0) / (rate or 1))
    return StudyStatus(
        study_name=study.study_name,
        finished=finished,
        wanted=wanted,
        states=dict(Counter(trial.state.name.lower() for trial in trials).most_common()),
        workers=_workers(trials),
        trials_per_hour=rate,
        left=left,
        best_value=None if best is None else best.value,
        best_number=None if best is None else best.number,
    )


def _workers(trials: list[FrozenTrial]) -> tuple[WorkerStatus, ...]:
    by_owner: dict[str, list[FrozenTrial]] = {}
    for trial in filter(is_under_way, trials):
        by_owner.setdefault(repr(trial.system_attrs[OWNER]), []).append(trial)
    return tuple(_worker(running) for running in by_owner.values())


def _worker(running: list[FrozenTrial]) -> WorkerStatus:
    first = running[0]
    owner = ProcessIdentity.read(first.system_attrs[OWNER])
    ago = seconds_since_beat(first, time.time())
    begun_ago = _seconds_since_start(first)
    silent = begun_ago if ago is None else ago
    alive = owner is not None and not owner.is_gone() and silent < seconds_until_lost(first)
    return WorkerStatus(
        name=str(first.user_attrs.get("worker", "unknown")),
        trials=tuple(trial.number for trial in running),
        begun_seconds_ago=begun_ago,
        beat_seconds_ago=ago,
        alive=alive,
    )


def _seconds_since_start(trial: FrozenTrial) -> float:
    if trial.datetime_start is None:
        return 0.0
    # Whatever the worker's zone, Optuna shows the time of this machine's.
    return max(time.time() - trial.datetime_start.timestamp(), 0.0)


def _trials_per_hour(trials: list[FrozenTrial]) -> float | None:
    """Return the rate of the latest finished trials, up to now: a study at rest slows down."""
    ends = sorted(
        trial.datetime_complete.timestamp()
        for trial in trials
        if is_finished(trial) and trial.datetime_complete
    )
    latest = ends[-_LATEST:]
    if len(latest) < 2:
        return None
    running = any(map(is_under_way, trials))
    until = max(time.time(), latest[-1]) if running else latest[-1]
    hours = (until - latest[0]) / 3600
    return (len(latest) - 1) / hours if hours > 0 else None


def _worker_in_words(worker: WorkerStatus) -> str:
    trials = ", ".join(map(str, worker.trials))
    ago = worker.beat_seconds_ago
    beat = f"begun {worker.begun_seconds_ago:.0f} s ago"
    if ago is not None:
        beat += f", heard of {ago:.0f} s ago"
    lost = "" if worker.alive else "; lost, and left to the next worker"
    return f"{worker.name}: trial {trials}, {beat}{lost}"


def _in_words(duration: timedelta) -> str:
    seconds = round(duration.total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"
