"""The results of an epoch, and the snapshot that training continues from; without JAX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretune.models.training.plateau import Plateau

NO_FORECASTS = np.empty((0, 0, 0))


class NonFiniteLossError(ArithmeticError):
    """Training produced a number that is not finite; the trial has failed and has no value."""


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """The result of one epoch.

    ``forecasts`` are changes since each validation origin [S, O, H], log growth of prices;
    ``relative_mse`` is theirs, ``persistence_mse`` the mean squared change that it is relative to.
    ``half_mse`` is the tutorial's measure: ½ mean squared error in scaled units. ``value`` is that
    of the metric that decides, the relative MSE unless another was chosen. ``train_loss`` is the
    mean over the epoch's steps of the config's loss: its batch mean, summed over the unroll of a
    recursive head, averaged over the steps of a direct one. ``params`` are the network's weights.
    No epoch follows one that ``is_last``. Epoch 0 is that of a linear skip before any training.
    """

    epoch: int
    train_loss: float
    value: float
    relative_mse: float
    persistence_mse: float
    half_mse: float
    learning_rate: float
    is_best: bool
    is_last: bool
    forecasts: NDArray[np.float64]
    params: Any

    def without_arrays(self, *, forecasts: bool = False) -> "EpochResult":
        """Return the numbers alone, or with the forecasts."""
        kept = self.forecasts if forecasts else NO_FORECASTS
        return replace(self, params={}, forecasts=kept)


@dataclass(frozen=True)
class FoldResults:
    """Where every fold of a training is after an epoch.

    ``folds`` holds each fold's result in this epoch; its best one once it has ended before others,
    as folds do that share no best epoch.
    """

    epoch: int
    folds: tuple[EpochResult, ...]
    is_last: bool

    @classmethod
    def of_one(cls, result: EpochResult) -> "FoldResults":
        """Return the result of the only fold."""
        return cls(result.epoch, (result,), result.is_last)

    @property
    def value(self) -> float:
        """Mean over the folds of the metric that decides."""
        return mean_over_folds(self.folds)

    @property
    def relative_mse(self) -> float:
        """Mean over the folds."""
        return float(np.mean([result.relative_mse for result in self.folds]))


def mean_over_folds(results: Sequence[EpochResult]) -> float:
    """Return the mean of the values of one result a fold: the value of a trial."""
    return float(np.mean([result.value for result in results]))


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that the next epoch of a training depends on, besides its config and data.

    ``arrays`` hold the training state by the names of its leaves; ``finished`` says that no epoch
    follows.
    """

    epochs: int
    plateau: Plateau
    finished: bool
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class FoldProgress:
    """Where one fold of a training is: its snapshot, and the numbers of its best epoch so far."""

    snapshot: Snapshot
    best: EpochResult | None
