"""What the completed trials prove together: their losses, and tests of significance on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import Development, Split
from foretune.models.forecasts.assessment import Assessment, assess_folds
from foretune.models.forecasts.baselines import baseline_growth
from foretune.search.report.judged_trials import JudgedTrials
from foretune.search.report.significance import (
    SuperiorAbility,
    confidence_set,
    in_confidence_set,
    superior_ability,
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
    against: dict[str, SuperiorAbility]
    in_set: list[int] | None
    left_out: str
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
    judged: JudgedTrials, folds: Sequence[Development], *, seed: int = 0
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
            name: superior_ability(
                judged.losses,
                baseline.losses,
                horizon=split.horizon,
                stride=split.stride,
                seed=seed,
            )
            for name, baseline in baselines.items()
        },
        in_set=_confidence_members(judged, split, seed),
        left_out=judged.left_out_in_words,
        baselines=baselines,
    )


def _confidence_members(judged: JudgedTrials, split: Split, seed: int) -> list[int] | None:
    """Return the numbers of the trials in the model confidence set; None without one."""
    try:
        p_values = confidence_set(
            judged.losses, horizon=split.horizon, stride=split.stride, seed=seed
        )
    except ConfigError:  # one origin, or two that resample into nothing else
        return None
    members = in_confidence_set(p_values)
    return [t.number for t, kept in zip(judged.trials, members, strict=True) if kept]


def skill_of(judged: JudgedTrials, split: SplitSpec) -> SuperiorAbility:
    """Test trials against persistence."""
    return superior_ability(
        judged.losses,
        judged.persistence_losses,
        horizon=split.horizon,
        stride=split.stride,
    )


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
