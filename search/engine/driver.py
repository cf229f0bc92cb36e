"""The driver: the one process that owns a study. It asks, reports, prunes and tells.

A trial is a chain of tasks. Each trains it a few epochs onward, in whatever slot is free, from the
snapshot that the one before it has returned.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.models.training.lane_tasks import lane_shape
from foretune.models.training.tasks import Budget, DataRef, Missing, TrainingState, advance
from foretune.search.engine.executors import Slots
from foretune.search.engine.signals import StopRequest
from foretune.search.space.space import SearchSpace
from foretune.search.storage.optuna_internals import (
    end_trial,
    is_used_up,
    resumed_trial,
    start_trial,
    storage_of,
    trial_id,
)
from foretune.search.storage.retry import STORAGE_ERRORS, StorageAwayError
from foretune.search.study import version1
from foretune.search.study.target import LOST, MARK, finished_trials, is_finished
from foretune.search.trial.objective import trains_one_by_one
from foretune.search.trial.record import OnEpoch, TrialRecord

# So many workers may be lost with a trial, one after another, before it fails.
_MOST_LOSSES = 3

# A task is late after so many seconds: that of a new shape, which compiles, and others at least.
_FIRST_TASK, _LEAST_TIMEOUT, _TIMES_LONGEST = 1800.0, 300.0, 20.0

# How often the driver looks up from waiting: for signals, new workers, late tasks.
_POLL_SECONDS = 0.1

# After so many seconds without a worker it says that it waits.
_ANNOUNCE_AFTER = 15.0


class DriverStudy(optuna.Study):
    """A study whose sampler may end it, as an exhausted grid does, also outside ``optimize``."""

    stopped = False

    def stop(self) -> None:
        """Note that the sampler has nothing left to ask for."""
        self.stopped = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a driver works on.

    ``epochs`` bounds a task, and ``task_timeout`` how long one may take in seconds; None leaves
    both to the driver.
    """

    n_trials: int
    space: SearchSpace
    data: DataRef
    lanes: int
    cache: bool
    task_timeout: float | None
    epochs: int | None = None


@dataclass(eq=False)
class _Member:
    """A trial in the driver's hands, and how many workers in a row were lost with it."""

    record: TrialRecord
    losses: int = 0

    @property
    def shape(self) -> Hashable:
        return lane_shape(self.record.config)


