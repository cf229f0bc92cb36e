"""run_study: a plain Optuna study, described, stored, resumable."""

import re
import sys
from numbers import Integral

import optuna
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from foretune.datasets.errors import ConfigError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import Development, development
from foretune.models.config import TrialConfig
from foretune.models.training import EpochResult, NonFiniteLossError
from foretune.search.interrupt import stop_on_signal
from foretune.search.objective import Objective
from foretune.search.progress import quiet_optuna, show_progress
from foretune.search.sampler import TrialSeededSampler
from foretune.search.space import SearchSpace
from foretune.search.spec import StudySpec, agreed_spec, store_spec
from foretune.search.storage import DEFAULT_STORAGE, open_storage

# Letters and digits of any script, and what a file name can hold everywhere.
NAME_PATTERN = re.compile(r"\w[\w .=+-]{0,199}")


def run_study(
    name: str,
    prices: PriceSeries,
    *,
    n_trials: int = 30,
    space: SearchSpace | None = None,
    epochs: int | None = None,
    horizon: int | None = None,
    stride: int | None = None,
    seed: int | None = None,
    storage: str | BaseStorage = DEFAULT_STORAGE,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    show_progress_bar: bool = True,
) -> optuna.Study:
    """Search until the study ``name`` holds ``n_trials`` trials, and return it.

    A study that exists is resumed: only the missing trials are run, and no draw is repeated. The
    test part of ``prices`` is cut off before anything is trained. Ctrl-C (or SIGTERM) stops
    after the running epoch, says how to go on, and returns the study.

    Args:
        name: the study's name in the storage.
        prices: daily prices; which days train, validate and test is decided by the split.
        n_trials: trials in total, those of earlier runs included.
        space: what to search; None for the study's own, or the default for a new study.
        epochs: epochs a trial at most, in place of the space's.
        horizon: days forecast from each origin; None for the study's own, or 50.
        stride: days from one forecast origin to the next; None for the study's own, or 10.
        seed: seed of the sampler; None for the study's own, or 0.
        storage: URL (SQLite or PostgreSQL) or an Optuna storage.
        sampler: an Optuna sampler; by default TPE, seeded anew for each trial number.
        pruner: an Optuna pruner; by default the median rule.
        show_progress_bar: show a bar with the best value and the time left.

    Raises:
        ConfigError: a parameter out of range, or the study exists with other prices or another
            space.
        DataError: too few prices for the split.

    Example:
        >>> study = run_study("sp500", load_sample("sp500"), n_trials=30)
        >>> study.best_value, best_config(study)
    """
    _require_valid(name, n_trials)
    with quiet_optuna():
        opened = open_storage(storage)
        spec = agreed_spec(
            name,
            opened,
            prices,
            space=space,
            epochs=epochs,
            horizon=horizon,
            stride=stride,
            seed=seed,
        )
        split = spec.split.split(len(prices), history=spec.space.history)
        data = development(prices, split)
        study = optuna.create_study(
            study_name=name,
            storage=opened,
            sampler=sampler or TrialSeededSampler(spec.seed),
            pruner=pruner or default_pruner(),
            load_if_exists=True,
        )
        if StudySpec.stored(study) is None:
            store_spec(study, spec)
        _run_missing(study, n_trials, spec.space, data, show_progress_bar)
    return study


def _run_missing(
    study: optuna.Study, n_trials: int, space: SearchSpace, data: Development, show: bool
) -> None:
    """Run trials until ``study`` holds ``n_trials``, or until Ctrl-C."""
    done = finished_trials(study)
    if done >= n_trials:
        return
    with (
        show_progress(study.study_name, done=done, total=n_trials, show=show) as progress,
        stop_on_signal() as stop,
    ):

        def on_epoch(trial: Trial, config: TrialConfig, result: EpochResult) -> None:
            progress.epoch(trial, config, result)
            stop.heed()

        def on_trial(study: optuna.Study, _trial: FrozenTrial) -> None:
            stop.heed()
            # Another launcher may be at work on the same study.
            if finished_trials(study) >= n_trials:
                study.stop()

        try:
            study.optimize(
                Objective(space, data, on_epoch=on_epoch),
                n_trials=n_trials - done,
                catch=NonFiniteLossError,
                callbacks=[progress.trial, on_trial],
            )
        except KeyboardInterrupt:
            _say_how_to_resume(study, n_trials)
        except UnboundLocalError:
            # What Optuna makes of a KeyboardInterrupt while it stores a trial.
            if not stop.requested:
                raise
            _say_how_to_resume(study, n_trials)


def default_pruner() -> BasePruner:
    """Return the pruner of :func:`run_study`: worse than the median, from the third epoch on."""
    return MedianPruner(n_startup_trials=5, n_warmup_steps=3)


def finished_trials(study: optuna.Study) -> int:
    """Count the trials that need not be run again: complete, pruned, or with a loss gone astray.

    The last would fail again. A trial that Ctrl-C stopped, an exception ended or a crash left
    running does not count, and another takes its place.
    """
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or "non_finite" in trial.user_attrs
        for trial in study.get_trials(deepcopy=False)
    )


def _require_valid(name: str, n_trials: int) -> None:
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name) or len(name.encode()) > 200:
        raise ConfigError(
            "study name must be at most 200 bytes of letters, digits, spaces or . _ = + -, from "
            f"a letter or digit, but got {name!r}"
        )
    if not isinstance(n_trials, Integral) or n_trials < 1:
        raise ConfigError(f"n_trials must be a whole number of at least 1, but got {n_trials!r}")


def _say_how_to_resume(study: optuna.Study, n_trials: int) -> None:
    print(
        f"\nInterrupted: {finished_trials(study)} of {n_trials} trials of study "
        f"{study.study_name!r} are stored. Run the same again to go on from there.",
        file=sys.stderr,
    )
