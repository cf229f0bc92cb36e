"""The best distinct configs of a study, trained once more; and their mean, the ensemble."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from foretune.datasets.errors import ConfigError
from foretune.datasets.splits import Development
from foretune.models.config import TrialConfig
from foretune.models.evaluation import evaluate
from foretune.models.network import Params
from foretune.models.training import EpochResult, NonFiniteLossError
from foretune.models.walk_forward import FoldResults, fit_folds, mean_over_folds
from foretune.search.best import trial_config
from foretune.search.sealed_test import OpenedTest

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

    def forecast_test(self, test: OpenedTest, train_stop: int) -> Growth:
        """Forecast log growth [O, H] from the origins of an opened test."""
        return evaluate(
            self.config,
            self.params,
            test.mid,
            train_stop=train_stop,
            origins=test.origins,
            horizon=test.split.horizon,
        ).log_growth


def best_distinct(trials: Iterable[FrozenTrial], count: int) -> list[FrozenTrial]:
    """Return the best of completed trials, at most ``count``, no two of one config; best first."""
    chosen: dict[TrialConfig, FrozenTrial] = {}
    for trial in sorted(trials, key=_value):
        chosen.setdefault(trial_config(trial), trial)
    return list(chosen.values())[:count]


def _value(trial: FrozenTrial) -> tuple[float, int]:
    assert trial.value is not None  # a complete trial has one
    return trial.value, trial.number


def retrain(
    trial: FrozenTrial,
    folds: Sequence[Development],
    on_epoch: Callable[[int, TrialConfig, FoldResults], None] | None = None,
) -> Candidate:
    """Train the config of ``trial`` again and keep each fold's best epoch.

    Args:
        trial: a stored trial.
        folds: the days it was trained on.
        on_epoch: called with (trial number, config, results) after every epoch.

    Raises:
        ConfigError: the training goes astray, as it did not when the trial was stored.
    """
    config = trial_config(trial)
    best: dict[int, EpochResult] = {}
    try:
        for results in fit_folds(config, folds):
            for fold, result in enumerate(results.folds):
                if result.is_best:
                    best[fold] = result
            if on_epoch is not None:
                on_epoch(trial.number, config, results)
    except NonFiniteLossError as error:
        raise ConfigError(f"trial {trial.number} cannot be trained again: {error}") from None
    chosen = list(best.values())
    return Candidate(
        trial=trial,
        config=config,
        forecasts=tuple(result.forecasts for result in chosen),
        params=chosen[-1].params,
        relative_mse=mean_over_folds(chosen),
    )


def ensemble(forecasts: Sequence[Sequence[Growth]]) -> tuple[Growth, ...]:
    """Return the mean over members of their forecasts, fold by fold.

    Args:
        forecasts: for each member, log growth [O, H] of each fold.

    Example:
        >>> ensemble([candidate.forecasts for candidate in candidates])
    """
    return tuple(np.mean(fold, axis=0) for fold in zip(*forecasts, strict=True))
