"""One epoch of training and its validation forecasts, as one compiled program."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from foretune.models.config import OptimizerName
from foretune.models.forecasts.predict import forecasts_of
from foretune.models.networks.params import Params, network
from foretune.models.networks.randomness import fold_in, random_key
from foretune.models.networks.stacked import Architecture, StackState
from foretune.models.runtime.compile import jit_for_backend
from foretune.models.training.batches import jump_where_exhausted, label_offsets, unrolled_batch
from foretune.models.training.optimizers import gradient_transformation


@dataclass(frozen=True)
class Program:
    """What the compiled epoch depends on besides the shapes of its arrays."""

    architecture: Architecture
    optimizer: OptimizerName
    batch_size: int
    unroll_length: int
    horizon: int


# On the host before the first epoch, on the device from then on.
Array = Any


class TrainState(NamedTuple):
    """What one epoch hands to the next."""

    params: Params
    optimizer_state: Any
    cursors: Array  # [B], indices into all series, one after another
    recurrent_state: StackState


class TrainingData(NamedTuple):
    """What stays on the device for the whole training."""

    series: Array  # scaled values of training, gap and validation [S, N]
    train_length: Array  # how many of each series are for training
    origins: Array  # indices into a series of the validation origins [O]


class Hyperparameters(NamedTuple):
    """Traced scalars: changing them compiles nothing."""

    learning_rate: Array
    dropout: Array
    clip_norm: Array
    label_offset: Array
    steps: Array
    seed: Array
    epoch: Array


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
    count, length = data.series.shape
    cursors, jumped = jump_where_exhausted(
        state.cursors, jump_key, data.train_length, reach, series=count, apart=length
    )
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


def one_epoch(
    program: Program, data: TrainingData, hyper: Hyperparameters, state: TrainState
) -> tuple[TrainState, jax.Array, jax.Array]:
    """Train ``hyper.steps`` steps, then forecast every validation origin.

    Returns:
        The new state, the mean loss and the scaled forecasts [S, O, H].
    """
    epoch_key = fold_in(random_key(hyper.seed), hyper.epoch)

    def body(step: jax.Array, carry: tuple[TrainState, jax.Array]) -> tuple[TrainState, jax.Array]:
        state, total = carry
        key = fold_in(epoch_key, step)
        state, loss = train_step(program, data, hyper, key, state)
        return state, total + loss

    state, total = jax.lax.fori_loop(0, hyper.steps, body, (state, jnp.float32(0)))
    model = network(program.architecture, state.params)
    forecasts = forecasts_of(
        model, data.series, data.origins, program.unroll_length, program.horizon
    )
    return state, total / hyper.steps, forecasts


# Compiled once for each program and each shape of its arrays.
train_epoch = jit_for_backend(static_argnames="program")(one_epoch)
