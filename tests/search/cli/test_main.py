import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import matplotlib.image
import numpy as np
import optuna
import pandas as pd
import pytest
from command_line import FORETUNE, Run, write_prices

from foretune.datasets import load_prices
from foretune.models import TrialConfig
from foretune.search import load_study
from foretune.search.cli.main import cli
from foretune.search.report import access_log, report
from foretune.search.review import progress, results

SPACE = """
layers = 1
units = 4
unroll_length = 8
batch_size = 8
steps_per_epoch = 5
"""


@pytest.fixture
def run(command: Run, tmp_path: Path) -> Run:
    """Run the command in a folder with prices and a small space."""
    (tmp_path / "space.toml").write_text(SPACE)
    write_prices(tmp_path / "acme.csv")
    return command


SMALL = ("--prices", "acme.csv", "--study", "s", "--space", "space.toml", "--horizon", "5")


def trials_of(folder: str) -> pd.DataFrame:
    """The rows of trials.csv that are no baselines."""
    table = pd.read_csv(f"{folder}/trials.csv")
    assert len(table) > table["number"].count()
    return table[table["number"].notna()]


def test_run_writes_what_it_says_and_best_agrees(run: Run, tmp_path: Path) -> None:
    code, out, err = run("run", *SMALL, "--trials", "3", "--epochs", "2", "--out", "out")
    assert code == 0, err
    table = trials_of("out")
    assert list(table["number"]) == [0, 1, 2]
    assert set(table["state"]) == {"COMPLETE"}
    best = tomllib.loads(Path("out/best.toml").read_text())
    winner = table.loc[table["value"].idxmin()]
    assert best["result"]["trial"] == winner["number"]
    assert best["result"]["relative_mse"] == winner["value"]
    assert best["result"]["best_epoch"] == winner["best_epoch"] >= 1
    assert best["config"]["epochs"] == 2
    assert best["prices"]["source"] == "acme.csv"
    assert f"{winner['value']:.6f}" in out
    assert "3 complete" in out
    assert "best 0." in err or "best 1." in err
    for name in ("prices", "history", "validation_forecasts", "learning_curves"):
        picture = matplotlib.image.imread(f"out/figures/{name}.png")
        assert picture.shape[1] >= 1200
        assert len(np.unique(picture)) > 10
        assert f"wrote out/figures/{name}.png" in out
    assert run("best", "--study", "s", "--out", "again.toml")[0] == 0
    assert TrialConfig.load("again.toml") == TrialConfig.load("out/best.toml")
    assert not list(tmp_path.rglob(".*")), "temporary files are left"


def test_run_again_resumes_to_the_total(run: Run) -> None:
    run("run", *SMALL, "--trials", "2", "--epochs", "1", "--workers", "1")
    code, _, err = run("run", "--prices", "acme.csv", "--study", "s", "--trials", "3")
    assert code == 0, err
    assert list(trials_of("results/s")["number"]) == [0, 1, 2]


