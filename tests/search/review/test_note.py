"""The note that a study shows in the dashboard."""

import struct

import optuna
import pytest
from optuna_dashboard import get_note, save_note

from foretune.datasets import PriceSeries
from foretune.search import SearchSpace, make_report, run_study
from foretune.search.figures.deferred import drawn
from foretune.search.review.note import DIVIDER, StudyNote, note
from foretune.search.storage.artifacts import artifact_names, load_artifact
from foretune.search.storage.optuna_internals import storage_of


@pytest.fixture(scope="module")
def study(walk: PriceSeries, tiny_space: SearchSpace) -> optuna.Study:
    return run_study(
        "s",
        walk,
        n_trials=3,
        space=tiny_space,
        horizon=5,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )


def test_a_run_ends_with_a_current_note(study: optuna.Study, walk: PriceSeries) -> None:
    text = get_note(study)
    assert text == f"{DIVIDER}\n\n{note(study)}"
    best = study.best_trial
    for said in (
        "3 of 3",
        "3 complete",
        f"{best.value:.4f} (trial {best.number})",
        "persistence is 1",
        best.user_attrs["config"].strip(),
        walk.digest,
        "no study of this storage has opened it",
        "jax ",
    ):
        assert said in text
    beaten = sum(trial.value < 1 for trial in study.trials if trial.value is not None)
    assert f"| {beaten} of 3 trials; luck alone puts some there |" in text
    assert study.metric_names == ["relative_mse"]


def test_the_best_trials_figures_are_the_studys(study: optuna.Study) -> None:
    storage = storage_of(study)
    assert artifact_names(storage, study) == ["best_forecasts.png", "best_learning_curve.png"]
    for name in artifact_names(storage, study):
        kept = load_artifact(storage, study, name)
        assert kept == load_artifact(storage, study.best_trial, name.removeprefix("best_"))
        picture = drawn(kept)
        width, height = struct.unpack(">II", picture[16:24])
        assert (width, height) == (1350, 630)


def test_what_a_user_wrote_stays(study: optuna.Study) -> None:
    save_note(study, "My own words.\n\n" + get_note(study))
    StudyNote(study).write()
    StudyNote(study).write()
    text = get_note(study)
    assert text == f"My own words.\n\n{DIVIDER}\n\n{note(study)}"
    # Only his words are left: the note comes back below them.
    save_note(study, "Mine alone.")
    StudyNote(study).write()
    assert get_note(study).startswith(f"Mine alone.\n\n{DIVIDER}")


def test_an_opening_is_in_the_next_note(study: optuna.Study, walk: PriceSeries) -> None:
    make_report(study, walk, open_test=True, top=1)
    assert "The test has been opened once" in note(study)


def test_a_study_without_a_result_has_a_note(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    class AtOnce(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    study = run_study(
        "s",
        walk,
        n_trials=1,
        space=tiny_space,
        horizon=5,
        pruner=AtOnce(),
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    assert "No trial is complete yet." in note(study)
    assert "1 of 1: 1 pruned" in note(study)


def test_the_note_is_written_seldom_enough(study: optuna.Study) -> None:
    """Writing that takes 2 s is not repeated within 200 s."""
    now, written = [0.0], []

    class Slow(StudyNote):
        def write(self) -> None:
            super().write()

    note_of = Slow(study, clock=lambda: now[0])
    original = note_of._show

    def takes_two_seconds(best: optuna.trial.FrozenTrial) -> None:
        now[0] += 2.0
        written.append(now[0])
        original(best)

    note_of._show = takes_two_seconds  # type: ignore[method-assign]
    before = get_note(study)
    note_of.trial_ended()
    assert written == [2.0]
    save_note(study, before + "changed")
    now[0] = 2.0 + 199.9
    note_of.trial_ended()
    assert get_note(study).endswith("changed")
    now[0] = 2.0 + 200.1
    note_of.trial_ended()
    assert not get_note(study).endswith("changed")


def test_the_last_note_is_not_written_twice(study: optuna.Study) -> None:
    note = StudyNote(study)
    note.write()
    save_note(study, "as it was")
    note.end()
    assert get_note(study) == "as it was"
    study.add_trial(study.trials[0])
    note.trial_ended()
    note.end()
    assert "4 of 3" in get_note(study)


def test_a_note_waits_for_what_the_last_one_took(study: optuna.Study) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0  # a writing takes a second
        return now[0]

    note = StudyNote(study, clock=clock)
    note.write()
    save_note(study, "as it was")
    now[0] += 95.0
    note.trial_ended()
    assert get_note(study) == "as it was"
    now[0] += 5.0
    note.trial_ended()
    assert get_note(study) != "as it was"
