"""The tutorial as printed, and put right, side by side.

    python -m foretune.studies.tutorial [--prices PATH] [--epochs E] [--seed S] [--out DIR] [--full]

"Stock Market Predictions with LSTM in Python" trains on 11,000 days and forecasts the next 1,000,
50 days at a time. As printed, the test error decays the learning rate and picks the epoch, and
the baselines are scored one day ahead on smoothed training data. Put right, a validation split
decides, and everything is scored 50 days ahead at the same origins of a later test. The two columns
have different units and days: each is to be read by itself, against its own persistence.

By default the embedded S&P 500 and a small network, about a minute on two cores; ``--full`` takes
the tutorial's network (200, 200, 150 units; batch 500; 30 epochs). Expect the corrected column to
show no network far from persistence.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from foretune.datasets import DataError, PriceSeries, load_prices, load_sample
from foretune.datasets.common.files import make_folder, require_folder_place, write_atomically
from foretune.datasets.splits import DevelopmentData, Split, chronological_split, development
from foretune.datasets.transforms import LOG
from foretune.models import EpochResult, TrialConfig, best_epoch, fit
from foretune.models.forecasts.baselines import (
    ExponentialAverage,
    Persistence,
    StandardAverage,
    baseline_growth,
    one_step_forecasts,
)
from foretune.models.forecasts.metrics import mean_squared_error, relative_mse
from foretune.models.forecasts.predict import evaluate
from foretune.models.forecasts.scoring import scale
from foretune.search.cli.main import run_command
from foretune.studies import tutorial_figures

TRAIN_DAYS, TEST_DAYS, HORIZON = 11_000, 1_000, 50

FULL = TrialConfig(
    units=(200, 200, 150),
    unroll_length=50,
    batch_size=500,
    learning_rate=1e-4,
    dropout=0.2,
    scaling="windowed_min_max",
    scaling_window=2500,
    smoothing=0.9,
    label_offset=5,
    epochs=30,
    steps_per_epoch=TRAIN_DAYS // 500,
    decay_factor=0.5,
    decay_patience=2,
    min_learning_rate=1e-6,
    stop_patience=30,
)
SMALL = FULL.replace(
    units=(32, 32),
    batch_size=100,
    steps_per_epoch=TRAIN_DAYS // 100,
    learning_rate=1e-3,
    epochs=12,
)


@dataclass(frozen=True, kw_only=True)
class AsPrinted:
    """The tutorial's own numbers: ½ MSE in its scaled units."""

    standard_average_half_mse: float
    ema_half_mse: float
    persistence_half_mse: float
    lstm_half_mse_by_epoch: list[float]
    lstm_train_loss_by_epoch: list[float]


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """Relative MSE of everything, 50 days ahead, at the same origins; persistence is 1."""

    best_epoch: int
    validation: dict[str, float]
    test: dict[str, float]


def tutorial_data(prices: PriceSeries) -> DevelopmentData:
    """Return the tutorial's split: its test takes the validation part's place, with no gap.

    Raises:
        DataError: fewer than 12,000 days; the message has both numbers.
    """
    needed = TRAIN_DAYS + TEST_DAYS
    if len(prices) < needed:
        raise DataError(
            f"{prices.name} must have {needed} days, {TRAIN_DAYS} to train and {TEST_DAYS} "
            f"to test, but got {len(prices)}"
        )
    split = Split(
        length=len(prices),
        train_stop=TRAIN_DAYS,
        validation_start=TRAIN_DAYS,
        validation_stop=needed,
        test_start=needed,
        horizon=HORIZON,
        stride=HORIZON,
    )
    return development(prices.series("mid"), split)


def as_printed(config: TrialConfig, data: DevelopmentData) -> tuple[AsPrinted, list[EpochResult]]:
    """Run the tutorial's protocol: the test decays the learning rate.

    Two of its faults are mended here too, as foretune has no way to make them: a label is never
    its own input (offsets are 1 to 5, not 0 to 4), and the recurrent state is reset where a
    cursor jumps.
    """
    run = []
    for result in fit(config, data, criterion="half_mse"):
        run.append(result)
        print(
            f"as printed: epoch {result.epoch}/{config.epochs} training loss "
            f"{result.train_loss:.4f} test half MSE {result.half_mse:.6f}",
            flush=True,
        )
    levels = scale(config, data.values, data.split.train_stop).inputs[0]
    train = levels[: data.split.train_stop]
    average, smoothed = StandardAverage(), ExponentialAverage()
    origins = data.split.validation_origins
    came = levels[origins[:, None] + np.arange(1, HORIZON + 1)]
    persisted = Persistence().forecast(levels, origins, HORIZON)
    printed = AsPrinted(
        standard_average_half_mse=_half(one_step_forecasts(average, train), train[100:]),
        ema_half_mse=_half(one_step_forecasts(smoothed, train), train[1:]),
        persistence_half_mse=_half(persisted, came),
        lstm_half_mse_by_epoch=[result.half_mse for result in run],
        lstm_train_loss_by_epoch=[result.train_loss for result in run],
    )
    return printed, run


