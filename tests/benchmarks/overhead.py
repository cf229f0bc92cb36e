"""What a driver costs besides training: studies of stub tasks on SQLite.

For 10, 100 and 1,000 trials of one seeded TPE: seconds a trial of foretune's driver (ask, four
reports, prune, files, tell), and of plain ``study.optimize`` with as many reports. Then the share
of the time in which 64 slots are busy, with tasks that sleep for a second. Prints JSON.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import optuna

from foretune.datasets import load_sample
from foretune.search import FloatRange, SearchSpace, load_study, run_study, study_status
from foretune.search.study.pruners import default_pruner
from foretune.search.study.samplers import TrialSeededSampler

sys.path.insert(0, str(Path(__file__).parent.parent))
from stub_executor import StubExecutor, by_rate

REPORTS, EPOCHS, HORIZON = 4, 12, 5
WALK = load_sample("random_walk", length=500)
SPACE = SearchSpace(
    layers=(1, 2),
    units=(32, 64),
    unroll_length=(25, 50),
    learning_rate=FloatRange(low=1e-4, high=1e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    epochs=REPORTS,
)


def executor(**options: Any) -> StubExecutor:
    """Return one that answers with forecasts of the walk's validation origins."""
    return StubExecutor(forecasts=(94, HORIZON), **options)


def by_foretune(url: str, count: int) -> float:
    """Seconds a trial of a study that is driven by foretune."""
    started = time.perf_counter()
    run_study(
        "s",
        WALK,
        n_trials=count,
        space=SPACE,
        horizon=HORIZON,
        storage=url,
        executor=executor(epochs=REPORTS),
        show_progress_bar=False,
    )
    return (time.perf_counter() - started) / count


def by_optuna(url: str, count: int) -> float:
    """Seconds a trial of ``study.optimize`` with the same sampler, pruner, space and reports."""

    def objective(trial: optuna.Trial) -> float:
        config = SPACE.suggest(trial)
        for epoch in range(1, REPORTS + 1):
            trial.report(by_rate(config, epoch), epoch)
            if epoch < REPORTS and trial.should_prune():
                raise optuna.TrialPruned
        return by_rate(config, REPORTS)

    study = optuna.create_study(
        study_name="s", storage=url, sampler=TrialSeededSampler(0), pruner=default_pruner()
    )
    started = time.perf_counter()
    study.optimize(objective, n_trials=count)
    return (time.perf_counter() - started) / count


def busy_share(slots: int, seconds: float, trials: int) -> float:
    """The share of the slots' time in which a sleeping task runs, from when all of them have begun.

    Every task is an epoch of a trial of twelve, foretune's default; the last round does not count,
    in which no trial is left for a slot that is free.
    """
    made = executor(size=slots, seconds=seconds)
    with tempfile.TemporaryDirectory() as folder:
        run_study(
            "s",
            WALK,
            n_trials=trials,
            space=SPACE.fix(epochs=EPOCHS),
            horizon=HORIZON,
            storage=f"sqlite:///{folder}/studies.db",
            pruner=optuna.pruners.NopPruner(),
            executor=made,
            show_progress_bar=False,
        )
    spans = sorted(made.spans)
    first, last = spans[slots - 1][0], spans[-1][1] - EPOCHS * seconds
    busy = sum(max(0.0, min(end, last) - max(begin, first)) for begin, end in spans)
    return busy / (slots * (last - first))


def main() -> None:
    """Measure every count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--counts", type=json.loads, default=[10, 100, 1000])
    parser.add_argument("--trials", type=int, default=64 * 5, help="of the study of 64 slots")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    answer: dict[str, Any] = {"counts": arguments.counts, "foretune": [], "optuna": []}
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/foretune.db"
            answer["foretune"].append(by_foretune(url, count))
            answer["optuna"].append(by_optuna(f"sqlite:///{folder}/optuna.db", count))
            started = time.perf_counter()
            study_status(load_study("s", url))
            answer["status"] = time.perf_counter() - started
    answer["busy_share_of_64_slots"] = busy_share(64, 1.0, arguments.trials)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
