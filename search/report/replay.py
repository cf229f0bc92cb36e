"""Stored trials, trained again: the best ones, and a replay that compares every number."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecasts.metrics import Growth, assess_folds
from foretune.models.forecasts.skip import LinearSkip
from foretune.models.runtime.device import device_name
from foretune.models.runtime.versions import versions
from foretune.models.training.folds import FoldsTraining
from foretune.models.training.results import EpochResult, NonFiniteLossError, mean_over_folds
from foretune.search.storage.artifacts import artifact_names
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.study.best import errors_naming, rank, trial_config
from foretune.search.study.data import study_data
from foretune.search.study.losses import LOSSES_BY_ORIGIN, load_losses
from foretune.search.study.spec import OBJECTIVE_NAME, required_spec
from foretune.search.study.trials import fold_values, steps_are_folds, stored_number
from foretune.search.trial.record import OnEpoch


@dataclass(frozen=True, eq=False, kw_only=True)
class RetrainedTrial:
    """One trial's config, trained again.

    ``reported`` are the values by epoch, ``best`` is the best epoch of each fold; the last fold's
    trained on the most rows. Where the config has a linear skip, ``first`` are the epochs 0, of the
    regression alone, and ``skip`` is that of the last fold; else there are none.
    """

    trial: FrozenTrial
    config: TrialConfig
    reported: dict[int, float]
    best: tuple[EpochResult, ...]
    first: tuple[EpochResult, ...]
    skip: LinearSkip | None

    @property
    def value(self) -> float:
        """The study's metric, as a mean over the folds at the best epoch."""
        return mean_over_folds(self.best)

    @property
    def relative_mse(self) -> float:
        """Mean over the folds at the best epoch."""
        return float(np.mean([best.relative_mse for best in self.best]))

    @property
    def forecasts(self) -> list[Growth]:
        """Each fold's validation forecasts, changes [S, O, H], at its best epoch."""
        return [result.forecasts for result in self.best]

    @property
    def is_same(self) -> bool:
        """Whether training it again gave the trial's value to the last bit."""
        return self.value == self.trial.value


def retrain(
    trial: FrozenTrial,
    folds: Sequence[DevelopmentData],
    on_epoch: OnEpoch | None = None,
    *,
    shared_epoch: bool,
    metric: MetricName = OBJECTIVE_NAME,
    epochs: float | None = None,
) -> RetrainedTrial:
    """Train the config of ``trial`` again.

    Args:
        trial: a stored trial.
        folds: the rows it was trained on.
        on_epoch: called with (trial number, config, results) after every epoch.
        shared_epoch: whether the folds share one best epoch; that is in the study's spec.
        metric: what a trial's value is; that is there too.
        epochs: after how many to stop, for a trial that was stopped; None for its config's.

    Raises:
        ConfigError: a loss is not finite, unlike when the trial was stored.
    """
    config, reported = trial_config(trial), dict[int, float]()
    best: dict[int, EpochResult] = {}
    first: tuple[EpochResult, ...] = ()
    try:
        training = FoldsTraining(config, folds, shared_epoch=shared_epoch, metric=metric)
        for results in training:
            reported[results.epoch] = results.value
            first = results.folds if results.epoch == 0 else first
            best |= {n: result for n, result in enumerate(results.folds) if result.is_best}
            if on_epoch is not None:
                on_epoch(trial.number, config, results)
            if epochs is not None and results.epoch >= epochs:
                break
    except NonFiniteLossError as error:
        raise ConfigError(f"trial {trial.number} cannot be trained again: {error}") from None
    return RetrainedTrial(
        trial=trial,
        config=config,
        reported=reported,
        best=tuple(best.values()),
        first=first,
        skip=training.skips[-1],
    )


def best_distinct(trials: Iterable[FrozenTrial], count: int) -> list[FrozenTrial]:
    """Return the best of completed trials, at most ``count``, no two of one config; best first."""
    chosen: dict[TrialConfig, FrozenTrial] = {}
    for trial in sorted(trials, key=rank):
        chosen.setdefault(trial_config(trial), trial)
    return list(chosen.values())[:count]


