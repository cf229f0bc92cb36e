"""What every peer's script does around its training: read the study, run it in Optuna, print JSON.

A peer gives ``train(configuration, series, train_length, origins) -> value``. With one worker it
is an Optuna objective; with more, Optuna's ask and tell feed a pool of processes. The clock starts
when every process has imported its framework and stops when the last trial is told.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import optuna
from reference import Configuration, configurations

Train = Callable[..., float]


def main(train: Train, prepare: Callable[[], None]) -> None:
    """Run the study that the command line names and print its seconds and values as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    data = dict(np.load(arguments.data))
    chosen = configurations(arguments.trials)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    for configuration in chosen:
        study.enqueue_trial(configuration.params)
    if arguments.workers == 1:
        _start(0, prepare)
        started = time.perf_counter()
        study.optimize(lambda trial: train(_suggest(trial), **data), n_trials=len(chosen))
        seconds = time.perf_counter() - started
    else:
        seconds = _in_processes(study, train, prepare, data, arguments.workers, len(chosen))
    values = [trial.value for trial in study.trials]
    print(json.dumps({"seconds": seconds, "values": values}))


def _suggest(trial: optuna.Trial) -> Configuration:
    layers = trial.suggest_int("layers", 1, 2)
    units = {
        f"units_{n}": trial.suggest_categorical(f"units_{n}", [32, 64])
        for n in range(1, layers + 1)
    }
    return Configuration.of(
        {
            "layers": layers,
            **units,
            "unroll_length": trial.suggest_categorical("unroll_length", [25, 50]),
            "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
            "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        }
    )


def _start(core: int, prepare: Callable[[], None]) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[core % len(cores)]})
    prepare()


def _in_processes(
    study: optuna.Study,
    train: Train,
    prepare: Callable[[], None],
    data: dict[str, Any],
    workers: int,
    trials: int,
) -> float:
    context = multiprocessing.get_context("spawn")
    core = context.Value("i", 0)
    with context.Pool(workers, _start_worker, (core, prepare)) as pool:
        pool.map(_nothing, range(workers * 4), chunksize=1)
        started = time.perf_counter()
        asked = [study.ask() for _ in range(trials)]
        jobs = [(number, train, _suggest(trial), data) for number, trial in enumerate(asked)]
        for number, value in pool.imap_unordered(_train_one, jobs, chunksize=1):
            study.tell(asked[number], value)
        return time.perf_counter() - started


def _start_worker(core: Any, prepare: Callable[[], None]) -> None:
    with core.get_lock():
        mine = core.value
        core.value += 1
    _start(mine, prepare)


def _nothing(_: int) -> None:
    time.sleep(0.05)


def _train_one(job: tuple[int, Train, Configuration, dict[str, Any]]) -> tuple[int, float]:
    number, train, configuration, data = job
    return number, train(configuration, **data)
