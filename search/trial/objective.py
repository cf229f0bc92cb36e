"""The Optuna objective: one trial, from its config to its validation value."""

from collections.abc import Sequence

import optuna
from optuna.trial import Trial, TrialState

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import MetricName
from foretune.models.training.results import NonFiniteLossError
from foretune.models.training.tasks import Budget, DataRef, Missing, advance
from foretune.search.space.space import SearchSpace
from foretune.search.study.pruners import require_by_epoch
from foretune.search.trial.record import SNAPSHOT_SECONDS, OnEpoch, TrialRecord

# Seconds after which a task of this process ends, once its epoch is complete.
CHUNK_SECONDS = 0.25


class Objective:
    """Trains the config that a trial suggests; its value is the best epoch's metric on validation.

    It is a plain Optuna objective: ``study.optimize(Objective(space, data), n_trials=20,
    catch=NonFiniteLossError)`` needs nothing else of foretune. Every epoch's validation value is
    reported, so any pruner can stop the trial. A loss that is not finite fails the trial: Optuna
    itself would let ``-inf`` win.

    With several folds the value is the mean over them at their shared best epoch, and all are
    trained an epoch further before the pruner is asked.

    Args:
        space: where configs come from.
        data: training and validation rows, or those of each fold; the test rows are not among
            them.
        metric: what a trial's value is.
        on_epoch: called after every epoch, for progress.
        snapshot_seconds: a trial that takes longer keeps a snapshot in the study's database
            every this many seconds; a trial that repeats this one continues from it.
        checkpoint_seconds: its former name.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: DevelopmentData | Sequence[DevelopmentData],
        *,
        metric: MetricName = "relative_mse",
        on_epoch: OnEpoch | None = None,
        snapshot_seconds: float = SNAPSHOT_SECONDS,
        checkpoint_seconds: float | None = None,
    ) -> None:
        self._space = space
        self._folds = (data,) if isinstance(data, DevelopmentData) else tuple(data)
        self._data = DataRef.of(self._folds)
        self._metric: MetricName = metric
        self._on_epoch = on_epoch
        self._snapshot_seconds = (
            snapshot_seconds if checkpoint_seconds is None else checkpoint_seconds
        )

    def __call__(self, trial: Trial) -> float:
        """Return the trial's best validation value; prune or fail as the epochs demand."""
        require_by_epoch(trial.study.pruner)
        record = TrialRecord(
            trial,
            self._space.suggest(trial),
            self._folds,
            metric=self._metric,
            snapshot_seconds=self._snapshot_seconds,
        )
        budget = Budget(seconds=CHUNK_SECONDS)
        ended = None
        try:
            while ended is None:
                answer = advance((record.state,), self._data, budget)
                assert not isinstance(answer, Missing)  # it was sent everything
                (progress,) = answer
                ended = record.take(progress, self._on_epoch)
        except BaseException as error:
            record.fail(error)
            record.end()
            raise
        record.end()
        record.remove_snapshots()
        if ended == TrialState.PRUNED:
            raise optuna.TrialPruned
        if ended == TrialState.FAIL:
            raise NonFiniteLossError(progress.error)
        return record.value
