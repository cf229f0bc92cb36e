"""The best distinct configs of a study, trained again; and their mean, the ensemble."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.trial import FrozenTrial

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.forecasts.metrics import Growth
from foretune.models.training.folds import FoldsTraining
from foretune.models.training.results import EpochResult, NonFiniteLossError, mean_over_folds
from foretune.search.study.best import rank, trial_config
from foretune.search.trial.record import OnEpoch


@dataclass(frozen=True, eq=False, kw_only=True)
class RetrainedTrial:
    """One trial's config, trained again.

    ``reported`` are the values by epoch, ``best`` is the best epoch of each fold; the last fold's
    trained on the most rows.
    """

    trial: FrozenTrial
    config: TrialConfig
    reported: dict[int, float]
    best: tuple[EpochResult, ...]

    @property
    def relative_mse(self) -> float:
        """Mean over the folds of each one's best epoch."""
        return mean_over_folds(self.best)

    @property
    def forecasts(self) -> list[Growth]:
        """Each fold's validation forecasts, changes [S, O, H], at its best epoch."""
        return [result.forecasts for result in self.best]

    @property
    def is_same(self) -> bool:
        """Whether training it again gave the trial's value to the last bit."""
        return self.relative_mse == self.trial.value


def retrain(
    trial: FrozenTrial,
    folds: Sequence[DevelopmentData],
    on_epoch: OnEpoch | None = None,
    *,
    epochs: float | None = None,
) -> RetrainedTrial:
    """Train the config of ``trial`` again.

    Args:
        trial: a stored trial.
        folds: the rows it was trained on.
        on_epoch: called with (trial number, config, results) after every epoch.
        epochs: after how many to stop, for a trial that was stopped; None for its config's.

    Raises:
        ConfigError: a loss is not finite, unlike when the trial was stored.
    """
    config, reported = trial_config(trial), dict[int, float]()
    best: dict[int, EpochResult] = {}
    try:
        for results in FoldsTraining(config, folds):
            reported[results.epoch] = results.relative_mse
            best |= {n: result for n, result in enumerate(results.folds) if result.is_best}
            if on_epoch is not None:
                on_epoch(trial.number, config, results)
            if epochs is not None and results.epoch >= epochs:
                break
    except NonFiniteLossError as error:
        raise ConfigError(f"trial {trial.number} cannot be trained again: {error}") from None
    return RetrainedTrial(trial=trial, config=config, reported=reported, best=tuple(best.values()))


def best_distinct(trials: Iterable[FrozenTrial], count: int) -> list[FrozenTrial]:
    """Return the best of completed trials, at most ``count``, no two of one config; best first."""
    chosen: dict[TrialConfig, FrozenTrial] = {}
    for trial in sorted(trials, key=rank):
        chosen.setdefault(trial_config(trial), trial)
    return list(chosen.values())[:count]


def ensemble(forecasts: Iterable[Sequence[Growth]]) -> list[Growth]:
    """Return the mean over members of their forecasts, fold by fold.

    Args:
        forecasts: for each member, log growth [O, H] of each fold.

    Example:
        >>> ensemble(trial.forecasts for trial in retrained)
    """
    return [np.mean(fold, axis=0) for fold in zip(*forecasts, strict=True)]
