"""How much does it flatter to let the test decide? The same search twice, over several seeds.

    python -m foretune.studies.leakage [--prices NAME_OR_PATH] [--seeds S] [--trials N] [--out DIR]

Once the test days decay the learning rate, pick the epoch and pick the trial, as in the tutorial;
once the validation days do, and the test is opened for the winner alone. Both report a relative
MSE on the same test days, for the same training days, sampler and seed. Their difference is what
the leak flatters. Simulated prices are drawn again for each seed, so that the interval covers their
chance too; for real prices it covers the seeds of sampler and network only.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np
import optuna
from scipy import stats

from foretune.datasets import SAMPLES, PriceSeries, load_prices
from foretune.datasets.common.files import make_folder, require_folder_place, write_atomically
from foretune.datasets.splits import DevelopmentData, Split, chronological_split, development
from foretune.models import NonFiniteLossError, best_epoch, fit
from foretune.models.forecasts.predict import evaluate
from foretune.search import FloatRange, Objective, SearchSpace, best_config
from foretune.search.cli.main import run_command
from foretune.search.review.progress import quiet_optuna
from foretune.search.study.samplers import TrialSeededSampler

HORIZON = 50

SPACE = SearchSpace(
    layers=1,
    units=16,
    unroll_length=25,
    learning_rate=FloatRange(low=1e-3, high=3e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    epochs=8,
    steps_per_epoch=40,
)


@dataclass(frozen=True, kw_only=True)
class Leakage:
    """Reported relative MSE on test by seed, and the flattery with its 95 % interval."""

    leaked: list[float]
    honest: list[float]
    flattery: float
    low: float
    high: float


def search(data: DevelopmentData, seed: int, trials: int) -> optuna.Study:
    """Search ``data``, whose validation part decides everything."""
    study = optuna.create_study(sampler=TrialSeededSampler(seed))
    objective = Objective(SPACE.fix(seed=seed), data)
    study.optimize(objective, n_trials=trials, catch=NonFiniteLossError)
    return study


def leaked_value(prices: PriceSeries, split: Split, seed: int, trials: int) -> float:
    """Return what a search reports whose decisions are made on the test days."""
    return search(leaked_data(prices, split), seed, trials).best_value


def leaked_data(prices: PriceSeries, split: Split) -> DevelopmentData:
    """Put the test days where the validation days belong."""
    leak = replace(split, validation_start=split.test_start, validation_stop=split.test_stop)
    return development(prices.series("mid"), leak)


def honest_value(prices: PriceSeries, split: Split, seed: int, trials: int) -> float:
    """Return the test value of the trial and epoch that the validation days chose."""
    data = development(prices.series("mid"), split)
    config = best_config(search(data, seed, trials))
    best = best_epoch(fit(config, data))
    scores = evaluate(
        config,
        best.params,
        prices.mid[None],
        train_stop=split.train_stop,
        origins=split.test_origins,
        horizon=split.horizon,
    )
    return scores.relative_mse


def summarise(leaked: list[float], honest: list[float]) -> Leakage:
    """Return the mean of honest - leaked over the seeds, with Student's 95 % interval."""
    differences = np.subtract(honest, leaked)
    mean, error = float(differences.mean()), float(stats.sem(differences))
    # Not stats.t.interval, which is NaN where all differences are the same.
    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    return Leakage(leaked=leaked, honest=honest, flattery=mean, low=mean - half, high=mean + half)


def measure(where: str, seeds: int, trials: int, say: Callable[[str], None]) -> Leakage:
    """Run both searches for every seed, on the prices found at ``where``."""
    leaked: list[float] = []
    honest: list[float] = []
    for seed in range(seeds):
        simulated = where in SAMPLES and where not in ("sp500", "bikes")
        prices = load_prices(f"{where}(seed={seed})" if simulated else where)
        split = chronological_split(len(prices), horizon=HORIZON, history=SPACE.history)
        leaked.append(leaked_value(prices, split, seed, trials))
        honest.append(honest_value(prices, split, seed, trials))
        say(f"seed {seed}: decided on test {leaked[-1]:.4f}, on validation {honest[-1]:.4f}")
    return summarise(leaked, honest)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--prices", default="sp500", show_default=True, help="A sample or a CSV file.")
@click.option("--seeds", type=click.IntRange(min=2), default=5, show_default=True)
@click.option("--trials", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--out", default="results/leakage", show_default=True, type=click.Path())
def leakage(prices: str, seeds: int, trials: int, out: str) -> None:
    """Measure how much a search flatters itself whose decisions are made on test."""
    folder = require_folder_place(out)
    with quiet_optuna():
        found = measure(prices, seeds, trials, click.echo)
    click.echo(
        f"{prices}: deciding on test lowers the reported relative MSE by {found.flattery:.4f} "
        f"(95 % interval {found.low:.4f} to {found.high:.4f}, {seeds} seeds of {trials} trials); "
        f"{sum(np.less(found.leaked, 1))} of {seeds} then seem to beat persistence, honestly "
        f"{sum(np.less(found.honest, 1))}"
    )
    make_folder(folder)
    file = Path(folder) / "leakage.json"
    write_atomically(file, json.dumps(asdict(found), indent=2) + "\n")
    click.echo(f"wrote {file}")


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 2."""
    run_command(leakage, "leakage")


if __name__ == "__main__":
    main()
