"""What the completed trials prove together: their losses, and tests of significance on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData, Split
from foretune.models.forecasts.assessment import Assessment, assess_folds
from foretune.models.forecasts.baselines import baseline_growth
from foretune.search.report.scored_trials import ScoredTrials
from foretune.search.report.significance import (
    SPAResult,
    in_confidence_set,
    model_confidence_set,
    spa_test,
)
from foretune.search.study.spec import SplitSpec


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """Tests of all completed trials on the validation origins.

    ``against`` tests them against each baseline by name: is one of them truly better? ``in_set``
    are the numbers of the trials that cannot be told apart from the best (model confidence set at
    90 %); None where the origins are too few to compare trials at all. ``left_out`` says in words
    which completed trials are not counted, and why.
    """

    trials: list[int]
    against: dict[str, SPAResult]
    in_set: list[int] | None
    left_out: str
    baselines: dict[str, Assessment]

    @property
    def skill(self) -> SPAResult:
        """The test against persistence."""
        return self.against["persistence"]

    @property
    def best_baseline(self) -> str:
        """The name of the baseline with the lowest relative MSE."""
        return min(self.baselines, key=lambda name: self.baselines[name].metrics.relative_mse)


def gather_evidence(
    judged: ScoredTrials, folds: Sequence[DevelopmentData], *, seed: int = 0
) -> Evidence:
    """Test completed trials against every baseline.

    Args:
        judged: the trials with their losses.
        folds: training and validation days of each fold.
        seed: seed of the bootstrap.
    """
    split = folds[0].split
    baselines = assess_baselines(folds)
    return Evidence(
        trials=[trial.number for trial in judged.trials],
        against={
            name: spa_test(
                judged.losses,
                baseline.losses,
                horizon=split.horizon,
                stride=split.stride,
                seed=seed,
            )
            for name, baseline in baselines.items()
        },
        in_set=_confidence_members(judged, split, seed),
        left_out=judged.format_left_out,
        baselines=baselines,
    )


def _confidence_members(judged: ScoredTrials, split: Split, seed: int) -> list[int] | None:
    """Return the numbers of the trials in the model confidence set; None without one."""
    try:
        p_values = model_confidence_set(
            judged.losses, horizon=split.horizon, stride=split.stride, seed=seed
        )
    except ConfigError:  # one origin, or two that resample into nothing else
        return None
    members = in_confidence_set(p_values)
    return [t.number for t, kept in zip(judged.trials, members, strict=True) if kept]


def skill_of(judged: ScoredTrials, split: SplitSpec) -> SPAResult:
    """Test trials against persistence."""
    return spa_test(
        judged.losses,
        judged.persistence_losses,
        horizon=split.horizon,
        stride=split.stride,
    )


def assess_baselines(folds: Sequence[DevelopmentData]) -> dict[str, Assessment]:
    """Assess every baseline on the origins that trials are scored on.

    One that needs more days than the first fold has is left out.
    """
    forecasts = [
        baseline_growth(
            fold.values,
            train_stop=fold.split.train_stop,
            origins=fold.split.validation_origins,
            horizon=fold.split.horizon,
        )
        for fold in folds
    ]
    return {name: assess_folds(folds, [fold[name] for fold in forecasts]) for name in forecasts[0]}
