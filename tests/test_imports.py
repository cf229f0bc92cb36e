"""Imports go one way: datasets <- models <- search <- studies."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("datasets", "models", "search", "studies")
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


# What only some commands need. A worker imports what trains before its first trial, and no more.
LATE = ("optuna_dashboard", "bottle", "matplotlib.pyplot", "orbax.checkpoint", "arch", "sklearn")
TRAINS = ("jax", "flax", "optax")


def modules_after(code: str) -> set[str]:
    """The modules that are loaded after ``code`` has run in a new process."""
    code = f"import sys; {code}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    return set(loaded.stdout.split())


def test_a_driver_leaves_what_few_need_for_later() -> None:
    """It starts no JAX either: what trains are its tasks."""
    modules = modules_after("from foretune.search import Objective, run_study, best_config")
    assert "foretune.search.engine.driver" in modules
    assert not {*LATE, "jax"} & modules


def test_a_task_is_read_before_jax_is_imported() -> None:
    """An executor reads a task before anything of it runs, which is what sets JAX's flags."""
    code = (
        "import numpy as np, pickle; from foretune.datasets import load_sample;"
        "from foretune.datasets.splits import chronological_split, development;"
        "from foretune.models import TrialConfig;"
        "from foretune.models.training.plateau import Plateau;"
        "from foretune.models.training.results import FoldProgress, Snapshot;"
        "from foretune.models.training.tasks import Budget, DataRef, TrainingState, advance;"
        "walk = load_sample('random_walk', length=500); config = TrialConfig();"
        "at = Snapshot(epochs=1, plateau=Plateau.start(config), finished=False, arrays={});"
        "data = DataRef.of([development(walk, chronological_split(500, horizon=5, history=8))]);"
        "state = TrainingState(config=config, folds=(FoldProgress(at, None),));"
        "pickle.loads(pickle.dumps((advance, (state,), data, Budget(seconds=1))))"
    )
    assert not {"jax", "optuna", "sqlalchemy"} & modules_after(code)


@pytest.mark.parametrize("part", ["models", "search"])
def test_a_facade_imports_nothing_before_it_is_asked(part: str) -> None:
    modules = modules_after(f"import foretune.{part}")
    assert not {*LATE, *TRAINS, "optuna", "pandas", "numpy"} & modules


def test_who_only_reads_a_study_does_not_wait_for_jax() -> None:
    modules = modules_after("from foretune.search import load_study, study_status")
    assert "optuna" in modules
    assert not {*LATE, *TRAINS, "matplotlib"} & modules


@pytest.mark.parametrize("part", ["models", "search"])
def test_all_that_is_exported_is_there(part: str) -> None:
    modules_after(f"import foretune.{part} as m; [getattr(m, name) for name in m.__all__]")
