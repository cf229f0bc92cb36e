"""Pruners by the names that the command and a study know them by."""

from collections.abc import Callable

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, WilcoxonPruner

from foretune.datasets.common.errors import ConfigError
from foretune.search.study.target import CUSTOM, StudyTarget
from foretune.search.study.trials import steps_are_folds

# The pruner of the first version that compared fold by fold.
_GONE = "wilcoxon"
_WHY = (
    "no fold has a value of its own before all end; use --pruner median (the default), or "
    "--pruner none (optuna.pruners.NopPruner())"
)


def default_pruner() -> BasePruner:
    """Return the pruner of :func:`run_study`: worse than the median, from the third epoch on."""
    return MedianPruner(n_startup_trials=5, n_warmup_steps=3)


# Pruners by the name that the command knows them by.
PRUNERS: dict[str, Callable[[], BasePruner]] = {"median": default_pruner, "none": NopPruner}


def named_pruner(name: str) -> BasePruner:
    """Return the pruner of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in PRUNERS:
        why = f": {_WHY}" if name == _GONE else ""
        raise ConfigError(f"pruner must be {' or '.join(PRUNERS)}, but got {name!r}{why}")
    return PRUNERS[name]()


def pruner_name(pruner: BasePruner) -> str:
    """Return the name of a pruner of :data:`PRUNERS`, or ``custom``."""
    for name, make in PRUNERS.items():
        if type(own := make()) is type(pruner) and vars(own) == vars(pruner):
            return name
    return CUSTOM


def require_by_epoch(pruner: BasePruner) -> None:
    """Raise a ConfigError where ``pruner`` compares folds, not epochs."""
    if isinstance(pruner, WilcoxonPruner):
        raise ConfigError(f"pruner must not be {type(pruner).__name__}: {_WHY}")


def agreed_pruner(study: optuna.Study | None, given: BasePruner | None) -> BasePruner:
    """Return ``given``, or else the pruner of ``study``, or the default for a new one.

    Raises:
        ConfigError: it compares folds, or would compare epochs with folds.
    """
    target = None if study is None else StudyTarget.stored(study)
    name = target.pruner if target else "median"
    chosen = given or PRUNERS.get(name, default_pruner)()
    require_by_epoch(chosen)
    if study is None or isinstance(chosen, NopPruner):
        return chosen
    if name == _GONE or any(map(steps_are_folds, study.get_trials(deepcopy=False))):
        raise ConfigError(
            f"study {study.study_name!r} was pruned fold by fold, and no pruner can compare epochs "
            "with that; continue it with --pruner none (pruner=optuna.pruners.NopPruner())"
        )
    return chosen
