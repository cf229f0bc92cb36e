"""Snapshots that are damaged: a trial begins anew, whatever is wrong with its bytes."""

import io
import json

import numpy as np
import pytest

from foretune.datasets.common.errors import ConfigError
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
