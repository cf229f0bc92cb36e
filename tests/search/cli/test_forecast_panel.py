"""``foretune fit`` and ``forecast`` of a panel: one model for all series, found by their names."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from command_line import Run

from foretune.datasets import Panel
from foretune.models import Forecaster
from foretune.search import SearchSpace, run_study, save_best

ROWS, HORIZON = 220, 6
TIME = pd.date_range("2024-03-01", periods=ROWS + 20, freq="h")
NAMES = ("east", "mid", "north", "south", "west")


def table(names: tuple[str, ...] = NAMES, stop: int = ROWS) -> pd.DataFrame:
    """A long table of a day's wave, noisy and in another phase for each name."""
    parts = []
    for name in names:
        number = NAMES.index(name)
        noise = np.random.default_rng(number).normal(size=len(TIME))
        wave = np.sin(np.arange(len(TIME)) * np.pi / 12 + number)
        own = pd.DataFrame({"unique_id": name, "ds": TIME, "y": 10 + 3 * wave + 0.3 * noise})
        parts.append(own[:stop])
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_space: SearchSpace) -> Path:
    """A study that holds its panel, its best.toml, and newer rows."""
    folder = tmp_path_factory.mktemp("panel")
    study = run_study(
        "s",
        Panel.from_frame(table(), name="regions"),
        n_trials=1,
        space=tiny_space,
        horizon=HORIZON,
        storage=f"sqlite:///{folder}/s.db",
        show_progress_bar=False,
        workers=1,
    )
    save_best(study, folder / "best.toml")
    table(("north", "west"), ROWS + 5).to_csv(folder / "newer.csv", index=False)
    table().rename(columns={"unique_id": "region"}).to_csv(folder / "whole.csv", index=False)
    return folder


@pytest.fixture
def run(command: Run, folder: Path, tmp_path: Path) -> Run:
    """Run the command in a folder of its own, where everything of ``folder`` is linked."""
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return command


def test_fit_and_forecast_a_panel(run: Run) -> None:
    code, out, err = run("fit", "best.toml", "--storage", "sqlite:///s.db")
    assert code == 0, err
    assert "as in the study" in out
    assert f"up to {TIME[ROWS - 1]}, are known, but were neither trained on nor scored" in out
    ours = Forecaster.load("model")
    assert ours.names == NAMES

    # The same of a file, read as is said.
    data = ("--data", "whole.csv", "--series-column", "region")
    assert run("fit", "best.toml", *data, "--out", "again")[0] == 0
    pd.testing.assert_frame_equal(Forecaster.load("again").forecast(), ours.forecast(), rtol=0)

    code, out, err = run("forecast", "model", "--csv", "f.csv", "--plot", "f.png")
    assert (code, err) == (0, "")
    assert [line for line in out.splitlines() if line.endswith(":")] == [
        "east:",
        "mid:",
        "north:",
        "south:",
    ]
    assert "these are 4 of 5 series; --series shows others, and --csv writes all" in out
    written = pd.read_csv("f.csv", parse_dates=["ds"])
    assert written.columns.tolist() == ["unique_id", "ds", "forecast", "lower", "upper"]
    np.testing.assert_allclose(written.iloc[:, 2:], ours.forecast().iloc[:, 2:], rtol=1e-12)
    assert matplotlib.image.imread("f.png").shape[0] > 1000, "four series, one below another"

    newer = ("--data", "newer.csv", "--steps", "2")
    chosen = ("--series", "west", "--series", "east")
    code, out, err = run("forecast", "model", *newer, *chosen, "--csv", "g.csv")
    assert code == 0, err
    assert err == (
        "foretune: 3 of 5 known series have no newer rows, and stay as they are: east, mid, south\n"
    )
    written = pd.read_csv("g.csv", parse_dates=["ds"])
    assert written["unique_id"].tolist() == ["east"] * 2 + ["west"] * 2
    assert written["ds"].tolist() == [*TIME[ROWS : ROWS + 2], *TIME[ROWS + 5 : ROWS + 7]]

    # The same rows, wide: no column says what the target is called.
    wide = pd.read_csv("newer.csv").pivot_table("y", "ds", "unique_id")
    wide.to_csv("wide.csv")
    again = ("--data", "wide.csv", "--wide", "--steps", "2")
    code, out, err = run("forecast", "model", *again, *chosen, "--csv", "h.csv")
    assert code == 0, err
    assert Path("h.csv").read_text() == Path("g.csv").read_text()

    code, out, err = run("forecast", "model", "--series", "nowhere")
    assert (code, out) == (2, "")
    assert err == (
        "foretune: series must be one or several of the 5 that the model knows (east, mid, north, "
        "...), but got 'nowhere'\n"
    )
