"""A driver killed at any moment: the next one goes on, and no worker outlives it for long."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import ended_at_last
from real_processes import SureStudy, descendants, require_gone

from foretune.search import load_study

# Where its helpers lie.
PATHS = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

# A driver that a test kills.
DRIVER = """
import sys
sys.path[:0] = {paths}
from real_processes import SureStudy

SureStudy(*{study}).run({url!r}, workers={workers})
"""

# Drivers that kill themselves, each just before another of their writes is committed: the write
# before it has arrived, and all that a driver does in between is done. Every driver is a fork of a
# process that has imported what it needs, and started nothing.
KILLED = """
import os, signal, sys, traceback
sys.path[:0] = {paths}
import flax.nnx, foretune.search.run, jax, optax, optuna_dashboard
import foretune.models, foretune.search.report.significance, psycopg, scipy.stats
from sqlalchemy import Engine, event
from real_processes import SureStudy

WRITES = ("INSERT", "UPDATE", "DELETE")

def drive(url, name, most):
    wrote, left = set(), [most]

    @event.listens_for(Engine, "after_cursor_execute")
    def note(connection, cursor, statement, *_):
        if statement.lstrip().upper().startswith(WRITES):
            wrote.add(connection)

    @event.listens_for(Engine, "commit")
    def kill(connection):
        if connection in wrote:
            wrote.discard(connection)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    SureStudy(*{study}).run(url, name=name, workers=1)

for line in sys.stdin:
    url, name, most = line.split()
    pid = os.fork()
    if pid == 0:
        try:
            drive(url, name, int(most))
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


def parts(study: SureStudy) -> tuple[int, ...]:
    return study.trials, study.epochs, study.steps, study.drawn


@contextmanager
def killed_drivers(study: SureStudy, said: Path) -> Iterator[Callable[[str, str, int], int]]:
    """Let drivers work on a study of a name until their write of a number; gives exit codes."""
    code = KILLED.format(paths=PATHS, study=parts(study))
    # A fork of a process with threads may hang.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with (
        said.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=pipe,
            stdout=pipe,
            stderr=log,
            text=True,
            env=environment,
        ) as process,
        ended_at_last([process]),
    ):

        def start(url: str, name: str, writes: int) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            print(url, name, writes, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield start


@pytest.mark.slow
def test_killed_between_any_two_writes(database_url: str, tmp_path: Path) -> None:
    study = SureStudy(trials=2, epochs=2, steps=5, drawn=1)
    killed, said = 0, tmp_path / "drivers.log"
    with killed_drivers(study, said) as start:
        while (code := start(database_url, f"s{killed}", killed + 1)) == -signal.SIGKILL:
            if killed % 3 == 0:  # and once more, while it goes on from there
                start(database_url, f"s{killed}", killed + 1)
            assert start(database_url, f"s{killed}", 10**9) == 0, said.read_text()
            study.require_whole(load_study(f"s{killed}", database_url))
            killed += 1
    assert code == 0, said.read_text()
    print(f"killed between any two of {killed} writes")
    assert "Traceback" not in said.read_text()
    assert killed > 20


@pytest.mark.slow
def test_ten_kills_at_random_moments(
    database_url: str, long_study: SureStudy, tmp_path: Path
) -> None:
    code = DRIVER.format(paths=PATHS, study=parts(long_study), url=database_url, workers=2)
    dice = random.Random(0)
    longest, workers = 0.0, 0
    with (tmp_path / "drivers.log").open("w") as log:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", code], stdout=log, stderr=log)

        driver = start()
        for _ in range(10):
            with ended_at_last([driver]):
                time.sleep(dice.uniform(0.5, 5))
                assert driver.poll() is None
                left = descendants(driver.pid)
                driver.kill()
                driver.wait()
            workers += len(left)
            driver = start()
            longest = max(longest, require_gone(left))
        with ended_at_last([driver]):
            assert driver.wait(timeout=120) == 0, (tmp_path / "drivers.log").read_text()
    study = load_study("s", database_url)
    long_study.require_whole(study)
    print(f"{workers} processes of killed drivers had ended after {longest:.1f} s")
    assert "Traceback" not in (tmp_path / "drivers.log").read_text()
