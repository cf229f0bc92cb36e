"""One of two machines is cut off from the database for a while: exactly N trials all the same."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import FORETUNE, ended_at_last, wait_until

from foretune.datasets import load_sample
from foretune.search import SearchSpace, load_study, run_study
from foretune.search.tickets import finished_trials, is_under_way

pytestmark = pytest.mark.slow


def ip(*arguments: str) -> bool:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True)
    return done.returncode == 0


class Machine:
    """A network namespace with a cable to this machine."""

    def __init__(self, number: int) -> None:
        self.name = f"foretune-{os.getpid()}-{number}"
        self.cable = f"ft{number}-{os.getpid() % 100000}"
        self.ours, self.theirs = f"10.213.{number}.1", f"10.213.{number}.2"

    def make(self) -> bool:
        inside = f"{self.cable}n"
        return (
            ip("netns", "add", self.name)
            and ip("link", "add", self.cable, "type", "veth", "peer", "name", inside)
            and ip("link", "set", inside, "netns", self.name)
            and ip("addr", "add", f"{self.ours}/24", "dev", self.cable)
            and ip("link", "set", self.cable, "up")
            and ip("-n", self.name, "addr", "add", f"{self.theirs}/24", "dev", inside)
            and ip("-n", self.name, "link", "set", inside, "up")
            and ip("-n", self.name, "link", "set", "lo", "up")
        )

    def cut(self) -> None:
        assert ip("link", "set", self.cable, "down")

    def join(self) -> None:
        assert ip("link", "set", self.cable, "up")

    def remove(self) -> None:
        ip("link", "del", self.cable)
        ip("netns", "del", self.name)


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    two = [Machine(1), Machine(2)]
    try:
        made = [machine.make() for machine in two]
    except FileNotFoundError:
        pytest.skip("network namespaces need the program ip (Debian's package is iproute2)")
    if not all(made):
        for machine in two:
            machine.remove()
        pytest.skip("network namespaces need root and the right to make them")
    yield two
    for machine in two:
        machine.remove()


def test_a_cable_is_pulled_for_ten_seconds_and_until_it_is_noticed(
    machines: list[Machine], new_postgresql: Any, tmp_path: Path
) -> None:
    new_postgresql.listen_everywhere()
    space = SearchSpace(
        layers=1, units=8, unroll_length=16, batch_size=16, epochs=80, steps_per_epoch=60
    ).fix(stop_patience=80)
    prices = load_sample("random_walk", length=500, seed=3)
    url = new_postgresql.url()
    run_study("s", prices, n_trials=16, space=space, horizon=5, storage=url, workers=0)
    study = load_study("s", url)
    team = []
    for machine in machines:
        there = url.replace("127.0.0.1", machine.ours)
        command = ["ip", "netns", "exec", machine.name]
        command += [FORETUNE, "worker", "--study", "s"]
        # Beats are short, so that the one cut off is taken for lost while it is away.
        with (tmp_path / f"{machine.name}.log").open("w") as log:
            team.append(
                subprocess.Popen(
                    [*command, "--storage", there, "--beat", "0.5"], stdout=log, stderr=log
                )
            )
    with ended_at_last(team):
        wait_until(lambda: sum(map(is_under_way, study.get_trials())) >= 2)
        machines[0].cut()
        time.sleep(10)
        # When a lost connection is noticed is TCP's to say: in eight seconds, or at its next look.
        log = tmp_path / f"{machines[0].name}.log"
        wait_until(lambda: "cannot be reached" in log.read_text())
        machines[0].join()
        assert [process.wait(timeout=300) for process in team] == [0, 0]
    trials = study.get_trials()
    assert finished_trials(study) == 16
    assert all(trial.state.is_finished() for trial in trials)
    # The trial that was cut off was given to the other and its first worker let go of it, or it was
    # back before the other had time to look.
    lost = [t for t in trials if "was lost" in str(t.user_attrs.get("error"))]
    assert len(lost) <= 1
    said = "".join(file.read_text() for file in tmp_path.glob("*.log"))
    assert "is back after" in said
    assert "Traceback" not in said
