"""The best trial's config: get it, save it with where it came from."""

import os

import optuna
import tomli_w
from optuna.trial import FrozenTrial

from foretune.datasets.atomic import write_atomically
from foretune.datasets.errors import ConfigError
from foretune.models.config import TrialConfig
from foretune.search.spec import OBJECTIVE_NAME, StudySpec


def best_so_far(study: optuna.Study) -> FrozenTrial | None:
    """Return the best complete trial, or None before there is one."""
    try:
        return study.best_trial
    except ValueError:
        return None


def best_trial(study: optuna.Study) -> FrozenTrial:
    """Return the complete trial with the lowest value.

    Raises:
        ConfigError: no trial is complete.
    """
    if len(study.directions) > 1:
        raise ConfigError(
            f"study {study.study_name!r} must have one objective, but got {len(study.directions)}"
        )
    best = best_so_far(study)
    if best is None:
        raise ConfigError(
            f"study {study.study_name!r} must have a complete trial, but got none among its "
            f"{len(study.get_trials(deepcopy=False))} trials"
        )
    return best


def trial_config(trial: FrozenTrial) -> TrialConfig:
    """Return the config that ``trial`` trained.

    Raises:
        ConfigError: the trial stores none.
    """
    if "config" not in trial.user_attrs:
        raise ConfigError(f"trial {trial.number} must store a config, but got none")
    return TrialConfig.from_toml(trial.user_attrs["config"])


def best_config(study: optuna.Study) -> TrialConfig:
    """Return the config of the study's best trial.

    Raises:
        ConfigError: no trial is complete.

    Example:
        >>> best_config(study).save("config.toml")
    """
    return trial_config(best_trial(study))


def save_best(study: optuna.Study, path: str | os.PathLike[str]) -> FrozenTrial:
    """Write ``best.toml``: the config, its result, and the prices, split and versions behind it.

    ``TrialConfig.load`` reads the config back. Returns the trial.
    """
    trial = best_trial(study)
    spec = StudySpec.stored(study)
    document = {
        "config": trial_config(trial).model_dump(mode="json"),
        "result": {
            "study": study.study_name,
            "trial": trial.number,
            OBJECTIVE_NAME: trial.value,
            "best_epoch": trial.user_attrs["best_epoch"],
        },
    }
    if spec is not None:
        document |= spec.model_dump(mode="json", include={"prices", "split", "versions"})
    write_atomically(path, tomli_w.dumps(document))
    return trial
