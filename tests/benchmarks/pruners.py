"""What pruning costs and saves: the same studies under several pruners, paired by seed.

    python tests/benchmarks/pruners.py [--seeds 5] [--trials 30] [--out tests/benchmarks/results]

For each sample and seed one study a pruner, same sampler seed, same data. Compared: the best
validation value that a study reached, and the epochs that it trained.
"""

import argparse
import json
import os
import statistics
import warnings
from pathlib import Path
from typing import Any

import optuna
from loky import ProcessPoolExecutor
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)

from foretune.datasets import load_sample
from foretune.datasets.common.files import write_atomically
from foretune.search import FloatRange, SearchSpace, run_study
from foretune.search.study.pruners import default_pruner

# What run_study prunes by.
DEFAULT = "median, from epoch 3"
EPOCHS = 12
SPACE = SearchSpace(
    layers=1,
    units=(16, 32),
    unroll_length=(25, 50),
    learning_rate=FloatRange(low=1e-4, high=1e-1, log=True),
    epochs=EPOCHS,
)
HORIZONS = {"sp500": 50, "ar1": 5}


def pruners() -> dict[str, BasePruner]:
    """Return every pruner compared, by what it is called in the table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return {
            "none": NopPruner(),
            DEFAULT: default_pruner(),
            "median, from epoch 2": MedianPruner(n_startup_trials=5, n_warmup_steps=2),
            "median, from epoch 1": MedianPruner(n_startup_trials=5, n_warmup_steps=1),
            "patient (2) median": PatientPruner(MedianPruner(n_startup_trials=5), patience=2),
            "best quarter, from epoch 3": PercentilePruner(25.0, 5, 3),
            "best quarter, from epoch 2": PercentilePruner(25.0, 5, 2),
            "best quarter, from epoch 1": PercentilePruner(25.0, 5, 1),
            "successive halving, factor 3": SuccessiveHalvingPruner(
                min_resource=1, reduction_factor=3
            ),
            "successive halving, factor 3, from 2": SuccessiveHalvingPruner(
                min_resource=2, reduction_factor=3
            ),
            "hyperband": HyperbandPruner(min_resource=1, max_resource=EPOCHS, reduction_factor=3),
        }


def one_study(sample: str, seed: int, pruner: str, trials: int) -> tuple[float, int]:
    """Run one study on one core; returns its best value and its epochs."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    study = run_study(
        "pruning",
        load_sample(sample),
        n_trials=trials,
        space=SPACE,
        horizon=HORIZONS[sample],
        seed=seed,
        storage=optuna.storages.InMemoryStorage(),
        pruner=pruners()[pruner],
        show_progress_bar=False,
    )
    # What a task trained after the epoch in which its trial was pruned has been trained too.
    trained = ("epochs", "epochs_dropped")
    return study.best_value, sum(t.user_attrs[name] for t in study.trials for name in trained)


def table(results: dict[str, Any]) -> str:
    """Return the comparison as Markdown."""
    lines = [
        "| sample | pruner | epochs, share of none | best value, less that of none | "
        "no worse than none by 0.001 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for sample, by_pruner in results.items():
        none = by_pruner["none"]
        for pruner, runs in by_pruner.items():
            shares = [r["epochs"] / n["epochs"] for r, n in zip(runs, none, strict=True)]
            worse = [r["best"] - n["best"] for r, n in zip(runs, none, strict=True)]
            even = sum(w < 0.001 for w in worse)
            lines.append(
                f"| {sample} | {pruner} | {statistics.median(shares):.2f} "
                f"({min(shares):.2f} to {max(shares):.2f}) | {statistics.median(worse):+.4f} "
                f"({min(worse):+.4f} to {max(worse):+.4f}) | {even} of {len(worse)} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run every study, two at a time, and write table and numbers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--only", action="append", help="a pruner; the others' numbers are kept")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results"))
    arguments = parser.parse_args()
    names = list(pruners())
    chosen = arguments.only or names
    jobs = [(s, seed, p) for s in HORIZONS for seed in range(arguments.seeds) for p in chosen]
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pruners.json"
    kept = json.loads(file.read_text(encoding="utf-8")) if arguments.only else {}
    results: dict[str, Any] = {
        s: {p: [] if p in chosen else kept[s][p] for p in names} for s in HORIZONS
    }
    with ProcessPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        futures = [pool.submit(one_study, *job, arguments.trials) for job in jobs]
        for (sample, seed, pruner), future in zip(jobs, futures, strict=True):
            best, epochs = future.result()
            results[sample][pruner].append({"seed": seed, "best": best, "epochs": epochs})
            print(f"{sample} seed {seed} {pruner}: best {best:.4f}, {epochs} epochs", flush=True)
    write_atomically(file, json.dumps(results, indent=1) + "\n")
    write_atomically(folder / "pruners.md", table(results) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
