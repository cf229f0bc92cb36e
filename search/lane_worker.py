"""The worker loop for lanes: trials of one shape train side by side, ended ones are replaced."""

import contextlib
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from foretune.models.compilation import forget_many_programs
from foretune.models.lanes import Lanes, LaneShape
from foretune.models.snapshot import Snapshot
from foretune.models.training import EpochResult, NonFiniteLossError, TrainingRun
from foretune.models.walk_forward import FoldResults
from foretune.search.checkpoint_keeper import CheckpointKeeper
from foretune.search.heartbeat import Heartbeat
from foretune.search.lost_trials import INTERRUPTED, give_up
from foretune.search.memory import Growth, WorkerGrownError
from foretune.search.tickets import hand_in
from foretune.search.trial_record import TrialRecord
from foretune.search.watch import Watch
from foretune.search.worker import (
    Listener,
    Work,
    beating,
    end_trial,
    ended_by,
    ended_elsewhere,
    existing_study,
    holding,
    next_trial,
    sampler_stopped,
)


@dataclass(frozen=True)
class _Candidate:
    """A started trial that waits for a lane."""

    record: TrialRecord
    run: TrainingRun
    keeper: CheckpointKeeper


@dataclass
class _Queue:
    """Started trials by the shape that they can share a program with."""

    work: Work
    storage: BaseStorage
    listener: Listener
    heart: Heartbeat
    total: int
    watch: Watch
    growth: Growth | None
    waiting: dict[LaneShape, deque[_Candidate]] = field(default_factory=lambda: defaultdict(deque))
    stopped: bool = False
    """whether the sampler has nothing left to ask for"""
    grown: bool = False
    """whether this process shall make room for a new one"""

    def __len__(self) -> int:
        return sum(map(len, self.waiting.values()))

    def ask(self, *, wait: bool = False) -> _Candidate | None:
        """Start one more trial, whatever its shape; None when no ticket is left.

        ``wait`` for other workers' trials only where this one has none: its own would be among
        them.
        """
        while not (self.stopped or self.grown):
            trial = next_trial(self.work, self.storage, self.listener, self.watch, wait=wait)
            if trial is None:
                break
            self.heart.start(trial._trial_id)
            candidate = self._begun(trial)
            if candidate is not None:
                self.waiting[LaneShape.of(candidate.run)].append(candidate)
                return candidate
        return None

    def ended(self, trial: Trial, told: FrozenTrial) -> None:
        """Note that a trial has ended, and whether more may be asked for."""
        self.heart.stop(trial._trial_id)
        self.listener.on_trial(told)
        self.stopped |= sampler_stopped(trial)
        self.grown |= self.growth is not None and self.growth.is_enough()

    def _begun(self, trial: Trial) -> _Candidate | None:
        """Prepare a started trial for a lane; None if it has ended before it got there."""
        try:
            return self._prepared(trial)
        except BaseException as error:
            with holding(trial):
                told = ended_by(trial, error)
            if told is None:
                raise
        self.ended(trial, told)
        return None

    def _prepared(self, trial: Trial) -> _Candidate:
        (fold,) = self.work.folds
        record = TrialRecord(trial, self.work.space.suggest(trial), self.work.folds)
        record.shares_programs = True
        trial.set_user_attr("lanes", self.work.lanes)
        keeper = CheckpointKeeper(trial, self.work.checkpoint_seconds)
        found = keeper.found(record.config, self.work.folds)
        if found is not None:
            record.resume(found)
        snapshot = found.folds[0].snapshot if found else None
        return _Candidate(record, TrainingRun(record.config, fold, snapshot=snapshot), keeper)

    @property
    def _look_ahead(self) -> int:
        """How many trials may wait: enough to find some of one shape, few enough to learn from.

        What is asked for at once is asked without the results of what was asked with it.
        """
        lanes = self.work.lanes
        return max(lanes, min(2 * lanes, self.total // 4))

    def take(self, shape: LaneShape) -> _Candidate | None:
        """Take the first trial of ``shape``; asks for more until one comes or enough wait."""
        while not self.waiting[shape] and len(self) < self._look_ahead:
            if self.ask() is None:
                break
        return self.waiting[shape].popleft() if self.waiting[shape] else None

    def largest(self) -> LaneShape | None:
        """Return the shape that most trials wait for, after asking for enough to fill the lanes."""
        while len(self) < self.work.lanes and self.ask(wait=not len(self)) is not None:
            pass
        shapes = [shape for shape, candidates in self.waiting.items() if candidates]
        return max(shapes, key=lambda shape: len(self.waiting[shape]), default=None)


def run_trials_in_lanes(work: Work, storage: BaseStorage, listener: Listener) -> bool:
    """Run trials ``work.lanes`` at a time until no ticket is left or the study has enough.

    The sampler is asked for several trials before any of them is told (TPE's constant liar keeps
    them apart). Trials of one shape share the lanes; a lane whose trial has ended is given to the
    next of that shape at once.

    Returns:
        Whether the sampler had nothing left to ask for.

    Raises:
        WorkerGrownError: this process has grown by more than ``work.most_growth``.
    """
    watch = Watch()
    with beating(work, storage, watch) as heart:
        total = work.total(existing_study(work.study_name, storage))
        growth = None if work.most_growth is None else Growth(work.most_growth)
        queue = _Queue(work, storage, listener, heart, total, watch, growth)
        _run_in_lanes(queue)
    if queue.grown and not queue.stopped:
        listener.on_idle()  # a wish to stop goes first
        raise WorkerGrownError
    return queue.stopped


def _run_in_lanes(queue: _Queue) -> None:
    work, held = queue.work, list[_Candidate | None]()
    try:
        while (shape := queue.largest()) is not None:
            held.clear()
            for _ in range(work.lanes):
                held.append(queue.take(shape))
            _fill(held, queue, shape)
            forget_many_programs()
    except BaseException as error:
        left = [candidate for candidate in held if candidate is not None]
        left += [candidate for row in queue.waiting.values() for candidate in row]
        # The first error is the one to hear of, and one trial must not keep the others. A second
        # Ctrl-C ends at once, and what it leaves is in nobody's hands.
        with contextlib.ExitStack() as stack:
            for candidate in left:
                stack.enter_context(holding(candidate.record.trial))
            for candidate in left:
                _leave(candidate.record, error)
        raise


def _fill(held: list[_Candidate | None], queue: _Queue, shape: LaneShape) -> None:
    """Train what ``held`` holds, lane by lane, and what follows of that shape, until none is left.

    ``held`` is kept up to date: whoever is interrupted finds in it what was still running.
    """
    # A lane without a trial trains along with the first one's numbers, and nobody looks.
    first = next(candidate for candidate in held if candidate is not None)
    first.record.shares_programs = False
    for candidate in held:
        if candidate is not None:
            candidate.record.start()
    lanes = Lanes([(candidate or first).run for candidate in held])
    while any(candidate is not None for candidate in held):
        outcomes = lanes.epoch([candidate is not None for candidate in held])
        for lane, (candidate, outcome) in enumerate(zip(list(held), outcomes, strict=True)):
            if candidate is None or outcome is None:
                continue
            snapshot = partial(lanes.snapshot, lane)
            told = _report(candidate, outcome, queue.listener, snapshot)
            if told is None:
                continue
            held[lane] = None
            queue.ended(candidate.record.trial, told)
            following = held[lane] = queue.take(shape)
            if following is not None:
                following.record.start()
                lanes.refill(lane, following.run)


def _report(
    candidate: _Candidate,
    outcome: EpochResult | NonFiniteLossError,
    listener: Listener,
    snapshot: Callable[[], Snapshot],
) -> FrozenTrial | None:
    """Report one lane's epoch; returns its trial, told, if that was its last."""
    record = candidate.record
    if isinstance(outcome, NonFiniteLossError):
        return _tell(record, TrialState.FAIL, outcome)
    results = FoldResults.of_one(outcome)
    try:
        prune = record.epoch(results)
    except UpdateFinishedTrialError:
        return ended_elsewhere(record.trial)
    if not (prune or outcome.is_last):
        candidate.keeper.epoch_ended(lambda: record.checkpoint([snapshot()]))
    listener.on_epoch(record.trial.number, record.config, results)
    if prune or outcome.is_last:
        return _tell(record, TrialState.PRUNED if prune else TrialState.COMPLETE)
    return None


def _tell(
    record: TrialRecord, state: TrialState, error: BaseException | None = None
) -> FrozenTrial:
    try:
        record.end(error)
    except UpdateFinishedTrialError:
        hand_in(record.trial)
        return ended_elsewhere(record.trial)
    value = record.value if state == TrialState.COMPLETE else None
    told = end_trial(record.trial, state, value)
    hand_in(record.trial)
    return told


def _leave(record: TrialRecord, error: BaseException) -> None:
    """Leave a trial to the next worker: Ctrl-C ends this one, or an error, maybe of another."""
    interrupted = isinstance(error, KeyboardInterrupt)
    reason = INTERRUPTED if interrupted else f"an error beside it or in it: {error}"
    with contextlib.suppress(Exception):
        record.end(error)
    with contextlib.suppress(Exception):
        give_up(record.trial.study, record.trial._trial_id, reason)
