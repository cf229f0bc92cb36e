"""How a process grows over hundreds of trials of changing shapes. Prints JSON."""

import argparse
import json
import os
from pathlib import Path

import optuna

from foretune.datasets import load_sample
from foretune.search import IntRange, SearchSpace, run_study

SPACE = SearchSpace(
    layers=(1, 2),
    units=IntRange(low=8, high=128),
    unroll_length=(10, 15, 20, 25),
    epochs=1,
    steps_per_epoch=2,
)


def resident_mib() -> float:
    """Return this process's memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """Run the study ten trials at a time and look at the memory after each ten."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--cache", required=True)
    arguments = parser.parse_args()
    os.environ["FORETUNE_CACHE_DIR"] = arguments.cache
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    storage, after = optuna.storages.InMemoryStorage(), []
    for trials in range(10, arguments.trials + 1, 10):
        study = run_study(
            "memory",
            load_sample("sp500"),
            n_trials=trials,
            space=SPACE,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(seed=trials),
            workers=1,
            show_progress_bar=False,
        )
        after.append(round(resident_mib(), 1))
    configs = [trial.user_attrs["config"] for trial in study.trials]
    growth = (max(after) - after[0]) / (arguments.trials - 10)
    print(json.dumps({"mib": after, "mib_a_trial_after_10": growth, "trials": len(configs)}))


if __name__ == "__main__":
    main()
