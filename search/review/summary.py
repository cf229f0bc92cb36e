"""What a study came to, as an object that a terminal and a notebook show well."""

from dataclasses import dataclass
from html import escape

import optuna

from foretune.datasets.common.html_table import html_table
from foretune.search.report.text_table import as_text
from foretune.search.report.verdict_so_far import caveat
from foretune.search.review.summary_rows import Row, config_rows, result_rows, rows_table


@dataclass(frozen=True, kw_only=True, repr=False)
class StudySummary:
    """A study's best trial beside persistence, its config, and what it is worth, as they were.

    ``result`` and ``config`` are rows of a name and a value; ``caveat`` is the verdict so far.
    """

    name: str
    result: tuple[Row, ...]
    config: tuple[Row, ...]
    caveat: str

    def __repr__(self) -> str:
        return as_text(rows_table(self.name, self.result, self.config), self.caveat)

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        table = html_table((*self.result, *self.config), caption=f"study {self.name}")
        return f"{table}<p>{escape(self.caveat)}</p>"


def summary(study: optuna.Study) -> StudySummary:
    """Return what ``study`` came to so far; print it, or leave it as a notebook's last line.

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
    return StudySummary(
        name=study.study_name,
        result=tuple(result_rows(study)),
        config=tuple(config_rows(study)),
        caveat=caveat(study),
    )
