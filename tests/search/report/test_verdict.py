"""What the verdict says, for every way a study can end."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from foretune.search.report.significance import DieboldMariano, SPAResult
from foretune.search.report.verdict import OutcomeOnTest, Verdict, format_p


def ability(p: float, *, independent: int = 200, alternatives: int = 30) -> SPAResult:
    return SPAResult(
        p_value=p,
        origins=265,
        independent=independent,
        block=7,
        alternatives=alternatives,
    )


def outcome(relative_mse: float, p: float, **ahead: float) -> OutcomeOnTest:
    return OutcomeOnTest(
        origins=265,
        relative_mse=relative_mse,
        benchmark_relative_mse=0.97,
        against_benchmark=DieboldMariano(
            statistic=relative_mse - 0.97, p_value=p, mean_difference=relative_mse - 0.97
        ),
        ahead=ahead,
    )


def judged(p: float, **others: Any) -> Verdict:
    values: dict[str, Any] = {
        "trial": 7,
        "score": "relative_mse",
        "value": 0.9437,
        "benchmark": "ridge on lags",
        "benchmark_value": 0.9712,
        "against": {"persistence": ability(0.001), "ridge on lags": ability(p)},
    }
    return Verdict(**values | others)


SEALED = "This verdict does not use the test."
NONE = (
    "No trial beats ridge on lags, the best baseline, beyond chance (p = 0.41, 30 trials): "
    "trial 7, the best one, has relative MSE 0.944 against 0.971."
)
FOUND = (
    "Some trial beats ridge on lags, the best baseline, beyond chance (p = 0.012, 30 trials): "
    "trial 7, the best one, has relative MSE 0.944 against 0.971."
)


def test_without_skill_it_says_so() -> None:
    assert str(judged(0.41)) == f"{NONE} {SEALED}"
    assert not judged(0.41).claim


def test_with_skill_it_names_the_trial() -> None:
    assert str(judged(0.0123)) == f"{FOUND} {SEALED}"
    assert judged(0.0123).claim


CONFIRMS = (
    "On the opened test trial 7 beats ridge on lags, the best baseline on validation: relative MSE "
    "0.950 against 0.970 (p = 0.003). "
)
DOES_NOT = (
    "On the opened test trial 7 does not beat ridge on lags, the best baseline on validation, "
    "beyond chance: relative MSE {} against 0.970 (p = {}). "
)
ON_VALIDATION = {
    0.01: "On validation some trial beats ridge on lags beyond chance (p = 0.010, 30 trials): "
    "trial 7, the best one, has relative MSE 0.944 against 0.971.",
    0.5: "On validation no trial beats ridge on lags beyond chance (p = 0.50, 30 trials): trial 7, "
    "the best one, has relative MSE 0.944 against 0.971.",
}


@pytest.mark.parametrize("p", [0.01, 0.5])
@pytest.mark.parametrize(
    ("test", "said"),
    [
        (outcome(0.95, 0.003), CONFIRMS),
        (outcome(0.96, 0.3), DOES_NOT.format("0.960", "0.30")),
        (outcome(1.2, 0.999), DOES_NOT.format("1.200", "1.00")),
        (
            outcome(0.95, 0.003, drift=0.94, naive=0.945),
            f"{CONFIRMS}There drift is ahead of it with 0.940. ",
        ),
    ],
)
def test_the_opened_test_comes_first_whatever_it_says(
    p: float, test: OutcomeOnTest, said: str
) -> None:
    assert str(judged(p, test=test)) == said + ON_VALIDATION[p]


def test_a_test_that_cannot_be_scored_is_said_first() -> None:
    said = str(judged(0.5, why_not_scored="target must be positive"))
    assert said == (
        f"The opened test cannot be scored: target must be positive. {ON_VALIDATION[0.5]}"
    )


def test_one_baseline_is_not_called_the_best() -> None:
    alone = {"benchmark": "persistence", "benchmark_value": 1.0}
    said = str(judged(0.5, against={"persistence": ability(0.5)}, **alone))
    assert said.startswith("No trial beats persistence beyond chance (p = 0.50, 30 trials)")


def test_losses_of_any_unit_are_shown_by_their_digits() -> None:
    own = {"score": "mean_loss", "value": 12345.678, "benchmark_value": 23456.7}
    found = str(judged(0.01, **own))
    assert "has mean loss 1.235e+04 against 2.346e+04." in found
    assert "sealed" not in found  # another objective has no such test
    assert "has mean loss 0.01235 against 0.5." in str(
        judged(0.5, **own | {"value": 0.0123456, "benchmark_value": 0.5})
    )


def test_a_relative_mse_near_0_keeps_two_digits() -> None:
    near = judged(0.41, value=0.00461, benchmark_value=8.491e-06)
    assert "has relative MSE 0.0046 against 8.5e-06." in str(near)
    exact = judged(0.41, value=0.0, benchmark_value=0.01)
    assert "has relative MSE 0.000 against 0.010." in str(exact)


@pytest.mark.parametrize(
    ("value", "benchmark", "shown"),
    [
        (0.038269, 0.03846, "0.0383 against 0.0385"),
        (0.954001, 0.954012, "0.95400 against 0.95401"),
        (0.954, 0.954, "0.954 against 0.954"),
        (0.9540001, 0.9540002, "0.954 against 0.954"),
    ],
)
def test_values_that_differ_are_shown_apart(value: float, benchmark: float, shown: str) -> None:
    assert f"has relative MSE {shown}." in str(judged(0.5, value=value, benchmark_value=benchmark))
    test = replace(outcome(value, 0.5), benchmark_relative_mse=benchmark)
    assert f"beyond chance: relative MSE {shown} (p" in str(judged(0.5, test=test))


def test_another_metric_is_named_with_its_digits() -> None:
    own = {"score": "mae", "value": 0.0123456, "benchmark_value": 12.3456}
    assert str(judged(0.41, **own)).endswith(f"has MAE 0.01235 against 12.35. {SEALED}")
    test = replace(outcome(0.95, 0.003, drift=1.23456), score="mae", scores=(1.5, 1.25))
    found = judged(0.01, test=test, **own)
    assert str(found).startswith(
        "On the opened test trial 7 beats ridge on lags, the best baseline on validation: MAE 1.5 "
        "against 1.25 (p = 0.003). There drift is ahead of it with 1.235. On validation some trial"
    )
    document = found.document()
    assert (document["mae"], document["benchmark_mae"]) == (0.0123456, 12.3456)
    of_test = document["test"]
    assert (of_test["mae"], of_test["benchmark_mae"]) == (1.5, 1.25)
    assert (of_test["relative_mse"], of_test["benchmark_relative_mse"]) == (0.95, 0.97)


def test_few_origins_are_mentioned() -> None:
    said = "With 4 validation origins that do not overlap, a small gain would go unnoticed."
    few, many, found = (
        str(judged(p, against={"ridge on lags": ability(p, independent=count)}))
        for p, count in ((0.5, 4), (0.5, 50), (0.01, 4))
    )
    assert few.endswith(f"{said} {SEALED}")
    assert "overlap" not in many + found


@pytest.mark.parametrize(
    ("origins", "said"),
    [(1, "1 validation origin is too"), (13, "13 validation origins are too"), (14, None)],
)
def test_fewer_than_two_blocks_are_said_to_be_too_few(origins: int, said: str | None) -> None:
    """A block is of 7 origins here."""
    too_few = replace(ability(1.0, independent=1), origins=origins)
    words = str(judged(1.0, against={"ridge on lags": too_few}))
    assert (f"{said} few to claim anything." in words) == (said is not None)
    assert ("would go unnoticed" in words) == (said is None)


def test_trials_that_are_not_counted_are_named() -> None:
    said = str(judged(0.41, left_out="Not counted, trial 3: it has no losses."))
    assert said == f"{NONE} Not counted, trial 3: it has no losses. {SEALED}"


def test_one_trial_is_no_plural() -> None:
    one = {"ridge on lags": ability(0.6, alternatives=1)}
    assert "beyond chance (p = 0.60, 1 trial): " in str(judged(0.6, against=one))


def test_skill_is_claimed_below_the_level_as_it_is_printed() -> None:
    assert judged(0.0494).claim
    # 50 of 1001, printed as 0.050.
    assert not judged(50 / 1001).claim


def test_the_document_is_json_and_holds_what_the_words_say() -> None:
    sealed = json.loads(json.dumps(judged(0.0123).document(), allow_nan=False))
    assert sealed == {
        "claim": True,
        "p_value": 0.0123,
        "benchmark": "ridge on lags",
        "trials": 30,
        "origins": 265,
        "independent_origins": 200,
        "trial": 7,
        "relative_mse": 0.9437,
        "benchmark_relative_mse": 0.9712,
        "p_values": {"persistence": 0.001, "ridge on lags": 0.0123},
        "test": None,
        "why_not_scored": None,
    }
    same = DieboldMariano(statistic=-math.inf, p_value=0.0, mean_difference=-0.1)
    test = replace(outcome(0.95, 0.003), against_benchmark=same)
    opened = json.loads(json.dumps(judged(0.5, test=test).document(), allow_nan=False))
    assert not opened["claim"]
    assert opened["test"] == {
        "claim": True,
        "p_value": 0.0,
        "statistic": None,
        "origins": 265,
        "relative_mse": 0.95,
        "benchmark_relative_mse": 0.97,
    }


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (0.000999, "p < 0.001"),
        (0.001, "p = 0.001"),
        (0.0412, "p = 0.041"),
        (0.0949, "p = 0.095"),
        (0.41, "p = 0.41"),
        (1.0, "p = 1.00"),
    ],
)
def test_p_values_as_they_are_printed(p: float, shown: str) -> None:
    assert format_p(p) == shown
