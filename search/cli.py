"""The ``foretune`` command: thin over the Python API."""

from collections.abc import Sequence

import click

from foretune.search.cli_compare import compare, schema
from foretune.search.cli_dashboard import dashboard
from foretune.search.cli_judge import replay, report
from foretune.search.cli_reuse import best, fit, forecast
from foretune.search.cli_run import run
from foretune.search.cli_scale import status, worker
from foretune.search.command import run_command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="foretune")
def cli() -> None:
    """Search the hyperparameters of recurrent forecasters, with the test days sealed."""


for command in (
    run,
    worker,
    status,
    report,
    replay,
    best,
    fit,
    forecast,
    dashboard,
    compare,
    schema,
):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the ``foretune`` command."""
    run_command(cli, "foretune", arguments)
