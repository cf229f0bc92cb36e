"""Replay: a stored trial trained again, and how its numbers compare with those stored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets.common.errors import ConfigError
from foretune.models.forecasts.metrics import assess_folds
from foretune.models.runtime.device import device_name
from foretune.models.runtime.versions import versions
from foretune.search.report.retrain import retrain
from foretune.search.storage.artifacts import artifact_names
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.best import errors_naming
from foretune.search.study.spec import OBJECTIVE_NAME, required_spec, study_series
from foretune.search.study.trials import stored_number
from foretune.search.trial.files import LOSSES_BY_ORIGIN, load_losses
from foretune.search.trial.record import OnEpoch


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A stored trial beside its replay.

    ``stored`` and ``replayed`` are its values. ``difference`` is the largest between any two
    numbers that both have: values reported by epoch, and losses by origin; 0.0 means that every
    bit is the same. ``compared`` counts them. ``reasons`` say what has changed since.
    """

    trial: int
    stored: float
    replayed: float
    difference: float
    compared: int
    reasons: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether every number came out identical to the last bit."""
        return self.difference == 0

    def __str__(self) -> str:
        """Return the outcome in words."""
        if self.is_identical:
            return (
                f"trial {self.trial} is bit-identical: {OBJECTIVE_NAME} {self.replayed!r}, "
                f"{self.compared} numbers compared"
            )
        reasons = "; ".join(self.reasons) or "none found: device, versions and lanes are the same"
        return (
            f"trial {self.trial} differs: {OBJECTIVE_NAME} {self.replayed!r}, stored "
            f"{self.stored!r}; largest difference of {self.compared} numbers {self.difference:.3g}."
            f" What may explain it: {reasons}"
        )


def replay(
    study: optuna.Study,
    number: int,
    data: Any = None,
    *,
    prices: Any = None,
    on_epoch: OnEpoch | None = None,
) -> Replay:
    """Train trial ``number`` of ``study`` again from its stored config.

    A pruned trial is trained as far as it came.

    Args:
        study: a study of :func:`run_study`.
        number: the trial's.
        data: the data that the study was run on, as :func:`run_study` took them; None to read them
            where the study knows them to be.
        prices: the same, as ``data`` was first called.
        on_epoch: called with (trial number, config, results) after every epoch.

    Raises:
        ConfigError: there is no such trial, it stores no result, or these are other data.

    Example:
        >>> print(replay(study, 3, load_sample("sp500")))
    """
    series = study_series(study, data if prices is None else prices)
    spec = required_spec(study)
    trial, stored = _finished_trial(study, number)
    folds = spec.development(series)
    # None in a study of one fold. A trial that was pruned between two has seen only the first ones.
    stored_folds = (
        stored_number(trial, f"{OBJECTIVE_NAME}_fold_{n + 1}") for n in range(len(folds))
    )
    fold_values = [value for value in stored_folds if value is not None]
    folds = folds[: len(fold_values)] or folds
    with errors_naming(study):
        losses = None  # those that are damaged are refused before anything trains
        if LOSSES_BY_ORIGIN in artifact_names(storage_of(study), trial):
            origins = sum(len(fold.split.validation_origins) for fold in folds)
            (losses,) = load_losses(storage_of(study), trial, "loss", origins=origins)
        again = retrain(trial, folds, on_epoch, epochs=stored_number(trial, "epochs"))
    pairs = [(stored, again.relative_mse)]
    pairs += (
        (value, best.relative_mse) for value, best in zip(fold_values, again.best, strict=False)
    )
    # Under the Wilcoxon pruner the steps are folds, whose values are compared already.
    if list(trial.intermediate_values.values()) != fold_values:
        steps = trial.intermediate_values.items()
        pairs += ((value, again.reported.get(epoch, np.inf)) for epoch, value in steps)
    if losses is not None:
        pairs += zip(losses, assess_folds(folds, again.forecasts).losses, strict=True)
    differences = [abs(before - after) for before, after in pairs]
    return Replay(
        trial=number,
        stored=stored,
        replayed=again.relative_mse,
        difference=float(np.max(differences)),
        compared=len(differences),
        reasons=_reasons(trial, spec.versions),
    )


def _finished_trial(study: optuna.Study, number: int) -> tuple[FrozenTrial, float]:
    """Return the trial of a number, with the value that it stores."""
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        raise ConfigError(
            f"trial must be a number from 0 to {len(trials) - 1}, but got {number}"
            if trials
            else f"study {study.study_name!r} must have trials, but has none"
        )
    trial = trials[number]
    value = stored_number(trial, OBJECTIVE_NAME)
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or value is None:
        raise ConfigError(
            f"trial must be one with a result, but {number} is {trial.state.name.lower()}: "
            f"{_why_without(trial)}"
        )
    return trial, value


def _why_without(trial: FrozenTrial) -> str:
    """Say why a trial has no result to compare with."""
    if not trial.state.is_finished():
        return "it has not ended"
    if trial.state == TrialState.FAIL:
        return str(trial.user_attrs.get("error", "no reason is stored"))
    if OBJECTIVE_NAME in trial.user_attrs:
        return f"its {OBJECTIVE_NAME} is {trial.user_attrs[OBJECTIVE_NAME]!r:.100}, not a number"
    return f"it stored no {OBJECTIVE_NAME}"


def _reasons(trial: FrozenTrial, then: dict[str, str]) -> tuple[str, ...]:
    """Say what has changed since the trial was trained."""
    reasons = []
    before, now = trial.user_attrs.get("device", "unknown"), device_name()
    if before != now:
        reasons.append(f"it was trained on {before}, not on {now}")
    if "lanes" in trial.user_attrs:
        reasons.append(f"it was trained in {trial.user_attrs['lanes']} lanes and alone here")
    here = versions("optuna")
    reasons += [
        f"{name} was {version} when the study began and is {here.get(name, 'not installed')} here"
        for name, version in then.items()
        if here.get(name) != version
    ]
    return tuple(reasons)
