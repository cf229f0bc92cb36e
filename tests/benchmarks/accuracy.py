"""Accuracy: the default search of a new user, with neuralforecast's AutoLSTM and NHITS beside it.

    make bench                                          # after run.py; hours
    python tests/benchmarks/accuracy.py --quick         # a look: tiny budgets, nothing is written
    python tests/benchmarks/accuracy.py --systems foretune --only load co2

Six series and three panels, split and scored as ``accuracy_protocols.py`` says. Before anything is
trained, simple forecasts must give the errors that are known of each protocol. Every search and
every peer runs in a process of its own, one after another, from a cold start. The peers are not run
on panels. What earlier runs measured stays in ``accuracy.json`` until it is measured again.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accuracy_protocols import (
    PROTOCOLS,
    Protocol,
    baselines,
    deviations,
    future_columns,
    read,
    scale_of,
    why_left_out,
)
from run import machine

from foretune.datasets import Panel, TimeSeries
from foretune.datasets.common.files import write_atomically

HERE = Path(__file__).parent
SYSTEMS = ("AutoLSTM", "NHITS", "foretune")

# Configurations that AutoLSTM tries where it has the time.
SAMPLES = 6

# A known error has three digits.
CLOSE = 0.005

_PMDARIMA = """
import sys, numpy
from pmdarima import datasets
numpy.savez(sys.argv[1], load=datasets.load_taylor(), sunspots=datasets.load_sunspots())
"""

_VERSIONS = """
import json
from importlib.metadata import version
print(json.dumps({name: version(name) for name in ("neuralforecast", "torch", "pmdarima")}))
"""


class Runs:
    """How each system is started on a series; every call returns its error, seconds and more."""

    def __init__(self, peers: Path | None, folder: Path, *, quick: bool) -> None:
        self.peer = None if peers is None else peers / "bin" / "python"
        self.folder = folder
        self.quick = quick
        self.pmdarima: Path | None = None
        self.versions: dict[str, str] = {}
        if self.peer is not None:
            self.pmdarima = folder / "pmdarima.npz"
            self._run([self.peer, "-c", _PMDARIMA, self.pmdarima])
            self.versions = json.loads(self._run([self.peer, "-c", _VERSIONS])[0])

    def foretune(self, protocol: Protocol, seed: int) -> dict[str, Any]:
        """A default search, and its winner on the test."""
        command: list[str | Path] = [
            sys.executable,
            HERE / "accuracy_foretune.py",
            protocol.name,
            f"--seed={seed}",
        ]
        command += ["--trials=2"] if self.quick else []
        command += [] if self.pmdarima is None else [f"--pmdarima={self.pmdarima}"]
        return self._measured(command)

    def neuralforecast(self, model: str, protocol: Protocol, series: TimeSeries) -> dict[str, Any]:
        """A model of neuralforecast, fitted, and its forecasts of the test."""
        if self.peer is None:
            raise SystemExit(f"{model} runs in the peers' environment: give --peers")
        split = protocol.split(series)
        mean, deviation = (float(each[0]) for each in scale_of(series, split))
        data, out = self.folder / f"{protocol.name}.npz", self.folder / f"{protocol.name}.npy"
        np.savez(
            data,
            values=(series.target - mean) / deviation,
            future=future_columns(series, split.train_stop),
            validation_start=split.validation_start,
            test_origins=split.test_origins.astype(np.int64),
            horizon=split.horizon,
            stride=split.stride,
        )
        command: list[str | Path] = [
            self.peer,
            HERE / "peers" / "accuracy_neuralforecast.py",
            model,
        ]
        command += [f"--data={data}", f"--out={out}", *(["--quick"] if self.quick else [])]
        answer = self._measured(command, OMP_NUM_THREADS="1")
        return {"error": protocol.score(series, mean + deviation * np.load(out)[None])} | answer

    def _measured(self, command: Sequence[str | Path], **variables: str) -> dict[str, Any]:
        """Run a script that prints JSON; add its seconds, and the CPU's for it and its children."""
        before, started = _cpu_seconds_of_children(), time.perf_counter()
        lines = self._run(command, **variables)
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer | {
            "seconds": round(time.perf_counter() - started, 1),
            "cpu_seconds": round(_cpu_seconds_of_children() - before, 1),
            "machine": machine() | self.versions,
        }

    def _run(self, command: Sequence[str | Path], **variables: str) -> list[str]:
        """Run a command and return the lines that it printed."""
        done = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=os.environ | variables,
        )
        if done.returncode:
            raise RuntimeError(f"{command[1]} failed:\n{done.stderr[-3000:]}")
        return done.stdout.strip().split("\n")


