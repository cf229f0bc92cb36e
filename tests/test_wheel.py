"""What is installed: an editable install would hide a package or a file that the wheel lacks."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from venv import EnvBuilder
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("datasets", "models", "search", "studies")

STUDY = """
import foretune.search, sys
from foretune.datasets import load_sample
from foretune.search import SearchSpace, best_config, run_study
assert sys.argv[1] in foretune.search.__file__, foretune.search.__file__
space = SearchSpace(layers=1, units=4, unroll_length=8, epochs=2, steps_per_epoch=3)
study = run_study("wheel", load_sample("sp500"), space=space, n_trials=2, horizon=5, storage="sqlite:///s.db")
best_config(study).save("best.toml")
"""


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    there = {
        ".".join(("foretune", *file.parent.relative_to(ROOT).parts))
        for part in PARTS
        for file in (ROOT / part).rglob("*.py")
    }
    assert sorted(listed) == sorted(there)


@pytest.mark.slow
def test_a_wheel_in_an_empty_environment_runs_a_study(tmp_path: Path) -> None:
    def run(*command: object) -> str:
        ran = subprocess.run(
            [str(part) for part in command], cwd=tmp_path, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    source = tmp_path / "source"  # a build leaves files beside what it builds
    for part in PARTS:
        shutil.copytree(ROOT / part, source / part)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, source)
    (wheel,) = tmp_path.glob("foretune-*.whl")
    with ZipFile(wheel) as archive:
        assert "foretune/datasets/data/bikes.csv.gz" in archive.namelist()
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        assert b"Apache-2.0 AND CC-BY-4.0 AND BSD-3-Clause" in archive.read(metadata)
    EnvBuilder(with_pip=True).create(tmp_path / "environment")
    commands = tmp_path / "environment" / "bin"
    run(commands / "pip", "install", "--quiet", wheel)
    run(commands / "python", "-c", STUDY, tmp_path)
    assert "wheel" in run(
        commands / "foretune", "status", "--study", "wheel", "--storage", "sqlite:///s.db"
    )
    assert (tmp_path / "best.toml").is_file()
