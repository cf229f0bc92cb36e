"""Studies side by side: their bests, how sure they are, and where their configs differ."""

from collections.abc import Sequence

import optuna
from rich.table import Table

from foretune.datasets.errors import ConfigError, ForetuneError
from foretune.search.best import best_trial, trial_config
from foretune.search.evidence import skill_so_far
from foretune.search.spec import StudySpec, required_spec
from foretune.search.verdict import p_value


def comparison_table(studies: Sequence[optuna.Study]) -> Table:
    """Return one column a study: its best value, its verdict's p-value, its data and its config.

    Of the configs only the values that differ are shown.

    Args:
        studies: at least two, each with a complete trial.

    Raises:
        ConfigError: fewer than two, or one without a complete trial.

    Example:
        >>> Console().print(comparison_table([load_study("a"), load_study("b")]))
    """
    if len(studies) < 2:
        raise ConfigError(f"studies to compare must be at least 2, but got {len(studies)}")
    specs = [required_spec(study) for study in studies]
    best = [best_trial(study) for study in studies]
    configs = [trial_config(trial).model_dump(mode="json") for trial in best]
    table = Table(title="studies side by side", title_justify="left", caption=caveat(specs))
    table.add_column("")
    for study in studies:
        table.add_column(study.study_name)
    for name, values in {
        "best relative MSE (validation)": [f"{trial.value:.6f}" for trial in best],
        "some trial beats persistence": [_skill(study) for study in studies],
        "best trial": [str(trial.number) for trial in best],
        "trials": [str(len(study.get_trials(deepcopy=False))) for study in studies],
        "prices": [spec.prices.name for spec in specs],
        "digest": [spec.prices.digest[:12] for spec in specs],
        "horizon, stride, folds": [
            f"{spec.split.horizon}, {spec.split.stride}, {spec.split.folds}" for spec in specs
        ],
    }.items():
        table.add_row(name, *values)
    table.add_section()
    for name in configs[0]:
        shown = [str(config[name]) for config in configs]
        if len(set(shown)) > 1:
            table.add_row(name, *shown)
    return table


def caveat(specs: Sequence[StudySpec]) -> str:
    """Say whether values of studies with these specs may be compared."""
    days = {(spec.prices.digest, *dict(spec.split).values()) for spec in specs}
    if len(days) == 1:
        return "The same prices and the same origins: the values compare."
    return "Other prices or other origins: the values do not compare."


def _skill(study: optuna.Study) -> str:
    try:
        return p_value(skill_so_far(study).p_value)
    except ForetuneError:
        return "not known"
