"""An executor that answers tasks without training: for what a driver does, and what that costs."""

import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from foretune.models.config import TrialConfig
from foretune.models.training.plateau import Plateau
from foretune.models.training.results import EpochResult, FoldProgress, FoldResults, Snapshot
from foretune.models.training.tasks import Budget, DataRef, Progress, TaskState

Value = Callable[[TrialConfig, int], float]


def by_rate(config: TrialConfig, epoch: int) -> float:
    """A value that depends on the config, and falls from epoch to epoch."""
    return config.learning_rate + config.dropout + 1 / epoch


class StubExecutor(Executor):
    """Answers each task with the epochs that it would have trained.

    Args:
        value: of a config after an epoch; what it raises is the task's error.
        size: how many tasks run at a time.
        seconds: that a task takes.
        forecasts: the shape of what is forecast: origins and horizon.
    """

    def __init__(
        self,
        value: Value = by_rate,
        *,
        size: int = 1,
        seconds: float = 0.0,
        epochs: int = 1,
        forecasts: tuple[int, int],
    ) -> None:
        self._max_workers = size
        self._value = value
        self._seconds = seconds
        self._epochs = epochs
        self._forecasts = np.zeros((1, *forecasts))
        self._threads = ThreadPoolExecutor(size) if seconds else None
        self.tasks = 0
        self.spans: list[tuple[float, float]] = []
        """When each task began and ended."""

    def submit(self, _: Any, /, *arguments: Any, **__: Any) -> "Future[Any]":
        """Answer a task, now or after as long as it takes."""
        self.tasks += 1
        if self._threads is not None:
            return self._threads.submit(self._answer, *arguments)
        future: Future[Any] = Future()
        try:
            future.set_result(self._answer(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def _answer(
        self, work: tuple[TaskState, ...], _data: DataRef, budget: Budget
    ) -> tuple[Progress, ...]:
        began = time.perf_counter()
        time.sleep(self._seconds)
        self.spans.append((began, time.perf_counter()))
        return tuple(self._train(state, budget.epochs or self._epochs) for state in work)

    def _train(self, state: TaskState, count: int) -> Progress:
        config = state.config
        plateau = Plateau.start(config)
        if state.folds:
            plateau = state.folds[0].snapshot.plateau
            begun = state.folds[0].snapshot.epochs
        else:
            begun = 0
        epochs = []
        for epoch in range(begun + 1, min(begun + count, config.epochs) + 1):
            plateau = plateau.after(self._value(config, epoch), config)
            result = EpochResult(
                epoch=epoch,
                train_loss=1.0,
                value=self._value(config, epoch),
                relative_mse=self._value(config, epoch),
                persistence_mse=1.0,
                half_mse=1.0,
                learning_rate=config.learning_rate,
                is_best=plateau.epochs_since_best == 0,
                is_last=epoch == config.epochs,
                forecasts=self._forecasts,
                params={},
            )
            epochs.append(FoldResults.of_one(result))
        done = begun + len(epochs)
        snapshot = Snapshot(
            epochs=done,
            plateau=plateau,
            finished=done == config.epochs,
            arrays={"epochs": np.array(done)},
        )
        return Progress(
            epochs=tuple(epochs),
            state=replace(state, token=f"{done}", folds=(FoldProgress(snapshot, None),)),
            error=None,
            parameters=1,
            device="stub",
            seconds=self._seconds,
            longest_epoch=self._seconds,
        )
