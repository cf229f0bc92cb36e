"""What the completed trials prove together: their losses, and tests of significance on them."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.splits import walk_forward
from foretune.search.report.significance import (
    SPAResult,
    in_confidence_set,
    model_confidence_set,
    spa_test,
)
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.best import rank, trial_config
from foretune.search.study.losses import (
    load_baseline_losses,
    load_losses,
    recorded_losses,
    recorded_spacing,
)
from foretune.search.study.spec import StudySpec

# Reasons that are given in full.
_REASONS = 3

Losses = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoredTrials:
    """Completed trials, the best one first, with their losses [T, K] by origin.

    ``baselines`` are the losses [T] of each baseline by name, and ``horizon`` and ``stride`` say
    how the forecasts overlap. ``left_out`` are the reasons why other completed trials are not among
    them, by number: a trial that was added by hand may lack what a judgement takes, and a file may
    have been deleted.
    """

    trials: list[FrozenTrial]
    losses: Losses
    baselines: dict[str, Losses]
    horizon: int
    stride: int
    left_out: Mapping[int, str]

    @property
    def best(self) -> FrozenTrial:
        """The best one."""
        return self.trials[0]

    @property
    def benchmark(self) -> str:
        """The name of the best baseline, which trials have to beat."""
        return min(self.baselines, key=lambda name: np.mean(self.baselines[name]))

    @property
    def left_out_text(self) -> str:
        """Name the trials that are left out; empty without any."""
        if not self.left_out:
            return ""
        numbers = ", ".join(map(str, self.left_out))
        trials = "trial" if len(self.left_out) == 1 else "trials"
        return f"Not counted, {trials} {numbers}: {_format_reasons(self.left_out)}."

    def against(self, baseline: str) -> SPAResult:
        """Test all trials against a baseline."""
        return spa_test(
            self.losses, self.baselines[baseline], horizon=self.horizon, stride=self.stride
        )


def scored_trials(study: optuna.Study) -> ScoredTrials:
    """Return the completed trials of ``study`` that can be judged; needs no data.

    An older study has stored no baseline but persistence.

    Raises:
        ConfigError: no trial is complete, or none of them can be judged; foretune did not make
            the study, and its objective has recorded no losses.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise ConfigError(f"study {study.study_name!r} must have a complete trial, but got none")
    spec, baselines = StudySpec.stored(study), load_baseline_losses(study)
    if spec is None:
        horizon, stride = recorded_spacing(study)
        origins = len(next(iter(baselines.values()), ()))
    else:
        horizon, stride = spec.split.horizon, spec.split.stride
        folds = walk_forward(spec.split_days(spec.prices.days), spec.split.folds)
        origins = sum(len(fold.validation_origins) for fold in folds)
    losses: dict[int, Losses] = {}
    left_out = {}
    for trial in complete:
        try:
            if spec is None:
                losses[trial.number] = recorded_losses(trial, origins)
                continue
            _require_whole(trial)
            own, persistence = load_losses(
                storage_of(study), trial, "loss", "persistence_loss", origins=origins
            )
        except ForetuneError as error:
            left_out[trial.number] = str(error)
        else:
            losses[trial.number] = own
            baselines = baselines or {"persistence": persistence}
    if not losses:
        raise ConfigError(
            f"study {study.study_name!r} must have a complete trial that can be judged, but none "
            f"of its {len(complete)} can: {_format_reasons(left_out)}"
        )
    # The value of another objective may be anything, such as a score that is maximized.
    trials = [trial for trial in complete if trial.number in losses]
    if spec is None:
        trials.sort(key=lambda trial: np.mean(losses[trial.number]))
    else:
        trials.sort(key=rank)
    return ScoredTrials(
        trials=trials,
        losses=np.column_stack([losses[trial.number] for trial in trials]),
        baselines=baselines,
        horizon=horizon,
        stride=stride,
        left_out=left_out,
    )


def _require_whole(trial: FrozenTrial) -> None:
    """Refuse a trial of a foretune study that has not all that a judgement takes."""
    if trial.value is None or not 0 <= trial.value < math.inf:
        raise ConfigError(
            f"trial {trial.number} must have a finite value of at least 0, but has {trial.value}"
        )
    trial_config(trial)


def _format_reasons(reasons: Mapping[int, str]) -> str:
    """Return the first few reasons, and how many more there are."""
    given = list(reasons.values())
    more = f"; and so on, {len(given)} trials in all" if len(given) > _REASONS else ""
    return "; ".join(given[:_REASONS]) + more


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """Tests of all completed trials on the validation origins.

    ``against`` tests them against each baseline by name: is one of them truly better?
    ``mean_losses`` are those of the baselines, and ``benchmark`` names the best one. ``in_set``
    names the trials and baselines that cannot be told apart from the best of all (model confidence
    set at 90 %); None where the origins are too few to compare them at all. ``left_out`` says in
    words which completed trials are not counted, and why.
    """

    trials: list[int]
    against: dict[str, SPAResult]
    mean_losses: dict[str, float]
    benchmark: str
    in_set: list[str] | None
    left_out: str

    @property
    def skill(self) -> SPAResult:
        """The test against the best baseline."""
        return self.against[self.benchmark]


def gather_evidence(
    scored: ScoredTrials, baselines: Mapping[str, Losses] | None = None
) -> Evidence:
    """Test completed trials against every baseline.

    Args:
        scored: the trials with their losses.
        baselines: losses [T] by name, in place of those that the study stores.
    """
    if baselines is not None:
        scored = replace(scored, baselines=dict(baselines))
    numbers = [trial.number for trial in scored.trials]
    return Evidence(
        trials=numbers,
        against={name: scored.against(name) for name in scored.baselines},
        mean_losses={name: float(np.mean(found)) for name, found in scored.baselines.items()},
        benchmark=scored.benchmark,
        in_set=_confidence_set(scored, [f"trial {number}" for number in numbers]),
        left_out=scored.left_out_text,
    )


def _confidence_set(scored: ScoredTrials, trials: Iterable[str]) -> list[str] | None:
    names = [*trials, *scored.baselines]
    losses = np.column_stack([scored.losses, *scored.baselines.values()])
    try:
        p_values = model_confidence_set(losses, horizon=scored.horizon, stride=scored.stride)
    except ConfigError:  # fewer origins than two blocks
        return None
    return [name for name, kept in zip(names, in_confidence_set(p_values), strict=True) if kept]
