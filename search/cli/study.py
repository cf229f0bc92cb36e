"""``foretune status``, ``best``, ``compare`` and ``schema``: small commands that train nothing.

What only one of them needs, it imports itself.
"""

import json

import click
from rich.console import Console

from foretune.datasets.common.files import write_atomically
from foretune.search.cli.options import (
    out_option,
    print_written_files,
    storage_option,
    study_option,
)
from foretune.search.space.schema import SCHEMAS
from foretune.search.storage.connect import load_study
from foretune.search.study.best import save_best


@click.command()
@storage_option
@study_option
def status(storage: str, name: str) -> None:
    """Show how far along a study is: whether it is running, trials by state, rate, best value."""
    from foretune.search.engine.status import study_status

    Console().print(study_status(load_study(name, storage)).table())


@click.command()
@study_option
@storage_option
@out_option("File to write.", "best.toml")
def best(name: str, storage: str, out: str) -> None:
    """Write the config of a study's best trial."""
    from foretune.search.review.summary import summary_table

    study = load_study(name, storage)
    save_best(study, out)
    console = Console()
    console.print(summary_table(study))
    print_written_files(console, [out])


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="STUDY STUDY ...")
@storage_option
def compare(names: tuple[str, ...], storage: str) -> None:
    """Show the best trials of studies side by side, and where their configs differ."""
    from foretune.search.review.compare import comparison_table

    Console().print(comparison_table([load_study(name, storage) for name in names]))


@click.command()
@click.argument("file", type=click.Choice(list(SCHEMAS)))
@out_option("File to write, instead of printing.")
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