@pytest.mark.slow
def test_workers_lanes_and_cache_are_options(run: Run, tmp_path: Path) -> None:
    # The installed command: JAX reads its own setting of the cache when it is imported.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment["FORETUNE_CACHE_DIR"] = str(tmp_path / "kept")
    options = ("run", *SMALL, "--epochs", "2", "--out", "out", "--workers", "1", "--lanes", "2")
    for trials, more in (("2", ["--no-cache"]), ("3", [])):
        command = [FORETUNE, *options, "--trials", trials, *more]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        assert len(trials_of("out")) == int(trials)
        assert (tmp_path / "kept").exists() == (not more)
    code, _, err = run("run", *SMALL, "--trials", "3", "--workers", "-1")
    assert code == 2
    assert "--workers" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run",), "Missing option '--study'."),
        (("run", "--study", "s"), "--data must be given for study 's', which is a new one"),
        (("run", "--study", "s", "--trails", "3"), "No such option"),
        (("run", "--study", "s", "--trials", "0"), "Invalid value for '--trials': 0"),
        (("run", "--study", "s", "--trials", "many"), "'many' is not a valid integer"),
        (("run", "--study", "s", "--seed", "-1"), "Invalid value for '--seed'"),
        (
            ("run", "--prices", "acme.csv", "--study", "s", "--metric", "mad"),
            "metric must be 'relative_mse', 'mse', 'mae'",
        ),
        (("run", "--prices", "acme.csv", "--study", "a/b"), "study name must be"),
        (("run", "--study", "s", "--prices", "nowhere.csv"), "nowhere.csv"),
        (("run", "--study", "s", "--prices", "space.toml"), "space.toml"),
        (("run", *SMALL[:4], "--horizon", "150"), "a horizon of 150"),
        (
            ("run", "--prices", "acme.csv", "--study", "s", "--space", "acme.csv"),
            "acme.csv: a search space must be valid",
        ),
        (
            ("run", "--prices", "acme.csv", "--study", "s", "--space", "nowhere.toml"),
            "nowhere.toml: a search space",
        ),
        (
            ("run", "--prices", "acme.csv", "--study", "s", "--storage", "here.db"),
            "storage must be a database URL",
        ),
        (
            ("run", "--prices", "acme.csv", "--study", "s", "--out", "acme.csv/out"),
            "acme.csv/out must be a writable folder, but",
        ),
        (("best", "--study", "s"), "storage must be a database that exists"),
        (("better",), "No such command 'better'"),
    ],
)
def test_mistakes_end_with_two_and_one_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = {p.name for p in tmp_path.iterdir()}
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert err.startswith("foretune: ")
    assert message in err
    assert err.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} - before <= {"foretune.db"}


def test_a_metric_is_chosen_once_and_named_from_run_to_fit(run: Run) -> None:
    options = (*SMALL, "--epochs", "2", "--out", "out", "--workers", "1")
    code, out, err = run("run", *options, "--trials", "2", "--metric", "mae")
    assert code == 0, err
    table = trials_of("out")
    best = tomllib.loads(Path("out/best.toml").read_text())["result"]
    assert (best["metric"], best["value"]) == ("mae", table["value"].min())
    assert list(table["value"]) == list(table["mae"])
    first = table.iloc[0]
    assert f"trial 0 complete: mae {first['mae']:.4g} at epoch" in err
    assert "its mae (validation)" in out
    assert "has MAE" in out
    code, out, _ = run("status", "--study", "s")
    assert code == 0
    assert f"best mae        │ {best['value']:.6g} (trial {best['trial']})" in out
    code, _, err = run("run", *options, "--trials", "3", "--metric", "mse")
    assert code == 2
    assert "metric is 'mae' there, but got 'mse'" in err
    assert err.count("\n") == 1
    code, out, err = run("fit", "out/best.toml", "--prices", "acme.csv", "--out", "model")
    assert code == 0, err
    assert f"epoch {best['best_epoch']}: mae {best['value']}, as in the study" in " ".join(
        out.split()
    )
    assert f", mae {best['value']:.4g}" in err
    assert tomllib.loads(Path("model/forecaster.toml").read_text())["training"]["metric"] == "mae"


def test_best_of_a_study_without_a_complete_trial(run: Run) -> None:
    run("run", *SMALL, "--trials", "1", "--epochs", "1", "--workers", "1")
    code, _, err = run("best", "--study", "other")
    assert (code, err) == (
        2,
        "foretune: study must be in the storage, but got 'other'; available: s\n",
    )


def test_best_into_a_missing_folder_is_one_line(run: Run) -> None:
    run("run", *SMALL, "--trials", "1", "--epochs", "1", "--workers", "1")
    code, _, err = run("best", "--study", "s", "--out", "no/where/best.toml")
    assert code == 2
    assert err.count("\n") == 1
    assert "no/where/best.toml cannot be written" in err


