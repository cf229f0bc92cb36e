"""README's tour, as it stands there, run by a shell and by Python."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


def tour() -> tuple[str, str]:
    """The shell's and Python's part."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## Reuse the best config")[1]
    section = section.split("\n## ")[0]
    (shell,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    (python,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return shell, python


@pytest.mark.slow
def test_the_tour_runs_as_it_is_printed(tmp_path: Path) -> None:
    shell, python = tour()
    commands = Path(sys.executable).parent
    environment = os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(
        ["sh", "-e", "-c", shell],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stderr
    assert "as in the study" in ran.stdout + ran.stderr
    assert "This report left the test closed." in " ".join(ran.stdout.split())
    assert "the values compare" in ran.stdout
    forecast = pd.read_csv(tmp_path / "forecast.csv")
    assert list(forecast.columns) == ["date", "forecast", "lower", "upper"]
    assert len(forecast) == 10
    assert (tmp_path / "forecast.png").stat().st_size > 10_000
    for file in ("best.toml", "results/tour/report.html", "results/again/trials.csv"):
        assert (tmp_path / file).is_file()
    ran = subprocess.run(
        [sys.executable, "-c", python], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert ran.returncode == 0, ran.stderr
