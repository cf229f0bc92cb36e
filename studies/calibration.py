"""Does foretune claim skill only where there is some? Many small studies on simulated prices.

    python -m foretune.studies.calibration [--studies S] [--found F] [--trials N] [--out DIR]

On random walks there is nothing to find: a claim (p < 0.05) is a false alarm, and about one study
in twenty may make one. AR(1) returns (phi 0.6, 5 days ahead) and a noisy sine (50 days ahead) can
be forecast: there, skill should be claimed. Every study is run as any other, then judged by its
report with the test opened, which also counts how often the 90 % intervals held.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import optuna
from loky import get_reusable_executor
from rich import box
from rich.console import Console
from rich.table import Table

from foretune.datasets import load_prices
from foretune.datasets.common.files import make_folder, require_folder_place, write_atomically
from foretune.models.forecasts.intervals import COVERAGE
from foretune.search import make_report, run_study
from foretune.search.cli.main import run_command
from foretune.search.cli.options import POSITIVE
from foretune.search.engine.devices import usable_cores
from foretune.search.report.verdict import SIGNIFICANCE
from foretune.studies.leakage import SPACE


@dataclass(frozen=True)
class Setting:
    """Prices to study and how far ahead; whether there is ``skill`` to find."""

    sample: str
    horizon: int
    skill: bool


SETTINGS = (
    Setting("random_walk", 50, skill=False),
    Setting("random_walk", 5, skill=False),
    Setting("ar1", 5, skill=True),
    Setting("noisy_sine", 50, skill=True),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the report on one study says."""

    seed: int
    p_value: float
    claims_skill: bool
    confirmed_on_test: bool
    validation: float
    test: float
    coverage: float


def judge(setting: Setting, seed: int, trials: int) -> Outcome:
    """Run one study on prices of its own, and judge it."""
    # Other prices for each setting, and not the seed of the sampler and the weights.
    prices = load_prices(f"{setting.sample}(seed={1000 * setting.horizon + seed})")
    study = run_study(
        f"{setting.sample}-{setting.horizon}-{seed}",
        prices,
        n_trials=trials,
        space=SPACE.fix(seed=seed),
        target="mid",  # of which it is known what can be forecast
        horizon=setting.horizon,
        seed=seed,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
    )
    report = make_report(study, prices, open_test=True, top=1)
    finding, test = report.finding, report.test
    assert finding.test is not None  # the report opened the test
    assert test is not None
    assert test.coverage is not None  # as it always is, of an opened test
    return Outcome(
        seed=seed,
        p_value=finding.skill.p_value,
        claims_skill=finding.claims_skill,
        confirmed_on_test=finding.test.is_better,
        validation=finding.relative_mse,
        test=finding.test.relative_mse,
        coverage=float(np.mean(test.coverage)),
    )


def calibrate(
    setting: Setting, studies: int, trials: int, say: Callable[[str], None]
) -> list[Outcome]:
    """Judge ``studies`` studies, seeds 0, 1, 2, ..., as many at a time as there are cores."""
    outcomes = []
    for outcome in _side_by_side(setting, range(studies), trials):
        outcomes.append(outcome)
        say(
            f"{setting.sample}, {setting.horizon} days, seed {outcome.seed}: p = "
            f"{outcome.p_value:.3f}, relative MSE {outcome.validation:.4f} on validation, "
            f"{outcome.test:.4f} on test"
        )
    return outcomes


def _side_by_side(setting: Setting, seeds: Sequence[int], trials: int) -> Iterator[Outcome]:
    count = len(seeds)
    if usable_cores() == 1 or count == 1:
        yield from (judge(setting, seed, trials) for seed in seeds)
        return
    with get_reusable_executor(usable_cores(), env={"OMP_NUM_THREADS": "1"}) as executor:
        yield from executor.map(judge, [setting] * count, seeds, [trials] * count)


def summary(found: dict[Setting, list[Outcome]]) -> Table:
    """Return one row per setting."""
    table = Table(title="does foretune claim skill only where there is some?", box=box.SIMPLE)
    columns = ("prices", "skill", "claimed", "confirmed", "validation", "test", "intervals")
    for column in columns:
        table.add_column(column)
    for setting, outcomes in found.items():
        count = len(outcomes)
        table.add_row(
            f"{setting.sample} ({setting.horizon})",
            "yes" if setting.skill else "no",
            f"{sum(o.claims_skill for o in outcomes)} of {count}",
            f"{sum(o.confirmed_on_test for o in outcomes)} of {count}",
            f"{np.median([o.validation for o in outcomes]):.4f}",
            f"{np.median([o.test for o in outcomes]):.4f}",
            f"{np.mean([o.coverage for o in outcomes]):.1%}",
        )
    table.caption = (
        f"(days ahead); claimed: p < {SIGNIFICANCE} on validation; confirmed: on the test; "
        "validation, test: median relative MSE; "
        f"intervals: held on the test, of {COVERAGE:.0%} meant"
    )
    return table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--studies", type=POSITIVE, default=40, show_default=True, help="Studies of each random walk."
)
@click.option(
    "--found", type=POSITIVE, default=10, show_default=True, help="Studies of each other series."
)
@click.option("--trials", type=POSITIVE, default=8, show_default=True)
@click.option("--out", default="results/calibration", show_default=True, type=click.Path())
def calibration(studies: int, found: int, trials: int, out: str) -> None:
    """Count how often skill is claimed where there is none, and where there is some."""
    folder = require_folder_place(out)
    outcomes = {
        setting: calibrate(setting, found if setting.skill else studies, trials, click.echo)
        for setting in SETTINGS
    }
    Console().print(summary(outcomes))
    document = [
        asdict(setting) | {"outcomes": [asdict(outcome) for outcome in judged]}
        for setting, judged in outcomes.items()
    ]
    file = Path(make_folder(folder)) / "calibration.json"
    write_atomically(file, json.dumps(document, indent=2) + "\n")
    click.echo(f"wrote {file}")


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 2."""
    run_command(calibration, "calibration")


if __name__ == "__main__":
    main()
