"""Which device each worker trains on, and that the driver takes none."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foretune.datasets.common.errors import ConfigError
from foretune.search.engine import devices
from foretune.search.engine.devices import Devices, find_devices, slot_environments

HERE = Path(__file__).parent

# What Python runs first, in the driver and in its workers: it notes what their environment holds
# when JAX is imported.
NOTING = """
import json, os, sys

class Noting:
    def find_spec(self, name, path=None, target=None):
        if name == "jax":
            with open(os.environ["NOTES"], "a") as file:
                print(json.dumps([os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")]), file=file)

sys.meta_path.insert(0, Noting())
"""

# A driver whose machine has so many devices, as it believes.
DRIVER = """
import json, os, sys
sys.path[:0] = {paths}
import optuna
import foretune.search.run as study
from foretune.search.engine.devices import Devices
from real_processes import SureStudy

class AllAtOnce(study.LokySlots):
    def ready(self):
        found = super().ready()
        return found if len(found) == {count} else []

study.find_devices = lambda: Devices("cuda", tuple({ids}))
study.LokySlots = AllAtOnce
done = SureStudy({count}, 4, 5).run(optuna.storages.InMemoryStorage(), lanes=1)
from jax._src import xla_bridge
devices = [trial.user_attrs["device"] for trial in done.trials]
print(json.dumps([os.getpid(), xla_bridge.backends_are_initialized(), devices]))
"""


@pytest.mark.parametrize("count", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_every_worker_has_a_device_of_its_own_and_the_driver_none(
    tmp_path: Path, count: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(NOTING)
    ids = [f"MIG-{number}" for number in range(count)]
    code = DRIVER.format(paths=[str(HERE), str(HERE.parents[1])], ids=ids, count=count)
    notes = tmp_path / "notes"
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path, "NOTES": str(notes)}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    driver, has_backend, trained_on = json.loads(done.stdout)
    assert not has_backend
    assert len(trained_on) == count
    assert all(name.startswith("cpu ") for name in trained_on)  # it comes from the worker
    found = dict(map(json.loads, notes.read_text().splitlines()))
    assert found.pop(driver, None) is None
    assert sorted(found.values()) == ids


@pytest.fixture
def cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with JAX's CUDA plugin and two devices, of which NVIDIA's program knows."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf 'GPU-a\\nGPU-b\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(devices, "find_spec", lambda name: name == "jax_cuda12_plugin" or None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, ("GPU-a", "GPU-b")),
        ("1", ("1",)),
        ("0, 3", ("0", "3")),
        ("MIG-1c1f,MIG-22ab", ("MIG-1c1f", "MIG-22ab")),
        ("GPU-b", ("GPU-b",)),
        ("2,-1,3", ("2",)),  # CUDA reads up to the first one that cannot be
        ("-1", ()),
        ("", ()),
    ],
)
def test_an_inherited_choice_of_devices_is_respected(
    visible: str | None, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = find_devices()
    assert found.ids == expected
    assert found.kind == ("cuda" if expected else "cpu")
    if expected:
        names = [each["CUDA_VISIBLE_DEVICES"] for each in slot_environments(found, None)]
        assert names == list(expected)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize(
    ("platforms", "kind"),
    [("cpu", "cpu"), ("cpu,cuda", "cpu"), ("cuda", "cuda"), ("cuda,cpu", "cuda"), ("gpu", "cuda")],
)
def test_jax_s_own_choice_is_respected(
    platforms: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It trains on the first platform of its list."""
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    found = find_devices()
    assert (found.kind, found.lanes) == (kind, {"cpu": 1, "cuda": 16}[kind])


@pytest.mark.usefixtures("cuda")
def test_without_nvidia_s_program_there_is_no_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert find_devices() == Devices("cpu", ())


def test_more_workers_than_devices_is_one_line() -> None:
    with pytest.raises(ConfigError) as refused:
        slot_environments(Devices("cuda", ("0", "1")), 3)
    assert str(refused.value) == (
        "workers must be at most 2, one a device, but got 3; lanes train several trials at a time "
        "on one device"
    )


def own_settings(environment: dict[str, Any]) -> tuple[Any, ...]:
    return environment.get("NPROC"), environment.get("CUDA_VISIBLE_DEVICES")


def test_on_a_cpu_a_worker_has_one_thread_and_on_a_device_the_others_too() -> None:
    assert own_settings(slot_environments(Devices("cpu", ()), 1)[0]) == ("1", None)
    assert own_settings(slot_environments(Devices("cuda", ("7",)), 1)[0]) == (None, "7")
