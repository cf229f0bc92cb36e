"""The best distinct configs of a study, trained once more; and their mean, the ensemble."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.forecasts.evaluation import evaluate
from foretune.models.networks.params import Params
from foretune.search.report.held_out import HeldOutTest
from foretune.search.report.retrain import train_again
from foretune.search.study.best import rank, trial_config
from foretune.search.trial.record import OnEpoch

Growth = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Candidate:
    """One trial's config, trained again.

    ``forecasts`` holds each fold's validation forecasts, log growth [O, H], at its best epoch;
    ``params`` are the weights of the last fold, which trained on the most days.
    """

    trial: FrozenTrial
    config: TrialConfig
    forecasts: tuple[Growth, ...]
    params: Params
    relative_mse: float

    @property
    def is_same(self) -> bool:
        """Whether training it again gave the trial's value to the last bit."""
        return self.relative_mse == self.trial.value

    def forecast_test(self, test: HeldOutTest, train_stop: int) -> Growth:
        """Forecast log growth [O, H] from the origins of an opened test."""
        return evaluate(
            self.config,
            self.params,
            test.values,
            train_stop=train_stop,
            origins=test.origins,
            horizon=test.split.horizon,
        ).log_growth


def best_distinct(trials: Iterable[FrozenTrial], count: int) -> list[FrozenTrial]:
    """Return the best of completed trials, at most ``count``, no two of one config; best first."""
    chosen: dict[TrialConfig, FrozenTrial] = {}
    for trial in sorted(trials, key=rank):
        chosen.setdefault(trial_config(trial), trial)
    return list(chosen.values())[:count]


def retrain(
    trial: FrozenTrial, folds: Sequence[DevelopmentData], on_epoch: OnEpoch | None = None
) -> Candidate:
    """Train the config of ``trial`` again and keep each fold's best epoch.

    Args:
        trial: a stored trial.
        folds: the days it was trained on.
        on_epoch: called with (trial number, config, results) after every epoch.

    Raises:
        ConfigError: the training goes astray, as it did not when the trial was stored.
    """
    again = train_again(trial, folds, on_epoch)
    return Candidate(
        trial=trial,
        config=again.config,
        forecasts=tuple(result.forecasts for result in again.best),
        params=again.best[-1].params,
        relative_mse=again.relative_mse,
    )


def ensemble(forecasts: Sequence[Sequence[Growth]]) -> tuple[Growth, ...]:
    """Return the mean over members of their forecasts, fold by fold.

    Args:
        forecasts: for each member, log growth [O, H] of each fold.

    Example:
        >>> ensemble([candidate.forecasts for candidate in candidates])
    """
    return tuple(np.mean(fold, axis=0) for fold in zip(*forecasts, strict=True))
