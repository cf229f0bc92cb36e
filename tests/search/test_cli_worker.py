"""``foretune run --workers 0``, ``worker`` and ``status``, as a user types them."""

import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from command_line import FORETUNE, Run, ended_at_last, wait_until, write_prices
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from foretune.datasets import PriceSeries
from foretune.search import SearchSpace, load_study, run_study
from foretune.search.heartbeat import Heartbeat
from foretune.search.join import join_study
from foretune.search.storage.connect import open_storage, storage_of
from foretune.search.tickets import finished_trials, is_under_way, take_ticket
from foretune.search.trial_marks import BEAT
from foretune.search.wanted import Wanted, wanted_trials
from foretune.search.watch import Watch

SPACE = (
    "layers = 1\nunits = 4\nunroll_length = 8\nbatch_size = 8\nepochs = 2\nsteps_per_epoch = 5\n"
)
MAKE = ("run", "--study", "s", "--prices", "acme.csv", "--horizon", "5", "--space", "space.toml")


@pytest.fixture
def run(command: Run, tmp_path: Path) -> Run:
    """Run the command in a folder with prices and a small space."""
    (tmp_path / "space.toml").write_text(SPACE)
    write_prices(tmp_path / "acme.csv")
    return command


def test_a_study_is_made_filled_and_extended(run: Run) -> None:
    # Who only makes a study needs no folder for results.
    code, out, err = run(*MAKE, "--trials", "3", "--workers", "0", "--out", "/proc/none")
    assert (code, err) == (0, "")
    assert "study s wants 3 trials and has 0; `foretune worker --study s`" in out
    assert load_study("s").get_trials() == []
    code, out, _ = run("status", "--study", "s")
    assert code == 0
    assert "0 of 3" in out

    code, out, _ = run("worker", "--study", "s")
    assert code == 0
    assert "study s has 3 of 3 trials" in out
    study = load_study("s")
    assert finished_trials(study) == len(study.trials) == 3
    assert run("worker", "--study", "s")[0] == 0
    assert len(study.get_trials()) == 3  # nothing was left to do

    assert run(*MAKE, "--trials", "5", "--workers", "0")[0] == 0
    assert wanted_trials(load_study("s")) == 5
    assert run("worker", "--study", "s")[0] == 0
    assert finished_trials(study) == 5
    code, out, _ = run("status", "--study", "s")
    assert code == 0
    for words in ("5 of 5", "trials an hour", "0 min 0 s", f"{study.best_value:.6f}"):
        assert words in out


