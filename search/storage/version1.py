"""What version 1 left in studies: trials that its workers ran, retries, checkpoints.

Its workers took trials by tickets, and gave up those of a lost worker: the trial failed, and
another one repeated it.
"""

import io
import json
import platform
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState, create_trial

from foretune.datasets.common.errors import ConfigError
from foretune.search.storage.optuna_internals import FIXED_PARAMS, RETRY_HISTORY

_OWNER, _BEAT = "foretune:owner", "foretune:beat"
_GIVEN_UP, _REPEATS, _LOSSES = "foretune:given_up", "foretune:repeats", "foretune:losses"
_MOST_LOSSES = 3

# A worker of version 1 wrote a sign of life every ten seconds; after six missing ones it was lost.
_SIGN_OF_LIFE = 60.0


def is_retried(trial: FrozenTrial) -> bool:
    """Whether ``trial`` was a try that another trial repeats, or will: it counts nowhere."""
    return (
        trial.state == TrialState.FAIL
        and _GIVEN_UP in trial.system_attrs
        and _losses(trial) <= _MOST_LOSSES
    )


def was_running(trial: FrozenTrial) -> bool:
    """Whether a worker of version 1 has left ``trial`` running.

    Raises:
        ConfigError: that worker still seems to run it.
    """
    owner = trial.system_attrs.get(_OWNER)
    if trial.state != TrialState.RUNNING or owner is None:
        return False
    match owner, trial.system_attrs.get(_BEAT):
        case [str() as machine, int() as pid, _], [_, _, int() | float() as beaten]:
            gone = machine.split()[0] == platform.node() and not psutil.pid_exists(pid)
            if not gone and time.time() - beaten < _SIGN_OF_LIFE:
                raise ConfigError(
                    f"trial {trial.number} is still being run by process {pid} of host "
                    f"{machine.split()[0]}, a worker of version 1; stop that one first"
                )
    return True


def repeat_given_up_trials(study: optuna.Study) -> None:
    """Enqueue every trial that version 1 gave up and has not repeated yet."""
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.system_attrs.get(_REPEATS) for trial in trials}
    for trial in trials:
        known = {**(trial.system_attrs.get(FIXED_PARAMS) or {}), **trial.params}
        if is_retried(trial) and known and trial.number not in repeated:
            marks = {
                FIXED_PARAMS: known,
                RETRY_HISTORY: [*earlier_trials(trial), trial.number],
                _REPEATS: trial.number,
                _LOSSES: _losses(trial),
            }
            study.add_trial(create_trial(state=TrialState.WAITING, system_attrs=marks))


def earlier_trials(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the trials that ``trial`` repeats, the first one first."""
    numbers = trial.system_attrs.get(RETRY_HISTORY)
    if not isinstance(numbers, list):
        return []
    return [number for number in numbers if type(number) is int and 0 <= number < trial.number]


def _losses(trial: FrozenTrial) -> int:
    """Count the workers that a config was lost with; being interrupted is no loss."""
    earlier = trial.system_attrs.get(_LOSSES, 0)
    counted = earlier if type(earlier) is int else 0
    return counted + int(trial.system_attrs[_GIVEN_UP] != "interrupted")


def is_checkpoint(content: bytes) -> bool:
    """Whether ``content`` is a checkpoint as version 1 wrote them, a tar file."""
    return content[257:262] == b"ustar"


def read_checkpoint(content: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the document and the arrays of a checkpoint.

    Raises:
        ConfigError: it is damaged.
    """
    from foretune.models.forecaster.arrays import read_orbax

    with tempfile.TemporaryDirectory(prefix="foretune-") as scratch:
        folder = Path(scratch) / "checkpoint"
        try:
            with tarfile.open(fileobj=io.BytesIO(content)) as tar:
                tar.extractall(folder, filter="data")
        except tarfile.TarError as error:
            raise ConfigError(f"its checkpoint cannot be read: {error}") from None
        document = (folder / "checkpoint.json").read_text(encoding="utf-8")
        return json.loads(document), read_orbax(folder / "arrays")
