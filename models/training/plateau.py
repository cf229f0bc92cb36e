"""Learning-rate decay and early stopping, driven by validation values alone."""

from dataclasses import dataclass
from typing import Self

from foretune.models.config import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """What is known after some epochs: the best value and how long it has stood.

    The learning rate is multiplied by ``decay_factor`` when more than ``decay_patience`` epochs
    in a row were not better than the best before them, down to ``min_learning_rate`` (the
    tutorial's step 12, with validation in the place of its test error).
    """

    learning_rate: float
    best_value: float = float("inf")
    epochs_since_best: int = 0
    epochs_since_decay: int = 0

    @classmethod
    def start(cls, config: TrialConfig) -> Self:
        """Return the state before the first epoch."""
        return cls(learning_rate=config.learning_rate)

    def after(self, value: float, config: TrialConfig) -> "Plateau":
        """Return the state after one more epoch, whose validation value was ``value``."""
        if value < self.best_value:
            return Plateau(learning_rate=self.learning_rate, best_value=value)
        learning_rate, waited = self.learning_rate, self.epochs_since_decay + 1
        if waited > config.decay_patience:
            floor = min(config.min_learning_rate, learning_rate)
            learning_rate, waited = max(learning_rate * config.decay_factor, floor), 0
        return Plateau(
            learning_rate=learning_rate,
            best_value=self.best_value,
            epochs_since_best=self.epochs_since_best + 1,
            epochs_since_decay=waited,
        )

    def exhausted(self, config: TrialConfig) -> bool:
        """Whether training has waited ``stop_patience`` epochs for a better value."""
        return self.epochs_since_best >= config.stop_patience
