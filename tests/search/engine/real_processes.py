"""Studies of known values, Dask clusters of separate processes, and who is left of a driver."""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
from command_line import wait_until
from optuna.storages import InMemoryStorage
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from foretune.datasets import load_sample
from foretune.models.config import TrialConfig
from foretune.search import FloatRange, SearchSpace, run_study

DASK = str(Path(sys.executable).with_name("dask"))


@dataclass(frozen=True)
class SureStudy:
    """A study of known configs, and of a few drawn at random: its values depend on no order."""

    trials: int
    epochs: int
    steps: int
    drawn: int = 0

    @cached_property
    def space(self) -> SearchSpace:
        return SearchSpace(
            layers=1,
            units=8,
            unroll_length=16,
            batch_size=16,
            learning_rate=FloatRange(low=1e-4, high=1e-1, log=True),
            dropout=0.1,
            epochs=self.epochs,
            steps_per_epoch=self.steps,
        ).fix(stop_patience=self.epochs)

    @cached_property
    def configs(self) -> list[TrialConfig]:
        rates = np.geomspace(1e-3, 5e-2, self.trials - self.drawn).tolist()
        return [self.space.suggest(FixedTrial({"learning_rate": rate})) for rate in rates]

    def run(self, storage: Any, *, name: str = "s", **options: Any) -> optuna.Study:
        """Run the study, or go on with it."""
        return run_study(
            name,
            load_sample("random_walk", length=500, seed=3),
            n_trials=self.trials,
            space=self.space,
            horizon=5,
            storage=storage,
            start_from=self.configs,
            pruner=optuna.pruners.NopPruner(),
            show_progress_bar=False,
            **options,
            target="mid",
        )

    @cached_property
    def undisturbed(self) -> list[FrozenTrial]:
        """What becomes of the study if nothing happens."""
        return self.run(InMemoryStorage(), workers=1).trials

    def require_whole(self, study: optuna.Study) -> None:
        """Exactly the wanted trials, none twice, with the values of an undisturbed run."""
        trials = study.trials
        assert [trial.state for trial in trials] == [TrialState.COMPLETE] * self.trials
        assert len({trial.params["learning_rate"] for trial in trials}) == self.trials
        for trial, alone in zip(trials, self.undisturbed, strict=True):
            assert trial.params == alone.params
            found, expected = trial.intermediate_values, alone.intermediate_values
            assert sorted(found) == list(expected)
            np.testing.assert_allclose(
                [found[step] for step in expected], list(expected.values()), rtol=1e-12, atol=0
            )
            assert trial.value == min(found.values())
            assert trial.user_attrs["epochs"] == self.epochs


class Cluster:
    """A Dask scheduler and workers with nannies, each a process of its own, on this machine."""

    def __init__(self, folder: Path, workers: int, host: str = "127.0.0.1") -> None:
        self.file = folder / "scheduler.json"
        self.workers = 0
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", host, "--port", "0")
        wait_until(self.file.exists)
        if workers:
            self.add("--host", host, "--nworkers", str(workers))

    def add(self, *options: str, prefix: Sequence[str] = ()) -> None:
        """Start one more nanny, or several, by a command that says where."""
        self.workers += 1 if "--nworkers" not in options else int(options[-1])
        scratch = ["--local-directory", str(self._folder), "--nthreads", "1"]
        self._start("worker", *scratch, *options, prefix=prefix)

    def _start(self, role: str, *options: str, prefix: Sequence[str] = ()) -> None:
        always = ["--scheduler-file", str(self.file), "--no-dashboard"]
        with (self._folder / f"{role}-{len(self._processes)}.log").open("wb") as log:
            command = [*prefix, DASK, role, *always, *options]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def end(self) -> None:
        """Kill all of its processes."""
        everybody = [psutil.Process(p.pid) for p in self._processes if p.poll() is None]
        everybody += [child for p in everybody for child in p.children(recursive=True)]
        for process in everybody:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for popen in self._processes:
            popen.wait()


def descendants(pid: int) -> list[psutil.Process]:
    """The processes that a process has started, and those that they have."""
    return psutil.Process(pid).children(recursive=True)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that has ended may wait for its parent, or for init, to look."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def require_gone(processes: Sequence[psutil.Process], seconds: float = 10) -> float:
    """Wait until processes have ended; returns how long that took."""
    began = time.monotonic()
    wait_until(lambda: not any(map(is_alive, processes)), seconds)
    return time.monotonic() - began
