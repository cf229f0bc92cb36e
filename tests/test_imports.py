"""Imports go one way: datasets <- models <- search <- studies."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("datasets", "models", "search", "studies", "entry")
FILES = sorted(file for part in PARTS for file in (ROOT / part).rglob("*.py"))


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_no_import_against_the_stream(file: Path) -> None:
    part = PARTS.index(file.relative_to(ROOT).parts[0])
    foretune = {name.split(".")[1] for name in imported(file) if name.startswith("foretune.")}
    assert foretune <= set(PARTS[: part + 1])


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_optuna_stays_in_search(file: Path) -> None:
    if file.relative_to(ROOT).parts[0] in ("datasets", "models"):
        assert not any(name.split(".")[0] == "optuna" for name in imported(file))


# What only some commands need. Every worker imports the façade before its first trial.
LATE = ("optuna_dashboard", "bottle", "matplotlib.pyplot", "orbax.checkpoint", "arch", "sklearn")


def test_the_facade_leaves_what_few_need_for_later() -> None:
    code = "import sys, foretune.search; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "foretune.search.study_note" in loaded.stdout.split(), loaded.stderr
    assert not set(LATE) & set(loaded.stdout.split())
