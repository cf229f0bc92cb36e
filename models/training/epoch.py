"""One epoch of training and its validation forecasts, as one compiled program."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from foretune.models.config import LossName, OptimizerName
from foretune.models.forecasts.predict import WindowOptions, forecasts_of
from foretune.models.forecasts.windows import (
    Array,
    NetworkData,
    direct_forecast,
    read_context,
    segments,
)
from foretune.models.networks.params import Params, network
from foretune.models.networks.randomness import fold_in, random_key
from foretune.models.networks.stacked import Architecture, StackState
from foretune.models.runtime.compile import jit_for_backend
from foretune.models.training.batches import (
    jump_where_exhausted,
    label_offsets,
    random_rows,
    unrolled_rows,
)
from foretune.models.training.losses import LOSSES
from foretune.models.training.optimizers import gradient_transformation


@dataclass(frozen=True)
class Program:
    """What the compiled epoch depends on besides the shapes of its arrays.

    ``unroll_length`` rows are read for one gradient, and ``rows_read`` before a forecast; both are
    whole segments.
    """

    architecture: Architecture
    optimizer: OptimizerName
    batch_size: int
    unroll_length: int
    horizon: int
    rows_read: int
    loss: LossName = "mse"


class TrainState(NamedTuple):
    """What one epoch hands to the next; a direct head needs neither cursors nor states."""

    params: Params
    optimizer_state: Any
    cursors: Array  # [B], indices into all series, one after another
    recurrent_state: StackState
    # Moving average of the weights over the steps, which forecasts; None without averaging.
    average: Params | None = None

    @property
    def forecasting(self) -> Params:
        """The weights that forecast."""
        return self.params if self.average is None else self.average


class TrainingData(NamedTuple):
    """What stays on the device for the whole training."""

    inputs: NetworkData  # of training, gap and validation
    train_length: Array  # where the rows for training end in each series
    firsts: Array  # where they begin [S]
    origins: Array  # indices into a series of the validation origins [O]


class Hyperparameters(NamedTuple):
    """Traced scalars: changing them compiles nothing."""

    learning_rate: Array
    dropout: Array
    clip_norm: Array
    label_offset: Array
    carry_state: Array
    averaging: Array
    options: WindowOptions
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
    """Return the loss of one unrolled batch and the state after it, of a recursive head.

    ``batch`` holds inputs [U / s, B, I] and labels [U / s, B, s]. The loss is the batch mean of
    ½ (output - label)², or of another loss, summed over the unroll (the tutorial's step 12).
    """
    inputs, labels = batch
    model = network(program.architecture, params)
    features, state = model.unroll(state, inputs, dropout_key=dropout_key, dropout=dropout)
    losses = LOSSES[program.loss](model.next_segment(features) - labels)
    return jnp.sum(jnp.mean(losses, axis=1)), state


def _recursive_gradients(
    program: Program, data: TrainingData, hyper: Hyperparameters, key: jax.Array, state: TrainState
) -> tuple[jax.Array, Params, TrainState]:
    """Return loss and gradients of a batch at the cursors, and the state with them moved on.

    Beside a linear skip the labels are its errors one segment ahead, from each row. A forecast adds
    the outputs to the skip's path from its origin, whose later segments err more: a direct head
    learns the errors of all steps.
    """
    jump_key, offset_key, dropout_key = (fold_in(key, purpose) for purpose in range(3))
    inputs, architecture = data.inputs, program.architecture
    segment = architecture.segment_length
    # A label of a linear skip is its error, and its forecasts are there for whole horizons.
    furthest = segment - 1 + hyper.label_offset if inputs.skip is None else program.horizon
    cursors, jumped = jump_where_exhausted(
        state.cursors,
        jump_key,
        data.train_length,
        program.unroll_length - 1 + furthest,
        firsts=data.firsts,
        apart=inputs.series.shape[1],
        every=~hyper.carry_state,
    )
    shape = program.unroll_length, program.batch_size
    offsets = label_offsets(offset_key, shape, hyper.label_offset)
    carried = jax.tree.map(lambda s: jnp.where(jumped[:, None], 0.0, s), state.recurrent_state)
    rows, values = unrolled_rows(cursors, program.unroll_length), inputs.series.ravel()
    labels = values[rows + offsets][:, :, None]
    if segment > 1:
        labels = segments(values[rows + segment][:, :, None], segment)
    if inputs.skip is not None:
        paths = inputs.skip.reshape(-1, program.horizon)[rows[segment - 1 :: segment]]
        labels -= paths[..., :segment]
    batch = read_context(architecture, inputs, rows, values[rows]), labels
    (loss, carried), gradients = jax.value_and_grad(sequence_loss, has_aux=True)(
        state.params, program, carried, batch, dropout_key, hyper.dropout
    )
    moved = state._replace(cursors=cursors + program.unroll_length, recurrent_state=carried)
    return loss, gradients, moved


def _direct_gradients(
    program: Program, data: TrainingData, hyper: Hyperparameters, key: jax.Array, state: TrainState
) -> tuple[jax.Array, Params, TrainState]:
    """Return loss and gradients of random windows: the mean over windows and steps."""
    origin_key, dropout_key = fold_in(key, 0), fold_in(key, 2)
    inputs = data.inputs
    origins = random_rows(
        origin_key,
        (program.batch_size,),
        firsts=data.firsts + (program.rows_read - 1),
        last=data.train_length - 1 - program.horizon,
        apart=inputs.series.shape[1],
    )
    steps = origins[:, None] + jnp.arange(1, program.horizon + 1, dtype=origins.dtype)
    labels = inputs.series.ravel()[steps]

    def loss_of(params: Params) -> jax.Array:
        forecasts = direct_forecast(
            program.architecture,
            network(program.architecture, params),
            inputs,
            origins,
            program.rows_read,
            *hyper.options,
            dropout_key=dropout_key,
            dropout=hyper.dropout,
        )
        return jnp.mean(LOSSES[program.loss](forecasts - labels))

    loss, gradients = jax.value_and_grad(loss_of)(state.params)
    return loss, gradients, state


def train_step(
    program: Program, data: TrainingData, hyper: Hyperparameters, key: jax.Array, state: TrainState
) -> tuple[TrainState, jax.Array]:
    """Take one gradient step; returns the new state and the loss before it."""
    direct = program.architecture.steps > 0
    gradients_of = _direct_gradients if direct else _recursive_gradients
    loss, gradients, state = gradients_of(program, data, hyper, key, state)
    rule = gradient_transformation(program.optimizer, hyper.clip_norm)
    updates, optimizer_state = rule.update(gradients, state.optimizer_state, state.params)
    updates = jax.tree.map(lambda u: -hyper.learning_rate * u, updates)
    params = optax.apply_updates(state.params, updates)
    average = state.average
    if average is not None:
        # Polyak and Juditsky (1992), with a memory that fades.
        average = jax.tree.map(lambda a, p: a + (1 - hyper.averaging) * (p - a), average, params)
    return state._replace(params=params, optimizer_state=optimizer_state, average=average), loss


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
    forecasts = forecasts_of(
        program.architecture,
        network(program.architecture, state.forecasting),
        data.inputs,
        data.origins,
        hyper.options,
        rows_read=program.rows_read,
        horizon=program.horizon,
    )
    return state, total / hyper.steps, forecasts


# Compiled once for each program and each shape of its arrays.
train_epoch = jit_for_backend(static_argnames="program")(one_epoch)
