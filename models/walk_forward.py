"""Walk-forward training: one model a fold, side by side, an epoch at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foretune.datasets.splits import Development
from foretune.models.config import TrialConfig
from foretune.models.training import EpochResult, fit


@dataclass(frozen=True)
class FoldResults:
    """Where every fold of a training is after an epoch.

    ``folds`` holds each fold's result in this epoch, or its best one once it has ended.
    """

    epoch: int
    folds: tuple[EpochResult, ...]
    is_last: bool

    @classmethod
    def of_one(cls, result: EpochResult) -> "FoldResults":
        """Return the result of the only fold."""
        return cls(result.epoch, (result,), result.is_last)

    @property
    def relative_mse(self) -> float:
        """Mean over the folds."""
        return mean_over_folds(self.folds)


def mean_over_folds(results: Sequence[EpochResult]) -> float:
    """Return the mean relative MSE of one result a fold: the value of a trial."""
    return float(np.mean([result.relative_mse for result in results]))


def fit_folds(config: TrialConfig, folds: Sequence[Development]) -> Iterator[FoldResults]:
    """Train one model for each fold, all of them an epoch further at a time.

    Every fold has its own weights, decay, early stop and best epoch, as if it were trained alone.
    They advance together so that a pruner compares like with like: the same folds after the same
    number of epochs.

    Args:
        config: what to train.
        folds: training and validation days of each fold.

    Yields:
        The folds' results after each epoch, until the last fold has ended.

    Raises:
        NonFiniteLossError: the loss or a forecast of a fold is NaN or infinite.
        DataError: a training part is too short for the unroll length.

    Example:
        >>> for result in fit_folds(config, development_folds(prices, split, 3)):
        ...     print(result.epoch, result.relative_mse)
    """
    runs = [_FoldRun(fit(config, fold)) for fold in folds]
    epoch = 0
    while not all(run.ended for run in runs):
        epoch += 1
        results = tuple(run.advance() for run in runs)
        yield FoldResults(epoch, results, all(run.ended for run in runs))


@dataclass
class _FoldRun:
    results: Iterator[EpochResult]
    best: EpochResult | None = None
    ended: bool = False

    def advance(self) -> EpochResult:
        """Train for one epoch and return its result; once training has ended, the best one."""
        if self.best is not None and self.ended:
            return self.best
        result = next(self.results)
        self.ended = result.is_last
        if result.is_best:
            self.best = result
        return result
