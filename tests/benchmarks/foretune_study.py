"""A reference study run by foretune: ``run_study`` on SQLite, as a user runs it.

Prints JSON: seconds from the first trial's start to the last one's end, the values, and how many
programs were compiled or loaded. ``--cache DIR`` keeps compiled programs there; an empty one is a
cold start.
"""

import argparse
import json
import os
import tempfile
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from reference import BATCH, EPOCHS, HORIZON, STEPS, STRIDE, configurations

from foretune.datasets import load_sample
from foretune.search import FloatRange, SearchSpace, run_study

SPACE = SearchSpace(
    layers=(1, 2),
    units=(32, 64),
    unroll_length=(25, 50),
    learning_rate=FloatRange(low=1e-4, high=1e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    batch_size=BATCH,
    steps_per_epoch=STEPS,
    epochs=EPOCHS,
    decay_factor=1.0,
)


class Listed(BaseSampler):
    """Gives trial ``n`` the ``n``-th of a list of parameters."""

    def __init__(self, params: list[dict[str, Any]]) -> None:
        self._params = params

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        return self._params[trial.number][name]


def main() -> None:
    """Run the study that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--cache", required=True)
    arguments = parser.parse_args()
    os.environ["FORETUNE_CACHE_DIR"] = arguments.cache
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    if arguments.workers == 1 and hasattr(os, "sched_setaffinity"):
        # One thread, as every worker of every system here has.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    params = [configuration.params for configuration in configurations(arguments.trials)]
    with tempfile.TemporaryDirectory() as folder:
        study = run_study(
            "reference",
            load_sample("sp500"),
            n_trials=arguments.trials,
            space=SPACE,
            horizon=HORIZON,
            stride=STRIDE,
            storage=f"sqlite:///{folder}/studies.db",
            sampler=Listed(params),
            pruner=optuna.pruners.NopPruner(),
            workers=arguments.workers,
            lanes=arguments.lanes,
            show_progress_bar=False,
        )
        trials = study.trials
    started = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    answer = {
        "seconds": (ended - started).total_seconds(),
        "values": [trial.value for trial in trials],
        "programs": sum(trial.user_attrs["compiles"] for trial in trials),
        "from_cache": sum(trial.user_attrs["cache_hits"] for trial in trials),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
