"""What the completed trials prove together: their losses, and tests of significance on them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.splits import DevelopmentData, Split, walk_forward
from foretune.models.forecasts.metrics import Assessment
from foretune.models.forecasts.ridge import Ridge
from foretune.search.report.significance import (
    SPAResult,
    in_confidence_set,
    model_confidence_set,
    spa_test,
)
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.baselines import assess_baselines
from foretune.search.study.best import rank, trial_config
from foretune.search.study.spec import SplitSpec, required_spec
from foretune.search.trial.files import load_losses

# Reasons that are given in full.
_REASONS = 3


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredTrials:
    """Completed trials with their losses [T, K] and persistence's [T], by origin.

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
    def left_out_text(self) -> str:
        """Name the trials that are left out; empty without any."""
        if not self.left_out:
            return ""
        numbers = ", ".join(map(str, self.left_out))
        trials = "trial" if len(self.left_out) == 1 else "trials"
        return f"Not counted, {trials} {numbers}: {_format_reasons(self.left_out)}."


def scored_trials(study: optuna.Study) -> ScoredTrials:
    """Return the completed trials of ``study`` that can be judged; needs no data.

    Raises:
        ConfigError: no trial is complete, or none of them can be judged; foretune did not make
            the study.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise ConfigError(f"study {study.study_name!r} must have a complete trial, but got none")
    spec = required_spec(study)
    folds = walk_forward(spec.split_days(spec.prices.days), spec.split.folds)
    origins = sum(len(fold.validation_origins) for fold in folds)
    scored: list[tuple[FrozenTrial, NDArray[np.float64], NDArray[np.float64]]] = []
    left_out = {}
    for trial in complete:
        try:
            scored.append((trial, *_losses(study, trial, origins)))
        except ForetuneError as error:
            left_out[trial.number] = str(error)
    if not scored:
        raise ConfigError(
            f"study {study.study_name!r} must have a complete trial that can be judged, but none "
            f"of its {len(complete)} can: {_format_reasons(left_out)}"
        )
    trials, losses, persistence = zip(*scored, strict=True)
    return ScoredTrials(
        trials=list(trials),
        losses=np.column_stack(losses),
        persistence_losses=persistence[0],
        left_out=left_out,
    )


def _losses(
    study: optuna.Study, trial: FrozenTrial, origins: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a trial's losses and persistence's, if it has all that a judgement takes."""
    if trial.value is None or not 0 <= trial.value < math.inf:
        raise ConfigError(
            f"trial {trial.number} must have a finite value of at least 0, but has {trial.value}"
        )
    trial_config(trial)
    losses, persistence = load_losses(
        storage_of(study), trial, "loss", "persistence_loss", origins=origins
    )
    return losses, persistence


def _format_reasons(reasons: Mapping[int, str]) -> str:
    """Return the first few reasons, and how many more there are."""
    given = list(reasons.values())
    more = f"; and so on, {len(given)} trials in all" if len(given) > _REASONS else ""
    return "; ".join(given[:_REASONS]) + more


def skill_of(
    scored: ScoredTrials, split: Split | SplitSpec, benchmark: NDArray[np.float64] | None = None
) -> SPAResult:
    """Test trials against persistence, or against another benchmark's losses [T]."""
    losses = scored.persistence_losses if benchmark is None else benchmark
    return spa_test(scored.losses, losses, horizon=split.horizon, stride=split.stride)


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """Tests of all completed trials on the validation origins.

    ``against`` tests them against each baseline by name: is one of them truly better? ``in_set``
    are the numbers of the trials that cannot be told apart from the best (model confidence set at
    90 %); None where the origins are too few to compare trials at all. ``left_out`` says in words
    which completed trials are not counted, and why. ``ridges`` are the regressions on lags that are
    among ``baselines``: of each series, one a fold.
    """

    trials: list[int]
    against: dict[str, SPAResult]
    in_set: list[int] | None
    left_out: str
    baselines: dict[str, Assessment]
    ridges: tuple[tuple[Ridge, ...], ...]

    @property
    def skill(self) -> SPAResult:
        """The test against persistence."""
        return self.against["persistence"]

    @property
    def best_baseline(self) -> str:
        """The name of the baseline with the lowest relative MSE."""
        return min(self.baselines, key=lambda name: self.baselines[name].metrics.relative_mse)


def gather_evidence(scored: ScoredTrials, folds: Sequence[DevelopmentData]) -> Evidence:
    """Test completed trials against every baseline.

    Args:
        scored: the trials with their losses.
        folds: training and validation rows of each fold.
    """
    split, baselines = folds[-1].split, assess_baselines(folds)
    numbers = [trial.number for trial in scored.trials]
    try:
        p_values = model_confidence_set(scored.losses, horizon=split.horizon, stride=split.stride)
        in_set = [n for n, kept in zip(numbers, in_confidence_set(p_values), strict=True) if kept]
    except ConfigError:  # fewer origins than two blocks
        in_set = None
    return Evidence(
        trials=numbers,
        against={
            name: skill_of(scored, split, model.losses) for name, model in baselines.models.items()
        },
        in_set=in_set,
        left_out=scored.left_out_text,
        baselines=baselines.models,
        ridges=baselines.ridges,
    )
