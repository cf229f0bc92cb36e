"""Training: one model by its config, an epoch at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.forecasts.metrics import METRICS, require_mase_units
from foretune.models.forecasts.scoring import Criterion, ScaledSeries, Scorer, scale
from foretune.models.networks.cells import CELLS
from foretune.models.networks.params import (
    Params,
    initial_params,
    named_arrays,
    resize_params,
    tree_of,
)
from foretune.models.networks.stacked import Architecture
from foretune.models.training.batches import segment_cursors
from foretune.models.training.epoch import (
    Hyperparameters,
    Program,
    TrainingData,
    TrainState,
    train_epoch,
)
from foretune.models.training.optimizers import initial_optimizer_state
from foretune.models.training.plateau import Plateau
from foretune.models.training.results import EpochResult, NonFiniteLossError, Snapshot


class TrainingRun:
    """The host's side of one training: what goes into each compiled epoch, and what came out.

    :func:`fit` has its arguments and errors, and drives one run; lanes drive several at a time.
    ``first`` is the first of several folds, whose units of MASE are those of all.
    """

    def __init__(
        self,
        config: TrialConfig,
        data: DevelopmentData,
        metric: Criterion = "relative_mse",
        learning_rates: Sequence[float] | None = None,
        snapshot: Snapshot | None = None,
        *,
        first: DevelopmentData | None = None,
    ) -> None:
        if learning_rates is not None and not len(learning_rates):
            raise ConfigError("learning_rates must hold one rate per epoch, but is empty")
        if metric not in (*METRICS, "half_mse"):
            raise ConfigError(f"metric must be one of {', '.join(METRICS)}, but got {metric!r}")
        self.config = config
        self.program = Program(
            architecture=Architecture.padded(config),
            optimizer=config.optimizer,
            batch_size=config.batch_size,
            unroll_length=config.unroll_length,
            horizon=data.split.horizon,
        )
        scaled = scale(config, data.values, data.split.train_stop)
        self.data = _training_data(config, data, scaled)
        self.finished = snapshot is not None and snapshot.finished
        self._epochs = 0 if snapshot is None else snapshot.epochs
        self._learning_rates = learning_rates
        self._plateau = Plateau.start(config) if snapshot is None else snapshot.plateau
        self._snapshot = snapshot
        split = data.split
        self._score = Scorer(
            data.values,
            split.validation_origins,
            split.horizon,
            scaled,
            data.spaces,
            metric=metric,
            units=require_mase_units(first or data) if metric == "mase" else (),
        )

    def first_state(self) -> TrainState:
        """Return the state before the next epoch of this run, on the host: nothing to compile."""
        config, own = self.config, Architecture.of(self.config)
        params = initial_params(own, config.seed)
        padded = resize_params(params, own, self.program.architecture)
        shapes = [(config.batch_size, units) for units in config.padded_units]
        zeros: Any = [np.zeros(shape, np.float32) for shape in shapes]
        state = TrainState(
            params=padded,
            optimizer_state=initial_optimizer_state(config.optimizer, padded),
            cursors=segment_cursors(
                int(self.data.train_length),
                config.batch_size,
                series=len(self.data.series),
                apart=self.data.series.shape[1],
            ),
            recurrent_state=tuple((layer,) * CELLS[config.cell].states for layer in zeros),
        )
        if self._snapshot is None:
            return state
        restored: TrainState = tree_of(state, self._snapshot.arrays)
        return restored

    def snapshot(self, state: TrainState) -> Snapshot:
        """Return where this run is after the last recorded epoch, which left ``state``."""
        return Snapshot(
            epochs=self._epochs,
            plateau=self._plateau,
            finished=self.finished,
            arrays=named_arrays(state),
        )

    def hyperparameters(self) -> Hyperparameters:
        """Return the traced scalars of the next epoch."""
        config = self.config
        return Hyperparameters(
            learning_rate=np.float32(self._learning_rate),
            dropout=np.float32(config.dropout),
            clip_norm=np.float32(config.clip_norm),
            label_offset=np.int32(config.label_offset),
            steps=np.int32(config.steps_per_epoch),
            seed=np.uint32(config.seed),
            epoch=np.int32(self._epochs + 1),
        )

    def record(self, loss: float, forecasts: NDArray[np.float32], params: Params) -> EpochResult:
        """Return the outcome of the epoch, on which :meth:`decide` has not decided yet.

        Args:
            loss: mean training loss.
            forecasts: scaled forecasts [S, O, H].
            params: the weights, padded as the program's are.

        Raises:
            NonFiniteLossError: the loss or a forecast is NaN or infinite.
        """
        epoch, learning_rate = self._epochs + 1, self._learning_rate
        # Checked before they become values: the floor of a scaling would hide a -inf.
        where = f"in epoch {epoch} at learning rate {learning_rate:.3g}"
        if not np.isfinite(loss):
            raise NonFiniteLossError(f"the training loss became {loss} {where}")
        if not np.all(np.isfinite(forecasts)):
            raise NonFiniteLossError(f"the validation forecasts became non-finite {where}")
        scores = self._score(np.asarray(forecasts, np.float64))
        return EpochResult(
            epoch=epoch,
            train_loss=loss,
            value=scores.value,
            relative_mse=scores.relative_mse,
            persistence_mse=scores.persistence_mse,
            half_mse=scores.half_mse,
            learning_rate=learning_rate,
            is_best=False,
            is_last=False,
            forecasts=scores.changes,
            params=resize_params(params, self.program.architecture, Architecture.of(self.config)),
        )

    def decide(self, result: EpochResult, value: float | None = None) -> EpochResult:
        """Return the epoch of :meth:`record` with what validation decides on it and the next one.

        Args:
            result: the epoch.
            value: what decays, stops and chooses; None for the epoch's own.
        """
        value = result.value if value is None else value
        self._plateau = self._plateau.after(value, self.config)
        self._epochs = result.epoch
        if self._learning_rates is not None:
            self.finished = self._epochs == len(self._learning_rates)
        else:
            stopped = self._plateau.exhausted(self.config)
            self.finished = stopped or self._epochs == self.config.epochs
        is_best = self._plateau.epochs_since_best == 0
        return replace(result, is_best=is_best, is_last=self.finished)

    @property
    def _learning_rate(self) -> float:
        """The next epoch's."""
        if self._learning_rates is None:
            return self._plateau.learning_rate
        return self._learning_rates[self._epochs]


