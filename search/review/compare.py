"""Studies side by side: their best trials, how sure they are, and where their configs differ."""

from collections.abc import Sequence

import optuna
from rich.table import Table

from foretune.datasets.common.errors import ConfigError, ForetuneError, printable
from foretune.models.forecasts.metrics import METRICS
from foretune.search.report.tables import rich_table
from foretune.search.report.verdict import format_p, verdict
from foretune.search.study.best import best_trial, errors_naming, rank, trial_config
from foretune.search.study.spec import StudySpec, format_value, required_spec


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
    labels = {METRICS[spec.metric].label for spec in specs}
    same = labels.pop() if len(labels) == 1 else None
    columns = [_column(study, spec, same) for study, spec in zip(studies, specs, strict=True)]
    facts, configs = zip(*columns, strict=True)
    rows = {(spec.prices.digest, *dict(spec.split).values()) for spec in specs}
    what = "prices" if all(spec.prices.what == "prices" for spec in specs) else "data"
    are_comparable = len(rows) == 1 and same is not None
    different = f"Different {what} or origins" if same is not None else "Different metrics"
    return rich_table(
        "studies side by side",
        [row for row in _rows(facts) if any(row[1:])],
        [row for row in _rows(configs) if len(set(row[1:])) > 1],
        header=["", *(printable(study.study_name) for study in studies)],
        caption=f"The same {what} and the same origins: the values are comparable."
        if are_comparable
        else f"{different}: the values are not comparable.",
    )


def _column(
    study: optuna.Study, spec: StudySpec, label: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is known of a study, and its best config, by the names of rows.

    ``label`` is what all values are; None where they are different metrics.
    """
    split = spec.split
    try:
        found = verdict(study)
        best, left_out = study.get_trials(deepcopy=False)[found.trial], found.left_out
        benchmark, skill = found.benchmark, format_p(found.p_value)
    except ForetuneError:
        best, left_out, benchmark, skill = best_trial(study), "", "not known", "not known"
    with errors_naming(study):
        config = trial_config(best).model_dump(mode="json")
    value = format_value(rank(best)[0], spec.metric, 6)
    if label is None:
        value = f"{METRICS[spec.metric].label} {value}"
    facts = {
        f"best {label or 'value'} (validation)": value,
        "best baseline": benchmark,
        "some trial beats it": skill,
        "best trial": str(best.number),
        "trials": str(len(study.get_trials(deepcopy=False))),
        "left out": left_out,
        "data": printable(spec.prices.name),
        "digest": spec.prices.digest[:12],
        "horizon, stride, folds": f"{split.horizon}, {split.stride}, {split.folds}",
    }
    return facts, {name: str(value) for name, value in config.items()}


def _rows(columns: Sequence[dict[str, str]]) -> list[tuple[str, ...]]:
    return [(name, *(column[name] for column in columns)) for name in columns[0]]
