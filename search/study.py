"""run_study: a plain Optuna study, described, stored, resumable."""

import re
from collections.abc import Sequence
from numbers import Integral
from typing import Literal

import jax
import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage

from foretune.datasets.errors import ConfigError
from foretune.datasets.prices import PriceSeries
from foretune.models.compile_cache import use_compile_cache
from foretune.models.config import TrialConfig
from foretune.search.known_configs import enqueue_configs
from foretune.search.launch import Launch
from foretune.search.progress import quiet_optuna
from foretune.search.pruners import default_pruner, own_pruner, pruner_name, require_folds
from foretune.search.sampler import TrialSeededSampler
from foretune.search.space import SearchSpace
from foretune.search.spec import (
    StudySpec,
    agreed_spec,
    store_spec,
)
from foretune.search.storage.connect import (
    DEFAULT_STORAGE,
    is_on_disk,
    open_storage,
)
from foretune.search.study_lock import study_lock
from foretune.search.wanted import CUSTOM, Wanted
from foretune.search.worker import Work

# The number under which a study is locked that has none yet.
_BEFORE_THERE_IS_ONE = 0

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
    folds: int | None = None,
    seed: int | None = None,
    storage: str | BaseStorage = DEFAULT_STORAGE,
    start_from: Sequence[TrialConfig] = (),
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    workers: int | None = None,
    lanes: int | Literal["auto"] = "auto",
    cache: bool = True,
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
        stride: days from one forecast origin to the next; None for the study's own, or a
            fifth of the horizon.
        folds: walk-forward folds; a trial's value is the mean over them. None for the study's own,
            or 1.
        seed: seed of the sampler; None for the study's own, or 0.
        storage: URL (SQLite or PostgreSQL) or an Optuna storage.
        start_from: known configs that are trained first, if the study has not trained them yet.
        sampler: an Optuna sampler; by default TPE, seeded anew for each trial number.
        pruner: an Optuna pruner; None for the study's own, or the median rule.
            ``optuna.pruners.WilcoxonPruner`` compares trials fold by fold.
        workers: processes that train side by side, one thread each; None for as many as cores, one
            on an accelerator, or where the storage lives in this process. 0 makes the study and
            says in it what it wants: :func:`join_study` does the work, on any machine.
        lanes: trials of one shape that a worker trains side by side; ``"auto"`` is 1 on a CPU and
            with several folds, 16 on an accelerator.
        cache: keep compiled programs on disk, see :func:`use_compile_cache`.
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
    if workers is not None:
        require_count("workers", workers, least=0)
    require_count("lanes", lanes if lanes != "auto" else 1)
    with quiet_optuna():
        use_compile_cache(on=cache)
        opened = open_storage(storage, heed=lambda: None)
        spec = agreed_spec(
            name,
            opened,
            prices,
            space=space,
            epochs=epochs,
            horizon=horizon,
            stride=stride,
            folds=folds,
            seed=seed,
        )
        work = Work(
            study_name=name,
            n_trials=n_trials,
            space=spec.space,
            folds=spec.split.development(prices, history=spec.space.history),
            sampler=sampler or TrialSeededSampler(spec.seed),
            pruner=pruner or own_pruner(name, opened) or default_pruner(),
            lanes=lanes_of(lanes, spec.split.folds),
        )
        require_folds(work.pruner, spec.split.folds)
        # Two first launches at once: the second finds what the first has made.
        with study_lock(opened, _BEFORE_THERE_IS_ONE):
            study = _described_study(work, opened, spec)
            enqueue_configs(study, spec.space, start_from)
            _want(study, n_trials, sampler, pruner, exactly=workers == 0)
        if workers == 0:
            return study
        Launch(
            work=work,
            storage=opened,
            url=storage if isinstance(storage, str) and is_on_disk(storage) else None,
            workers=workers,
            cache=cache,
            show_progress=show_progress_bar,
        ).run(study)
    return study


def _want(
    study: optuna.Study,
    n_trials: int,
    sampler: BaseSampler | None,
    pruner: BasePruner | None,
    *,
    exactly: bool,
) -> None:
    """Store what ``study`` wants, for workers that come from elsewhere.

    A launch that works itself may want fewer trials than the study does, and by a sampler or pruner
    of its own: that is no reason to stop or to turn away all others.
    """
    before = Wanted.of(study) if Wanted.is_known(study) else None
    named = pruner_name(pruner) if pruner is not None else None
    if before is None:
        made_by = "tpe" if sampler is None else CUSTOM
        wanted = Wanted(trials=n_trials, sampler=made_by, pruner=named or "median")
    else:
        trials = n_trials if exactly else max(n_trials, before.trials)
        kept = before.pruner if named in (None, CUSTOM) else named
        wanted = Wanted(trials=trials, sampler=before.sampler, pruner=kept or CUSTOM)
    wanted.store(study)


def _described_study(work: Work, storage: BaseStorage, spec: StudySpec) -> optuna.Study:
    """Make the study or load it, and see that it stores its spec."""
    study = optuna.create_study(
        study_name=work.study_name,
        storage=storage,
        sampler=work.sampler,
        pruner=work.pruner,
        load_if_exists=True,
    )
    if StudySpec.stored(study) is None:
        store_spec(study, spec)
    return study


def default_lanes() -> int:
    """Return how many lanes a worker trains by default: one on a CPU, where lanes are slower."""
    return 1 if jax.default_backend() == "cpu" else 16


def lanes_of(lanes: int | Literal["auto"], folds: int) -> int:
    """Return how many lanes are asked for, or the default.

    Raises:
        ConfigError: several lanes in a study of several folds.
    """
    if lanes == "auto":
        return default_lanes() if folds == 1 else 1
    if lanes > 1 and folds > 1:
        raise ConfigError(f"lanes must be 1 in a study of {folds} folds, but got {lanes}")
    return lanes


def _require_valid(name: str, n_trials: int) -> None:
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name) or len(name.encode()) > 200:
        raise ConfigError(
            "study name must be at most 200 bytes of letters, digits, spaces or . _ = + -, from "
            f"a letter or digit, but got {name!r}"
        )
    require_count("n_trials", n_trials)


def require_count(name: str, value: object, *, least: int = 1) -> None:
    """Refuse what is no whole number of at least ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, but got {value!r}")
