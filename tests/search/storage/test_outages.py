"""PostgreSQL goes away under a running study, and comes back or does not."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from command_line import FORETUNE, ended_at_last, wait_until
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from postgresql_server import PostgreSQL

from foretune.search import SearchSpace

pytestmark = pytest.mark.slow

TRIALS = 30
PASSWORD = "hunter2-of-the-database"

# The command, with so many seconds of patience: no option of it says how many.
IMPATIENT = """
import sys
from functools import partial
from foretune.search.cli import run as cli_run
from foretune.search.cli.main import main
cli_run.run_study = partial(cli_run.run_study, storage_timeout=5)
main(sys.argv[1:])
"""

RUN = ["run", "--prices", "random_walk(length=500, seed=3)", "--horizon", "5", "--study", "s"]


def arguments(folder: Path, *, steps: int = 100) -> list[str]:
    """A study of trials that last about a second each."""
    space = SearchSpace(
        layers=1, units=8, unroll_length=16, batch_size=16, epochs=60, steps_per_epoch=steps
    ).fix(stop_patience=60)
    (folder / "space.toml").write_text(space.to_toml())
    return [*RUN, "--space", "space.toml", "--trials", str(TRIALS), "--workers", "2"]


class Driver:
    """``foretune run``, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def told(self) -> dict[int, str]:
        """The values of the trials that it has said are over."""
        return told(self.said)

    def wait_for(self, told: int) -> None:
        """Wait until it has told so many trials; it runs on."""
        wait_until(lambda: len(self.told) >= told or self.process.poll() is not None)
        assert self.process.poll() is None, self.said


def told(said: str) -> dict[int, str]:
    found = re.findall(r"^trial (\d+) (?:complete|pruned): relative_mse (\S+) ", said, re.M)
    assert len({number for number, _ in found}) == len(found)
    return {int(number): value for number, value in found}


@contextmanager
def driver(command: Sequence[str], url: str, folder: Path, log: str = "log") -> Iterator[Driver]:
    with (folder / log).open("wb") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | {"FORETUNE_STORAGE": url},
            stdout=said,
            stderr=said,
        )
    with ended_at_last([process]):
        yield Driver(process, folder / log)


def require_whole(url: str, *said: str) -> None:
    """Exactly the wanted trials, of which all that were told are as they were told."""
    storage = RDBStorage(url)
    trials = optuna.load_study(study_name="s", storage=storage).trials
    storage.engine.dispose()
    assert len(trials) == TRIALS
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    shown = {trial.number: f"{trial.user_attrs['relative_mse']:.4f}" for trial in trials}
    every: dict[int, str] = {}
    for part in said:
        assert not every.keys() & told(part).keys()
        every |= told(part)
    assert every == shown
    for trial in trials:
        epochs = sorted(trial.intermediate_values)
        assert epochs == list(range(1, len(epochs) + 1))  # no report is missing
        if trial.state == TrialState.COMPLETE:
            assert trial.value == min(trial.intermediate_values.values())


def test_five_crashes_of_the_server(new_postgresql: PostgreSQL, tmp_path: Path) -> None:
    """The driver does not end, and nothing that was told is lost."""
    dice = random.Random(0)
    url = new_postgresql.url()
    with driver([FORETUNE, *arguments(tmp_path)], url, tmp_path) as running:
        for count, seconds in enumerate((1, 2, 10, 5, 3)):
            running.wait_for(1 + 4 * count)
            time.sleep(dice.uniform(0, 1))
            new_postgresql.kill()
            time.sleep(seconds)
            assert running.process.poll() is None, running.said
            new_postgresql.start()
        assert running.process.wait(timeout=300) == 0, running.said
    require_whole(url, running.said)
    assert "Traceback" not in running.said
    assert "cannot be reached" in running.said
    assert "is back after" in running.said


def test_a_server_that_stays_away(
    start_postgresql: Callable[[str | None], PostgreSQL], tmp_path: Path
) -> None:
    """One line when the patience is over; the same command goes on later."""
    server = start_postgresql(PASSWORD)
    command = arguments(tmp_path)
    with driver([sys.executable, "-c", IMPATIENT, *command], server.url(), tmp_path) as first:
        first.wait_for(4)
        server.kill()
        assert first.process.wait(timeout=120) == 2, first.said
    last = first.said.rstrip().splitlines()[-1]
    assert re.match(r"foretune: storage \S+:\*\*\*@\S+ could not be reached for 5 s \(", last)
    assert "Traceback" not in first.said
    assert first.said.count("could not be reached") == 1
    assert PASSWORD not in first.said
    server.start()
    with driver([FORETUNE, *command], server.url(), tmp_path, "again") as second:
        assert second.process.wait(timeout=300) == 0, second.said
    require_whole(server.url(), first.said, second.said)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_driver_that_waits(
    number: signal.Signals, new_postgresql: PostgreSQL, tmp_path: Path
) -> None:
    url, command = new_postgresql.url(), [FORETUNE, *arguments(tmp_path, steps=40)]
    with driver(command, url, tmp_path) as first:
        first.wait_for(2)
        new_postgresql.kill()
        wait_until(lambda: "cannot be reached" in first.said)
        first.process.send_signal(number)
        assert first.process.wait(timeout=60) == 130, first.said
    assert "Traceback" not in first.said
    assert "interrupted: " in first.said
    new_postgresql.start()
    with driver(command, url, tmp_path, "again") as second:
        assert second.process.wait(timeout=300) == 0, second.said
    require_whole(url, first.said, second.said)
