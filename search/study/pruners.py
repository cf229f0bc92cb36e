"""Pruners by the names that the command and a study know them by."""

import warnings
from collections.abc import Callable

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.storages import BaseStorage

from foretune.datasets.common.errors import ConfigError
from foretune.search.study.target import CUSTOM, StudyTarget


def default_pruner() -> BasePruner:
    """Return the pruner of :func:`run_study`: worse than the median, from the third epoch on."""
    return MedianPruner(n_startup_trials=5, n_warmup_steps=3)


def _wilcoxon_pruner() -> BasePruner:
    """Return Optuna's pruner that compares a trial with the best one, fold by fold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return WilcoxonPruner()


# Pruners by the name that the command knows them by.
PRUNERS: dict[str, Callable[[], BasePruner]] = {
    "median": default_pruner,
    "wilcoxon": _wilcoxon_pruner,
    "none": NopPruner,
}


def pruner_name(pruner: BasePruner) -> str:
    """Return the name of a pruner of :data:`PRUNERS`, or ``custom``."""
    for name, make in PRUNERS.items():
        if type(own := make()) is type(pruner) and vars(own) == vars(pruner):
            return name
    return CUSTOM


def own_pruner(name: str, storage: BaseStorage) -> BasePruner | None:
    """Return the pruner that study ``name`` was made with; None for a new study or a custom one."""
    try:
        target = StudyTarget.stored(optuna.load_study(study_name=name, storage=storage))
    except (KeyError, ConfigError):
        return None
    return PRUNERS[target.pruner]() if target is not None and target.pruner in PRUNERS else None


def require_folds(pruner: BasePruner, folds: int) -> None:
    """Refuse a pruner that compares trials fold by fold where there is but one.

    Raises:
        ConfigError: it does.
    """
    if isinstance(pruner, WilcoxonPruner) and folds == 1:
        raise ConfigError("folds must be at least 2 for the Wilcoxon pruner, but got 1")
