"""The completed trials that can be judged, with their losses; and why others cannot."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.splits import walk_forward
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.best import rank, trial_config
from foretune.search.study.spec import StudySpec, required_spec
from foretune.search.trial.files import load_loss_columns

# So many reasons are told in full.
_TOLD = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredTrials:
    """Trials with their losses [T, K] and persistence's [T], by origin.

    ``left_out`` are the reasons why other completed trials are not among them, by number: a trial
    that was added by hand may lack what a judgement takes, and a file may have been deleted.
    """

    trials: list[FrozenTrial]
    losses: NDArray[np.float64]
    persistence_losses: NDArray[np.float64]
    left_out: Mapping[int, str]

    @property
    def best(self) -> FrozenTrial:
        """The one of the lowest value."""
        return min(self.trials, key=rank)

    @property
    def format_left_out(self) -> str:
        """Name the trials that are left out; empty without any."""
        if not self.left_out:
            return ""
        numbers = ", ".join(map(str, self.left_out))
        trials = "trial" if len(self.left_out) == 1 else "trials"
        return f"Not counted, {trials} {numbers}: {format_reasons(self.left_out)}."


def scored_trials(study: optuna.Study) -> ScoredTrials:
    """Return the completed trials of ``study`` that can be judged; needs no prices.

    Raises:
        ConfigError: no trial is complete, or none of them can be judged; foretune did not make
            the study.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise ConfigError(f"study {study.study_name!r} must have a complete trial, but got none")
    origins = _origins(required_spec(study))
    judged: list[tuple[FrozenTrial, NDArray[np.float64], NDArray[np.float64]]] = []
    left_out = {}
    for trial in complete:
        try:
            judged.append((trial, *_losses(study, trial, origins)))
        except ForetuneError as error:
            left_out[trial.number] = str(error)
    if not judged:
        raise ConfigError(
            f"study {study.study_name!r} must have a complete trial that can be judged, but none "
            f"of its {len(complete)} can: {format_reasons(left_out)}"
        )
    trials, losses, persistence = zip(*judged, strict=True)
    return ScoredTrials(
        trials=list(trials),
        losses=np.column_stack(losses),
        persistence_losses=persistence[0],
        left_out=left_out,
    )


def format_reasons(reasons: Mapping[int, str]) -> str:
    """Return the first few reasons, and how many more there are."""
    told = list(reasons.values())
    more = f"; and so on, {len(told)} trials" if len(told) > _TOLD else ""
    return "; ".join(told[:_TOLD]) + more


def _origins(spec: StudySpec) -> int:
    """Return at how many origins every trial of a study is scored."""
    split = spec.split.split(spec.prices.days, history=spec.space.history)
    return sum(len(fold.validation_origins) for fold in walk_forward(split, spec.split.folds))


def _losses(
    study: optuna.Study, trial: FrozenTrial, origins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a trial's losses and persistence's, after all that a judgement takes was looked at."""
    if trial.value is None or not 0 <= trial.value < math.inf:
        raise ConfigError(
            f"trial {trial.number} must have a finite value of at least 0, but has {trial.value}"
        )
    trial_config(trial)
    losses, persistence = load_loss_columns(
        storage_of(study), trial, "loss", "persistence_loss", origins=origins
    )
    return losses, persistence
