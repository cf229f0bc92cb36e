"""Where tasks run: in this process, in processes of this machine, on a Dask cluster, elsewhere."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import loky

from foretune.datasets.common.errors import ConfigError
from foretune.models.training.tasks import prepare
from foretune.search.engine.signals import signals_blocked
from foretune.search.trial.objective import CHUNK_SECONDS

# Across a network a task trains for this many seconds.
_REMOTE_CHUNK = 5.0

# How many workers in a row may end before they have started.
_MOST_FAILED_STARTS = 3

Call = Callable[..., Any]


class Slots:
    """Places for tasks, each of which holds one at a time.

    ``chunk_seconds`` is how long a task trains. Where ``keeps_state``, the next task of a slot runs
    in the process of its last one.
    """

    chunk_seconds = CHUNK_SECONDS
    keeps_state = False

    def ready(self) -> Sequence[int]:
        """Return the slots that can take a task."""
        raise NotImplementedError

    def submit(self, slot: int, call: Call, *args: Any) -> "Future[Any]":
        """Run a task in a slot."""
        raise NotImplementedError

    def end(self, slot: int, future: "Future[Any]") -> bool:
        """End the task of a slot, which was lost or is late; False if no worker runs it yet."""
        return True

    def close(self) -> None:
        """End all that was started."""


class InProcess(Slots):
    """One slot, this process: a task has ended when it was submitted."""

    keeps_state = True

    def __init__(self, *, cache: bool) -> None:
        prepare(cache)  # so that the first trial does not wait for JAX

    def ready(self) -> Sequence[int]:
        """Return the one slot."""
        return (0,)

    def submit(self, slot: int, call: Call, *args: Any) -> "Future[Any]":
        """Run the task now."""
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class LokySlots(Slots):
    """Worker processes of this machine, each an executor of its own.

    They start from an empty interpreter, not from the user's script: a script needs no ``if
    __name__ == "__main__"``, and a notebook works too. In a pool that they shared, a killed worker
    would take all others with it.

    Args:
        environments: what each worker finds in its environment.
        cache: whether workers keep compiled programs on disk.
    """

    keeps_state = True

    def __init__(self, environments: Sequence[dict[str, str]], *, cache: bool) -> None:
        self._environments = environments
        self._cache = cache
        self._failed_starts = 0
        self._executors: list[Any] = [None] * len(environments)
        self._starts: list[Future[Any]] = [Future() for _ in environments]
        try:
            for slot in range(len(environments)):
                self._start(slot)
        except BaseException:
            self.close()
            raise

    def ready(self) -> Sequence[int]:
        """Return the slots whose worker has started.

        Raises:
            ConfigError: workers end again and again before they have started.
        """
        found = []
        for slot, start in enumerate(self._starts):
            if not start.done():
                continue
            try:
                start.result()
                found.append(slot)
            except BrokenProcessPool:
                self._failed_starts += 1
                if self._failed_starts >= _MOST_FAILED_STARTS:
                    raise ConfigError(
                        f"workers must start, but {self._failed_starts} of them ended first; "
                        "they may have said why above, or was the memory too small?"
                    ) from None
                self._replace(slot)
        if found:
            self._failed_starts = 0
        return found

    def submit(self, slot: int, call: Call, *args: Any) -> "Future[Any]":
        """Run a task in a slot's worker."""
        with signals_blocked():
            try:
                future: Future[Any] = self._executors[slot].submit(call, *args)
            except BrokenProcessPool as error:  # it was killed while it had nothing to do
                future = Future()
                future.set_exception(error)
        return future

    def end(self, slot: int, future: "Future[Any]") -> bool:
        """Kill a slot's worker and start another."""
        self._replace(slot)
        return True

    def close(self) -> None:
        """Kill all workers: a gentle shutdown would wait for ever for one that was stopped."""
        for executor in filter(None, self._executors):
            executor.shutdown(wait=True, kill_workers=True)

    def _replace(self, slot: int) -> None:
        self._executors[slot].shutdown(wait=True, kill_workers=True)
        self._start(slot)

    def _start(self, slot: int) -> None:
        with signals_blocked():
            self._executors[slot] = loky.ProcessPoolExecutor(
                max_workers=1,
                env=self._environments[slot],
                initializer=end_with_driver,
                initargs=(os.getpid(),),
            )
            self._starts[slot] = self._executors[slot].submit(prepare, self._cache)


