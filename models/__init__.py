"""One config in, one trained forecaster out; knows no Optuna."""

from foretune.models.config import TrialConfig
from foretune.models.forecaster import Forecaster
from foretune.models.training import EpochResult, NonFiniteLossError, best_epoch, fit

__all__ = [
    "EpochResult",
    "Forecaster",
    "NonFiniteLossError",
    "TrialConfig",
    "best_epoch",
    "fit",
]
