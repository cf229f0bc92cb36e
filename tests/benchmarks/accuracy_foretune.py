"""The default search of a new user on one series, and its winner's error on the opened test.

Prints JSON. The study and the compiled programs are kept in a temporary folder: a cold start.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

from accuracy_protocols import PROTOCOLS, read

from foretune.datasets import TimeSeries
from foretune.datasets.splits import Split, development
from foretune.models import TrialConfig
from foretune.models.forecasts.predict import evaluate
from foretune.models.forecasts.scoring import Scores
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
    series = read(protocol.name, arguments.pmdarima)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FORETUNE_CACHE_DIR"] = folder
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
        started = time.perf_counter()
        study = run_study(
            protocol.name,
            series,
            n_trials=arguments.trials,
            seed=arguments.seed,
            storage=f"sqlite:///{folder}/studies.db",
            show_progress_bar=False,
            **protocol.arguments,
        )
        seconds, cpu_seconds = time.perf_counter() - started, cpu_seconds_so_far()
        # One config is trained once more; by default it would be the best five, for an ensemble.
        report = make_report(study, series, open_test=True, top=1)
        trial = study.trials[report.finding.trial]
        trials = finished_trials(study)
        refitted = refitted_scores(best_config(study), series, protocol.split(series))
    if report.test is None:
        raise SystemExit(f"the test is closed: {report.verdict}")
    metric = "relative_mse" if protocol.relative else "mse"
    errors = {
        name: float(getattr(model.metrics, metric)) for name, model in report.test.models.items()
    }
    winner, *others = errors
    answer = {
        "error": errors[winner],
        "refitted_error": refitted.relative_mse
        if protocol.relative
        else refitted.relative_mse * refitted.persistence_mse,
        "search_seconds": seconds,
        "search_cpu_seconds": cpu_seconds,
        "trials": trials,
        "trial": trial.number,
        "params": trial.params,
        "validation_relative_mse": report.finding.value,
        "baselines": {name: errors[name] for name in others},
        "verdict": report.verdict,
    }
    print(json.dumps(answer))


def refitted_scores(config: TrialConfig, series: TimeSeries, split: Split) -> Scores:
    """Score the winner on the test as it forecasts after ``foretune fit``.

    Its ridge regression is fitted to the validation rows too, and to those of the gap before them.
    """
    data = development(series, split)
    trained = train_and_refit(config, data)
    return evaluate(
        config,
        trained.params,
        series.target[None],
        train_stop=trained.train_stop,
        origins=split.test_origins,
        horizon=split.horizon,
        spaces=data.spaces,
        covariates=data.encoding.encode(series),
        skip=trained.skip,
    )


def cpu_seconds_so_far() -> float:
    """Return the CPU seconds of this process and of its workers, which have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main()
