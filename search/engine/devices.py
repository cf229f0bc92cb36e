"""What there is to train on, found without starting JAX: a driver must not take a GPU's memory."""

import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import loky

from foretune.datasets.common.errors import ConfigError
from foretune.models.training.tasks import XLA_ONE_THREAD

# Lanes of a worker on an accelerator. On a CPU, batched small products run one after another.
_LANES = 16

# NumPy's thread pools are told before they are made.
_NUMPY_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

# A worker that has grown by this many bytes is replaced: every compiled shape leaves some behind.
_GROWTH = {"LOKY_MAX_MEMORY_LEAK_SIZE": str(2**30)}


class Devices(NamedTuple):
    """The accelerators of this machine that JAX would use; none stands for its CPU."""

    kind: str
    ids: tuple[str, ...]

    @property
    def lanes(self) -> int:
        """How many trials a worker trains at a time by default."""
        return 1 if self.kind == "cpu" else _LANES


def find_devices() -> Devices:
    """Return what JAX would train on here.

    ``CUDA_VISIBLE_DEVICES`` is respected, with indices, UUIDs or MIG ids. A TPU host is one device:
    one process drives all of its chips.
    """
    wanted = os.environ.get("JAX_PLATFORMS", "").split(",")[0]  # of several JAX uses the first
    has_tpu = find_spec("libtpu") is not None and any(Path("/dev").glob("accel*"))
    if has_tpu and wanted in ("", "tpu"):
        return Devices("tpu", ("all",))
    has_cuda = any(find_spec(f"jax_cuda{version}_plugin") for version in (12, 13))
    if has_cuda and wanted in ("", "cuda", "gpu"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        ids: Iterable[str] = ()
        if visible is not None:
            # CUDA reads the list up to the first invalid entry, such as -1.
            names = map(str.strip, visible.split(","))
            ids = takewhile(lambda name: name and not name.startswith("-"), names)
        else:
            query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
            with suppress(OSError, subprocess.SubprocessError):
                ids = subprocess.run(
                    query, capture_output=True, text=True, check=True, timeout=60
                ).stdout.split()
        if found := tuple(ids):
            return Devices("cuda", found)
    return Devices("cpu", ())


def usable_cores() -> int:
    """Return how many cores this process may use; a container's share of its machine's counts."""
    return int(loky.cpu_count())


def slot_environments(devices: Devices, workers: int | None) -> list[dict[str, str]]:
    """Return what each worker of this machine finds in its environment: its device, its threads.

    Args:
        devices: what there is to train on.
        workers: how many; None for one a device, or one a core.

    Raises:
        ConfigError: more workers than devices.

    Example:
        >>> slot_environments(Devices("cuda", ("0", "1")), None)[1]["CUDA_VISIBLE_DEVICES"]
        '1'
    """
    if devices.kind == "cpu":
        own = XLA_ONE_THREAD | _NUMPY_ONE_THREAD | _GROWTH
        return [own for _ in range(workers or usable_cores())]
    count = len(devices.ids) if workers is None else workers
    if count > len(devices.ids):
        raise ConfigError(
            f"workers must be at most {len(devices.ids)}, one a device, but got {count}; lanes "
            "train several trials at a time on one device"
        )
    names = [{"CUDA_VISIBLE_DEVICES": i} if devices.kind == "cuda" else {} for i in devices.ids]
    return [name | _NUMPY_ONE_THREAD | _GROWTH for name in names[:count]]
