"""What a study shall come to: how many trials, and by which pruner."""

from typing import Self

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from foretune.datasets.common.records import StrictModel
from foretune.search.study.version1 import is_retried

_ATTRIBUTE = "foretune_wanted"

# The attribute of a trial that a driver runs, a new value each time that one takes it.
MARK = "foretune:driver"

# The attribute of a trial that no worker could bring to its end.
LOST = "lost"

# A sampler or pruner that came from a script, and that has no name.
CUSTOM = "custom"


class StudyTarget(StrictModel):
    """What a study shall come to; it changes when the study is extended."""

    trials: int = Field(ge=1, description="trials in total")
    sampler: str = Field(description="tpe, or custom for one of a script")
    pruner: str = Field(description="name of a pruner of `foretune run`, or custom")
    exhausted: bool = Field(default=False, description="the sampler has nothing left to ask for")

    @classmethod
    def stored(cls, study: optuna.Study) -> Self | None:
        """Read the target of ``study``; None where nobody has said."""
        document = study.user_attrs.get(_ATTRIBUTE)
        return cls(**document) if isinstance(document, dict) else None

    def store(self, study: optuna.Study) -> None:
        """Write it into ``study``, if it is not what is there."""
        document = self.model_dump(mode="json", exclude_defaults=True)
        if study.user_attrs.get(_ATTRIBUTE) != document:
            study.set_user_attr(_ATTRIBUTE, document)


def finished_trials(study: optuna.Study) -> int:
    """Count the trials that need not be run again: complete, pruned, or failed for good.

    A trial fails for good when its loss was not finite, or when every worker that trained it was
    lost. One that was interrupted or that an exception ended does not count, and another takes its
    place.

    Example:
        >>> finished_trials(load_study("sp500"))
        30
    """
    return sum(map(is_finished, study.get_trials(deepcopy=False)))


def is_finished(trial: FrozenTrial) -> bool:
    """Whether ``trial`` counts towards the total of its study."""
    if trial.state == TrialState.FAIL:
        return "non_finite" in trial.user_attrs or LOST in trial.user_attrs
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def counted_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials of ``study`` without those that were run again as another trial."""
    return [trial for trial in study.get_trials(deepcopy=False) if not is_retried(trial)]


def has_enough(study: optuna.Study, trials: int) -> bool:
    """Whether ``study`` has so many trials, or as many as its sampler can ask for."""
    target = StudyTarget.stored(study)
    return finished_trials(study) >= trials or (target is not None and target.exhausted)
