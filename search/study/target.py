"""The target of a study: how many trials, and by which pruner."""

from typing import Self

import optuna
from pydantic import Field

from foretune.datasets.common.records import StrictModel
from foretune.search.study.trials import finished_trials

_ATTRIBUTE = "foretune_wanted"

# A sampler or pruner that came from a script, and that has no name.
CUSTOM = "custom"


class StudyTarget(StrictModel):
    """How many trials a study is to have; it changes when the study is extended."""

    trials: int = Field(ge=1, description="trials in total")
    sampler: str = Field(description="tpe, or custom for a script's own")
    pruner: str = Field(description="name of a pruner of `foretune run`, or custom")
    exhausted: bool = Field(default=False, description="the sampler has nothing left to suggest")

    @classmethod
    def stored(cls, study: optuna.Study) -> Self | None:
        """Read the target of ``study``; None where none is stored."""
        document = study.user_attrs.get(_ATTRIBUTE)
        return cls(**document) if isinstance(document, dict) else None

    def store(self, study: optuna.Study) -> None:
        """Write it into ``study``, if it is not what is there."""
        document = self.model_dump(mode="json", exclude_defaults=True)
        if study.user_attrs.get(_ATTRIBUTE) != document:
            study.set_user_attr(_ATTRIBUTE, document)


def has_enough(study: optuna.Study, trials: int) -> bool:
    """Whether ``study`` has that many trials, or as many as its sampler can ask for."""
    target = StudyTarget.stored(study)
    return finished_trials(study) >= trials or (target is not None and target.exhausted)
