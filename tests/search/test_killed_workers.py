"""Workers killed at any moment: exactly N trials, none stuck, none run twice at the same time."""

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from command_line import FORETUNE
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets import load_sample
from foretune.search import SearchSpace, load_study, run_study
from foretune.search.process_identity import ProcessIdentity
from foretune.search.tickets import is_finished, is_under_way
from foretune.search.trial_marks import OWNER, REPEATS

pytestmark = pytest.mark.slow

TRIALS = 30
KILLS = 50


def make_study(url: str, trials: int = TRIALS) -> None:
    """A study that wants trials of a second or two."""
    space = SearchSpace(
        layers=1, units=8, unroll_length=16, batch_size=16, epochs=60, steps_per_epoch=40
    ).fix(stop_patience=60)
    prices = load_sample("random_walk", length=500, seed=3)
    run_study("s", prices, n_trials=trials, space=space, horizon=5, storage=url, workers=0)


class Team:
    """`foretune worker` processes, each replaced when it is killed."""

    def __init__(self, url: str, folder: Path, count: int, *options: str) -> None:
        self._arguments = [FORETUNE, "worker"]
        self._arguments += ["--storage", url, "--study", "s", *options]
        self._folder = folder
        self._count = count
        self.processes: list[subprocess.Popen[bytes]] = []
        for _ in range(count):
            self.start()

    def start(self) -> None:
        log = (self._folder / f"worker-{len(self.processes)}.log").open("wb")
        self.processes.append(
            subprocess.Popen(self._arguments, stdout=log, stderr=log, cwd=self._folder)
        )
        log.close()

    def alive(self) -> list[subprocess.Popen[bytes]]:
        return [process for process in self.processes if process.poll() is None]

    def kill(self, pid: int) -> None:
        (process,) = [process for process in self.processes if process.pid == pid]
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.start()

    def said(self) -> str:
        return "".join(file.read_text() for file in sorted(self._folder.glob("worker-*.log")))

    def wait(self) -> None:
        """Wait until all have ended by themselves."""
        for process in self.processes:
            process.wait(timeout=600)

    def end(self) -> None:
        for process in self.alive():
            process.kill()
            process.wait()


@pytest.fixture
def team(database_url: str, tmp_path: Path) -> Iterator[Team]:
    make_study(database_url)
    team = Team(database_url, tmp_path, 3)
    yield team
    team.end()


def require_whole(study: optuna.Study, trials: int) -> None:
    """Exactly so many finished, none stuck, none run twice at the same time."""
    every = study.get_trials()
    assert sum(map(is_finished, every)) == trials
    assert {t.state for t in every} <= {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    by_number = {trial.number: trial for trial in every}
    repeated = [trial.system_attrs[REPEATS] for trial in every if REPEATS in trial.system_attrs]
    assert len(repeated) == len(set(repeated))
    for trial in every:
        if REPEATS in trial.system_attrs:
            earlier = by_number[trial.system_attrs[REPEATS]]
            assert earlier.state == TrialState.FAIL
            assert earlier.params.items() <= trial.system_attrs["fixed_params"].items()
            assert trial.datetime_start >= earlier.datetime_complete  # type: ignore[operator]


def pid_of(trial: FrozenTrial) -> int:
    owner = ProcessIdentity.read(trial.system_attrs[OWNER])
    assert owner is not None
    return owner.pid


def test_fifty_kills(team: Team, database_url: str) -> None:
    study = load_study("s", database_url)
    dice = random.Random(0)
    killed = inside = 0
    while killed < KILLS and team.alive():
        time.sleep(dice.uniform(0, 0.3))
        at_work = {pid_of(t): t for t in study.get_trials() if is_under_way(t)}
        alive = [process.pid for process in team.alive()]
        # Inside a trial, but for a few: those may be importing, asking, telling or waiting.
        if killed - inside >= KILLS // 8 or dice.random() < 0.5:
            alive = [pid for pid in alive if pid in at_work]
        if not alive:
            continue
        pid = dice.choice(alive)
        inside += pid in at_work
        killed += 1
        team.kill(pid)
    assert (killed, inside >= 40) == (KILLS, True), (killed, inside)
    team.wait()
    require_whole(study, TRIALS)
    assert "Traceback" not in team.said()