@dataclass
class _Job:
    """A task in a slot."""

    members: list[_Member]
    future: "Future[Any]"
    started: float = field(default_factory=time.monotonic)


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

    def __init__(
        self,
        study: DriverStudy,
        plan: Plan,
        slots: Slots,
        *,
        stop: StopRequest,
        check_lease: Callable[[], None],
        on_epoch: OnEpoch,
        on_trial: Callable[[FrozenTrial], None],
    ) -> None:
        self._study = study
        self._plan = plan
        self._slots = slots
        self._stop = stop
        self._check_lease = check_lease
        self._on_epoch = on_epoch
        self._on_trial = on_trial
        self._one_by_one = trains_one_by_one(study.pruner, len(plan.data.folds or ()))
        self._digest = DataRef(digest=plan.data.digest, folds=None)
        self._members: dict[int, _Member] = {}  # all in hand, by their trials' numbers
        self._queue: list[_Member] = []  # those that wait for a slot
        self._jobs: dict[int, _Job] = {}
        self._shapes: set[Hashable] = set()
        self._longest_task = self._longest_epoch = 0.0
        self._idle_since: float | None = None

    def run(self) -> bool:
        """Run trials until the study has enough, or the sampler has nothing left to ask for.

        Returns:
            Whether the user has stopped it before that.

        Raises:
            ForetuneError: a user's mistake, met by a task; or no worker lives.
        """
        try:
            self._take_over()
            while not self._stop.requested:
                self._fill()
                if self._jobs:
                    self._idle_since = None
                elif not self._await_workers():
                    return False
                self._collect(_POLL_SECONDS)
                self._end_late()
            self._collect_last()
        except StorageAwayError:
            self._members.clear()  # they stay marked, and the next driver goes on with them
            raise
        finally:
            self._leave()
        return True

    # What is asked for

    def _take_over(self) -> None:
        """Go on with the trials that an earlier driver, or a worker of version 1, left running."""
        version1.repeat_given_up_trials(self._study)
        left = self._plan.n_trials - finished_trials(self._study)
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if not (trial.system_attrs.get(MARK) or version1.was_running(trial)):
                continue  # somebody's own program runs it
            if left > 0:
                left -= self._begin(resumed_trial(self._study, trial, _new_mark()))
            else:
                self._let_wait(trial)

    def _ask(self) -> bool:
        """Start one more trial; False if there is none to start."""
        while not (self._study.stopped or self._stop.requested):
            trials = self._study.get_trials(deepcopy=False)
            if sum(map(is_finished, trials)) + len(self._members) >= self._plan.n_trials:
                return False
            waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
            if not waiting and is_used_up(self._study):
                self._study.stopped = not self._members
                return False
            self._check_lease()
            if self._begin(start_trial(self._study, _new_mark(), waiting)):
                return True
        return False

    def _begin(self, trial: Trial) -> bool:
        """Prepare a started trial for a task; False if no config can have its parameters."""
        try:
            config = self._plan.space.suggest(trial)
        except (ConfigError, ValueError) as error:
            stored = trial.storage.get_trial(trial_id(trial))
            enqueued = "fixed_params" in stored.system_attrs
            reason = f"enqueued parameters: {error}" if enqueued else str(error)
            trial.set_user_attr("error", reason)
            self._on_trial(end_trial(trial, TrialState.FAIL))
            if not enqueued:
                raise
            return False
        folds = self._plan.data.folds or ()
        record = TrialRecord(trial, config, folds, one_by_one=self._one_by_one)
        if self._plan.lanes > 1:
            trial.set_user_attr("lanes", self._plan.lanes)
        member = self._members[trial.number] = _Member(record)
        self._queue.append(member)
        return True

    # What runs

    def _fill(self) -> None:
        """Give every free slot something to do."""
        for slot in self._slots.ready():
            if slot not in self._jobs and not self._submit(slot, []):
                break

    def _submit(self, slot: int, going: list[_Member]) -> bool:
        """Train trials onward in a slot, and others beside them where it has lanes."""
        members = self._group(going)
        if not members:
            return False
        held = going if self._slots.keeps_state else []
        work = tuple(m.record.state.by_token() if m in held else m.record.state for m in members)
        self._send(slot, members, work, self._digest)
        return True

    def _send(
        self, slot: int, members: list[_Member], work: tuple[TrainingState, ...], data: DataRef
    ) -> None:
        budget = Budget(
            seconds=self._slots.chunk_seconds,
            epochs=self._plan.epochs,
            lanes=self._plan.lanes,
            cache=self._plan.cache,
        )
        future = self._slots.submit(slot, advance, work, data, budget)
        self._jobs[slot] = _Job(members, future)

    def _group(self, going: list[_Member]) -> list[_Member]:
        """Return what a slot trains next: what goes on there, filled up with trials of its shape.

        What is asked for at once is asked without the results of what was asked with it.
        """
        lanes, queue = self._plan.lanes, self._queue
        look_ahead = max(lanes, min(2 * lanes, self._plan.n_trials // 4))
        if not going:
            while len(queue) < lanes and self._ask():
                pass
            if not queue:
                return []
        shapes = Counter(member.shape for member in going or queue)
        ((shape, _),) = shapes.most_common(1)
        members = list(going)
        while len(members) < lanes:
            fitting = next((member for member in queue if member.shape == shape), None)
            if fitting is not None:
                queue.remove(fitting)
                members.append(fitting)
            elif len(queue) >= look_ahead or not self._ask():
                break
        return members

    # What comes back

    def _collect(self, seconds: float) -> None:
        """Wait for tasks to end, and take what they return."""
        running = {job.future: slot for slot, job in self._jobs.items()}
        done, _ = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
        for future in done:
            self._collect_one(running[future])

    def _collect_one(self, slot: int) -> None:
        job = self._jobs.pop(slot)
        try:
            answer = job.future.result()
        except BaseException as error:
            if not _is_loss(error):
                self._fail(job, error)
                raise
            self._lost(slot, job, "was killed, ran out of memory or was cut off")
            return
        if isinstance(answer, Missing):
            if self._stop.requested:
                return
            whole = tuple(member.record.state for member in job.members)
            self._send(slot, job.members, whole, self._plan.data)
            return
        self._longest_task = max(self._longest_task, time.monotonic() - job.started)
        going = []
        for member, progress in zip(job.members, answer, strict=True):
            self._shapes.add(member.shape)
            self._longest_epoch = max(self._longest_epoch, progress.longest_epoch)
            member.losses = 0
            with self._dropping_ended(member):
                ended = member.record.take(progress, self._on_epoch)
                if ended is None:
                    going.append(member)
                else:
                    self._finish(member, ended)
        if going and slot in self._slots.ready() and not self._stop.requested:
            self._submit(slot, going)
        else:
            self._queue += going

    def _finish(self, member: _Member, state: TrialState) -> None:
        record = member.record
        record.end()
        self._check_lease()
        value = record.value if state == TrialState.COMPLETE else None
        told = end_trial(record.trial, state, value)
        record.remove_snapshots(told)
        del self._members[told.number]
        self._on_trial(told)

    @contextmanager
    def _dropping_ended(self, member: _Member) -> Iterator[None]:
        """Leave a trial as it is that another program has ended meanwhile."""
        try:
            yield
        except UpdateFinishedTrialError:
            trial = member.record.trial
            del self._members[trial.number]
            self._on_trial(trial.storage.get_trial(trial_id(trial)))

    # What goes wrong

    def _fail(self, job: _Job, error: BaseException) -> None:
        """End the trial that an error has ended; of several it may be any, and all wait."""
        if isinstance(error, Exception) and len(job.members) == 1:
            (member,) = job.members
            with self._dropping_ended(member):
                member.record.fail(error)
                self._finish(member, TrialState.FAIL)

    def _lost(self, slot: int, job: _Job, why: str) -> None:
        """Charge the trials of a slot with the loss of its worker, and let them go on elsewhere."""
        if not self._slots.end(slot, job.future):
            job.started = time.monotonic()
            self._jobs[slot] = job
            return
        for member in job.members:
            member.losses += 1
            if member.losses < _MOST_LOSSES:
                number = member.record.trial.number
                say(f"a worker of trial {number} {why}; the trial goes on from its last snapshot")
                self._queue.insert(0, member)
                continue
            reason = f"its worker {why}, {member.losses} times in a row"
            with self._dropping_ended(member):
                member.record.fail(reason, **{LOST: member.losses})
                self._finish(member, TrialState.FAIL)
            if not self._shapes:
                raise ConfigError(
                    f"study {self._study.study_name!r} must get on, but every worker of its first "
                    f"trial {why}; was the memory too small, or the timeout?"
                )

    def _end_late(self) -> None:
        """End the workers of tasks that have taken too long."""
        for slot, job in list(self._jobs.items()):
            if job.future.done():
                continue
            limit = self._plan.task_timeout
            if limit is None:
                limit = max(_LEAST_TIMEOUT, _TIMES_LONGEST * self._longest_task)
                if any(member.shape not in self._shapes for member in job.members):
                    limit = max(limit, _FIRST_TASK)
            if time.monotonic() - job.started > limit:
                del self._jobs[slot]
                self._lost(slot, job, f"did not answer for {limit:g} s, the task timeout")

    def _await_workers(self) -> bool:
        """Wait a moment for a worker to start; False if there is nothing left to do.

        Raises:
            ConfigError: none came for half an hour.
        """
        if not (self._members or self._needs_trials):
            return False
        if self._slots.ready():
            return True
        now = time.monotonic()
        before = self._idle_since
        self._idle_since = now if before is None else before
        waited = now - self._idle_since
        if waited >= _ANNOUNCE_AFTER > waited - _POLL_SECONDS:
            say("waiting for a worker; Ctrl-C stops")
        if waited > _FIRST_TASK:
            raise ConfigError(f"workers must come, but none did for {waited / 60:.0f} minutes")
        time.sleep(_POLL_SECONDS)
        return True

    @property
    def _needs_trials(self) -> bool:
        return not self._study.stopped and finished_trials(self._study) < self._plan.n_trials

    # How it ends

    def _collect_last(self) -> None:
        """Take what running tasks return within an epoch; another driver repeats the others."""
        wait([job.future for job in self._jobs.values()], timeout=self._longest_epoch + 1)
        for slot, job in list(self._jobs.items()):
            if job.future.done() and not job.future.cancelled() and not job.future.exception():
                self._collect_one(slot)

    def _leave(self) -> None:
        """Let the trials in hand wait for the next driver, from where they are."""
        for job in self._jobs.values():
            job.future.cancel()
        # Whatever ends this driver is the error to hear of.
        with suppress(*STORAGE_ERRORS, ForetuneError, KeyError):
            for member in self._members.values():
                with suppress(UpdateFinishedTrialError):
                    member.record.save_snapshot()
                    self._let_wait(member.record.trial)

    def _let_wait(self, trial: Trial | FrozenTrial) -> None:
        """Let a trial wait, and not as a driver's: whoever takes it next may be another program."""
        storage = storage_of(self._study)
        storage.set_trial_state_values(trial_id(trial), TrialState.WAITING)
        storage.set_trial_system_attr(trial_id(trial), MARK, None)


def _new_mark() -> dict[str, str]:
    return {MARK: uuid4().hex}


def _is_loss(error: BaseException) -> bool:
    """Whether a task's error is that of its worker, not its own."""
    cut_off = type(error).__module__.startswith("distributed.")
    return isinstance(error, BrokenExecutor | CancelledError | ConnectionError) or cut_off


def say(message: str) -> None:
    """Tell the user, beside what is shown of the progress."""
    print(f"foretune: {message}", file=sys.stderr, flush=True)
