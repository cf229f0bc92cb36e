"""The table that ends a study on the terminal."""

from collections import Counter

import optuna
from rich.table import Table

from foretune.datasets.errors import ForetuneError
from foretune.search.best import best_so_far, best_trial, trial_config
from foretune.search.evidence import skill_so_far
from foretune.search.openings import openings, openings_in_words
from foretune.search.spec import OBJECTIVE_NAME, required_spec
from foretune.search.verdict import skill_in_words


def summary_table(study: optuna.Study) -> Table:
    """Return the best config, its value beside persistence, and the trials by state.

    Raises:
        ConfigError: no trial is complete.
    """
    trial = best_trial(study)
    table = Table(title=f"study {study.study_name}", title_justify="left", show_header=False)
    table.add_row("best trial", str(trial.number))
    table.add_row(f"its {OBJECTIVE_NAME} (validation)", f"{trial.value:.6f}")
    table.add_row("persistence", "1.000000")
    table.add_row("best epoch", str(trial.user_attrs["best_epoch"]))
    table.add_row("trials by state", states(study))
    loaded = _total(study, "cache_hits")
    table.add_row("programs compiled", str(_total(study, "compiles") - loaded))
    table.add_row("programs from the cache", str(loaded))
    table.add_section()
    for name, value in trial_config(trial).model_dump(mode="json").items():
        table.add_row(name, str(value))
    return table


def caution(study: optuna.Study) -> str:
    """Say in one paragraph what the best value is, and what it is not."""
    trials = [t for t in study.get_trials(deepcopy=False) if OBJECTIVE_NAME in t.user_attrs]
    beaten = sum(t.user_attrs[OBJECTIVE_NAME] < 1 for t in trials)
    return (
        f"{verdict_so_far(study)} {beaten} of {len(trials)} trials are below 1 (persistence) on "
        "validation, but the winner was chosen on the same days that it is scored on, so its value "
        f"flatters it. {openings_of_test(study)} `foretune report` says more."
    )


def verdict_so_far(study: optuna.Study) -> str:
    """Say whether the completed trials have beaten persistence beyond chance."""
    best = best_so_far(study)
    if best is None or best.value is None:
        return "No trial is complete yet."
    try:
        return skill_in_words(skill_so_far(study), best.number, best.value)
    except ForetuneError as error:
        return f"There is no verdict: {error}."


def openings_of_test(study: optuna.Study) -> str:
    """Say how often the study's test has been opened."""
    digest = required_spec(study).prices.digest
    return openings_in_words(openings(study, prices=digest), study.study_name)


def states(study: optuna.Study) -> str:
    """Count the trials of ``study`` by state, in words."""
    counts = Counter(trial.state.name.lower() for trial in study.get_trials(deepcopy=False))
    return ", ".join(f"{count} {state}" for state, count in counts.most_common())


def _total(study: optuna.Study, attribute: str) -> int:
    return sum(t.user_attrs.get(attribute, 0) for t in study.get_trials(deepcopy=False))
