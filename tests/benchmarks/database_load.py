"""What workers ask of their database: connections, statements and bytes, on a throw-away server.

Tiny trials are run by one, two and four `foretune worker` processes. Between them and PostgreSQL
sits a relay that counts bytes, connections and round trips; PostgreSQL itself counts statements and
what it writes. What depends on the number of trials, epochs or workers is told apart by running
studies that differ in that number alone. Takes about six minutes and writes results/database.json.
"""

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import optuna
import psycopg
from optuna.storages import BaseStorage
from optuna.trial import TrialState, create_trial
from postgresql_server import PostgreSQL, new_server

from foretune.datasets import load_sample
from foretune.models.device import device_name
from foretune.search import SearchSpace, run_study, tickets, worker
from foretune.search.checkpoint import Checkpoint
from foretune.search.objective import Objective
from foretune.search.pruners import PRUNERS
from foretune.search.sampler import TrialSeededSampler
from foretune.search.spec import required_spec
from foretune.search.storage.connect import open_storage, storage_of
from foretune.search.trial_marks import (
    BEAT,
    DEFAULT_BEAT,
    LONGEST_BEAT,
    OWNER,
    TICKET,
    beat_mark,
)
from foretune.search.watch import Watch
from foretune.search.worker import Listener, Work, beating, next_trial, run_trials

RESULTS = Path(__file__).parent / "results" / "database.json"

SETTINGS = "-c shared_preload_libraries=pg_stat_statements -c max_connections=200"

# A trial's network, as small as the search allows: here the database is what is looked at.
TINY = {"layers": 1, "units": 4, "unroll_length": 8, "batch_size": 8, "steps_per_epoch": 5}

NETWORKS = ((32,), (64, 64), (128, 128), (200, 200, 150))

# Of PostgreSQL's protocol: what a client sends before the types of messages begin.
_NO_TYPE_YET = (80877103, 80877104)


@dataclass
class Counted:
    """What went through a relay."""

    connections: int = 0
    at_once: int = 0
    most_at_once: int = 0
    round_trips: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def numbers(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, int)}


class Messages:
    """Finds PostgreSQL's messages in what a client sends, and counts those that want an answer."""

    def __init__(self) -> None:
        self._left = b""
        self._typed = False

    def round_trips(self, sent: bytes) -> int:
        """Return how many questions end in ``sent``."""
        self._left += sent
        found = 0
        while True:
            head = 1 if self._typed else 0
            if len(self._left) < head + 4:
                return found
            length = int.from_bytes(self._left[head : head + 4]) + head
            if len(self._left) < length:
                return found
            message, self._left = self._left[:length], self._left[length:]
            if self._typed:
                found += message[:1] in (b"Q", b"S")  # a simple query, or the end of others
            else:
                found += 1
                self._typed = int.from_bytes(message[4:8]) not in _NO_TYPE_YET


@contextmanager
def relay(port: int, counted: Counted) -> Iterator[int]:
    """Pass connections on to ``port`` of this machine, and count; yields the port to connect to."""

    def serve(client: socket.socket) -> None:
        with counted.lock:
            counted.connections += 1
            counted.at_once += 1
            counted.most_at_once = max(counted.most_at_once, counted.at_once)
        server = socket.create_connection(("127.0.0.1", port))
        messages = Messages()

        def up(sent: bytes) -> None:
            counted.bytes_up += len(sent)
            counted.round_trips += messages.round_trips(sent)

        def down(sent: bytes) -> None:
            counted.bytes_down += len(sent)

        back = threading.Thread(target=pump, args=(server, client, down), daemon=True)
        back.start()
        pump(client, server, up)
        back.join()
        with counted.lock:
            counted.at_once -= 1

    def pump(source: socket.socket, target: socket.socket, count: Callable[[bytes], None]) -> None:
        try:
            while sent := source.recv(1 << 16):
                with counted.lock:
                    count(sent)
                target.sendall(sent)
        except OSError:
            pass
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


