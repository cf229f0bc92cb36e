"""The comparison: foretune and its peers on the same work, in one run on one machine.

    make bench        # every system, interleaved; about 25 minutes on two cores
    python tests/benchmarks/run.py --quick      # a look: one repetition, R60 left out

Every system runs in a process of its own, one after another, round after round, so that what
else the machine does hits all of them. Reported are medians, and ratios within a round with their
spread.
"""

import argparse
import datetime
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from pruners import DEFAULT
from reference import HORIZON, STRIDE, configurations

from foretune.datasets import load_sample
from foretune.datasets.common.files import write_atomically
from foretune.datasets.splits import chronological_split, development
from foretune.models import TrialConfig
from foretune.models.forecasts.scoring import scale

HERE = Path(__file__).parent
SHAPES = [[64, 1, 32, 50], [64, 64, 64, 50], [128, 64, 64, 50], [500, 200, 200, 50]]

Rounds = dict[str, list[dict[str, Any]]]


class Systems:
    """How each system is started; every call returns what it printed as JSON."""

    def __init__(self, peers: Path, folder: Path) -> None:
        self.python = {"foretune": Path(sys.executable), "peer": peers / "bin" / "python"}
        self.warm = folder / "warm"
        self.folder = folder
        self.data = folder / "data.npz"
        self.colds = itertools.count()
        prices = load_sample("sp500")
        days = development(prices, chronological_split(len(prices), horizon=HORIZON, stride=STRIDE))
        series = scale(TrialConfig(), days.values, days.split.train_stop)
        np.savez(
            self.data,
            series=series.inputs[0],
            train_length=days.split.train_stop - series.lag,
            origins=days.split.validation_origins.astype(np.int64) - series.lag,
        )

    def foretune(self, trials: int = 12, workers: int = 1, *, cold: bool = False) -> dict[str, Any]:
        """A reference study by foretune."""
        cache = self.folder / f"cold-{next(self.colds)}" if cold else self.warm
        return self._run(
            "foretune",
            "foretune_study.py",
            f"--trials={trials}",
            f"--workers={workers}",
            f"--cache={cache}",
        )

    def peer(self, name: str, trials: int = 12, workers: int = 1) -> dict[str, Any]:
        """A reference study by the peer of that script."""
        return self._run(
            "peer",
            f"peers/{name}.py",
            f"--data={self.data}",
            f"--trials={trials}",
            f"--workers={workers}",
        )

    def script(self, which: str, name: str, *arguments: str) -> Any:
        """Any other script of the benchmark."""
        return self._run(which, name, *arguments)

    def _run(self, which: str, script: str, *arguments: str) -> Any:
        command = [str(self.python[which]), str(HERE / script), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        if done.returncode:
            raise SystemExit(f"{script} failed:\n{done.stderr[-3000:]}")
        return json.loads(done.stdout.strip().split("\n")[-1])


def in_rounds(count: int, systems: dict[str, Callable[[], dict[str, Any]]]) -> Rounds:
    """Run every system once a round, and say what came."""
    rounds: Rounds = {name: [] for name in systems}
    for number in range(count):
        for name, run in systems.items():
            answer = run()
            rounds[name].append(answer)
            print(f"round {number + 1}/{count} {name}: {answer['seconds']:.1f} s", flush=True)
    return rounds


def seconds(rounds: Rounds, name: str) -> list[float]:
    """Return the seconds of a system, round by round."""
    return [answer["seconds"] for answer in rounds[name]]


def ratio(slower: list[float], faster: list[float]) -> dict[str, Any]:
    """Return how many times faster, round by round: median and spread."""
    ratios = [s / f for s, f in zip(slower, faster, strict=False)]
    return {
        "measured": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


def goal(description: str, at_least: float | None, measured: dict[str, Any]) -> dict[str, Any]:
    """Return one line of the table of goals."""
    value = measured.get("measured")
    met = None if value is None or at_least is None else value >= at_least
    return {"what": description, "goal": at_least, **measured, "met": met}


def driver_goals(overhead: dict[str, Any]) -> dict[str, Any]:
    """Return the goals of what a driver costs besides training."""
    count, ours, theirs = (overhead[name][-1] for name in ("counts", "foretune", "optuna"))
    return {
        "driver_overhead": goal(
            f"the driver's time a trial of {count}, against `study.optimize`",
            round(1 / 1.1, 3),
            {"measured": round(theirs / ours, 3)},
        ),
        "busy_slots": goal(
            "share of the time that 64 slots of 1 s tasks are busy",
            0.9,
            {"measured": round(overhead["busy_share_of_64_slots"], 3)},
        ),
        "status": goal(
            f"1 s, in the time of `foretune status` of {count} trials",
            1.0,
            {"measured": round(1 / overhead["status"], 1)},
        ),
    }


def layers(systems: Systems, repetitions: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time the layer in both frameworks, interleaved; returns the table and its two goals."""
    shapes = json.dumps(SHAPES)
    torch: list[list[float]] = []
    ours: dict[str, list[list[float]]] = {"foretune": [], "autodiff": []}
    for _ in range(repetitions):
        torch.append(systems.script("peer", "peers/layer.py", shapes))
        answer = systems.script("foretune", "layer.py", shapes)
        for name, row in answer.items():
            ours[name].append(row)
    rows = []
    for column, shape in enumerate(SHAPES):
        ratios = [t[column] / f[column] for t, f in zip(torch, ours["foretune"], strict=True)]
        rows.append(
            {
                "batch, inputs, units, days": shape,
                "pytorch_ms": round(1e3 * statistics.median(t[column] for t in torch), 2),
                "autodiff_ms": round(
                    1e3 * statistics.median(f[column] for f in ours["autodiff"]), 2
                ),
                "foretune_ms": round(
                    1e3 * statistics.median(f[column] for f in ours["foretune"]), 2
                ),
                "ratio": round(statistics.median(ratios), 3),
            }
        )
    means = [
        statistics.geometric_mean(t / f for t, f in zip(pt, ft, strict=True))
        for pt, ft in zip(torch, ours["foretune"], strict=True)
    ]
    mean = {
        "measured": round(statistics.median(means), 3),
        "lowest": round(min(means), 3),
        "highest": round(max(means), 3),
    }
    least = {"measured": min(row["ratio"] for row in rows)}
    return {"layer": rows}, {
        "layer_geometric_mean": goal(
            "LSTM layer, one core, against PyTorch, mean of 4", 1.25, mean
        ),
        "layer_least": goal("the same, worst of the four shapes", 1.0, least),
    }


def studies(systems: Systems, rounds: int, with_r60: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Time R1 and R60 in every system; returns the seconds and the goals."""
    systems.foretune()  # fills the warm cache
    r1 = in_rounds(
        rounds,
        {
            "foretune, warm cache": systems.foretune,
            "pytorch": lambda: systems.peer("pytorch"),
            "foretune, warm cache, 2 workers": lambda: systems.foretune(workers=2),
            "pytorch, 2 processes": lambda: systems.peer("pytorch", workers=2),
            "neuralforecast AutoLSTM, with its refit": lambda: systems.peer("neuralforecast_auto"),
            "foretune, empty cache": lambda: systems.foretune(cold=True),
            "keras": lambda: systems.peer("keras_lstm"),
            "flax nn.RNN, jit in the objective": lambda: systems.peer("flax_rnn"),
        },
    )
    warm, two = (seconds(r1, f"foretune, warm cache{more}") for more in ("", ", 2 workers"))
    auto = seconds(r1, "neuralforecast AutoLSTM, with its refit")
    goals = {
        "r1_warm_1_worker": goal(
            "R1, warm cache, against PyTorch, 1 process", 1.5, ratio(seconds(r1, "pytorch"), warm)
        ),
        "r1_warm_2_workers": goal(
            "R1, warm cache, against PyTorch, 2 processes",
            1.5,
            ratio(seconds(r1, "pytorch, 2 processes"), two),
        ),
        "r1_neuralforecast": goal(
            "R1 against neuralforecast AutoLSTM, each as it runs by default on 2 cores",
            5.0,
            ratio(auto, two),
        ),
        "r1_neuralforecast_1_worker": goal(
            "the same, foretune with 1 worker on 1 core (no goal)", None, ratio(auto, warm)
        ),
        "r1_two_workers": goal(
            "R1, 2 workers against 1 (no goal: a tail of one trial in twelve)",
            None,
            ratio(warm, two),
        ),
    }
    table = dict(r1)
    if with_r60:
        r60 = in_rounds(
            1,
            {
                "foretune, R60, empty cache": lambda: systems.foretune(60, cold=True),
                "pytorch, R60": lambda: systems.peer("pytorch", 60),
                "foretune, R60, warm cache": lambda: systems.foretune(60),
                "foretune, R60, warm cache, 2 workers": lambda: systems.foretune(60, 2),
            },
        )
        goals["two_workers"] = goal(
            "2 workers on 2 cores against 1, R60, warm cache",
            1.85,
            ratio(
                seconds(r60, "foretune, R60, warm cache"),
                seconds(r60, "foretune, R60, warm cache, 2 workers"),
            ),
        )
        goals["r60_empty_cache"] = goal(
            "R60, empty cache, against PyTorch, 1 process",
            1.0,
            ratio(seconds(r60, "pytorch, R60"), seconds(r60, "foretune, R60, empty cache")),
        )
        table |= r60
        shapes = len({(c.units, c.unroll_length) for c in configurations(60)})
        programs = r60["foretune, R60, empty cache"][0]["programs"]
        goals["compiles"] = goal(
            f"distinct shapes a program compiled, R60 ({shapes} shapes, {programs} programs)",
            1.0,
            {"measured": round(shapes / programs, 3)},
        )
    return {"studies": table}, goals


def machine() -> dict[str, Any]:
    """Describe where this was measured."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n")
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "accelerator": "none at hand"
        if jax.default_backend() == "cpu"
        else jax.devices()[0].device_kind,
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "flax", "optuna", "numpy")},
    }


def pruning(folder: Path) -> dict[str, Any]:
    """Return the goal on pruning from the last run of pruners.py, the default pruner's share."""
    file = folder / "pruners.json"
    if not file.exists():
        return {}
    results = json.loads(file.read_text(encoding="utf-8"))
    shares, worse = [], []
    for by_pruner in results.values():
        for run, none in zip(by_pruner[DEFAULT], by_pruner["none"], strict=True):
            shares.append(none["epochs"] / run["epochs"])
            worse.append(run["best"] - none["best"])
    measured = {
        "measured": round(statistics.median(shares), 3),
        "lowest": round(min(shares), 3),
        "highest": round(max(shares), 3),
        "median_loss_of_best_value": round(statistics.median(worse), 5),
    }
    line = goal(
        f"epochs without pruning, in those of the default, {DEFAULT}, at the same best value",
        3.0,
        measured,
    )
    line["met"] = line["met"] and measured["median_loss_of_best_value"] <= 0.001
    return {"pruning": line}


def markdown(results: dict[str, Any]) -> str:
    """Return the results as a page to read."""
    lines = ["# Benchmark", "", "`make bench` on:", ""]
    lines += [f"- {name}: {value}" for name, value in results["machine"].items()]
    lines += ["", "## Goals", "", "| | goal | measured | spread | |", "|---|---|---|---|---|"]
    for line in results["goals"].values():
        spread = f"{line['lowest']} to {line['highest']}" if "lowest" in line else ""
        met = {True: "met", False: "**missed**", None: ""}[line["met"]]
        value = line.get("measured")
        asked = "" if line["goal"] is None else f"at least {line['goal']}"
        shown = "not measured" if value is None else value
        lines.append(f"| {line['what']} | {asked} | {shown} | {spread} | {met} |")
    lines += [
        "",
        "Ratios of seconds, above 1 is faster; medians over rounds run one after another.",
    ]
    lines += [
        "",
        "## The reference studies: R1, 12 trials, and R60, 60 trials",
        "",
        "| system | seconds | |",
        "|---|---|---|",
    ]
    for name, answers in results["studies"].items():
        times = [answer["seconds"] for answer in answers]
        all_times = ", ".join(f"{t:.1f}" for t in times)
        lines.append(f"| {name} | {statistics.median(times):.1f} | {all_times} |")
    lines += [
        "",
        "## The LSTM layer on one core: ms forward and backward",
        "",
        "| batch, inputs, units, days | PyTorch | autodiff of the scan | foretune | ratio |",
        "|---|---|---|---|---|",
    ]
    for row in results["layer"]:
        shape = ", ".join(map(str, row["batch, inputs, units, days"]))
        lines.append(
            f"| {shape} | {row['pytorch_ms']} | {row['autodiff_ms']} | {row['foretune_ms']} "
            f"| {row['ratio']} |"
        )
    over = results["overhead"]
    lines += [
        "",
        "## Overhead: ms a trial of stub tasks, SQLite",
        "",
        "| trials | foretune's driver | `study.optimize`, same sampler and reports |",
        "|---|---|---|",
    ]
    for count, ours, theirs in zip(over["counts"], over["foretune"], over["optuna"], strict=True):
        lines.append(f"| {count} | {1e3 * ours:.1f} | {1e3 * theirs:.1f} |")
    lines += [
        "",
        "64 slots with tasks that sleep for a second are busy "
        f"{over['busy_share_of_64_slots']:.0%} of the time. `foretune status` of the largest "
        f"study takes {over['status']:.2f} s.",
    ]
    memory = results["memory"]
    lines += [
        "",
        "## Memory",
        "",
        f"{memory['trials']} trials of up to 80 shapes in one process: {memory['mib'][0]} MiB "
        f"after 10, {memory['mib'][-1]} MiB at the end, "
        f"{memory['mib_a_trial_after_10']:.2f} MiB a trial.",
    ]
    lines += list(_notes())
    return "\n".join(lines) + "\n"


def _notes() -> Iterator[str]:
    notes = HERE / "notes.md"
    if notes.exists():
        yield ""
        yield notes.read_text(encoding="utf-8").strip()


def figure(results: dict[str, Any], file: Path) -> None:
    """Draw the seconds of every system on R1."""
    shown = {n: a for n, a in results["studies"].items() if "R60" not in n}
    names = sorted(shown, key=lambda n: statistics.median(a["seconds"] for a in shown[n]))
    medians = [statistics.median(a["seconds"] for a in shown[n]) for n in names]
    chart, axes = plt.subplots(figsize=(8, 3.6), layout="constrained")
    colours = ["#1f4e79" if name.startswith("foretune") else "#b0b0b0" for name in names]
    bars = axes.barh(names[::-1], medians[::-1], color=colours[::-1])
    axes.bar_label(bars, fmt="%.1f s", padding=3)
    axes.set_xlabel("seconds for the 12 trials of R1 (median)")
    axes.set_xlim(0, 1.12 * max(medians))
    axes.spines[["top", "right"]].set_visible(False)
    chart.savefig(file, dpi=150)


def main() -> None:
    """Run the comparison and write ``results.json``, ``results.md`` and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--peers", default=".venv-bench", help="virtual environment of the peers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, R60 left out")
    parser.add_argument("--out", default=str(HERE / "results"))
    arguments = parser.parse_args()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    rounds = 1 if arguments.quick else arguments.rounds
    with tempfile.TemporaryDirectory() as folder:
        systems = Systems(Path(arguments.peers).absolute(), Path(folder))
        layer_table, layer_goals = layers(systems, rounds)
        study_table, study_goals = studies(systems, rounds, with_r60=not arguments.quick)
        results = {
            "machine": machine(),
            "goals": layer_goals
            | study_goals
            | pruning(out)
            | {
                "accelerator_r1": goal(
                    "one H100, R1's sizes in lanes against PyTorch/cuDNN (accelerator.py)", 10.0, {}
                ),
                "accelerator_tutorial": goal(
                    "one H100, the tutorial's network, 8 lanes (accelerator.py)", 2.0, {}
                ),
            },
            **study_table,
            **layer_table,
            "overhead": systems.script("foretune", "overhead.py"),
            "memory": systems.script("foretune", "memory.py", f"--cache={folder}/memory"),
        }
        growth = results["memory"]["mib_a_trial_after_10"]
        results["goals"]["memory"] = goal(
            f"3 MiB, in the growth a trial after the tenth ({growth:.2f} MiB)",
            1.0,
            {"measured": round(3 / max(growth, 0.01), 2)},
        )
        results["goals"] |= driver_goals(results["overhead"])
    if arguments.quick:
        print(markdown(results))
        return
    write_atomically(out / "results.json", json.dumps(results, indent=1) + "\n")
    write_atomically(out / "results.md", markdown(results))
    figure(results, out / "r1.png")
    print(markdown(results))


if __name__ == "__main__":
    main()