def test_the_help_lists_the_commands_that_there_are(run: Run) -> None:
    """Its lines stand in a table, so that it imports none of them."""
    code, out, _ = run("--help")
    assert code == 0
    listed = [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()]
    assert listed == cli.list_commands(click.Context(cli))
    for name in listed:
        code, out, _ = run(name, "--help")
        assert (code, out.split()[:3]) == (0, ["Usage:", "foretune", name])


def test_worker_says_what_took_its_place(run: Run) -> None:
    code, out, err = run("worker", "--study", "s", "anything")
    assert (code, out) == (2, "")
    assert err.startswith("foretune: `foretune worker` is gone: ")
    assert err.count("\n") == 1


def test_the_installed_command_answers() -> None:
    command = FORETUNE
    done = subprocess.run([command, "run", "--help"], capture_output=True, text=True, check=True)
    assert "--trials" in done.stdout
    done = subprocess.run([command, "run", "--study"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "foretune: Option '--study' requires an argument.\n"


def test_report_and_replay_from_a_stored_study(run: Run, tmp_path: Path) -> None:
    code, out, err = run("run", *SMALL, "--trials", "4", "--epochs", "3", "--workers", "1")
    assert code == 0, err
    assert "Next: foretune report --study s (the test stays sealed)\n" in out
    assert "open the test once: foretune report --study s --open-test\n" in out
    code, out, err = run("report", "--study", "s", "--out", "report")
    assert code == 0, err
    assert "no study of this storage has opened it" in out
    assert "open it once: foretune report --study s --open-test\n" in out
    assert Path("report/report.html").stat().st_size > 50_000
    assert json.loads(Path("report/verdict.json").read_text())["test"] is None
    code, out, err = run("report", "--study", "s", "--open-test", "--top", "2")
    assert code == 0, err
    assert "The test has been opened once" in out
    assert "open it once" not in out
    assert out.startswith("On the opened test trial ")
    assert json.loads(Path("results/s/verdict.json").read_text())["test"]["origins"] > 0
    assert "The test has been opened 2 times" in run("report", "--study", "s", "--open-test")[1]
    assert "trial 1 is bit-identical" in run("replay", "--study", "s", "--trial", "1")[1]
    # A study that an earlier version made holds no data, and the file lies elsewhere by now.
    with sqlite3.connect("foretune.db") as connection:
        connection.execute("DROP TABLE foretune_data")
    Path("acme.csv").rename("moved.csv")
    code, _, err = run("report", "--study", "s", "--sealed")
    assert code == 2
    assert "data of study 's' must be given, as --data" in err
    assert "acme.csv" in err
    assert err.count("\n") == 1
    assert run("report", "--study", "s", "--sealed", "--prices", "moved.csv")[0] == 0


def test_mistakes_in_report_and_replay_are_one_line(run: Run) -> None:
    assert run("run", *SMALL, "--trials", "2", "--epochs", "1", "--workers", "1")[0] == 0
    Path("file").write_text("")
    for folder in ("a/figures/history.png", "b/report.html", "c"):
        Path(folder).mkdir(parents=True)
    Path("c/figures").write_text("")
    Path("d").symlink_to("nowhere")
    Path("c/metrics.csv").symlink_to("nowhere/metrics.csv")
    sqlite = {"from_storage": "sqlite:///foretune.db", "to_storage": "sqlite:///foretune.db"}
    optuna.copy_study(from_study_name="s", to_study_name="../s", **sqlite)
    for arguments, named in (
        (("report", "--study", "t"), "'t'; available: ../s, s"),
        (("report", "--study", "s", "--out", "a"), "a/figures/history.png cannot be written"),
        (("report", "--study", "s", "--out", "b"), "b/report.html cannot be written"),
        (("report", "--study", "s", "--out", "c"), "c/figures is not"),
        (("report", "--study", "s", "--out", "d"), "d is not"),
        (("report", "--study", "../s"), "--out must be given for study '../s'"),
        (("report", "--study", "s", "--prices", "sp500"), "prices must be those of study 's'"),
        (("report", "--study", "s", "--out", "file"), "file is not"),
        (("report", "--study", "s", "--top", "0"), "--top"),
        (("replay", "--study", "s", "--trial", "2"), "number from 0 to 1, but got 2"),
        (("replay", "--study", "s", "--trial", "-1"), "--trial"),
        (("replay", "--study", "s", "--trial", "0", "--prices", "none.csv"), "none.csv"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert named in err
        assert err.count("\n") == 1
    # None of them opened the test or wrote anything.
    assert [str(p) for p in Path("a").rglob("*.*")] == ["a/figures/history.png"]
    assert "no study of this storage has opened it" in run("report", "--study", "s", "--sealed")[1]


def test_ctrl_c_is_heeded_until_the_test_is_opened(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("run", *SMALL, "--trials", "1", "--epochs", "3", "--workers", "1")[0] == 0
    judge = report._validation_part

    # As a KeyboardInterrupt that is raised while XLA calls back into Python, which goes on.
    seen = []

    def swallow(number: int, *_: object) -> str:
        seen.append(number)
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        return ""

    def after_the_last_epoch(*arguments: Any) -> report.EvaluationSet:
        os.kill(os.getpid(), signal.SIGTERM)
        return judge(*arguments)

    monkeypatch.setattr(report, "_validation_part", after_the_last_epoch)
    assert_interrupted(run("report", "--study", "s", "--open-test"))
    monkeypatch.setattr(progress, "_format_epoch", swallow)
    assert_interrupted(run("report", "--study", "s"))
    assert_interrupted(run("replay", "--study", "s", "--trial", "0"))
    assert seen == [0, 0], "it went on after the first epoch"
    study = load_study("s", "sqlite:///foretune.db")
    assert access_log.read_access_log(study, prices=load_prices("acme.csv").digest) == []
    assert not Path("results/s/report.md").exists()


def test_a_signal_is_heeded_while_the_results_are_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_best = results.save_best

    def save_and_signal(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return save_best(*arguments, **options)

    monkeypatch.setattr(results, "save_best", save_and_signal)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda *_: None)  # or a test that fails would end all tests
    try:
        ended = run("run", *SMALL, "--trials", "1", "--epochs", "3", "--workers", "1")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (ended[0], ended[1]) == (130, "")
    assert "Stopping after this epoch" in ended[2]
    assert ended[2].endswith("foretune: interrupted\n")
    assert Path("results/s/best.toml").exists()
    assert not Path("results/s/figures/learning_curves.png").exists()


def assert_interrupted(ended: tuple[int, str, str]) -> None:
    code, out, err = ended
    assert (code, out) == (130, "")
    assert err.endswith("foretune: interrupted\n")


def test_folds_and_pruners_from_the_shell(run: Run) -> None:
    folds = ("--folds", "3", "--pruner", "none", "--epochs", "2", "--workers", "1")
    code, _, err = run("run", *SMALL, *folds, "--trials", "3")
    assert code == 0, err
    table = trials_of("results/s")
    values = table[[f"relative_mse_fold_{n}" for n in (1, 2, 3)]].mean(axis=1)
    assert table["value"].tolist() == pytest.approx(values.tolist())
    code, _, err = run("run", *SMALL, "--trials", "4", "--folds", "2")
    assert code == 2
    assert "split.folds is 3 there, but got 2" in err
    for wrong, named in (
        (("--pruner", "wilcoxon"), "but got 'wilcoxon': no fold has a value of its own before all"),
        (("--pruner", "nop"), "pruner must be median or none, but got 'nop'"),
        (("--folds", "2", "--lanes", "2"), "lanes must be 1 in a study of 2 folds, but got 2"),
        (("--folds", "99"), "99 folds"),
    ):
        code, _, err = run("run", *SMALL[:2], "--study", "w", *SMALL[4:], "--trials", "1", *wrong)
        assert code == 2
        assert named in err
        assert err.count("\n") == 1
