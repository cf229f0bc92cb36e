"""``foretune fit`` and ``forecast``: from best.toml to a table, a CSV file and a figure."""

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import optuna
import pandas as pd
import pytest
from command_line import FORETUNE, Run, write_prices

from foretune.datasets import PriceSeries, as_series, read_prices
from foretune.models import Forecaster, TrialConfig
from foretune.models.forecaster.arrays import weights_digest
from foretune.models.networks.params import named_arrays
from foretune.search import SearchSpace, run_study, save_best
from foretune.search.study.best_file import BestDocument, PricesTable, ResultTable
from foretune.search.study.spec import PricesSpec, SplitSpec

HORIZON, DAYS = 12, 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_space: SearchSpace) -> Path:
    """A folder with prices, a study's best.toml and the model that ``fit`` makes of it."""
    folder = tmp_path_factory.mktemp("reuse")
    write_prices(folder / "acme.csv", DAYS)
    write_prices(folder / "newer.csv", DAYS + 30)
    write_prices(folder / "other.csv", DAYS + 30, changed=7)
    prices = read_prices(folder / "acme.csv")
    study = run_study(
        "s",
        prices,
        n_trials=2,
        space=tiny_space,
        horizon=HORIZON,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    save_best(study, folder / "best.toml", prices=prices)
    document = BestDocument.load(folder / "best.toml")
    split = document.split_of(prices)
    Forecaster.train(document.config, prices, split=split, target="mid").save(folder / "model")
    return folder


@pytest.fixture
def run(command: Run, folder: Path, tmp_path: Path) -> Run:
    """Run the command in a folder of its own, where everything of ``folder`` is linked."""
    for file in folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return command


def digest(model: str) -> str:
    return weights_digest(named_arrays(Forecaster.load(model).params))


def columns(file: str) -> dict[str, list[str]]:
    """The cells of a CSV file, by column."""
    head, *rows = (line.split(",") for line in Path(file).read_text().splitlines())
    return dict(zip(head, map(list, zip(*rows, strict=True)), strict=True))


def test_fit_says_what_it_did_and_does_what_python_does(run: Run) -> None:
    code, out, err = run("fit", "best.toml", "--out", "made")
    assert code == 0, err
    document, prices = BestDocument.load("best.toml"), read_prices("acme.csv")
    made, expected = Forecaster.load("made"), Forecaster.load("model")
    pd.testing.assert_frame_equal(made.forecast(), expected.forecast(), rtol=0)
    assert digest("made") == digest("model")

    lines = out.splitlines()
    # By hand: of 376 days outside two gaps of 12, 226 train and 75 validate.
    first, last, end = (str(prices.dates[day]) for day in (238, 312, 399))
    assert lines == [
        f"validation, {first} to {last}, chose epoch {made.training.epochs}: relative_mse "
        f"{document.result.relative_mse}, as in the study",
        f"trained for that many epochs on 313 days, 2000-01-03 to {last}",
        f"the 87 days after that, up to {end}, are known, but were neither trained on nor scored",
        "wrote made",
    ]
    assert err.count("training: epoch ") == document.config.epochs
    assert err.count("training with the validation rows too: epoch ") == made.training.epochs
    arrays, toml = sorted(file.name for file in Path("made").iterdir())
    assert (arrays[:7], toml) == ("arrays-", "forecaster.toml")


def test_another_value_than_the_studys_is_said(run: Run) -> None:
    document = BestDocument.load("best.toml")
    result = document.result.replace(relative_mse=0.5)
    Path("edited.toml").write_text(document.replace(result=result).to_toml())
    code, out, err = run("fit", "edited.toml", "--out", "made", "--no-refit")
    assert code == 0, err
    assert f"{document.result.relative_mse}; in the study 0.5\n" in out


def test_without_the_refit_the_weights_are_those_of_the_study(run: Run) -> None:
    code, out, err = run("fit", "best.toml", "--out", "made", "--no-refit")
    assert code == 0, err
    assert "too: epoch" not in err
    assert "on 226 days, " in out
    document, prices = BestDocument.load("best.toml"), read_prices("acme.csv")
    expected = Forecaster.train(
        document.config, prices, split=document.split_of(prices), refit=False, target="mid"
    )
    assert digest("made") == weights_digest(named_arrays(expected.params)) != digest("model")


def test_a_fresh_process_fits_and_forecasts_the_same_bits(run: Run, tmp_path: Path) -> None:
    assert run("forecast", "model", "--csv", "here.csv")[0] == 0
    code = """
from foretune.search.cli.main import main
main(["fit", "best.toml", "--out", "made"])
main(["forecast", "made", "--csv", "there.csv"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert Path("there.csv").read_bytes() == Path("here.csv").read_bytes()
    assert digest("made") == digest("model")


def test_forecast_prints_both_ends_and_writes_all_of_it(run: Run) -> None:
    code, out, err = run("forecast", "model", "--csv", "f.csv", "--plot", "f.png")
    assert (code, err) == (0, "")
    expected = Forecaster.load("model").forecast()
    table = columns("f.csv")
    assert list(table) == ["date", "forecast", "lower", "upper"]
    for name in ("forecast", "lower", "upper"):
        assert list(map(float, table[name])) == expected[name].tolist()
    days = np.busday_offset(np.datetime64("2000-01-03"), np.arange(DAYS, DAYS + HORIZON))
    assert table["date"] == list(days.astype(str))
    for number, day in enumerate(days.astype(str)):
        assert (day in out) == (number < 5 or number >= HORIZON - 5)
    row = expected.iloc[-1]
    shown = [f"{row[name]:.2f}" for name in ("forecast", "lower", "upper")]  # of prices near 50
    assert all(number in out for number in shown)
    assert "90% interval" in out
    picture = matplotlib.image.imread("f.png")
    assert picture.shape[1] >= 1200
    grey = picture[..., :3].mean(axis=2).round(2)
    assert len(np.unique(grey)) > 10
    assert "wrote f.csv" in out
    assert "wrote f.png" in out

    code, out, _ = run("forecast", "model", "--steps", "3")
    assert code == 0
    assert [str(day) in out for day in days[:4]] == [True, True, True, False]


def test_newer_prices_continue_the_models_own(run: Run) -> None:
    code, out, err = run("forecast", "model", "--prices", "newer.csv", "--csv", "f.csv")
    assert (code, err) == (0, "")
    expected = Forecaster.load("model").with_prices(read_prices("newer.csv")).forecast()
    assert list(map(float, columns("f.csv")["forecast"])) == expected["forecast"].tolist()
    assert str(expected["date"][0].date()) in out
    code, _, err = run("forecast", "model", "--prices", "other.csv")
    assert code == 2
    assert "other differs, first on 2000-01-12: a mid price of" in err
    assert err.count("\n") == 1


def test_prices_that_were_adjusted_again_are_said(run: Run) -> None:
    prices = pd.read_csv("newer.csv")
    prices[["Open", "High", "Low", "Close"]] *= 0.25
    prices.to_csv("adjusted.csv", index=False)
    assert run("forecast", "model", "--data", "newer.csv", "--csv", "f.csv")[0] == 0
    before = [*map(float, columns("f.csv")["forecast"])]
    code, _, err = run("forecast", "model", "--data", "adjusted.csv", "--csv", "f.csv")
    assert code == 0
    assert err == (
        "foretune: adjusted.csv: prices up to 2001-07-13 are those known of acme times 0.25, so "
        "they were adjusted again; forecasts are in the new prices\n"
    )
    np.testing.assert_allclose([*map(float, columns("f.csv")["forecast"])], np.array(before) / 4)


def test_other_prices_are_named_and_trained_on(run: Run, tmp_path: Path) -> None:
    # The test days of the study, and days after them, are other ones; what trains is the same.
    write_prices(tmp_path / "late.csv", DAYS, changed=DAYS - 1)
    code, out, err = run("fit", "best.toml", "--prices", "late.csv", "--out", "late")
    assert code == 0, err
    line = out.splitlines()[0]
    assert line.startswith("these are not the study's prices (acme to 2001-07-13, digest")
    assert "late to 2001-07-13" in line
    assert line.endswith("split again in the same proportions")
    assert "as in the study" not in out
    assert digest("late") == digest("model")
    # By counts of rows the days after them are left out.
    best = BestDocument.load("best.toml")
    counted = best.replace(split=best.split.replace(rows=(200, 60, 60)), parts=None)
    Path("counted.toml").write_text(counted.to_toml())
    code, out, err = run("fit", "counted.toml", "--prices", "late.csv", "--out", "counted")
    assert code == 0, err
    said = out.splitlines()[0]
    assert said.startswith("these are not the study's prices (acme to 2001-07-13, digest")
    assert said.endswith("split again by the same counts of rows; the last 56 are left out")
    # The last validation day is one that trains.
    write_prices(tmp_path / "early.csv", DAYS, changed=312)
    assert run("fit", "best.toml", "--prices", "early.csv", "--out", "early")[0] == 0
    assert digest("early") != digest("model")
    # Moved, but the study's own: nothing to say.
    Path("moved.csv").write_bytes(Path("acme.csv").read_bytes())
    Path("acme.csv").unlink()
    code, out, _ = run("fit", "best.toml", "--prices", "moved.csv", "--out", "moved")
    assert code == 0
    assert "other prices" not in out
    assert "as in the study" in out
    code, _, err = run("fit", "best.toml", "--out", "none")
    assert code == 2
    assert "the data of study 's' must be given, as --data: acme.csv" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit",), "Missing argument 'BEST.toml'."),
        (("fit", "nowhere.toml"), "nowhere.toml: a best config must be a readable text file"),
        (("fit", "acme.csv"), "acme.csv: a best config must be valid TOML"),
        (("fit", "best.toml", "--out", "acme.csv"), "acme.csv cannot be written: Not a directory"),
        (("fit", "best.toml", "--out", "mine"), "mine must be a new folder, or one with a"),
        (("fit", "best.toml", "--out", "none/model"), "none/model cannot be written: "),
        (("fit", "best.toml", "--prices", "nowhere.csv"), "nowhere.csv"),
        (("fit", "best.toml", "--prices", "short.csv"), "60 rows leave"),
        (("fit", "wild.toml"), "wild.toml: config cannot be trained: the training loss became"),
        (("forecast",), "Missing argument 'MODEL'."),
        (("forecast", "nowhere"), "nowhere must be a folder of a saved forecaster"),
        (("forecast", "mine"), "mine must be a folder of a saved forecaster"),
        (("forecast", "acme.csv"), "acme.csv must be a folder of a saved"),
        (("forecast", "model", "--steps", "0"), "Invalid value for '--steps': 0"),
        (("forecast", "model", "--steps", "13"), "steps must be at most 12"),
        (("forecast", "model", "--prices", "nowhere.csv"), "nowhere.csv"),
        (("forecast", "model", "--prices", "sp500"), "prices must be those known of acme"),
        (("forecast", "model", "--prices", "ar1"), "prices must reach from 2001-07-13"),
        (("forecast", "model", "--csv", "none/f.csv"), "none/f.csv cannot be written"),
        (("forecast", "model", "--plot", "mine"), "mine cannot be written"),
        (("forecast", "model", "--csv", "f.csv", "--plot", "none/f.png"), "none/f.png cannot be"),
        (("forecast", "model", "--csv", "model/forecaster.toml"), "--csv must lie outside the mo"),
        (("forecast", "model", "--csv", "f.png", "--plot", "./f.png"), "but both are f.png"),
        (("forecast", "model", "--plot", "f.pdf"), "--plot must be a file named .png, but got f"),
        (("forecast", "model", "--prices", "newer.csv", "--csv", "newer.csv"), "from --data"),
    ],
)
def test_mistakes_end_with_two_and_one_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    write_prices(tmp_path / "short.csv", 60)
    document = BestDocument.load("best.toml")
    wild = TrialConfig(
        **document.config.model_dump()
        | {"optimizer": "sgd_momentum", "learning_rate": 10.0, "clip_norm": 1e30, "epochs": 30}
    )
    (tmp_path / "wild.toml").write_text(document.replace(config=wild).to_toml())
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    lines = [line for line in err.splitlines() if not line.startswith("training: epoch")]
    assert len(lines) == 1
    assert lines[0].startswith("foretune: ")
    assert message in lines[0]
    if "wild.toml" not in arguments:
        assert len(err.splitlines()) == 1, "it was trained before the mistake was told"
    assert sorted(tmp_path.rglob("*")) == before


def test_an_interrupt_ends_after_the_epoch_and_writes_nothing(run: Run, tmp_path: Path) -> None:
    document = BestDocument.load("best.toml")
    endless = document.config.replace(epochs=100_000, stop_patience=100_000, decay_factor=1.0)
    (tmp_path / "endless.toml").write_text(document.replace(config=endless).to_toml())
    before = sorted(tmp_path.rglob("*"))
    command = [FORETUNE, "fit", "endless.toml", "--out", "made"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as fit:
        try:
            assert fit.stderr is not None
            assert fit.stderr.readline().startswith("training: epoch 1, training loss ")
            fit.send_signal(signal.SIGINT)
            out, err = fit.communicate(timeout=120)
        finally:
            fit.kill()
    assert fit.returncode == 130
    assert out == ""
    assert "Stopping after this epoch; press Ctrl-C again to stop at once." in err
    assert err.endswith("foretune: interrupted\n")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_of_a_name_with_brackets_and_of_tiny_prices_is_shown(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    prices = read_prices("acme.csv")
    fields = {n: getattr(prices, n) * 1e-5 for n in ("open", "high", "low", "close")}
    odd: PriceSeries = dataclasses.replace(prices, name="[red]$x$", **fields)
    document = BestDocument.load("best.toml")
    ours = Forecaster.train(document.config, odd, split=document.split_of(odd), target="mid")
    ours.save("odd")
    code, out, err = run("forecast", "odd", "--plot", "f.png")
    assert (code, err) == (0, "")
    assert "[red]$x$: mid prices" in out
    assert f"{ours.forecast().iloc[0]['forecast']:.7f}" in out


# Covariates


@pytest.fixture(scope="module")
def power(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a series of 3 x wind, a best.toml that reads the wind, and the hours ahead."""
    folder = tmp_path_factory.mktemp("power")
    time = pd.date_range("2024-03-01", periods=206, freq="h", name="when")
    numbers = np.random.default_rng(5)
    table = pd.DataFrame({"wind": numbers.normal(5, 2, 206), "load": numbers.normal(size=206)})
    table["power"] = 3 * table["wind"] + 0.1 * numbers.normal(size=206)
    table = table.set_index(time)
    table[:200].to_csv(folder / "power.csv")
    table[:202].assign(tide=0.0).to_csv(folder / "newer.csv")
    table.drop(columns="power")[200:].to_csv(folder / "ahead.csv")
    table.drop(columns="power")[200:].to_csv(folder / "german.csv", sep=";", decimal=",")
    table.drop(columns="power")[200:203].to_csv(folder / "short.csv")
    table.drop(columns="wind")[200:].to_csv(folder / "windless.csv")
    reading: dict[str, Any] = {"target": "power", "past": ["load"], "future": ["wind"]}
    series = as_series(folder / "power.csv", **reading)
    config = TrialConfig(units=(3,), unroll_length=6, segment_length=2, batch_size=4, epochs=1)
    config = config.replace(scaling="standard", head="direct", skip="linear", steps_per_epoch=3)
    # Steps that are far too long: no epoch is better than the ridge alone.
    config = config.replace(future_covariates=True, past_covariates=True, learning_rate=10.0)
    document = BestDocument(
        config=config,
        result=ResultTable(study="s", trial=0, relative_mse=0.5, best_epoch=0),
        prices=PricesTable(**PricesSpec.of(series).model_dump()),
        split=SplitSpec(horizon=4),
        seed=1,
        versions={},
    )
    (folder / "best.toml").write_text(document.to_toml())
    return folder


def test_the_covariates_ahead_are_read_from_a_file(
    power: Path, command: Run, tmp_path: Path
) -> None:
    for file in power.iterdir():
        (tmp_path / file.name).symlink_to(file)
    code, out, err = command("fit", "best.toml", "--out", "model")
    assert code == 0, err
    model = Forecaster.load("model")
    validation, trained, *_ = out.splitlines()
    assert ", chose epoch 0: relative_mse 0.0" in validation
    # Of 192 rows outside two gaps of 4, 115 train and 38 validate.
    assert trained.startswith(
        "fitted the ridge regression alone to 157 hours, up to 2024-03-07 12:00:00"
    )
    wind = pd.read_csv("ahead.csv")["wind"].to_numpy()
    expected = model.forecast(future={"wind": wind[:4]})["forecast"].tolist()
    for file in ("ahead.csv", "german.csv"):
        code, out, err = command("forecast", "model", "--future", file, "--csv", "f.csv")
        assert (code, err) == (0, "")
        assert list(map(float, columns("f.csv")["forecast"])) == expected
        assert "2024-03-09 08:00" in out
    # Newer rows: the model knows which columns they must have.
    code, _, err = command(
        "forecast", "model", "--data", "newer.csv", "--future", "ahead.csv", "--csv", "f.csv"
    )
    assert (code, err) == (0, "")
    newer = as_series("newer.csv", target="power", past=["load"], future=["wind"])
    ahead = model.with_data(newer).forecast(future={"wind": wind[2:]})
    assert list(map(float, columns("f.csv")["forecast"])) == ahead["forecast"].tolist()
    np.testing.assert_allclose(ahead["forecast"], 3 * wind[2:], atol=1.5)

    for arguments, message in (
        ((), "wind must be known up to 2024-03-09 11:00:00, 4 hours ahead, but is missing from "),
        (("--future", "short.csv"), "missing from 2024-03-09 11:00:00 on; give forecast(future="),
        (("--future", "short.csv", "--steps", "1"), "missing from 2024-03-09 11:00:00 on"),
        (("--future", "windless.csv"), "is missing from 2024-03-09 08:00:00 on"),
        (("--future", "nowhere.csv"), "nowhere.csv"),
        (("--future", "ahead.csv", "--csv", "ahead.csv"), "a different file from --future"),
        (("--future", "ahead.csv", "--data", "ahead.csv"), "no column 'power'"),
    ):
        code, out, err = command("forecast", "model", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert err.count("\n") == 1
    assert "--future FILE" in command("forecast", "--help")[1]


def test_a_model_that_reads_no_future_covariates_says_so(run: Run, power: Path) -> None:
    ahead = str(power / "ahead.csv")
    code, _, err = run("forecast", "model", "--future", ahead, "--csv", "with.csv")
    assert code == 0
    assert err == f"foretune: model reads no future covariates, and nothing of {ahead}\n"
    assert run("forecast", "model", "--csv", "without.csv")[0] == 0
    assert Path("with.csv").read_bytes() == Path("without.csv").read_bytes()
