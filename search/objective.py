"""The Optuna objective: one trial, from its config to its validation value."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import optuna
from optuna.pruners import WilcoxonPruner
from optuna.trial import Trial

from foretune.datasets.splits import Development
from foretune.models.config import TrialConfig
from foretune.models.snapshot import Snapshot
from foretune.models.training import Training, fit
from foretune.models.walk_forward import FoldProgress, FoldResults, fit_folds
from foretune.search.checkpoint import Checkpoint
from foretune.search.checkpoint_keeper import DEFAULT_SECONDS, CheckpointKeeper
from foretune.search.checkpoint_rows import forget_checkpoints
from foretune.search.space import SearchSpace
from foretune.search.trial_record import TrialRecord

# Called after every epoch with the trial's number.
OnEpoch = Callable[[int, TrialConfig, FoldResults], None]


class Objective:
    """Trains the config that a trial suggests; its value is the best epoch's relative MSE.

    It is a plain Optuna objective: ``study.optimize(Objective(space, data), n_trials=20,
    catch=NonFiniteLossError)`` needs nothing else of foretune. Every epoch's validation value is
    reported, so any pruner can stop the trial. A loss that is not finite fails the trial: Optuna
    itself would let ``-inf`` win.

    With several folds the value is the mean over them, and all are trained an epoch further before
    the pruner is asked. Optuna's ``WilcoxonPruner`` compares trials fold by fold: under it folds
    are trained one after another, and each fold's best value is reported as a step of its own.

    Args:
        space: where configs come from.
        data: training and validation days, or those of each fold; the test days are not among
            them.
        on_epoch: called after every epoch, for progress.
        checkpoint_seconds: a trial that takes longer keeps a checkpoint in the study's database
            every so many seconds, from which a worker goes on that repeats it.
        forget_checkpoints: whether they go with the trial's end here; a worker of foretune's does
            it itself, once the end is stored.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: Development | Sequence[Development],
        *,
        on_epoch: OnEpoch | None = None,
        checkpoint_seconds: float = DEFAULT_SECONDS,
        forget_checkpoints: bool = True,
    ) -> None:
        self._space = space
        self._folds = (data,) if isinstance(data, Development) else tuple(data)
        self._on_epoch = on_epoch
        self._checkpoint_seconds = checkpoint_seconds
        self._forget_checkpoints = forget_checkpoints

    def __call__(self, trial: Trial) -> float:
        """Return the trial's best validation value; prune or fail as the epochs demand."""
        record = TrialRecord(trial, self._space.suggest(trial), self._folds)
        keeper = CheckpointKeeper(trial, self._checkpoint_seconds)
        one_by_one = len(self._folds) > 1 and isinstance(trial.study.pruner, WilcoxonPruner)
        train = self._fold_by_fold if one_by_one else self._together
        try:
            for prune in train(record, keeper):
                if prune:
                    raise optuna.TrialPruned
        except optuna.TrialPruned:
            record.end()
            raise
        except BaseException as error:
            record.end(error)
            raise
        finally:
            if self._forget_checkpoints:
                stored = trial.storage.get_trial(trial._trial_id)
                forget_checkpoints(trial.storage, trial.study._study_id, stored)
        record.end()
        return record.value

    def _together(self, record: TrialRecord, keeper: CheckpointKeeper) -> Iterator[bool]:
        """Train all folds side by side; yields after each epoch whether to prune."""
        training = fit_folds(record.config, self._folds, self._resumed(record, keeper))
        for results in training:
            prune = record.epoch(results)
            if not (prune or results.is_last):
                keeper.epoch_ended(lambda: record.checkpoint(training.snapshots()))
            self._tell(record, results)
            yield prune

    def _fold_by_fold(self, record: TrialRecord, keeper: CheckpointKeeper) -> Iterator[bool]:
        """Train one fold after another; yields after each whether to prune."""
        snapshots = [fold.snapshot for fold in self._resumed(record, keeper)]
        for number, fold in enumerate(self._folds):
            if record.has_reported(number + 1):
                continue
            begun = snapshots.pop() if number < len(snapshots) else None
            training = fit(record.config, fold, snapshot=begun)
            for result in training:
                record.note(number, result)
                keeper.epoch_ended(partial(self._checkpoint, record, snapshots, training))
                self._tell(record, FoldResults.of_one(result))
            snapshots.append(training.snapshot())
            yield record.fold(number)

    @staticmethod
    def _checkpoint(
        record: TrialRecord, ended: Sequence[Snapshot], training: Training
    ) -> Checkpoint:
        return record.checkpoint([*ended, training.snapshot()])

    def _resumed(self, record: TrialRecord, keeper: CheckpointKeeper) -> list[FoldProgress]:
        """Return where an earlier worker left each fold that it had begun, and take it over."""
        found = keeper.found(record.config, self._folds)
        if found is None:
            return []
        record.resume(found)
        return [FoldProgress(fold.snapshot, fold.best) for fold in found.folds]

    def _tell(self, record: TrialRecord, results: FoldResults) -> None:
        if self._on_epoch is not None:
            self._on_epoch(record.trial.number, record.config, results)
