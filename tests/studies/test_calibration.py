"""A small calibration: few false alarms, and skill found where there is some."""

import json
from pathlib import Path

import pytest
from scipy import stats

from foretune.search.cli.main import run_command
from foretune.studies import calibration
from foretune.studies.calibration import Outcome, Setting, calibrate, summary

WALK, FOUND = Setting("random_walk", 5, skill=False), Setting("ar1", 5, skill=True)


@pytest.mark.slow
def test_few_false_alarms_and_skill_is_found() -> None:
    # At a false alarm in twenty, four or more in twelve studies come once in 450 runs.
    assert stats.binom.sf(3, 12, 0.05) < 1 / 400
    said: list[str] = []
    walks = calibrate(WALK, 12, 4, said.append)
    assert sum(outcome.claims_skill for outcome in walks) <= 3
    # Nothing there is to be confirmed, either: persistence is the best forecast.
    assert sum(outcome.confirmed_on_test for outcome in walks) <= 3
    assert [outcome.seed for outcome in walks] == list(range(12))
    assert len(said) == 12
    found = calibrate(FOUND, 3, 4, said.append)
    assert sum(outcome.claims_skill for outcome in found) >= 2
    assert all(outcome.test < 1 for outcome in found)


def outcome(claims: bool, coverage: float, confirmed: bool = False) -> Outcome:
    return Outcome(
        seed=0,
        p_value=0.01 if claims else 0.5,
        claims_skill=claims,
        confirmed_on_test=confirmed,
        validation=0.9,
        test=1.1,
        coverage=coverage,
    )


def test_the_table_counts() -> None:
    table = summary({WALK: [outcome(True, 0.8), outcome(False, 0.9), outcome(False, 1.0)]})
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == [
        "random_walk (5)",
        "no",
        "1 of 3",
        "0 of 3",
        "0.9000",
        "1.1000",
        "90.0%",
    ]


def test_the_command_writes_every_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "SETTINGS", (FOUND,))
    arguments = ["--found", "1", "--trials", "2", "--out", str(tmp_path / "out")]
    run_command(calibration.calibration, "calibration", arguments)
    (document,) = json.loads((tmp_path / "out" / "calibration.json").read_text())
    assert document["sample"] == "ar1"
    (stored,) = document["outcomes"]
    assert stored["test"] < 1
    out = capsys.readouterr().out
    assert f"p = {stored['p_value']:.3f}" in out
    assert "claimed" in out
