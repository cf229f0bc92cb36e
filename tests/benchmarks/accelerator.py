"""Lanes on an accelerator, against PyTorch/cuDNN one trial at a time.

    python tests/benchmarks/accelerator.py --peers .venv-bench     # needs jax[cuda12], CUDA PyTorch
    python tests/benchmarks/accelerator.py --tiny                  # a look at it on any machine

R1's shapes with 1, 4, 16 and 64 lanes in trials an hour, the tutorial's network with 1 and 8 lanes
in milliseconds a step and trial, the chip's measured matrix-product rate beside them. Writes
``results/accelerator-DEVICE.json``.
"""

import argparse
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from reference import BATCH, EPOCHS, HORIZON, STEPS, STRIDE, configurations

from foretune.datasets import load_sample
from foretune.datasets.common.files import write_atomically
from foretune.datasets.splits import DevelopmentData, chronological_split, development
from foretune.models import TrialConfig
from foretune.models.training.lanes import Lanes
from foretune.models.training.tasks import TaskState
from foretune.studies.tutorial import FULL

HERE = Path(__file__).parent


def data() -> DevelopmentData:
    """Return the days that every run here trains on."""
    prices = load_sample("sp500")
    return development(prices, chronological_split(len(prices), horizon=HORIZON, stride=STRIDE))


def seconds_an_epoch(
    config: TrialConfig, days: DevelopmentData, lanes: int, epochs: int = 3
) -> float:
    """Median seconds of an epoch of ``lanes`` runs side by side, after the one that compiles."""
    work = [TaskState(config=config.replace(seed=seed)) for seed in range(lanes)]
    together, taken = Lanes(work, days, lanes), []
    for _ in range(epochs + 1):
        started = time.perf_counter()
        together.epoch(range(lanes))
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def reference_study(days: DevelopmentData, lanes: list[int], shapes: int) -> list[dict[str, Any]]:
    """Trials an hour at R1's shapes; a trial is its four epochs."""
    chosen = {(c.units, c.unroll_length): c for c in configurations(12)}
    rows = []
    for count in lanes:
        epochs = [
            seconds_an_epoch(
                TrialConfig(
                    units=c.units,
                    unroll_length=c.unroll_length,
                    learning_rate=c.learning_rate,
                    dropout=c.dropout,
                    batch_size=BATCH,
                    steps_per_epoch=STEPS,
                    epochs=100,
                    stop_patience=100,
                ),
                days,
                count,
            )
            for c in list(chosen.values())[:shapes]
        ]
        hourly = 3600 * count / (EPOCHS * statistics.mean(epochs))
        rows.append({"lanes": count, "trials_an_hour": round(hourly)})
        print(rows[-1], flush=True)
    return rows


def tutorial_steps(days: DevelopmentData, lanes: list[int], tiny: bool) -> list[dict[str, Any]]:
    """Milliseconds a step and trial of the tutorial's network."""
    config = FULL.replace(epochs=100, stop_patience=100, scaling="log_returns", smoothing=0.0)
    if tiny:
        config = config.replace(units=(8, 8), batch_size=8, steps_per_epoch=2)
    rows = []
    for count in lanes:
        seconds = seconds_an_epoch(config, days, count)
        per_step = 1e3 * seconds / (config.steps_per_epoch * count)
        rows.append({"lanes": count, "ms_a_step_and_trial": round(per_step, 3)})
        print(rows[-1], flush=True)
    return rows


def matrix_rate(size: int) -> float:
    """TFLOP/s of float32 products of ``size`` at the precision that training uses."""
    a = jnp.ones((size, size))
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        product(a).block_until_ready()
        taken.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(taken) / 1e12


def peer(peers: Path) -> Any:
    """Ask the PyTorch peer, on the same device."""
    script = HERE / "peers" / "pytorch_accelerator.py"
    done = subprocess.run(
        [peers / "bin" / "python", script], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{script.name} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().split("\n")[-1])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", help="virtual environment with CUDA PyTorch")
    parser.add_argument("--tiny", action="store_true", help="few shapes and lanes, nothing written")
    parser.add_argument("--out", default=str(HERE / "results"))
    arguments = parser.parse_args()
    days, tiny = data(), arguments.tiny
    device = jax.devices()[0].device_kind
    results = {
        "device": device,
        "matrix_product_tflops": round(matrix_rate(512 if tiny else 8192), 2),
        "r1": reference_study(days, [1, 2] if tiny else [1, 4, 16, 64], 1 if tiny else 9),
        "tutorial": tutorial_steps(days, [1, 2] if tiny else [1, 8], tiny),
        "pytorch": peer(Path(arguments.peers)) if arguments.peers else None,
    }
    print(json.dumps(results, indent=1))
    if not tiny:
        file = Path(arguments.out) / f"accelerator-{device.replace(' ', '-')}.json"
        write_atomically(file, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
