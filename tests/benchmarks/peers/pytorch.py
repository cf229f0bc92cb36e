"""Optuna + PyTorch: cuDNN-style ``nn.LSTM`` layers, as a PyTorch user writes them."""

import numpy as np
import torch
from protocol import main
from reference import BATCH, CLIP, EPOCHS, HORIZON, STEPS, Configuration
from torch import nn


class Stacked(nn.Module):
    """LSTM layers with dropout on their outputs, and a linear head."""

    def __init__(self, units: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        widths = (1, *units)
        self.layers = nn.ModuleList(nn.LSTM(i, u) for i, u in zip(widths, units, strict=False))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(units[-1], 1)

    def forward(self, x, states):
        """Run [T, B, 1] from ``states``."""
        new_states = []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state)
            x = self.dropout(x)
            new_states.append(state)
        return self.head(x), new_states


def train(configuration: Configuration, series, train_length, origins) -> float:
    """Train one configuration; returns its best validation error in scaled units."""
    torch.manual_seed(0)
    series = torch.from_numpy(series.astype(np.float32))
    unroll, train_length = configuration.unroll_length, int(train_length)
    model = Stacked(configuration.units, configuration.dropout)
    optimizer = torch.optim.Adam(model.parameters(), lr=configuration.learning_rate)
    cursors = torch.arange(BATCH) * train_length // BATCH
    states = [None] * len(configuration.units)
    days = torch.arange(unroll)[:, None]
    best = float("inf")
    for _ in range(EPOCHS):
        model.train()
        for _ in range(STEPS):
            spent = cursors > train_length - 1 - unroll
            if spent.any():
                cursors[spent] = torch.randint(0, train_length - unroll, (int(spent.sum()),))
                keep = (~spent)[None, :, None]
                states = [(h * keep, c * keep) for h, c in states]
            x, y = series[cursors + days], series[cursors + days + 1]
            states = gradient_step(model, optimizer, x, y, states)
            cursors = cursors + unroll
        best = min(best, validate(model, series, torch.from_numpy(origins), unroll))
    return best


def gradient_step(model: Stacked, optimizer, x, y, states):
    """Take one step on inputs and labels [T, B]; returns the states after it."""
    outputs, states = model(x[..., None], states)
    loss = 0.5 * (outputs[..., 0] - y).square().mean(1).sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    return [(h.detach(), c.detach()) for h, c in states]


@torch.no_grad()
def validate(model: Stacked, series, origins, unroll: int) -> float:
    """Forecast recursively from every origin."""
    model.eval()
    windows = series[origins + torch.arange(1 - unroll, 1, device=series.device)[:, None]]
    outputs, states = model(windows[..., None], [None] * len(model.layers))
    forecast = outputs[-1:]
    forecasts = [forecast[0, :, 0]]
    for _ in range(HORIZON - 1):
        forecast, states = model(forecast, states)
        forecasts.append(forecast[0, :, 0])
    came = series[origins + torch.arange(1, HORIZON + 1, device=series.device)[:, None]]
    return float((torch.stack(forecasts) - came).square().mean())


def prepare() -> None:
    """Use one thread, as every worker of every system here."""
    torch.set_num_threads(1)


if __name__ == "__main__":
    main(train, prepare)
