"""Any data on the command line: read as the options say, then, and again from the study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import more_people_formats as more
import numpy as np
import pandas as pd
import people_formats as people
import pytest
from command_line import Run, write_prices

from foretune.datasets import read_series
from foretune.search import load_study
from foretune.search.cli.options import read_aloud
from foretune.search.study.data import study_data
from foretune.search.study.spec import required_spec

HOURS = pd.date_range("2024-01-01", periods=600, freq="h")
SPACE = """
head = "recursive"
layers = 1
units = 4
unroll_length = 8
batch_size = 8
steps_per_epoch = 2
epochs = 1
"""


def users() -> pd.DataFrame:
    """Hourly users with a daily swing, and the weather."""
    rng = np.random.default_rng(0)
    values = 100 + 20 * np.sin(2 * np.pi * np.arange(600) / 24) + rng.normal(0, 3, 600)
    return pd.DataFrame({"time": HOURS, "users": values.round(2), "rain": np.arange(600) % 5})


@pytest.fixture
def run(command: Run, tmp_path: Path) -> Run:
    (tmp_path / "space.toml").write_text(SPACE)
    users().drop(columns="rain").to_csv(tmp_path / "users.csv", index=False)
    users().to_csv(tmp_path / "weather.csv", index=False)
    users().drop(columns="rain").drop(index=[50, 51]).to_csv(tmp_path / "gaps.csv", index=False)
    return command


SMALL = ("--study", "s", "--space", "space.toml", "--trials", "1", "--workers", "1")
READ = "600 rows, 2024-01-01 to 2024-01-25 23:00:00, hourly, users"


def spec_of(name: str = "s") -> Any:
    return required_spec(load_study(name, "sqlite:///foretune.db"))


def test_how_data_were_read_is_applied_again(run: Run) -> None:
    code, _, err = run("run", "--data", "gaps.csv", *SMALL)
    assert code == 2
    assert "line 52: time must be 2024-01-03 02:00:00" in err
    assert "missing='interpolate'" in err
    code, _, err = run("run", "--data", "gaps.csv", "--missing", "interpolate", *SMALL)
    assert code == 0, err
    said = "foretune: gaps.csv: 2 missing rows were added (missing='interpolate')\n"
    plan = "foretune: horizon 24 hours{}, stride 4, gap 24; 331 hours train, 110 validate, 111 test"
    assert err.startswith(f"{said}foretune: gaps.csv: {READ}; stored with the study, ")
    assert err.splitlines()[2].startswith(plan.format(" (a season)"))
    assert spec_of().prices.reading == {"missing": "interpolate"}
    digest = spec_of().prices.digest
    assert study_data(load_study("s", "sqlite:///foretune.db")).whole().digest == digest
    # Neither the options nor the data are given again.
    for command in (
        ("run", "--study", "s", "--trials", "2", "--workers", "1"),
        ("report", "--study", "s"),
        ("replay", "--study", "s", "--trial", "0"),
        ("fit", "results/s/best.toml"),
        ("report", "--study", "s", "--data", "gaps.csv"),
    ):
        code, _, err = run(*command)
        assert code == 0, err
        assert err.startswith(said) == ("--data" in command)  # where something was read
        assert (plan.format("") in err) == (command[0] == "run")
    code, _, err = run("run", "--data", "gaps.csv", "--missing", "ffill", *SMALL)
    assert code == 2
    assert "study 's' exists with another spec" in err
    assert run("forecast", "model", "--data", "gaps.csv", "--missing", "interpolate")[0] == 0


def test_columns_are_named_by_options(run: Run) -> None:
    code, _, err = run("run", "--data", "weather.csv", *SMALL)
    assert code == 2
    assert err == (
        "foretune: weather.csv: the target may be in the columns 'users', 'rain'; name one by "
        "target= (--target), or give wide=True (--wide) where each column is a series\n"
    )
    options = ("--target", "users", "--future", "rain", "--time", "time", "--freq", "h")
    code, _, err = run("run", "--data", "weather.csv", *options, "--seasonality", "12", *SMALL)
    assert code == 0, err
    assert err.startswith(f"foretune: weather.csv: {READ}, with rain; stored with")
    prices = spec_of().prices
    assert prices.reading["future"] == ["rain"]
    assert prices.target == "users"
    assert spec_of().split.horizon == 12


@pytest.mark.parametrize(
    ("options", "change"),
    [
        (("--day-first",), lambda text: text),
        (("--no-day-first",), lambda text: text),
        (("--decimal", ","), lambda text: text.replace(",", ";").replace(".", ",")),
        (("--series", "a"), lambda text: text),
    ],
)
def test_text_is_read_as_options_say(
    run: Run, options: tuple[str, ...], change: Callable[[str], str]
) -> None:
    days = pd.date_range("2024-01-01", periods=12, freq="D")
    frame = pd.DataFrame({"ds": days.strftime("%m/%d/%Y"), "y": np.arange(12) + 0.125})
    if options[0] == "--day-first":
        frame["ds"] = pd.date_range("2024-01-01", periods=12, freq="MS").strftime("%d/%m/%Y")
    if options[0] in ("--decimal", "--series"):
        frame["ds"] = days
    if options[0] == "--series":
        frame = pd.concat([frame.assign(unique_id=name) for name in "ab"])
    Path("f.csv").write_text(change(frame.to_csv(index=False)))
    # It is read; for a study it is too short.
    code, _, err = run("run", "--data", "f.csv", *options, *SMALL)
    assert code == 2
    assert "12 rows leave" in err
    if options[0] != "--decimal":
        option = options[0].removeprefix("--no").strip("-").replace("-", "_")
        assert f"{option}=" in run("run", "--data", "f.csv", *SMALL)[2]


def test_prices_have_targets_and_columns(run: Run, tmp_path: Path) -> None:
    write_prices(tmp_path / "acme.csv")
    text = Path("acme.csv").read_text().replace("Open,High,Low,Close", "a,b,c,d")
    Path("acme.csv").write_text(text)
    columns = [f"--column={price}={name}" for price, name in zip(PRICES, "abcd", strict=True)]
    code, _, err = run("run", "--data", "acme.csv", "--target", "close", *columns, *SMALL)
    assert code == 0, err
    assert "close price" in err
    assert spec_of().prices.reading == {"columns": dict(zip(PRICES, "abcd", strict=True))}
    assert run("run", *SMALL)[0] == 0
    code, _, err = run("run", "--data", "acme.csv", "--column", "open", *SMALL)
    assert code == 2
    assert err == ("foretune: --column must be PRICE=NAME, such as open=Apertura, but got 'open'\n")


PRICES = ("open", "high", "low", "close")


@pytest.mark.parametrize("name", more.SAID)
def test_all_that_reading_decides_is_said(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(more.MORE[name](people.prices(40)))
    assert len(read_aloud(lambda: read_series(path))) == 40
    lines = capsys.readouterr().err.splitlines()
    for line, beginning in zip(lines, more.SAID[name], strict=True):
        assert line.startswith(f"foretune: p.csv: {beginning}")


def test_a_split_is_said(run: Run) -> None:
    write_prices(Path("acme.csv"))
    prices = pd.read_csv("acme.csv")
    prices.loc[200:, [*filter(lambda name: name.lower() in PRICES, prices)]] /= 4
    prices.to_csv("acme.csv", index=False)
    code, _, err = run("run", "--data", "acme.csv", *SMALL, "--horizon", "5000")
    assert code == 2
    said = "by a factor of 4.03, as at a split that is not adjusted; if it was a split, adjust the"
    assert said in err.splitlines()[0]
    assert err.startswith("foretune: acme.csv: close falls from ")


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        (("--split", "300,100,100", "--gap", "0"), (300, 100, 100)),
        (("--split", "rest,60,60", "--gap", "5"), (470, 60, 60)),
        (
            ("--train-end", "2024-01-15", "--validation-end", "2024-01-20", "--gap", "0"),
            (360, 120, 120),
        ),
        (("--split", "0.5,0.25,0.25", "--gap", "4"), None),
    ],
)
def test_parts_may_be_said(run: Run, options: tuple[str, ...], rows: Any) -> None:
    code, _, err = run("run", "--data", "users.csv", *options, "--stride", "1", *SMALL)
    assert code == 0, err
    left_out = "the last 100 rows are left out: they are in no part" in err
    assert left_out == (rows == (300, 100, 100))
    spec = spec_of()
    assert spec.split.rows == rows
    split = spec.split_days(600)
    assert split.gap == int(options[-1])
    assert split.train_stop == (296 if rows is None else rows[0])
    assert run("run", "--study", "s", "--trials", "1")[0] == 0
    assert run("report", "--study", "s")[0] == 0
    code, _, err = run("run", *SMALL, "--split", "310,100,100")
    assert code == 2
    assert "exists with another spec: split.rows is" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "1,2"), "split must be three shares that add up to 1 or three whole numbers"),
        (
            ("--split", "500,100,100"),
            "500, 100 and 100 rows and 2 gaps of 24 are 748, but there are",
        ),
        (("--train-end", "2024-01-15"), "train_end and validation_end must be given together"),
        (
            ("--split", "0.6,0.2,0.2", "--test-end", "2024"),
            "split and train_end, validation_end or test_end must not be given both",
        ),
        (
            ("--train-end", "soon", "--validation-end", "2024-01-20"),
            "train_end must be a time written like 2024-01-25T23:00:00, or the first parts of it",
        ),
        (("--gap", "-1"), "Invalid value for '--gap'"),
        (("--target", "guests"), "users.csv: no column 'guests', which target= (--target) names"),
        (("--freq", "now"), "freq must be a pandas frequency"),
        (("--missing", "guess"), "Invalid value for '--missing'"),
    ],
)
def test_mistakes_are_one_line(run: Run, options: tuple[str, ...], message: str) -> None:
    code, out, err = run("run", "--data", "users.csv", *options, *SMALL)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("foretune: ")
    assert message in err.splitlines()[-1]
    assert not Path("results").exists()
