"""Workers: processes on this machine that share a study, one core each."""

import contextlib
import os
import random
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import jax
import loky
from loky.backend import get_context
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial

from foretune.datasets.errors import ForetuneError
from foretune.models.compile_cache import use_compile_cache
from foretune.models.config import TrialConfig
from foretune.models.walk_forward import FoldResults
from foretune.search.engine.signals import StopRequest
from foretune.search.lane_worker import run_trials_in_lanes
from foretune.search.memory import WorkerGrownError
from foretune.search.patience import STORAGE_ERRORS, first_line
from foretune.search.storage.connect import open_storage
from foretune.search.worker import Listener, Work, deleted_study, run_trials

# A worker is one thread: two processes of one thread each train nearly twice as fast as one process
# of two. NumPy's thread pools are told before they are made.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

# Seconds that a worker has to end its epoch and store its trial when another one has failed.
_PATIENCE = 60


# How many killed workers are replaced in one round.
_MOST_REPLACED = 10


def default_workers() -> int:
    """Return as many workers as this process may use cores; one on an accelerator.

    A container's share of its machine's cores counts.
    """
    return 1 if jax.default_backend() != "cpu" else min(len(_cores()), loky.cpu_count())


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@dataclass
class _Worker:
    process: Any
    connection: Connection
    core: int
    ended: bool = False
    killed: bool = False
    stopped: bool = False
    idle: bool = False


class Round(NamedTuple):
    """How a round of workers came to its end."""

    killed: int
    """workers that were killed"""
    stopped: bool
    """whether the sampler had nothing left to ask for"""


def run_in_workers(
    work: Work,
    storage_url: str,
    workers: int,
    *,
    cache: bool,
    on_epoch: Callable[[int, int, int, float], None],
    on_trial: Callable[[int], None],
    on_idle: Callable[[], None],
    stop: StopRequest,
) -> Round:
    """Run trials in ``workers`` processes until the study has enough.

    A first Ctrl-C or SIGTERM lets every worker end its epoch; a second one ends them at once. A
    worker that is killed is replaced.

    Args:
        work: the study and what its trials need.
        storage_url: database that every worker opens for itself.
        workers: how many processes.
        cache: whether they keep compiled programs on disk.
        on_epoch: told (trial number, epoch, epochs, value) after every epoch of any worker.
        on_trial: told the number of every trial that has ended.
        on_idle: told again and again while all of them wait for workers elsewhere.
        stop: asked for by a signal.

    Returns:
        How it ended: how many workers were killed, and whether the sampler gave up.

    Raises:
        ForetuneError: a worker met a user's mistake.
        StorageInternalError: a worker's database failed.
        RuntimeError: a worker failed; its traceback is in the message.
    """
    cores, team = _cores(), list[_Worker]()

    def start(core: int) -> None:
        team.append(_start(work, storage_url, core, cache))

    try:
        # From any core: two launchers must not share their cores, and in containers both may be
        # process 1.
        first = random.randrange(len(cores))
        for number in range(workers):
            start(cores[(first + number) % len(cores)])
        _listen(team, start, on_epoch, on_trial, on_idle, stop)
    finally:
        _end(team)
    stop.heed()
    return Round(sum(w.killed for w in team), any(w.stopped for w in team))


def _start(work: Work, storage_url: str, core: int, cache: bool) -> _Worker:
    # loky's processes start from an empty interpreter, not from the user's script: a script needs
    # no `if __name__ == "__main__"`, and a notebook works too. JAX must not be forked.
    context = get_context("loky")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(
        target=_work, args=(work, storage_url, core, cache, sending), env=_ONE_THREAD, daemon=True
    )
    with _ignoring_sigint():
        process.start()
    sending.close()
    return _Worker(process, receiving, core)


