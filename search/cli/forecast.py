"""``foretune fit`` and ``foretune forecast``: from a best config to what comes."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from foretune.datasets import ConfigError, DataError
from foretune.datasets.common.errors import DataWarning, printable
from foretune.datasets.common.files import require_file_place, write_atomically
from foretune.datasets.history import History, moment
from foretune.datasets.panel import common_time
from foretune.datasets.sources.readers import read_future
from foretune.models.config import MetricName
from foretune.models.forecaster.files import require_model_place
from foretune.models.forecaster.forecaster import Forecaster
from foretune.models.runtime.compile import use_compile_cache
from foretune.models.training.refit import OnEpoch, Stage
from foretune.models.training.results import EpochResult, NonFiniteLossError
from foretune.search.cli.options import (
    POSITIVE,
    data_options,
    out_option,
    print_written_files,
    read_aloud,
    storage_option,
)
from foretune.search.engine.signals import StopRequest, stop_on_signal
from foretune.search.figures.forecasts import (
    MOST_SERIES,
    PRICES,
    Label,
    by_series,
    forecast_figure,
)
from foretune.search.figures.style import save_figure
from foretune.search.review.progress import live_line
from foretune.search.storage.connect import load_study
from foretune.search.study.best_file import BestDocument
from foretune.search.study.data import StudyData, study_data
from foretune.search.study.spec import StudySpec, format_value

# Steps of a forecast that the terminal shows at each end.
_SHOWN = 5


@click.command()
@click.argument("best_toml", metavar="BEST.toml", type=click.Path())
@data_options("Other data than the study's, or the study's if it does not hold them.")
@storage_option
@out_option("Folder of the model.", "model")
@click.option("--no-refit", is_flag=True, help="Keep the model of the chosen epoch as it is.")
def fit(
    best_toml: str,
    data: str | None,
    reading: dict[str, Any],
    storage: str,
    out: str,
    no_refit: bool,
) -> None:
    """Train a study's best config on its training and validation rows, to forecast with.

    Validation chooses the epoch; then its rows are used too: a ridge regression beside the
    network is fitted again, and where there is none the network is trained again. The test rows
    are used for neither; they are only known, so that a forecast begins after the last of them.
    The data are those that the study holds, in --storage, or those of --data.
    """
    document = BestDocument.load(best_toml)
    require_model_place(out)
    held = None if data else _data_of_study(document, storage, reading)
    if held is not None:
        document.require_parts(held.time)
        series = held.development
    else:
        try:
            series = read_aloud(lambda: document.load_series(data, **reading))
        except DataError as error:
            if data is not None:
                raise
            raise DataError(
                f"{error}; or name a storage where the study holds them, as --storage"
            ) from None
    split = document.split_of(series if held is None else held.time)
    use_compile_cache()
    console = Console()
    if held is None and not document.is_of(series):
        known = document.prices
        how = "in the same proportions"
        if document.split.rows is not None:
            how = f"by the same counts of rows; the last {split.left_out} are left out"
        _say(
            console,
            f"these are not the study's {known.what} ({known.name} to {known.last_date}, digest "
            f"{known.digest[:12]}): {series.name} to {moment(series.time, -1)}, digest "
            f"{series.digest[:12]}, split again {how}",
        )
    try:
        metric = document.result.metric
        with stop_on_signal() as stop, _show_epochs(stop, metric) as on_epoch:
            forecaster = Forecaster.train(
                document.config,
                series,
                split=split,
                metric=metric,
                refit=not no_refit,
                on_epoch=on_epoch,
                whole=None if held is None else held.whole,
            )
            forecaster.save(out)
    except NonFiniteLossError as error:
        raise ConfigError(f"{best_toml}: config cannot be trained: {error}") from None
    for line in _outcome(document, forecaster):
        _say(console, line)
    print_written_files(console, [out])


@click.command()
@click.argument("model", metavar="MODEL", type=click.Path())
@data_options(
    "Newer data of the same series, which continue its own; the model knows its columns.",
    without=("past", "future", "static"),
)
@click.option(
    "--future",
    type=click.Path(),
    metavar="FILE",
    help="Table of the future covariates that the model reads, a row a step, for all steps that it "
    "was trained for: a column of times, and one for each.",
)
@click.option("--steps", type=POSITIVE, help="Steps ahead (as many as the model was trained for).")
@click.option("--csv", type=click.Path(), help="CSV file to write.")
@click.option("--plot", type=click.Path(), help="PNG figure to write.")
def forecast(
    model: str,
    data: str | None,
    reading: dict[str, Any],
    future: str | None,
    steps: int | None,
    csv: str | None,
    plot: str | None,
) -> None:
    """Forecast what comes after the last value that a model knows. Nothing is trained.

    A model that reads future covariates needs them for the steps ahead: in --future, or in rows of
    --data after the last one with a target. --time, --day-first and --decimal hold for both files.
    Of a model of several series, --series chooses which are forecast (all); --data names them in a
    column unique_id or --series-column, or has one column each (--wide), and may have new ones.
    """
    _require_places(model, {"--data": data, "--future": future}, csv, plot)
    forecaster = Forecaster.load(model)
    chosen = None if forecaster.panel is None else reading.pop("series", None)
    if data is not None:
        newer = read_aloud(lambda: forecaster.read_newer(data, **reading))
        with _remarks_said():
            forecaster = forecaster.with_data(newer)
    ahead = None
    if future is not None:
        how = {name: reading[name] for name in ("time", "day_first", "decimal") if name in reading}
        known = forecaster.members[0].history.series
        ahead = read_future(future, known, **how, of_panel=forecaster.panel is not None)
        if not forecaster.encoding.future:
            click.echo(
                f"foretune: {model} reads no future covariates, and nothing of {future}", err=True
            )
    use_compile_cache()
    with _remarks_said():
        frame = forecaster.forecast(steps, ahead, chosen)
    figure = None if plot is None else forecast_figure(forecaster, frame)
    if csv is not None:
        write_atomically(csv, frame.to_csv(index=False))
    if plot is not None and figure is not None:
        save_figure(Path(plot), figure)
    console = Console()
    parts = by_series(forecaster, frame)
    label = Label.of(parts[0][0])
    unit = f", in the {label.unit}" if label.unit == PRICES.unit else f" [{label.unit}]"
    _say(
        console,
        f"{forecaster.panel or parts[0][0].name}: "
        f"{label.target}{'s' * label.target.endswith(' price')}" + unit * bool(label.unit),
    )
    for history, own in parts[:MOST_SERIES]:
        if forecaster.panel is not None:
            _say(console, f"{history.name}:")
        console.print(_forecast_table(history, own, forecaster.coverage))
    if len(parts) > MOST_SERIES:
        _say(
            console,
            f"these are {MOST_SERIES} of {len(parts)} series; --series shows others, and --csv "
            "writes all",
        )
    print_written_files(console, [file for file in (csv, plot) if file is not None])


def _data_of_study(
    document: BestDocument, storage: str, reading: dict[str, Any]
) -> StudyData | None:
    """Return the data of the study of a document; None where it is not in the usual storage.

    Raises:
        ConfigError: it is not in the one that the command line names.
        DataError: it is there, but neither holds its data nor finds them.
    """
    name = document.result.study
    try:
        study = load_study(name, storage)
        spec = StudySpec.stored(study)
        if (
            spec is None
            or spec.split != document.split
            or spec.prices.model_dump() != document.prices.model_dump()
        ):
            raise ConfigError(f"study {name!r} of --storage is another one, of other data or parts")
    except ConfigError:
        given = click.get_current_context().get_parameter_source("storage")
        if given is ParameterSource.COMMANDLINE:
            raise
        return None
    return read_aloud(lambda: study_data(study, **reading))


@contextmanager
def _remarks_said() -> Iterator[None]:
    """Say on stderr what a warning says in Python."""
    with warnings.catch_warnings(record=True, action="always", category=DataWarning) as remarks:
        yield
    for remark in remarks:
        click.echo(printable(f"foretune: {remark.message}"), err=True)


def _require_places(
    model: str, read: dict[str, str | None], csv: str | None, plot: str | None
) -> None:
    """Refuse files that cannot be written, or that the command reads: before it forecasts."""
    given = {"--csv": csv, "--plot": plot}
    places = {}
    for option, file in given.items():
        if file is None:
            continue
        places[option] = place = require_file_place(file).resolve()
        if place.is_relative_to(Path(model).resolve()):
            raise ConfigError(f"{option} must lie outside the model {model}, but got {file}")
        for source, name in read.items():
            if name is not None and place == Path(name).resolve():
                raise ConfigError(
                    f"{option} must be a different file from {source}, but got {file}"
                )
    if plot is not None and Path(plot).suffix.lower() != ".png":
        raise ConfigError(f"--plot must be a file named .png, but got {plot}")
    if len(set(places.values())) < len(places):
        raise ConfigError(f"--csv and --plot must be two files, but both are {csv}")


def _say(console: Console, line: str) -> None:
    console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _outcome(document: BestDocument, forecaster: Forecaster) -> list[str]:
    """Say which rows trained and what validation said."""
    training, members = forecaster.training, forecaster.members
    time = common_time([member.history.time for member in members])
    result, before = document.result, ""
    of_study = result.relative_mse if result.value is None else result.value
    now = training.relative_mse if training.value is None else training.value
    # With folds the study's value is a mean, and this is the last fold.
    if document.prices.digest == training.digest and document.split.folds == 1:
        before = ", as in the study" if of_study == now else f"; in the study {of_study}"
    step, trained = members[0].history.calendar.step_name, training.days
    lines = [
        f"validation, {training.validation_first_date} to {training.validation_last_date}, chose "
        f"epoch {training.epochs}: {training.metric} {now}{before}"
    ]
    if training.epochs:
        lines.append(
            f"trained for that many epochs on {trained} {step}s, {training.first_date} to "
            f"{training.last_date}"
        )
    if training.regression_days is not None:
        trained = training.regression_days
        lines.append(
            f"fitted the ridge regression {'beside it' if training.epochs else 'alone'} to "
            f"{trained} {step}s, up to {moment(time, trained - 1)}"
        )
    left = len(time) - trained
    if left:
        lines.append(
            f"the {left} {step}s after that, up to {moment(time, -1)}, are known, but were neither "
            "trained on nor scored"
        )
    return lines


def _forecast_table(history: History, frame: pd.DataFrame, coverage: float) -> Table:
    """Return the last known value, and the first and last steps of a forecast."""
    last = float(history.values[-1])
    # Four digits at least, of values far below 1 too.
    largest = float(np.max(np.abs([last, *frame["forecast"]]))) or 1.0
    decimals = max(2, 3 - math.floor(math.log10(largest)))
    table = Table(str(frame.columns[0]))
    for name in ("forecast", f"{coverage:.0%} interval: from", "to"):
        table.add_column(name, justify="right")
    table.add_row(history.last, f"{last:.{decimals}f} (known)", "", "", end_section=True)
    times = pd.Index(frame.iloc[:, 0])
    gap = len(frame) > 2 * _SHOWN
    for part in (frame.head(_SHOWN), frame.tail(_SHOWN)) if gap else (frame,):
        for row, values in zip(part.index, part.iloc[:, 1:].to_numpy(), strict=True):
            when = str(moment(times, row))
            table.add_row(when, *(f"{value:.{decimals}f}" for value in values))
        table.add_section()
    return table


@contextmanager
def _show_epochs(stop: StopRequest, metric: MetricName) -> Iterator[OnEpoch]:
    """Show the epochs of both trainings on stderr, and stop after the one of the user's Ctrl-C.

    A terminal shows one line that changes; elsewhere each epoch has a line.
    """
    console = Console(stderr=True)
    with live_line("training") as show:

        def on_epoch(stage: Stage, result: EpochResult) -> None:
            doing = "training" if stage == "choice" else "training with the validation rows too"
            now = f"epoch {result.epoch}, training loss {result.train_loss:.4f}"
            if stage == "choice":
                now += f", {metric} {format_value(result.value, metric, 4)}"
            show(description=doing, now=now)
            if not console.is_terminal:
                console.print(f"{doing}: {now}", highlight=False, soft_wrap=True)
            stop.check_stop()

        yield on_epoch
