"""The device that trains: its name, which a trial stores so that a replay can compare."""

import contextlib
import hashlib
import platform
import re
from functools import cache
from pathlib import Path

import jax


@cache
def device_name() -> str:
    """Return what trains here, such as "cpu AMD EPYC 7B13 (3f2a90c1)".

    The number in brackets stands for the instructions that a CPU knows: the same model can have
    some of them turned off, and different instructions round differently.
    """
    first = jax.devices()[0]
    if first.platform != "cpu":
        return f"{first.platform} {first.device_kind}"
    described = cpu_description()
    model = re.search(r"^model name\s*:\s*(.+)$", described, re.MULTILINE)
    name = model[1] if model else platform.machine()
    return f"cpu {name} ({hashlib.sha256(described.encode()).hexdigest()[:8]})"


def cpu_description() -> str:
    """Describe what native code depends on: the CPU's model and the instructions it knows."""
    known = {platform.machine(), platform.processor()}
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n"):
            if line.startswith(("model name", "flags", "Features")):
                known.add(line)
    return "\n".join(sorted(known))
