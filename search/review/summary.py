"""What a study has found: a table for a terminal, and an object that a notebook shows well."""

from dataclasses import dataclass
from html import escape

import optuna
from rich.table import Table

from foretune.datasets.common.html_table import html_table
from foretune.models.config import TrialConfig
from foretune.search.report.tables import as_text, rich_table
from foretune.search.report.verdict import caveat
from foretune.search.study.baselines import stored_baselines
from foretune.search.study.best import best_config, best_trial, rank
from foretune.search.study.remarks import ridge_value, training_remarks
from foretune.search.study.spec import OBJECTIVE_NAME, StudySpec, format_value, study_metric
from foretune.search.study.trials import format_states, stored_number, stored_numbers

_NEXT = (
    "make_report(study) says more and leaves the test sealed; when everything is decided, "
    "make_report(study, open_test=True) opens it once."
)

# What every config is known by, and what the others have where nothing is said.
_ALWAYS = ("cell", "units", "unroll_length", "head", "scaling", "learning_rate", "dropout")
_DEFAULTS = TrialConfig().model_dump(mode="json")

# A name and its value.
Row = tuple[str, str]


@dataclass(frozen=True, kw_only=True, repr=False)
class StudySummary:
    """A study's best trial beside the baselines, its config, and what it is worth, as they were.

    ``result`` and ``config`` are rows of a name and a value; ``caveat`` is the verdict so far.
    """

    name: str
    result: tuple[Row, ...]
    config: tuple[Row, ...]
    caveat: str

    @property
    def caution(self) -> str:
        """The caveat, by its name in the first version."""
        return self.caveat

    def __repr__(self) -> str:
        return as_text(rich_table(f"study {self.name}", self.result, self.config), self.caveat)

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        table = html_table((*self.result, *self.config), caption=f"study {self.name}")
        return f"{table}<p>{escape(self.caveat)}</p>"


def summary(study: optuna.Study) -> StudySummary:
    """Return what ``study`` has found so far; print it, or leave it as a notebook's last line.

    Args:
        study: a study of :func:`run_study`.

    Raises:
        ConfigError: no trial is complete, or foretune did not make the study.

    Example:
        >>> summary(study)
        study quickstart
        ┌───────────────────────────────┬───────────────────────┐
        │ best trial                    │ 0                     │
        ...
    """
    result, config = _rows(study)
    remarks = [f"{remark}." for remark in training_remarks(best_trial(study))]
    said = " ".join([caveat(study), *remarks, _NEXT])
    return StudySummary(name=study.study_name, result=result, config=config, caveat=said)


def summary_table(study: optuna.Study) -> Table:
    """Return the best config, its value beside the baselines, and the trials by state.

    Raises:
        ConfigError: no trial is complete.
    """
    return rich_table(f"study {study.study_name}", *_rows(study))


def _rows(study: optuna.Study) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    """Return what the study has found, and the best trial's config."""
    trial, config = best_trial(study), best_config(study).model_dump(mode="json")
    compiled, loaded = (int(sum(stored_numbers(study, n))) for n in ("compiles", "cache_hits"))
    ridge = ridge_value(trial)
    best_epoch = stored_number(trial, "best_epoch")
    metric, spec = study_metric(study), StudySpec.stored(study)
    baselines = stored_baselines(study, metric)
    if metric == OBJECTIVE_NAME and not baselines:
        baselines = {"persistence": {OBJECTIVE_NAME: 1.0}}
    values = {f"its {metric} (validation)": rank(trial)[0]}
    values |= {} if ridge is None else {"its ridge alone": ridge}
    values |= {name: metrics[metric] for name, metrics in baselines.items()}
    count = 1 if spec is None else spec.prices.series_count
    several = (("series, over which values are means", f"{count:,}"),) if count > 1 else ()
    result = (
        ("best trial", str(trial.number)),
        *several,
        *((name, format_value(value, metric, 6)) for name, value in values.items()),
        ("best epoch", "not stored" if best_epoch is None else f"{best_epoch}"),
        ("trials by state", format_states(study)),
        ("programs compiled", str(compiled - loaded)),
        ("programs from the cache", str(loaded)),
    )
    shown = tuple(
        (name, str(value))
        for name, value in config.items()
        if name in (*_ALWAYS, *trial.params) or value != _DEFAULTS[name]
    )
    return result, (*shown, ("everything else", "by default"))
