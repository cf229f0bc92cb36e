"""What a study's trials say so far about its winner, in words."""

import optuna

from foretune.datasets.common.errors import ForetuneError
from foretune.search.report.evidence import skill_of
from foretune.search.report.openings import format_openings, openings
from foretune.search.report.scored_trials import scored_trials
from foretune.search.report.verdict import format_skill
from foretune.search.study.best import best_so_far
from foretune.search.study.spec import OBJECTIVE_NAME, required_spec
from foretune.search.study.stored_numbers import stored_numbers


def caveat(study: optuna.Study) -> str:
    """Say in one paragraph what the best value is, and what it is not."""
    better, judged = better_than_persistence(study)
    return (
        f"{verdict_so_far(study)} {better} of {judged} trials are below 1 (persistence) on "
        "validation, but the winner was chosen on the same days that it is scored on, so its value "
        f"flatters it. {openings_of_test(study)} `foretune report` says more."
    )


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
        judged = scored_trials(study)
        skill = skill_of(judged, required_spec(study).split)
    except ForetuneError as error:
        return f"There is no verdict: {error}."
    best = judged.best
    assert best.value is not None  # a judged trial has one
    said = format_skill(skill, best.number, best.value)
    return f"{said} {judged.format_left_out}".rstrip()


def openings_of_test(study: optuna.Study) -> str:
    """Say how often the study's test has been opened."""
    digest = required_spec(study).prices.digest
    return format_openings(openings(study, prices=digest), study.study_name)
