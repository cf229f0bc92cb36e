"""Time foretune's LSTM layer alone, forward and backward, on one thread.

``layer.py '[[batch, inputs, units, days], ...]'`` prints a JSON object: for foretune's layer and
for autodiff of the same scan, the median seconds of one forward and backward for every shape,
measured inside a compiled loop of gradient steps, as training runs it. The loss is that of the
PyTorch peer.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from timing import median_seconds

from foretune.models.networks.cells import LSTMCell
from foretune.models.networks.lstm_unroll import lstm_unroll
from foretune.models.runtime.compile import compiler_options

Unroll = Callable[..., Any]


def by_autodiff(kernel: Any, bias: Any, state: Any, inputs: Any, mask: None) -> Any:
    """The same layer as a plain scan over :class:`LSTMCell`, left to automatic differentiation."""
    cell = LSTMCell(inputs.shape[-1], state[0].shape[-1], rng=np.random.default_rng(0))
    cell.kernel, cell.bias = nnx.Param(kernel), nnx.Param(bias)

    def step(state: Any, x: Any) -> Any:
        h, c = cell(state, x)
        return (h, c), h

    state, outputs = jax.lax.scan(step, state, inputs)
    return outputs, state


def measure(unroll: Unroll, shape: list[int], seconds: float, options: Any) -> float:
    """Median seconds of one forward and backward, repeated for ``seconds`` after a warm-up."""
    batch, inputs, units, days = shape
    rng = np.random.default_rng(0)
    kernel = jnp.asarray(rng.normal(size=(inputs + units, 4 * units)) / 10, jnp.float32)
    bias = jnp.zeros(4 * units)
    state = (jnp.zeros((batch, units)),) * 2
    x = jnp.asarray(rng.normal(size=(days, batch, inputs)), jnp.float32)
    flops = 24 * days * batch * units * (inputs + units)
    steps = int(np.clip(2e9 / flops, 1, 20))

    def loss(kernel: Any, bias: Any, x: Any) -> Any:
        outputs, (h, c) = unroll(kernel, bias, state, x, None)
        return jnp.sum(outputs**2) + jnp.sum(h) + jnp.sum(c)

    def steps_of_descent(kernel: Any, bias: Any, x: Any) -> Any:
        def body(_: Any, weights: Any) -> Any:
            gradients = jax.grad(loss, argnums=(0, 1, 2))(*weights)
            return jax.tree.map(lambda w, g: w - 1e-9 * g, weights, gradients)

        return jax.lax.fori_loop(0, steps, body, (kernel, bias, x))

    run = jax.jit(steps_of_descent, compiler_options=options)

    def once() -> float:
        started = time.perf_counter()
        jax.block_until_ready(run(kernel, bias, x))
        return (time.perf_counter() - started) / steps

    return median_seconds(once, seconds)


def main() -> None:
    """Measure the shapes on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shapes", type=json.loads)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    variants = {
        "foretune": (lstm_unroll, compiler_options()),
        "autodiff": (by_autodiff, None),
    }
    answer = {
        name: [measure(unroll, s, arguments.seconds, options) for s in arguments.shapes]
        for name, (unroll, options) in variants.items()
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
