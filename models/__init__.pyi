"""One config in, one trained forecaster out; knows no Optuna."""

from .config import TrialConfig
from .forecaster import Forecaster
from .training import EpochResult, NonFiniteLossError, best_epoch, fit

__all__ = [
    "EpochResult",
    "Forecaster",
    "NonFiniteLossError",
    "TrialConfig",
    "best_epoch",
    "fit",
]
