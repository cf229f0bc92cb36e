"""Does foretune claim skill only where there is some? Simulated losses, and trained studies.

    python -m foretune.studies.calibration [--sets N] [--studies N] [--repeats N] [--only TEXT]
        [--out DIR] [--docs PAGE]

There are two kinds of cells, :mod:`foretune.studies.calibration_cells`. Simulated losses need no
network: they ask how often the verdict's tests make a claim where every trial is exactly as good as
the benchmark, and how often they find a trial that is better. Trained studies are run as any other
and judged by their verdict: on random walks, GARCH prices and the S&P 500, where a claim is a false
alarm, and on series with structure, whose skill should be found.

What is done is kept in DIR/outcomes.jsonl, and the same command goes on from there; after a change
of foretune's code, take another folder.
"""

import csv
import hashlib
import io
import json
import platform
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.progress import Progress

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.files import (
    make_folder,
    require_file_place,
    require_folder_place,
    write_atomically,
)
from foretune.models.forecasts.metrics import proportion_interval
from foretune.search.cli.main import run_command
from foretune.search.cli.options import POSITIVE
from foretune.search.engine.signals import stop_on_signal
from foretune.studies.calibration_cells import (
    LOSSES_CELLS,
    MARKET_CELLS,
    SKILL_CELLS,
    WALK_CELLS,
    Goal,
    LossesCell,
    StudyCell,
)

Cell = LossesCell | StudyCell
# A cell, and how many studies of it to run.
Plan = Sequence[tuple[Cell, int]]

# By these a line of the file is found again.
_KEYS = ("kind", "cell", "settings", "studies", "seed")


@dataclass(frozen=True, kw_only=True)
class Row:
    """How many studies of a cell count: claim something, or have a set that keeps all trials.

    Only trained studies have a ``relative_mse``, the mean of their best trials' on validation, and
    ``benchmarks``: how often each baseline was the best one there.
    """

    kind: str
    cell: str
    studies: int
    count: int
    goal: Goal
    seconds: float
    relative_mse: float | None = None
    benchmarks: str = ""

    @property
    def share(self) -> float:
        """The share of studies that count."""
        return self.count / self.studies

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        return proportion_interval(self.count, self.studies)

    @property
    def is_met(self) -> bool:
        """Whether the share meets the goal."""
        return self.goal.is_met(self.share)

    def line(self) -> str:
        """Return the row in words."""
        kind, cell, studies, count, share, goal, met, *_ = self.texts()
        return f"{kind}: {cell}: {count} of {studies}, {share}; goal: {goal}; met: {met}"

    def texts(self) -> list[str]:
        """Return the row as tables have it, in the order of :data:`HEADERS`."""
        low, high = (100 * end for end in self.interval)
        return [
            self.kind,
            self.cell,
            str(self.studies),
            str(self.count),
            f"{100 * self.share:.1f} % ({low:.1f} to {high:.1f})",
            str(self.goal),
            "yes" if self.is_met else "no",
            "" if self.relative_mse is None else f"{self.relative_mse:.3f}",
            self.benchmarks,
        ]

    def numbers(self) -> dict[str, object]:
        """Return the row as the CSV file has it."""
        low, high = self.interval
        return {
            "kind": self.kind,
            "cell": self.cell,
            "studies": self.studies,
            "count": self.count,
            "share": self.share,
            "share_low": low,
            "share_high": high,
            "goal": str(self.goal),
            "met": self.is_met,
            "relative_mse": "" if self.relative_mse is None else self.relative_mse,
            "benchmarks": self.benchmarks,
            "seconds": round(self.seconds, 1),
        }


HEADERS = (
    "kind",
    "cell",
    "studies",
    "claims",
    "share (95 %)",
    "goal",
    "met",
    "relative MSE",
    "best baseline",
)


