"""The driver: the one process that owns a study. It asks, reports, prunes and tells.

A trial is a chain of tasks. Each trains it a few epochs further, in any free slot, from the
snapshot that the one before it returned.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import MetricName
from foretune.models.training.tasks import Budget, DataRef, Missing, advance, lane_shape
from foretune.search.engine.executors import Slots, is_dask
from foretune.search.engine.signals import StopRequest
from foretune.search.space.space import SearchSpace
from foretune.search.storage import version1
from foretune.search.storage.lease import StudyTakenError
from foretune.search.storage.optuna_internals import (
    FIXED_PARAMS,
    end_trial,
    is_used_up,
    resumed_trial,
    start_trial,
    storage_of,
    trial_at_start,
    trial_id,
)
from foretune.search.storage.retry import STORAGE_ERRORS, StorageAwayError, is_outage
from foretune.search.study.trials import DRIVER_MARK, LOST, finished_trials, is_finished
from foretune.search.trial.record import OnEpoch, TrialRecord

# A trial fails when it has lost this many workers in a row.
_MOST_LOSSES = 3

# Seconds after which a task is late: one of a new shape, which compiles; any other, at least.
_FIRST_TASK, _LEAST_TIMEOUT, _TIMES_LONGEST = 1800.0, 300.0, 20.0

# How often a waiting driver looks for signals, new workers and late tasks.
_POLL_SECONDS = 0.1

# Seconds without a worker after which the driver says that it waits.
_ANNOUNCE_AFTER = 15.0


class DriverStudy(optuna.Study):
    """A study whose sampler may end it, as an exhausted grid does, also outside ``optimize``."""

    stopped = False

    def stop(self) -> None:
        """Note that the sampler has nothing left to suggest."""
        self.stopped = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a driver works on.

    ``shared_epoch`` says whether folds share one best epoch, ``metric`` what a trial's value is. A
    task may take ``task_timeout`` seconds; None leaves that to the driver.
    """

    n_trials: int
    space: SearchSpace
    folds: tuple[DevelopmentData, ...]
    shared_epoch: bool
    lanes: int
    cache: bool
    task_timeout: float | None
    metric: MetricName = "relative_mse"


@dataclass
class _Job:
    """A task in a slot."""

    records: list[TrialRecord]
    future: "Future[Any]"
    started: float = field(default_factory=time.monotonic)


