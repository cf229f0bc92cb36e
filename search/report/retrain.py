"""Training a stored trial's config again."""

from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.training.folds import fit_folds
from foretune.models.training.results import EpochResult, NonFiniteLossError, mean_over_folds
from foretune.search.study.best import trial_config
from foretune.search.trial.record import OnEpoch


@dataclass(frozen=True, kw_only=True)
class TrainedAgain:
    """What a second training came to.

    ``reported`` are the values by epoch, ``best`` is the best epoch of each fold.
    """

    config: TrialConfig
    reported: dict[int, float]
    best: tuple[EpochResult, ...]

    @property
    def relative_mse(self) -> float:
        """Mean over the folds of each one's best epoch."""
        return mean_over_folds(self.best)


def train_again(
    trial: FrozenTrial,
    folds: Sequence[DevelopmentData],
    on_epoch: OnEpoch | None = None,
    *,
    epochs: float | None = None,
) -> TrainedAgain:
    """Train the config of ``trial`` again.

    Args:
        trial: a stored trial.
        folds: the days it was trained on.
        on_epoch: called with (trial number, config, results) after every epoch.
        epochs: after how many to stop, if the trial was stopped; None for as it comes.

    Raises:
        ConfigError: the training goes astray, as it did not when the trial was stored.
    """
    config, reported = trial_config(trial), dict[int, float]()
    best: dict[int, EpochResult] = {}
    try:
        for results in fit_folds(config, folds):
            reported[results.epoch] = results.relative_mse
            best |= {n: result for n, result in enumerate(results.folds) if result.is_best}
            if on_epoch is not None:
                on_epoch(trial.number, config, results)
            if epochs is not None and results.epoch >= epochs:
                break
    except NonFiniteLossError as error:
        raise ConfigError(f"trial {trial.number} cannot be trained again: {error}") from None
    return TrainedAgain(config=config, reported=reported, best=tuple(best.values()))
