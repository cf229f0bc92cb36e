"""Trials that others added or damaged: left out and named, and never in the way of a report."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from foretune.datasets import PriceSeries
from foretune.datasets.common.errors import ConfigError
from foretune.search import (
    SearchSpace,
    caveat,
    make_report,
    replay,
    run_study,
    save_best,
    write_report,
)
from foretune.search.report.evidence import scored_trials
from foretune.search.report.tables import as_text
from foretune.search.review.compare import comparison_table
from foretune.search.review.note import StudyNote
from foretune.search.storage.artifacts import load_artifact, save_artifacts
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.losses import LOSSES_BY_ORIGIN

LINES = 94 + 1  # of the file: 98 - 5 + 1 origins on 98 validation days, and its header

NewStudy = Callable[[str], optuna.Study]


@pytest.fixture(scope="module")
def new_study(walk: PriceSeries, tiny_space: SearchSpace) -> NewStudy:
    def make(name: str) -> optuna.Study:
        return run_study(
            name,
            walk,
            n_trials=2,
            space=tiny_space,
            epochs=1,
            horizon=5,
            storage=optuna.storages.InMemoryStorage(),
            show_progress_bar=False,
            target="mid",
            workers=1,
        )

    return make


DAMAGES: dict[str, Callable[[list[str]], bytes]] = {
    "must have 94 origins, but has 91": lambda lines: "".join(lines[:-3]).encode(),
    "must have 94 origins, but has 1": lambda lines: "".join(lines[:2]).encode(),
    "in each line, but has none": lambda lines: lines[0].encode(),
    "in each line, but has none ": lambda _: b"",
    "must be a CSV file": lambda _: b"a,b\n1,2\n",
    "must be a CSV file ": lambda _: b"\xff\xfe\x00",
    "must be a CSV file  ": lambda lines: "".join([*lines[:-1], "2020-01-01,1,x,y\n"]).encode(),
    "must be a CSV file   ": lambda lines: "".join([*lines[:-1], "2020-01-01\n"]).encode(),
    "to 1e+100 in each line, but has nan": lambda lines: "".join(
        [*lines[:-1], "2020-01-01,1,nan,nan\n"]
    ).encode(),
    "to 1e+100 in each line, but has -1e+300": lambda lines: "".join(
        [*lines[:-1], "2020-01-01,1,-1e300,1\n"]
    ).encode(),
}


def test_a_trial_with_a_damaged_file_is_left_out_and_named(
    new_study: NewStudy, walk: PriceSeries, tmp_path: Path
) -> None:
    study = new_study("s")
    before = scored_trials(study)
    assert before.left_out_text == ""
    storage, trial = storage_of(study), study.trials[0]
    text = load_artifact(storage, trial, LOSSES_BY_ORIGIN).decode()
    assert text.count("\n") == LINES
    for damage in DAMAGES.values():
        copy = study.ask()
        for name, value in trial.user_attrs.items():
            copy.set_user_attr(name, value)
        save_artifacts(storage, copy, {LOSSES_BY_ORIGIN: damage(text.splitlines(keepends=True))})
        study.tell(copy, 0.1)
    judged = scored_trials(study)
    np.testing.assert_array_equal(judged.losses, before.losses)
    assert list(judged.left_out) == list(range(2, 2 + len(DAMAGES)))
    for number, why in zip(judged.left_out, DAMAGES, strict=True):
        said = judged.left_out[number]
        assert f"{LOSSES_BY_ORIGIN} of trial {number} must" in said
        assert why.strip() in said
        with pytest.raises(ConfigError, match=rf"study 's': .*csv of trial {number} must"):
            replay(study, number, walk)
    report = make_report(study, walk, sealed=True)
    assert report.winner.trial.number == before.best.number
    write_report(report, tmp_path)
    written = (tmp_path / "report.md").read_text()
    assert "2 of 12 trials are complete and can be judged" in written
    numbers = ", ".join(map(str, judged.left_out))
    for shown in (written, caveat(study), as_text(comparison_table([study, study]), width=500)):
        assert f"Not counted, trials {numbers}: " in shown


def test_trials_added_by_hand_are_left_out_and_named(
    new_study: NewStudy, walk: PriceSeries, tmp_path: Path
) -> None:
    study = new_study("by hand")
    config = study.trials[0].user_attrs["config"]
    odd = {"best_epoch": "two", "relative_mse": "low", "compiles": "many", "cache_hits": [1]}
    cases: tuple[tuple[float, dict[str, Any], str], ...] = (
        (0.1, {}, "trial 2 must store a config"),
        (5.0, {"relative_mse": "low", "compiles": [1]}, "trial 3 must store a config"),
        (-np.inf, {"config": config}, "trial 4 must have a finite value of at least 0"),
        (0.1, {"config": 7}, "config of trial 5 must be TOML, but is 7"),
        (0.1, {"config": "x = ["}, "config of trial 6: "),
        (0.1, {"config": config}, "trial 7 must have stored losses_by_origin.csv"),
        (0.2, {"config": config, **odd}, "trial 8 must have stored losses_by_origin.csv"),
    )
    for value, stored, _ in cases:
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=stored))
    report = make_report(study, walk, sealed=True)
    assert report.winner.trial.number < 2
    left_out = scored_trials(study).left_out
    for number, (_, _, why) in enumerate(cases, 2):
        assert left_out[number].startswith(why)
    assert report.evidence.left_out.startswith("Not counted, trials 2, 3, 4, 5, 6, 7, 8: trial 2")
    assert report.evidence.left_out.endswith("; and so on, 7 trials in all.")
    assert write_report(report, tmp_path)
    assert report.evidence.left_out in caveat(study)
    StudyNote(study).write()
    assert as_text(comparison_table([study, study]))
    with pytest.raises(ConfigError, match="but 8 is complete: its relative_mse is 'low', not a"):
        replay(study, 8, walk)


def test_a_study_of_such_trials_alone_says_why(new_study: NewStudy, walk: PriceSeries) -> None:
    study = new_study("none")
    only = optuna.create_study(study_name="none")
    for name, attribute in study.user_attrs.items():
        only.set_user_attr(name, attribute)
    for _ in range(5):
        only.add_trial(create_trial(state=TrialState.COMPLETE, value=0.1))
    with pytest.raises(ConfigError, match=r"none of its 5 can: trial 0 must .*and so on, 5 trials"):
        make_report(only, walk)
    assert "There is no verdict: study 'none' must have" in caveat(only)


def test_a_best_trial_that_cannot_be_used_is_named(new_study: NewStudy, tmp_path: Path) -> None:
    study = new_study("b")
    config = study.trials[0].user_attrs["config"]
    for value, stored, why in (
        (0.5, {}, "trial 2 must store a config"),
        (0.4, {"config": 7}, "config of trial 3 must be TOML"),
        (0.3, {"config": "x = ["}, "config of trial 4: "),
        (0.2, {"config": config}, "trial 5 must store a best_epoch"),
        (0.1, {"config": config, "best_epoch": "two"}, "trial 6: best_epoch"),
        (-np.inf, {"config": config, "best_epoch": 1}, "trial 7: relative_mse"),
    ):
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=stored))
        with pytest.raises(ConfigError, match=f"study 'b': {why}"):
            save_best(study, tmp_path / "best.toml")
        StudyNote(study).write()
    assert not list(tmp_path.iterdir())
