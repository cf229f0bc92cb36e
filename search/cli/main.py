"""The ``foretune`` command: thin over the Python API."""

import sys
from collections.abc import Sequence
from importlib import import_module

import click

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.search.cli.entry import FAILED, INTERRUPTED, MISTAKE

# The module of each command, and its line in the help, which so imports none of them.
_COMMANDS = {
    "run": ("run", "Run or resume a study."),
    "status": ("study", "Show how far along a study is."),
    "report": ("report", "Judge a study: is its winner more than luck?"),
    "replay": ("report", "Train a stored trial again, and compare every number."),
    "best": ("study", "Write the config of a study's best trial."),
    "fit": ("forecast", "Train a study's best config, to forecast with it."),
    "forecast": ("forecast", "Forecast what comes after the last known value."),
    "dashboard": ("dashboard", "Show the studies in a browser."),
    "compare": ("study", "Show studies side by side."),
    "schema": ("study", "Write the JSON Schema of a TOML file, for an editor."),
}


def load_command(name: str) -> click.Command | None:
    """Import a command; None where there is none of that name."""
    if name not in _COMMANDS:
        return None
    import foretune.search.storage  # noqa: F401 - before anything else imports Optuna

    module = import_module(f"foretune.search.cli.{_COMMANDS[name][0]}")
    command: click.Command = getattr(module, name)
    return command


class _Commands(click.Group):
    """Commands that are imported when they are asked for: JAX and Optuna take seconds."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load_command(cmd_name) or super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="foretune")
def cli() -> None:
    """Search the hyperparameters of recurrent forecasters, with the test sealed."""


@cli.command(context_settings={"ignore_unknown_options": True}, hidden=True)
@click.argument("_", nargs=-1, type=click.UNPROCESSED)
def worker(_: tuple[str, ...]) -> None:
    """Say what took the place of this command."""
    raise ConfigError(
        "`foretune worker` is gone: one process runs a study, and trains on many machines with "
        "`foretune run --dask tcp://HOST:8786`, whose workers are started with `dask worker`"
    )


def run_command(command: click.Command, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run a click command; a user's mistake ends with one line on stderr and exit code 2."""
    try:
        command.main(arguments, prog_name=name, standalone_mode=False)
        return
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(MISTAKE)
    except click.ClickException as error:
        message, code = " ".join(error.format_message().split()), MISTAKE
    except ForetuneError as error:
        message, code = str(error), MISTAKE
    except (KeyboardInterrupt, click.Abort):
        message, code = "interrupted", INTERRUPTED
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        message, code = f"{where}{error.strerror or error}", FAILED
    except Exception as error:
        from foretune.search.storage.retry import STORAGE_ERRORS, first_line

        if not isinstance(error, STORAGE_ERRORS):
            raise
        message, code = f"the storage failed: {first_line(error)}", FAILED
    click.echo(f"{name}: {message}", err=True)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the ``foretune`` command."""
    run_command(cli, "foretune", arguments)
