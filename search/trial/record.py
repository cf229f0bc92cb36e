"""What a trial reports and stores of its training, task by task."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecasts.metrics import assess_folds
from foretune.models.training.results import EpochResult, FoldResults, mean_over_folds
from foretune.models.training.tasks import Progress, TaskState
from foretune.search.storage.optuna_internals import (
    RETRY_HISTORY,
    set_trial_attrs,
    trial_at_start,
    trial_id,
)
from foretune.search.study.remarks import RIDGE_VALUE
from foretune.search.study.spec import OBJECTIVE_NAME
from foretune.search.trial.files import save_trial_files
from foretune.search.trial.snapshots import (
    TrialSnapshot,
    load_snapshot,
    remove_snapshots,
    save_snapshot,
)

# Called after every epoch with the trial's number.
OnEpoch = Callable[[int, TrialConfig, FoldResults], None]

# Seconds between the snapshots that a longer trial keeps in the study's database.
SNAPSHOT_SECONDS = 60.0


class TrialRecord:
    """Follows one trial from its config to its best epoch, and stores what a reader will ask for.

    The attributes are also those of a pruned trial, whose Optuna value is only its last report.

    Args:
        trial: a running trial; one that was interrupted continues from its snapshot.
        config: what it trains.
        folds: training and validation rows of each fold.
        shared_epoch: whether the folds share one best epoch; in version 0.1 they did not.
        metric: what its value is.
        snapshot_seconds: between two snapshots, and before the first.
    """

    def __init__(
        self,
        trial: Trial,
        config: TrialConfig,
        folds: Sequence[DevelopmentData],
        *,
        shared_epoch: bool = True,
        metric: MetricName = OBJECTIVE_NAME,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
    ) -> None:
        self.trial = trial
        self.config = config
        self.state = TaskState(config=config, shared_epoch=shared_epoch, metric=metric)
        self._folds = folds
        self._best: dict[int, EpochResult] = {}
        self._history: dict[int, list[EpochResult]] = defaultdict(list)
        self._measured: dict[str, float] = defaultdict(float)
        self._devices: list[str] = []
        self._parameters = self._dropped = 0
        self._snapshot_seconds = snapshot_seconds
        self._saved_at = time.monotonic()
        self._has_snapshot = False
        self._error: dict[str, Any] = {}
        stored = trial_at_start(trial)
        self._reported = set(stored.intermediate_values)
        self._resume(stored)

    def take(self, progress: Progress, on_epoch: OnEpoch | None = None) -> TrialState | None:
        """Report what a task did, epoch by epoch.

        What the task trained after the epoch in which the pruner stops the trial is dropped.

        Returns:
            The state in which the trial ends, or None if it continues.
        """
        for name in ("seconds", "compiles", "cache_hits"):
            self._measured[name] += getattr(progress, name)
        if progress.device not in self._devices:
            self._devices.append(progress.device)
        self._parameters = progress.parameters or self._parameters
        for count, results in enumerate(progress.epochs, 1):
            prune = self._report(results)
            if on_epoch is not None:
                on_epoch(self.trial.number, self.config, results)
            if prune:
                self._dropped = len(progress.epochs) - count
                return TrialState.PRUNED
            if results.is_last:
                return TrialState.COMPLETE
        if progress.error is not None:
            self._error = {"error": progress.error, "non_finite": True}
            return TrialState.FAIL
        assert progress.state is not None
        self.state = progress.state
        if time.monotonic() - self._saved_at >= self._snapshot_seconds:
            self.save_snapshot()
        return None

    def save_snapshot(self) -> None:
        """Store where the trial is, so that it can continue from there."""
        if not self.state.folds or not self._best:
            return
        numbers = range(len(self.state.folds))
        snapshot = TrialSnapshot(
            self.config,
            self.state.folds,
            [self._history[fold] for fold in numbers],
            [self._best[fold] for fold in numbers],
        )
        save_snapshot(self.trial, snapshot)
        self._saved_at, self._has_snapshot = time.monotonic(), True

    def remove_snapshots(self) -> None:
        """Remove the trial's snapshots, once its end is stored."""
        if self._has_snapshot:
            remove_snapshots(self.trial)

    def fail(self, error: BaseException | str, **attributes: Any) -> None:
        """Note why the trial has failed, with further attributes to store."""
        if isinstance(error, BaseException):
            error = f"{type(error).__name__}: {error}".strip(": ")
        self._error = {"error": error} | attributes

    def end(self) -> None:
        """Store what the trial came to, and the reason if it failed."""
        attributes: dict[str, Any] = {
            "config": self.config.to_toml(),
            "seconds": round(self._measured["seconds"], 3),
            "epochs": max((history[-1].epoch for history in self._history.values()), default=0),
            "epochs_dropped": self._dropped,
            "compiles": int(self._measured["compiles"]),
            "cache_hits": int(self._measured["cache_hits"]),
            "device": ", then ".join(self._devices) or "none",
        } | self._error
        if self.state.metric != OBJECTIVE_NAME:
            attributes["metric"] = self.state.metric
        if self._best:
            attributes |= self._store_files(list(self._best.values()))
        set_trial_attrs(self.trial.storage, trial_id(self.trial), attributes)

    @property
    def value(self) -> float:
        """Mean over the folds at the best epoch."""
        return mean_over_folds(list(self._best.values()))

    def _resume(self, stored: FrozenTrial) -> None:
        """Take over what an earlier driver stored of this trial, or of the one that it repeats."""
        if not self._reported and RETRY_HISTORY not in stored.system_attrs:
            return
        found = load_snapshot(self.trial, self.config)
        if found is None or not self._can_follow(found):
            return
        for fold, (history, best) in enumerate(zip(found.history, found.best, strict=True)):
            self._history[fold], self._best[fold] = list(history), best
        self.state = replace(self.state, folds=found.folds)
        self._has_snapshot = True
        for step, value in _reported_by(found.history).items():
            self._report_value(value, step)
        self.trial.set_user_attr("resumed_after_epoch", found.epochs)

    def _can_follow(self, found: TrialSnapshot) -> bool:
        """Whether the folds of a snapshot were trained as these are: an earlier version did not."""
        plateaus = {at.snapshot.plateau for at in found.folds}
        same = len(plateaus) == 1 or not self.state.shared_epoch
        return same and len(found.folds) == len(self._folds)

    def _report(self, results: FoldResults) -> bool:
        """Report an epoch; True if the study's pruner wants the trial to stop here."""
        for fold, result in enumerate(results.folds):
            history = self._history[fold]
            if history and result.epoch <= history[-1].epoch:
                continue  # a fold that has ended shows its best epoch again
            history.append(result.without_arrays())
            if result.is_best:
                self._best[fold] = result
        self._report_value(results.value, results.epoch)
        # After the last epoch there is nothing left to save by pruning. What an interrupted trial
        # trains again has been asked before.
        asked = results.epoch < max(self._reported)
        # Epoch 0 is the skip's alone: the network has not begun.
        return not (results.is_last or asked or results.epoch == 0) and self.trial.should_prune()

    def _report_value(self, value: float, step: int) -> None:
        if step not in self._reported:
            self._reported.add(step)
            self.trial.report(value, step=step)

    def _store_files(self, best: list[EpochResult]) -> dict[str, float]:
        """Store the trial's files; returns the numbers to store beside them."""
        metric = self.state.metric
        forecasts = [result.forecasts for result in best]
        assessment = assess_folds(self._folds, forecasts, metric=metric)
        latest = best[-1]  # of the fold that trained on most rows
        numbers = {
            "parameters": self._parameters,
            "best_epoch": latest.epoch,
            "train_loss": latest.train_loss,
            "persistence_mse": float(assessment.persistence_mse_by_step.mean()),
            **assessment.metrics.known(),
        }
        beginnings = [history[0] for history in self._history.values()]
        if all(first.epoch == 0 for first in beginnings):
            numbers[RIDGE_VALUE] = mean_over_folds(beginnings)
        if len(self._folds) > 1:
            values = (result.relative_mse for result in best)
            numbers |= {f"relative_mse_fold_{n}": value for n, value in enumerate(values, 1)}
        save_trial_files(
            self.trial, self.config, self._history, best, self._folds, assessment, metric
        )
        for name, value in numbers.items():
            whole = name.startswith(OBJECTIVE_NAME) or name == RIDGE_VALUE  # beside the value
            if isinstance(value, float) and not whole:
                numbers[name] = float(f"{value:.6g}")  # what a reader of a table can take in
        return numbers if metric == OBJECTIVE_NAME else numbers | {metric: self.value}


def _reported_by(histories: Sequence[Sequence[EpochResult]]) -> dict[int, float]:
    """Return the values that were reported after each epoch, given the epochs of every fold."""
    steps = {}
    for epoch in sorted({result.epoch for history in histories for result in history}):
        at = [
            next(
                (result for result in history if result.epoch == epoch),
                min(history, key=lambda result: result.value),
            )
            for history in histories
        ]
        steps[epoch] = mean_over_folds(at)
    return steps
