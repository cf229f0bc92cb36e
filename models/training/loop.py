"""Training: one model by its config, an epoch at a time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import COVARIATE_OPTIONS, TrialConfig
from foretune.models.forecasts.inputs import NetworkInputs, architecture_of, network_inputs
from foretune.models.forecasts.metrics import METRICS, require_mase_units
from foretune.models.forecasts.predict import WindowOptions
from foretune.models.forecasts.scoring import Criterion, ScaledSeries, Scorer, scale
from foretune.models.forecasts.skip import LinearSkip, choose_skips
from foretune.models.forecasts.windows import NetworkData
from foretune.models.networks.cells import CELLS
from foretune.models.networks.params import (
    Params,
    initial_params,
    named_arrays,
    resize_params,
    tree_of,
)
from foretune.models.training.batches import segment_cursors
from foretune.models.training.epoch import (
    Hyperparameters,
    Program,
    TrainingData,
    TrainState,
    train_epoch,
)
from foretune.models.training.losses import LOSSES
from foretune.models.training.optimizers import initial_optimizer_state
from foretune.models.training.plateau import Plateau
from foretune.models.training.results import EpochResult, NonFiniteLossError, Snapshot

# What the numbers that a network reads depend on.
_READ = ("scaling", "scaling_window", "smoothing", "head", "skip", *COVARIATE_OPTIONS.values())

# How many kinds of such numbers are remembered, which trainings of one kind share. Of many series
# they are large.
_KINDS = 2


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
        skip: LinearSkip | None = None,
        *,
        first: DevelopmentData | None = None,
    ) -> None:
        if learning_rates is not None and not len(learning_rates) and skip is None:
            raise ConfigError("learning_rates must hold one rate per epoch, but is empty")
        if metric not in (*METRICS, "half_mse"):
            raise ConfigError(f"metric must be one of {', '.join(METRICS)}, but got {metric!r}")
        self.config = config
        self.skip = skip
        self.architecture = architecture_of(config, data.covariates, data.split.horizon)
        self.program = Program(
            architecture=self.architecture.padded(config),
            optimizer=config.optimizer,
            batch_size=config.batch_size,
            unroll_length=config.context,
            horizon=data.split.horizon,
            rows_read=config.rows_read,
            loss=config.loss,
        )
        kind = TrialConfig(**{name: getattr(config, name) for name in _READ})
        scaled, self._given = _inputs_of(kind, data, skip)
        self.data = _training_data(config, data, self._given, skip)
        self.finished = snapshot is not None and snapshot.finished
        # Beside a linear skip the first epoch is 0, before any training.
        self._epochs = (0 if skip is None else -1) if snapshot is None else snapshot.epochs
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

    def data_on_device(self) -> TrainingData:
        """Return what stays on the device for the whole training."""
        data: TrainingData = jax.device_put(self.data._replace(inputs=_on_device(self._given)))
        return data

    def first_state(self) -> TrainState:
        """Return the state before the next epoch of this run, on the host: nothing to compile."""
        config = self.config
        params = initial_params(self.architecture, config.seed, zero_output=config.skip == "linear")
        padded = resize_params(params, self.architecture, self.program.architecture)
        cursors, zeros = np.empty(0, np.int32), list[Any]()
        if config.head == "recursive":
            cursors = segment_cursors(
                int(self.data.train_length),
                config.batch_size,
                firsts=self.data.firsts,
                apart=self.data.inputs.series.shape[1],
            )
            shapes = [(config.batch_size, units) for units in config.padded_units]
            zeros = [np.zeros(shape, np.float32) for shape in shapes]
        state = TrainState(
            params=padded,
            optimizer_state=initial_optimizer_state(config.optimizer, padded),
            cursors=cursors,
            recurrent_state=tuple((layer,) * CELLS[config.cell].states for layer in zeros),
            average=padded if config.averaging else None,
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
            carry_state=np.bool_(config.carry_state),
            averaging=np.float32(config.averaging),
            options=WindowOptions.of(config),
            steps=np.int32(config.steps_per_epoch),
            seed=np.uint32(config.seed),
            epoch=np.int32(self._epochs + 1),
        )

    @property
    def at_skip(self) -> bool:
        """Whether the next epoch is 0, the skip alone: nothing is trained for it."""
        return self._epochs < 0

    def skip_epoch(self, params: Params) -> EpochResult:
        """Return the outcome of epoch 0, whose forecasts are the skip's.

        Args:
            params: the first weights, padded as the program's are; their output is zero.
        """
        inputs = self.data.inputs
        assert inputs.skip is not None
        return self.record(self._skip_loss(), inputs.skip[:, self.data.origins], params)

    def _skip_loss(self) -> float:
        """Return the training loss of the skip alone, as that of the network beside it."""
        program, inputs = self.program, self.data.inputs
        assert inputs.skip is not None
        steps = program.architecture.steps or program.architecture.segment_length
        # As in training, from rows that have a whole horizon of training rows after them.
        stop = int(self.data.train_length)
        counts = stop - program.horizon - self.data.firsts
        weights, mean = counts / counts.sum(), 0.0
        each = zip(inputs.series, inputs.skip, self.data.firsts, weights, strict=True)
        for own, path, first, weight in each:  # of many series, all errors at once are large
            labels = sliding_window_view(own[:stop], program.horizon)[first + 1 :, :steps]
            errors = path[first : first + len(labels), :steps] - labels
            mean += float(weight) * float(np.mean(LOSSES[program.loss](errors)))
        return mean if program.architecture.steps else mean * program.unroll_length

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
            params=resize_params(params, self.program.architecture, self.architecture),
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
        if self._learning_rates is None or self.at_skip:
            return self._plateau.learning_rate
        return self._learning_rates[self._epochs]


class Training(Iterator[EpochResult]):
    """The epochs of one training, one after another; see :func:`fit`.

    ``best`` is the best epoch so far, of which a resumed training knows the numbers alone.
    """

    def __init__(self, run: TrainingRun, best: EpochResult | None = None) -> None:
        self._run, self.best = run, best
        # Put, not passed as NumPy: an argument that is on the device already is not copied again.
        self._state, self._data = jax.device_put(run.first_state()), run.data_on_device()

    def __next__(self) -> EpochResult:
        """Train for one epoch, and decide on the next one."""
        if self.finished:
            raise StopIteration
        return self.decide(self.train())

    def train(self) -> EpochResult:
        """Train for one epoch, on which :meth:`decide` has to decide."""
        run = self._run
        if run.at_skip:
            return run.skip_epoch(self._state.forecasting)
        hyper = jax.device_put(run.hyperparameters())
        state, loss, forecasts = train_epoch(run.program, self._data, hyper, self._state)
        self._state = state
        return run.record(float(loss), np.asarray(forecasts), state.forecasting)

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

    @property
    def skip(self) -> LinearSkip | None:
        """The regression beside the network, where the config has one."""
        return self._run.skip

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
    skip: LinearSkip | None = None,
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
        skip: the regression beside the network, in place of the one that is fitted to the training
            rows and chosen on validation; only where ``config`` has a linear skip.

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
    if skip is None:
        (skip,) = choose_skips(config, (data,))
    decides = criterion or metric
    return Training(TrainingRun(config, data, decides, learning_rates, snapshot, skip))


def best_epoch(run: Iterable[EpochResult]) -> EpochResult:
    """Return the epoch of ``run`` that validation chooses, the first where several are equal.

    Example:
        >>> best_epoch(fit(config, data)).epoch
    """
    return min(run, key=lambda result: result.value)


def _after_lags(skip: LinearSkip | None) -> str:
    return "" if skip is None else f" after the {skip.history} lags of its ridge regression"


@lru_cache(maxsize=_KINDS)
def _inputs_of(
    kind: TrialConfig, data: DevelopmentData, skip: LinearSkip | None
) -> tuple[ScaledSeries, NetworkInputs]:
    """Return what networks of a kind read, filled up at the end, which no origin or cursor reaches.

    So the series of every scaling (some lose the first rows) and every fold has one length, and
    they share a compiled program. Of many series it is large: a process has one for all trials.
    """
    scaled = scale(kind, data.values, data.split.train_stop, data.firsts)
    given = network_inputs(
        kind, scaled, data.values, data.covariates, skip, data.split.horizon, data.capacity
    )
    return scaled, given


@lru_cache(maxsize=_KINDS)
def _on_device(given: NetworkInputs) -> NetworkData:
    data: NetworkData = jax.device_put(given.data)
    return data


def _training_data(
    config: TrialConfig, data: DevelopmentData, given: NetworkInputs, skip: LinearSkip | None
) -> TrainingData:
    horizon = data.split.horizon
    if skip is not None and config.head == "recursive" and config.segment_length > horizon:
        raise ConfigError(
            f"segment_length must be at most the horizon, {horizon}, with a recursive head and a "
            f"linear skip, but is {config.segment_length}"
        )
    train_length = data.split.train_stop - given.start
    latest = int(data.firsts.max())
    furthest = config.label_offset + config.segment_length - 1
    if skip is not None or config.head == "direct":
        furthest = horizon
    needed = config.context + furthest
    if train_length - latest < needed:
        there = f"there are {train_length - latest}"
        if len(data.names) > 1:
            there += f" of {data.names[int(data.firsts.argmax())]}, the shortest series"
        raise DataError(
            f"unroll_length and label_offset need {needed} scaled training values, but {there}"
            if furthest == config.label_offset
            else f"a context of {config.context} rows and {furthest} rows after it need {needed} "
            f"training rows, but {there}{_after_lags(skip)}; give a shorter unroll_length"
        )
    first = int(data.split.validation_origins[0]) - given.start - latest + 1
    if first < config.rows_read:
        raise DataError(
            f"warm_up must be at most {first} rows, those before the first validation origin, but "
            f"is {config.rows_read}"
        )
    return TrainingData(
        inputs=given.data,
        train_length=np.int32(train_length),
        firsts=data.firsts,
        origins=data.split.validation_origins - np.int32(given.start),
    )