def end_with_driver(driver: int) -> None:
    """See that this process, a worker, ends soon after its driver has."""

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class GivenExecutor(Slots):
    """An executor that the user gives; it cannot end a task that runs.

    Args:
        executor: what the user gave.
        size: how many tasks it runs at a time; None for as many as it says itself.

    Raises:
        ConfigError: it is none, or does not say how many tasks it runs.
    """

    def __init__(self, executor: Executor, size: int | None) -> None:
        if not isinstance(executor, Executor):
            raise ConfigError(
                f"executor must be a concurrent.futures.Executor, but got {executor!r}"
            )
        found = size or getattr(executor, "_max_workers", None)
        if not isinstance(found, int):
            raise ConfigError(
                f"workers must say how many tasks {type(executor).__name__} runs at a time, but "
                f"got {size!r}"
            )
        here = type(executor).__module__.split(".")[0] in ("concurrent", "loky")
        self.chunk_seconds = CHUNK_SECONDS if here else _REMOTE_CHUNK
        self._executor = executor
        self._size = found
        self._stuck: dict[int, Future[Any]] = {}

    def ready(self) -> Sequence[int]:
        """Return the slots without a task that was given up and still runs."""
        self._stuck = {slot: late for slot, late in self._stuck.items() if not late.done()}
        return [slot for slot in range(self._size) if slot not in self._stuck]

    def submit(self, slot: int, call: Call, *args: Any) -> "Future[Any]":
        """Run a task on the executor."""
        try:
            with signals_blocked():
                future: Future[Any] = self._executor.submit(call, *args)
        except (RuntimeError, OSError) as error:  # it is broken, or was shut down
            raise ConfigError(
                f"executor must take tasks, but {type(self._executor).__name__} does not: {error}"
            ) from None
        return future

    def end(self, slot: int, future: "Future[Any]") -> bool:
        """Give up a slot until its task ends."""
        if not (future.done() or future.cancel()):
            self._stuck[slot] = future
        return True


class DaskSlots(Slots):
    """A Dask cluster; there are as many slots as its workers have threads at the moment.

    Args:
        executor: that of a Dask client, whose options hold for every task.
        most: how many tasks run at a time at most; None for one a thread.
    """

    chunk_seconds = _REMOTE_CHUNK

    def __init__(self, executor: Any, most: int | None) -> None:
        self._client = executor._client
        self._most = most
        self._stuck: set[str] = set()
        self._keys: dict[int, str] = {}
        self._threads: dict[str, int] = {}
        self._looked = 0.0
        self._executor = self._client.get_executor(
            **executor._kwargs | {"pure": False, "retries": 0}
        )

    def ready(self) -> Sequence[int]:
        """Return as many slots as there are threads.

        Raises:
            ConfigError: the scheduler is gone.
        """
        if self._client.status == "closed":
            raise ConfigError("the Dask scheduler must answer, but its connection was closed")
        if self._client.status != "running":
            return ()  # it is reconnecting
        if time.monotonic() - self._looked > 1:
            with suppress(OSError):  # cut off for a moment
                look = self._client.scheduler.ncores
                self._threads = self._client.sync(look, workers=None, callback_timeout=2)
            self._looked = time.monotonic()
        threads = sum(self._threads[worker] for worker in self._usable)
        return range(threads if self._most is None else min(threads, self._most))

    def submit(self, slot: int, call: Call, *args: Any) -> "Future[Any]":
        """Run a task on the cluster."""
        self._keys[slot] = f"foretune-{uuid4().hex}"
        where = {"workers": self._usable} if self._stuck else {}
        future: Future[Any] = self._executor.submit(call, *args, key=self._keys[slot], **where)
        return future

    def end(self, slot: int, future: "Future[Any]") -> bool:
        """Restart the worker of a task through its nanny; without one, do without the worker."""
        if future.done():
            return True
        try:
            running = self._client.processing()
            workers = [worker for worker, keys in running.items() if self._keys[slot] in keys]
            if not workers:
                return False  # no worker runs it yet
            future.cancel()
            said = self._client.restart_workers(workers, timeout=30, raise_for_error=False)
            self._stuck |= {worker for worker in workers if said.get(worker) != "OK"}
        except ValueError:  # it has no nanny
            self._stuck |= set(workers)
        except OSError:  # cut off for a moment
            return False
        self._looked = 0.0
        return True

    def close(self) -> None:
        """Leave the cluster to its owner."""
        with suppress(Exception):  # a client that was closed may raise anything
            self._executor.shutdown(wait=False)

    @property
    def _usable(self) -> list[str]:
        return [worker for worker in self._threads if worker not in self._stuck]


def is_dask(thing: object) -> bool:
    """Whether an executor or an error is Dask's, which need not be installed."""
    return type(thing).__module__.startswith("distributed.")


def given_slots(executor: Executor, size: int | None) -> Slots:
    """Return the slots of an executor that the user gives."""
    return DaskSlots(executor, size) if is_dask(executor) else GivenExecutor(executor, size)


@contextmanager
def dask_executor(address: str | None, scheduler_file: str | None) -> Iterator[Executor | None]:
    """Connect to the Dask scheduler at an address or of a file, while the context lasts.

    Yields:
        Its executor; None where neither is given.

    Raises:
        ConfigError: Dask is not installed, or no scheduler answers.
    """
    if address is None and scheduler_file is None:
        yield None
        return
    if address is not None and scheduler_file is not None:
        raise ConfigError("--dask and --dask-scheduler-file must not both be given")
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError("--dask needs the package distributed; install foretune[dask]") from None
    if scheduler_file is not None and not Path(scheduler_file).is_file():
        raise ConfigError(f"--dask-scheduler-file must be a file, but got {scheduler_file!r}")
    try:
        connect: Any = Client
        client = connect(address, scheduler_file=scheduler_file, timeout=30)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            "a Dask scheduler must answer at "
            f"{scheduler_file if address is None else repr(address)}, but: {error}"
        ) from None
    with client:
        yield client.get_executor(pure=False)
