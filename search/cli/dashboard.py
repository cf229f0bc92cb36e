"""``foretune dashboard``: the studies in a browser."""

import os
import signal

import click

from foretune.search.cli.options import storage_option
from foretune.search.dashboard.app import TOKEN_VARIABLE, serve


@click.command()
@storage_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help=f"Address to listen on; one that others can reach needs a token in {TOKEN_VARIABLE}.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@click.option(
    "--host-name",
    "host_names",
    multiple=True,
    metavar="NAME[:PORT]",
    help="A further name that browsers may use, such as localhost:9000 for a tunnel.",
)
@click.option("--read-only", is_flag=True, help="Let nobody change or delete anything.")
def dashboard(
    storage: str, host: str, port: int, host_names: tuple[str, ...], read_only: bool
) -> None:
    """Show the studies in a browser, with optuna-dashboard, until Ctrl-C.

    If the environment variable FORETUNE_DASHBOARD_TOKEN is set, visitors must bring what is in it:
    once as ?token=... at the end of the address, or as Authorization: Bearer ...
    """
    # SIGTERM stops a container, and would not end a process 1 that does not handle it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    serve(
        storage,
        host=host,
        port=port,
        token=os.environ.get(TOKEN_VARIABLE),
        read_only=read_only,
        host_names=host_names,
    )
