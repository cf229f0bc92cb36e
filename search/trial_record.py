"""What a trial stores of its training."""

import time

from optuna.trial import Trial

from foretune.models.compiles import cache_hits, compile_count
from foretune.models.config import TrialConfig
from foretune.models.network import parameter_count
from foretune.models.training import EpochResult, NonFiniteLossError


class TrialRecord:
    """Follows one trial from its config to its best epoch, and stores what a reader will ask for.

    The attributes are also those of a pruned trial, whose Optuna value is only its last report.

    Args:
        trial: a running trial.
        config: what it trains.
    """

    def __init__(self, trial: Trial, config: TrialConfig) -> None:
        self.trial = trial
        self.config = config
        self.best: EpochResult | None = None
        self._epochs = 0
        # In lanes one trial counts what is compiled for all of them.
        self.shares_programs = False
        self.start()
        trial.set_user_attr("config", config.to_toml())

    def start(self) -> None:
        """Count seconds and compiles from here; a lane's trial starts when it gets its lane."""
        self._started = time.perf_counter()
        self._compiled, self._loaded = compile_count(), cache_hits()

    def epoch(self, result: EpochResult) -> bool:
        """Report an epoch; True if the study's pruner wants the trial to stop here."""
        if result.is_best:
            self.best = result
        self.trial.report(result.relative_mse, step=result.epoch)
        self._epochs = result.epoch
        # After the last epoch there is nothing left to save by pruning.
        return not result.is_last and self.trial.should_prune()

    def end(self, error: BaseException | None = None) -> None:
        """Store what the trial came to, and the reason if it failed."""
        if isinstance(error, NonFiniteLossError):
            self.trial.set_user_attr("error", str(error))
            self.trial.set_user_attr("non_finite", True)
        elif error is not None:
            self.trial.set_user_attr("error", f"{type(error).__name__}: {error}".strip(": "))
        self.trial.set_user_attr("seconds", round(time.perf_counter() - self._started, 3))
        self.trial.set_user_attr("epochs", self._epochs)
        shares = self.shares_programs
        self.trial.set_user_attr("compiles", 0 if shares else compile_count() - self._compiled)
        self.trial.set_user_attr("cache_hits", 0 if shares else cache_hits() - self._loaded)
        if self.best is not None:
            self._store(self.best)

    @property
    def value(self) -> float:
        """The best epoch's validation value."""
        assert self.best is not None  # a training yields at least one epoch, the best so far
        return self.best.relative_mse

    def _store(self, best: EpochResult) -> None:
        for name, value in (
            ("parameters", parameter_count(best.params)),
            ("best_epoch", best.epoch),
            ("relative_mse", best.relative_mse),
            ("train_loss", best.train_loss),
            ("mse", best.relative_mse * best.persistence_mse),
            ("persistence_mse", best.persistence_mse),
        ):
            self.trial.set_user_attr(name, value)