@contextlib.contextmanager
def _ignoring_sigint() -> Iterator[None]:
    """Let a process that starts inherit that Ctrl-C is not its business, while it imports."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _listen(
    team: list[_Worker],
    start: Callable[[int], None],
    on_epoch: Callable[[int, int, int, float], None],
    on_trial: Callable[[int], None],
    on_idle: Callable[[], None],
    stop: StopRequest,
) -> None:
    """Pass on what workers send until all have ended.

    They send ("epoch", trial number, epoch, epochs, value), ("trial", number), ("idle",) while they
    wait for others, and last ("end", the error that ended it or None, whether the sampler had
    nothing left to ask for) or ("grown",), which asks for a new process in the place of this one.
    """
    told_to_stop = False
    while open_ends := [worker for worker in team if not worker.ended]:
        for ready in wait([worker.connection for worker in open_ends], timeout=0.2):
            worker = next(w for w in open_ends if w.connection is ready)
            try:
                kind, *rest = worker.connection.recv()
            except (EOFError, OSError):
                worker.ended = worker.killed = True
                # Until then the system knows its number, and its trial would seem to be at work.
                worker.process.join(_PATIENCE)
                if not stop.requested and sum(w.killed for w in team) <= _MOST_REPLACED:
                    start(worker.core)
                continue
            worker.idle = kind == "idle"
            if worker.idle and all(other.idle for other in team if not other.ended):
                on_idle()
            if kind == "epoch":
                on_epoch(*rest)
            elif kind == "trial":
                on_trial(*rest)
            elif kind == "grown":
                worker.ended = True
                if not stop.requested:
                    start(worker.core)
            elif kind == "end":
                error, worker.stopped = rest
                worker.ended = True
                if error is not None:
                    raise error
        if stop.requested and not told_to_stop:
            told_to_stop = True
            for worker in team:
                worker.process.terminate()


def _end(team: list[_Worker]) -> None:
    """See every process to its end. Those still at work were told once before, or are told now."""
    for worker in team:
        if not worker.ended:
            worker.process.terminate()
    for worker in team:
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.join()


class _Launcher:
    """A worker's launcher, as the worker sees it: who is told, and may have gone."""

    def __init__(self, sending: Connection, stop: StopRequest) -> None:
        self._sending = sending
        self._stop = stop
        self._process = os.getppid()

    def heed(self) -> None:
        """Stop if the launcher has asked for it, or has gone."""
        if os.getppid() != self._process:
            raise KeyboardInterrupt
        self._stop.heed()

    def send(self, *message: Any) -> None:
        """Send a message, as `_listen` has them, then heed."""
        try:
            self._sending.send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise KeyboardInterrupt from None  # it has gone
        self._stop.heed()

    def listener(self) -> Listener:
        """Return what sends on whatever a worker tells."""

        def on_epoch(number: int, config: TrialConfig, result: FoldResults) -> None:
            self.send("epoch", number, result.epoch, config.epochs, result.relative_mse)

        def on_trial(trial: FrozenTrial) -> None:
            self.send("trial", trial.number)

        def on_idle() -> None:
            self.send("idle")  # finds out whether the launcher is still there

        return Listener(on_epoch, on_trial, on_idle)


def _work(work: Work, storage_url: str, core: int, cache: bool, sending: Connection) -> None:
    """Be a worker: the whole life of its process."""
    stop = StopRequest(announce=False)
    # Ctrl-C reaches the whole group; the launcher passes it on as SIGTERM, once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop.note)
    if hasattr(os, "sched_setaffinity"):
        # Before JAX starts: XLA makes as many threads as it may use cores.
        os.sched_setaffinity(0, {core})
    launcher = _Launcher(sending, stop)
    last = _last_message(work, storage_url, cache, launcher)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # nothing is left to stop
    with contextlib.suppress(KeyboardInterrupt):
        launcher.send(*last)


def _last_message(
    work: Work, storage_url: str, cache: bool, launcher: _Launcher
) -> tuple[Any, ...]:
    """Run trials until there is no more to do; returns what to tell the launcher at the end."""
    try:
        use_compile_cache(on=cache)
        # A user's seeded sampler would draw the same in every worker; foretune's own does not mind.
        work.sampler.reseed_rng()
        run = run_trials if work.lanes == 1 else run_trials_in_lanes
        storage = open_storage(storage_url, heed=launcher.heed, wait=True)
        return "end", None, run(work, storage, launcher.listener())
    except KeyboardInterrupt:
        return "end", None, False
    except WorkerGrownError:
        return ("grown",)
    except ForetuneError as mistake:
        return "end", mistake, False
    except STORAGE_ERRORS as failure:
        return "end", StorageInternalError(first_line(failure)), False  # theirs cannot be pickled
    except Exception as failure:
        error = deleted_study(failure, work.study_name, storage_url)
        return "end", error or RuntimeError(f"a worker failed:\n{traceback.format_exc()}"), False