class Training(Iterator[EpochResult]):
    """The epochs of one training, one after another; see :func:`fit`.

    ``best`` is the best epoch so far, of which a resumed training knows the numbers alone.
    """

    def __init__(self, run: TrainingRun, best: EpochResult | None = None) -> None:
        self._run, self.best = run, best
        # Put, not passed as NumPy: an argument that is on the device already is not copied again.
        self._state, self._data = jax.device_put((run.first_state(), run.data))

    def __next__(self) -> EpochResult:
        """Train for one epoch, and decide on the next one."""
        if self.finished:
            raise StopIteration
        return self.decide(self.train())

    def train(self) -> EpochResult:
        """Train for one epoch, on which :meth:`decide` has to decide."""
        run = self._run
        hyper = jax.device_put(run.hyperparameters())
        state, loss, forecasts = train_epoch(run.program, self._data, hyper, self._state)
        self._state = state
        return run.record(float(loss), np.asarray(forecasts), state.params)

    def decide(self, result: EpochResult, value: float | None = None) -> EpochResult:
        """Decide by ``value``, or by the epoch's own; see :meth:`TrainingRun.decide`."""
        result = self._run.decide(result, value)
        if result.is_best:
            self.best = result
        return result

    @property
    def finished(self) -> bool:
        """Whether no epoch follows."""
        return self._run.finished

    def snapshot(self) -> Snapshot:
        """Return all that the next epoch depends on: :func:`fit` continues from there."""
        return self._run.snapshot(self._state)


def fit(
    config: TrialConfig,
    data: DevelopmentData,
    *,
    metric: Criterion = "relative_mse",
    criterion: Criterion | None = None,
    learning_rates: Sequence[float] | None = None,
    snapshot: Snapshot | None = None,
) -> Training:
    """Train one model, an epoch at a time.

    The learning rate decays, training stops and the best epoch is chosen by the validation part
    alone; the test part is not in ``data``. The same config and data give the same results bit
    for bit on the same machine.

    Args:
        config: what to train.
        data: training and validation rows.
        metric: the validation value that decays, stops and chooses: ``"relative_mse"``, ``"mse"``,
            ``"mae"``, ``"mase"``, ``"smape"``, or the tutorial's ``"half_mse"``.
        criterion: the same, as it was first called.
        learning_rates: one per epoch, to train exactly that many epochs; validation then
            decides neither the rates nor the end. None for the decay and the stop of ``config``.
        snapshot: where an earlier training with the same arguments was; its next epochs follow,
            the same bit for bit as if it had not been interrupted.

    Returns:
        An iterator over the epochs' results, with their weights; ``is_best`` marks the best epoch
        so far. Iterating raises NonFiniteLossError where the loss or a forecast is NaN or infinite.

    Raises:
        ConfigError: ``learning_rates`` is empty, or the series has no MASE.
        DataError: the training part is too short for the unroll length.

    Example:
        >>> for result in fit(config, data):
        ...     print(result.epoch, result.train_loss, result.relative_mse)
    """
    return Training(TrainingRun(config, data, criterion or metric, learning_rates, snapshot))


def best_epoch(run: Iterable[EpochResult]) -> EpochResult:
    """Return the epoch of ``run`` that validation chooses, the first where several are equal.

    Example:
        >>> best_epoch(fit(config, data)).epoch
    """
    return min(run, key=lambda result: result.value)


def _training_data(
    config: TrialConfig, data: DevelopmentData, scaled: ScaledSeries
) -> TrainingData:
    train_length = data.split.train_stop - scaled.lag
    needed = config.unroll_length + config.label_offset
    if train_length < needed:
        raise DataError(
            f"unroll_length and label_offset need {needed} scaled training values, but there are "
            f"{train_length}"
        )
    # Filled up at the end, which no origin and no cursor reaches: so the series of every scaling
    # (some lose the first day) and every fold has one length, and they share a compiled program.
    inputs = scaled.inputs.astype(np.float32)
    series = np.pad(inputs, ((0, 0), (0, data.capacity - inputs.shape[1])))
    return TrainingData(
        series=series,
        train_length=np.int32(train_length),
        origins=data.split.validation_origins - np.int32(scaled.lag),
    )
