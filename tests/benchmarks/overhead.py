"""What a trial costs besides its training: studies of a stub objective on SQLite.

For 10, 100 and 1,000 trials: seconds a trial of foretune's worker loop (ticket, TPE, one report,
tell), and of plain ``study.optimize`` with Optuna's own default sampler. Prints JSON.
"""

import argparse
import json
import tempfile
import time
from typing import Any

import optuna

from foretune.search.sampler import TrialSeededSampler
from foretune.search.storage import open_storage
from foretune.search.study import default_pruner
from foretune.search.tickets import add_tickets, take_ticket


def stub(trial: optuna.Trial) -> float:
    """Suggest what R1 suggests, report once, and return at once."""
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    layers = trial.suggest_categorical("layers", [1, 2])
    for layer in range(layers):
        trial.suggest_categorical(f"units_{layer + 1}", [32, 64])
    trial.report(rate + dropout, 1)
    trial.should_prune()
    return rate + dropout


def by_tickets(url: str, count: int) -> float:
    """Seconds a trial of foretune's loop."""
    storage, sampler, pruner = open_storage(url), TrialSeededSampler(0), default_pruner()
    study = optuna.create_study(study_name="s", storage=storage)
    started = time.perf_counter()
    add_tickets(study, count, ahead=2)
    while (trial := take_ticket("s", storage, sampler, pruner)) is not None:
        trial.study.tell(trial, stub(trial))
        add_tickets(study, count, ahead=2)
    return (time.perf_counter() - started) / count


def by_optuna(url: str, count: int) -> float:
    """Seconds a trial of ``study.optimize``."""
    study = optuna.create_study(study_name="s", storage=url)
    started = time.perf_counter()
    study.optimize(stub, n_trials=count)
    return (time.perf_counter() - started) / count


def main() -> None:
    """Measure every count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts", type=json.loads, default=[10, 100, 1000])
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    answer: dict[str, Any] = {"counts": arguments.counts}
    for name, measure in (("foretune", by_tickets), ("optuna", by_optuna)):
        answer[name] = []
        for count in arguments.counts:
            with tempfile.TemporaryDirectory() as folder:
                answer[name].append(measure(f"sqlite:///{folder}/studies.db", count))
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
