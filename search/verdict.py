"""The verdict on a study, in words: is its winner more than luck?"""

from dataclasses import dataclass

from foretune.search.significance import DieboldMariano, SuperiorAbility

# Skill is claimed below this p-value.
SIGNIFICANCE = 0.05

# With fewer origins that do not overlap, even a gain of a fifth is seldom told from luck, and
# resampling them finds too little variety.
_FEW_ORIGINS = 50


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """What the opened test said of the winner: its error, and Diebold and Mariano's test of it."""

    __test__ = False  # pytest: not a test case

    relative_mse: float
    against_persistence: DieboldMariano

    @property
    def is_better(self) -> bool:
        """Whether the winner beats persistence there, beyond chance."""
        found = self.against_persistence
        return found.statistic < 0 and found.p_value < SIGNIFICANCE


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the verdict is spoken on.

    ``skill`` is the test of all completed trials against persistence; ``baseline`` the best
    baseline's name and relative MSE, and ``against_baseline`` the same test against it. ``test``
    is None while the test is sealed.
    """

    trial: int
    relative_mse: float
    skill: SuperiorAbility
    baseline: str
    baseline_relative_mse: float
    against_baseline: SuperiorAbility
    test: TestOutcome | None = None

    @property
    def claims_skill(self) -> bool:
        """Whether some trial is said to beat persistence."""
        return self.skill.p_value < SIGNIFICANCE


def verdict(finding: Finding) -> str:
    """Return the verdict: one sentence on the search, then what qualifies it."""
    sentences = (
        skill_in_words(finding.skill, finding.trial, finding.relative_mse),
        _on_the_best_baseline(finding),
        _on_test(finding),
        _on_few_origins(finding),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def skill_in_words(skill: SuperiorAbility, trial: int, relative_mse: float) -> str:
    """Say whether the search has found a trial that beats persistence.

    Args:
        skill: the test of all completed trials against persistence.
        trial: number of the best one.
        relative_mse: its value.
    """
    trials = f"{skill.alternatives} trial{'s' if skill.alternatives != 1 else ''}"
    if skill.p_value >= SIGNIFICANCE:
        return (
            f"No trial beats the persistence forecast beyond chance ({p_value(skill.p_value)}, "
            f"{trials})."
        )
    return (
        f"Trial {trial} beats the persistence forecast beyond chance: its relative MSE is "
        f"{relative_mse:.3f} on validation ({p_value(skill.p_value)} for the best of {trials})."
    )


def _on_the_best_baseline(finding: Finding) -> str:
    if finding.baseline == "persistence":
        return ""
    shown = f"{finding.baseline}, which trains nothing ({finding.baseline_relative_mse:.3f}"
    against = p_value(finding.against_baseline.p_value)
    if finding.against_baseline.p_value < SIGNIFICANCE:
        return f"It beats {shown}, {against}) as well." if finding.claims_skill else ""
    if finding.claims_skill:
        return f"But it is not told apart from {shown}, {against})."
    return ""


def _on_test(finding: Finding) -> str:
    if finding.test is None:
        return "The test is sealed."
    shown = (
        f"relative MSE {finding.test.relative_mse:.3f}, "
        f"{p_value(finding.test.against_persistence.p_value)}"
    )
    if finding.claims_skill and finding.test.is_better:
        return f"The test, opened, confirms it: {shown}."
    if finding.claims_skill:
        return f"The test, opened, does not confirm it: {shown}."
    if finding.test.is_better:
        return f"Yet on the opened test the winner, trial {finding.trial}, is better: {shown}."
    return f"Nor does the winner, trial {finding.trial}, on the opened test: {shown}."


def _on_few_origins(finding: Finding) -> str:
    count = finding.skill.independent
    if count >= _FEW_ORIGINS:
        return ""
    weak = "p-values come out too small" if finding.claims_skill else "a small gain goes unnoticed"
    return f"With only {count} origins that do not overlap, {weak}."


def p_value(p: float) -> str:
    """Return a p-value as it is printed: "p = 0.041", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2f}" if p >= 0.095 else f"p = {p:.3f}"
