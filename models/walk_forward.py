"""Walk-forward training: one model a fold, side by side, an epoch at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foretune.datasets.splits import Development
from foretune.models.config import TrialConfig
from foretune.models.snapshot import Snapshot
from foretune.models.training import EpochResult, Training, fit


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


@dataclass(frozen=True)
class FoldProgress:
    """Where one fold of a training is: all that its next epoch depends on, and its best one."""

    snapshot: Snapshot
    best: EpochResult | None


class FoldsTraining(Iterator[FoldResults]):
    """The epochs of all folds, side by side; see :func:`fit_folds`."""

    def __init__(self, runs: "Sequence[_FoldRun]", epoch: int) -> None:
        self._runs = runs
        self._epoch = epoch

    def __next__(self) -> FoldResults:
        """Train every fold for one epoch."""
        if all(run.ended for run in self._runs):
            raise StopIteration
        self._epoch += 1
        results = tuple(run.advance() for run in self._runs)
        return FoldResults(self._epoch, results, all(run.ended for run in self._runs))

    def snapshots(self) -> list[Snapshot]:
        """Return where every fold is."""
        return [run.training.snapshot() for run in self._runs]


def fit_folds(
    config: TrialConfig, folds: Sequence[Development], resumed: Sequence[FoldProgress] = ()
) -> FoldsTraining:
    """Train one model for each fold, all of them an epoch further at a time.

    Every fold has its own weights, decay, early stop and best epoch, as if it were trained alone.
    They advance together so that a pruner compares like with like: the same folds after the same
    number of epochs.

    Args:
        config: what to train.
        folds: training and validation days of each fold.
        resumed: where each fold was when an earlier training was interrupted; none to begin anew.

    Returns:
        An iterator over the folds' results after each epoch, until the last fold has ended.
        Iterating raises NonFiniteLossError where the loss or a forecast is NaN or infinite.

    Raises:
        DataError: a training part is too short for the unroll length.

    Example:
        >>> for result in fit_folds(config, development_folds(prices, split, 3)):
        ...     print(result.epoch, result.relative_mse)
    """
    if not resumed:
        return FoldsTraining([_FoldRun(fit(config, fold)) for fold in folds], 0)
    runs = [
        _FoldRun(fit(config, fold, snapshot=at.snapshot), at.best, at.snapshot.finished)
        for fold, at in zip(folds, resumed, strict=True)
    ]
    return FoldsTraining(runs, max(at.snapshot.epochs for at in resumed))


@dataclass
class _FoldRun:
    training: Training
    best: EpochResult | None = None
    ended: bool = False

    def advance(self) -> EpochResult:
        """Train for one epoch and return its result; once training has ended, the best one."""
        if self.best is not None and self.ended:
            return self.best
        result = next(self.training)
        self.ended = result.is_last
        if result.is_best:
            self.best = result
        return result
