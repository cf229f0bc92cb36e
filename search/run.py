"""run_study: a plain Optuna study, described, stored, resumable."""

import copy
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Literal, NoReturn

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, BruteForceSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from foretune.datasets.common.checks import given_data, require_whole_number
from foretune.datasets.common.errors import ConfigError, ForetuneError, printable
from foretune.datasets.sources.load import what_was_read
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecasts.metrics import require_mase_units
from foretune.search.engine.devices import find_devices, slot_environments
from foretune.search.engine.driver import Driver, DriverStudy, Plan, say
from foretune.search.engine.executors import InProcess, LokySlots, Slots, given_slots
from foretune.search.engine.signals import StopRequest, stop_on_signal
from foretune.search.review.note import StudyNote
from foretune.search.review.plan import plan_line
from foretune.search.review.progress import quiet_optuna, show_progress
from foretune.search.space.known_configs import enqueue_configs, params_of
from foretune.search.space.space import SearchSpace
from foretune.search.storage.connect import (
    DEFAULT_STORAGE,
    find_study,
    load_study,
    open_storage,
    retry_of,
)
from foretune.search.storage.lease import study_lease
from foretune.search.storage.optuna_internals import startup_trials, study_id
from foretune.search.storage.retry import DEFAULT_TIMEOUT, STORAGE_ERRORS
from foretune.search.study.agreed import agreed_spec
from foretune.search.study.baselines import keep_baselines
from foretune.search.study.best import best_config
from foretune.search.study.data import hold_data
from foretune.search.study.pruners import agreed_pruner, pruner_name
from foretune.search.study.samplers import TrialSeededSampler
from foretune.search.study.spec import StudySpec, store_spec
from foretune.search.study.target import CUSTOM, StudyTarget
from foretune.search.study.trials import finished_trials

# Letters and digits of any script, and what a file name can hold everywhere.
NAME_PATTERN = re.compile(r"\w[\w .=+-]{0,199}")

Known = TrialConfig | str | os.PathLike[str]

# Before a study is made, its sampler is tried in memory with this many more draws than it makes at
# random, so that its model has run.
_MORE = 2


