"""``foretune run``: run or resume a study."""

import sys
from pathlib import Path

import click
from rich.console import Console

from foretune.datasets import SAMPLES, ConfigError, load_prices
from foretune.models.config import TrialConfig
from foretune.search.cli.options import (
    INTERRUPTED,
    POSITIVE,
    print_written_files,
    storage_option,
    study_option,
    was_interrupted,
)
from foretune.search.engine.executors import dask_executor
from foretune.search.engine.signals import stop_on_signal
from foretune.search.report.verdict_so_far import caveat
from foretune.search.review.results import require_writable, write_results
from foretune.search.review.summary_rows import summary_table
from foretune.search.run import run_study
from foretune.search.space.space import SearchSpace
from foretune.search.study.pruners import PRUNERS


@click.command()
@click.option(
    "--data",
    "--prices",
    "prices",
    default="sp500",
    show_default=True,
    help=f"A sample ({', '.join(SAMPLES)}), a CSV file of daily prices, or alphavantage:SYMBOL.",
)
@study_option
@click.option("--trials", type=POSITIVE, default=30, show_default=True, help="Trials in total.")
@click.option("--epochs", type=POSITIVE, help="Epochs a trial at most.")
@click.option("--horizon", type=POSITIVE, help="Days to forecast from each origin (50).")
@click.option(
    "--stride", type=POSITIVE, help="Days between forecast origins (a fifth of the horizon)."
)
@click.option("--folds", type=POSITIVE, help="Walk-forward folds (1).")
@storage_option
@click.option("--space", "space_file", type=click.Path(), help="TOML file of the search space.")
@click.option(
    "--start-from",
    "known",
    type=click.Path(),
    multiple=True,
    help="TOML file of a config to train first, such as best.toml; may be given again.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the sampler (0).")
@click.option(
    "--pruner",
    type=click.Choice(list(PRUNERS)),
    help="When to stop a trial early (median); wilcoxon compares it fold by fold.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help="Processes of this machine, one thread or device each (as many as cores or devices).",
)
@click.option("--dask", help="Train on the Dask cluster whose scheduler is at tcp://HOST:PORT.")
@click.option(
    "--dask-scheduler-file",
    type=click.Path(),
    help="Train on the Dask cluster whose scheduler wrote this file.",
)
@click.option(
    "--task-timeout",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds after which a worker that does not answer is ended (20 times the longest task).",
)
@click.option("--lanes", type=POSITIVE, help="Trials a worker trains at a time (1 on a CPU).")
@click.option("--no-cache", is_flag=True, help="Leave the folder of compiled programs alone.")
@click.option("--out", type=click.Path(), help="Folder for the results (results/STUDY).")
def run(
    prices: str,
    name: str,
    trials: int,
    epochs: int | None,
    horizon: int | None,
    stride: int | None,
    folds: int | None,
    storage: str,
    space_file: str | None,
    known: tuple[str, ...],
    seed: int | None,
    pruner: str | None,
    workers: int | None,
    dask: str | None,
    dask_scheduler_file: str | None,
    task_timeout: float | None,
    lanes: int | None,
    no_cache: bool,
    out: str | None,
) -> None:
    """Run or resume a study, then write best.toml, trials.csv and figures.

    The same command again goes on where the study stopped.
    """
    series = load_prices(prices)
    space = None if space_file is None else SearchSpace.load(space_file)
    folder = Path("results") / name if out is None else Path(out)
    require_writable(folder)
    with dask_executor(dask, dask_scheduler_file) as executor, stop_on_signal() as stop:
        study = run_study(
            name,
            series,
            n_trials=trials,
            space=space,
            epochs=epochs,
            horizon=horizon,
            stride=stride,
            folds=folds,
            seed=seed,
            storage=storage,
            start_from=[TrialConfig.load(file) for file in known],
            pruner=PRUNERS[pruner]() if pruner else None,
            workers=workers,
            executor=executor,
            task_timeout=task_timeout,
            lanes=lanes or "auto",
            cache=not no_cache,
        )
    if stop.requested or was_interrupted(study, trials):
        sys.exit(INTERRUPTED)
    files = write_results(study, series, folder)
    console = Console()
    console.print(summary_table(study))
    console.print(caveat(study), highlight=False, markup=False)
    print_written_files(console, files)


@click.command(context_settings={"ignore_unknown_options": True}, hidden=True)
@click.argument("_", nargs=-1, type=click.UNPROCESSED)
def worker(_: tuple[str, ...]) -> None:
    """Say what took the place of this command."""
    raise ConfigError(
        "`foretune worker` is gone: one process runs a study, and trains on many machines with "
        "`foretune run --dask tcp://HOST:8786`, whose workers are started with `dask worker`"
    )