def ensemble(forecasts: Iterable[Sequence[Growth]]) -> list[Growth]:
    """Return the mean over members of their forecasts, fold by fold.

    Args:
        forecasts: for each member, log growth [O, H] of each fold.

    Example:
        >>> ensemble(trial.forecasts for trial in retrained)
    """
    return [np.mean(fold, axis=0) for fold in zip(*forecasts, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """A stored trial beside its replay.

    ``stored`` and ``replayed`` are its values of ``metric``. ``difference`` is the largest between
    any two numbers that both have: values reported by epoch, and losses by origin; 0.0 means that
    every bit is the same. ``compared`` counts them. ``reasons`` say what has changed since.
    """

    trial: int
    stored: float
    replayed: float
    difference: float
    compared: int
    reasons: tuple[str, ...]
    metric: MetricName = OBJECTIVE_NAME

    @property
    def is_identical(self) -> bool:
        """Whether every number came out identical to the last bit."""
        return self.difference == 0

    def __str__(self) -> str:
        """Return the outcome in words."""
        if self.is_identical:
            return (
                f"trial {self.trial} is bit-identical: {self.metric} {self.replayed!r}, "
                f"{self.compared} numbers compared"
            )
        reasons = "; ".join(self.reasons) or "none found: device, versions and lanes are the same"
        return (
            f"trial {self.trial} differs: {self.metric} {self.replayed!r}, stored "
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
        data: the data that the study was run on, as :func:`run_study` took them; None for those
            that the study holds, or knows the place of.
        prices: the same, as ``data`` was first called.
        on_epoch: called with (trial number, config, results) after every epoch.

    Raises:
        ConfigError: there is no such trial, it stores no result, or these are other data.

    Example:
        >>> print(replay(study, 3, load_sample("sp500")))
    """
    held = study_data(study, data if prices is None else prices)
    spec = required_spec(study)
    trial, stored = _finished_trial(study, number, spec.metric)
    folds = spec.development(held.development)
    # A trial that version 0.1 pruned between two folds has seen only the first ones.
    of_folds = fold_values(trial)
    folds = folds[: len(of_folds)] or folds
    with errors_naming(study):
        losses = None  # those that are damaged are refused before anything trains
        if LOSSES_BY_ORIGIN in artifact_names(storage_of(study), trial):
            origins = sum(len(fold.split.validation_origins) for fold in folds)
            (losses,) = load_losses(storage_of(study), trial, "loss", origins=origins)
        again = retrain(
            trial,
            folds,
            on_epoch,
            shared_epoch=spec.split.shared_epoch,
            metric=spec.metric,
            epochs=stored_number(trial, "epochs"),
        )
    pairs = [(stored, again.value)]
    pairs += zip(of_folds, (best.relative_mse for best in again.best), strict=False)
    if not steps_are_folds(trial):
        steps = trial.intermediate_values.items()
        pairs += ((value, again.reported.get(epoch, np.inf)) for epoch, value in steps)
    if losses is not None:
        assessed = assess_folds(folds, again.forecasts, metric=spec.metric)
        pairs += zip(losses, assessed.losses, strict=True)
    differences = [abs(before - after) for before, after in pairs]
    return Replay(
        trial=number,
        stored=stored,
        replayed=again.value,
        metric=spec.metric,
        difference=float(np.max(differences)),
        compared=len(differences),
        reasons=_reasons(trial, spec.versions),
    )


def _finished_trial(
    study: optuna.Study, number: int, metric: MetricName
) -> tuple[FrozenTrial, float]:
    """Return the trial of a number, with the value that it stores."""
    trials = study.get_trials(deepcopy=False)
    if not 0 <= number < len(trials):
        raise ConfigError(
            f"trial must be a number from 0 to {len(trials) - 1}, but got {number}"
            if trials
            else f"study {study.study_name!r} must have trials, but has none"
        )
    trial = trials[number]
    value = stored_number(trial, metric)
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or value is None:
        raise ConfigError(
            f"trial must be one with a result, but {number} is {trial.state.name.lower()}: "
            f"{_why_without(trial, metric)}"
        )
    return trial, value


def _why_without(trial: FrozenTrial, metric: MetricName) -> str:
    """Say why a trial has no result to compare with."""
    if not trial.state.is_finished():
        return "it has not ended"
    if trial.state == TrialState.FAIL:
        return str(trial.user_attrs.get("error", "no reason is stored"))
    if metric in trial.user_attrs:
        return f"its {metric} is {trial.user_attrs[metric]!r:.100}, not a number"
    return f"it stored no {metric}"


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
