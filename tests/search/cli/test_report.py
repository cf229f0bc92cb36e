"""``foretune report``: the question before the test is opened, and studies of other programs."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from command_line import Run, write_prices
from optuna.trial import Trial

from foretune.search import load_study, record_losses, run_study
from foretune.search.space.space import SearchSpace


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A terminal as stdin; yields its other end, the keyboard."""
    keyboard, screen = os.openpty()
    with os.fdopen(screen) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield keyboard
    os.close(keyboard)


def test_on_a_terminal_it_asks_once_before_the_test_is_opened(
    command: Run, tiny_space: SearchSpace, terminal: int
) -> None:
    write_prices(Path("prices.csv"))
    run_study(
        "s",
        "prices.csv",
        n_trials=1,
        space=tiny_space,
        epochs=1,
        horizon=5,
        workers=1,
        show_progress_bar=False,
    )
    # A plain report opens nothing, and asks nothing.
    code, out, err = command("report", "--study", "s", "--top", "1")
    assert code == 0, err
    assert "[y/N]" not in out
    os.write(terminal, b"n\n")
    code, out, err = command("report", "--study", "s", "--top", "1", "--open-test")
    assert code == 0, err
    assert out.count("[y/N]") == 1
    assert "The test is sealed: no study of this storage has opened it." in out
    assert "The test is not opened." in out
    assert json.loads(Path("results/s/verdict.json").read_text())["test"] is None
    os.write(terminal, b"y\n")
    code, out, err = command("report", "--study", "s", "--top", "1", "--open-test")
    assert code == 0, err
    assert out.count("[y/N]") == 1
    assert "The test has been opened once" in out
    assert json.loads(Path("results/s/verdict.json").read_text())["test"]["origins"] > 0


def objective(trial: Trial) -> float:
    """Losses of 400 origins, of which some configs gain a fifth."""
    gain = trial.suggest_float("gain", 0, 0.2)
    benchmark = np.square(np.random.default_rng(0).standard_normal(400))
    noise = np.square(np.random.default_rng(trial.number + 1).standard_normal(400))
    record_losses(
        trial,
        benchmark * (1 - gain) + 0.05 * (noise - 1),
        benchmark={"<i>last</i> value": benchmark, "mean": benchmark + 1},
    )
    return -gain


def test_a_study_of_any_objective_is_judged_by_its_losses(command: Run) -> None:
    study = optuna.create_study(
        study_name="any",
        storage="sqlite:///other.db",
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    study.optimize(objective, n_trials=8)
    study.add_trial(optuna.create_trial(value=-1.0))
    code, out, err = command("report", "--study", "any", "--storage", "sqlite:///other.db")
    assert code == 0, err
    winner = max(study.trials[:8], key=lambda trial: trial.params["gain"]).number
    words = " ".join(out.split())
    assert words.startswith("Some trial beats <i>last</i> value, the best baseline, beyond chance")
    assert f"trial {winner}, the best one, has mean loss" in words
    assert "Not counted, trial 8: its objective has not called record_losses." in words
    assert "By its value trial 8 is the study's best." in words
    assert "sealed" not in words
    folder = Path("results/any")
    assert {file.name for file in folder.iterdir()} == {
        *("report.html", "report.md", "verdict.json", "metrics.csv"),
    }
    stored = json.loads((folder / "verdict.json").read_text())
    assert stored["claim"]
    assert (stored["trials"], stored["origins"], stored["test"]) == (8, 400, None)
    table = pd.read_csv(folder / "metrics.csv").set_index("forecast")["loss"]
    assert list(table.index[-2:]) == ["<i>last</i> value", "mean"]
    assert table.index[0] == f"trial {winner}"
    assert table.iloc[:8].is_monotonic_increasing
    assert table["mean"] == pytest.approx(table["<i>last</i> value"] + 1)
    page = (folder / "report.html").read_text()
    assert "<i>" not in page
    assert "8 of 9 trials are complete and have recorded their losses" in page


def test_what_such_a_study_lacks_is_said_in_one_line(command: Run) -> None:
    study = optuna.create_study(study_name="any", storage="sqlite:///foretune.db")
    study.optimize(lambda _: 1.0, n_trials=1)
    for options, said in (
        ((), "study 'any' must be one that foretune made, or whose objective calls record_losses"),
        (("--open-test",), "--open-test must be for a study that foretune ran, but 'any' is of"),
    ):
        code, out, err = command("report", "--study", "any", *options)
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1
    assert not Path("results").exists()
    assert load_study("any").user_attrs == {}
