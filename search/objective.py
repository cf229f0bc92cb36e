"""The Optuna objective: one trial, from its config to its validation value."""

from collections.abc import Callable, Iterator, Sequence

import optuna
from optuna.pruners import WilcoxonPruner
from optuna.trial import Trial

from foretune.datasets.splits import Development
from foretune.models.config import TrialConfig
from foretune.models.training import fit
from foretune.models.walk_forward import FoldResults, fit_folds
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
    """

    def __init__(
        self,
        space: SearchSpace,
        data: Development | Sequence[Development],
        *,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self._space = space
        self._folds = (data,) if isinstance(data, Development) else tuple(data)
        self._on_epoch = on_epoch

    def __call__(self, trial: Trial) -> float:
        """Return the trial's best validation value; prune or fail as the epochs demand."""
        record = TrialRecord(trial, self._space.suggest(trial), self._folds)
        one_by_one = len(self._folds) > 1 and isinstance(trial.study.pruner, WilcoxonPruner)
        try:
            for prune in self._fold_by_fold(record) if one_by_one else self._together(record):
                if prune:
                    raise optuna.TrialPruned
        except optuna.TrialPruned:
            record.end()
            raise
        except BaseException as error:
            record.end(error)
            raise
        record.end()
        return record.value

    def _together(self, record: TrialRecord) -> Iterator[bool]:
        """Train all folds side by side; yields after each epoch whether to prune."""
        for results in fit_folds(record.config, self._folds):
            prune = record.epoch(results)
            self._tell(record, results)
            yield prune

    def _fold_by_fold(self, record: TrialRecord) -> Iterator[bool]:
        """Train one fold after another; yields after each whether to prune."""
        for number, fold in enumerate(self._folds):
            for result in fit(record.config, fold):
                record.note(number, result)
                self._tell(record, FoldResults.of_one(result))
            yield record.fold(number)

    def _tell(self, record: TrialRecord, results: FoldResults) -> None:
        if self._on_epoch is not None:
            self._on_epoch(record.trial.number, record.config, results)
