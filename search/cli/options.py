"""What all commands share: options, exit codes, and one line for a user's mistake."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import click
import optuna
from click.core import ParameterSource
from rich.console import Console

from foretune.datasets import ForetuneError
from foretune.search.storage.connect import DEFAULT_STORAGE, has_password
from foretune.search.storage.retry import STORAGE_ERRORS, first_line
from foretune.search.study.target import has_enough

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130  # exit codes

POSITIVE = click.IntRange(min=1)

# Where a database URL with a password belongs: not where every process list shows it.
STORAGE_VARIABLE = "FORETUNE_STORAGE"


def _mind_the_password(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Say so if the command line shows everybody on this machine a password."""
    given = context.get_parameter_source(str(parameter.name))
    if given is ParameterSource.COMMANDLINE and has_password(value):
        click.echo(
            "foretune: everybody on this machine can see the password in --storage; put the URL "
            f"into the environment variable {STORAGE_VARIABLE} instead",
            err=True,
        )
    return value


storage_option = click.option(
    "--storage",
    default=DEFAULT_STORAGE,
    show_default=True,
    envvar=STORAGE_VARIABLE,
    show_envvar=True,
    callback=_mind_the_password,
    help="Database URL of the studies.",
)
study_option = click.option("--study", "name", required=True, help="Name of the study.")
prices_option = click.option(
    "--data",
    "--prices",
    "prices",
    help="The study's prices, where they are not found as it knows them.",
)


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
    except STORAGE_ERRORS as error:
        _say_and_exit(name, f"the storage failed: {first_line(error)}", FAILED)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        _say_and_exit(name, f"{where}{error.strerror or error}", FAILED)
    except (KeyboardInterrupt, click.Abort):
        _say_and_exit(name, "interrupted", INTERRUPTED)


def was_interrupted(study: optuna.Study, trials: int) -> bool:
    """Whether a run ended before its study had so many trials; the database may be away since."""
    try:
        return not has_enough(study, trials)
    except STORAGE_ERRORS:
        return True


def print_written_files(console: Console, files: Iterable[str | os.PathLike[str]]) -> None:
    """Say which files were written, one a line."""
    for file in files:
        console.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)


def _say_and_exit(name: str, message: str, code: int) -> NoReturn:
    click.echo(f"{name}: {message}", err=True)
    sys.exit(code)
