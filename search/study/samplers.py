"""A sampler whose draws depend only on the study's seed and the trial's number."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


def default_sampler(seed: int) -> BaseSampler:
    """Return TPE that models the conditional ``units_2`` jointly with what it depends on."""
    # `group` is experimental; without it conditional parameters fall out of the joint model.
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
        return TPESampler(seed=seed, multivariate=True, group=True)


class TrialSeededSampler(BaseSampler):
    """Gives every trial a sampler of its own, seeded by (study's seed, trial number).

    A seeded Optuna sampler starts its random numbers again in every process, so that a resumed
    study repeats the first trials. Here no draw repeats, and a study stopped between two trials
    continues as if it had not been. (A space of few discrete configs can still draw one twice.)

    Args:
        seed: the study's seed.
        make: builds a sampler from a seed.
    """

    def __init__(self, seed: int, make: Callable[[int], BaseSampler] = default_sampler) -> None:
        self._seed = seed
        self._make = make
        self._samplers: dict[int, BaseSampler] = {}

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        if trial.number not in self._samplers:
            sequence = np.random.SeedSequence([self._seed, trial.number])
            self._samplers[trial.number] = self._make(int(sequence.generate_state(1)[0]))
        return self._samplers[trial.number]

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Pass on to the trial's sampler."""
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Pass on to the trial's sampler."""
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Pass on to the trial's sampler."""
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Pass on to the trial's sampler."""
        return self._of(trial).sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Pass on to the trial's sampler and let go of it."""
        self._of(trial).after_trial(study, trial, state, values)
        del self._samplers[trial.number]
