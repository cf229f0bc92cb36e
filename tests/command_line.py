"""The command line: inside the tests' own process, or as processes that are waited for."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.search.cli.main import main

Run = Callable[..., tuple[int, str, str]]

# The installed command.
FORETUNE = str(Path(sys.executable).with_name("foretune"))


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run ``foretune`` in an empty folder; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return call


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait for what other processes do; so long a wait is a failure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)


@contextmanager
def ended_at_last(team: Sequence[subprocess.Popen[Any]]) -> Iterator[None]:
    """Kill what still runs of a team at the end: a test that fails leaves no worker behind."""
    try:
        yield
    finally:
        for process in team:
            process.kill()
            process.wait()


def write_prices(path: Path, days: int = 400, *, changed: int | None = None) -> None:
    """Write a made-up price history; with one day changed, if any."""
    dates = pd.bdate_range("2000-01-03", periods=days)
    mid = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, days)))
    if changed is not None:
        mid[changed] *= 1.05
    frame = {"Date": dates, "Open": mid, "High": mid * 1.01, "Low": mid * 0.99, "Close": mid}
    pd.DataFrame(frame).to_csv(path, index=False)
