"""join_study: work on a study that exists, from any machine."""

from typing import Literal

import optuna

from foretune.datasets.errors import ConfigError
from foretune.models.compile_cache import use_compile_cache
from foretune.search.checkpoint_keeper import DEFAULT_SECONDS
from foretune.search.launch import Launch
from foretune.search.progress import quiet_optuna
from foretune.search.pruners import PRUNERS
from foretune.search.sampler import TrialSeededSampler
from foretune.search.spec import required_spec, study_prices
from foretune.search.storage.connect import (
    load_study,
    open_storage,
    require_database,
    storage_of,
)
from foretune.search.study import lanes_of, require_count
from foretune.search.trial_marks import DEFAULT_BEAT, LONGEST_BEAT, SHORTEST_BEAT
from foretune.search.wanted import Wanted
from foretune.search.worker import Work


def join_study(
    name: str,
    storage: str,
    prices: str | None = None,
    *,
    workers: int = 1,
    lanes: int | Literal["auto"] = "auto",
    cache: bool = True,
    beat: float = DEFAULT_BEAT,
    checkpoint_seconds: float = DEFAULT_SECONDS,
    most_growth: int | None = None,
    show_progress_bar: bool = True,
) -> optuna.Study:
    """Work on a study that exists until it has the trials it wants, and return it.

    Any number of processes on any number of machines may do so at the same time. The study itself
    says what to search, on which prices, and how many trials it wants: see ``workers=0`` of
    :func:`run_study`. Ctrl-C (or SIGTERM) stops after the running epoch; the trial is left to
    another worker.

    Args:
        name: the study's name.
        storage: URL of its database.
        prices: where its prices are, if not where the study knows them to be; their digest must be
            the study's.
        workers: processes to work with, as for :func:`run_study`.
        lanes: as for :func:`run_study`.
        cache: as for :func:`run_study`.
        beat: seconds between two signs of life. A worker that has missed six of them before the
            eyes of another is taken for lost, and its trial is run again.
        checkpoint_seconds: a trial that takes longer is saved every so many seconds, for whoever
            goes on with it if this worker is lost.
        most_growth: bytes that a worker grows by before a new process goes on in its place; with
            one worker that is this process, and left to the caller.
        show_progress_bar: as for :func:`run_study`.

    Raises:
        ConfigError: no such study, other prices, or a sampler or pruner that only the script which
            made it has.
        DataError: there are no prices.
        WorkerGrownError: this process has grown by more than ``most_growth``.

    Example:
        >>> join_study("sp500", "postgresql+psycopg://me@db/studies")
    """
    require_count("workers", workers)
    require_count("lanes", lanes if lanes != "auto" else 1)
    _require_seconds("beat", beat, SHORTEST_BEAT, LONGEST_BEAT)
    _require_seconds("checkpoint_seconds", checkpoint_seconds, 0.0, 86_400.0)
    with quiet_optuna():
        use_compile_cache(on=cache)
        require_database(storage)
        study = load_study(name, open_storage(storage, heed=lambda: None))
        spec, wanted = required_spec(study), Wanted.of(study)
        _require_own(wanted, name)
        series = study_prices(study, prices)
        work = Work(
            study_name=name,
            n_trials=None,
            space=spec.space,
            folds=spec.split.development(series, history=spec.space.history),
            sampler=TrialSeededSampler(spec.seed),
            pruner=PRUNERS[wanted.pruner](),
            lanes=lanes_of(lanes, spec.split.folds),
            beat=beat,
            checkpoint_seconds=checkpoint_seconds,
            most_growth=most_growth,
        )
        Launch(
            work=work,
            storage=storage_of(study),
            url=storage,
            workers=workers,
            cache=cache,
            show_progress=show_progress_bar,
        ).run(study)
    return study


def _require_seconds(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} must be {low:g} to {high:g} seconds, but got {value!r}")


def _require_own(wanted: Wanted, name: str) -> None:
    """Refuse a study whose sampler or pruner only a script can make."""
    if wanted.sampler != "tpe" or wanted.pruner not in PRUNERS:
        raise ConfigError(
            f"study {name!r} must have foretune's own sampler and pruner to be worked on from "
            f"elsewhere, but has sampler {wanted.sampler} and pruner {wanted.pruner}; start the "
            "script that made it once more instead"
        )
