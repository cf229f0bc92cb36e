"""What commands share: their options, and how they say which files they wrote."""

import os
import shlex
import warnings
from collections.abc import Callable, Collection, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from rich.console import Console

from foretune.datasets.common.errors import ConfigError, DataWarning, printable
from foretune.search.storage.connect import DEFAULT_STORAGE, has_password
from foretune.search.study.data import StudyData

if TYPE_CHECKING:
    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries

F = TypeVar("F", bound=Callable[..., Any])
Read = TypeVar("Read", bound="TimeSeries | Panel | StudyData")

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


_READING = (
    click.option("--time", help="Column of the times."),
    click.option("--target", help="Column to forecast; of prices close, mid, open, ..."),
    click.option("--past", multiple=True, help="Column known up to now; may be given again."),
    click.option("--future", multiple=True, help="Column known ahead too; may be given again."),
    click.option(
        "--static", multiple=True, help="Column of one value a series; may be given again."
    ),
    click.option(
        "--freq", help="Step from row to row: h, 15min, D, B, W, MS, sessions, XNYS, steps."
    ),
    click.option("--seasonality", type=POSITIVE, help="Steps in a season."),
    click.option(
        "--missing",
        type=click.Choice(["raise", "drop", "ffill", "interpolate"]),
        help="What to do with missing values (raise).",
    ),
    click.option("--day-first/--no-day-first", default=None, help="Whether 1/2 is in February."),
    click.option("--decimal", type=click.Choice([".", ","]), help="What is before the decimals."),
    click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="PRICE=NAME",
        help="Column of a price, such as open=Apertura; may be given again.",
    ),
    click.option(
        "--series",
        multiple=True,
        help="Which series, where a column names several; or store=1. May be given again.",
    ),
    click.option("--series-column", help="Column that names the series, of which all are read."),
    click.option("--wide", is_flag=True, default=None, help="Each column of numbers is a series."),
    click.option("--leave-out", multiple=True, help="Series to leave out; may be given again."),
    click.option(
        "--short",
        type=click.Choice(["raise", "drop"]),
        help="What to do with series of fewer values than --least (raise).",
    ),
    click.option("--least", type=POSITIVE, help="Values that a series must have."),
)
_NAMES = (
    *("time", "target", "past", "future", "static", "freq", "seasonality", "missing"),
    *("day_first", "decimal", "columns", "series"),
    *("series_column", "wide", "leave_out", "short", "least"),
)


def data_options(text: str, without: Collection[str] = ()) -> Callable[[F], F]:
    """Return --data (or --prices, as it was first called), and the options that say how to read it.

    The command gets ``data``, and what was given of the others as ``reading``; it has no options
    of the names ``without``.
    """
    chosen = [(n, option) for n, option in zip(_NAMES, _READING, strict=True) if n not in without]

    def add(command: F) -> F:
        @wraps(command)
        def gathered(**given: Any) -> Any:
            reading = {name: given.pop(name) for name, _ in chosen}
            reading["columns"] = dict(map(_column, reading["columns"]))
            given["reading"] = {k: v for k, v in reading.items() if v not in (None, (), {})}
            return command(**given)

        for _, option in reversed(chosen):
            gathered = option(gathered)
        return click.option("--data", "--prices", "data", help=text)(gathered)  # type: ignore[return-value]

    return add


def _column(text: str) -> tuple[str, str]:
    price, equals, name = text.partition("=")
    if not (price and equals and name):
        raise ConfigError(f"--column must be PRICE=NAME, such as open=Apertura, but got {text!r}")
    return price, name


def read_aloud(read: Callable[[], Read]) -> Read:
    """Read data, and say on stderr what reading left out, filled or decided."""
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        series = read()
    for remark in series.remarks:
        click.echo(printable(f"foretune: {series.source}: {remark}"), err=True)
    return series


def out_option(text: str, default: str | None = None) -> Callable[[F], F]:
    """Return the option --out."""
    return click.option("--out", type=click.Path(), default=default, show_default=True, help=text)


def report_command(name: str, storage: str) -> str:
    """Return the command that reports on a study of the storage that this command was given."""
    words = ["foretune", "report", "--study", name]
    given = click.get_current_context().get_parameter_source("storage")
    if given is ParameterSource.COMMANDLINE and not has_password(storage):
        words += ["--storage", storage]
    return shlex.join(words)


def print_written_files(console: Console, files: Iterable[str | os.PathLike[str]]) -> None:
    """Print which files were written, one a line."""
    for file in files:
        console.print(f"wrote {file}", highlight=False, markup=False, soft_wrap=True)
