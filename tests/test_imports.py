"""Imports go one way: datasets <- models <- search <- studies, and from room to room."""

import ast
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("datasets", "models", "search", "studies")
FILES = sorted(file for part in PARTS for file in (ROOT / part).rglob("*.py"))

# Who may import whom: a room sees itself and what stands in a line above it. Two rooms of one line
# do not see one another.
ROOMS = {
    "datasets": """
        common
        exchange
        calendar column_names plausibility transforms
        text_dates
        series frames panel panel_frames prices
        covariates series_bytes
        splits history
        sources
        __init__
    """,
    "models": """
        config runtime
        networks
        forecasts
        training
        forecaster
        __init__
    """,
    "search": """
        space storage
        study
        figures
        dashboard trial
        report engine
        review
        run
        cli
        __init__
    """,
}
# A series is made of a frame and back; the panel holds series.
TOGETHER = {"series", "frames", "panel", "panel_frames", "prices"}


def imported(file: Path) -> set[str]:
    """The modules and names that a file imports, wherever in its text."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(parts: Sequence[str]) -> str:
    return parts[1].removesuffix(".py")


def floors(part: str) -> dict[str, int]:
    lines = [line.split() for line in ROOMS[part].strip().splitlines()]
    return {room: floor for floor, rooms in enumerate(lines) for room in rooms}


def may_import(part: str, room: str, other: str) -> bool:
    """Whether a room of a part may import from another room of it."""
    floor = floors(part)
    return room == other or {room, other} <= TOGETHER or floor[other] < floor[room]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_go_one_way(file: Path) -> None:
    part, *_ = parts = file.relative_to(ROOT).parts
    for name in imported(file):
        foretune, *rest = name.split(".")
        if foretune != "foretune":
            continue
        assert PARTS.index(rest[0]) <= PARTS.index(part), name
        if rest[0] == part and part in ROOMS:
            # What stands in no line is a name of the package itself.
            other = rest[1] if rest[1] in floors(part) else "__init__"
            assert may_import(part, room_of(parts), other), name


@pytest.mark.parametrize("part", ROOMS)
def test_every_room_is_on_the_plan_and_small(part: str) -> None:
    rooms = {room_of(file.relative_to(ROOT).parts) for file in (ROOT / part).rglob("*.py")}
    assert rooms <= set(floors(part))
    for room in (ROOT / part).glob("*/"):
        assert len([file for file in room.glob("*.py") if file.name != "__init__.py"]) <= 12, room


def test_search_holds_its_front_door_and_its_rooms_alone() -> None:
    assert {file.name for file in (ROOT / "search").glob("*.py")} == {"__init__.py", "run.py"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_optuna_stays_in_search(file: Path) -> None:
    if file.relative_to(ROOT).parts[0] in ("datasets", "models"):
        assert not any(name.split(".")[0] == "optuna" for name in imported(file))


PRIVATE = re.compile(r"\b(_trial_id|_study_id)\b|\bstudy\._\w+|\btrial\._\w+|\bstorage\._\w+")


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_optunas_private_names_stand_in_one_module_alone(file: Path) -> None:
    if file.name == "optuna_internals.py":
        return
    # Attributes of this project's own objects are reached through self.
    found = PRIVATE.search(re.sub(r"\bself\.\w+", "", file.read_text(encoding="utf-8")))
    assert found is None, found
    private = [name for name in imported(file) if re.match(r"optuna\..*\._|optuna\._", name)]
    assert private == []


# What only some commands need. A worker imports what trains before its first trial, and no more.
LATE = (
    "optuna_dashboard",
    "bottle",
    "exchange_calendars",
    "matplotlib.pyplot",
    "orbax.checkpoint",
    "sklearn",
)
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
        "from foretune.models.training.tasks import Budget, DataRef, TaskState, advance;"
        "walk = load_sample('random_walk', length=500); config = TrialConfig();"
        "at = Snapshot(epochs=1, plateau=Plateau.start(config), finished=False, arrays={});"
        "data = DataRef.of([development(walk, chronological_split(500, horizon=5, history=8))]);"
        "state = TaskState(config=config, folds=(FoldProgress(at, None),));"
        "pickle.loads(pickle.dumps((advance, (state,), data, Budget(seconds=1))))"
    )
    assert not {"exchange_calendars", "jax", "optuna", "sqlalchemy"} & modules_after(code)


@pytest.mark.parametrize("part", ["datasets", "models", "search"])
def test_a_facade_imports_nothing_before_it_is_asked(part: str) -> None:
    modules = modules_after(f"import foretune.{part}")
    assert not {*LATE, *TRAINS, "optuna", "pandas", "numpy"} & modules


def test_who_only_reads_a_study_does_not_wait_for_jax() -> None:
    code = "import foretune.search.cli.study; from foretune.search import load_study, study_status"
    modules = modules_after(code)
    assert "optuna" in modules
    assert not {*LATE, *TRAINS, "matplotlib", "pandas", "scipy"} & modules


def test_the_help_of_the_command_imports_no_command() -> None:
    code = "sys.argv[1:] = ['--help']; from foretune.search.cli.entry import main; main()"
    modules = modules_after(code)
    assert "foretune.search.cli.main" in modules
    assert not {*LATE, *TRAINS, "optuna", "numpy", "pandas", "sqlalchemy"} & modules


@pytest.mark.parametrize("part", ["datasets", "models", "search"])
def test_all_that_is_exported_is_there(part: str) -> None:
    modules_after(f"import foretune.{part} as m; [getattr(m, name) for name in m.__all__]")
