"""No file and no row of a database can make foretune run code that it holds.

What is read is text, JSON, TOML, CSV, SQL or arrays, and never a pickle, for reading a pickle runs
what it says. loky and multiprocessing pickle what our own processes send one another; that never
lies in a file, and stays allowed.
"""

import ast
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages._rdb.models import BaseModel
from sqlalchemy import DateTime, Enum, Float, Integer, String

from foretune.datasets.common.errors import ConfigError
from foretune.search.cli.main import main
from foretune.search.storage.connect import load_study, open_storage

ROOT = Path(__file__).parent.parent
FILES = [
    f for part in ("datasets", "models", "search", "studies") for f in ROOT.glob(f"{part}/**/*.py")
]

# Not to be imported, nor anything in them.
MODULES = {"pickle", "_pickle", "cPickle", "pickletools", "dill", "cloudpickle", "joblib"}
MODULES |= {"shelve", "marshal", "jsonpickle", "imp", "code", "runpy"}
# Not to be mentioned, by whatever name they were imported.
NAMES = {
    *(f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__")),
    *(f"yaml.{name}" for name in ("load", "load_all", "unsafe_load", "full_load", "Loader")),
    *(f"pandas.{name}" for name in ("read_pickle", "to_pickle")),
    *(f"os.{name}" for name in ("system", "popen")),
    *(f"subprocess.{name}" for name in ("getoutput", "getstatusoutput")),
    *("torch.load", "torch.save", "tempfile.mktemp", "sqlalchemy.PickleType"),
    # Its journals keep snapshots, and this sampler its state in the study, as pickles.
    *("optuna.storages.JournalStorage", "optuna.samplers.CmaEsSampler"),
}
METHODS = {"to_pickle", "read_pickle"}
# To be called with this argument alone.
ONLY_WITH = {
    f"numpy.{name}": ("allow_pickle", False)
    for name in ("load", "save", "savez", "savez_compressed")
}
# Never to be called with this argument.
NEVER_WITH = ("shell", True)


def imports(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """The names that imports bind, what they stand for, and what is imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]  # `import a.b` binds `a` alone
                yield alias.asname or first, alias.name if alias.asname else first, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield alias.asname or alias.name, full, full


def dotted(node: ast.AST, bound: dict[str, str]) -> str:
    """What a name or an attribute stands for; "" of anything else."""
    if isinstance(node, ast.Name):
        return bound.get(node.id, f"builtins.{node.id}")
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value, bound)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def argument(call: ast.Call, name: str) -> object:
    """The constant that an argument of this name is; None where there is none."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else ...
    return None


def dangers(source: str) -> list[str]:
    """Everything in a module that may run code from data, or a shell."""
    tree = ast.parse(source)
    bound = {name: meaning for name, meaning, _ in imports(tree)}
    found = [full for *_, full in imports(tree) if full.split(".")[0] in MODULES or full in NAMES]
    for node in ast.walk(tree):
        name = dotted(node, bound)
        if name in NAMES or (isinstance(node, ast.Attribute) and node.attr in METHODS):
            found.append(name or node.attr)  # type: ignore[attr-defined]
        if isinstance(node, ast.Call):
            called = dotted(node.func, bound)
            wanted = ONLY_WITH.get(called)
            if wanted is not None and argument(node, wanted[0]) is not wanted[1]:
                found.append(called)
            if argument(node, NEVER_WITH[0]) not in (None, False):
                found.append(f"{called or 'a call'} with {NEVER_WITH[0]}")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_module_runs_code_from_data(file: Path) -> None:
    assert dangers(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "snippet",
    [
        *(f"import {module}" for module in sorted(MODULES)),
        "import pickle as p\np.loads(b'')",
        "from pickle import loads as parse\nparse(b'')",
        "def f():\n    from dill import load\n    return load",
        "eval('1')",
        "exec('1')",
        "f = list(map(eval, ['1']))",
        "compile('1', 'a', 'eval')",
        "__import__('os')",
        "import builtins\nbuiltins.eval('1')",
        "import yaml\nyaml.load('a')",
        "from yaml import unsafe_load",
        "import yaml\nyaml.safe_load('a', Loader=yaml.Loader)",
        "import numpy as np\nnp.load('a')",
        "import numpy\nnumpy.load('a', allow_pickle=True)",
        "from numpy import load\nload('a', allow_pickle=flag)",
        "import numpy as np\nnp.save('a', b)",
        "import numpy as np\nnp.savez('a', b=c)",
        "import pandas as pd\npd.read_pickle('a')",
        "from pandas import read_pickle",
        "frame.to_pickle('a')",
        "f().to_pickle('a')",
        "import torch\ntorch.load('a')",
        "import os\nos.system('id')",
        "from os import system",
        "import os\nos.popen('id')",
        "import os.path\nos.system('id')",
        "import subprocess\nsubprocess.run('id', shell=True)",
        "from subprocess import run\nrun('id', shell=yes)",
        "Popen('id', shell=1)",
        "import subprocess\nsubprocess.getoutput('id')",
        "import tempfile\ntempfile.mktemp()",
        "import sqlalchemy as sa\nColumn(sa.PickleType)",
        "from optuna.storages import JournalStorage",
        "import optuna\noptuna.storages.JournalStorage(a)",
        "import optuna\noptuna.samplers.CmaEsSampler()",
    ],
)
def test_each_danger_is_seen(snippet: str) -> None:
    assert dangers(snippet) != []


@pytest.mark.parametrize(
    "snippet",
    [
        "import re\nre.compile('a')",
        "import yaml\nyaml.safe_load('a')",
        "import numpy as np\nnp.load('a', allow_pickle=False)",
        "import numpy as np\nnp.save('a', b, allow_pickle=False)",
        "import subprocess\nsubprocess.run(['id'], shell=False)",
        "import json\njson.loads('1')",
        "model.compile()\nmodel.eval()",
        "import loky\nimport multiprocessing",
        "import tempfile\ntempfile.mkdtemp()",
    ],
)
def test_what_is_harmless_is_not(snippet: str) -> None:
    assert dangers(snippet) == []


# Optuna's databases


def test_optunas_tables_hold_no_pickles() -> None:
    tables = BaseModel.metadata.tables
    kinds = {type(column.type) for table in tables.values() for column in table.columns}
    assert all(issubclass(kind, DateTime | Enum | Float | Integer | String) for kind in kinds)


class Trap:
    """Calls what it was not asked to where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return len, ([],)


unpickled: list[str] = []


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "pickle.find_class":
        unpickled.append(".".join(map(str, arguments)))


@pytest.fixture(scope="session")
def hearing() -> list[str]:
    """What is looked up by name by an unpickler of this process, from now on."""
    sys.addaudithook(_listen)  # for good: there is no way to remove it
    pickle.loads(pickle.dumps(Trap()))
    assert unpickled == ["builtins.len"]
    return unpickled


def test_a_study_in_a_database_is_never_unpickled(hearing: list[str], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    storage = open_storage(url)
    study = optuna.create_study(study_name="s", storage=storage)
    # Where Optuna's samplers would keep their state, and what a stranger could put there.
    poison = pickle.dumps(Trap()).hex()
    for name in ("cma:0", "cma:optimizer:0", "foretune_note", "dashboard:note_ver"):
        storage.set_study_system_attr(study._study_id, name, poison)
    hearing.clear()
    for _ in range(12):
        trial = study.ask()
        value = trial.suggest_float("a", 0, 1) + trial.suggest_categorical("b", (1, 2))
        trial.set_user_attr("c", poison)
        trial.report(value, 1)
        trial.should_prune()
        study.tell(trial, value)
    again = load_study("s", url)
    assert len(again.trials) == 12
    assert again.best_trial.user_attrs["c"] == poison
    again.trials_dataframe()
    assert hearing == []


@pytest.mark.parametrize(
    "url",
    ["journal:///s.log", "journal+file:///s.log", "redis://localhost", "s.log", "file:///s.log"],
)
def test_optunas_journals_are_no_storage(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="storage must be"):
        open_storage(url)
    for command in (["run"], ["best"], ["report"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "--study", "s", "--storage", url])
        assert ended.value.code == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("foretune: storage must be")
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
