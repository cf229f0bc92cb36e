"""One config in, one trained forecaster out; knows no Optuna."""

from foretune.models.config import TrialConfig
from foretune.models.training import EpochResult, NonFiniteLossError, fit

__all__ = ["EpochResult", "NonFiniteLossError", "TrialConfig", "fit"]