class Outcomes:
    """What has been done, as JSON lines in a file that is always whole."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lines: dict[str, dict[str, Any]] = {}
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        for number, line in enumerate(text.splitlines(), 1):
            try:
                found = json.loads(line)
                self._lines[self._key(found)] = found
            except (ValueError, AttributeError):
                raise ConfigError(
                    f"{file} must have a JSON object in each line, but has none in line {number}; "
                    "delete the file to begin anew"
                ) from None

    def once(self, about: dict[str, Any], run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return what is kept of this, or run it and keep what it returns."""
        key = self._key(about)
        if key not in self._lines:
            self._lines[key] = about | run()
            lines = [json.dumps(line) + "\n" for line in self._lines.values()]
            write_atomically(self.file, "".join(lines))
        return self._lines[key]

    @staticmethod
    def _key(line: dict[str, Any]) -> str:
        return json.dumps([line.get(key) for key in _KEYS])


def plan(sets: int, studies: int, repeats: int, only: str = "") -> Plan:
    """Return the cells whose names contain ``only``, with the number of studies of each."""
    cells: list[tuple[Cell, int]] = [
        *((cell, sets) for cell in LOSSES_CELLS),
        *((cell, studies) for cell in WALK_CELLS),
        *((cell, repeats) for cell in (*MARKET_CELLS, *SKILL_CELLS)),
    ]
    found = [(cell, count) for cell, count in cells if only in str(cell)]
    if not found:
        raise ConfigError(f"--only must be part of the name of a cell, but got {only!r}")
    return found


def calibrate(
    planned: Plan, outcomes: Outcomes, on_study: Callable[[], None] = lambda: None
) -> Iterator[Row]:
    """Run what is planned and not done yet, cell by cell.

    Args:
        planned: of :func:`plan`.
        outcomes: where what is done is kept.
        on_study: called after each study.

    Raises:
        KeyboardInterrupt: the user stopped it; what is done is kept.
    """
    for cell, studies in planned:
        if isinstance(cell, LossesCell):
            yield _row_of_losses(cell, studies, outcomes, on_study)
        else:
            yield _row_of_studies(cell, studies, outcomes, on_study)


def _row_of_losses(
    cell: LossesCell, studies: int, outcomes: Outcomes, on_study: Callable[[], None]
) -> Row:
    about = _about(cell) | {"studies": studies}
    found = outcomes.once(about, lambda: cell.judge(studies, on_study))
    return Row(
        kind=cell.kind,
        cell=str(cell),
        studies=studies,
        count=found["count"],
        goal=cell.goal,
        seconds=found["seconds"],
    )


def _row_of_studies(
    cell: StudyCell, studies: int, outcomes: Outcomes, on_study: Callable[[], None]
) -> Row:
    judged = []
    for seed in range(studies):
        judged.append(outcomes.once(_about(cell) | {"seed": seed}, partial(cell.judge, seed)))
        on_study()
    names = Counter(outcome["benchmark"] for outcome in judged)
    return Row(
        kind=cell.kind,
        cell=str(cell),
        studies=studies,
        count=sum(outcome["claim"] for outcome in judged),
        goal=cell.goal,
        seconds=sum(outcome["seconds"] for outcome in judged),
        relative_mse=float(np.mean([outcome["relative_mse"] for outcome in judged])),
        benchmarks=", ".join(f"{name} {count}" for name, count in names.most_common()),
    )


def _about(cell: Cell) -> dict[str, Any]:
    """Return what an outcome of a cell is known by; other settings make it another."""
    settings = hashlib.sha256(repr(cell).encode()).hexdigest()[:12]
    return {"kind": cell.kind, "cell": str(cell), "settings": settings}


def as_csv(rows: Sequence[Row]) -> str:
    """Return the rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0].numbers()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row.numbers() for row in rows)
    return text.getvalue()


def as_page(rows: Sequence[Row], command: str) -> str:
    """Return the page of the documentation: what was run, by which command, and the table."""
    lines = ["| " + " | ".join(row.texts()) + " |" for row in rows]
    return _PAGE.format(
        command=command,
        versions=", ".join(f"{name} {version(name)}" for name in ("foretune", *_PACKAGES)),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        minutes=f"{sum(row.seconds for row in rows) / 60:.0f}",
        met=sum(row.is_met for row in rows),
        cells=len(rows),
        table="\n".join(["| " + " | ".join(HEADERS) + " |", _RULE, *lines]),
    )


_PACKAGES = ("numpy", "jax", "optuna")
_RULE = "| --- | --- | ---: | ---: | --- | --- | --- | ---: | --- |"
_PAGE = """\
# Calibration of the verdict

