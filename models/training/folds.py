"""Walk-forward training: one model a fold, side by side, an epoch at a time."""

from collections.abc import Iterator, Sequence

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.training.loop import Training, TrainingRun
from foretune.models.training.results import FoldProgress, FoldResults


class FoldsTraining(Iterator[FoldResults]):
    """Trains one model for each fold, all of them an epoch further at a time.

    Every fold has its own weights, decay, early stop and best epoch, as if it were trained alone.
    They advance together so that a pruner compares like with like: the same folds after the same
    number of epochs.

    It iterates over the folds' results after each epoch, until the last fold has ended. Iterating
    raises NonFiniteLossError where the loss or a forecast is NaN or infinite.

    Args:
        config: what to train.
        folds: training and validation days of each fold.
        resumed: where each fold was when an earlier training was interrupted; none for a new one.
        one_by_one: begin a fold when the one before it has ended.

    Raises:
        DataError: a training part is too short for the unroll length.

    Example:
        >>> for result in FoldsTraining(config, development_folds(prices, split, 3)):
        ...     print(result.epoch, result.relative_mse)
    """

    def __init__(
        self,
        config: TrialConfig,
        folds: Sequence[DevelopmentData],
        resumed: Sequence[FoldProgress] = (),
        *,
        one_by_one: bool = False,
    ) -> None:
        self._config, self._folds, self._one_by_one = config, folds, one_by_one
        self._epoch = max((at.snapshot.epochs for at in resumed), default=0)
        self._trainings: list[Training] = []
        for at in resumed:
            self._begin(at)
        while not one_by_one and len(self._trainings) < len(folds):
            self._begin()

    def __next__(self) -> FoldResults:
        """Train every unfinished fold for one epoch."""
        if self._ended:
            raise StopIteration
        if all(training.finished for training in self._trainings):
            self._begin()
        self._epoch += 1
        results = tuple(
            training.best if training.finished and training.best else next(training)
            for training in self._trainings
        )
        epoch = results[-1].epoch if self._one_by_one else self._epoch
        return FoldResults(epoch, results, self._ended)

    def progress(self) -> tuple[FoldProgress, ...]:
        """Return where every fold is that has begun."""
        return tuple(
            FoldProgress(training.snapshot(), training.best and training.best.without_arrays())
            for training in self._trainings
        )

    @property
    def _ended(self) -> bool:
        begun = len(self._trainings) == len(self._folds)
        return begun and all(training.finished for training in self._trainings)

    def _begin(self, at: FoldProgress | None = None) -> None:
        fold = self._folds[len(self._trainings)]
        run = TrainingRun(self._config, fold, snapshot=at.snapshot if at else None)
        self._trainings.append(Training(run, at.best if at else None))
