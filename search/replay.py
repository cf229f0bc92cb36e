"""Replay: a stored trial trained again, and how its numbers compare with those stored."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets.errors import ConfigError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import Development
from foretune.models.assessment import assess_folds
from foretune.models.device import device_name
from foretune.models.training import EpochResult
from foretune.models.walk_forward import fit_folds, mean_over_folds
from foretune.search.artifacts import artifact_names
from foretune.search.best import trial_config
from foretune.search.objective import OnEpoch
from foretune.search.spec import OBJECTIVE_NAME, required_spec, versions
from foretune.search.storage import storage_of
from foretune.search.trial_files import LOSSES_BY_ORIGIN, load_losses


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
    reported, best = _train_again(trial, folds, on_epoch)
    differences = _differences(study, trial, folds, reported, best)
    return Replay(
        trial=number,
        stored=trial.user_attrs[OBJECTIVE_NAME],
        replayed=mean_over_folds(best),
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
    if not ended or OBJECTIVE_NAME not in trial.user_attrs:
        reason = trial.user_attrs.get("error", "no epoch was stored")
        raise ConfigError(
            f"trial must be one with a result, but {number} is {trial.state.name.lower()}: {reason}"
        )
    return trial


def _train_again(
    trial: FrozenTrial, folds: Sequence[Development], on_epoch: OnEpoch | None
) -> tuple[dict[int, float], list[EpochResult]]:
    """Return the values by epoch, as far as the trial came, and each fold's best epoch."""
    config, reported = trial_config(trial), dict[int, float]()
    best: dict[int, EpochResult] = {}
    for results in fit_folds(config, folds):
        reported[results.epoch] = results.relative_mse
        best |= {n: result for n, result in enumerate(results.folds) if result.is_best}
        if on_epoch is not None:
            on_epoch(trial.number, config, results)
        if results.epoch >= trial.user_attrs["epochs"]:
            break
    return reported, list(best.values())


def _fold_values(trial: FrozenTrial) -> list[float]:
    """Return the best value of each fold that the trial has seen; none in a study of one fold."""
    attrs = trial.user_attrs
    names = (f"{OBJECTIVE_NAME}_fold_{number}" for number in itertools.count(1))
    return [attrs[name] for name in itertools.takewhile(attrs.__contains__, names)]


def _differences(
    study: optuna.Study,
    trial: FrozenTrial,
    folds: Sequence[Development],
    reported: dict[int, float],
    best: list[EpochResult],
) -> NDArray[np.float64]:
    """Return the difference of every number that the trial stored from the replay's."""
    pairs = [(trial.user_attrs[OBJECTIVE_NAME], mean_over_folds(best))]
    values = _fold_values(trial)
    pairs += zip(values, (result.relative_mse for result in best), strict=False)
    # Under the Wilcoxon pruner the steps are folds, whose values are compared already.
    if list(trial.intermediate_values.values()) != values:
        pairs += [
            (value, reported.get(epoch, np.inf))
            for epoch, value in trial.intermediate_values.items()
        ]
    storage = storage_of(study)
    if LOSSES_BY_ORIGIN in artifact_names(storage, trial):
        losses = assess_folds(folds, [result.forecasts for result in best]).losses
        pairs += zip(load_losses(storage, trial), losses, strict=True)
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
    reasons += [
        f"{name} was {version} when the study began, this is {versions()[name]}"
        for name, version in then.items()
        if versions().get(name) != version
    ]
    return tuple(reasons)
