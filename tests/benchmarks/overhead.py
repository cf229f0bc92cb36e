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

from foretune.search import SearchSpace
from foretune.search.pruners import default_pruner
from foretune.search.sampler import TrialSeededSampler
from foretune.search.storage.connect import open_storage
from foretune.search.tickets import hand_in
from foretune.search.watch import Watch
from foretune.search.worker import Listener, Work, next_trial


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
    storage = open_storage(url)
    optuna.create_study(study_name="s", storage=storage)
    data: Any = None  # a stub trains on nothing
    work = Work(
        study_name="s",
        n_trials=count,
        space=SearchSpace(),
        folds=data,
        sampler=TrialSeededSampler(0),
        pruner=default_pruner(),
    )
    listener = Listener(
        on_epoch=lambda *_: None,
        on_trial=lambda _: None,
        on_idle=lambda: None,
    )
    watch = Watch()
    started = time.perf_counter()
    while (trial := next_trial(work, storage, listener, watch)) is not None:
        trial.study.tell(trial, stub(trial))
        hand_in(trial)
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
