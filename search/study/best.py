"""The best trial's config: get it, save it with where it came from."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import tomli_w
from optuna.trial import FrozenTrial

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.common.files import write_atomically
from foretune.datasets.sources.load import is_download
from foretune.models.config import MetricName, TrialConfig
from foretune.search.study.best_file import BestDocument, PartsTable, PricesTable, ResultTable
from foretune.search.study.data import StudyData, held_data, study_data
from foretune.search.study.spec import OBJECTIVE_NAME, StudySpec


def best_so_far(study: optuna.Study) -> FrozenTrial | None:
    """Return the best complete trial, or None before there is one."""
    try:
        return study.best_trial
    except ValueError:
        return None


def best_trial(study: optuna.Study) -> FrozenTrial:
    """Return the complete trial with the lowest value.

    Raises:
        ConfigError: no trial is complete.
    """
    if len(study.directions) > 1:
        raise ConfigError(
            f"study {study.study_name!r} must have one objective, but got {len(study.directions)}"
        )
    best = best_so_far(study)
    if best is None:
        raise ConfigError(
            f"study {study.study_name!r} must have a complete trial, but got none among its "
            f"{len(study.get_trials(deepcopy=False))} trials"
        )
    return best


def rank(trial: FrozenTrial) -> tuple[float, int]:
    """Return what complete trials are sorted by: value, then number."""
    assert trial.value is not None  # a complete trial has one
    return trial.value, trial.number


def trial_config(trial: FrozenTrial) -> TrialConfig:
    """Return the config that ``trial`` trained.

    Raises:
        ConfigError: the trial stores none.
    """
    text = trial.user_attrs.get("config")
    if text is None:
        raise ConfigError(f"trial {trial.number} must store a config, but got none")
    if not isinstance(text, str):
        raise ConfigError(f"config of trial {trial.number} must be TOML, but is {text!r:.100}")
    try:
        return TrialConfig.from_toml(text)
    except ConfigError as error:
        raise ConfigError(f"config of trial {trial.number}: {error}") from None


@contextmanager
def errors_naming(study: optuna.Study) -> Iterator[None]:
    """Name ``study`` in errors about a trial, which does not know its study."""
    try:
        yield
    except ForetuneError as error:
        raise type(error)(f"study {study.study_name!r}: {error}") from None


def best_config(study: optuna.Study) -> TrialConfig:
    """Return the config of the study's best trial.

    Raises:
        ConfigError: no trial is complete.

    Example:
        >>> best_config(study).save("config.toml")
    """
    trial = best_trial(study)
    with errors_naming(study):
        return trial_config(trial)


def save_best(
    study: optuna.Study, path: str | os.PathLike[str], data: Any = None, *, prices: Any = None
) -> FrozenTrial:
    """Write ``best.toml``: the config, its result, and the data, split and versions behind it.

    ``TrialConfig.load`` reads the config back, :class:`BestDocument` all of it.

    Args:
        study: a study with a complete trial. One that foretune did not make knows nothing of its
            data, and the document holds only the config and its result.
        path: the file.
        data: the study's data, for the times at which the parts begin and end; None for those that
            the study holds, or knows the place of. Where they are not, those times are left out.
        prices: the same, as ``data`` was first called.

    Returns:
        The trial.

    Raises:
        ConfigError: no trial is complete, or the file cannot be written.

    Example:
        >>> save_best(study, "best.toml").number
        7
    """
    trial = best_trial(study)
    spec = StudySpec.stored(study)
    with errors_naming(study):
        # A trial of an Objective that Optuna itself ran says what its value is.
        metric = spec.metric if spec else trial.user_attrs.get("metric", OBJECTIVE_NAME)
        config, result = trial_config(trial), _result(study, trial, metric)
    if spec is None:
        tables = {"config": config, "result": result}
        text = tomli_w.dumps(
            {name: table.model_dump(exclude_none=True) for name, table in tables.items()}
        )
    else:
        data = prices if data is None else data
        held = _data_if_here(study, spec) if data is None else study_data(study, data)
        parts = None if held is None else PartsTable.of(held.time, spec.whole_split)
        text = BestDocument(
            config=config,
            result=result,
            prices=PricesTable(**spec.prices.model_dump()),
            split=spec.split,
            parts=parts,
            seed=spec.seed,
            versions=spec.versions,
        ).to_toml()
    write_atomically(path, text)
    return trial


def _result(study: optuna.Study, trial: FrozenTrial, metric: MetricName) -> ResultTable:
    is_relative = metric == OBJECTIVE_NAME
    for name in ("best_epoch", *[OBJECTIVE_NAME] * (not is_relative)):
        if name not in trial.user_attrs:
            raise ConfigError(f"trial {trial.number} must store a {name}, but got none")
    assert trial.value is not None  # a complete trial has one
    try:
        return ResultTable(
            study=study.study_name,
            trial=trial.number,
            relative_mse=trial.value if is_relative else trial.user_attrs[OBJECTIVE_NAME],
            metric=metric,
            value=None if is_relative else trial.value,
            best_epoch=trial.user_attrs["best_epoch"],
        )
    except ConfigError as error:
        raise ConfigError(f"trial {trial.number}: {error}") from None


def _data_if_here(study: optuna.Study, spec: StudySpec) -> StudyData | None:
    """Return the study's data if they are here; nothing is downloaded."""
    if (held := held_data(study)) is not None or is_download(spec.prices.source):
        return held
    try:
        return study_data(study)
    except ForetuneError:
        return None
