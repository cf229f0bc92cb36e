"""The verdict on a study, in words: is its winner more than luck?"""

from dataclasses import dataclass

import optuna

from foretune.datasets.common.errors import ForetuneError
from foretune.search.report.access_log import format_access_log, read_access_log
from foretune.search.report.evidence import scored_trials, skill_of
from foretune.search.report.significance import DieboldMariano, SPAResult
from foretune.search.study.baselines import stored_baselines
from foretune.search.study.best import best_so_far
from foretune.search.study.spec import OBJECTIVE_NAME, required_spec
from foretune.search.study.trials import stored_numbers

# Skill is claimed below this p-value.
SIGNIFICANCE = 0.05

# With fewer origins that do not overlap, even a gain of a fifth is seldom told from luck.
_MANY_ORIGINS = 50


@dataclass(frozen=True, kw_only=True)
class OutcomeOnTest:
    """What the opened test said of the winner.

    ``against_persistence`` is Diebold and Mariano's test of its losses; ``baseline_relative_mse``
    is that of the baseline which was the best one on validation.
    """

    relative_mse: float
    against_persistence: DieboldMariano
    baseline_relative_mse: float

    @property
    def is_better(self) -> bool:
        """Whether the winner beats persistence there, beyond chance."""
        found = self.against_persistence
        return found.statistic < 0 and is_significant(found.p_value)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the verdict is based on.

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
        return is_significant(self.skill.p_value)


def is_significant(p: float) -> bool:
    """Whether a p-value, as it is printed, supports a claim."""
    return round(p, 3) < SIGNIFICANCE


def verdict(finding: Finding) -> str:
    """Return the verdict: one sentence on the search, then what qualifies it."""
    skill = finding.skill
    sentences = [
        format_skill(skill, finding.trial, finding.relative_mse),
        _on_the_best_baseline(finding),
        _on_test(finding),
    ]
    if skill.independent < _MANY_ORIGINS:
        origins = "origin" if skill.independent == 1 else "origins that do not overlap"
        sentences.append(
            f"With {skill.independent} validation {origins}, a small gain would go unnoticed."
        )
    return " ".join(filter(None, sentences))


def format_skill(skill: SPAResult, trial: int, relative_mse: float) -> str:
    """Say whether the search has found a trial that beats persistence.

    Args:
        skill: the test of all completed trials against persistence.
        trial: number of the best one.
        relative_mse: its value.
    """
    trials = f"{skill.alternatives} trial{'s' if skill.alternatives != 1 else ''}"
    if not is_significant(skill.p_value):
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
    baseline = (
        f"{finding.baseline}, which needs no network ({finding.baseline_relative_mse:.3f}, "
        f"{p_value(against.p_value)})"
    )
    if is_significant(against.p_value):
        return f"It beats {baseline} as well."
    if finding.baseline_relative_mse < finding.relative_mse:
        return f"But it is behind {baseline}."
    return f"But it cannot be told apart from {baseline}."


def _on_test(finding: Finding) -> str:
    test = finding.test
    if finding.why_not_scored is not None:
        return f"The opened test cannot be scored: {finding.why_not_scored}."
    if test is None:
        return "This report left the test closed."
    found = p_value(test.against_persistence.p_value)
    outcome = f"relative MSE {test.relative_mse:.3f}, {found}"
    if finding.claims_skill:
        confirms = "confirms" if test.is_better else "does not confirm"
        text = f"The opened test {confirms} it: {outcome}."
    elif test.is_better:
        text = f"Yet on the opened test the winner, trial {finding.trial}, is better: {outcome}."
    else:
        text = f"Nor does the winner, trial {finding.trial}, on the opened test: {outcome}."
    if finding.baseline != "persistence" and test.baseline_relative_mse < test.relative_mse:
        text += f" There {finding.baseline} is ahead of it with {test.baseline_relative_mse:.3f}."
    return text


def p_value(p: float) -> str:
    """Return a p-value as it is printed: "p = 0.041", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2f}" if p >= 0.095 else f"p = {p:.3f}"


def caveat(study: optuna.Study) -> str:
    """Say in one paragraph what the best value is, and what it is not."""
    better, scored = better_than_persistence(study)
    return (
        f"{verdict_so_far(study)} {_baseline_ahead(study)}{better} of {scored} trials are below 1 "
        "(persistence) on validation, but the winner was chosen on the same rows that it is scored "
        f"on, so its value flatters it. {openings_of_test(study)} `foretune report` says more."
    )


def _baseline_ahead(study: optuna.Study) -> str:
    """Name the best baseline where it is ahead of the best trial on validation."""
    baselines = {name: found[OBJECTIVE_NAME] for name, found in stored_baselines(study).items()}
    name, best = min(baselines, key=baselines.__getitem__, default=""), best_so_far(study)
    if best is None or best.value is None or not baselines or baselines[name] >= best.value:
        return ""
    return f"But {name}, which needs no network, is ahead of it with {baselines[name]:.3f}. "


# Its name in the first version.
caution = caveat


def better_than_persistence(study: optuna.Study) -> tuple[int, int]:
    """Return how many trials are below 1 on validation, and how many have a value."""
    values = stored_numbers(study, OBJECTIVE_NAME)
    return sum(value < 1 for value in values), len(values)


def verdict_so_far(study: optuna.Study) -> str:
    """Say whether the completed trials have beaten persistence beyond chance."""
    if best_so_far(study) is None:
        return "No trial is complete yet."
    try:
        scored = scored_trials(study)
        skill = skill_of(scored, required_spec(study).split)
    except ForetuneError as error:
        return f"There is no verdict: {error}."
    best = scored.best
    assert best.value is not None  # a scored trial has one
    return f"{format_skill(skill, best.number, best.value)} {scored.left_out_text}".rstrip()


def openings_of_test(study: optuna.Study) -> str:
    """Say how often the study's test has been opened."""
    log = read_access_log(study, prices=required_spec(study).prices.digest)
    return format_access_log(log, study.study_name)
