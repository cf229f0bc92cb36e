"""``foretune report`` and ``foretune replay``: what a study's numbers are worth."""

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from foretune.datasets import ConfigError
from foretune.models.runtime.compile import use_compile_cache
from foretune.search.cli.entry import FAILED
from foretune.search.cli.options import (
    POSITIVE,
    data_options,
    out_option,
    print_written_files,
    read_aloud,
    report_command,
    storage_option,
    study_option,
)
from foretune.search.engine.signals import stop_on_signal
from foretune.search.report.access_log import format_access_log
from foretune.search.report.any_study import make_loss_report
from foretune.search.report.files import require_report_place, write_report
from foretune.search.report.replay import replay as train_again
from foretune.search.report.report import make_report
from foretune.search.report.verdict import openings_of_test, verdict
from foretune.search.review.progress import show_training
from foretune.search.run import NAME_PATTERN
from foretune.search.storage.connect import load_study
from foretune.search.study.data import study_data
from foretune.search.study.spec import StudySpec, study_metric

_data_options = data_options("The study's data, if it does not hold them.")


@click.command()
@study_option
@storage_option
@_data_options
@out_option("Folder for the report (results/STUDY).")
@click.option("--open-test", is_flag=True, help="Open the sealed test, and record that it was.")
@click.option("--sealed", is_flag=True, help="Leave the test sealed; this is the default.")
@click.option("--top", type=POSITIVE, default=5, show_default=True, help="Configs to average.")
def report(
    name: str,
    storage: str,
    data: str | None,
    reading: dict[str, Any],
    out: str | None,
    open_test: bool,
    sealed: bool,
    top: int,
) -> None:
    """Judge a study: is its winner more than luck? With --open-test also on the sealed test.

    Trains the best configs once more and writes report.html, report.md, verdict.json, metrics.csv
    and forecasts.csv, of a panel also series.csv. A study of another program is judged by the
    losses that it has recorded.
    """
    if open_test and sealed:
        raise ConfigError("--open-test and --sealed must not both be given")
    study = load_study(name, storage)
    # A study that another program named may be called ../../elsewhere.
    if not (out or NAME_PATTERN.fullmatch(name)):
        raise ConfigError(f"--out must be given for study {name!r}: its name cannot be a folder's")
    folder = require_report_place(out or Path("results") / name)
    console = Console(highlight=False, markup=False, emoji=False)
    if StudySpec.stored(study) is None:
        if open_test:
            raise ConfigError(
                f"--open-test must be for a study that foretune ran, but {name!r} is of another "
                "program, which has sealed no test"
            )
        if data is not None or reading:
            raise ConfigError(
                f"--data must be for a study that foretune ran, but {name!r} is of another program "
                "and is judged by the losses that it has recorded"
            )
        recorded = make_loss_report(study)
        files = write_report(recorded, folder)
        console.print(recorded.verdict)
        print_written_files(console, files)
        return
    held = read_aloud(lambda: study_data(study, data, **reading))
    if open_test and sys.stdin is not None and sys.stdin.isatty():
        verdict(study)  # one that cannot be judged is refused before anybody is asked
        click.echo(openings_of_test(study))
        open_test = click.confirm(
            "Open it? Whatever is decided afterwards may have seen it, and that stays recorded"
        )
        if not open_test:
            click.echo("The test is not opened.")
    use_compile_cache()
    with stop_on_signal() as stop:
        what = f"study {name}: training its best configs once more"
        with show_training(what, stop, study_metric(study)) as on_epoch:
            made = make_report(
                study,
                held,
                open_test=open_test,
                top=top,
                on_epoch=on_epoch,
                before_opening=stop.check_stop,
            )
        if not open_test:
            stop.check_stop()
        # Stopped after the opening, the user still gets what the test was opened for.
        files = write_report(made, folder)
        console.print(made.verdict)
        for line in made.of_series:
            console.print(line)
        console.print(format_access_log(made.openings, name))
        if not made.openings:
            opens = f"{report_command(name, storage)} --open-test"
            console.print(f"When everything is decided, open it once: {opens}", soft_wrap=True)
        print_written_files(console, files)
        stop.check_stop()


@click.command()
@study_option
@click.option("--trial", "number", type=click.IntRange(min=0), required=True, help="Trial number.")
@storage_option
@_data_options
def replay(name: str, number: int, storage: str, data: str | None, reading: dict[str, Any]) -> None:
    """Train a stored trial again: is every number the same to the last bit?

    If not, the exit code is 1.
    """
    study = load_study(name, storage)
    held = read_aloud(lambda: study_data(study, data, **reading))
    use_compile_cache()
    with (
        stop_on_signal() as stop,
        show_training(
            f"study {name}: training trial {number} again", stop, study_metric(study)
        ) as on_epoch,
    ):
        outcome = train_again(study, number, held, on_epoch=on_epoch)
        stop.check_stop()
    click.echo(outcome)
    if not outcome.is_identical:
        sys.exit(FAILED)
