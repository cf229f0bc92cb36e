"""The ``foretune`` command: thin over the Python API."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click
from optuna.exceptions import StorageInternalError
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError

from foretune.datasets import SAMPLES, ForetuneError, load_prices
from foretune.models.compile_cache import use_compile_cache
from foretune.search.best import save_best
from foretune.search.progress import show_training
from foretune.search.replay import replay as train_again
from foretune.search.report import make_report
from foretune.search.report_files import write_report
from foretune.search.results import require_writable, write_results
from foretune.search.sealed_test import openings_in_words
from foretune.search.space import SearchSpace
from foretune.search.spec import study_prices
from foretune.search.storage import DEFAULT_STORAGE, first_line, load_study
from foretune.search.study import PRUNERS, run_study
from foretune.search.summary import caution, summary_table
from foretune.search.tickets import finished_trials

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130  # exit codes

_POSITIVE = click.IntRange(min=1)
_storage = click.option(
    "--storage", default=DEFAULT_STORAGE, show_default=True, help="Database URL of the studies."
)
_study = click.option("--study", "name", required=True, help="Name of the study.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="foretune")
def cli() -> None:
    """Search the hyperparameters of recurrent forecasters, with the test days sealed."""


@cli.command()
@click.option(
    "--prices",
    default="sp500",
    show_default=True,
    help=f"A sample ({', '.join(SAMPLES)}), a CSV file of daily prices, or alphavantage:SYMBOL.",
)
@_study
@click.option("--trials", type=_POSITIVE, default=30, show_default=True, help="Trials in total.")
@click.option("--epochs", type=_POSITIVE, help="Epochs a trial at most.")
@click.option("--horizon", type=_POSITIVE, help="Days to forecast from each origin (50).")
@click.option(
    "--stride", type=_POSITIVE, help="Days between forecast origins (a fifth of the horizon)."
)
@click.option("--folds", type=_POSITIVE, help="Walk-forward folds (1).")
@_storage
@click.option("--space", "space_file", type=click.Path(), help="TOML file of the search space.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the sampler (0).")
@click.option(
    "--pruner",
    type=click.Choice(list(PRUNERS)),
    default="median",
    show_default=True,
    help="When to stop a trial early; wilcoxon compares it fold by fold.",
)
@click.option("--workers", type=_POSITIVE, help="Processes, one thread each (as many as cores).")
@click.option("--lanes", type=_POSITIVE, help="Trials a worker trains at a time (1 on a CPU).")
@click.option("--no-cache", is_flag=True, help="Leave the folder of compiled programs alone.")
@click.option("--out", type=click.Path(), help="Folder for the results (results/STUDY).")
def run(
    prices: str,
    name: str,
    trials: int,
    epochs: int | None,
    horizon: int | None,
    stride: int | None,
    folds: int | None,
    storage: str,
    space_file: str | None,
    seed: int | None,
    pruner: str,
    workers: int | None,
    lanes: int | None,
    no_cache: bool,
    out: str | None,
) -> None:
    """Run or resume a study, then write best.toml, trials.csv and figures.

    The same command again goes on where the study stopped.
    """
    series = load_prices(prices)
    space = None if space_file is None else SearchSpace.load(space_file)
    folder = require_writable(out or Path("results") / name)
    study = run_study(
        name,
        series,
        n_trials=trials,
        space=space,
        epochs=epochs,
        horizon=horizon,
        stride=stride,
        folds=folds,
        seed=seed,
        storage=storage,
        pruner=PRUNERS[pruner](),
        workers=workers,
        lanes=lanes or "auto",
        cache=not no_cache,
    )
    if finished_trials(study) < trials:
        sys.exit(INTERRUPTED)
    files = write_results(study, series, folder)
    console = Console()
    console.print(summary_table(study))
    console.print(caution(study))
    for file in files:
        console.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)


@cli.command()
@_study
@_storage
@click.option("--prices", help="The study's prices, where they are not found as it knows them.")
@click.option("--out", type=click.Path(), help="Folder for the report (results/STUDY).")
@click.option("--sealed", is_flag=True, help="Leave the test closed.")
@click.option("--top", type=_POSITIVE, default=5, show_default=True, help="Configs to average.")
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
    console.print(openings_in_words(made.openings), highlight=False)
    for file in files:
        console.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)


@cli.command()
@_study
@click.option("--trial", "number", type=click.IntRange(min=0), required=True, help="Its number.")
@_storage
@click.option("--prices", help="The study's prices, where they are not found as it knows them.")
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


@cli.command()
@_study
@_storage
@click.option(
    "--out", type=click.Path(), default="best.toml", show_default=True, help="File to write."
)
def best(name: str, storage: str, out: str) -> None:
    """Write the config of a study's best trial."""
    study = load_study(name, storage)
    save_best(study, out)
    console = Console()
    console.print(summary_table(study))
    console.print(f"wrote {out}", highlight=False, markup=False, soft_wrap=True)


def run_command(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a click command; a user's mistake ends with one line on stderr and exit code 2."""
    try:
        command.main(arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(MISTAKE)
    except click.ClickException as error:
        _say_and_exit(name, " ".join(error.format_message().split()), MISTAKE)
    except ForetuneError as error:
        _say_and_exit(name, str(error), MISTAKE)
    except (StorageInternalError, SQLAlchemyError) as error:
        _say_and_exit(name, f"the storage failed: {first_line(error)}", FAILED)
    except (KeyboardInterrupt, click.Abort):
        _say_and_exit(name, "interrupted", INTERRUPTED)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the ``foretune`` command."""
    run_command(cli, "foretune", arguments)


def _say_and_exit(name: str, message: str, code: int) -> NoReturn:
    click.echo(f"{name}: {message}", err=True)
    sys.exit(code)
