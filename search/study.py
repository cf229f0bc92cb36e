"""run_study: a plain Optuna study, described, stored, resumable."""

import sys
import warnings

import optuna
from optuna.pruners import BasePruner, MedianPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from foretune.datasets.errors import ConfigError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import Development, development
from foretune.models.training import NonFiniteLossError
from foretune.search.objective import INTERRUPTED, OBJECTIVE_NAME, Objective
from foretune.search.progress import quiet_optuna, show_progress
from foretune.search.sampler import TrialSeededSampler
from foretune.search.space import SearchSpace
from foretune.search.spec import PricesSpec, SplitSpec, StudySpec, current_versions
from foretune.search.storage import DEFAULT_STORAGE, open_storage

MAX_NAME_LENGTH = 200


def run_study(
    name: str,
    prices: PriceSeries,
    *,
    n_trials: int = 30,
    space: SearchSpace | None = None,
    horizon: int | None = None,
    stride: int | None = None,
    seed: int | None = None,
    storage: str | BaseStorage = DEFAULT_STORAGE,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    show_progress_bar: bool = True,
) -> optuna.Study:
    """Search until the study ``name`` holds ``n_trials`` trials, and return it.

    A study that exists is resumed: only the missing trials are run, and none is repeated. The
    test part of ``prices`` is cut off before anything is trained. Ctrl-C stops after storing
    what is finished, says how to go on, and returns the study.

    Args:
        name: the study's name in the storage.
        prices: daily prices; which days train, validate and test is decided by the split.
        n_trials: trials in total, those of earlier runs included.
        space: what to search; None for the study's own, or the default for a new study.
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
        study = optuna.create_study(
            study_name=name,
            storage=open_storage(storage),
            sampler=sampler,
            pruner=pruner or default_pruner(),
            load_if_exists=True,
        )
        spec = _agreed_spec(study, prices, space, horizon, stride, seed)
        if sampler is None:
            study.sampler = TrialSeededSampler(spec.seed)
        split = spec.split.split(len(prices), history=spec.space.longest_unroll)
        _run_missing(study, n_trials, spec.space, development(prices, split), show_progress_bar)
    return study


def _run_missing(
    study: optuna.Study, n_trials: int, space: SearchSpace, data: Development, show: bool
) -> None:
    """Run trials until ``study`` holds ``n_trials``, or until Ctrl-C."""
    done = finished_trials(study)
    if done >= n_trials:
        return
    with show_progress(study.study_name, done=done, total=n_trials, show=show) as progress:
        try:
            study.optimize(
                Objective(space, data, on_epoch=progress.epoch),
                n_trials=n_trials - done,
                catch=NonFiniteLossError,
                callbacks=[progress.trial],
            )
        except KeyboardInterrupt:
            _say_how_to_resume(study, n_trials)


def default_pruner() -> BasePruner:
    """Return the pruner of :func:`run_study`: worse than the median, after a grace."""
    return MedianPruner(n_startup_trials=5, n_warmup_steps=3)


def finished_trials(study: optuna.Study) -> int:
    """Count the trials that need not be run again: complete, pruned, and failed by themselves.

    A trial that Ctrl-C stopped or a crash left running does not count.
    """
    return sum(
        trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
        or (trial.state == TrialState.FAIL and trial.user_attrs.get("error") != INTERRUPTED)
        for trial in study.get_trials(deepcopy=False)
    )


def _require_valid(name: str, n_trials: int) -> None:
    if not name.strip() or len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise ConfigError(
            f"study name must be 1 to {MAX_NAME_LENGTH} printable characters, but got {name!r}"
        )
    if n_trials < 1:
        raise ConfigError(f"n_trials must be at least 1, but got {n_trials}")


def _agreed_spec(
    study: optuna.Study,
    prices: PriceSeries,
    space: SearchSpace | None,
    horizon: int | None,
    stride: int | None,
    seed: int | None,
) -> StudySpec:
    """Return the spec that the study has, or gets now; refuse one that contradicts it."""
    stored = StudySpec.stored(study)
    if stored is None and study.get_trials(deepcopy=False):
        raise ConfigError(
            f"study {study.study_name!r} holds trials that foretune did not make; "
            "give another study name"
        )
    split = SplitSpec() if stored is None else stored.split
    spec = StudySpec(
        prices=PricesSpec.of(prices),
        split=SplitSpec(
            horizon=split.horizon if horizon is None else horizon,
            stride=split.stride if stride is None else stride,
            train_fraction=split.train_fraction,
            validation_fraction=split.validation_fraction,
        ),
        space=space or (SearchSpace() if stored is None else stored.space),
        seed=(0 if stored is None else stored.seed) if seed is None else seed,
        versions=current_versions(),
    )
    if stored is not None:
        stored.require_same(spec, study.study_name)
        return stored
    spec.store(study)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([OBJECTIVE_NAME])
    return spec


def _say_how_to_resume(study: optuna.Study, n_trials: int) -> None:
    print(
        f"\nInterrupted: {finished_trials(study)} of {n_trials} trials of study "
        f"{study.study_name!r} are stored. Run the same again to go on from there.",
        file=sys.stderr,
    )
