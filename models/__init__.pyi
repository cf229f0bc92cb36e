"""One config in, one trained forecaster out; knows no Optuna."""

from .config import TrialConfig
from .forecaster import Forecaster
from .results import EpochResult, NonFiniteLossError
from .training import best_epoch, fit

__all__ = [
    "EpochResult",
    "Forecaster",
    "NonFiniteLossError",
    "TrialConfig",
    "best_epoch",
    "fit",
]
