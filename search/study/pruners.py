"""Pruners by the names that the command and a study know them by."""

import warnings
from collections.abc import Callable

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, NopPruner, WilcoxonPruner

from foretune.search.study.target import CUSTOM


def default_pruner() -> BasePruner:
    """Return the pruner of :func:`run_study`: worse than the median, from the third epoch on."""
    return MedianPruner(n_startup_trials=5, n_warmup_steps=3)


def _wilcoxon_pruner() -> BasePruner:
    # Optuna calls it experimental; a user who chose it by name need not read that at every start.
    with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
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
