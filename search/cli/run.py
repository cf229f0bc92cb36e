"""``foretune run``: run or resume a study."""

import sys
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from foretune.datasets import SAMPLES, ConfigError, Panel, TimeSeries, as_data
from foretune.datasets.common.files import require_folder_place
from foretune.models.config import MetricName
from foretune.search.cli.entry import INTERRUPTED
from foretune.search.cli.options import (
    POSITIVE,
    data_options,
    out_option,
    print_written_files,
    read_aloud,
    report_command,
    storage_option,
    study_option,
)
from foretune.search.engine.executors import dask_executor
from foretune.search.engine.signals import stop_on_signal
from foretune.search.report.verdict import caveat
from foretune.search.review.progress import show_training
from foretune.search.review.results import write_results
from foretune.search.review.summary import summary_table
from foretune.search.run import run_study
from foretune.search.space.space import SearchSpace
from foretune.search.storage.connect import find_study, open_storage, require_database
from foretune.search.study.best import best_trial
from foretune.search.study.data import StudyData, study_data
from foretune.search.study.pruners import PRUNERS, named_pruner
from foretune.search.study.remarks import training_remarks
from foretune.search.study.spec import StudySpec, study_metric
from foretune.search.study.target import has_enough


@click.command()
@data_options(
    f"A text file, a sample ({', '.join(SAMPLES)}), or alphavantage:SYMBOL. A study that exists "
    "holds its data."
)
@study_option
@click.option("--trials", type=POSITIVE, default=30, show_default=True, help="Trials in total.")
@click.option("--epochs", type=POSITIVE, help="Maximum epochs per trial.")
@click.option(
    "--horizon", type=POSITIVE, help="Steps to forecast from each origin (a season; of prices 50)."
)
@click.option(
    "--stride", type=POSITIVE, help="Rows between forecast origins (a fifth of the horizon)."
)
@click.option("--folds", type=POSITIVE, help="Walk-forward folds (1).")
@click.option(
    "--gap", type=click.IntRange(min=0), help="Rows between the parts (as many as the horizon)."
)
@click.option(
    "--split",
    help="Training, validation and test, as shares (0.6,0.2,0.2) or rows (8640,2880,2880).",
)
@click.option("--train-end", help="Last time that trains, in place of --split.")
@click.option("--validation-end", help="Last time that validates.")
@click.option("--test-end", help="Last time of the test (the last that is there).")
@storage_option
@click.option("--space", "space_file", type=click.Path(), help="TOML file of the search space.")
@click.option(
    "--start-from",
    "known",
    multiple=True,
    metavar="FILE|STUDY",
    help="Config to train first: a TOML file such as best.toml, or the best one of a study; may be "
    "given again.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of the sampler (0).")
@click.option(
    "--metric",
    metavar=f"[{'|'.join(get_args(MetricName))}]",
    help="What a trial's value on validation is (relative_mse).",
)
@click.option(
    "--pruner",
    callback=lambda _context, _option, name: None if name is None else named_pruner(name),
    metavar=f"[{'|'.join(PRUNERS)}]",
    help="When to stop a trial early (median).",
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
@click.option(
    "--store-data/--no-store-data",
    default=None,
    help="Whether the study holds its data, so that the storage is enough to go on (yes).",
)
@click.option("--no-cache", is_flag=True, help="Do not use the cache of compiled programs.")
@out_option("Folder for the results (results/STUDY).")
def run(
    data: str | None,
    reading: dict[str, Any],
    name: str,
    storage: str,
    trials: int,
    space_file: str | None,
    known: tuple[str, ...],
    dask: str | None,
    dask_scheduler_file: str | None,
    lanes: int | None,
    no_cache: bool,
    out: str | None,
    **settings: Any,  # run_study has them by the same names
) -> None:
    """Run or resume a study, then write best.toml, trials.csv and figures.

    The same command continues where the study stopped.
    """
    held = read_aloud(lambda: _data(name, storage, data, reading))
    space = None if space_file is None else SearchSpace.load(space_file)
    folder = Path("results") / name if out is None else Path(out)
    require_folder_place(folder)
    with stop_on_signal() as stop:
        with dask_executor(dask, dask_scheduler_file) as executor:
            study = run_study(
                name,
                held,
                storage=storage,
                n_trials=trials,
                space=space,
                start_from=known,
                executor=executor,
                lanes=lanes or "auto",
                cache=not no_cache,
                **settings,
            )
        # In this order: an interrupted run does not wait for a database that is away.
        if stop.requested or not has_enough(study, trials):
            sys.exit(INTERRUPTED)
        what = f"study {name}: training its best config once more"
        with show_training(what, stop, study_metric(study)) as on_epoch:
            files = write_results(study, held, folder, on_epoch=on_epoch)
        stop.check_stop()
    console = Console()
    console.print(summary_table(study))
    console.print(caveat(study), highlight=False, markup=False)
    for remark in training_remarks(best_trial(study)):
        console.print(remark, highlight=False, markup=False)
    report = report_command(name, storage)
    console.print(
        f"Next: {report} (the test stays sealed)\n"
        f"When everything is decided, open the test once: {report} --open-test",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    print_written_files(console, files)


def _data(
    name: str, storage: str, data: str | None, reading: dict[str, Any]
) -> TimeSeries | Panel | StudyData:
    """Return the data of a study that exists, or read those of a new one."""
    try:
        require_database(storage)
    except ConfigError:  # it is made with its first study
        study = None
    else:
        study = find_study(name, open_storage(storage))
    if study is None or (spec := StudySpec.stored(study)) is None:
        if data is None:
            raise ConfigError(
                f"--data must be given for study {name!r}, which is a new one: a file or a sample "
                f"({', '.join(SAMPLES)})"
            )
        return as_data(data, **reading)
    # Other data than the study's are refused with all that differs.
    return study_data(study, **reading) if data is None else spec.series(data, **reading)