def test_a_worker_needs_the_prices_and_no_others(run: Run) -> None:
    assert run(*MAKE, "--trials", "1", "--workers", "0")[0] == 0
    Path("acme.csv").rename("elsewhere.csv")
    code, _, err = run("worker", "--study", "s")
    assert code == 2
    assert "the prices of study 's' must be given, as --prices" in err
    text = Path("elsewhere.csv").read_text().splitlines()
    Path("other.csv").write_text("\n".join(text[:-1]))
    code, _, err = run("worker", "--study", "s", "--prices", "other.csv")
    assert code == 2
    assert "prices must be those of study 's' (digest" in err
    assert run("worker", "--study", "s", "--prices", "elsewhere.csv")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("worker", "--study", "s"), "storage must be a database that exists"),
        (("status", "--study", "s"), "storage must be a database that exists"),
        (("worker", "--study", "s", "--workers", "0"), "--workers"),
        (("worker", "--study", "s", "--beat", "0"), "--beat"),
        (("worker", "--study", "s", "--beat", "nan"), "beat must be 0.1 to 600 seconds"),
        (("worker", "--study", "s", "--checkpoint", "inf"), "checkpoint_seconds must be 0 to"),
        (("worker",), "--study"),
    ],
)
def test_a_mistake_is_one_line(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not Path("foretune.db").exists()


def test_a_study_of_another_kind_is_refused(run: Run) -> None:
    optuna.create_study(study_name="plain", storage="sqlite:///foretune.db")
    code, _, err = run("worker", "--study", "plain")
    assert code == 2
    assert "study 'plain' must be one that foretune made" in err
    assert run("status", "--study", "plain")[0] == 0  # there is something to say about any study


def test_a_password_on_the_command_line_is_spoken_of(run: Run) -> None:
    url = "postgresql+psycopg://me:secret@127.0.0.1:1/studies"
    code, _, err = run("status", "--study", "s", "--storage", url)
    assert code == 2
    assert "everybody on this machine can see the password in --storage" in err
    assert "secret" not in err


def test_the_url_may_come_from_the_environment(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETUNE_STORAGE", "sqlite:///other.db")
    assert run(*MAKE, "--trials", "1", "--workers", "0")[0] == 0
    assert Path("other.db").exists()
    assert not Path("foretune.db").exists()


def test_a_scripts_own_sampler_needs_the_script(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace, run: Run
) -> None:
    sampler, pruner = optuna.samplers.RandomSampler(), optuna.pruners.NopPruner()
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    for name, own in (("sampled", {"sampler": sampler}), ("pruned", {"pruner": pruner})):
        run_study(
            name, walk, n_trials=1, space=tiny_space, horizon=5, workers=0, storage=url, **own
        )
    assert Wanted.of(load_study("pruned", url)).pruner == "none"  # one that the command knows
    code, _, err = run("worker", "--study", "sampled")
    assert code == 2
    assert "must have foretune's own sampler and pruner" in err


def test_the_studys_pruner_is_the_workers(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    options = {"space": tiny_space, "horizon": 5, "workers": 0, "storage": url, "folds": 2}
    run_study("s", walk, n_trials=1, pruner=optuna.pruners.NopPruner(), **options)  # type: ignore[arg-type]
    run_study("s", walk, n_trials=2, **options)  # type: ignore[arg-type]
    assert Wanted.of(load_study("s", url)) == Wanted(trials=2, sampler="tpe", pruner="none")


def test_who_launches_for_himself_stops_nobody(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    """A launch for fewer trials, or with a pruner of one's own, leaves what the study wants."""
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    options = {"space": tiny_space, "horizon": 5, "storage": url, "show_progress_bar": False}
    run_study("s", walk, n_trials=9, workers=0, **options)  # type: ignore[arg-type]
    own = optuna.pruners.PercentilePruner(25.0)
    run_study("s", walk, n_trials=1, workers=1, pruner=own, **options)  # type: ignore[arg-type]
    assert Wanted.of(load_study("s", url)) == Wanted(trials=9, sampler="tpe", pruner="median")
    run_study("s", walk, n_trials=3, workers=0, **options)  # type: ignore[arg-type]
    assert wanted_trials(load_study("s", url)) == 3


@pytest.mark.parametrize("lanes", ["1", "4"])
@pytest.mark.parametrize("params", [{"learning_rate": -1.0}, {"dropout": 7.0}, {"epochs": "x"}])
def test_enqueued_nonsense_ends_no_worker(
    params: dict[str, Any],
    lanes: str,
    tmp_path: Path,
    walk: PriceSeries,
    tiny_space: SearchSpace,
    run: Run,
) -> None:
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    study = run_study("s", walk, n_trials=2, space=tiny_space, horizon=5, workers=0, storage=url)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna's own words on values outside of a range
        study.enqueue_trial(params)
        code, out, err = run("worker", "--study", "s", "--lanes", lanes)
    assert (code, "2 of 2" in out) == (0, True), err
    first = study.trials[0]
    if first.state == TrialState.FAIL:
        assert first.user_attrs["error"].startswith("enqueued parameters: ")
    assert finished_trials(study) == 2
    assert sum(trial.state == TrialState.FAIL for trial in study.trials) <= 1


def test_the_workers_beat_is_the_one_asked_for(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    study = run_study("s", walk, n_trials=1, space=tiny_space, horizon=5, workers=0, storage=url)
    beats = []

    class Spied(Heartbeat):
        def __init__(self, storage: BaseStorage, seconds: float, look: Any) -> None:
            beats.append(seconds)
            super().__init__(storage, seconds, look)

    monkeypatch.setattr("foretune.search.worker.Heartbeat", Spied)
    join_study("s", url, beat=120.0, show_progress_bar=False)
    assert beats == [120.0]
    assert study.trials[0].system_attrs[BEAT][1] == 120.0


@pytest.mark.slow
def test_a_team_that_waits_for_others_says_so(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    study = run_study("s", walk, n_trials=3, space=tiny_space, horizon=5, workers=0, storage=url)
    args = ("s", 3, storage_of(study), study.sampler, study.pruner)
    elsewhere = take_ticket(*args, watch=Watch(), beat=600.0)
    assert elsewhere is not None
    log = tmp_path / "log"
    with log.open("w") as file:
        command = [FORETUNE, "worker", "--study", "s", "--storage", url, "--workers", "2"]
        team = subprocess.Popen(command, stdout=file, stderr=file)
    with ended_at_last([team]):
        wait_until(lambda: "Other workers run the last trials of study 's'" in log.read_text())
        assert finished_trials(study) == 2
        elsewhere.set_user_attr("config", "")
        study.tell(elsewhere, 2.0)
        assert team.wait(timeout=120) == 0
    assert "study s has 3 of 3 trials" in log.read_text()


@pytest.mark.slow
def test_a_whole_team_is_there_when_a_study_is_extended(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    space = tiny_space.fix(epochs=4000, stop_patience=4000)
    study = run_study("s", walk, n_trials=1, space=space, horizon=5, workers=0, storage=url)

    def at_work() -> set[str]:
        return {t.user_attrs["worker"] for t in study.get_trials() if is_under_way(t)}

    with (tmp_path / "log").open("w") as file:
        command = [FORETUNE, "worker", "--study", "s", "--storage", url, "--workers", "2"]
        team = subprocess.Popen(command, stdout=file, stderr=file)
    with ended_at_last([team]):
        wait_until(lambda: len(at_work()) == 1)
        run_study("s", walk, n_trials=4, workers=0, storage=url)
        wait_until(lambda: len(at_work()) == 2)
        team.terminate()
        assert team.wait(timeout=120) == 130
    assert "Interrupted: 0 of 4 trials of study 's' are stored" in (tmp_path / "log").read_text()


def test_a_deleted_study_is_one_line(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace, run: Run
) -> None:
    url = f"sqlite:///{tmp_path / 'foretune.db'}"
    run_study("s", walk, n_trials=2, space=tiny_space, horizon=5, workers=0, storage=url)
    epochs = []

    def delete(*_: object) -> None:
        epochs.append(1)
        if len(epochs) == 2:
            optuna.delete_study(study_name="s", storage=url)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foretune.search.progress.Bar.epoch", delete)
        code, _, err = run("worker", "--study", "s")
    assert code == 2
    assert "study 's' must be in the storage, but was deleted" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("owner", [None, -1, 1e308, "x", [], [1, 2, 3]])
def test_status_of_an_odd_owner(run: Run, tmp_path: Path, owner: object) -> None:
    assert run(*MAKE, "--trials", "4", "--workers", "0")[0] == 0
    storage = open_storage(f"sqlite:///{tmp_path / 'foretune.db'}")
    trial_id = storage.create_new_trial(1)
    storage.set_trial_system_attr(trial_id, "foretune:owner", owner)
    code, out, _ = run("status", "--study", "s")
    assert code == 0
    assert "unknown: trial 0" in out


def test_status_tells_the_living_from_the_lost(run: Run, tmp_path: Path) -> None:
    assert run(*MAKE, "--trials", "4", "--workers", "0")[0] == 0
    storage = open_storage(f"sqlite:///{tmp_path / 'foretune.db'}")
    study = optuna.load_study(study_name="s", storage=storage)
    for owner, beat in ((["m", 1, "1"], [7, 10.0, 4e9]), (["m", 2, "1"], [7, 10.0, 1e9])):
        trial_id = storage.create_new_trial(study._study_id)
        storage.set_trial_user_attr(trial_id, "worker", f"m:{owner[1]}")
        storage.set_trial_system_attr(trial_id, "foretune:owner", owner)
        storage.set_trial_system_attr(trial_id, "foretune:beat", beat)
    _, out, _ = run("status", "--study", "s")
    said = " ".join(out.replace("│", " ").split())
    assert "workers at work 1" in said
    assert re.search(r"m:1: trial 0, begun \d+ s ago, heard of 0 s ago m:2", said)
    assert said.count("lost, and left to the next worker") == 1
    assert [t.state for t in study.trials] == [TrialState.RUNNING] * 2