Does foretune claim skill only where there is some? This page is written by

```bash
{command}
```

with {versions} and Python {python} on {machine}, in {minutes} minutes of work. {met} of \
{cells} cells meet their goal.

**Simulated losses** train nothing. A set holds the losses of many trials by forecast origin. At \
the boundary every trial is exactly as good as the benchmark, and the test over all trials may \
make a claim in 5 % of the sets; other cells ask how often it finds one trial that is truly \
better, also beside one that has gone wrong at one origin, and how often the 90 % model \
confidence set keeps all trials where they are equally good.

**Trained studies** are run as any other, with small networks, and judged by `verdict(study)`; \
the test stays closed. They differ by the seed of sampler and weights, and by that of the series \
where it is simulated; those of one real series are therefore no independent ones.

*Claims* counts the studies that claim skill at 5 %, or whose confidence set keeps all trials; \
the share has Wilson's 95 % interval. A claim is one about the best baseline on validation, or \
about the one that is named. *Relative MSE* is the mean of the best trials' on validation, and \
*best baseline* how often each baseline was the best one there.

{table}

What to know when reading it:

- On series without structure the best of several baselines is a little ahead of persistence by \
luck, on the same days on which the trials are judged. To beat it beyond chance is harder than to \
beat persistence, so claims are fewer than 5 %. The cells against persistence, which is the true \
model of closes there, show the test alone.
- A day's middle price averages over the day, so its returns correlate although nothing can be \
earned by that. The last close is among the baselines of such a study, and knows it.
- Skill is found where there are origins enough. AR(1) returns with phi 0.2 can be forecast by \
1.5 % at a horizon of 5: of 4,000 days the true model alone is told from luck in about half of \
all series, of 20,000 days in nearly all. In `trend_season` with its default of 144 months there \
are two independent origins, of which nothing can be claimed.
"""


def _default(name: str, count: int, help_text: str) -> Callable[[Any], Any]:
    return click.option(name, type=POSITIVE, default=count, show_default=True, help=help_text)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@_default("--sets", 2000, "Sets of simulated losses a cell.")
@_default("--studies", 40, "Trained studies a cell without structure.")
@_default("--repeats", 10, "Trained studies a cell of the S&P 500 or with structure.")
@click.option("--only", default="", help="Run the cells alone whose name contains this.")
@click.option("--out", default="results/calibration", show_default=True, type=click.Path())
@click.option("--docs", type=click.Path(), help="Also write the table as a Markdown page.")
def calibration(
    sets: int, studies: int, repeats: int, only: str, out: str, docs: str | None
) -> None:
    """Count how often skill is claimed where there is none, and where there is some."""
    planned = plan(sets, studies, repeats, only)
    folder = require_folder_place(out)
    if docs is not None:
        require_file_place(docs)
    outcomes = Outcomes(make_folder(folder) / "outcomes.jsonl")
    rows = []
    try:
        with Progress(console=Console(stderr=True)) as bar, stop_on_signal() as stop:
            task = bar.add_task("studies", total=sum(count for _, count in planned))

            def on_study() -> None:
                bar.advance(task)
                stop.check_stop()

            for row in calibrate(planned, outcomes, on_study):
                rows.append(row)
                # Also what was kept.
                bar.update(task, completed=sum(one.studies for one in rows))
                click.echo(row.line())
    except KeyboardInterrupt:
        click.echo(
            f"what is done is kept in {outcomes.file}; run the same command again to go on",
            err=True,
        )
        raise
    write_atomically(folder / "calibration.csv", as_csv(rows))
    click.echo(f"wrote {folder / 'calibration.csv'}")
    if docs is not None:
        given = f" --only {shlex.quote(only)}" if only else ""
        write_atomically(
            docs,
            as_page(
                rows,
                f"python -m foretune.studies.calibration --sets {sets} --studies {studies} "
                f"--repeats {repeats}{given} --docs {shlex.quote(docs)}",
            ),
        )
        click.echo(f"wrote {docs}")


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 2."""
    run_command(calibration, "calibration")


if __name__ == "__main__":
    main()
