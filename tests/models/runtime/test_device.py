"""Names of devices: the same in every process, another one where numbers can be others."""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest

from foretune.models.runtime.device import device_name

PRINT_NAME = "from foretune.models.runtime.device import device_name; print(device_name())"


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], str]:
    """Returns what a CPU is called where /proc/cpuinfo has a given text, or is not there."""

    def name(described: str | None) -> str:
        def read_text(path: Path, **_: str) -> str:
            assert str(path) == "/proc/cpuinfo"
            if described is None:
                raise FileNotFoundError(path)
            return described

        cpu = SimpleNamespace(platform="cpu", device_kind="cpu")
        with monkeypatch.context() as patched:
            patched.setattr(jax, "devices", lambda: [cpu])
            patched.setattr(Path, "read_text", read_text)
            return device_name.__wrapped__()

    return name


def cpuinfo(model: str = "Example 9000", flags: str = "fpu sse avx", mhz: float = 2250.0) -> str:
    """Two processors, as Linux describes them."""
    return "".join(
        f"processor\t: {number}\nmodel name\t: {model}\ncpu MHz\t\t: {mhz + number}\n"
        f"flags\t\t: {flags}\nbogomips\t: 4500.00\n\n"
        for number in range(2)
    )


def test_it_says_the_platform() -> None:
    name = device_name()
    assert name.split()[0] == jax.devices()[0].platform
    assert name == name.strip()
    assert len(name.splitlines()) == 1


def test_it_is_the_same_in_another_process() -> None:
    # With another order of sets: the number must not depend on it.
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        printed = subprocess.run(
            [sys.executable, "-c", PRINT_NAME],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        ).stdout
        assert printed == device_name() + "\n"


def test_a_cpu_is_called_by_its_model_and_its_instructions(
    named: Callable[[str | None], str],
) -> None:
    name = named(cpuinfo())
    assert re.fullmatch(r"cpu Example 9000 \([0-9a-f]{8}\)", name)
    assert named(cpuinfo(mhz=3100.5)) == name
    fewer = named(cpuinfo(flags="fpu sse"))
    assert re.fullmatch(r"cpu Example 9000 \([0-9a-f]{8}\)", fewer)
    assert fewer != name
    # Arm has no model name there, and another word for its instructions.
    arm = [
        named(f"processor\t: 0\nFeatures\t: {features}\n") for features in ("fp asimd", "fp sve")
    ]
    assert arm[0] != arm[1]
    for nameless in (*arm, named(None)):
        machine = re.escape(platform.machine())
        assert re.fullmatch(rf"cpu {machine} \([0-9a-f]{{8}}\)", nameless)


def test_an_accelerator_is_called_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(platform="gpu", device_kind="NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(jax, "devices", lambda: [fake])
    assert device_name.__wrapped__() == "gpu NVIDIA H100 80GB HBM3"
