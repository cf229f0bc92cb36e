"""A study's baselines on validation: what its trials have to beat, computed once a study."""

from collections.abc import Sequence
from dataclasses import dataclass

import optuna

from foretune.datasets.splits import DevelopmentData
from foretune.datasets.transforms import levels_of
from foretune.models.config import MetricName
from foretune.models.forecasts.baselines import baseline_changes
from foretune.models.forecasts.metrics import Assessment, Growth, assess_folds
from foretune.models.forecasts.ridge import Regressors, Ridge, choose_ridge
from foretune.search.study.losses import load_baseline_losses, save_baseline_losses
from foretune.search.study.spec import OBJECTIVE_NAME, study_metric

_ATTRIBUTE = "foretune_baselines"


@dataclass(frozen=True, eq=False, kw_only=True)
class AssessedBaselines:
    """Every baseline by name, assessed on validation; and the regression of each fold.

    ``changes`` are what they forecast, of each fold [S, O, H].
    """

    models: dict[str, Assessment]
    changes: dict[str, list[Growth]]
    ridges: tuple[Ridge, ...]


def assess_baselines(
    folds: Sequence[DevelopmentData], metric: MetricName = OBJECTIVE_NAME
) -> AssessedBaselines:
    """Fit every baseline to each fold, with the covariates of the data, and assess it."""
    last, splits = folds[-1], [fold.split for fold in folds]
    levels = levels_of(last.spaces, last.values)
    read = Regressors(levels=levels, past=last.past, future=last.future, firsts=last.firsts)
    ridges = choose_ridge(read, splits)
    changes = baseline_changes(
        levels,
        splits,
        seasonality=last.seasonality,
        past=last.past,
        future=last.future,
        close=None if last.close is None else levels_of(last.spaces, last.close),
        firsts=last.firsts,
        ridges=ridges,
    )
    models = {
        name: assess_folds(folds, forecasts, metric=metric) for name, forecasts in changes.items()
    }
    return AssessedBaselines(models=models, changes=changes, ridges=ridges)


def stored_baselines(
    study: optuna.Study, metric: MetricName = OBJECTIVE_NAME
) -> dict[str, dict[str, float]]:
    """Return the metrics that ``study`` stores of each baseline, by name; none of an older one.

    ``metric`` is among them.
    """
    document = study.user_attrs.get(_ATTRIBUTE)
    entries = document.items() if isinstance(document, dict) else ()
    return {
        name: metrics
        for name, metrics in entries
        if isinstance(metrics, dict) and isinstance(metrics.get(metric), float)
    }


def persistence_value(study: optuna.Study, metric: MetricName) -> float | None:
    """Return persistence's ``metric`` on validation; None where ``study`` stores none."""
    if metric == OBJECTIVE_NAME:
        return 1.0
    return stored_baselines(study, metric).get("persistence", {}).get(metric)


def best_baseline(study: optuna.Study, metric: MetricName) -> tuple[str, float] | None:
    """Return name and ``metric`` of the baseline that trials have to beat on validation.

    Persistence, where ``study`` stores no other; None where it stores none and that is not known.
    """
    values = {name: metrics[metric] for name, metrics in stored_baselines(study, metric).items()}
    if not values:
        persistence = persistence_value(study, metric)
        return None if persistence is None else ("persistence", persistence)
    name = min(values, key=lambda name: values[name])
    return name, values[name]


def keep_baselines(
    study: optuna.Study, folds: Sequence[DevelopmentData]
) -> dict[str, dict[str, float]]:
    """Return the metrics of each baseline.

    The first time they are computed, and stored with the losses that the verdict needs.
    """
    metric = study_metric(study)
    found = stored_baselines(study, metric)
    if not found or not load_baseline_losses(study):
        models = assess_baselines(folds, metric).models
        found = {name: model.metrics.known() for name, model in models.items()}
        save_baseline_losses(study, {name: model.losses for name, model in models.items()})
        study.set_user_attr(_ATTRIBUTE, found)
    return found