def run_study(
    name: str,
    data: Any = None,
    *,
    prices: Any = None,
    target: str | None = None,
    n_trials: int = 30,
    space: SearchSpace | None = None,
    epochs: int | None = None,
    horizon: int | None = None,
    stride: int | None = None,
    folds: int | None = None,
    gap: int | None = None,
    split: str | Sequence[float | str] | None = None,
    train_end: Any = None,
    validation_end: Any = None,
    test_end: Any = None,
    seed: int | None = None,
    metric: MetricName | None = None,
    store_data: bool | None = None,
    storage: str | BaseStorage = DEFAULT_STORAGE,
    storage_timeout: float = DEFAULT_TIMEOUT,
    start_from: Known | Sequence[Known] = (),
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    task_timeout: float | None = None,
    lanes: int | Literal["auto"] = "auto",
    cache: bool = True,
    show_progress_bar: bool = True,
) -> optuna.Study:
    """Search until the study ``name`` holds ``n_trials`` trials, and return it.

    A study that exists is resumed: only the missing trials are run, trials that were interrupted
    continue from their last snapshot, and no draw is repeated. The test part of ``data`` is cut
    off before anything is trained. Ctrl-C (or SIGTERM) stops after the running epochs, says how to
    continue, and returns the study.

    Only this process talks to the storage and to Optuna, so that any sampler and pruner works;
    trials are trained in short tasks wherever ``workers`` or ``executor`` say.

    Args:
        name: the study's name in the storage.
        data: a TimeSeries, a Panel, prices, a DataFrame, the path of a file or a sample's name;
            which rows train, validate and test is decided by the split. Of a panel, one network
            learns all series, and a trial's value is the mean over them. None for those of a study
            that exists.
        prices: the same, as ``data`` was first called.
        target: what to forecast of prices (close, adj_close, mid, open, ...) or of a table; None
            for the study's own, or the default.
        n_trials: trials in total, those of earlier runs included.
        space: what to search; None for the study's own, or the default for a new study.
        epochs: maximum epochs per trial, in place of the space's.
        horizon: steps forecast from each origin; None for the study's own, or one season, or 50
            where there is none.
        stride: rows from one forecast origin to the next; None for the study's own, or a
            fifth of the horizon.
        folds: walk-forward folds; a trial's value is the mean over them. None for the study's own,
            or 1.
        gap: rows between two parts; None for the study's own, or the horizon. Published protocols
            have 0.
        split: which rows train, validate and test: three shares that add up to 1, three counts such
            as (8640, 2880, 2880), or ("rest", 48, 48); rows after the third count are left out.
            None for the study's own, or shares of 0.6, 0.2 and 0.2; where series are of
            different lengths, a fifth of the median one's rows validates and as many test.
        train_end: the last time that trains, in place of ``split``; a day is meant whole.
        validation_end: the last time that validates.
        test_end: the last time of the test; None for the last of all.
        seed: seed of the sampler; None for the study's own, or 0.
        metric: what a trial's value is, on validation: what the pruner sees, what ends a training
            and what chooses the best epoch and trial; the verdict's losses are its errors.
            ``"relative_mse"``, ``"mse"``, ``"mae"``, ``"mase"`` or ``"smape"``; None for the
            study's own, or the relative MSE.
        store_data: whether the study holds its data, the test part apart from the rest, so that
            the storage alone is enough to report on it, to resume it and to forecast, on any
            machine; data of more than 16 MiB are read again from where they are. None for the
            study's own, or True.
        storage: URL (SQLite or PostgreSQL) or an Optuna storage.
        storage_timeout: seconds to wait for a database that is away, before giving up.
        start_from: known configs that are trained first, if the study has not trained them yet; the
            path of a TOML file, such as best.toml, names its config, and the name of a study in
            this storage its best one.
        sampler: an Optuna sampler; by default TPE, seeded for each trial number.
        pruner: an Optuna pruner; None for the study's own, or the median rule.
        workers: processes of this machine that train side by side: one thread each on a CPU, one
            device each on accelerators; None for as many as there are cores or devices. 1 trains in
            this process. With an ``executor``: how many tasks it runs at a time.
        executor: any ``concurrent.futures.Executor`` to train on instead, such as that of a Dask
            client or an MPI pool.
        task_timeout: seconds after which a task of a few epochs counts as hung and its worker is
            ended; None for 20 times the longest one so far, and 5 minutes at least.
        lanes: trials of one shape that a worker trains side by side; ``"auto"`` is 1 on a CPU and
            with several folds, 16 on an accelerator.
        cache: keep compiled programs on disk, see :func:`use_compile_cache`.
        show_progress_bar: show a bar with the best value and the time left.

    Raises:
        ConfigError: a parameter out of range, the study exists with other data or another
            space, or another process is running it.
        DataError: too few rows for the split.

    Example:
        >>> study = run_study("sp500", "sp500", n_trials=30)
        >>> study.best_value, best_config(study)
        >>> run_study("shops", read_panel("shops.csv"), split="rest,84,84")
    """
    _require_valid(name, n_trials, workers)
    require_whole_number("lanes", lanes if lanes != "auto" else 1)
    _require_seconds("storage_timeout", storage_timeout)
    if task_timeout is not None:
        _require_seconds("task_timeout", task_timeout)
    for kind, given in ((BaseSampler, sampler), (BasePruner, pruner)):
        if given is not None and not isinstance(given, kind):
            what = kind.__name__.removeprefix("Base").lower()
            raise ConfigError(f"{what} must be an object of optuna.{what}s, but got {given!r}")
    known = _read_configs(start_from)
    with quiet_optuna(), stop_on_signal() as stop:
        opened = open_storage(storage, timeout=storage_timeout)
        found = find_study(name, opened)
        is_new = found is None or StudySpec.stored(found) is None
        if is_new and data is None and prices is None:
            raise ConfigError(f"data must be given for study {name!r}, which is a new one")
        configs = [_best_of(x, opened) if isinstance(x, str) else x for x in known]
        parts = {"horizon": horizon, "stride": stride, "folds": folds, "gap": gap, "split": split}
        ends = {"train_end": train_end, "validation_end": validation_end, "test_end": test_end}
        spec, held = agreed_spec(
            found,
            None if data is None and prices is None else given_data(data, prices),
            parts | ends,
            target=target,
            space=space,
            epochs=epochs,
            seed=seed,
            metric=metric,
            store_data=store_data,
        )
        plan = Plan(
            n_trials=n_trials,
            space=spec.space,
            folds=spec.development(held.development),
            shared_epoch=spec.split.shared_epoch,
            lanes=_lanes(lanes, spec.split.folds),
            cache=cache,
            task_timeout=task_timeout,
            metric=spec.metric,
        )
        if spec.metric == "mase":
            require_mase_units(plan.folds[0])
        own = None if found is None else StudyTarget.stored(found)
        chosen = agreed_pruner(found, pruner)
        if sampler is not None:
            _require_working(sampler, spec.space)
        _require_in_space(configs, spec.space)  # before there is a study
        optuna.create_study(study_name=name, storage=opened, load_if_exists=True)
        study = DriverStudy(
            name, opened, sampler=sampler or TrialSeededSampler(spec.seed), pruner=chosen
        )
        retry = retry_of(opened)
        of_others = retry.check_stop, retry.timeout
        retry.check_stop, retry.timeout = stop.check_stop, storage_timeout
        try:
            with study_lease(study) as check_lease:
                if StudySpec.stored(study) is None:
                    store_spec(study, spec)
                where = hold_data(study, held)
                enqueue_configs(study, spec.space, configs)
                wanted = _target(study, n_trials, sampler, pruner)
                wanted.store(study)
                if show_progress_bar:
                    say(printable(f"{what_was_read(held.development, held.time)}; {where}"))
                    by_default = is_new and horizon is None
                    say(printable(plan_line(spec, held.development, by_default=by_default)))
                if left_out := spec.whole_split.left_out:
                    say(f"the last {left_out:,} rows are left out: they are in no part")
                missing = n_trials - finished_trials(study)
                if missing <= 0:
                    return study
                for what, default, given in (
                    ("sampler", "TPE", sampler),
                    ("pruner", "the median rule", pruner),
                ):
                    if own is not None and given is None and getattr(own, what) == CUSTOM:
                        say(
                            f"study {name!r} began with a {what} of its own, which is not stored; "
                            f"this run uses {default} unless you give {what}="
                        )
                slots = _slots(executor, workers, -(-missing // plan.lanes), cache)
                try:
                    _drive(study, plan, wanted, slots, stop, check_lease, show=show_progress_bar)
                finally:
                    slots.close()
        except (KeyError, *STORAGE_ERRORS):
            there = find_study(name, opened)
            if there is None or study_id(there) != study_id(study):
                raise ConfigError(
                    f"study {name!r} must be in the storage, but was deleted"
                ) from None
            raise
        except KeyboardInterrupt:
            retry.timeout = 0.0
            stored = "All trials that had finished"
            with suppress(*STORAGE_ERRORS):  # the database may be away
                stored = f"{finished_trials(study)} of {n_trials} trials"
            say(
                f"interrupted: {stored} of study {name!r} are stored; run the same command again "
                "to continue from there"
            )
        finally:
            retry.check_stop, retry.timeout = of_others
    return study


def _drive(
    study: DriverStudy,
    plan: Plan,
    target: StudyTarget,
    slots: Slots,
    stop: StopRequest,
    check_lease: Callable[[], None],
    *,
    show: bool,
) -> None:
    """Run the missing trials, and say at the end why there are not more."""
    keep_baselines(study, plan.folds)
    note, total = StudyNote(study), plan.n_trials
    # It asks for every config of the study's space, which does not change.
    study.stopped = target.exhausted and isinstance(study.sampler, BruteForceSampler)
    done = finished_trials(study)
    shown = show_progress(study.study_name, done=done, total=total, show=show, metric=plan.metric)
    with shown as progress:

        def on_trial(trial: FrozenTrial) -> None:
            progress.trial(study, trial, total)
            note.trial_ended()

        driver = Driver(
            study=study,
            plan=plan,
            slots=slots,
            stop=stop,
            check_lease=check_lease,
            on_epoch=progress.epoch,
            on_trial=on_trial,
        )
        stopped = driver.run()
    target.model_copy(update={"exhausted": study.stopped}).store(study)
    if study.stopped and finished_trials(study) < total:
        say(
            f"the sampler has nothing left to suggest: study {study.study_name!r} ends with "
            f"{finished_trials(study)} of {total} trials"
        )
    with suppress(*STORAGE_ERRORS):
        note.end()
    if stopped:
        raise KeyboardInterrupt


def _read_configs(start_from: Known | Sequence[Known]) -> list[TrialConfig | str]:
    """Read the configs that are files; what is none must be the name of a study."""
    # One alone may be given without a list.
    alone = isinstance(start_from, TrialConfig | str | os.PathLike)
    found: list[TrialConfig | str] = []
    for known in [start_from] if alone else start_from:  # type: ignore[union-attr]
        if isinstance(known, TrialConfig):
            found.append(known)
        elif not isinstance(known, str | os.PathLike):
            raise ConfigError(
                "start_from must be configs, paths of TOML files or names of studies, but one is "
                f"{known!r:.80}"
            )
        elif str(known).lower().endswith(".toml") or os.path.isfile(known):
            found.append(TrialConfig.load(known))
        else:
            found.append(str(known))
    return found


def _best_of(name: str, storage: BaseStorage) -> TrialConfig:
    try:
        return best_config(load_study(name, storage))
    except ConfigError as error:
        raise ConfigError(f"start_from: {error}") from None


def _require_in_space(configs: Sequence[TrialConfig], space: SearchSpace) -> None:
    for number, config in enumerate(configs, 1):
        try:
            params_of(space, config)
        except ConfigError as error:
            raise ConfigError(
                f"start_from, number {number}: {error}; a new study whose space (--space) has it "
                "can begin there"
            ) from None


def _target(
    study: optuna.Study, n_trials: int, sampler: BaseSampler | None, pruner: BasePruner | None
) -> StudyTarget:
    """Return the target of ``study``; a launch for fewer trials does not lower it."""
    before = StudyTarget.stored(study) or StudyTarget(
        trials=n_trials,
        sampler="tpe" if sampler is None else CUSTOM,
        pruner="median" if pruner is None else CUSTOM,
    )
    named = CUSTOM if pruner is None else pruner_name(pruner)
    named = before.pruner if named == CUSTOM else named
    return before.model_copy(update={"trials": max(n_trials, before.trials), "pruner": named})


def _slots(executor: Executor | None, workers: int | None, most: int, cache: bool) -> Slots:
    """Return where to train; no more than this many slots are of use."""
    if executor is not None:
        return given_slots(executor, workers)
    if workers == 1:
        return InProcess(cache=cache)
    devices = find_devices()
    environments = slot_environments(devices, workers)
    if devices.kind == "cpu" and len(environments) == 1:
        return InProcess(cache=cache)
    return LokySlots(environments[:most], cache=cache)


def _lanes(lanes: int | Literal["auto"], folds: int) -> int:
    """Return how many lanes are asked for, or the default; with several folds it must be one."""
    if lanes == "auto":
        return find_devices().lanes if folds == 1 else 1
    if lanes > 1 and folds > 1:
        raise ConfigError(f"lanes must be 1 in a study of {folds} folds, but got {lanes}")
    return lanes


def _require_working(sampler: BaseSampler, space: SearchSpace) -> None:
    """Draw from a copy of a user's sampler in memory, until its model has run.

    Raises:
        ConfigError: it lacks a package, or raises.
    """
    name = type(sampler).__name__
    try:
        tried = copy.deepcopy(sampler)
    except Exception:  # one that cannot be copied is trusted
        return
    memory = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name=name, storage=memory)
    study = DriverStudy(name, memory, sampler=tried, pruner=optuna.pruners.NopPruner())
    for draw in range(startup_trials(sampler) + _MORE):
        try:
            trial = study.ask()
            space.suggest(trial)
            study.tell(trial, float(draw % 3))
        except ImportError as error:
            extras = {"GPSampler": "gp", "CmaEsSampler": "cmaes"}
            extra = f"; install foretune[{extras[name]}]" if name in extras else ""
            reason = str(error).splitlines()[0]
            raise ConfigError(f"sampler {name} needs a package{extra} ({reason})") from None
        except ForetuneError:
            raise
        except Exception as error:
            raise ConfigError(
                f"sampler must draw from the study's space, but {name} raised "
                f"{type(error).__name__}: {error}"
            ) from error
        if study.stopped:
            return


def _require_valid(name: str, n_trials: int, workers: int | None) -> None:
    if not isinstance(name, str) or not NAME_PATTERN.fullmatch(name) or len(name.encode()) > 200:
        raise ConfigError(
            "study name must be at most 200 bytes of letters, digits, spaces or . _ = + -, "
            f"starting with a letter or digit, but got {name!r}"
        )
    require_whole_number("n_trials", n_trials)
    if workers == 0:
        raise ConfigError(
            "workers must be at least 1, but got 0, which left the work to `foretune worker`: use "
            "executor=, or `foretune run --dask`, to train on many machines"
        )
    if workers is not None:
        require_whole_number("workers", workers)


def _require_seconds(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ConfigError(f"{name} must be a number of seconds above 0, but got {value!r}")


def join_study(*_: object, **__: object) -> NoReturn:
    """Raise a ConfigError that says what took the place of joining from other machines."""
    raise ConfigError(
        "join_study is gone: one process runs a study, and trains on many machines with "
        "run_study(..., executor=Client(ADDRESS).get_executor(pure=False)) or `foretune run --dask`"
    )
