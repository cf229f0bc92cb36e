"""What commands share: their options, and how they say which files they wrote."""

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console

from foretune.search.storage.connect import DEFAULT_STORAGE, has_password

F = TypeVar("F", bound=Callable[..., Any])

POSITIVE = click.IntRange(min=1)

# Where a database URL with a password belongs: a command line can be seen by everybody.
STORAGE_VARIABLE = "FORETUNE_STORAGE"


def _warn_of_password(context: click.Context, parameter: click.Parameter, value: str) -> str:
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
    callback=_warn_of_password,
    help="Database URL of the studies.",
)
study_option = click.option("--study", "name", required=True, help="Name of the study.")


def prices_option(text: str, default: str | None = None) -> Callable[[F], F]:
    """Return the option --data, or --prices as it was first called."""
    return click.option(
        "--data", "--prices", "prices", default=default, show_default=True, help=text
    )


def out_option(text: str, default: str | None = None) -> Callable[[F], F]:
    """Return the option --out."""
    return click.option("--out", type=click.Path(), default=default, show_default=True, help=text)


def print_written_files(console: Console, files: Iterable[str | os.PathLike[str]]) -> None:
    """Print which files were written, one a line."""
    for file in files:
        console.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)
