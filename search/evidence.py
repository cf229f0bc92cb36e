"""What the completed trials prove together: their losses, and tests of significance on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets.errors import ConfigError
from foretune.datasets.splits import Development
from foretune.models.assessment import Assessment, assess_folds
from foretune.models.baselines import baseline_growth
from foretune.search.significance import (
    SuperiorAbility,
    confidence_set,
    in_confidence_set,
    superior_ability,
)
from foretune.search.spec import required_spec
from foretune.search.storage import storage_of
from foretune.search.trial_files import load_losses


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """Tests of all completed trials on the validation origins.

    ``against`` tests them against each baseline by name: is one of them truly better? ``in_set``
    are the numbers of the trials that cannot be told apart from the best (model confidence set at
    90 %).
    """

    trials: list[int]
    against: dict[str, SuperiorAbility]
    in_set: list[int]
    baselines: dict[str, Assessment]

    @property
    def skill(self) -> SuperiorAbility:
        """The test against persistence."""
        return self.against["persistence"]

    @property
    def best_baseline(self) -> str:
        """The name of the baseline with the lowest relative MSE."""
        return min(self.baselines, key=lambda name: self.baselines[name].metrics.relative_mse)


def gather_evidence(
    study: optuna.Study, folds: Sequence[Development], *, seed: int = 0
) -> Evidence:
    """Test the completed trials of ``study`` against every baseline.

    Args:
        study: a study of :func:`run_study`.
        folds: training and validation days of each fold.
        seed: seed of the bootstrap.

    Raises:
        ConfigError: no trial is complete, or none has stored its losses.
    """
    trials = _complete_trials(study)
    losses = loss_matrix(storage_of(study), trials)
    split = folds[0].split
    baselines = assess_baselines(folds)
    members = in_confidence_set(
        confidence_set(losses, horizon=split.horizon, stride=split.stride, seed=seed)
    )
    return Evidence(
        trials=[trial.number for trial in trials],
        against={
            name: superior_ability(
                losses,
                baseline.losses,
                horizon=split.horizon,
                stride=split.stride,
                seed=seed,
            )
            for name, baseline in baselines.items()
        },
        in_set=[t.number for t, kept in zip(trials, members, strict=True) if kept],
        baselines=baselines,
    )


def skill_so_far(study: optuna.Study) -> SuperiorAbility:
    """Test the completed trials of ``study`` against persistence, from what they have stored.

    Needs no prices. The study must be one of :func:`run_study`.

    Raises:
        ConfigError: no trial is complete, or one has stored no losses.
    """
    trials, storage = _complete_trials(study), storage_of(study)
    split = required_spec(study).split
    return superior_ability(
        loss_matrix(storage, trials),
        load_losses(storage, trials[0], "persistence_loss"),
        horizon=split.horizon,
        stride=split.stride,
    )


def _complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not trials:
        raise ConfigError(f"study {study.study_name!r} must have a complete trial, but got none")
    return trials


def loss_matrix(storage: BaseStorage, trials: Sequence[FrozenTrial]) -> NDArray[np.float64]:
    """Return the stored losses of ``trials`` by origin and trial [T, K]."""
    return np.column_stack([load_losses(storage, trial) for trial in trials])


def assess_baselines(folds: Sequence[Development]) -> dict[str, Assessment]:
    """Assess every baseline on the origins that trials are scored on.

    One that needs more days than the first fold has is left out.
    """
    forecasts = [
        baseline_growth(
            fold.mid,
            train_stop=fold.split.train_stop,
            origins=fold.split.validation_origins,
            horizon=fold.split.horizon,
        )
        for fold in folds
    ]
    return {name: assess_folds(folds, [fold[name] for fold in forecasts]) for name in forecasts[0]}
