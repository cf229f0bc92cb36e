"""How far along a study is: whether it runs, trials by state, rate, time left, best value."""

import time
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState
from rich.markup import escape
from rich.table import Table

from foretune.models.config import MetricName
from foretune.search.storage.lease import driver_of, format_driver
from foretune.search.study.best import best_so_far
from foretune.search.study.spec import OBJECTIVE_NAME, StudySpec, format_value
from foretune.search.study.target import StudyTarget
from foretune.search.study.trials import DRIVER_MARK, counted_trials, is_finished

State = Literal["running", "stopped", "done", "exhausted"]


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """How far along a study is.

    ``state`` is ``exhausted`` where the sampler has nothing left to suggest. ``driver`` names the
    process that runs the study, None if there is none. ``wanted`` and ``left`` are None where
    no run has said how many trials it is to have. ``trials_per_hour`` is None while nothing runs or
    before a trial has finished, as is ``left``. Tries that were run again as another trial
    are counted nowhere. ``metric`` is what ``best_value`` is.
    """

    study_name: str
    state: State
    finished: int
    wanted: int | None
    states: dict[str, int]
    driver: str | None
    trials_per_hour: float | None
    left: timedelta | None
    best_value: float | None
    best_number: int | None
    metric: MetricName = OBJECTIVE_NAME

    def table(self) -> Table:
        """Return it as a table for a terminal."""
        table = Table(title=escape(f"study {self.study_name}"), title_justify="left")
        table.show_header = False
        table.add_row("state", escape(self.state + (f" by {self.driver}" if self.driver else "")))
        of = "" if self.wanted is None else f" of {self.wanted}"
        table.add_row("finished", f"{self.finished}{of}")
        counts = ", ".join(f"{count} {state}" for state, count in self.states.items())
        table.add_row("trials by state", counts or "none")
        if self.state == "running":
            rate = self.trials_per_hour
            table.add_row("rate", "not known yet" if rate is None else f"{rate:.4g} trials an hour")
            left = self.left
            table.add_row("time left", "not known yet" if left is None else _format_duration(left))
        best = "none yet"
        if self.best_value is not None:
            known = "; persistence is 1" if self.metric == OBJECTIVE_NAME else ""
            value = format_value(self.best_value, self.metric, 6)
            best = f"{value} (trial {self.best_number}{known})"
        table.add_row(f"best {self.metric}", best)
        return table


def study_status(study: optuna.Study) -> StudyStatus:
    """Return how far along ``study`` is.

    Example:
        >>> study_status(load_study("sp500")).state
        'done'
    """
    driver = driver_of(study)
    trials = counted_trials(study)
    finished = sum(map(is_finished, trials))
    target = StudyTarget.stored(study)
    wanted = None if target is None else target.trials
    rate = None if driver is None else _trials_per_hour(trials, driver.get("since"))
    # What the values of another program's study mean is not known.
    spec = StudySpec.stored(study)
    best = None if spec is None else best_so_far(study)
    state: State = "stopped"
    if driver is not None:
        state = "running"
    elif target is not None and finished >= target.trials:
        state = "done"
    elif target is not None and target.exhausted:
        state = "exhausted"
    return StudyStatus(
        study_name=study.study_name,
        state=state,
        finished=finished,
        wanted=wanted,
        states=_states(trials, runs=driver is not None),
        driver=None if driver is None else format_driver(driver),
        trials_per_hour=rate,
        left=timedelta(hours=max(wanted - finished, 0) / rate) if wanted and rate else None,
        best_value=None if best is None else best.value,
        best_number=None if best is None else best.number,
        metric=OBJECTIVE_NAME if spec is None else spec.metric,
    )


def _states(trials: list[FrozenTrial], *, runs: bool) -> dict[str, int]:
    """Count trials by state; one that a killed driver has left waits for the next one."""

    def name(trial: FrozenTrial) -> str:
        left = not runs and trial.state == TrialState.RUNNING
        waits = left and trial.system_attrs.get(DRIVER_MARK)
        return "waiting" if waits else trial.state.name.lower()

    return dict(Counter(map(name, trials)).most_common())


def _trials_per_hour(trials: list[FrozenTrial], since: object) -> float | None:
    """Return the rate since the driver began; None before a trial has ended."""
    began = datetime.fromisoformat(since).timestamp() if isinstance(since, str) else time.time()
    ended = [t.datetime_complete for t in trials if is_finished(t) and t.datetime_complete]
    count = sum(moment.timestamp() >= began for moment in ended)
    hours = (time.time() - began) / 3600
    return count / hours if count and hours > 0 else None


def _format_duration(duration: timedelta) -> str:
    seconds = round(duration.total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"
