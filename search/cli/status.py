"""``foretune status``: how far a study is."""

import click
from rich.console import Console

from foretune.search.cli.options import storage_option, study_option
from foretune.search.engine.status import study_status
from foretune.search.storage.connect import load_study


@click.command()
@storage_option
@study_option
def status(storage: str, name: str) -> None:
    """Show how far a study is: whether anybody runs it, trials by state, rate, best value."""
    Console().print(study_status(load_study(name, storage)).table())
