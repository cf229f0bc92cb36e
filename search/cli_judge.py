"""``foretune report`` and ``foretune replay``: what a study's numbers are worth."""

import sys
from pathlib import Path

import click
from rich.console import Console

from foretune.models.compile_cache import use_compile_cache
from foretune.search.command import (
    FAILED,
    POSITIVE,
    prices_option,
    say_written,
    storage_option,
    study_option,
)
from foretune.search.openings import openings_in_words
from foretune.search.progress import show_training
from foretune.search.replay import replay as train_again
from foretune.search.report import make_report
from foretune.search.report_files import write_report
from foretune.search.results import require_writable
from foretune.search.spec import study_prices
from foretune.search.storage import load_study


@click.command()
@study_option
@storage_option
@prices_option
@click.option("--out", type=click.Path(), help="Folder for the report (results/STUDY).")
@click.option("--sealed", is_flag=True, help="Leave the test closed.")
@click.option("--top", type=POSITIVE, default=5, show_default=True, help="Configs to average.")
def report(
    name: str, storage: str, prices: str | None, out: str | None, sealed: bool, top: int
) -> None:
    """Judge a study: is its winner more than luck? Opens the test and records that.

    Trains the best configs once more and writes report.html, report.md, metrics.csv and
    forecasts.csv.
    """
    study = load_study(name, storage)
    folder = require_writable(out or Path("results") / name)
    series = study_prices(study, prices)
    use_compile_cache()
    with show_training(f"study {name}: training its best configs once more") as on_epoch:
        made = make_report(study, series, sealed=sealed, top=top, on_epoch=on_epoch)
    files = write_report(made, folder)
    console = Console()
    console.print(made.verdict, highlight=False, markup=False)
    console.print(openings_in_words(made.openings, name), highlight=False)
    say_written(console, files)


@click.command()
@study_option
@click.option("--trial", "number", type=click.IntRange(min=0), required=True, help="Its number.")
@storage_option
@prices_option
def replay(name: str, number: int, storage: str, prices: str | None) -> None:
    """Train a stored trial again: is every number the same to the last bit?

    Ends with exit code 1 when it is not.
    """
    study = load_study(name, storage)
    series = study_prices(study, prices)
    use_compile_cache()
    with show_training(f"study {name}: training trial {number} again") as on_epoch:
        outcome = train_again(study, number, series, on_epoch=on_epoch)
    click.echo(outcome)
    if not outcome.is_identical:
        sys.exit(FAILED)
