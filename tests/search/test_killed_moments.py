"""A worker killed at the worst moments, one by one: the next one finishes what it began."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import FORETUNE
from optuna.trial import TrialState

from foretune.datasets import PriceSeries
from foretune.search import SearchSpace, load_study, run_study
from foretune.search.storage.artifacts import artifact_names, load_artifact
from foretune.search.storage.connect import storage_of
from foretune.search.tickets import finished_trials
from foretune.search.trial_marks import REPEATS

pytestmark = pytest.mark.slow

# Each replaces a function by one that ends the process before, after or within its work. What is
# done up to there in an open transaction is lost, as in a crash; what is committed stays.
MOMENTS = {
    "between taking a trial and its first beat": """
        after(foretune.search.tickets, "_start")
    """,
    "between drawing parameters and the first epoch": """
        before(foretune.search.trial_record.TrialRecord, "start")
    """,
    "between marking a lost trial and failing it": """
        lose_a_trial()
        before(RDBStorage, "set_trial_state_values", when=lambda *args: args[2].name == "FAIL")
    """,
    "between failing a lost trial and repeating it": """
        lose_a_trial()
        after(foretune.search.lost_trials, "give_up")
    """,
    "between repeating a lost trial and taking it": """
        lose_a_trial()
        after(optuna.Study, "add_trial")
    """,
    "inside an artifact write": """
        # The third: before it, a checkpoint was written after each of three epochs but the last.
        after(foretune.search.storage.artifact_store, "insert", call=3)
    """,
    "between an artifact and its announcement": """
        before(foretune.search.storage.artifacts, "_set_attributes")
    """,
    "inside making a checkpoint": """
        after(foretune.search.checkpoint, "write_arrays")
    """,
    "inside a checkpoint write": """
        after(foretune.search.storage.artifact_store, "insert")
    """,
    "right after a checkpoint": """
        after(foretune.search.checkpoint_keeper.CheckpointKeeper, "epoch_ended", call=2)
    """,
    "inside tell": """
        after(RDBStorage, "_set_trial_value_without_commit")
    """,
    "right after tell": """
        after(optuna.Study, "tell")
    """,
}

KILLED = """
import os, signal, subprocess, sys
import optuna
from optuna.storages import RDBStorage
import foretune.search.join, foretune.search.patient_storage
import foretune.search.storage.artifact_store, foretune.search.storage.artifacts
import foretune.search.checkpoint, foretune.search.checkpoint_keeper
import foretune.search.lost_trials, foretune.search.tickets, foretune.search.trial_record
import foretune.search.worker

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def replace(owner, name, make):
    new = make(getattr(owner, name))
    modules = [m for k, m in list(sys.modules.items()) if k.startswith("foretune.")]
    old = getattr(owner, name)
    for place in (owner, *modules):  # also where it was imported to
        if getattr(place, name, None) is old:
            setattr(place, name, new)

def before(owner, name, when=lambda *args: True):
    def make(call):
        def new(*args, **kwargs):
            if when(*args):
                die()
            return call(*args, **kwargs)
        return new
    replace(owner, name, make)

def after(owner, name, call=1):
    left = [call]
    def make(work):
        def new(*args, **kwargs):
            result = work(*args, **kwargs)
            left[0] -= 1
            if left[0] == 0:
                die()
            return result
        return new
    replace(owner, name, make)

def lose_a_trial():
    subprocess.run([sys.executable, *sys.argv, "first"])

url = sys.argv[1]
if len(sys.argv) > 2:
    before(foretune.search.worker.Objective, "_together")
else:
    MOMENT
foretune.search.join.join_study("s", url, checkpoint_seconds=1e-9, show_progress_bar=False)
"""


@pytest.mark.parametrize("moment", list(MOMENTS))
def test_a_worker_killed(
    moment: str,
    database_url: str,
    tmp_path: Path,
    walk: PriceSeries,
    tiny_space: SearchSpace,
) -> None:
    study = run_study(
        "s", walk, n_trials=2, space=tiny_space, horizon=5, storage=database_url, workers=0
    )
    script = tmp_path / "killed.py"
    lines = [line.strip() for line in MOMENTS[moment].strip().splitlines()]
    script.write_text(KILLED.replace("    MOMENT", "\n".join(f"    {line}" for line in lines)))
    command = [sys.executable, str(script), database_url]
    killed = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    command = [FORETUNE, "worker", "--storage", database_url, "--study", "s"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    study = load_study("s", database_url)
    trials = study.get_trials()
    assert finished_trials(study) == 2
    assert all(trial.state.is_finished() for trial in trials)
    repeated = [t.system_attrs[REPEATS] for t in trials if REPEATS in t.system_attrs]
    assert len(repeated) == len(set(repeated))
    for trial in trials:
        for name in artifact_names(storage_of(study), trial):
            assert load_artifact(storage_of(study), trial, name)  # whole, by size and digest
        if trial.state == TrialState.COMPLETE:
            assert trial.value == trial.user_attrs["relative_mse"]
            assert len(artifact_names(storage_of(study), trial)) == 5
