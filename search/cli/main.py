"""The ``foretune`` command: thin over the Python API."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

import click

import foretune.search.storage.optuna_import  # noqa: F401 - before anything else imports Optuna
from foretune.search.cli.options import run_command

# The module of each command, in the order of the help.
_MODULES = {
    "run": "run",
    "worker": "run",
    "status": "status",
    "report": "report",
    "replay": "report",
    "best": "best",
    "fit": "forecast",
    "forecast": "forecast",
    "dashboard": "dashboard",
    "compare": "compare",
    "schema": "compare",
}


class _Commands(click.Group):
    """Commands that are imported when they are asked for: who looks does not wait for JAX."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None where there is none of that name."""
        if cmd_name not in _MODULES:
            return None
        command: click.Command = getattr(_module_of(cmd_name), cmd_name)
        return command


def _module_of(command: str) -> ModuleType:
    return import_module(f"foretune.search.cli.{_MODULES[command]}")


def import_command(arguments: Sequence[str]) -> None:
    """Import the command that a command line names, if it names one."""
    for name in arguments[:1]:
        if name in _MODULES:
            _module_of(name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="foretune")
def cli() -> None:
    """Search the hyperparameters of recurrent forecasters, with the test days sealed."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the ``foretune`` command."""
    run_command(cli, "foretune", arguments)
