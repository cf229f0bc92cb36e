"""Snapshots: what is stored, and that a trial begins anew, whatever is wrong with its bytes."""

import io
import json
from typing import Any

import numpy as np
import pytest

from foretune.datasets.common.errors import ConfigError
from foretune.models.config import TrialConfig
from foretune.models.training.plateau import Plateau
from foretune.models.training.results import EpochResult, FoldProgress, Snapshot
from foretune.search.trial.snapshots import TrialSnapshot


def npz(document: str) -> bytes:
    written = io.BytesIO()
    np.savez(written, document=np.frombuffer(document.encode(), np.uint8))
    return written.getvalue()


DAMAGED = {
    "empty": b"",
    "noise": bytes(range(256)) * 4,
    "half of it": npz(json.dumps({"config": "", "folds": []}))[:-30],
    "a zip file's beginning alone": b"PK\x03\x04" + bytes(100),
    "no document": npz("{}"),
    "deep JSON": npz("[" * 100_000),
    "another document": npz(json.dumps({"config": "", "folds": [{}]})),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_damaged_bytes_are_refused(what: str) -> None:
    with pytest.raises(ConfigError):
        TrialSnapshot.from_bytes(DAMAGED[what])


def epoch(forecasts: Any) -> EpochResult:
    return EpochResult(
        epoch=1,
        train_loss=0.5,
        value=0.7,
        relative_mse=1.0,
        persistence_mse=0.1,
        half_mse=0.2,
        learning_rate=0.01,
        is_best=True,
        is_last=False,
        forecasts=forecasts,
        params={},
    )


def snapshot_of(best: EpochResult) -> TrialSnapshot:
    config = TrialConfig()
    snapshot = Snapshot(
        epochs=1, plateau=Plateau.start(config), finished=False, arrays={"cursors": np.arange(3)}
    )
    at = FoldProgress(snapshot, best.without_arrays())
    return TrialSnapshot(config, (at,), [[best]], [best])


@pytest.mark.parametrize("series", [1, 2])
def test_forecasts_of_one_series_are_stored_as_in_the_first_version(series: int) -> None:
    forecasts = np.random.default_rng(0).normal(size=(series, 4, 3))
    content = snapshot_of(epoch(forecasts)).to_bytes()
    with np.load(io.BytesIO(content)) as file:
        assert file["0.forecasts"].shape == ((4, 3) if series == 1 else (2, 4, 3))
    (read,) = TrialSnapshot.from_bytes(content).best
    np.testing.assert_array_equal(read.forecasts, forecasts)


def test_an_older_snapshot_knows_no_value_but_the_relative_mse() -> None:
    content = snapshot_of(epoch(np.zeros((1, 4, 3)))).to_bytes()
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file.items())
    document = json.loads(arrays["document"].tobytes())
    (fold,) = document["folds"]
    for numbers in (fold["best"], *fold["history"]):
        assert numbers.pop("value") == 0.7
    older = io.BytesIO()
    arrays["document"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    np.savez(older, **arrays)
    for written, value in ((content, 0.7), (older.getvalue(), 1.0)):
        read = TrialSnapshot.from_bytes(written)
        assert [result.value for result in (*read.best, *read.history[0])] == [value] * 2
