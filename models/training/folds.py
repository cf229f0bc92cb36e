"""Walk-forward training: one model a fold, side by side, an epoch at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.training.loop import Training, fit
from foretune.models.training.results import EpochResult, FoldProgress, FoldResults


class FoldsTraining(Iterator[FoldResults]):
    """The epochs of all folds; see :func:`fit_folds`."""

    def __init__(
        self,
        config: TrialConfig,
        folds: Sequence[DevelopmentData],
        resumed: Sequence[FoldProgress],
        one_by_one: bool,
    ) -> None:
        self._config = config
        self._folds = folds
        self._one_by_one = one_by_one
        self._epoch = max((at.snapshot.epochs for at in resumed), default=0)
        self._runs = [
            _FoldRun(fit(config, fold, snapshot=at.snapshot), at.best, at.snapshot.finished)
            for fold, at in zip(folds, resumed, strict=False)
        ]
        if not one_by_one:
            self._runs += [_FoldRun(fit(config, fold)) for fold in folds[len(resumed) :]]

    def __next__(self) -> FoldResults:
        """Train every fold that goes on for one epoch."""
        if self._ended:
            raise StopIteration
        if all(run.ended for run in self._runs):
            self._runs.append(_FoldRun(fit(self._config, self._folds[len(self._runs)])))
        self._epoch += 1
        results = tuple(run.advance() for run in self._runs)
        epoch = results[-1].epoch if self._one_by_one else self._epoch
        return FoldResults(epoch, results, self._ended)

    def progress(self) -> tuple[FoldProgress, ...]:
        """Return where every fold is that was begun."""
        return tuple(
            FoldProgress(run.training.snapshot(), run.best and run.best.without_arrays())
            for run in self._runs
        )

    @property
    def _ended(self) -> bool:
        return len(self._runs) == len(self._folds) and all(run.ended for run in self._runs)


def fit_folds(
    config: TrialConfig,
    folds: Sequence[DevelopmentData],
    resumed: Sequence[FoldProgress] = (),
    *,
    one_by_one: bool = False,
) -> FoldsTraining:
    """Train one model for each fold, all of them an epoch further at a time.

    Every fold has its own weights, decay, early stop and best epoch, as if it were trained alone.
    They advance together so that a pruner compares like with like: the same folds after the same
    number of epochs.

    Args:
        config: what to train.
        folds: training and validation days of each fold.
        resumed: where each fold was when an earlier training was interrupted; none to begin anew.
        one_by_one: begin a fold when the one before it has ended.

    Returns:
        An iterator over the folds' results after each epoch, until the last fold has ended.
        Iterating raises NonFiniteLossError where the loss or a forecast is NaN or infinite.

    Raises:
        DataError: a training part is too short for the unroll length.

    Example:
        >>> for result in fit_folds(config, development_folds(prices, split, 3)):
        ...     print(result.epoch, result.relative_mse)
    """
    return FoldsTraining(config, folds, resumed, one_by_one)


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