class Server:
    """A server, and what it says of itself."""

    def __init__(self, server: PostgreSQL) -> None:
        self.server = server
        self.admin = psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True)
        self.admin.execute("CREATE EXTENSION pg_stat_statements")

    def one(self, query: str, *values: object) -> Any:
        """Return the one number that a query asks for."""
        row = self.admin.execute(query, values).fetchone()  # type: ignore[arg-type]
        assert row is not None
        return row[0]

    def statements(self, database: str) -> int:
        """How many statements a database has run."""
        return int(
            self.one(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s"
                " JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = %s",
                database,
            )
        )

    def written(self) -> int:
        """Bytes that the whole server has written to its log of changes."""
        return int(self.one("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))

    def cpu_seconds(self) -> float:
        """Seconds of CPU that the server and all its processes have taken."""
        postmaster = int(
            (Path(self.one("SHOW data_directory")) / "postmaster.pid").read_text().split()[0]
        )
        ticks = 0
        for file in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = file.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(file.parent.name) == postmaster:
                ticks += sum(map(int, fields[11:15]))  # with those of its children that ended
            elif int(fields[1]) == postmaster:
                ticks += sum(map(int, fields[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Load:
    """What one study asked of its database while workers ran it."""

    workers: int
    trials: int
    epochs: int
    seconds: float
    statements: int
    round_trips: int
    connections_opened: int
    connections_at_once: int
    bytes_up: int
    bytes_down: int
    written: int
    grown: int
    server_cpu_seconds: float


def measure(server: Server, *, workers: int, trials: int, epochs: int) -> Load:
    """Run a study of tiny trials and count."""
    url = server.server.new_database()
    database = url.rpartition("/")[2]
    space = SearchSpace(**TINY).fix(epochs=epochs, stop_patience=epochs)  # type: ignore[arg-type]
    prices = load_sample("random_walk", length=500, seed=3)
    run_study(
        "s", prices, n_trials=trials, space=space, horizon=5, storage=url, workers=0,
        pruner=PRUNERS["none"](),
    )  # fmt: skip
    open_storage(url)  # its connections are closed before the counting begins
    size = "SELECT pg_database_size(%s)"
    before = [server.statements(database), server.written(), server.one(size, database)]
    cpu, counted = server.cpu_seconds(), Counted()
    with relay(server.server.port, counted) as port:
        environment = {
            **os.environ,
            "FORETUNE_STORAGE": url.replace(f":{server.server.port}/", f":{port}/"),
            "PJRT_NPROC": "1",
        }
        command = [str(Path(sys.executable).with_name("foretune")), "worker", "--study", "s"]
        started = time.perf_counter()
        team = [
            subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            for _ in range(workers)
        ]
        for process in team:
            process.wait()
        seconds = time.perf_counter() - started
    assert {process.returncode for process in team} == {0}
    time.sleep(1)  # until the server has taken back its processes, and counted
    numbers = counted.numbers()
    return Load(
        workers=workers,
        trials=trials,
        epochs=epochs,
        seconds=round(seconds, 1),
        statements=server.statements(database) - before[0],
        round_trips=numbers["round_trips"],
        connections_opened=numbers["connections"],
        connections_at_once=numbers["most_at_once"],
        bytes_up=numbers["bytes_up"],
        bytes_down=numbers["bytes_down"],
        written=server.written() - before[1],
        grown=int(server.one(size, database)) - int(before[2]),
        server_cpu_seconds=round(server.cpu_seconds() - cpu, 2),
    )


@dataclass
class Inside:
    """What passed while the study's lock was held."""

    milliseconds: list[float] = field(default_factory=list)
    cpu_milliseconds: list[float] = field(default_factory=list)
    round_trips: list[int] = field(default_factory=list)

    def clear(self) -> None:
        """Forget what was seen."""
        for seen in (self.milliseconds, self.cpu_milliseconds, self.round_trips):
            seen.clear()  # type: ignore[attr-defined]


@contextmanager
def watched_lock(counted: Counted) -> Iterator[Inside]:
    """Watch the study's lock while the context lasts, and let nobody pause."""
    inside, lock = Inside(), tickets.study_lock

    @contextmanager
    def watched(*arguments: Any) -> Iterator[Callable[[], bool]]:
        with lock(*arguments) as held:
            started, cpu = time.perf_counter(), time.process_time()
            before = counted.round_trips
            yield held
            inside.milliseconds.append((time.perf_counter() - started) * 1000)
            inside.cpu_milliseconds.append((time.process_time() - cpu) * 1000)
            inside.round_trips.append(counted.round_trips - before)

    # A worker that waits looks again at once, or this would take minutes.
    pauses, worker.pauses = worker.pauses, lambda: itertools.repeat(0.0)  # type: ignore[assignment]
    tickets.study_lock = watched  # type: ignore[assignment]
    try:
        yield inside
    finally:
        tickets.study_lock, worker.pauses = lock, pauses


Costs = dict[str, dict[str, float]]


def crowded(server: Server, others: int) -> dict[str, Any]:
    """What a trial, a look for work and a beat cost while ``others`` run trials of their own.

    The others are rows in the database, as a worker in the middle of a trial leaves them: the
    machine has no cores for them, but every worker reads all that is under way.
    """
    counted = Counted()
    with relay(server.server.port, counted) as port:
        counts = _in_a_crowd(server, port, counted, others)
    # Once more for the times: the relay is a thread of the process that works.
    times = _in_a_crowd(server, server.server.port, Counted(), others)
    costs = {
        part: {
            name: (times if name.startswith("ms") else counts)[part][name] for name in counts[part]
        }
        for part in counts
    }
    return {"others": others, **costs}


def _in_a_crowd(
    server: Server, port: int, counted: Counted, others: int, trials: int = 10, looks: int = 10
) -> Costs:
    url = server.server.new_database()
    database = url.rpartition("/")[2]
    space = SearchSpace(**TINY).fix(epochs=4, stop_patience=4)  # type: ignore[arg-type]
    prices, pruner = load_sample("random_walk", length=500, seed=3), PRUNERS["none"]()
    wanted = others + trials + 2
    with watched_lock(counted) as inside:
        storage = open_storage(url.replace(f":{server.server.port}/", f":{port}/"), heed=_nothing)
        study = run_study(
            "s", prices, n_trials=wanted, space=space, horizon=5, storage=storage, workers=0,
            pruner=pruner,
        )  # fmt: skip
        spec = required_spec(study)
        work = Work(
            study_name="s", n_trials=None, space=spec.space,
            folds=spec.split.development(prices, history=spec.space.history),
            sampler=TrialSeededSampler(spec.seed), pruner=pruner,
        )  # fmt: skip

        def ask() -> dict[str, float]:
            return {
                **counted.numbers(),
                "statements": server.statements(database),
                "seconds": time.perf_counter(),
                "server_cpu": server.cpu_seconds(),
                "own_cpu": time.process_time(),
            }

        def cost(before: dict[str, float], times: int) -> dict[str, float]:
            after = ask()
            each = {name: (after[name] - before[name]) / times for name in before}
            return {
                "statements": round(each["statements"], 1),
                "round trips": round(each["round_trips"], 1),
                "kB sent": round(each["bytes_up"] / 1000, 1),
                "kB received": round(each["bytes_down"] / 1000, 1),
                "ms of the server's CPU": round(each["server_cpu"] * 1000, 1),
                "ms of the worker's CPU": round(each["own_cpu"] * 1000, 1),
                "ms": round(each["seconds"] * 1000, 1),
            }

        _work_until(_after(1), work, storage)  # compiles
        _add_others(study, others)
        inside.clear()
        before = ask()
        _work_until(_after(trials), work, storage)
        trial = cost(before, trials)
        lock = {
            "round trips under the lock": statistics.median(inside.round_trips),
            "ms of the worker's CPU under the lock": round(
                statistics.median(inside.cpu_milliseconds), 1
            ),
            "ms under the lock": round(statistics.median(inside.milliseconds), 1),
        }
        watch = Watch()
        mine = next_trial(work, storage, Listener(_nothing, _nothing, _nothing), watch)
        assert mine is not None
        heart = beating(work, storage, watch)
        before = ask()
        for _ in range(looks):
            heart._look()
            heart._beat(mine._trial_id)
        beat = cost(before, looks)
        # No trial is left to take: this worker waits for the others.
        before = ask()
        _work_until(_after(looks), work, storage)
        look = cost(before, looks)
    return {"trial": trial | lock, "look": look, "beat": beat}


def _nothing(*_: Any) -> None:
    """Take no notice."""


def _after(times: int) -> Iterator[None]:
    """Return what lets a worker go on so often."""
    yield from [None] * (times - 1)


def _work_until(goes_on: Iterator[None], work: Work, storage: BaseStorage) -> None:
    """Run trials, or look for them, as often as ``goes_on`` says."""

    def count(*_: Any) -> None:
        if next(goes_on, "stop") == "stop":
            raise KeyboardInterrupt

    with suppress(KeyboardInterrupt):
        run_trials(work, storage, Listener(_nothing, on_trial=count, on_idle=count))


def _add_others(study: optuna.Study, others: int) -> None:
    """Add trials that other machines run, like the first trial of ``study`` in its middle."""
    first = study.get_trials()[0]
    kept = {name: first.user_attrs[name] for name in ("config", "device")}
    for number in range(others):
        owner = [f"worker-{number} 5c3f4a0e-4a55-4f0e-9a43-0b7c1f0e5d11 4026531836", 7, "123456789"]
        trial = create_trial(
            state=TrialState.RUNNING,
            params=first.params,
            distributions=first.distributions,
            user_attrs={**kept, "worker": f"worker-{number}:7"},
            # Beats as far apart as can be: nobody takes these for lost while this runs.
            system_attrs={
                OWNER: owner,
                TICKET: f"{number:032x}",
                BEAT: beat_mark(1, LONGEST_BEAT),
            },
            intermediate_values={1: 1.0, 2: 0.99},
        )
        storage_of(study).create_new_trial(study._study_id, trial)


def checkpoints() -> dict[str, int]:
    """Bytes of a checkpoint, by the units of the network."""
    sizes: dict[str, int] = {}
    prices = load_sample("random_walk", length=500, seed=3)
    whole = Checkpoint.to_bytes
    for units in NETWORKS:
        name = "-".join(map(str, units))

        def noted(self: Checkpoint, name: str = name) -> bytes:
            content = whole(self)
            sizes[name] = len(content)
            return content

        space = SearchSpace(**{**TINY, "layers": len(units), "units": 4}).fix(  # type: ignore[arg-type]
            units=units, epochs=2
        )
        study = run_study(
            "s", prices, n_trials=1, space=space, horizon=5, workers=0, storage="sqlite://"
        )
        spec = required_spec(study)
        folds = spec.split.development(prices, history=spec.space.history)
        Checkpoint.to_bytes = noted  # type: ignore[method-assign]
        try:
            study.optimize(Objective(spec.space, folds, checkpoint_seconds=1e-9), n_trials=1)
        finally:
            Checkpoint.to_bytes = whole  # type: ignore[method-assign]
    return sizes


def slopes(loads: list[Load]) -> dict[str, dict[str, float]]:
    """What one more trial and one more epoch cost, from studies of one worker."""
    few, more, longer, many = (load for load in loads if load.workers == 1)
    found = {}
    for name in ("statements", "round_trips", "bytes_up", "bytes_down", "written"):
        epoch = (getattr(longer, name) - getattr(more, name)) / (
            more.trials * (longer.epochs - more.epochs)
        )
        early = (getattr(more, name) - getattr(few, name)) / (more.trials - few.trials)
        late = (getattr(many, name) - getattr(more, name)) / (many.trials - more.trials)
        found[name] = {
            "a trial of 4 epochs": round(early, 1),
            "the same, in a longer study": round(late, 1),
            "an epoch": round(epoch, 1),
        }
    return found


def tables(result: dict[str, Any]) -> list[str]:
    """Return the tables of studies/cluster/sizing.md."""
    slope, studies = result["one_worker"], result["studies"]
    one = ["| | a trial of 4 epochs | an epoch more |", "| --- | ---: | ---: |"]
    for name, shown, unit in (
        ("statements", "statements", 1),
        ("round_trips", "round trips", 1),
        ("bytes_up", "kB sent", 1000),
        ("bytes_down", "kB received", 1000),
        ("written", "kB of PostgreSQL's log (WAL)", 1000),
    ):
        trial = slope[name]["the same, in a longer study"] / unit
        one.append(f"| {shown} | {trial:.0f} | {slope[name]['an epoch'] / unit:.2g} |")
    team = [
        "| workers | connections at once | statements a trial | kB received a trial | ms of the "
        "server's CPU a trial | kB that the database grew a trial |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for load in (load for load in studies if load["trials"] == 200):
        a_trial = [
            load["statements"],
            load["bytes_down"] / 1000,
            load["server_cpu_seconds"] * 1000,
            load["grown"] / 1000,
        ]
        cells = " | ".join(f"{number / load['trials']:.0f}" for number in a_trial)
        team.append(f"| {load['workers']} | {load['connections_at_once']} | {cells} |")
    crowd = [
        "| trials under way elsewhere | 0 | 10 | 100 | 1000 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for part, name in (
        ("trial", "statements"),
        ("trial", "kB received"),
        ("trial", "ms of the server's CPU"),
        ("trial", "round trips under the lock"),
        ("trial", "ms of the worker's CPU under the lock"),
        ("trial", "ms under the lock"),
        ("beat", "statements"),
        ("beat", "kB received"),
        ("beat", "ms of the server's CPU"),
        ("beat", "ms of the worker's CPU"),
        ("look", "statements"),
        ("look", "kB received"),
        ("look", "ms of the server's CPU"),
        ("look", "ms of the worker's CPU"),
    ):
        cells = " | ".join(f"{each[part][name]:.0f}" for each in result["crowded"])
        crowd.append(f"| a {part}: {name} | {cells} |")
    sizes = [
        "| units | 32 | 64-64 | 128-128 | 200-200-150 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    cells = " | ".join(f"{size / 1e6:.1f}" for size in result["checkpoint_bytes"].values())
    sizes.append(f"| MB | {cells} |")
    return ["\n".join(rows) for rows in (one, team, crowd, sizes)]


def main() -> None:
    """Measure everything and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--tables", action="store_true", help="only show what is there, as tables")
    given = parser.parse_args()
    if given.tables:
        print("\n\n".join(tables(json.loads(given.out.read_text()))))
        return
    server = Server(new_server(settings=SETTINGS))
    try:
        shapes = [(1, 8, 4), (1, 24, 4), (1, 24, 24), (1, 200, 4), (2, 200, 4), (4, 200, 4)]
        loads = []
        for workers, trials, epochs in shapes:
            loads.append(measure(server, workers=workers, trials=trials, epochs=epochs))
            print(loads[-1], flush=True)
        result = {
            "machine": f"{os.cpu_count()} cores, {device_name()}",
            "postgresql": str(server.one("SHOW server_version")).split()[0],
            "seconds_between_beats": DEFAULT_BEAT,
            "studies": [asdict(load) for load in loads],
            "one_worker": slopes(loads),
            "crowded": [crowded(server, others) for others in (0, 10, 100, 1000)],
            "checkpoint_bytes": checkpoints(),
        }
    finally:
        server.admin.close()
        server.server.stop()
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    print("\n\n".join(tables(result)))


if __name__ == "__main__":
    main()