def _cpu_seconds_of_children() -> float:
    """Return user and system seconds of all child processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Results:
    """What was measured, by series: kept in a folder, or with none in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._memory: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        """Return everything, in the order of the protocols."""
        found = self._memory
        if self._folder is not None and (self._folder / "accuracy.json").exists():
            found = json.loads((self._folder / "accuracy.json").read_text(encoding="utf-8"))
        return {name: found[name] for name in PROTOCOLS if name in found}

    def add(self, name: str, measured: dict[str, Any]) -> None:
        """Replace what was measured of a series by what was measured now, and leave the rest."""
        results = self.read()
        results[name] = results.get(name, {}) | measured
        self._memory = results
        for what, run in runs_of(measured).items():
            print(
                f"{name}, {what}: {run['error']:.4f} in {run['cpu_seconds']:.0f} CPU seconds, "
                f"{run['seconds']:.0f} by the clock",
                flush=True,
            )
        if self._folder is not None:
            write_atomically(self._folder / "accuracy.json", json.dumps(results, indent=1) + "\n")
            write_atomically(self._folder / "accuracy.md", markdown(results))


def runs_of(measured: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what was trained on a series, by system and seed, in the order of the table."""
    names = sorted(name for name in measured if name.startswith(SYSTEMS))
    return {name: measured[name] for name in names}


def measurements(
    runs: Runs, protocol: Protocol, data: TimeSeries | Panel, arguments: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Give the name of each run that the command line asks for on a series, and the run."""
    for system in arguments.systems:
        if system != "foretune":
            if isinstance(data, TimeSeries):
                yield system, partial(runs.neuralforecast, system, protocol, data)
            continue
        for seed in range(1 if arguments.quick else arguments.seeds):
            yield f"{system}, seed {seed}", partial(runs.foretune, protocol, seed)


def described(protocol: Protocol, data: TimeSeries | Panel) -> dict[str, Any]:
    """Return what is known of a series or a panel before anything is trained.

    Raises:
        SystemExit: a simple forecast has another error than is known of this protocol.
    """
    split = protocol.split(data)
    known = deviations(protocol, data)
    for name, (expected, found) in known.items():
        if abs(found / expected - 1) > CLOSE:
            raise SystemExit(f"{protocol.name}: {name} must be {expected}, but is {found:.4g}")
    return {
        "data": protocol.data,
        "error": protocol.error,
        "goal": protocol.goal,
        "series": len(data.members),
        "rows": len(data),
        "horizon": split.horizon,
        "stride": split.stride,
        "gap": split.gap,
        "training_rows": split.train_stop,
        "test_origins": len(split.test_origins),
        "known": {name: {"known": e, "here": f} for name, (e, f) in known.items()},
        "baselines": baselines(protocol, data),
    }


def markdown(results: dict[str, Any]) -> str:
    """Return the results as a page to read."""
    systems = sorted({name for measured in results.values() for name in runs_of(measured)})
    lines = ["# Accuracy", "", "Errors on the test, which no search has seen.", ""]
    lines += _header("series", "naive", "seasonal naive", "ridge", *systems, "goal")
    for name, measured in results.items():
        simple, runs = measured["baselines"], runs_of(measured)
        seasonal = next(value for what, value in simple.items() if what.startswith("seasonal"))
        cells = [_error(runs[s]) if s in runs else "" for s in systems]
        lines.append(
            f"| {name}, {measured['horizon']} steps, {measured['error']} "
            f"| {simple['persistence']:.4g} | {seasonal:.4g} | {simple['ridge on lags']:.4f} "
            f"| {' | '.join(cells)} | {measured['goal']} |"
        )
    lines += ["", "CPU seconds, user and system, with child processes (by the clock):", ""]
    lines += _header("series", *systems)
    for name, measured in results.items():
        runs = runs_of(measured)
        cells = [
            f"{runs[s]['cpu_seconds']:.0f} ({runs[s]['seconds']:.0f})" if s in runs else ""
            for s in systems
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", *_REMARKS, "", "## Protocols", ""]
    lines += _header("series", "rows", "that train", "gap", "test origins", "known, and here")
    for name, measured in results.items():
        known = (f"{n} {e['known']}: {e['here']:.4g}" for n, e in measured["known"].items())
        lines.append(
            f"| {name}: {measured['data']} | {measured['rows']:,} | {measured['training_rows']:,} "
            f"| {measured['gap']} | {measured['test_origins']:,}, {measured['stride']} apart "
            f"| {'; '.join(known)} |"
        )
    lines += ["", "## Where and when", ""]
    for machine_line, what in _machines(results).items():
        lines.append(f"- {', '.join(what)}: {machine_line}")
    return "\n".join(lines) + "\n"


def _error(run: dict[str, Any]) -> str:
    """Return the error of a run, and how many samples AutoLSTM had time for if not all.

    Of foretune the error after ``fit`` stands beside it.
    """
    samples = run.get("samples", SAMPLES)
    shown = f"{run['error']:.4f}" + (f" ({samples} samples)" if samples < SAMPLES else "")
    return shown + (f" ({run['refitted_error']:.4f})" if "refitted_error" in run else "")


_REMARKS = (
    "- MSE is of z-scored values, relative MSE is divided by persistence's. Both are of values; "
    "seasonal naives known of logarithms are computed so beside them.",
    "- foretune: `run_study` with 30 trials and all its defaults; the winner on validation is "
    "trained once more and forecasts the test, opened once. It is trained on the training part; in "
    "brackets, after `foretune fit`, which fits its ridge regression to the validation rows too. "
    "Panels are searched by what is measured, M4 by its sMAPE. "
    "The peers are trained on them.",
    "- AutoLSTM: 6 samples of its own space on one thread, fewer where half an hour has gone by, "
    "chosen on validation, then fitted again to all rows before the test. NHITS: its defaults, "
    "with standardised windows where there are no covariates, context 150, fitted to all rows "
    "before the test. Squared error is the loss of both. One seed.",
    "- The ridge's lags and penalty are chosen on validation; it reads the future covariates too. "
    "Those of bikes are the weather that came.",
)


def _machines(results: dict[str, Any]) -> dict[str, list[str]]:
    """Return what ran on which machine, with which versions and when."""
    found: dict[str, list[str]] = {}
    for name, measured in results.items():
        for system, run in runs_of(measured).items():
            line = ", ".join(f"{key} {value}" for key, value in run["machine"].items())
            found.setdefault(line, []).append(f"{system} on {name}")
    return found


def _header(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def main() -> None:
    """Measure what the command line names and write ``accuracy.json`` and ``accuracy.md``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--peers", type=Path, help="virtual environment of the peers")
    parser.add_argument("--only", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS))
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=3, help="searches by foretune a series")
    parser.add_argument("--quick", action="store_true", help="one seed, tiny budgets; no files")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    kept = Results(None if arguments.quick else arguments.out)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        peers = None if arguments.peers is None else arguments.peers.absolute()
        runs = Runs(peers, Path(folder), quick=arguments.quick)
        for name in arguments.only:
            reason = why_left_out(name, runs.pmdarima)
            if reason:
                print(f"{name} is left out: {reason}", flush=True)
                continue
            protocol, data = PROTOCOLS[name], read(name, runs.pmdarima)
            known = described(protocol, data)
            for system, run in measurements(runs, protocol, data, arguments):
                try:
                    kept.add(name, known | {system: run()})
                except RuntimeError as error:  # the others are of use without it
                    failed.append(f"{name}, {system}")
                    print(f"{failed[-1]}: {error}", flush=True)
    print(markdown(kept.read()))
    if failed:
        raise SystemExit(f"failed: {'; '.join(failed)}")


if __name__ == "__main__":
    main()
