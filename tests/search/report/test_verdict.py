"""What the verdict says, for every way a study can end."""

from typing import Any

import pytest

from foretune.search.report.significance import DieboldMariano, SPAResult
from foretune.search.report.verdict import Finding, OutcomeOnTest, p_value, verdict


def ability(p: float, *, independent: int = 200, alternatives: int = 30) -> SPAResult:
    return SPAResult(
        p_value=p,
        origins=265,
        independent=independent,
        block=7,
        alternatives=alternatives,
    )


def outcome(relative_mse: float, p: float, *, baseline: float = 1.0) -> OutcomeOnTest:
    sign = -1.0 if relative_mse < 1 else 1.0
    return OutcomeOnTest(
        relative_mse=relative_mse,
        against_persistence=DieboldMariano(statistic=sign, p_value=p, mean_difference=sign),
        baseline_relative_mse=baseline,
    )


def finding(p: float, **others: Any) -> Finding:
    values: dict[str, Any] = {
        "trial": 7,
        "relative_mse": 0.9437,
        "skill": ability(p),
        "baseline": "persistence",
        "baseline_relative_mse": 1.0,
        "against_baseline": ability(p),
    }
    return Finding(**values | others)


def test_without_skill_it_says_so() -> None:
    assert verdict(finding(0.41)) == (
        "No trial beats the persistence forecast beyond chance (p = 0.41, 30 trials). "
        "This report left the test closed."
    )


def test_with_skill_it_names_the_trial() -> None:
    assert verdict(finding(0.0123)) == (
        "Trial 7 beats the persistence forecast beyond chance: its relative MSE is 0.944 on "
        "validation (p = 0.012 for the best of 30 trials). This report left the test closed."
    )


CONFIRMS = "The opened test confirms it: relative MSE 0.950, p = 0.003."
DOES_NOT = "The opened test does not confirm it: relative MSE"
NOR = "Nor does the winner, trial 7, on the opened test: relative MSE 1.200, p = 0.001."
YET = "Yet on the opened test the winner, trial 7, is better: relative MSE 0.900, p = 0.001."


@pytest.mark.parametrize(
    ("p", "test", "said"),
    [
        (0.01, outcome(0.95, 0.003), CONFIRMS),
        (0.01, outcome(0.99, 0.3), f"{DOES_NOT} 0.990, p = 0.30."),
        # Worse, and beyond chance: the small p-value is no confirmation.
        (0.01, outcome(1.2, 0.001), f"{DOES_NOT} 1.200, p = 0.001."),
        (0.5, outcome(1.2, 0.001), NOR),
        (0.5, outcome(0.9, 0.001), YET),
    ],
)
def test_the_opened_test_is_reported_whatever_it_says(
    p: float, test: OutcomeOnTest, said: str
) -> None:
    assert verdict(finding(p, test=test)).endswith(said)


def test_a_line_that_trains_nothing_and_does_as_well_is_named() -> None:
    others: dict[str, Any] = {"baseline": "drift", "baseline_relative_mse": 0.962}
    same = verdict(finding(0.01, against_baseline=ability(0.3), **others))
    assert (
        "But it cannot be told apart from drift, which needs no network (0.962, p = 0.30)." in same
    )
    better = verdict(finding(0.01, against_baseline=ability(0.02), **others))
    assert "It beats drift, which needs no network (0.962, p = 0.020) as well." in better
    others["baseline_relative_mse"] = 0.94
    behind = verdict(finding(0.01, against_baseline=ability(1.0), **others))
    assert "But it is behind drift, which needs no network (0.940, p = 1.00)." in behind
    # Where nothing is claimed, there is nothing to qualify.
    assert "drift" not in verdict(finding(0.41, against_baseline=ability(0.3), **others))


def test_few_origins_are_mentioned() -> None:
    said = "With 4 validation origins that do not overlap, a small gain would go unnoticed."
    assert said in verdict(finding(0.5, skill=ability(0.5, independent=4)))
    assert "overlap" not in verdict(finding(0.5, skill=ability(0.5, independent=50)))


def test_a_baseline_that_is_ahead_on_the_test_is_named() -> None:
    others = {"baseline": "drift", "against_baseline": ability(0.01)}
    ahead = outcome(0.95, 0.003, baseline=0.94)
    said = verdict(finding(0.01, test=ahead, **others))
    assert said.endswith("There drift is ahead of it with 0.940.")
    behind = outcome(0.95, 0.003, baseline=0.96)
    assert "ahead" not in verdict(finding(0.01, test=behind, **others))


def test_one_trial_is_no_plural() -> None:
    one = ability(0.6, alternatives=1)
    assert verdict(finding(0.6, skill=one)).startswith(
        "No trial beats the persistence forecast beyond chance (p = 0.60, 1 trial)."
    )


def test_skill_is_claimed_below_the_level_as_it_is_printed() -> None:
    assert finding(0.0494).claims_skill
    # 50 of 1001, printed as 0.050.
    assert not finding(50 / 1001).claims_skill


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
    assert p_value(p) == shown
