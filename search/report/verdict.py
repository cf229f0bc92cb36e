"""The verdict on a study, in words: is its winner more than luck?"""

from dataclasses import dataclass

from foretune.search.report.significance import DieboldMariano, SPAResult

# Skill is claimed below this p-value.
SIGNIFICANCE = 0.05

# With fewer origins that do not overlap nothing is claimed: resampling a handful finds too little
# variety. On random walks 3 such origins made a false claim in one study of five, 7 in one of
# eleven, 15 in one of twenty, as many as are meant.
ENOUGH_ORIGINS = 15

# With fewer, even a gain of a fifth is seldom told from luck.
_MANY_ORIGINS = 50


@dataclass(frozen=True, kw_only=True)
class OutcomeOnTest:
    """What the opened test said of the winner.

    ``against_persistence`` is Diebold and Mariano's test of its losses, on ``independent`` origins
    that do not overlap; ``baseline_relative_mse`` is that of the baseline which was the best one
    on validation.
    """

    relative_mse: float
    against_persistence: DieboldMariano
    independent: int
    baseline_relative_mse: float

    @property
    def is_better(self) -> bool:
        """Whether the winner beats persistence there, beyond chance."""
        found = self.against_persistence
        return found.statistic < 0 and is_significant(found.p_value, self.independent)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the verdict is spoken on.

    ``skill`` is the test of all completed trials against persistence; ``baseline`` the best
    baseline's name and relative MSE, and ``against_baseline`` the same test against it. ``test``
    is None where the report left the test closed, or where what it holds cannot be scored, for the
    reason ``why_not_scored``.
    """

    trial: int
    relative_mse: float
    skill: SPAResult
    baseline: str
    baseline_relative_mse: float
    against_baseline: SPAResult
    test: OutcomeOnTest | None = None
    why_not_scored: str | None = None

    @property
    def claims_skill(self) -> bool:
        """Whether some trial is said to beat persistence."""
        return is_significant(self.skill.p_value, self.skill.independent)


def is_significant(p: float, independent: int) -> bool:
    """Whether a p-value, as it is printed, from so many independent origins supports a claim."""
    return round(p, 3) < SIGNIFICANCE and independent >= ENOUGH_ORIGINS


def verdict(finding: Finding) -> str:
    """Return the verdict: one sentence on the search, then what qualifies it."""
    sentences = (
        format_skill(finding.skill, finding.trial, finding.relative_mse),
        _on_the_best_baseline(finding),
        _on_test(finding),
        _on_few_origins(finding.skill),
    )
    return " ".join(sentence for sentence in sentences if sentence)


def format_skill(skill: SPAResult, trial: int, relative_mse: float) -> str:
    """Say whether the search has found a trial that beats persistence.

    Args:
        skill: the test of all completed trials against persistence.
        trial: number of the best one.
        relative_mse: its value.
    """
    trials = f"{skill.alternatives} trial{'s' if skill.alternatives != 1 else ''}"
    if skill.independent < ENOUGH_ORIGINS:
        return (
            f"There are too few forecast origins to tell skill from luck: {skill.independent} on "
            f"validation that do not overlap, and it takes {ENOUGH_ORIGINS}."
        )
    if not is_significant(skill.p_value, skill.independent):
        return (
            f"No trial beats the persistence forecast beyond chance ({p_value(skill.p_value)}, "
            f"{trials})."
        )
    return (
        f"Trial {trial} beats the persistence forecast beyond chance: its relative MSE is "
        f"{relative_mse:.3f} on validation ({p_value(skill.p_value)} for the best of {trials})."
    )


def _on_the_best_baseline(finding: Finding) -> str:
    if finding.baseline == "persistence" or not finding.claims_skill:
        return ""
    against = finding.against_baseline
    shown = (
        f"{finding.baseline}, which trains nothing ({finding.baseline_relative_mse:.3f}, "
        f"{p_value(against.p_value)})"
    )
    if is_significant(against.p_value, against.independent):
        return f"It beats {shown} as well."
    if finding.baseline_relative_mse < finding.relative_mse:
        return f"But it is behind {shown}."
    return f"But it is not told apart from {shown}."


def _on_test(finding: Finding) -> str:
    test = finding.test
    if finding.why_not_scored is not None:
        return f"The test, opened, cannot be scored: {finding.why_not_scored}."
    if test is None:
        return "This report left the test closed."
    found = p_value(test.against_persistence.p_value)
    shown = f"relative MSE {test.relative_mse:.3f}, {found}"
    if test.independent < ENOUGH_ORIGINS:
        said = (
            f"The test, opened, has too few origins to judge by ({test.independent} that do not "
            f"overlap): relative MSE {test.relative_mse:.3f}."
        )
    elif finding.claims_skill:
        confirms = "confirms" if test.is_better else "does not confirm"
        said = f"The test, opened, {confirms} it: {shown}."
    elif test.is_better:
        said = f"Yet on the opened test the winner, trial {finding.trial}, is better: {shown}."
    else:
        said = f"Nor does the winner, trial {finding.trial}, on the opened test: {shown}."
    if finding.baseline != "persistence" and test.baseline_relative_mse < test.relative_mse:
        said += f" There {finding.baseline} is ahead of it with {test.baseline_relative_mse:.3f}."
    return said


def _on_few_origins(skill: SPAResult) -> str:
    if not ENOUGH_ORIGINS <= skill.independent < _MANY_ORIGINS:
        return ""
    return (
        f"With {skill.independent} validation origins that do not overlap, a small gain goes "
        "unnoticed."
    )


def p_value(p: float) -> str:
    """Return a p-value as it is printed: "p = 0.041", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2f}" if p >= 0.095 else f"p = {p:.3f}"
