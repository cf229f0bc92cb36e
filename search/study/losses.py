"""Losses by forecast origin, which a verdict rests on: those of trials, and those of baselines."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import ArrayLike, NDArray
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, Trial

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import ConfigError
from foretune.search.storage.artifacts import artifact_names, load_artifact, save_artifacts
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.spec import StudySpec

LOSSES_BY_ORIGIN = "losses_by_origin.csv"
BASELINE_LOSSES = "baseline_losses.csv"

# More than the square of any number that a network puts out, and squared itself still a number.
MAX_LOSS = 1e100

# Of a study whose objective records its losses: its horizon and its stride.
_ATTRIBUTE = "foretune_losses"
_BENCHMARK = "the benchmark"

Losses = NDArray[np.float64]


def record_losses(
    trial: Trial,
    losses: ArrayLike,
    *,
    benchmark: ArrayLike | Mapping[str, ArrayLike],
    horizon: int = 1,
    stride: int = 1,
) -> None:
    """Keep a trial's losses by origin, for :func:`verdict` and ``foretune report``.

    For the objective of any Optuna study, whatever it trains. All trials of the study are scored at
    the same origins, and are compared with the same benchmark.

    Args:
        trial: the one that runs.
        losses: its loss at each forecast origin of validation [O], in time order; lower is better.
        benchmark: the losses of a forecast that trains nothing, at the same origins [O]; of several
            by name, the best one is what trials have to beat.
        horizon: steps that each forecast covers.
        stride: steps from one origin to the next.

    Raises:
        ConfigError: the losses are not finite, of other origins than the benchmark's, or an earlier
            trial has recorded another benchmark, horizon or stride; foretune runs the study.

    Example:
        >>> def objective(trial):
        ...     errors = actual - train(trial).predict(rows)
        ...     record_losses(trial, errors**2, benchmark={"last value": naive_errors**2})
        ...     return np.mean(errors**2)
    """
    study = trial.study
    if StudySpec.stored(study) is not None:
        raise ConfigError(
            f"record_losses is for objectives of your own, but study {study.study_name!r} is one "
            "that foretune runs, and its losses are recorded"
        )
    named = benchmark if isinstance(benchmark, Mapping) else {_BENCHMARK: benchmark}
    if not named:
        raise ConfigError("benchmark must hold the losses of at least 1 forecast, but got none")
    own = _by_origin("losses", losses)
    baselines = {str(name): _by_origin(f"losses of {name}", found) for name, found in named.items()}
    for name, found in baselines.items():
        if len(found) != len(own):
            raise ConfigError(
                f"losses of {name} must be of the trial's {len(own)} forecast origins, but are of "
                f"{len(found)}"
            )
    require_whole_number("horizon", horizon)
    require_whole_number("stride", stride)
    about = {"horizon": int(horizon), "stride": int(stride)}
    before = study.user_attrs.get(_ATTRIBUTE)
    if before is None:
        save_baseline_losses(study, baselines)
        study.set_user_attr(_ATTRIBUTE, about)
    else:
        _require_same(study, before, about, baselines)
    save_artifacts(storage_of(study), trial, {LOSSES_BY_ORIGIN: _table({"loss": own})})


def _require_same(
    study: optuna.Study, before: object, about: dict[str, int], baselines: Mapping[str, Losses]
) -> None:
    """Refuse what cannot be compared with the losses of earlier trials."""
    whose = f"of every trial of study {study.study_name!r}"
    if before != about:
        raise ConfigError(f"horizon and stride {whose} must be {before}, but got {about}")
    stored = load_baseline_losses(study)
    if stored.keys() != baselines.keys():
        names = ", ".join(map(repr, stored))
        raise ConfigError(f"benchmark {whose} must be {names}, but got {', '.join(baselines)}")
    for name, losses in baselines.items():
        if not np.array_equal(stored[name], losses):
            raise ConfigError(
                f"benchmark {whose} must have the same losses, but those of {name} differ: are "
                "all trials scored at the same origins?"
            )


def recorded_spacing(study: optuna.Study) -> tuple[int, int]:
    """Return the horizon and the stride of a study that has recorded losses.

    Raises:
        ConfigError: it has recorded none.
    """
    match study.user_attrs.get(_ATTRIBUTE):
        case {"horizon": int(horizon), "stride": int(stride)} if min(horizon, stride) >= 1:
            return horizon, stride
    raise ConfigError(
        f"study {study.study_name!r} must be one that foretune made, or whose objective calls "
        "record_losses"
    )


def save_baseline_losses(study: optuna.Study, losses: Mapping[str, Losses]) -> None:
    """Keep the losses of each baseline by origin [O] with the study."""
    save_artifacts(storage_of(study), study, {BASELINE_LOSSES: _table(losses)})


def load_baseline_losses(study: optuna.Study) -> dict[str, Losses]:
    """Return the losses of each baseline by origin [O]; none of an older study.

    Raises:
        ConfigError: the file is not what foretune writes.
    """
    storage = storage_of(study)
    if BASELINE_LOSSES not in artifact_names(storage, study):
        return {}
    what = f"{BASELINE_LOSSES} of study {study.study_name!r}"
    rows = _rows(load_artifact(storage, study, BASELINE_LOSSES), what)
    return {name: _column(rows, name, what, -MAX_LOSS) for name in (rows[0] if rows else {})}


def load_losses(
    storage: BaseStorage,
    trial: FrozenTrial,
    *columns: str,
    origins: int | None = None,
    least: float = 0.0,
) -> list[Losses]:
    """Return columns of a trial's losses by origin [O], to the last bit as they were stored.

    Args:
        storage: the study's.
        trial: one that has ended.
        columns: ``loss``, or ``persistence_loss`` for those of persistence.
        origins: how many there must be, O; None for any number.
        least: what no loss is below.

    Raises:
        ConfigError: the trial has stored none, or the file is not what foretune writes.
    """
    if LOSSES_BY_ORIGIN not in artifact_names(storage, trial):
        raise ConfigError(f"trial {trial.number} must have stored {LOSSES_BY_ORIGIN}, but has not")
    what = f"{LOSSES_BY_ORIGIN} of trial {trial.number}"
    rows = _rows(load_artifact(storage, trial, LOSSES_BY_ORIGIN), what)
    losses = [_column(rows, column, what, least) for column in columns]
    if origins not in (None, len(rows)):
        raise ConfigError(f"{what} must have {origins} origins, but has {len(rows)}")
    return losses


def _by_origin(name: str, losses: ArrayLike) -> Losses:
    """Return losses as numbers [O], refusing what is none."""
    try:
        values = np.asarray(losses, dtype=np.float64)
    except (TypeError, ValueError):
        raise ConfigError(f"{name} must be numbers, but got {losses!r:.100}") from None
    if values.ndim != 1 or len(values) == 0:
        raise ConfigError(
            f"{name} must be one number for each forecast origin, but has shape {values.shape}"
        )
    wrong = np.flatnonzero(~(np.abs(values) <= MAX_LOSS))
    if len(wrong):
        raise ConfigError(
            f"{name} must be finite, from -{MAX_LOSS:g} to {MAX_LOSS:g}, but number {wrong[0]} is "
            f"{values[wrong[0]]}"
        )
    return values


def _table(columns: Mapping[str, Losses]) -> str:
    """Write columns as CSV, floats so that they read back the same."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(map(repr, column.tolist()) for column in columns.values()), strict=True))
    return text.getvalue()


def _rows(content: bytes, what: str) -> list[dict[str, Any]]:
    try:
        return list(csv.DictReader(io.StringIO(content.decode())))
    except (csv.Error, ValueError):
        raise ConfigError(f"{what} must be a CSV file in UTF-8") from None


def _column(rows: Sequence[Mapping[str, str]], column: str, what: str, least: float) -> Losses:
    try:
        # Not pandas, whose quick way to read a number can miss its last bit.
        losses = np.array([float(row[column]) for row in rows])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{what} must be a CSV file with a {column!r} in each line") from None
    # A NaN is no number between others.
    wrong = losses[~((losses >= least) & (losses <= MAX_LOSS))]
    if len(losses) == 0 or len(wrong):
        found = "none" if len(losses) == 0 else f"{wrong[0]}"
        raise ConfigError(
            f"{what} must have a {column} from {least:g} to {MAX_LOSS:g} in each line, but has "
            f"{found}"
        )
    return losses
