"""What a trial stores of its training."""

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.trial import Trial

from foretune.datasets.splits import Development
from foretune.models.assessment import assess_folds
from foretune.models.compiles import cache_hits, compile_count
from foretune.models.config import TrialConfig
from foretune.models.device import device_name
from foretune.models.network import parameter_count
from foretune.models.snapshot import Snapshot
from foretune.models.training import EpochResult, NonFiniteLossError
from foretune.models.walk_forward import FoldResults, mean_over_folds
from foretune.search.checkpoint import Checkpoint, FoldCheckpoint, without_arrays
from foretune.search.spec import OBJECTIVE_NAME
from foretune.search.storage.attributes import set_trial_attrs
from foretune.search.trial_files import save_trial_files


class TrialRecord:
    """Follows one trial from its config to its best epoch, and stores what a reader will ask for.

    The attributes are also those of a pruned trial, whose Optuna value is only its last report.

    Args:
        trial: a running trial.
        config: what it trains.
        folds: training and validation days of each fold.
    """

    def __init__(self, trial: Trial, config: TrialConfig, folds: Sequence[Development]) -> None:
        self.trial = trial
        self.config = config
        self._folds = folds
        self._best: dict[int, EpochResult] = {}
        self._reported: dict[int, float] = {}
        self._history: dict[int, list[EpochResult]] = defaultdict(list)
        # In lanes one trial counts what is compiled for all of them.
        self.shares_programs = False
        self.start()
        attributes = {"config": config.to_toml(), "device": device_name()}
        set_trial_attrs(trial.storage, trial._trial_id, user=attributes)

    def start(self) -> None:
        """Count seconds and compiles from here; a lane's trial starts when it gets its lane."""
        self._started = time.perf_counter()
        self._compiled, self._loaded = compile_count(), cache_hits()

    def note(self, fold: int, result: EpochResult) -> None:
        """Take in an epoch of one fold."""
        history = self._history[fold]
        if history and result.epoch <= history[-1].epoch:
            return  # a fold that has ended shows its best epoch again
        history.append(without_arrays(result))
        if result.is_best:
            self._best[fold] = result

    def epoch(self, results: FoldResults) -> bool:
        """Report an epoch of all folds; True if the study's pruner wants the trial to stop here."""
        for fold, result in enumerate(results.folds):
            self.note(fold, result)
        self._report(results.relative_mse, results.epoch)
        # After the last epoch there is nothing left to save by pruning.
        return not results.is_last and self.trial.should_prune()

    def fold(self, number: int) -> bool:
        """Report the best value of one fold, after its last epoch; True to stop here."""
        self._report(self._best[number].relative_mse, number + 1)
        return number + 1 < len(self._folds) and self.trial.should_prune()

    def checkpoint(self, snapshots: Sequence[Snapshot]) -> Checkpoint:
        """Return where the trial is, given where each fold is that was begun."""
        folds = [
            FoldCheckpoint(snapshot, tuple(self._history[fold]), self._best[fold])
            for fold, snapshot in enumerate(snapshots)
        ]
        return Checkpoint(self.config, dict(self._reported), folds)

    def resume(self, checkpoint: Checkpoint) -> None:
        """Take over what an earlier worker recorded, and report what it reported."""
        for fold, earlier in enumerate(checkpoint.folds):
            self._history[fold] = list(earlier.history)
            self._best[fold] = earlier.best
        for step, value in checkpoint.reported.items():
            self._report(value, step)
        epochs = max(fold.snapshot.epochs for fold in checkpoint.folds)
        self.trial.set_user_attr("resumed_after_epoch", epochs)

    def has_reported(self, step: int) -> bool:
        """Whether the pruner has seen a value of this step."""
        return step in self._reported

    def _report(self, value: float, step: int) -> None:
        self._reported[step] = value
        self.trial.report(value, step=step)

    def end(self, error: BaseException | None = None) -> None:
        """Store what the trial came to, and the reason if it failed."""
        shares = self.shares_programs
        attributes: dict[str, Any] = {
            "seconds": round(time.perf_counter() - self._started, 3),
            "epochs": max((len(history) for history in self._history.values()), default=0),
            "compiles": 0 if shares else compile_count() - self._compiled,
            "cache_hits": 0 if shares else cache_hits() - self._loaded,
        }
        if isinstance(error, NonFiniteLossError):
            attributes |= {"error": str(error), "non_finite": True}
        elif error is not None:
            attributes["error"] = f"{type(error).__name__}: {error}".strip(": ")
        if self._best:
            attributes |= self._store_files(list(self._best.values()))
        set_trial_attrs(self.trial.storage, self.trial._trial_id, user=attributes)

    @property
    def value(self) -> float:
        """Mean over the folds of each one's best epoch."""
        return mean_over_folds(list(self._best.values()))

    def _store_files(self, best: list[EpochResult]) -> dict[str, float]:
        """Store the trial's files; returns the numbers to store beside them."""
        # A trial that was pruned between two folds is judged by those it has seen.
        folds = self._folds[: len(best)]
        assessment = assess_folds(folds, [result.forecasts for result in best])
        latest = best[-1]  # of the fold that trained on most days
        numbers = {
            "parameters": parameter_count(latest.params),
            "best_epoch": latest.epoch,
            "train_loss": latest.train_loss,
            "persistence_mse": float(assessment.persistence_mse_by_step.mean()),
            **assessment.metrics.known(),
        }
        if len(self._folds) > 1:
            values = (result.relative_mse for result in best)
            numbers |= {f"relative_mse_fold_{n}": value for n, value in enumerate(values, 1)}
        save_trial_files(self.trial, self.config, self._history, best, folds, assessment)
        exact = {name: value for name, value in numbers.items() if name.startswith(OBJECTIVE_NAME)}
        return {name: _rounded(value) for name, value in numbers.items()} | exact


def _rounded(value: float) -> float:
    """Round to what a reader of a table can take in."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
