"""Training: one compiled call per epoch, its validation forecasts included."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from numpy.typing import NDArray

from foretune.datasets.batches import jump_where_exhausted, segment_cursors, unrolled_batch
from foretune.datasets.errors import DataError
from foretune.datasets.scaling import Scaling, fit_scaling, log_growth_between
from foretune.datasets.splits import Development
from foretune.models.config import OptimizerName, TrialConfig
from foretune.models.forecasting import recursive_forecast, warm_up_windows
from foretune.models.metrics import mean_squared_error, relative_mse
from foretune.models.optimizers import gradient_transformation, initial_optimizer_state
from foretune.models.plateau import Plateau
from foretune.models.stacked import Architecture, StackedRNN, StackState

Params = Any  # the nnx.State of a StackedRNN: a pytree of arrays


class NonFiniteLossError(ArithmeticError):
    """Training produced a number that is not finite; the trial has failed and has no value."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one epoch left.

    ``forecasts`` are log growths since each validation origin [O, H]; ``relative_mse`` is theirs,
    ``persistence_mse`` the mean squared log growth that it is relative to. ``train_loss`` is the
    mean over the epoch's steps of the loss: ½ squared error, batch mean, summed over the unroll.
    """

    epoch: int
    train_loss: float
    relative_mse: float
    persistence_mse: float
    learning_rate: float
    is_best: bool
    forecasts: NDArray[np.float64]
    params: Params


@dataclass(frozen=True)
class Program:
    """What the compiled epoch depends on besides the shapes of its arrays."""

    architecture: Architecture
    optimizer: OptimizerName
    batch_size: int
    unroll_length: int
    horizon: int


class TrainState(NamedTuple):
    """What one epoch hands to the next."""

    params: Params
    optimizer_state: Any
    cursors: jax.Array  # [B]
    recurrent_state: StackState


class TrainingData(NamedTuple):
    """What stays on the device for the whole training."""

    series: jax.Array  # scaled values of training, gap and validation [N]
    train_length: jax.Array  # how many of them are for training
    origins: jax.Array  # indices into series of the validation origins [O]


class Hyperparameters(NamedTuple):
    """Traced scalars: changing them compiles nothing."""

    learning_rate: jax.Array
    dropout: jax.Array
    clip_norm: jax.Array
    steps: jax.Array
    seed: jax.Array
    epoch: jax.Array


@lru_cache(maxsize=256)
def _graph(architecture: Architecture) -> Any:
    """Return the structure of the network, without its weights."""
    return nnx.split(StackedRNN(architecture, rng=np.random.default_rng(0)))[0]


def initial_params(architecture: Architecture, seed: int) -> Params:
    """Draw the weights of a network from ``seed``, on the host."""
    return nnx.split(StackedRNN(architecture, rng=np.random.default_rng(seed)))[1]


def network(architecture: Architecture, params: Params) -> StackedRNN:
    """Put ``params`` back into a network."""
    model: StackedRNN = nnx.merge(_graph(architecture), params)
    return model


def parameter_count(params: Params) -> int:
    """Return how many weights a network has."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def sequence_loss(
    params: Params,
    program: Program,
    state: StackState,
    batch: tuple[jax.Array, jax.Array],
    dropout_key: jax.Array,
    dropout: jax.Array,
) -> tuple[jax.Array, StackState]:
    """Return the loss of one unrolled batch (inputs, labels: [U, B]) and the state after it.

    The loss is the batch mean of ½ (output - label)², summed over the unroll (the tutorial's
    step 12).
    """
    inputs, labels = batch
    model = network(program.architecture, params)
    outputs, state = model.unroll(state, inputs, dropout_key=dropout_key, dropout=dropout)
    return 0.5 * jnp.sum(jnp.mean(jnp.square(outputs - labels), axis=1)), state


def train_step(
    program: Program, data: TrainingData, hyper: Hyperparameters, key: jax.Array, state: TrainState
) -> tuple[TrainState, jax.Array]:
    """Take one gradient step; returns the new state and the loss before it."""
    jump_key, dropout_key = jax.random.split(key)
    cursors, jumped = jump_where_exhausted(
        state.cursors, jump_key, data.train_length, program.unroll_length
    )
    carried = jax.tree.map(lambda s: jnp.where(jumped[:, None], 0.0, s), state.recurrent_state)
    batch = unrolled_batch(data.series, cursors, program.unroll_length)
    (loss, carried), gradients = jax.value_and_grad(sequence_loss, has_aux=True)(
        state.params, program, carried, batch, dropout_key, hyper.dropout
    )
    rule = gradient_transformation(program.optimizer, hyper.clip_norm)
    updates, optimizer_state = rule.update(gradients, state.optimizer_state, state.params)
    updates = jax.tree.map(lambda u: -hyper.learning_rate * u, updates)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, optimizer_state, cursors + program.unroll_length, carried), loss


