"""``foretune compare`` and ``foretune schema``: small commands for reuse."""

import json

import click
from rich.console import Console

from foretune.datasets.common.files import write_atomically
from foretune.search.cli.options import print_written_files, storage_option
from foretune.search.review.compare import comparison_table
from foretune.search.space.schema import SCHEMAS
from foretune.search.storage.connect import load_study


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="STUDY STUDY ...")
@storage_option
def compare(names: tuple[str, ...], storage: str) -> None:
    """Show the bests of studies side by side, and where their configs differ."""
    Console().print(comparison_table([load_study(name, storage) for name in names]))


@click.command()
@click.argument("file", type=click.Choice(list(SCHEMAS)))
@click.option("--out", type=click.Path(), help="File to write, instead of printing.")
def schema(file: str, out: str | None) -> None:
    """Write the JSON Schema of a config's or search space's TOML file, for an editor.

    Name it on the first line of the TOML file: #:schema ./space.schema.json
    """
    text = json.dumps(SCHEMAS[file](), indent=2) + "\n"
    if out is None:
        click.echo(text, nl=False)
        return
    write_atomically(out, text)
    print_written_files(Console(), [out])
