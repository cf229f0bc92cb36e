"""Walk-forward training: one model a fold, side by side, an epoch at a time."""

from collections.abc import Iterator, Sequence

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecasts.skip import LinearSkip, choose_skips
from foretune.models.training.loop import Training, TrainingRun
from foretune.models.training.results import FoldProgress, FoldResults, mean_over_folds


class FoldsTraining(Iterator[FoldResults]):
    """Trains one model for each fold, all of them an epoch further at a time.

    Every fold has its own weights. Learning rates decay, training stops and the best epoch is
    chosen for all folds together, by the mean of their validation values: the best of each fold's
    own epochs would be a choice of as many minima, and too good.

    It iterates over the folds' results after each epoch. Iterating raises NonFiniteLossError where
    the loss or a forecast is NaN or infinite.

    Args:
        config: what to train.
        folds: training and validation rows of each fold.
        resumed: where each fold was when an earlier training was interrupted; none for a new one.
        shared_epoch: False for the rule of version 0.1: each fold decays, stops and chooses by its
            own values, as if it were trained alone; one that has ended shows its best epoch.
        metric: whose value decays, stops and chooses.

    Raises:
        ConfigError: the series has no MASE.
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
        shared_epoch: bool = True,
        metric: MetricName = "relative_mse",
    ) -> None:
        self._shared_epoch = shared_epoch
        self._trainings: list[Training] = []
        skips = choose_skips(config, folds)
        for number, (fold, skip) in enumerate(zip(folds, skips, strict=True)):
            at = resumed[number] if resumed else None
            run = TrainingRun(
                config,
                fold,
                metric,
                snapshot=at.snapshot if at else None,
                skip=skip,
                first=folds[0],
            )
            self._trainings.append(Training(run, at.best if at else None))

    def __next__(self) -> FoldResults:
        """Train every unfinished fold for one epoch."""
        if self._finished:
            raise StopIteration
        made = [
            training.best if training.finished and training.best else training.train()
            for training in self._trainings
        ]
        value = mean_over_folds(made) if self._shared_epoch else None
        results = tuple(
            result if training.finished else training.decide(result, value)
            for training, result in zip(self._trainings, made, strict=True)
        )
        return FoldResults(max(result.epoch for result in made), results, self._finished)

    def progress(self) -> tuple[FoldProgress, ...]:
        """Return where every fold is."""
        return tuple(
            FoldProgress(training.snapshot(), training.best and training.best.without_arrays())
            for training in self._trainings
        )

    @property
    def skips(self) -> tuple[LinearSkip | None, ...]:
        """The regression beside the network of each fold, where the config has one."""
        return tuple(training.skip for training in self._trainings)

    @property
    def _finished(self) -> bool:
        return all(training.finished for training in self._trainings)