def corrected(config: TrialConfig, prices: PriceSeries) -> Corrected:
    """Let validation decide, scale by returns, score everything alike, open the test once."""
    config = config.replace(scaling="log_returns", smoothing=0.0, label_offset=1)
    split = chronological_split(len(prices), horizon=HORIZON, history=config.unroll_length)
    run = []
    for result in fit(config, development(prices.series("mid"), split)):
        run.append(result)
        print(
            f"corrected: epoch {result.epoch}/{config.epochs} training loss "
            f"{result.train_loss:.4f} validation relative MSE {result.relative_mse:.4f}",
            flush=True,
        )
    best = best_epoch(run)
    opened = evaluate(
        config,
        best.params,
        prices.mid[None],
        train_stop=split.train_stop,
        origins=split.test_origins,
        horizon=HORIZON,
    )
    return Corrected(
        best_epoch=best.epoch,
        validation={
            "lstm": best.relative_mse,
            **_baselines(prices, split, split.validation_origins),
        },
        test={"lstm": opened.relative_mse, **_baselines(prices, split, split.test_origins)},
    )


def _baselines(prices: PriceSeries, split: Split, origins: np.ndarray) -> dict[str, float]:
    """Score every baseline on log prices at ``origins`` [O]."""
    growth = baseline_growth(
        prices.mid, train_stop=split.train_stop, origins=origins, horizon=HORIZON
    )
    came = LOG.changes(prices.mid, origins, HORIZON)
    return {name: relative_mse(forecast, came) for name, forecast in growth.items()}


def _half(forecast: np.ndarray, actual: np.ndarray) -> float:
    return 0.5 * mean_squared_error(forecast, actual)


def comparison_table(printed: AsPrinted, right: Corrected) -> Table:
    """Return both columns: what is printed, and what is left of it."""
    by_epoch = printed.lstm_half_mse_by_epoch
    chosen = int(np.argmin(by_epoch))
    table = Table(title="the tutorial, and put right", title_justify="left")
    table.add_column("forecast")
    table.add_column("as printed: ½ MSE, scaled", justify="right")
    table.add_column("of what", style="dim")
    table.add_column("put right: validation", justify="right")
    table.add_column("test", justify="right")
    one_day, ahead = "1 day, smoothed training", f"{HORIZON} days, test"
    as_printed = {
        "standard average": (printed.standard_average_half_mse, one_day),
        "exponential moving average": (printed.ema_half_mse, one_day),
        "persistence": (printed.persistence_half_mse, ahead + " (not reported)"),
        "lstm": (by_epoch[chosen], f"{ahead}; epoch {chosen + 1} chosen on it"),
    }
    for name in sorted(right.test, key=right.test.__getitem__):
        value, of_what = as_printed.get(name, (None, ""))
        shown = "" if value is None else f"{value:.7f}"
        table.add_row(
            name, shown, of_what, f"{right.validation[name]:.4f}", f"{right.test[name]:.4f}"
        )
    table.caption = (
        f"Put right: mean squared error of log prices, 1 to {HORIZON} days ahead, relative to "
        f"persistence, at the same origins; epoch {right.best_epoch} chosen on validation."
    )
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--prices", type=click.Path(), help="CSV file of daily prices (the S&P 500 sample).")
@click.option("--epochs", type=click.IntRange(min=1), help="Epochs (12; 30 with --full).")
@click.option("--out", default="results/tutorial", show_default=True, type=click.Path())
@click.option("--full", is_flag=True, help="The tutorial's network: 200, 200, 150; batch 500.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
def tutorial(prices: str | None, epochs: int | None, out: str, full: bool, seed: int) -> None:
    """Run the tutorial as printed and put right; write numbers and figures.

    How fast the training loss falls depends on the first weights, and so on the seed: the
    tutorial's printed numbers are one draw.
    """
    folder = require_folder_place(out)
    series = load_sample("sp500") if prices is None else load_prices(prices)
    data = tutorial_data(series)
    print(series.head(5).to_frame().to_string())
    config = (FULL if full else SMALL).replace(seed=seed)
    if epochs is not None:
        config = config.replace(epochs=epochs)
    printed, run = as_printed(config, data)
    right = corrected(config, series)
    make_folder(folder)
    document = {**asdict(printed), "corrected": asdict(right)}
    write_atomically(folder / "tutorial.json", json.dumps(document, indent=2) + "\n")
    tutorial_figures.save_all(folder, config, data, run, document)
    console = Console()
    console.print(comparison_table(printed, right))
    console.print(
        f"wrote tutorial.json and figures to {Path(folder)}", highlight=False, markup=False
    )


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 2."""
    run_command(tutorial, "tutorial")


if __name__ == "__main__":
    main()
