"""What a trial's epochs say of its network, from what it stores; and where that is shown."""

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, create_trial

from foretune.datasets import TimeSeries
from foretune.models import TrialConfig
from foretune.search import make_report, summary
from foretune.search.report.document import html, markdown
from foretune.search.report.tables import plain
from foretune.search.review.note import note
from foretune.search.study.remarks import ridge_value, training_remarks

CONFIG = TrialConfig(epochs=12).to_toml()


def stored(**attributes: Any) -> FrozenTrial:
    trial = create_trial(value=0.28, user_attrs=attributes)
    trial.number = 7
    return trial


EARLIER: dict[str, Any] = {
    "config": CONFIG,
    "relative_mse": 0.281562,
    "best_epoch": 5,
    "epochs": 10,
}
IMPROVED = "The network of trial 7 takes the ridge regression that it starts at from "
NOTHING = "The network of trial 7 adds nothing to the ridge regression that it starts at: "
NEXT_TO = "The network of trial 7 adds next to nothing to the ridge regression that it starts at: "
BEFORE = "epoch 0, before any training, was its best "
LAST = "The best epoch of trial 7 was its last, 12: raise epochs"
GAINED = IMPROVED + "relative MSE 0.3262 to 0.2816"


@pytest.mark.parametrize(
    ("attributes", "remarks"),
    [
        ({}, []),
        (EARLIER, []),
        (EARLIER | {"ridge_value": 0.326177}, [GAINED]),
        (EARLIER | {"ridge_value": 0.2815618}, [NEXT_TO + "both have relative MSE 0.2816"]),
        (
            EARLIER | {"ridge_value": 0.281562, "best_epoch": 0},
            [NOTHING + BEFORE + "(relative MSE 0.2816)"],
        ),
        (EARLIER | {"best_epoch": 12, "epochs": 12}, [LAST]),
        (EARLIER | {"ridge_value": 0.326177, "best_epoch": 12, "epochs": 12}, [GAINED, LAST]),
        # Its last epoch, but not its config's: it was pruned there.
        (EARLIER | {"best_epoch": 10}, []),
        (EARLIER | {"epochs": 12}, []),
        # By another metric.
        (
            EARLIER | {"metric": "mae", "mae": 41.27654, "ridge_value": 43.9},
            [IMPROVED + "MAE 43.9 to 41.28"],
        ),
        (
            EARLIER | {"metric": "smape", "smape": 3.1, "ridge_value": 3.1, "best_epoch": 0},
            [NOTHING + BEFORE + "(sMAPE 3.1)"],
        ),
        # Added by hand: no config, no numbers, a config and a metric that are none.
        ({"ridge_value": 0.3, "best_epoch": 0}, [NOTHING + BEFORE + "(relative MSE 0.3)"]),
        ({"best_epoch": 12, "epochs": 12}, []),
        (EARLIER | {"config": "epochs = 'many'", "best_epoch": 12, "epochs": 12}, []),
        (EARLIER | {"ridge_value": "low"}, []),
        (EARLIER | {"ridge_value": float("nan")}, []),
        (EARLIER | {"ridge_value": 0.3, "metric": ["mae"]}, []),
        (EARLIER | {"ridge_value": 0.3, "relative_mse": None}, []),
    ],
)
def test_what_is_said(attributes: dict[str, Any], remarks: list[str]) -> None:
    assert training_remarks(stored(**attributes)) == remarks


def test_the_ridges_value_is_a_number_or_none() -> None:
    assert ridge_value(stored(ridge_value=0.3)) == 0.3
    for nothing in ({}, {"ridge_value": True}, {"ridge_value": float("inf")}):
        assert ridge_value(stored(**nothing)) is None


def with_best(study: optuna.Study, **attributes: Any) -> optuna.Study:
    """A study that is as ``study``, with another best trial: number 0, which stores these."""
    other = optuna.create_study(study_name="planned")
    for name, value in study.user_attrs.items():
        other.set_user_attr(name, value)
    best = study.best_trial
    other.add_trial(create_trial(value=best.value, user_attrs=best.user_attrs | attributes))
    return other


@pytest.mark.parametrize(
    ("attributes", "said", "row"),
    [
        (
            {"ridge_value": 0.5, "relative_mse": 0.4, "best_epoch": 1},
            ["takes the ridge regression that it starts at from relative MSE 0.5 to 0.4"],
            True,
        ),
        (
            {"ridge_value": 0.5, "best_epoch": 0},
            ["adds nothing to the ridge regression that it starts at: epoch 0, before any "],
            True,
        ),
        (
            {"ridge_value": None, "best_epoch": 2, "epochs": 2},
            ["The best epoch of trial 0 was its last, 2: raise epochs"],
            False,
        ),
        ({"ridge_value": None, "best_epoch": 1}, [], False),
    ],
)
def test_summary_and_note_say_it(
    attributes: dict[str, Any], said: list[str], row: bool, planned_study: optuna.Study
) -> None:
    study = with_best(planned_study, **attributes)
    remarks = training_remarks(study.best_trial)
    assert len(remarks) == len(said)
    shown = summary(study)
    for remark, part in zip(remarks, said, strict=True):
        assert part in remark
        assert f" {remark}. make_report(study) says more" in f" {shown.caveat}"
        assert f"| what its epochs say: | {remark} |" in note(study)
    assert ("its ridge alone", "0.500000") in shown.result or not row
    assert ("its ridge alone" in dict(shown.result)) == row
    if not said:
        assert "what its epochs say" not in note(study)
        assert "The network" not in shown.caveat


def test_a_report_says_it(planned_study: optuna.Study, planned: TimeSeries) -> None:
    report = make_report(planned_study, planned, top=1)
    remarks = training_remarks(report.winner.trial)
    assert len(remarks) == 2
    for remark in remarks:
        assert f"{plain(remark)}." in markdown(report)
        assert f"{remark}." in html(markdown(report), "title", {})
    rows = [line for line in markdown(report).splitlines() if "its ridge alone" in line]
    assert len(rows) == 1
    best, value = planned_study.best_trial, planned_study.best_trial.intermediate_values[0]
    assert rows[0].startswith(f"| trial {best.number}, its ridge alone | {value:.4f} |")
    assert "The winner's network starts at its ridge and is trained on what" in markdown(report)
    assert "from the same origins, 1 hour apart (" in markdown(report)
    assert "| horizon, stride | 4 hours, 1 hour |" in markdown(report)
