"""Several series on the command line: read as the options say, then, and again from the study."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Run

from foretune.search import load_study
from foretune.search.study.spec import PricesSpec, required_spec

SPACE = """
head = "recursive"
layers = 1
units = 4
unroll_length = 8
batch_size = 8
steps_per_epoch = 2
epochs = 1
"""
SMALL = ("--space", "space.toml", "--trials", "1", "--workers", "1", "--horizon", "4")
SPLIT = ("--split", "rest,20,20", "--gap", "0")
# Of series that end apart, as the competition M4 has them: all are counted from 1.
LENGTHS = {"H1": 120, "H2": 100, "H3": 30}


def long() -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": key,
                "ds": np.arange(1, rows + 1),
                "y": np.random.default_rng(rows).normal(50, 5, rows).round(2),
            }
        )
        for key, rows in LENGTHS.items()
    )


@pytest.fixture
def run(command: Run, tmp_path: Path) -> Run:
    (tmp_path / "space.toml").write_text(SPACE)
    long().to_csv(tmp_path / "m4.csv", index=False)
    hours = pd.date_range("2024-01-01", periods=150, freq="h")
    rng = np.random.default_rng(0)
    loads = pd.DataFrame(rng.normal(100, 9, (150, 3)), columns=["x", "y", "z"])
    loads.assign(time=hours).to_csv(tmp_path / "loads.csv", index=False)
    return command


def prices_of(name: str) -> PricesSpec:
    return required_spec(load_study(name, "sqlite:///foretune.db")).prices


def test_a_long_file_is_searched_reported_and_read_again(run: Run, tmp_path: Path) -> None:
    long_file = ("--data", "m4.csv", "--series-column", "unique_id")
    code, _, err = run("run", *long_file, *SMALL, *SPLIT, "--study", "s")
    assert code == 2
    assert "1 of 3 series have fewer than the 10 training rows of a window" in err
    assert "--short drop --least 50" in err
    short = ("--short", "drop", "--least", "50")
    code, out, err = run("run", *long_file, *SMALL, *SPLIT, *short, "--study", "s")
    assert code == 0, err
    assert err.count("1 of 3 series have fewer than 50 rows: H3 (30); they were left out") == 1
    # H1 ends at 120 and H2 at 100.
    assert "2 series of 100 to 120 rows, counted from the end of each, whole numbers" in err
    known = prices_of("s")
    assert (known.series_count, known.days) == (2, 120)
    assert known.reading == {"series_column": "unique_id", "short": "drop", "least": 50}
    for arguments in (
        ("status", "--study", "s"),
        ("replay", "--study", "s", "--trial", "0"),
        # The file is read as the study read it.
        ("replay", "--study", "s", "--trial", "0", "--data", "m4.csv"),
        ("report", "--study", "s", "--data", "m4.csv", "--open-test"),
        ("compare", "s", "s"),
    ):
        code, out, err = run(*arguments)
        assert code == 0, (arguments, err)
        assert "identical" in out or arguments[0] != "replay"
        assert (
            " of 2 series on validation and " in " ".join(out.split()) or arguments[0] != "report"
        )
    code, _, err = run("replay", "--study", "s", "--trial", "0", "--data", "m4.csv", "--least", "9")
    assert code == 2
    assert "must be those of study 's'" in err


def test_a_wide_file_is_searched_without_being_stored(run: Run, tmp_path: Path) -> None:
    wide = ("--data", "loads.csv", "--wide", "--leave-out", "z")
    code, _, err = run("run", *wide, *SMALL, "--study", "w", "--no-store-data")
    assert code == 0, err
    assert prices_of("w").reading == {"wide": True, "leave_out": ["z"]}
    code, out, err = run("replay", "--study", "w", "--trial", "0")
    assert code == 0, err
    assert "identical" in out
    same = ("--data", "loads.csv", "--wide", "--series", "x", "--series", "y")
    code, out, err = run("replay", "--study", "w", "--trial", "0", *same)
    assert code == 0, err


def test_what_does_not_change_in_a_series_is_read_from_a_long_file(run: Run) -> None:
    kinds = {"H1": "east", "H2": "west"}
    table = long().query("unique_id != 'H3'")
    table.assign(kind=table["unique_id"].map(kinds)).to_csv("kinds.csv", index=False)
    several = ("--data", "kinds.csv", "--series-column", "unique_id", "--static", "kind")
    code, _, err = run("run", *several, *SMALL, *SPLIT, "--study", "k")
    assert code == 0, err
    assert prices_of("k").reading == {"series_column": "unique_id", "static": ["kind"]}
    assert "2 series of 100 to 120 rows, counted from the end of each, whole numbers, " in err
    assert ", y, with kind; " in err


def test_several_series_are_refused_where_one_is_meant(run: Run) -> None:
    for reading, message in (
        ((), "or read all as a panel by series_column='unique_id' (--series-column)"),
        (("--series", "H1", "--least", "9"), "least must not be given for one series"),
        (("--series-column", "unique_id", "--short", "drop"), "--least with --short drop"),
        (
            ("--series-column", "unique_id", "--train-end", "50", "--validation-end", "80"),
            "give rows as split=('rest', 48, 48) (--split rest,48,48)",
        ),
    ):
        code, _, err = run("run", "--data", "m4.csv", *reading, *SMALL, "--study", "s")
        assert code == 2
        assert message in err
        assert "Traceback" not in err
        assert len(err.splitlines()) == 1
