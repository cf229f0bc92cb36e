"""Losses by forecast origin, which a verdict rests on: those of trials, and those of baselines."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import ArrayLike, NDArray
from optuna.storages import BaseStorage
from optuna.trial import FixedTrial, FrozenTrial, Trial, TrialState

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import ConfigError
from foretune.search.storage.artifacts import artifact_names, load_artifact
from foretune.search.storage.optuna_internals import storage_of, study_id, trial_id
from foretune.search.study.spec import StudySpec

LOSSES_BY_ORIGIN = "losses_by_origin.csv"

# More than the square of any number that a network puts out, and squared itself still a number.
MAX_LOSS = 1e100

# Attributes that Optuna's pages do not show: the losses of baselines by name; of a study whose
# objective records its losses, its horizon and stride, and those of each trial.
_BASELINES, _SPACING, _OWN = "foretune:baseline_losses", "foretune:spacing", "foretune:losses"
_BENCHMARK = "the benchmark"

Losses = NDArray[np.float64]


def record_losses(
    trial: Trial | FixedTrial,
    losses: ArrayLike,
    *,
    benchmark: ArrayLike | Mapping[str, ArrayLike],
    horizon: int = 1,
    stride: int = 1,
) -> None:
    """Keep a trial's losses by origin, for :func:`verdict` and ``foretune report``.

    For the objective of any Optuna study, whatever it trains, in any storage. All trials of the
    study are scored at the same origins, and are compared with the same benchmark.

    Args:
        trial: the one that runs; of a ``FixedTrial``, which has no study, nothing is kept.
        losses: its loss at each forecast origin of validation [O], in time order; lower is better.
        benchmark: the losses of a forecast that trains nothing, at the same origins [O]; of several
            by name, the best one is what trials have to beat.
        horizon: steps that each forecast covers.
        stride: steps from one origin to the next.

    Raises:
        ConfigError: the losses are not finite, of other origins than the benchmark's, or a complete
            trial has recorded another benchmark, horizon or stride; foretune runs the study.

    Example:
        >>> def objective(trial):
        ...     errors = actual - train(trial).predict(rows)
        ...     record_losses(trial, errors**2, benchmark={"last value": naive_errors**2})
        ...     return np.mean(errors**2)
    """
    if not isinstance(trial, Trial | FixedTrial):
        raise ConfigError(f"trial must be a running trial of Optuna, but got {trial!r:.80}")
    named = benchmark if isinstance(benchmark, Mapping) else {_BENCHMARK: benchmark}
    if not named:
        raise ConfigError("benchmark must hold the losses of at least 1 forecast, but got none")
    own = _by_origin("losses", losses)
    baselines = {_name(name): _by_origin(f"losses of {name}", x) for name, x in named.items()}
    for name, found in baselines.items():
        if len(found) != len(own):
            raise ConfigError(
                f"losses of {name} must be of the trial's {len(own)} forecast origins, but are of "
                f"{len(found)}"
            )
    require_whole_number("horizon", horizon)
    require_whole_number("stride", stride)
    if isinstance(trial, FixedTrial):
        return
    study, storage = trial.study, storage_of(trial.study)
    if StudySpec.stored(study) is not None:
        raise ConfigError(
            f"record_losses is for objectives of your own, but study {study.study_name!r} is one "
            "that foretune runs, and its losses are recorded"
        )
    spacing = [int(horizon), int(stride)]
    # Read in this order: what a trial has recorded is stored before the trial is complete.
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    differs = _difference(study, spacing, baselines)
    if differs and any(_OWN in other.system_attrs for other in complete):
        raise ConfigError(differs)
    storage.set_trial_system_attr(trial_id(trial), _OWN, own.tolist())
    if differs:
        save_baseline_losses(study, baselines)
        storage.set_study_system_attr(study_id(study), _SPACING, spacing)


def _difference(
    study: optuna.Study, spacing: list[int], baselines: Mapping[str, Losses]
) -> str | None:
    """Say what is not as earlier trials have recorded it; None where all is the same."""
    attributes = storage_of(study).get_study_system_attrs(study_id(study))
    whose, stored = f"of every trial of study {study.study_name!r}", load_baseline_losses(study)
    if (before := attributes.get(_SPACING)) != spacing:
        return (
            f"horizon and stride {whose} must be the same, {before}, but are {spacing}; begin a "
            "new study for others"
        )
    if stored.keys() != baselines.keys():
        return (
            f"benchmark {whose} must be {', '.join(stored)}, but got {', '.join(baselines)}; begin "
            "a new study for others"
        )
    for name, losses in baselines.items():
        if len(losses) != len(stored[name]):
            return (
                f"losses of {name} {whose} must be of the same {len(stored[name])} origins, but "
                f"are of {len(losses)}"
            )
        if len(wrong := np.flatnonzero(losses != stored[name])):
            first = wrong[0]
            return (
                f"losses of {name} {whose} must be the same, but {len(wrong)} of {len(losses)} "
                f"differ, the first at origin {first}: {stored[name][first]} before and "
                f"{losses[first]} now; begin a new study for other origins"
            )
    return None


def recorded_spacing(study: optuna.Study) -> tuple[int, int]:
    """Return the horizon and the stride of a study that has recorded losses.

    Raises:
        ConfigError: it has recorded none.
    """
    match storage_of(study).get_study_system_attrs(study_id(study)).get(_SPACING):
        case [int(horizon), int(stride)] if min(horizon, stride) >= 1:
            return horizon, stride
    raise ConfigError(
        f"study {study.study_name!r} must be one that foretune made, or whose objective calls "
        "record_losses"
    )


def recorded_losses(trial: FrozenTrial, origins: int) -> Losses:
    """Return the losses [O] that a trial of an objective of one's own has recorded.

    Raises:
        ConfigError: it has recorded none, or of other origins than the baselines' O.
    """
    if _OWN not in trial.system_attrs:
        raise ConfigError("its objective has not called record_losses")
    losses = _by_origin("its losses", trial.system_attrs[_OWN])
    if len(losses) != origins:
        raise ConfigError(f"its losses must be of {origins} origins, but are of {len(losses)}")
    return losses


def save_baseline_losses(study: optuna.Study, losses: Mapping[str, Losses]) -> None:
    """Keep the losses of each baseline by origin [O] with the study."""
    document = {name: found.tolist() for name, found in losses.items()}
    storage_of(study).set_study_system_attr(study_id(study), _BASELINES, document)


def load_baseline_losses(study: optuna.Study) -> dict[str, Losses]:
    """Return the losses of each baseline by origin [O]; none of an older study."""
    found = storage_of(study).get_study_system_attrs(study_id(study)).get(_BASELINES, {})
    return {name: np.array(losses, dtype=np.float64) for name, losses in found.items()}


def load_losses(
    storage: BaseStorage, trial: FrozenTrial, *columns: str, origins: int | None = None
) -> list[Losses]:
    """Return columns of a trial's losses by origin [O], to the last bit as they were stored.

    Args:
        storage: the study's.
        trial: one that has ended.
        columns: ``loss``, or ``persistence_loss`` for those of persistence.
        origins: how many there must be, O; None for any number.

    Raises:
        ConfigError: the trial has stored none, or the file is not what foretune writes.
    """
    if LOSSES_BY_ORIGIN not in artifact_names(storage, trial):
        raise ConfigError(f"trial {trial.number} must have stored {LOSSES_BY_ORIGIN}, but has not")
    what = f"{LOSSES_BY_ORIGIN} of trial {trial.number}"
    rows = _rows(load_artifact(storage, trial, LOSSES_BY_ORIGIN), what)
    losses = [_column(rows, column, what) for column in columns]
    if origins not in (None, len(rows)):
        raise ConfigError(f"{what} must have {origins} origins, but has {len(rows)}")
    return losses


def _name(name: object) -> str:
    """Return the name of a benchmark, which stands in sentences and tables."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise ConfigError(f"names of benchmarks must be printable text, but got {name!r:.80}")
    return name


