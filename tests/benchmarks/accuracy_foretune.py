"""The default search of a new user on a series or panel, and its winner's error on the test.

Prints JSON. The study and the compiled programs are kept in a temporary folder: a cold start.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from accuracy_protocols import PROTOCOLS, Protocol, owa, read

from foretune.datasets import Panel, TimeSeries
from foretune.datasets.splits import development
from foretune.models import TrialConfig
from foretune.models.forecasts.metrics import Metrics
from foretune.models.forecasts.predict import evaluate
from foretune.models.training.refit import train_and_refit
from foretune.search import best_config, finished_trials, make_report, run_study


def main() -> None:
    """Run the search that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=PROTOCOLS)
    parser.add_argument("--pmdarima", type=Path)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    protocol = PROTOCOLS[arguments.name]
    data = read(protocol.name, arguments.pmdarima)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FORETUNE_CACHE_DIR"] = folder
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
        started = time.perf_counter()
        study = run_study(
            protocol.name,
            data,
            n_trials=arguments.trials,
            seed=arguments.seed,
            storage=f"sqlite:///{folder}/studies.db",
            show_progress_bar=False,
            **protocol.arguments,
        )
        seconds, cpu_seconds = time.perf_counter() - started, cpu_seconds_so_far()
        # One config is trained once more; by default it would be the best five, for an ensemble.
        report = make_report(study, data, open_test=True, top=1)
        trial = study.trials[report.finding.trial]
        trials = finished_trials(study)
        refitted = refitted_error(best_config(study), data, protocol)
    if report.test is None:
        raise SystemExit(f"the test is closed: {report.verdict}")
    errors = {name: error_of(model.metrics, protocol) for name, model in report.test.models.items()}
    winner, *others = errors
    answer = {
        "error": errors[winner],
        "refitted_error": refitted,
        "search_seconds": seconds,
        "search_cpu_seconds": cpu_seconds,
        "trials": trials,
        "trial": trial.number,
        "params": trial.params,
        "validation": report.finding.value,
        "baselines": {name: errors[name] for name in others},
        "verdict": report.verdict,
    }
    print(json.dumps(answer))


def error_of(metrics: Metrics, protocol: Protocol) -> float:
    """Return what a protocol measures, of a forecast's metrics on the test."""
    if protocol.error == "OWA":
        return owa(metrics.smape, metrics.of("mase"))
    return metrics.relative_mse if protocol.error == "relative MSE" else metrics.mse


def refitted_error(config: TrialConfig, data: TimeSeries | Panel, protocol: Protocol) -> float:
    """Return the test error of the winner as it forecasts after ``foretune fit``.

    Its ridge regression is fitted to the validation rows too, and to those of the gap before them.
    """
    split = protocol.split(data)
    part = development(data, split)
    trained = train_and_refit(config, part, metric=protocol.arguments.get("metric", "relative_mse"))
    scores = evaluate(
        config,
        trained.params,
        data.values,
        train_stop=trained.train_stop,
        origins=split.test_origins,
        horizon=split.horizon,
        spaces=part.spaces,
        covariates=part.encoding.encode_all(data.members, data.firsts.tolist()),
        skip=trained.skip,
        firsts=data.firsts,
    )
    units = np.array([space.unit for space in part.spaces])[:, None, None]
    now = data.values[:, split.test_origins, None]
    return protocol.score(data, now + units * scores.changes)


def cpu_seconds_so_far() -> float:
    """Return the CPU seconds of this process and of its workers, which have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main()
