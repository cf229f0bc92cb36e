"""A small calibration, the size and power of the tests on simulated losses, and the command."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from foretune.search import FloatRange
from foretune.search.cli.main import run_command
from foretune.studies import calibration, calibration_cells
from foretune.studies.calibration import Outcomes, Row, as_page, plan
from foretune.studies.calibration_cells import (
    BOUNDARY,
    FEW,
    LOSSES_CELLS,
    MARKET_CELLS,
    NO_CLAIM,
    NOTHING_THERE,
    SKILL_CELLS,
    WALK_CELLS,
    Goal,
    LossesCell,
    StudyCell,
    garch_prices,
)
from foretune.studies.simulated_losses import Losses

# Simulated losses


def counted(cell: LossesCell, losses: Losses, reps: int = 199) -> int:
    return sum(cell.counts(found, seed, reps) for seed, found in enumerate(losses))


def test_claims_have_their_size_and_power() -> None:
    # Of 150 sets without a better trial 7 or 8 claims are due at 5 %; more than 14 would be one
    # chance in 100.
    assert stats.binom.sf(14, 150, 0.05) < 0.01
    assert counted(FEW, FEW.losses(0, 150)) <= 14
    # One trial of 24 that is 3 standard errors better; 1 standard error of the share is 0.04.
    skilled = replace(FEW, skill=3.0)
    found = counted(skilled, skilled.losses(0, 150))
    assert found >= 45
    # One that goes wrong hides it in none of them.
    for times in (3.0, 100.0, 1e6):
        beside = replace(skilled, astray=times)
        assert counted(beside, beside.losses(0, 150)) >= found - 3


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_equal_trials_all_stay_in_the_set(correlation: float) -> None:
    cell = replace(FEW, correlation=correlation, confidence_set=True)
    # At 10 %, 54 of 60 are due; fewer than 46 would be one chance in 300.
    assert stats.binom.cdf(45, 60, 0.9) < 1 / 300
    assert counted(cell, cell.losses(2, 60)) >= 46


@pytest.mark.slow
@pytest.mark.parametrize("cell", LOSSES_CELLS, ids=str)
def test_simulated_losses_meet_their_goal(cell: LossesCell) -> None:
    # Other sets than the page's. One standard error of the share is 0.6 % at the boundary.
    share = counted(cell, cell.losses(1, 1500), reps=300) / 1500
    assert cell.goal.is_met(share), share


def test_the_cells_are_those_that_are_asked_for() -> None:
    boundary = [cell for cell in LOSSES_CELLS if cell.goal == BOUNDARY]
    assert len(boundary) == 12
    assert {(cell.independent, cell.horizon, cell.trials) for cell in boundary} == {
        (15, 50, 24),
        (15, 50, 60),
        (30, 50, 24),
        (54, 50, 24),
        (159, 5, 24),
    }
    names = [str(cell) for cell in (*LOSSES_CELLS, *WALK_CELLS, *MARKET_CELLS, *SKILL_CELLS)]
    assert len(set(names)) == len(names)


# Trained studies


def test_garch_prices_move_in_spells_within_a_real_range() -> None:
    prices = garch_prices(0)
    # A day's range is the walk's, and its close is next to the next day's first price.
    assert ((prices.low <= prices.close) & (prices.close <= prices.high)).all()
    assert ((prices.low <= prices.open) & (prices.open <= prices.high)).all()
    returns = np.diff(np.log(prices.close))
    assert returns.std() == pytest.approx(0.01, rel=0.2)
    assert abs(np.corrcoef(returns[1:], returns[:-1])[0, 1]) < 0.05
    sizes = np.abs(returns)
    assert np.corrcoef(sizes[1:], sizes[:-1])[0, 1] > 0.1
    first = np.log(prices.open[1:] / prices.close[:-1])
    assert first.std() == pytest.approx(returns.std() / 8, rel=0.1)  # one of 64 steps


def test_a_simulated_series_is_another_for_each_seed() -> None:
    walk, bikes = WALK_CELLS[0], SKILL_CELLS[-1]
    assert walk.data(7) == "random_walk(length=4000, ticks=64, seed=7)"
    assert bikes.data(7) == bikes.data(8) == "bikes"


WALKS = [cell for cell in WALK_CELLS if (cell.horizon, cell.trials) == (5, 8)]


@pytest.mark.slow
@pytest.mark.parametrize("cell", WALKS, ids=str)
def test_few_false_alarms_on_walks(cell: StudyCell) -> None:
    # At a false alarm in twenty, four or more in twelve studies come once in 450 runs.
    assert stats.binom.sf(3, 12, 0.05) < 1 / 400
    assert sum(cell.judge(seed)["claim"] for seed in range(500, 512)) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("cell", [*MARKET_CELLS, *SKILL_CELLS], ids=str)
def test_skill_is_found_only_where_it_is(cell: StudyCell) -> None:
    assert [cell.judge(seed)["claim"] for seed in (500, 501)] == [cell in SKILL_CELLS] * 2


# The command

TINY = WALK_CELLS[0].space.fix(
    units=4, pad_units_to=1, learning_rate=FloatRange(low=1e-3, high=1e-2, log=True), epochs=2
)


@pytest.fixture
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """One cell of each kind."""
    walk = StudyCell(
        series="random_walk(length=500, ticks=8)",
        target="mid",
        horizon=5,
        trials=2,
        space=TINY,
        goal=NOTHING_THERE,
    )
    monkeypatch.setattr(calibration, "LOSSES_CELLS", (FEW,))
    monkeypatch.setattr(calibration, "WALK_CELLS", (walk,))
    monkeypatch.setattr(calibration, "MARKET_CELLS", ())
    monkeypatch.setattr(calibration, "SKILL_CELLS", ())


def run(*arguments: object) -> None:
    run_command(calibration.calibration, "calibration", [str(argument) for argument in arguments])


@pytest.mark.usefixtures("few_cells")
def test_the_command_keeps_what_is_done_and_writes_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "out", tmp_path / "page.md"
    run("--sets", 3, "--studies", 1, "--out", out)
    kept = (out / "outcomes.jsonl").read_text()
    losses, study = map(json.loads, kept.splitlines())
    assert (losses["kind"], losses["studies"]) == ("simulated losses", 3)
    assert (study["kind"], study["seed"], study["trials"]) == ("trained studies", 0, 2)
    assert study["claim"] == (study["p_value"] < 0.05)
    assert study["benchmark_relative_mse"] < 1.05
    assert f"{losses['count']} of 3" in capsys.readouterr().out
    # A second time nothing but what is missing is run: one more study.
    monkeypatch.setattr(LossesCell, "judge", None)
    run("--sets", 3, "--studies", 2, "--out", out, "--docs", page)
    again = (out / "outcomes.jsonl").read_text()
    assert again.startswith(kept)
    assert json.loads(again.splitlines()[-1])["seed"] == 1
    rows = list(csv.DictReader((out / "calibration.csv").read_text().splitlines()))
    assert [(row["kind"], row["studies"]) for row in rows] == [
        ("simulated losses", "3"),
        ("trained studies", "2"),
    ]
    assert float(rows[1]["share_high"]) == pytest.approx(
        proportion_confint(int(rows[1]["count"]), 2, method="wilson")[1]
    )
    text = page.read_text()
    assert f"| trained studies | {study['cell']} | 2 | {rows[1]['count']} |" in text
    assert "--sets 3 --studies 2 --repeats 10 --docs" in text


@pytest.mark.usefixtures("few_cells")
def test_a_run_that_is_stopped_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = []

    def judge(_: StudyCell, seed: int) -> dict[str, object]:
        judged.append(seed)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return {"claim": False, "benchmark": "drift", "relative_mse": 1.0, "seconds": 0.0}

    monkeypatch.setattr(StudyCell, "judge", judge)
    arguments = ("--studies", 3, "--only", "random_walk", "--out", tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run(*arguments)
    assert stopped.value.code == 130
    said = capsys.readouterr().err
    assert f"what is done is kept in {tmp_path / 'outcomes.jsonl'}; run the same" in said
    run(*arguments)
    assert judged == [0, 1, 1, 2]
    assert "0 of 3, 0.0 %" in capsys.readouterr().out


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "outcomes.jsonl"
    file.write_text('{"kind": "trained studies"}\nno JSON\n')
    for arguments, message in (
        (["--only", "nowhere"], "--only must be part of the name of a cell, but got 'nowhere'"),
        ([], f"{file} must have a JSON object in each line, but has none in line 2; delete"),
        (["--docs", tmp_path], f"{tmp_path} cannot be written: it exists and is not a regular"),
    ):
        with pytest.raises(SystemExit) as ended:
            run("--out", tmp_path, *arguments)
        assert ended.value.code == 2
        assert f"calibration: {message}" in capsys.readouterr().err


def test_other_settings_are_another_cell(tmp_path: Path) -> None:
    outcomes = Outcomes(tmp_path / "outcomes.jsonl")
    found = [
        outcomes.once({"cell": "walk", "settings": settings, "seed": 0}, partial(dict, claim=claim))
        for settings, claim in (("a", True), ("b", False), ("a", False))
    ]
    assert [one["claim"] for one in found] == [True, False, True]


@pytest.mark.parametrize(
    ("goal", "said", "met"),
    [
        (BOUNDARY, "2 to 8 %", [False, True, False]),
        (NOTHING_THERE, "at most 10 %", [True, True, True]),
        (NO_CLAIM, "none", [True, False, False]),
        (Goal(low=0.05), "at least 5 %", [False, True, True]),
    ],
)
def test_goals(goal: Goal, said: str, met: list[bool]) -> None:
    assert str(goal) == said
    assert [goal.is_met(share) for share in (0.0, 0.05, 0.1)] == met


def test_a_page_counts_the_goals_that_are_met() -> None:
    row = Row(kind="a", cell="b", studies=40, count=4, goal=NOTHING_THERE, seconds=30.0)
    text = as_page([row, replace(row, count=5, relative_mse=0.99, benchmarks="drift 40")], "run me")
    low, high = (100 * end for end in proportion_confint(4, 40, method="wilson"))
    assert f"| a | b | 40 | 4 | 10.0 % ({low:.1f} to {high:.1f}) | at most 10 % | yes |" in text
    assert "| at most 10 % | no | 0.990 | drift 40 |" in text
    assert "1 of 2 cells meet their goal" in " ".join(text.split())
    assert "in 1 minutes" in text


def test_fewer_cells_are_run_by_name() -> None:
    assert plan(7, 6, 5, "sp500") == [(cell, 5) for cell in MARKET_CELLS]
    assert len(plan(7, 6, 5)) == sum(
        len(getattr(calibration_cells, f"{name}_CELLS"))
        for name in ("LOSSES", "WALK", "MARKET", "SKILL")
    )
