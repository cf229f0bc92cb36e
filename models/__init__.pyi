"""One config in, one trained forecaster out; knows no Optuna."""

from .config import TrialConfig
from .forecaster.forecaster import Forecaster
from .training.loop import best_epoch, fit
from .training.results import EpochResult, NonFiniteLossError

__all__ = [
    "EpochResult",
    "Forecaster",
    "NonFiniteLossError",
    "TrialConfig",
    "best_epoch",
    "fit",
]