def _by_origin(name: str, losses: ArrayLike) -> Losses:
    """Return losses as numbers [O], refusing what is none."""
    if isinstance(losses, np.ma.MaskedArray):
        losses = np.ma.filled(losses.astype(np.float64), np.nan)
    try:
        values = np.asarray(losses)
        if values.dtype.kind not in "biufO":
            raise TypeError
        values = values.astype(np.float64)
    except Exception:  # arrays of other libraries raise what they like
        shown = " ".join(f"{losses!r:.100}".split())
        raise ConfigError(f"{name} must be real numbers, but got {shown}") from None
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


def _rows(content: bytes, what: str) -> list[dict[str, Any]]:
    try:
        return list(csv.DictReader(io.StringIO(content.decode())))
    except (csv.Error, ValueError):
        raise ConfigError(f"{what} must be a CSV file in UTF-8") from None


def _column(rows: Sequence[Mapping[str, str]], column: str, what: str) -> Losses:
    try:
        # Not pandas, whose quick way to read a number can miss its last bit.
        losses = np.array([float(row[column]) for row in rows])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{what} must be a CSV file with a {column!r} in each line") from None
    # A NaN is no number between others.
    wrong = losses[~((losses >= 0) & (losses <= MAX_LOSS))]
    if len(losses) == 0 or len(wrong):
        found = "none" if len(losses) == 0 else f"{wrong[0]}"
        raise ConfigError(
            f"{what} must have a {column} from 0 to {MAX_LOSS:g} in each line, but has {found}"
        )
    return losses