@dataclass(kw_only=True, eq=False)
class Driver:
    """Runs the trials that a study lacks.

    Args:
        study: the study, described and under this process's lease.
        plan: what to run.
        slots: where.
        stop: whether the user wants to stop.
        check_lease: called before a trial is asked for or told.
        on_epoch: called with (trial number, config, results) after every epoch.
        on_trial: called with every trial that has ended.
    """

    study: DriverStudy
    plan: Plan
    slots: Slots
    stop: StopRequest
    check_lease: Callable[[], None]
    on_epoch: OnEpoch
    on_trial: Callable[[FrozenTrial], None]

    def __post_init__(self) -> None:
        plan = self.plan
        self._data = DataRef.of(plan.folds)
        self._budget = Budget(seconds=self.slots.chunk_seconds, lanes=plan.lanes, cache=plan.cache)
        self._records: dict[int, TrialRecord] = {}  # of all unfinished trials, by their numbers
        self._losses: Counter[int] = Counter()  # how many workers in a row were lost with each
        self._queue: list[TrialRecord] = []  # those that wait for a slot
        self._jobs: dict[int, _Job] = {}
        self._shapes: set[Hashable] = set()  # those that a task has compiled
        self._longest_task = self._longest_epoch = 0.0
        self._idle_since: float | None = None
        self._said_waiting = False

    def run(self) -> bool:
        """Run trials until the study has enough, or the sampler has nothing left to suggest.

        Returns:
            Whether the user has stopped it before that.

        Raises:
            ForetuneError: a user's mistake, met by a task; or no worker lives.
        """
        try:
            self._take_over()
            while not self.stop.requested:
                for slot in self.slots.ready():
                    if slot not in self._jobs and not self._submit(slot, []):
                        break
                if self._jobs:
                    self._idle_since, self._said_waiting = None, False
                elif not self._await_workers():
                    return False
                running = {job.future: slot for slot, job in self._jobs.items()}
                done, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    self._collect(running[future])
                self._end_late()
            # Take what running tasks return within an epoch; another driver repeats the others.
            wait([job.future for job in self._jobs.values()], timeout=self._longest_epoch + 1)
            for slot, job in list(self._jobs.items()):
                if job.future.done() and not job.future.cancelled() and not job.future.exception():
                    self._collect(slot)
        except (StorageAwayError, StudyTakenError):
            self._records.clear()  # they stay marked, and the next driver goes on with them
            raise
        finally:
            self._leave()
        return True

    # What is asked for

    def _take_over(self) -> None:
        """Go on with the trials that an earlier driver, or a worker of version 1, left running."""
        version1.repeat_given_up_trials(self.study)
        left = self.plan.n_trials - finished_trials(self.study)
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not (trial.system_attrs.get(DRIVER_MARK) or version1.was_running(trial)):
                continue  # somebody's own program runs it
            if left > 0:
                left -= self._begin(resumed_trial(self.study, trial, _new_mark()))
            else:
                self._let_wait(trial)

    def _ask(self) -> bool:
        """Start one more trial; False if there is none to start."""
        while not (self.study.stopped or self.stop.requested):
            trials = self.study.get_trials(deepcopy=False)
            if sum(map(is_finished, trials)) + len(self._records) >= self.plan.n_trials:
                return False
            waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            if not waiting and is_used_up(self.study):
                self.study.stopped = not self._records
                return False
            self.check_lease()
            if self._begin(start_trial(self.study, _new_mark(), waiting)):
                return True
        return False

    def _begin(self, trial: Trial) -> bool:
        """Prepare a started trial for a task; False if no config can have its parameters."""
        try:
            config = self.plan.space.suggest(trial)
        except StudyTakenError:
            raise
        except (ConfigError, ValueError) as error:
            enqueued = FIXED_PARAMS in trial_at_start(trial).system_attrs
            reason = f"enqueued parameters: {error}" if enqueued else str(error)
            trial.set_user_attr("error", reason)
            self.on_trial(end_trial(trial, TrialState.FAIL))
            if not enqueued:
                raise
            return False
        plan = self.plan
        record = TrialRecord(
            trial, config, plan.folds, shared_epoch=plan.shared_epoch, metric=plan.metric
        )
        if self.plan.lanes > 1:
            trial.set_user_attr("lanes", self.plan.lanes)
        self._records[trial.number] = record
        self._queue.append(record)
        return True

    # What runs

    def _submit(self, slot: int, going: list[TrialRecord]) -> bool:
        """Train trials onward in a slot, and others beside them where it has lanes."""
        records = self._group(going)
        if records:
            self._send(slot, records, held=going if self.slots.keeps_state else ())
        return bool(records)

    def _send(
        self,
        slot: int,
        records: list[TrialRecord],
        held: Sequence[TrialRecord] = (),
        *,
        with_data: bool = False,
    ) -> None:
        """Start a task. The slot still has the states of the trials in ``held``."""
        data = self._data if with_data else replace(self._data, folds=None)
        work = tuple(r.state.by_token() if r in held else r.state for r in records)
        future = self.slots.submit(slot, advance, work, data, self._budget)
        self._jobs[slot] = _Job(records, future)

    def _group(self, going: list[TrialRecord]) -> list[TrialRecord]:
        """Return what a slot trains next: ``going``, filled up with trials of the same shape.

        What is asked for at once is asked without the results of what was asked with it.
        """
        lanes, queue = self.plan.lanes, self._queue
        look_ahead = max(lanes, min(2 * lanes, self.plan.n_trials // 4))
        if not going:
            while len(queue) < lanes and self._ask():
                pass
            if not queue:
                return []
        shapes = Counter(lane_shape(record.config) for record in going or queue)
        ((shape, _),) = shapes.most_common(1)
        records = list(going)
        while len(records) < lanes:
            fitting = next((r for r in queue if lane_shape(r.config) == shape), None)
            if fitting is not None:
                queue.remove(fitting)
                records.append(fitting)
            elif len(queue) >= look_ahead or not self._ask():
                break
        return records

    # What comes back

    def _collect(self, slot: int) -> None:
        """Take what an ended task returns."""
        job = self._jobs.pop(slot)
        try:
            answer = job.future.result()
        except BaseException as error:
            lost = BrokenExecutor | CancelledError | ConnectionError
            if is_dask(error) or isinstance(error, lost):
                self.slots.end(slot, job.future)
                self._charge(job, "was killed, ran out of memory or was cut off")
                return
            if isinstance(error, Exception) and len(job.records) == 1:
                self._fail(job.records[0], error)  # of several it may be any, and all wait
            raise
        if isinstance(answer, Missing):
            if not self.stop.requested:
                self._send(slot, job.records, with_data=True)
            return
        self._longest_task = max(self._longest_task, time.monotonic() - job.started)
        going = []
        for record, progress in zip(job.records, answer, strict=True):
            self._shapes.add(lane_shape(record.config))
            self._longest_epoch = max(self._longest_epoch, progress.longest_epoch)
            self._losses[record.trial.number] = 0
            with self._dropping_ended(record):
                ended = record.take(progress, self.on_epoch)
                if ended is None:
                    going.append(record)
                else:
                    self._finish(record, ended)
        if going and slot in self.slots.ready() and not self.stop.requested:
            self._submit(slot, going)
        else:
            self._queue += going

    def _finish(self, record: TrialRecord, state: TrialState) -> None:
        self.check_lease()
        record.end()
        value = record.value if state == TrialState.COMPLETE else None
        told = end_trial(record.trial, state, value)
        record.remove_snapshots()
        del self._records[told.number]
        self.on_trial(told)

    @contextmanager
    def _dropping_ended(self, record: TrialRecord) -> Iterator[None]:
        """Leave a trial alone that another program has ended meanwhile."""
        try:
            yield
        except UpdateFinishedTrialError:
            trial = record.trial
            del self._records[trial.number]
            self.on_trial(trial.storage.get_trial(trial_id(trial)))

    # What goes wrong

    def _fail(self, record: TrialRecord, error: Exception | str, **attributes: Any) -> None:
        with self._dropping_ended(record):
            record.fail(error, **attributes)
            self._finish(record, TrialState.FAIL)

    def _charge(self, job: _Job, why: str) -> None:
        """Charge the trials of a task with the loss of its worker, and continue them elsewhere."""
        for record in job.records:
            number = record.trial.number
            self._losses[number] += 1
            if self._losses[number] < _MOST_LOSSES:
                say(f"a worker of trial {number} {why}; the trial continues from its last snapshot")
                self._queue.insert(0, record)
                continue
            reason = f"its worker {why}, {_MOST_LOSSES} times in a row"
            self._fail(record, reason, **{LOST: _MOST_LOSSES})
            if not self._shapes:
                raise ConfigError(
                    f"the first trial of study {self.study.study_name!r} could not be trained: "
                    f"every worker that ran it {why}; was the memory or the timeout too small?"
                )

    def _end_late(self) -> None:
        """End the workers of tasks that have taken too long."""
        for slot, job in list(self._jobs.items()):
            limit = self.plan.task_timeout
            if limit is None:
                limit = max(_LEAST_TIMEOUT, _TIMES_LONGEST * self._longest_task)
                if any(lane_shape(record.config) not in self._shapes for record in job.records):
                    limit = max(limit, _FIRST_TASK)
            if job.future.done() or time.monotonic() - job.started <= limit:
                continue
            if self.slots.end(slot, job.future):
                del self._jobs[slot]
                self._charge(job, f"did not answer for {limit:g} s, the task timeout")
            else:
                job.started = time.monotonic()  # no worker runs it yet

    def _await_workers(self) -> bool:
        """Wait a moment for a worker to start; False if there is nothing left to do.

        Raises:
            ConfigError: none started for half an hour.
        """
        enough = self.study.stopped or finished_trials(self.study) >= self.plan.n_trials
        if enough and not self._records:
            return False
        if self.slots.ready():
            return True
        self._idle_since = self._idle_since or time.monotonic()
        waited = time.monotonic() - self._idle_since
        if waited >= _ANNOUNCE_AFTER and not self._said_waiting:
            self._said_waiting = True
            say("waiting for a worker; press Ctrl-C to stop")
        if waited > _FIRST_TASK:
            raise ConfigError(f"a worker must start, but none did for {waited / 60:.0f} minutes")
        time.sleep(_POLL_SECONDS)
        return True

    # How it ends

    def _leave(self) -> None:
        """Leave the unfinished trials to the next driver, with their snapshots."""
        for job in self._jobs.values():
            job.future.cancel()
        for record in self._records.values():
            # The user has to see the error that ended this driver, not one from here.
            try:
                record.save_snapshot()
                self._let_wait(record.trial)
            except (*STORAGE_ERRORS, ForetuneError, KeyError, UpdateFinishedTrialError) as error:
                if isinstance(error, StorageAwayError | StudyTakenError) or is_outage(error):
                    break

    def _let_wait(self, trial: Trial | FrozenTrial) -> None:
        """Let a trial wait, without a driver's mark: another program may take it next."""
        storage = storage_of(self.study)
        storage.set_trial_state_values(trial_id(trial), TrialState.WAITING)
        storage.set_trial_system_attr(trial_id(trial), DRIVER_MARK, None)


def _new_mark() -> dict[str, str]:
    return {DRIVER_MARK: uuid4().hex}


def say(message: str) -> None:
    """Print a message for the user to standard error, where the progress is."""
    print(f"foretune: {message}", file=sys.stderr, flush=True)
