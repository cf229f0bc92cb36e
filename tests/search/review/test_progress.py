"""What a running study says where there is no terminal."""

import optuna
import pytest
from optuna.trial import TrialState

from foretune.models import TrialConfig
from foretune.models.training.results import NO_FORECASTS, EpochResult, FoldResults
from foretune.search.review.progress import show_progress

FIRST_EPOCH = (
    TrialConfig(epochs=3),
    FoldResults.of_one(
        EpochResult(
            epoch=1,
            train_loss=0.5,
            value=0.9,
            relative_mse=0.9,
            persistence_mse=1.0,
            half_mse=0.5,
            learning_rate=0.01,
            is_best=True,
            is_last=False,
            forecasts=NO_FORECASTS,
            params={},
        )
    ),
)


@pytest.fixture(autouse=True)
def quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def test_the_reason_of_a_failed_trial_is_said_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study(study_name="s")
    trial = study.ask()
    reason = "ValueError: [red]shape [/] of x[0]"
    trial.set_user_attr("error", reason)
    frozen = study.tell(trial, state=TrialState.FAIL)
    with show_progress("s", done=0, total=1, show=True) as progress:
        progress.epoch(0, *FIRST_EPOCH)
        progress.trial(study, frozen, 1)
    assert f"trial 0 failed: {reason}\n" in capsys.readouterr().err


def test_a_line_says_what_a_trial_came_to(capsys: pytest.CaptureFixture[str]) -> None:
    study = optuna.create_study(study_name="s")
    trial = study.ask()
    for name, value in (("relative_mse", 0.9), ("best_epoch", 2), ("epochs", 3), ("seconds", 1.5)):
        trial.set_user_attr(name, value)
    frozen = study.tell(trial, 0.9)
    with show_progress("s", done=0, total=1, show=True) as progress:
        progress.trial(study, frozen, 1)
    said = "trial 0 complete: relative_mse 0.9000 at epoch 2 of 3, 1.5 s; best 0.9000 (trial 0)\n"
    assert said in capsys.readouterr().err


def test_the_bar_counts_the_study_and_not_this_launch() -> None:
    study = optuna.create_study(study_name="s")
    elsewhere, trial = [study.ask(), study.ask()], study.ask()
    with show_progress("s", done=0, total=2, show=True) as progress:
        progress.epoch(elsewhere[0].number, *FIRST_EPOCH)
        for other in elsewhere:
            study.tell(other, 0.9)
        frozen = study.tell(trial, state=TrialState.FAIL)
        progress.trial(study, frozen, 5)
        assert list(progress._running) == [elsewhere[0].number]
        (task,) = progress._bar.tasks
        assert (task.completed, task.total) == (2, 5)
