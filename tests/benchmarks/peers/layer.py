"""Time ``torch.nn.LSTM`` alone, forward and backward on one thread.

``layer.py '[[batch, inputs, units, days], ...]'`` prints a JSON list: the median seconds of one
forward and backward for every shape. The loss is the sum of the squared outputs and of the last
h and c; its gradients reach the weights and the input.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from timing import median_seconds


def measure(batch: int, inputs: int, units: int, days: int, seconds: float) -> float:
    """Median seconds of one forward and backward, repeated for ``seconds`` after a warm-up."""
    layer = nn.LSTM(inputs, units)
    x = torch.randn(days, batch, inputs, requires_grad=True)

    def once() -> float:
        layer.zero_grad(set_to_none=True)
        x.grad = None
        started = time.perf_counter()
        outputs, (h, c) = layer(x)
        loss = outputs.square().sum() + h.sum() + c.sum()
        loss.backward()
        return time.perf_counter() - started

    return median_seconds(once, seconds)


def main() -> None:
    """Measure the shapes on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", type=json.loads)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(json.dumps([measure(*shape, arguments.seconds) for shape in arguments.shapes]))


if __name__ == "__main__":
    main()
