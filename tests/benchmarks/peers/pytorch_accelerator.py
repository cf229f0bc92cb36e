"""PyTorch/cuDNN one trial at a time, for accelerator.py: prints JSON."""

import json
import statistics
import time

import torch
from protocol import configurations  # protocol puts reference on the path
from pytorch import Stacked, gradient_step, validate
from reference import BATCH, EPOCHS, STEPS

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def epoch_seconds(units, unroll, batch, steps, dropout, *, with_forecasts, epochs=3) -> float:
    """Median seconds of ``steps`` steps, and of 20 recursive forecasts if they are asked for."""
    series = torch.randn(11_000, device=DEVICE)
    origins = torch.arange(20, device=DEVICE) * 50 + 9_000
    model = Stacked(units, dropout).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=DEVICE.type == "cuda")
    days = torch.arange(unroll, device=DEVICE)[:, None]
    taken = []
    for _ in range(epochs + 1):
        synchronize()
        started = time.perf_counter()
        cursors = torch.arange(batch, device=DEVICE) * 5_000 // batch
        states = [None] * len(units)
        model.train()
        for _ in range(steps):
            x, y = series[cursors + days], series[cursors + days + 1]
            states = gradient_step(model, optimizer, x, y, states)
            cursors = cursors + unroll
        if with_forecasts:
            validate(model, series, origins, unroll)
        synchronize()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def synchronize() -> None:
    """Wait for the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure R1's shapes and the tutorial's network."""
    chosen = {(c.units, c.unroll_length): c for c in configurations(12)}
    epochs = [
        epoch_seconds(units, unroll, BATCH, STEPS, c.dropout, with_forecasts=True)
        for (units, unroll), c in chosen.items()
    ]
    # The steps alone; foretune's figure beside it has its forecasts in it.
    tutorial = epoch_seconds((200, 200, 150), 50, 500, 22, 0.2, with_forecasts=False) / 22
    answer = {
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
        "r1_trials_an_hour": round(3600 / (EPOCHS * sum(epochs) / len(epochs))),
        "tutorial_ms_a_step": round(1e3 * tutorial, 3),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
