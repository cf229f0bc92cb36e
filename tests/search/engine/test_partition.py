"""The cable between a driver and a Dask worker is pulled: exactly N trials all the same."""

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from command_line import wait_until
from distributed import Client
from real_processes import Cluster, SureStudy

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
def machine() -> Iterator[Machine]:
    made = Machine(1)
    try:
        if not made.make():
            pytest.skip("network namespaces need root and the right to make them")
        yield made
    except FileNotFoundError:
        pytest.skip("network namespaces need the program ip (Debian's package is iproute2)")
    finally:
        made.remove()


@pytest.mark.parametrize("others", [0, 1])
def test_a_cable_is_pulled_for_ten_seconds(machine: Machine, tmp_path: Path, others: int) -> None:
    """That of the only worker, and that of one of two."""
    study = SureStudy(trials=8, epochs=60, steps=200)
    cluster = Cluster(tmp_path, others, machine.ours)
    try:
        cluster.add("--host", machine.theirs, prefix=["ip", "netns", "exec", machine.name])
        with Client(scheduler_file=str(cluster.file)) as client:
            client.wait_for_workers(cluster.workers, timeout=60)

            def pull() -> None:
                time.sleep(5)

                def is_at_work() -> bool:
                    running = client.processing()
                    return any(keys for at, keys in running.items() if machine.theirs in at)

                wait_until(is_at_work)
                machine.cut()
                time.sleep(10)  # TCP gives up after 8 s, or at its next look
                machine.join()

            executor = client.get_executor(pure=False)
            with ThreadPoolExecutor(1) as thread:
                pulling = thread.submit(pull)
                done = study.run(f"sqlite:///{tmp_path / 'studies.db'}", executor=executor)
                pulling.result()
        study.require_whole(done)
    finally:
        cluster.end()
