"""Snapshots of long trials: arrays and JSON in the study's own database, never a pickle."""

import io
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import Trial

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.models.config import TrialConfig
from foretune.models.training.plateau import Plateau
from foretune.models.training.results import NO_FORECASTS, EpochResult, FoldProgress, Snapshot
from foretune.search.storage import version1
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.optuna_internals import study_id, trial_at_start, trial_id

# They are not artifacts of the trial: their ids are announced nowhere, and the dashboard does not
# show them.
_NAMESPACE = uuid.UUID("5a3c2d0e-0c55-4a53-9a0b-d7a1f1f7f0c4")

_DOCUMENT = "document"

# What reading damaged bytes may raise.
_UNREADABLE = (ValueError, KeyError, TypeError, OSError, EOFError, RecursionError, BadZipFile)

_NUMBERS = [f.name for f in fields(EpochResult) if f.name not in ("forecasts", "params")]


@dataclass(frozen=True)
class TrialSnapshot:
    """A trial between two epochs.

    ``folds`` are where its training continues; ``history`` holds every epoch of each of them,
    ``best`` the best one with its forecasts.
    """

    config: TrialConfig
    folds: tuple[FoldProgress, ...]
    history: Sequence[Sequence[EpochResult]]
    best: Sequence[EpochResult]

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return max(fold.snapshot.epochs for fold in self.folds)

    def to_bytes(self) -> bytes:
        """Return it as an ``.npz`` file with a JSON document in it."""
        document = {
            "config": self.config.to_toml(),
            "folds": [
                {
                    "epochs": fold.snapshot.epochs,
                    "finished": fold.snapshot.finished,
                    "plateau": asdict(fold.snapshot.plateau),
                    "history": [_numbers(result) for result in history],
                    "best": _numbers(best),
                }
                for fold, history, best in zip(self.folds, self.history, self.best, strict=True)
            ],
        }
        arrays: dict[str, Any] = {_DOCUMENT: np.frombuffer(json.dumps(document).encode(), np.uint8)}
        for number, (fold, best) in enumerate(zip(self.folds, self.best, strict=True)):
            arrays |= {f"{number}.state.{k}": array for k, array in fold.snapshot.arrays.items()}
            # Of one series [O, H], as in the first version.
            one = len(best.forecasts) == 1
            arrays[f"{number}.forecasts"] = best.forecasts[0] if one else best.forecasts
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "TrialSnapshot":
        """Read what :meth:`to_bytes` wrote, or a checkpoint of version 1.

        Raises:
            ConfigError: it is damaged.
        """
        try:
            if version1.is_checkpoint(content):
                document, arrays = version1.read_checkpoint(content)
            else:
                with np.load(io.BytesIO(content), allow_pickle=False) as file:
                    arrays = dict(file.items())
                document = json.loads(arrays.pop(_DOCUMENT).tobytes())
            config = TrialConfig.from_toml(document["config"])
            rows = [_fold(fold, arrays, f"{n}.") for n, fold in enumerate(document["folds"])]
            return cls(config, *(tuple(column) for column in zip(*rows, strict=True)))
        except _UNREADABLE as error:
            raise ConfigError(f"its snapshot cannot be read: {error}") from None


def _numbers(result: EpochResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in _NUMBERS}


def _fold(
    fold: dict[str, Any], arrays: Mapping[str, Any], prefix: str
) -> tuple[FoldProgress, list[EpochResult], EpochResult]:
    state = f"{prefix}state."
    snapshot = Snapshot(
        epochs=fold["epochs"],
        plateau=Plateau(**fold["plateau"]),
        finished=fold["finished"],
        arrays={n.removeprefix(state): a for n, a in arrays.items() if n.startswith(state)},
    )
    history = [_result(numbers, NO_FORECASTS) for numbers in fold["history"]]
    forecasts = arrays[f"{prefix}forecasts"]
    forecasts = forecasts.reshape(-1, *forecasts.shape[-2:])
    best = _result(fold["best"], forecasts)
    return FoldProgress(snapshot, best.without_arrays()), history, best


def _result(numbers: dict[str, Any], forecasts: NDArray[np.float64]) -> EpochResult:
    """Return an epoch; an older snapshot knows no value but the relative MSE."""
    numbers = {"value": numbers["relative_mse"]} | numbers
    return EpochResult(**numbers, forecasts=forecasts, params={})


def save_snapshot(trial: Trial, snapshot: TrialSnapshot) -> None:
    """Store the latest snapshot of ``trial``."""
    artifact_store(trial.storage).write_all({_snapshot_ids(trial)[0]: snapshot.to_bytes()})


def load_snapshot(trial: Trial, config: TrialConfig) -> TrialSnapshot | None:
    """Return the latest snapshot of ``trial``, or of the trials that it repeats; None without one.

    One that cannot be read is reported, and the trial starts over.
    """
    store = artifact_store(trial.storage)
    for artifact_id in _snapshot_ids(trial):
        try:
            snapshot = TrialSnapshot.from_bytes(store.open_reader(artifact_id).read())
        except ArtifactNotFound:
            continue
        except ForetuneError as error:
            print(
                f"foretune: trial {trial.number} starts over: {error}",
                file=sys.stderr,
            )
            return None
        if snapshot.config == config:
            return snapshot
    return None


def remove_snapshots(trial: Trial) -> None:
    """Remove the snapshots of ``trial``, and of the trials that it repeats."""
    artifact_store(trial.storage).remove_all(_snapshot_ids(trial))


def _snapshot_ids(trial: Trial) -> list[str]:
    storage, study = trial.storage, study_id(trial.study)
    ids = [trial_id(trial)]
    for number in reversed(version1.earlier_trials(trial_at_start(trial))):
        ids.append(storage.get_trial_id_from_study_id_trial_number(study, number))
    return [str(uuid.uuid5(_NAMESPACE, f"trial/{number}")) for number in ids]
