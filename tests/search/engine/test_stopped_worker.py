"""Stopped workers, which hang without an end: a study ends all the same."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from distributed import Client
from real_processes import Cluster, SureStudy, require_gone

from foretune.search.engine.executors import LokySlots

# How long anything takes is nobody's promise; but a study that hangs so long goes on, and fails.
HANGS = 100.0


class Stopped:
    """Stopped processes, which go on after a while so that no test hangs."""

    def __init__(self) -> None:
        self._processes: list[psutil.Process] = []
        self._release = threading.Timer(HANGS, self._go_on)
        self._release.daemon = True

    def stop(self, pid: int) -> None:
        if not self._processes:
            self._release.start()
        self._processes.append(psutil.Process(pid))
        self._processes[-1].suspend()

    def _go_on(self) -> None:
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def require_ended(self) -> None:
        """They were ended, and not because they went on."""
        assert self._processes
        assert self._release.is_alive()
        self._release.cancel()
        require_gone(self._processes)


@pytest.fixture
def stopped() -> Stopped:
    return Stopped()


class Stopping(LokySlots):
    """Worker processes of which some are stopped: while they start, while they work, at the end."""

    when: str
    stopped: Stopped

    def __init__(self, environments: Sequence[dict[str, str]], *, cache: bool) -> None:
        self.tasks = 0
        super().__init__(environments, cache=cache)
        if self.when == "starting":
            self.stop(1)

    def submit(self, slot: int, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        self.tasks += 1
        if self.when == "at work" and self.tasks == 4:
            self.stop(slot)
        return super().submit(slot, call, *args)

    def close(self) -> None:
        if self.when == "idle":
            for slot in range(len(self._executors)):
                self.stop(slot)
        super().close()

    def stop(self, slot: int) -> None:
        (pid,) = self._executors[slot]._processes
        self.stopped.stop(pid)


@pytest.mark.parametrize(
    "when", ["starting", "idle", pytest.param("at work", marks=pytest.mark.slow)]
)
def test_a_stopped_worker_process_is_ended(
    tmp_path: Path,
    short_study: SureStudy,
    stopped: Stopped,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    monkeypatch.setattr("foretune.search.run.LokySlots", Stopping)
    monkeypatch.setattr(Stopping, "stopped", stopped, raising=False)
    monkeypatch.setattr(Stopping, "when", when, raising=False)
    # Long enough for the worker that is not stopped, on a machine that is busy otherwise.
    timeout = 20 if when == "at work" else None
    study = short_study.run(f"sqlite:///{tmp_path / 'studies.db'}", workers=2, task_timeout=timeout)
    short_study.require_whole(study)
    stopped.require_ended()


@pytest.mark.slow
def test_a_stopped_dask_worker_is_ended(
    tmp_path: Path,
    long_study: SureStudy,
    start_cluster: Callable[[int], Cluster],
    stopped: Stopped,
) -> None:
    """By its nanny, which the scheduler asks to."""
    cluster = start_cluster(2)
    with Client(scheduler_file=str(cluster.file)) as client:
        client.wait_for_workers(cluster.workers, timeout=60)
        pids = client.run(os.getpid)

        def stop_one() -> None:
            time.sleep(5)
            busy: list[str] = []
            while not busy:
                busy = [worker for worker, keys in client.processing().items() if keys]
            stopped.stop(pids[busy[0]])

        executor = client.get_executor(pure=False)
        with ThreadPoolExecutor(1) as thread:
            stopping = thread.submit(stop_one)
            study = long_study.run(
                f"sqlite:///{tmp_path / 'studies.db'}", executor=executor, task_timeout=20
            )
            stopping.result()
    long_study.require_whole(study)
    stopped.require_ended()
