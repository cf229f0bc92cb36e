"""Search the S&P 500 for a few minutes: ``make study``.

Twenty trials of one or two LSTM layers forecast the close 50 days ahead. The command ends
with a config to reuse (``results/quickstart/best.toml``), a table of trials and four figures.
Expect a relative MSE a few percent below 1 on validation. A line that climbs at the training days'
mean return gets 0.961 there; the rest was chosen from twenty on the days it is scored on.
"""

from rich.console import Console

from foretune.datasets import load_sample
from foretune.search import (
    FloatRange,
    SearchSpace,
    caveat,
    finished_trials,
    run_study,
    summary_table,
    write_results,
)

STUDY = "quickstart"
OUT = f"results/{STUDY}"
TRIALS = 20

SPACE = SearchSpace(
    layers=(1, 2),
    units=32,
    unroll_length=(25, 50),
    learning_rate=FloatRange(low=1e-4, high=1e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
)

NEXT = f"""
What next:
  .venv/bin/foretune dashboard        look at the study in a browser; so does make dashboard
  .venv/bin/foretune report --study {STUDY}
                                      is the winner more than luck? The test stays sealed;
                                      --open-test opens it, and writes that down
  .venv/bin/foretune fit {OUT}/best.toml --out {OUT}/model
                                      train the best config, validation days included
  .venv/bin/foretune forecast {OUT}/model --steps 10
                                      the next 10 business days
  .venv/bin/foretune run --study {STUDY} --trials 40
                                      go on to 40 trials; the 20 are kept
  in Python, reuse the best config:
    from foretune.datasets import chronological_split, development, load_sample
    from foretune.models import TrialConfig, fit

    prices = load_sample("sp500")     # or read_prices("your.csv")
    data = development(prices, chronological_split(len(prices)))
    for epoch in fit(TrialConfig.load("{OUT}/best.toml"), data):
        print(epoch.epoch, epoch.relative_mse)
"""


def main() -> None:
    """Run the study, write its results, say what to do next."""
    prices = load_sample("sp500")
    study = run_study(STUDY, prices, n_trials=TRIALS, space=SPACE)
    if finished_trials(study) < TRIALS:
        return  # Ctrl-C; run_study has said how to go on
    files = write_results(study, prices, OUT)
    console = Console()
    console.print(summary_table(study))
    console.print(caveat(study))
    console.print("wrote " + ", ".join(str(file) for file in files), highlight=False, markup=False)
    print(NEXT)


if __name__ == "__main__":
    main()
