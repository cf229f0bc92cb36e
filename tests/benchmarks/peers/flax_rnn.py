"""Optuna + Flax: ``nn.RNN`` over ``nn.OptimizedLSTMCell``, as Flax's examples write it.

The train step and the validation are jitted inside ``train()``, so every trial compiles its own.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from protocol import main
from reference import BATCH, CLIP, EPOCHS, HORIZON, STEPS, Configuration


class Stacked(nn.Module):
    """LSTM layers with dropout on their outputs, and a linear head."""

    units: tuple[int, ...]
    dropout: float

    @nn.compact
    def __call__(self, x, carries, *, training: bool):
        """Run [B, T, 1] from ``carries``."""
        new_carries = []
        for units, carry in zip(self.units, carries, strict=True):
            layer = nn.RNN(nn.OptimizedLSTMCell(units), return_carry=True)
            carry, x = layer(x, initial_carry=carry)
            x = nn.Dropout(self.dropout, deterministic=not training)(x)
            new_carries.append(carry)
        return nn.Dense(1)(x), new_carries


def train(configuration: Configuration, series, train_length, origins) -> float:
    """Train one configuration; returns its best validation error in scaled units."""
    rng = np.random.default_rng(0)
    key = jax.random.key(0)
    series = series.astype(np.float32)
    unroll, train_length = configuration.unroll_length, int(train_length)
    model = Stacked(configuration.units, configuration.dropout)
    zeros = [(jnp.zeros((BATCH, units)),) * 2 for units in configuration.units]
    state = TrainState.create(
        apply_fn=model.apply,
        params=model.init(key, jnp.zeros((BATCH, unroll, 1)), zeros, training=False)["params"],
        tx=optax.chain(optax.clip_by_global_norm(CLIP), optax.adam(configuration.learning_rate)),
    )

    @jax.jit
    def train_step(state, carries, x, y, keep, key):
        carries = jax.tree.map(lambda carry: carry * keep[:, None], carries)
        key = jax.random.fold_in(key, state.step)

        def loss_fn(params):
            outputs, new_carries = state.apply_fn(
                {"params": params}, x[..., None], carries, training=True, rngs={"dropout": key}
            )
            return 0.5 * jnp.square(outputs[..., 0] - y).mean(0).sum(), new_carries

        (_, carries), gradients = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
        return state.apply_gradients(grads=gradients), carries

    @jax.jit
    def validate(params, windows, came):
        """Forecast recursively from every origin."""

        def run(x, carries):
            return model.apply({"params": params}, x, carries, training=False)

        def forecast_next(previous, _):
            forecast, carries = run(*previous)
            return (forecast, carries), forecast[:, 0, 0]

        outputs, carries = run(windows[..., None], [None] * len(configuration.units))
        first = outputs[:, -1:]
        _, others = jax.lax.scan(forecast_next, (first, carries), length=HORIZON - 1)
        forecasts = jnp.concatenate([first[:, 0], others.T], axis=1)
        return jnp.square(forecasts - came).mean()

    windows = series[origins[:, None] + np.arange(1 - unroll, 1)]
    came = series[origins[:, None] + np.arange(1, HORIZON + 1)]
    cursors = np.arange(BATCH) * train_length // BATCH
    carries = zeros
    days = np.arange(unroll + 1)
    best = float("inf")
    for _ in range(EPOCHS):
        for _ in range(STEPS):
            spent = cursors > train_length - 1 - unroll
            cursors[spent] = rng.integers(0, train_length - unroll, spent.sum())
            batch = series[cursors[:, None] + days]
            state, carries = train_step(state, carries, batch[:, :-1], batch[:, 1:], ~spent, key)
            cursors += unroll
        best = min(best, float(validate(state.params, windows, came)))
    return best


def prepare() -> None:
    """Use one thread, as every worker of every system here, and start the backend."""
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    jax.devices()


if __name__ == "__main__":
    main(train, prepare)
