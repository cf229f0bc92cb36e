"""From a study to tomorrow's prices, and on to a narrower study: the best config, reused.

    python -m foretune.studies.reuse [--prices NAME_OR_PATH] [--out DIR]

A small search, its best config as a file, a forecaster trained from that file, saved, loaded and
asked for the days ahead; then a second study in the space around the best config, which trains the
known one first, and both side by side. About half a minute on the S&P 500.
"""

from pathlib import Path

import click
from rich.console import Console

from foretune.datasets import load_prices
from foretune.datasets.common.files import make_folder, require_folder_place
from foretune.models import Forecaster
from foretune.search import FloatRange, SearchSpace, best_config, run_study, save_best, space_around
from foretune.search.cli.main import run_command
from foretune.search.cli.options import print_written_files
from foretune.search.review.compare import comparison_table
from foretune.search.study.best_file import BestDocument

SPACE = SearchSpace(
    layers=1,
    units=(16, 32),
    unroll_length=25,
    learning_rate=FloatRange(low=1e-4, high=3e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    epochs=8,
    steps_per_epoch=40,
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--prices", default="sp500", show_default=True, help="A sample or a CSV file.")
@click.option("--trials", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--out", default="results/reuse", show_default=True, type=click.Path())
def reuse(prices: str, trials: int, out: str) -> None:
    """Search, forecast with the best config, and search on around it."""
    require_folder_place(out)
    series, console = load_prices(prices), Console()
    folder = Path(make_folder(out))
    storage = f"sqlite:///{folder / 'studies.db'}"

    wide = run_study("wide", series, n_trials=trials, space=SPACE, storage=storage)
    best = folder / "best.toml"
    save_best(wide, best)
    print_written_files(console, [best])

    # The document names the split: the test days neither train nor decide.
    document = BestDocument.load(best)
    model = Forecaster.train(document.config, series, split=document.split_of(series))
    model.save(folder / "model")
    print_written_files(console, [folder / "model"])
    ahead = Forecaster.load(folder / "model").forecast(steps=5)
    console.print(ahead.to_string(index=False), highlight=False)

    narrow = run_study(
        "narrow",
        series,
        n_trials=trials,
        space=space_around(SPACE, best_config(wide), width=0.25),
        start_from=[best_config(wide)],
        storage=storage,
    )
    console.print(comparison_table([wide, narrow]))


def main() -> None:
    """Run the command; a user's mistake is one line and exit code 2."""
    run_command(reuse, "reuse")


if __name__ == "__main__":
    main()
