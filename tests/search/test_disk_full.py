"""A disk that runs full: one clear line, nothing acknowledged lost, and it goes on with room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import FORETUNE

from foretune.search import SearchSpace, finished_trials, load_study


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one mebibyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.getuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk(workers: int, small_disk: Path, tmp_path: Path) -> None:
    space = SearchSpace(
        layers=1, units=4, unroll_length=8, batch_size=8, epochs=3, steps_per_epoch=5
    )
    (tmp_path / "space.toml").write_text(space.to_toml())
    database = small_disk / "studies.db"
    url = f"sqlite:///{database}"

    def run() -> subprocess.CompletedProcess[str]:
        options = f"--study s --horizon 5 --space space.toml --trials 60 --workers {workers}"
        command = [FORETUNE, "run", "--prices", "ar1(length=900, seed=3)", "--storage", url]
        return subprocess.run(
            [*command, *options.split(), "--out", str(tmp_path / "results")],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    full = run()
    assert full.returncode == 2
    assert "Traceback" not in full.stderr
    last = full.stderr.strip().splitlines()[-1]
    assert f"storage {database} must have room to grow, but its disk has" in last
    assert "bytes free" in last
    # What the user was told of is there.
    told = {int(line.split()[1]) for line in full.stderr.splitlines() if " complete: " in line}
    study = load_study("s", url)
    stored = {t.number: t.values for t in study.get_trials() if t.state.name == "COMPLETE"}
    assert told
    assert told <= set(stored)

    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    again = run()
    assert again.returncode == 0, again.stderr
    assert finished_trials(study) == 60
    trials = study.get_trials()
    assert {n: trials[n].values for n in stored} == stored
    assert all(t.state.is_finished() for t in trials)
