"""Studies side by side: their bests, how sure they are, and where their configs differ."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial
from rich.table import Table
from rich.text import Text

from foretune.datasets.common.errors import ConfigError, ForetuneError, printable
from foretune.search.report.evidence import skill_of
from foretune.search.report.scored_trials import ScoredTrials, scored_trials
from foretune.search.report.verdict import p_value
from foretune.search.study.best import best_trial, naming, trial_config
from foretune.search.study.spec import StudySpec, required_spec


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
    judged = [_judged(study) for study in studies]
    best = [
        best_trial(study) if one is None else one.best
        for study, one in zip(studies, judged, strict=True)
    ]
    configs = [_config(study, trial) for study, trial in zip(studies, best, strict=True)]
    table = Table(title="studies side by side", title_justify="left", caption=comparability(specs))
    table.add_column("")
    for study in studies:
        table.add_column(Text(printable(study.study_name)))
    skills = [_skill(one, spec) for one, spec in zip(judged, specs, strict=True)]
    for name, values in {
        "best relative MSE (validation)": [f"{trial.value:.6f}" for trial in best],
        "some trial beats persistence": skills,
        "best trial": [str(trial.number) for trial in best],
        "trials": [str(len(study.get_trials(deepcopy=False))) for study in studies],
        "left out": ["" if one is None else one.format_left_out for one in judged],
        "prices": [printable(spec.prices.name) for spec in specs],
        "digest": [spec.prices.digest[:12] for spec in specs],
        "horizon, stride, folds": [
            f"{spec.split.horizon}, {spec.split.stride}, {spec.split.folds}" for spec in specs
        ],
    }.items():
        if any(values):
            table.add_row(name, *map(Text, values))
    table.add_section()
    for name in configs[0]:
        shown = [str(config[name]) for config in configs]
        if len(set(shown)) > 1:
            table.add_row(name, *map(Text, shown))
    return table


def comparability(specs: Sequence[StudySpec]) -> str:
    """Say whether values of studies with these specs may be compared."""
    days = {(spec.prices.digest, *dict(spec.split).values()) for spec in specs}
    if len(days) == 1:
        return "The same prices and the same origins: the values compare."
    return "Other prices or other origins: the values do not compare."


def _judged(study: optuna.Study) -> ScoredTrials | None:
    try:
        return scored_trials(study)
    except ForetuneError:
        return None


def _config(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    with naming(study):
        return trial_config(trial).model_dump(mode="json")


def _skill(judged: ScoredTrials | None, spec: StudySpec) -> str:
    return "not known" if judged is None else p_value(skill_of(judged, spec.split).p_value)
