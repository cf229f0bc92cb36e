"""The table that ends a study on the terminal."""

from collections import Counter
from collections.abc import Iterable

import optuna
from rich.table import Table
from rich.text import Text

from foretune.datasets.common.errors import printable
from foretune.search.study.best import best_config, best_trial
from foretune.search.study.spec import OBJECTIVE_NAME
from foretune.search.study.stored_numbers import stored_number, stored_numbers
from foretune.search.study.target import counted_trials

# A name and its value.
Row = tuple[str, str]


def summary_table(study: optuna.Study) -> Table:
    """Return the best config, its value beside persistence, and the trials by state.

    Raises:
        ConfigError: no trial is complete.
    """
    return rows_table(study.study_name, result_rows(study), config_rows(study))


def rows_table(name: str, *sections: Iterable[Row]) -> Table:
    """Return sections of rows as the table of the study ``name``."""
    # Text, because rich would read marks such as [b] in a string as its own.
    table = Table(title=Text(printable(f"study {name}")), title_justify="left", show_header=False)
    for section in sections:
        for row in section:
            table.add_row(*map(Text, row))
        table.add_section()
    return table


def result_rows(study: optuna.Study) -> list[Row]:
    """Return the best value beside persistence, the trials by state, and what was compiled.

    Raises:
        ConfigError: no trial is complete.
    """
    trial = best_trial(study)
    loaded = _total(study, "cache_hits")
    return [
        ("best trial", str(trial.number)),
        (f"its {OBJECTIVE_NAME} (validation)", f"{trial.value:.6f}"),
        ("persistence", "1.000000"),
        ("best epoch", f"{stored_number(trial, 'best_epoch') or 'not stored'}"),
        ("trials by state", states(study)),
        ("programs compiled", str(_total(study, "compiles") - loaded)),
        ("programs from the cache", str(loaded)),
    ]


def config_rows(study: optuna.Study) -> list[Row]:
    """Return the best config, field by field.

    Raises:
        ConfigError: no trial is complete.
    """
    config = best_config(study).model_dump(mode="json")
    return [(name, str(value)) for name, value in config.items()]


def states(study: optuna.Study) -> str:
    """Count the trials of ``study`` by state, in words."""
    counts = Counter(trial.state.name.lower() for trial in counted_trials(study))
    return ", ".join(f"{count} {state}" for state, count in counts.most_common())


def _total(study: optuna.Study, attribute: str) -> int:
    return int(sum(stored_numbers(study, attribute)))
