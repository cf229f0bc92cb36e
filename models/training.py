"""Training: one compiled call per epoch, its validation forecasts included."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from foretune.datasets.batches import (
    jump_where_exhausted,
    label_offsets,
    segment_cursors,
    unrolled_batch,
)
from foretune.datasets.errors import DataError
from foretune.datasets.randomness import fold_in, random_key
from foretune.datasets.splits import Development
from foretune.models.cells import CELLS
from foretune.models.compilation import jit_for_backend
from foretune.models.config import OptimizerName, TrialConfig
from foretune.models.forecasting import recursive_forecast, warm_up_windows
from foretune.models.network import Params, initial_params, network
from foretune.models.optimizers import gradient_transformation, initial_optimizer_state
from foretune.models.plateau import Plateau
from foretune.models.scoring import ScaledSeries, Scorer, scale
from foretune.models.stacked import Architecture, StackState

Criterion = Literal["relative_mse", "half_mse"]


class NonFiniteLossError(ArithmeticError):
    """Training produced a number that is not finite; the trial has failed and has no value."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """What one epoch left.

    ``forecasts`` are log growths since each validation origin [O, H]; ``relative_mse`` is theirs,
    ``persistence_mse`` the mean squared log growth that it is relative to. ``half_mse`` is the
    tutorial's measure: ½ mean squared error in scaled units. ``train_loss`` is the mean over the
    epoch's steps of the loss: ½ squared error, batch mean, summed over the unroll. No epoch
    follows one that ``is_last``.
    """

    epoch: int
    train_loss: float
    relative_mse: float
    persistence_mse: float
    half_mse: float
    learning_rate: float
    is_best: bool
    is_last: bool
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
    label_offset: jax.Array
    steps: jax.Array
    seed: jax.Array
    epoch: jax.Array


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
    jump_key, offset_key, dropout_key = (fold_in(key, purpose) for purpose in range(3))
    reach = program.unroll_length - 1 + hyper.label_offset
    cursors, jumped = jump_where_exhausted(state.cursors, jump_key, data.train_length, reach)
    shape = program.unroll_length, program.batch_size
    offsets = label_offsets(offset_key, shape, hyper.label_offset)
    carried = jax.tree.map(lambda s: jnp.where(jumped[:, None], 0.0, s), state.recurrent_state)
    batch = unrolled_batch(data.series, cursors, offsets)
    (loss, carried), gradients = jax.value_and_grad(sequence_loss, has_aux=True)(
        state.params, program, carried, batch, dropout_key, hyper.dropout
    )
    rule = gradient_transformation(program.optimizer, hyper.clip_norm)
    updates, optimizer_state = rule.update(gradients, state.optimizer_state, state.params)
    updates = jax.tree.map(lambda u: -hyper.learning_rate * u, updates)
    params = optax.apply_updates(state.params, updates)
    return TrainState(params, optimizer_state, cursors + program.unroll_length, carried), loss


@jit_for_backend(static_argnames="program")
def train_epoch(
    program: Program, data: TrainingData, hyper: Hyperparameters, state: TrainState
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Train ``hyper.steps`` steps, then forecast every validation origin.

    Returns:
        The new state, the mean loss and the scaled forecasts [O, H].
    """
    epoch_key = fold_in(random_key(hyper.seed), hyper.epoch)

    def body(step: jax.Array, carry: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
        state, total = carry
        key = fold_in(epoch_key, step)
        state, loss = train_step(program, data, hyper, key, state)
        return state, total + loss

    state, total = jax.lax.fori_loop(0, hyper.steps, body, (state, jnp.float32(0)))
    windows = warm_up_windows(data.series, data.origins, program.unroll_length)
    model = network(program.architecture, state.params)
    return state, total / hyper.steps, recursive_forecast(model, windows, program.horizon)


def _initial_state(config: TrialConfig, program: Program, train_length: int) -> TrainState:
    params = initial_params(program.architecture, config.seed)
    return TrainState(
        params=jax.device_put(params),
        optimizer_state=jax.device_put(initial_optimizer_state(config.optimizer, params)),
        cursors=jax.device_put(segment_cursors(train_length, config.batch_size)),
        recurrent_state=_zero_state(program, config.batch_size),
    )


def _zero_state(program: Program, batch_size: int) -> StackState:
    """Return the network's first state, made on the host: nothing to compile."""
    states = CELLS[program.architecture.cell].states
    zeros = [np.zeros((batch_size, units), np.float32) for units in program.architecture.units]
    return tuple((jax.device_put(zero),) * states for zero in zeros)


def _training_data(config: TrialConfig, data: Development, scaled: ScaledSeries) -> TrainingData:
    train_length = data.split.train_stop - scaled.lag
    needed = config.unroll_length + config.label_offset
    if train_length < needed:
        raise DataError(
            f"unroll_length and label_offset need {needed} scaled training values, but there are "
            f"{train_length}"
        )
    return TrainingData(
        series=jax.device_put(scaled.inputs.astype(np.float32)),
        train_length=jax.device_put(np.int32(train_length)),
        origins=jax.device_put(data.split.validation_origins - np.int32(scaled.lag)),
    )


def fit(
    config: TrialConfig, data: Development, *, criterion: Criterion = "relative_mse"
) -> Iterator[EpochResult]:
    """Train one model, an epoch at a time.

    The learning rate decays, training stops and the best epoch is chosen by the validation part
    alone; the test part is not in ``data``. The same config and data give the same results bit
    for bit on the same machine.

    Args:
        config: what to train.
        data: training and validation days.
        criterion: the validation value that decays, stops and chooses.

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
    scaled = scale(config, data.mid, data.split.train_stop)
    on_device = _training_data(config, data, scaled)
    state = _initial_state(config, program, int(on_device.train_length))
    score = Scorer(data.mid, data.split.validation_origins, data.split.horizon, scaled)
    plateau = Plateau.start(config)
    for epoch in range(1, config.epochs + 1):
        learning_rate = plateau.learning_rate
        hyper = _hyperparameters(config, learning_rate, epoch)
        state, loss, forecasts = train_epoch(program, on_device, hyper, state)
        # Checked before they become prices: the floor of a scaling would hide a -inf.
        _require_finite(float(loss), np.asarray(forecasts), epoch, learning_rate)
        scores = score(np.asarray(forecasts, np.float64))
        plateau = plateau.after(getattr(scores, criterion), config)
        yield EpochResult(
            epoch=epoch,
            train_loss=float(loss),
            relative_mse=scores.relative_mse,
            persistence_mse=scores.persistence_mse,
            half_mse=scores.half_mse,
            learning_rate=learning_rate,
            is_best=plateau.epochs_since_best == 0,
            is_last=epoch == config.epochs or plateau.exhausted(config),
            forecasts=scores.log_growth,
            params=state.params,
        )
        if plateau.exhausted(config):
            return


def best_epoch(run: Iterable[EpochResult]) -> EpochResult:
    """Return the epoch of ``run`` that validation chooses, the first where several are equal.

    Example:
        >>> best_epoch(fit(config, data)).epoch
    """
    return min(run, key=lambda result: result.relative_mse)


def _hyperparameters(config: TrialConfig, learning_rate: float, epoch: int) -> Hyperparameters:
    # Put, not traced as Python numbers: a new value is an argument, never a new constant.
    return Hyperparameters(
        learning_rate=jax.device_put(np.float32(learning_rate)),
        dropout=jax.device_put(np.float32(config.dropout)),
        clip_norm=jax.device_put(np.float32(config.clip_norm)),
        label_offset=jax.device_put(np.int32(config.label_offset)),
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
