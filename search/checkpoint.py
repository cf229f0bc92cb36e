"""Checkpoint: a trial between two epochs, as bytes that any worker can go on from."""

import io
import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foretune.datasets.checked_folder import check_folder, write_checked_folder
from foretune.datasets.errors import ConfigError
from foretune.datasets.splits import Development
from foretune.models.array_files import (
    Arrays,
    named_arrays,
    read_arrays,
    tree_of,
    write_arrays,
)
from foretune.models.config import TrialConfig
from foretune.models.device import device_name
from foretune.models.network import initial_params
from foretune.models.plateau import Plateau
from foretune.models.snapshot import Snapshot
from foretune.models.stacked import Architecture
from foretune.models.training import EpochResult, TrainingRun
from foretune.search.spec import versions

_DOCUMENT, _ARRAYS = "checkpoint.json", "arrays"

# Of an epoch's result, what is no array.
_NUMBERS = (
    "epoch",
    "train_loss",
    "relative_mse",
    "persistence_mse",
    "half_mse",
    "learning_rate",
    "is_best",
    "is_last",
)

NO_FORECASTS = np.empty((0, 0))


@dataclass(frozen=True)
class FoldCheckpoint:
    """One fold of a trial.

    ``history`` holds every epoch without its weights and forecasts, ``best`` the best one whole.
    """

    snapshot: Snapshot
    history: tuple[EpochResult, ...]
    best: EpochResult


@dataclass(frozen=True)
class Checkpoint:
    """A trial between two epochs.

    ``reported`` are the values that its pruner has seen, by step; ``folds`` those that were begun.
    """

    config: TrialConfig
    reported: Mapping[int, float]
    folds: Sequence[FoldCheckpoint]

    def to_bytes(self) -> bytes:
        """Return it as a tar file of a folder whose every byte is checked when it is read."""
        with tempfile.TemporaryDirectory(prefix="foretune-") as scratch:
            folder = Path(scratch) / "checkpoint"
            write_checked_folder(folder, self._write, required=[_DOCUMENT])
            content = io.BytesIO()
            with tarfile.open(fileobj=content, mode="w") as tar:
                tar.add(folder, arcname=".")
        return content.getvalue()

    @classmethod
    def from_bytes(
        cls, content: bytes, config: TrialConfig, folds: Sequence[Development]
    ) -> "Checkpoint":
        """Read what :meth:`to_bytes` wrote.

        Args:
            content: the tar file.
            config: what the trial trains, which gives the arrays their structure.
            folds: training and validation days of each fold.

        Raises:
            ConfigError: it is damaged, or of another config or other versions.
        """
        with tempfile.TemporaryDirectory(prefix="foretune-") as scratch:
            folder = Path(scratch) / "checkpoint"
            try:
                with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                    tar.extractall(folder, filter="data")
                document = json.loads(_checked(folder).read_text(encoding="utf-8"))
                _require_same(document, config)
                return _restored(document, read_arrays(folder / _ARRAYS), config, folds)
            except (tarfile.TarError, ValueError, KeyError, TypeError, OSError) as error:
                raise ConfigError(f"the checkpoint cannot be read: {error}") from None

    def _write(self, folder: Path) -> None:
        document = {
            "config": self.config.to_toml(),
            "made_by": _made_by(),
            "reported": list(self.reported.items()),
            "folds": [_fold_document(fold) for fold in self.folds],
        }
        (folder / _DOCUMENT).write_text(json.dumps(document), encoding="utf-8")
        arrays: Arrays = {}
        for number, fold in enumerate(self.folds):
            arrays |= named_arrays(fold.snapshot.state, f"{number}.state.")
            arrays |= named_arrays(fold.best.params, f"{number}.best.")
            arrays[f"{number}.forecasts"] = fold.best.forecasts
        write_arrays(folder / _ARRAYS, arrays)


def _checked(folder: Path) -> Path:
    return check_folder(folder, [_DOCUMENT]) / _DOCUMENT


def _require_same(document: dict[str, Any], config: TrialConfig) -> None:
    if document["config"] != config.to_toml():
        raise ConfigError("the checkpoint is of another config")
    if document["made_by"] != _made_by():
        raise ConfigError("the checkpoint is of another device or other versions")


def _made_by() -> dict[str, str]:
    """Return what the bits of a training depend on besides its config and data."""
    return {**versions(), "device": device_name()}


def _fold_document(fold: FoldCheckpoint) -> dict[str, Any]:
    return {
        "epochs": fold.snapshot.epochs,
        "finished": fold.snapshot.finished,
        "plateau": asdict(fold.snapshot.plateau),
        "history": [_numbers(result) for result in fold.history],
        "best": _numbers(fold.best),
    }


def _numbers(result: EpochResult) -> dict[str, Any]:
    return {name: getattr(result, name) for name in _NUMBERS}


def _restored(
    document: dict[str, Any], arrays: Arrays, config: TrialConfig, folds: Sequence[Development]
) -> Checkpoint:
    reported = {int(step): float(value) for step, value in document["reported"]}
    restored = [
        _restored_fold(fold, arrays, config, folds[number], f"{number}.")
        for number, fold in enumerate(document["folds"])
    ]
    return Checkpoint(config, reported, restored)


def _restored_fold(
    fold: dict[str, Any], arrays: Arrays, config: TrialConfig, data: Development, prefix: str
) -> FoldCheckpoint:
    first = TrainingRun(config, data).first_state()
    params = initial_params(Architecture.of(config), 0)
    snapshot = Snapshot(
        epochs=fold["epochs"],
        plateau=Plateau(**fold["plateau"]),
        finished=fold["finished"],
        state=tree_of(first, arrays, f"{prefix}state."),
    )
    history = [
        EpochResult(**numbers, forecasts=NO_FORECASTS, params={}) for numbers in fold["history"]
    ]
    best = EpochResult(
        **fold["best"],
        forecasts=arrays[f"{prefix}forecasts"],
        params=tree_of(params, arrays, f"{prefix}best."),
    )
    return FoldCheckpoint(snapshot, tuple(history), best)


def without_arrays(result: EpochResult) -> EpochResult:
    """Return an epoch's result without its weights and forecasts, which would fill the memory."""
    return replace(result, params={}, forecasts=NO_FORECASTS)
