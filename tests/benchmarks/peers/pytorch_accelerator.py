"""PyTorch/cuDNN one trial at a time, for accelerator.py: prints JSON."""

import json
import time

import torch
from protocol import configurations  # protocol puts reference on the path
from pytorch import Stacked
from reference import BATCH, CLIP, EPOCHS, HORIZON, STEPS
from torch import nn

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def epoch_seconds(units, unroll, batch, steps, dropout, epochs) -> float:
    """Seconds an epoch of ``steps`` steps, with 20 recursive forecasts at its end."""
    series = torch.randn(11_000, device=DEVICE)
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
            outputs, states = model(x[..., None], states)
            loss = 0.5 * (outputs[..., 0] - y).square().mean(1).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            states = [(h.detach(), c.detach()) for h, c in states]
            cursors = cursors + unroll
        forecast(model, series, unroll)
        synchronize()
        taken.append(time.perf_counter() - started)
    return sorted(taken[1:])[epochs // 2]


@torch.no_grad()
def forecast(model: Stacked, series, unroll: int) -> None:
    """Forecast recursively from 20 origins."""
    model.eval()
    origins = torch.arange(20, device=DEVICE) * 50 + 9_000
    windows = series[origins + torch.arange(1 - unroll, 1, device=DEVICE)[:, None]]
    outputs, states = model(windows[..., None], [None] * len(model.layers))
    following = outputs[-1:]
    for _ in range(HORIZON - 1):
        following, states = model(following, states)


def synchronize() -> None:
    """Wait for the device."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Measure R1's shapes and the tutorial's network."""
    chosen = {(c.units, c.unroll_length): c for c in configurations(12)}
    epochs = [
        epoch_seconds(units, unroll, BATCH, STEPS, c.dropout, 3)
        for (units, unroll), c in chosen.items()
    ]
    tutorial = epoch_seconds((200, 200, 150), 50, 500, 22, 0.2, 3) / 22
    answer = {
        "device": torch.cuda.get_device_name() if DEVICE.type == "cuda" else "cpu",
        "r1_trials_an_hour": round(3600 / (EPOCHS * sum(epochs) / len(epochs))),
        "tutorial_ms_a_step": round(1e3 * tutorial, 3),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
