"""``foretune best``: the config of a study's best trial, as a file."""

import click
from rich.console import Console

from foretune.search.cli.options import print_written_files, storage_option, study_option
from foretune.search.review.summary_rows import summary_table
from foretune.search.storage.connect import load_study
from foretune.search.study.best import save_best


@click.command()
@study_option
@storage_option
@click.option(
    "--out", type=click.Path(), default="best.toml", show_default=True, help="File to write."
)
def best(name: str, storage: str, out: str) -> None:
    """Write the config of a study's best trial."""
    study = load_study(name, storage)
    save_best(study, out)
    console = Console()
    console.print(summary_table(study))
    print_written_files(console, [out])
