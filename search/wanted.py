"""What a study wants: how many trials, and by which pruner, so that a worker anywhere knows."""

from typing import Self

import optuna
from pydantic import Field

from foretune.datasets.errors import ConfigError
from foretune.datasets.strict_model import StrictModel

_ATTRIBUTE = "foretune_wanted"

# Of a sampler or pruner that came from a script, and that no other process can make.
CUSTOM = "custom"


class Wanted(StrictModel):
    """What a study shall come to; it changes when the study is extended."""

    trials: int = Field(ge=1, description="trials in total")
    sampler: str = Field(description="tpe, or custom for one of a script")
    pruner: str = Field(description="name of a pruner of `foretune run`, or custom")

    @classmethod
    def is_known(cls, study: optuna.Study) -> bool:
        """Whether somebody has said what ``study`` wants."""
        return _ATTRIBUTE in study.user_attrs

    @classmethod
    def of(cls, study: optuna.Study) -> Self:
        """Read what ``study`` wants.

        Raises:
            ConfigError: nobody has said.
        """
        document = study.user_attrs.get(_ATTRIBUTE)
        if not isinstance(document, dict):
            raise ConfigError(
                f"study {study.study_name!r} must say how many trials it wants; "
                "`foretune run --workers 0 --trials N` does"
            )
        return cls(**document)

    def store(self, study: optuna.Study) -> None:
        """Write it into ``study``, if it is not what is there."""
        document = self.model_dump(mode="json")
        if study.user_attrs.get(_ATTRIBUTE) != document:
            study.set_user_attr(_ATTRIBUTE, document)


def wanted_trials(study: optuna.Study) -> int:
    """Return how many trials ``study`` shall have in total.

    Raises:
        ConfigError: nobody has said.
    """
    return Wanted.of(study).trials
