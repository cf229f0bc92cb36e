"""The command line inside the tests' own process, and a price file to use it on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from foretune.search.cli import main

Run = Callable[..., tuple[int, str, str]]


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


def write_prices(path: Path, days: int = 400, *, changed: int | None = None) -> None:
    """Write a made-up price history; with one day changed, if any."""
    dates = pd.bdate_range("2000-01-03", periods=days)
    mid = 50 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, days)))
    if changed is not None:
        mid[changed] *= 1.05
    frame = {"Date": dates, "Open": mid, "High": mid * 1.01, "Low": mid * 0.99, "Close": mid}
    pd.DataFrame(frame).to_csv(path, index=False)
