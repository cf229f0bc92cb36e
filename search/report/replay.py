"""Replay: a stored trial trained again, and how its numbers compare with those stored."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import DevelopmentData
from foretune.models.forecasts.assessment import assess_folds
from foretune.models.runtime.device import device_name
from foretune.search.report.retrain import TrainedAgain, train_again
from foretune.search.storage.artifacts import artifact_names
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.best import naming
from foretune.search.study.spec import OBJECTIVE_NAME, required_spec, versions
from foretune.search.study.stored_numbers import stored_number
from foretune.search.trial.files import LOSSES_BY_ORIGIN, load_losses
from foretune.search.trial.record import OnEpoch


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A stored trial beside its replay.

    ``stored`` and ``replayed`` are its values. ``difference`` is the largest between any two
    numbers that both have: values reported by epoch, and losses by origin; 0.0 means that every
    bit is the same. ``compared`` counts them. ``reasons`` say what is not as it was.
    """

    trial: int
    stored: float
    replayed: float
    difference: float
    compared: int
    reasons: tuple[str, ...]

    @property
    def is_identical(self) -> bool:
        """Whether every number came out to the last bit."""
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
    study: optuna.Study, number: int, prices: PriceSeries, *, on_epoch: OnEpoch | None = None
) -> Replay:
    """Train trial ``number`` of ``study`` again from its stored config.

    A pruned trial is trained as far as it came.

    Args:
        study: a study of :func:`run_study`.
        number: the trial's.
        prices: the prices that the study was run on.
        on_epoch: called with (trial number, config, results) after every epoch.

    Raises:
        ConfigError: there is no such trial, it stores no result, or these are other prices.

    Example:
        >>> print(replay(study, 3, load_sample("sp500")))
    """
    spec = required_spec(study)
    spec.require_prices(prices, study.study_name)
    trial = _finished_trial(study, number)
    folds = spec.split.development(prices, history=spec.space.history)
    # A trial that was pruned between two folds has seen only the first ones.
    folds = folds[: len(_fold_values(trial))] or folds
    with naming(study):
        losses = _stored_losses(study, trial, folds)
        again = train_again(trial, folds, on_epoch, epochs=stored_number(trial, "epochs"))
    differences = _differences(trial, folds, again, losses)
    return Replay(
        trial=number,
        stored=_stored_value(trial),
        replayed=again.relative_mse,
        difference=float(np.max(differences)),
        compared=len(differences),
        reasons=_reasons(trial, spec.versions),
    )


def _finished_trial(study: optuna.Study, number: int) -> FrozenTrial:
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        raise ConfigError(
            f"trial must be a number from 0 to {len(trials) - 1}, but got {number}"
            if trials
            else f"study {study.study_name!r} must have trials, but has none"
        )
    trial = trials[number]
    ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    if not ended or stored_number(trial, OBJECTIVE_NAME) is None:
        raise ConfigError(
            f"trial must be one with a result, but {number} is {trial.state.name.lower()}: "
            f"{_why_without(trial)}"
        )
    return trial


def _why_without(trial: FrozenTrial) -> str:
    """Say why a trial has no result to compare with."""
    if not trial.state.is_finished():
        return "it has not ended"
    if trial.state != TrialState.FAIL and OBJECTIVE_NAME in trial.user_attrs:
        return f"its {OBJECTIVE_NAME} is {trial.user_attrs[OBJECTIVE_NAME]!r:.100}, no number"
    nothing = "no reason is stored"
    if trial.state != TrialState.FAIL:
        nothing = f"it stored no {OBJECTIVE_NAME}"
    return str(trial.user_attrs.get("error", nothing))


def _stored_value(trial: FrozenTrial) -> float:
    value = stored_number(trial, OBJECTIVE_NAME)
    assert value is not None  # see _finished_trial
    return value


def _stored_losses(
    study: optuna.Study, trial: FrozenTrial, folds: Sequence[DevelopmentData]
) -> NDArray[np.float64] | None:
    """Return what the trial stored of its losses, if anything; refused before anything trains."""
    storage = storage_of(study)
    if LOSSES_BY_ORIGIN not in artifact_names(storage, trial):
        return None
    origins = sum(len(fold.split.validation_origins) for fold in folds)
    return load_losses(storage, trial, origins=origins)


def _fold_values(trial: FrozenTrial) -> list[float]:
    """Return the best value of each fold that the trial has seen; none in a study of one fold."""
    values = []
    for number in itertools.count(1):
        value = stored_number(trial, f"{OBJECTIVE_NAME}_fold_{number}")
        if value is None:
            break
        values.append(value)
    return values


def _differences(
    trial: FrozenTrial,
    folds: Sequence[DevelopmentData],
    again: TrainedAgain,
    stored_losses: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return the difference of every number that the trial stored from the replay's."""
    pairs = [(_stored_value(trial), again.relative_mse)]
    values = _fold_values(trial)
    pairs += zip(values, (result.relative_mse for result in again.best), strict=False)
    # Under the Wilcoxon pruner the steps are folds, whose values are compared already.
    if list(trial.intermediate_values.values()) != values:
        pairs += [
            (value, again.reported.get(epoch, np.inf))
            for epoch, value in trial.intermediate_values.items()
        ]
    if stored_losses is not None:
        losses = assess_folds(folds, [result.forecasts for result in again.best]).losses
        pairs += zip(stored_losses, losses, strict=True)
    before, after = np.transpose(pairs)
    differences: NDArray[np.float64] = np.abs(before - after)
    return differences


def _reasons(trial: FrozenTrial, then: dict[str, str]) -> tuple[str, ...]:
    """Say what is not as it was when the trial was trained."""
    reasons = []
    before, now = trial.user_attrs.get("device", "unknown"), device_name()
    if before != now:
        reasons.append(f"it was trained on {before}, this is {now}")
    if "lanes" in trial.user_attrs:
        reasons.append(f"it was trained in {trial.user_attrs['lanes']} lanes, this is one alone")
    here = versions()
    reasons += [
        f"{name} was {version} when the study began, this is {here.get(name, 'without it')}"
        for name, version in then.items()
        if here.get(name) != version
    ]
    return tuple(reasons)