@partial(jax.jit, static_argnames="program")
def train_epoch(
    program: Program, data: TrainingData, hyper: Hyperparameters, state: TrainState
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Train ``hyper.steps`` steps, then forecast every validation origin.

    Returns:
        The new state, the mean loss and the scaled forecasts [O, H].
    """
    epoch_key = jax.random.fold_in(jax.random.key(hyper.seed), hyper.epoch)

    def body(step: jax.Array, carry: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
        state, total = carry
        key = jax.random.fold_in(epoch_key, step)
        state, loss = train_step(program, data, hyper, key, state)
        return state, total + loss

    state, total = jax.lax.fori_loop(0, hyper.steps, body, (state, jnp.float32(0)))
    windows = warm_up_windows(data.series, data.origins, program.unroll_length)
    model = network(program.architecture, state.params)
    return state, total / hyper.steps, recursive_forecast(model, windows, program.horizon)


def _initial_state(config: TrialConfig, program: Program, train_length: int) -> TrainState:
    params = initial_params(program.architecture, config.seed)
    zeros = {units: np.zeros((config.batch_size, units), np.float32) for units in config.units}
    return TrainState(
        params=jax.device_put(params),
        optimizer_state=jax.device_put(initial_optimizer_state(config.optimizer, params)),
        cursors=jax.device_put(segment_cursors(train_length, config.batch_size)),
        recurrent_state=tuple(jax.device_put((zeros[u], zeros[u])) for u in config.units),
    )


def _training_data(config: TrialConfig, data: Development, scaling: Scaling) -> TrainingData:
    series = scaling.transform(data.mid).astype(np.float32)
    train_length = data.split.train_stop - scaling.lag
    first_origin = int(data.split.validation_origins[0]) - scaling.lag
    if train_length < config.unroll_length + 1 or first_origin + 1 < config.unroll_length:
        raise DataError(
            f"unroll_length must be below the {train_length} scaled training values, but got "
            f"{config.unroll_length}"
        )
    return TrainingData(
        series=jax.device_put(series),
        train_length=jax.device_put(np.int32(train_length)),
        origins=jax.device_put(data.split.validation_origins - np.int32(scaling.lag)),
    )


def fit(config: TrialConfig, data: Development) -> Iterator[EpochResult]:
    """Train one model, an epoch at a time.

    The learning rate decays, training stops and the best epoch is chosen by the validation part
    alone; the test part is not in ``data``. The same config and data give the same results bit
    for bit on the same machine.

    Args:
        config: what to train.
        data: training and validation days.

    Yields:
        One result per epoch, with its weights; ``is_best`` marks the best epoch so far.

    Raises:
        NonFiniteLossError: the loss or a forecast is NaN or infinite.
        DataError: the training part is too short for the unroll length.

    Example:
        >>> for result in fit(config, data):
        ...     print(result.epoch, result.train_loss, result.relative_mse)
    """
    program = Program(
        architecture=Architecture.of(config),
        optimizer=config.optimizer,
        batch_size=config.batch_size,
        unroll_length=config.unroll_length,
        horizon=data.split.horizon,
    )
    scaling = fit_scaling(config.scaling, data.train_mid, window=config.scaling_window)
    on_device = _training_data(config, data, scaling)
    state = _initial_state(config, program, int(on_device.train_length))
    origins = data.split.validation_origins
    actual = log_growth_between(data.mid, origins, data.split.horizon)
    plateau = Plateau.start(config)
    for epoch in range(1, config.epochs + 1):
        learning_rate = plateau.learning_rate
        hyper = _hyperparameters(config, learning_rate, epoch)
        state, loss, scaled = train_epoch(program, on_device, hyper, state)
        forecasts = scaling.log_growth(np.asarray(scaled, np.float64), origins, data.mid)
        _require_finite(float(loss), forecasts, epoch, learning_rate)
        value = relative_mse(forecasts, actual)
        plateau = plateau.after(value, config)
        yield EpochResult(
            epoch=epoch,
            train_loss=float(loss),
            relative_mse=value,
            persistence_mse=mean_squared_error(np.zeros_like(actual), actual),
            learning_rate=learning_rate,
            is_best=plateau.epochs_since_best == 0,
            forecasts=forecasts,
            params=state.params,
        )
        if plateau.exhausted(config):
            return


def _hyperparameters(config: TrialConfig, learning_rate: float, epoch: int) -> Hyperparameters:
    # Put, not traced as Python numbers: a new value is an argument, never a new constant.
    return Hyperparameters(
        learning_rate=jax.device_put(np.float32(learning_rate)),
        dropout=jax.device_put(np.float32(config.dropout)),
        clip_norm=jax.device_put(np.float32(config.clip_norm)),
        steps=jax.device_put(np.int32(config.steps_per_epoch)),
        seed=jax.device_put(np.uint32(config.seed)),
        epoch=jax.device_put(np.int32(epoch)),
    )


def _require_finite(
    loss: float, forecasts: NDArray[np.float64], epoch: int, learning_rate: float
) -> None:
    where = f"in epoch {epoch} at learning rate {learning_rate:.3g}"
    if not np.isfinite(loss):
        raise NonFiniteLossError(f"the training loss became {loss} {where}")
    if not np.all(np.isfinite(forecasts)):
        raise NonFiniteLossError(f"the validation forecasts became non-finite {where}")
