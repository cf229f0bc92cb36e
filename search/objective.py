"""The Optuna objective: one trial, from its config to its validation value."""

import time
from collections.abc import Callable

import optuna
from optuna.trial import Trial

from foretune.datasets.splits import Development
from foretune.models.compiles import compile_count
from foretune.models.config import TrialConfig
from foretune.models.network import parameter_count
from foretune.models.training import EpochResult, NonFiniteLossError, fit
from foretune.search.space import SearchSpace

# What the value of a study is called, in the dashboard too.
OBJECTIVE_NAME = "relative_mse"

OnEpoch = Callable[[Trial, TrialConfig, EpochResult], None]


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
        config = self._space.suggest(trial)
        trial.set_user_attr("config", config.to_toml())
        started, compiled = time.perf_counter(), compile_count()
        best: EpochResult | None = None
        try:
            for result in fit(config, self._data):
                best = result if result.is_best else best
                trial.report(result.relative_mse, step=result.epoch)
                trial.set_user_attr("epochs", result.epoch)
                if self._on_epoch is not None:
                    self._on_epoch(trial, config, result)
                # After the last epoch there is nothing left to save by pruning.
                if not result.is_last and trial.should_prune():
                    raise optuna.TrialPruned(f"after epoch {result.epoch}")
        except NonFiniteLossError as error:
            trial.set_user_attr("error", str(error))
            trial.set_user_attr("non_finite", True)
            raise
        except optuna.TrialPruned:
            raise
        except (Exception, KeyboardInterrupt) as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}".strip(": "))
            raise
        finally:
            trial.set_user_attr("seconds", round(time.perf_counter() - started, 3))
            trial.set_user_attr("compiles", compile_count() - compiled)
            if best is not None:
                _record(trial, best)
        assert best is not None  # fit yields at least one epoch, and the first one is the best
        return best.relative_mse


def _record(trial: Trial, best: EpochResult) -> None:
    """Store the best epoch, also of a pruned trial, whose value is only its last report."""
    trial.set_user_attr("parameters", parameter_count(best.params))
    trial.set_user_attr("best_epoch", best.epoch)
    trial.set_user_attr("relative_mse", best.relative_mse)
    trial.set_user_attr("train_loss", best.train_loss)
    trial.set_user_attr("mse", best.relative_mse * best.persistence_mse)
    trial.set_user_attr("persistence_mse", best.persistence_mse)
