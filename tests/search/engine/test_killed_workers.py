"""Workers killed at any moment: exactly N trials, none twice, each with the values it has alone."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from command_line import wait_until
from distributed import Client
from optuna.storages import InMemoryStorage
from real_processes import Cluster, SureStudy

from foretune.models.training.tasks import Missing, advance
from foretune.search.engine.executors import DaskSlots, InProcess, LokySlots

KILLS = 50

# Outside of chunks a worker is killed so often: while it starts, or between two tasks.
OUTSIDE = 8

# One more, one after another, would fail a trial.
MOST_LOSSES = 2


class Watched(LokySlots):
    """Worker processes, of which a test sees what they have to do."""

    latest: "Watched"

    def __init__(self, environments: Sequence[dict[str, str]], *, cache: bool) -> None:
        self.tasks: dict[int, Future[Any]] = {}
        self.learning_rates: dict[int, float] = {}
        self.lost: Counter[float] = Counter()
        Watched.latest = self
        super().__init__(environments, cache=cache)

    def submit(self, slot: int, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        assert call is advance
        rate = args[0][0].config.learning_rate
        future = super().submit(slot, call, *args)
        self.tasks[slot], self.learning_rates[slot] = future, rate

        def ended(task: "Future[Any]") -> None:
            if task.exception() is not None:
                self.lost[rate] += 1
            elif not isinstance(task.result(), Missing):
                self.lost[rate] = 0

        future.add_done_callback(ended)
        return future

    def at_work(self) -> list[int]:
        """The slots with a running task, whose trial bears one more loss."""
        return [
            slot
            for slot, task in self.tasks.items()
            if task.running() and self.lost[self.learning_rates[slot]] < MOST_LOSSES
        ]

    def starting(self) -> list[int]:
        """The slots whose worker imports, while another is ready: three in a row are refused."""
        waiting = [slot for slot, start in enumerate(self._starts) if not start.done()]
        return waiting if len(waiting) < len(self._starts) else []

    def kill(self, slot: int) -> None:
        for pid in list(self._executors[slot]._processes or ()):
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGKILL)


class Killer:
    """Kills workers in a thread of its own, until it has killed enough or is stopped."""

    def __init__(self, kill_one: Callable[[random.Random, bool], bool], kills: int) -> None:
        self.killed = 0
        self._kill_one, self._wanted = kill_one, kills
        self._dice = random.Random(0)
        self._stop = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with ThreadPoolExecutor(1) as thread:
            working = thread.submit(self._work)
            try:
                yield
            finally:
                self._stop.set()
            working.result()

    def _work(self) -> None:
        while self.killed < self._wanted and not self._stop.is_set():
            time.sleep(self._dice.uniform(0, 0.4))
            outside = self._dice.random() < OUTSIDE / KILLS
            self.killed += self._kill_one(self._dice, outside)


def run_on_loky(
    folder: Path, study: SureStudy, monkeypatch: pytest.MonkeyPatch, kills: int
) -> tuple[int, int]:
    """Run a study on two workers; returns how many were killed, and how many inside a chunk."""
    monkeypatch.setattr("foretune.search.run.LokySlots", Watched)
    inside, outside = list[Future[Any]](), 0

    def kill_one(dice: random.Random, starting: bool) -> bool:
        nonlocal outside
        slots = getattr(Watched, "latest", None)
        if slots is None:
            return False
        if starting and outside < OUTSIDE * kills // KILLS and (found := slots.starting()):
            slots.kill(dice.choice(found))
            outside += 1
            return True
        if not (found := slots.at_work()):
            return False
        slot = dice.choice(found)
        task = slots.tasks[slot]
        slots.kill(slot)
        wait_until(task.done)
        inside.append(task)
        return task.exception() is not None

    killer = Killer(kill_one, kills)
    with killer.at_work():
        done = study.run(f"sqlite:///{folder / 'studies.db'}", workers=2)
    study.require_whole(done)
    # Proof that there was a chunk: it was lost.
    return killer.killed, sum(task.exception() is not None for task in inside)


def run_on_dask(cluster: Cluster, folder: Path, study: SureStudy, kills: int) -> tuple[int, int]:
    """Run a study on a cluster; returns how many were killed, and how many inside a chunk."""
    inside = outside = 0
    known: dict[str, int] = {}
    times = Counter[str]()

    def kill_one(dice: random.Random, idle: bool) -> bool:
        nonlocal inside, outside
        idle = idle and outside < OUTSIDE * kills // KILLS
        addresses = client.nthreads()
        for address in addresses.keys() - known.keys():
            known[address] = client.run(os.getpid, workers=[address], on_error="ignore")[address]
        busy = {worker: keys for worker, keys in client.processing().items() if keys}
        found = [
            address
            for address in addresses
            if (
                address not in busy
                if idle
                else address in busy and all(times[key] < MOST_LOSSES for key in busy[address])
            )
        ]
        if not found:
            return False
        address = dice.choice(found)
        os.kill(known[address], signal.SIGKILL)
        times.update(busy.get(address, ()))
        inside, outside = inside + (address in busy), outside + (address not in busy)
        wait_until(lambda: address not in client.nthreads())
        return True

    with Client(scheduler_file=str(cluster.file)) as client:
        client.wait_for_workers(cluster.workers, timeout=60)
        killer = Killer(kill_one, kills)
        executor = client.get_executor(pure=False)
        with killer.at_work():
            done = study.run(f"sqlite:///{folder / 'studies.db'}", executor=executor)
    study.require_whole(done)
    return killer.killed, inside


@pytest.mark.slow
def test_fifty_kills_on_loky(
    tmp_path: Path, long_study: SureStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed, inside = run_on_loky(tmp_path, long_study, monkeypatch, KILLS)
    print(f"{killed} workers killed, {inside} of them inside a chunk")
    assert killed == KILLS
    assert inside >= 40


def test_a_kill_on_loky(
    tmp_path: Path, short_study: SureStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_on_loky(tmp_path, short_study, monkeypatch, 1) == (1, 1)


@pytest.mark.slow
def test_fifty_kills_on_dask(
    tmp_path: Path, long_study: SureStudy, start_cluster: Callable[[int], Cluster]
) -> None:
    killed, inside = run_on_dask(start_cluster(3), tmp_path, long_study, KILLS)
    print(f"{killed} workers killed, {inside} of them inside a chunk")
    assert killed == KILLS
    assert inside >= 40


def test_a_task_that_dask_gives_up_goes_on(
    tmp_path: Path,
    short_study: SureStudy,
    start_cluster: Callable[[int], Cluster],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The scheduler runs a task of a lost worker again three times: that is one loss for us."""
    kills = tmp_path / "kills"

    def run_after_four_kills(call: Callable[..., Any], *args: Any) -> Any:
        killed = len(kills.read_text()) if kills.exists() else 0
        if killed < 4:
            kills.write_text("x" * (killed + 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args)

    with Client(scheduler_file=str(start_cluster(1).file)) as client:
        executor = client.get_executor(pure=False)
        submit = DaskSlots.submit
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                DaskSlots,
                "submit",
                lambda slots, slot, *call: submit(slots, slot, run_after_four_kills, *call),
            )
            done = short_study.run(f"sqlite:///{tmp_path / 'studies.db'}", executor=executor)
    short_study.require_whole(done)
    assert kills.read_text() == "xxxx"
    assert capsys.readouterr().err.count("continues from its last snapshot") == 1


class Leaving(InProcess):
    """A worker that starts late, and is away for a moment after its second task."""

    def __init__(self, *, cache: bool) -> None:
        super().__init__(cache=cache)
        self.tasks, self.away = 0, 2

    def ready(self) -> Sequence[int]:
        self.away -= 1
        return super().ready() if self.away < 0 else ()

    def submit(self, slot: int, call: Callable[..., Any], *args: Any) -> "Future[Any]":
        self.tasks += 1
        if self.tasks == 2:
            self.away = 3
        return super().submit(slot, call, *args)


def test_how_long_none_was_there_is_counted_anew(
    short_study: SureStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the loss of all workers of a study that has run for half an hour would end it."""
    monkeypatch.setattr("foretune.search.run.InProcess", Leaving)
    monkeypatch.setattr("foretune.search.engine.driver._FIRST_TASK", 0.05)
    short_study.require_whole(short_study.run(InMemoryStorage(), workers=1))
