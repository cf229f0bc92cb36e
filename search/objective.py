"""The Optuna objective: one trial, from its config to its validation value."""

from collections.abc import Callable

import optuna
from optuna.trial import Trial

from foretune.datasets.splits import Development
from foretune.models.config import TrialConfig
from foretune.models.training import EpochResult, fit
from foretune.search.space import SearchSpace
from foretune.search.trial_record import TrialRecord

# What the value of a study is called, in the dashboard too.
OBJECTIVE_NAME = "relative_mse"

# Called after every epoch with the trial's number.
OnEpoch = Callable[[int, TrialConfig, EpochResult], None]


class Objective:
    """Trains the config that a trial suggests; its value is the best epoch's relative MSE.

    It is a plain Optuna objective: ``study.optimize(Objective(space, data), n_trials=20,
    catch=NonFiniteLossError)`` needs nothing else of foretune. Every epoch's validation value is
    reported, so any pruner can stop the trial. A loss that is not finite fails the trial: Optuna
    itself would let ``-inf`` win.

    Args:
        space: where configs come from.
        data: training and validation days; the test days are not among them.
        on_epoch: called after every epoch, for progress.
    """

    def __init__(
        self, space: SearchSpace, data: Development, *, on_epoch: OnEpoch | None = None
    ) -> None:
        self._space = space
        self._data = data
        self._on_epoch = on_epoch

    def __call__(self, trial: Trial) -> float:
        """Return the trial's best validation value; prune or fail as the epochs demand."""
        record = TrialRecord(trial, self._space.suggest(trial))
        try:
            for result in fit(record.config, self._data):
                prune = record.epoch(result)
                if self._on_epoch is not None:
                    self._on_epoch(trial.number, record.config, result)
                if prune:
                    raise optuna.TrialPruned(f"after epoch {result.epoch}")
        except optuna.TrialPruned:
            record.end()
            raise
        except BaseException as error:
            record.end(error)
            raise
        record.end()
        return record.value
