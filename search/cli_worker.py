"""``foretune worker``: work on a study from any machine."""

import os
import sys

import click

from foretune.search.checkpoint_keeper import DEFAULT_SECONDS
from foretune.search.command import (
    INTERRUPTED,
    POSITIVE,
    prices_option,
    storage_option,
    study_option,
)
from foretune.search.join import join_study
from foretune.search.memory import DEFAULT_GROWTH, WorkerGrownError
from foretune.search.patience import STORAGE_ERRORS
from foretune.search.tickets import finished_trials
from foretune.search.trial_marks import DEFAULT_BEAT
from foretune.search.wanted import wanted_trials

SECONDS = click.FloatRange(min=0, min_open=True)


@click.command()
@storage_option
@study_option
@prices_option
@click.option(
    "--workers", type=POSITIVE, default=1, show_default=True, help="Processes to work with."
)
@click.option("--lanes", type=POSITIVE, help="Trials a worker trains at a time (1 on a CPU).")
@click.option("--no-cache", is_flag=True, help="Leave the folder of compiled programs alone.")
@click.option(
    "--beat",
    type=SECONDS,
    default=DEFAULT_BEAT,
    show_default=True,
    help="Seconds between two signs of life; without six of them a worker is taken for lost.",
)
@click.option(
    "--checkpoint",
    type=SECONDS,
    default=DEFAULT_SECONDS,
    show_default=True,
    help="Seconds between two checkpoints of a trial that takes longer.",
)
def worker(
    storage: str,
    name: str,
    prices: str | None,
    workers: int,
    lanes: int | None,
    no_cache: bool,
    beat: float,
    checkpoint: float,
) -> None:
    """Work on a study that exists, until it has the trials it wants.

    Start as many as you like, on any machines that reach the database. One that is killed is made
    up for by the others; one that is interrupted leaves its trial to them.
    """
    if workers == 1:
        # XLA's number of threads: one, as of every other worker. Many of them may share a machine.
        os.environ.setdefault("NPROC", "1")
    try:
        study = join_study(
            name,
            storage,
            prices,
            workers=workers,
            lanes=lanes or "auto",
            cache=not no_cache,
            beat=beat,
            checkpoint_seconds=checkpoint,
            most_growth=DEFAULT_GROWTH,
        )
    except WorkerGrownError:
        # The same command again in the place of this process, with nothing of what it held.
        os.execv(sys.executable, sys.orig_argv)
    try:
        done, wanted = finished_trials(study), wanted_trials(study)
    except STORAGE_ERRORS:  # interrupted while the database was away
        sys.exit(INTERRUPTED)
    click.echo(f"study {name} has {done} of {wanted} trials")
    if done < wanted:
        sys.exit(INTERRUPTED)
