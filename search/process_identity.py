"""Which process of which machine: to know a worker again, and whether it still lives."""

import os
import platform
import uuid
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PIDS = Path("/proc/self/ns/pid")


class ProcessIdentity(NamedTuple):
    """A process, told apart from every other of any machine at any time.

    ``machine`` names what hands out the process numbers: the host, its boot, and the container.
    """

    machine: str
    pid: int
    started: str

    @classmethod
    def mine(cls) -> Self:
        """Return this process."""
        return cls(_machine(), os.getpid(), _started(os.getpid()) or "unknown")

    @classmethod
    def read(cls, stored: object) -> Self | None:
        """Return what was stored as a list; None if it is no such list."""
        if isinstance(stored, list) and [type(part) for part in stored] == [str, int, str]:
            return cls(*stored)
        return None

    def is_gone(self) -> bool:
        """Whether it was a process of this machine that has ended; False where nobody can tell."""
        if self.machine != _machine() or os.name == "nt":  # on Windows, signal 0 would end it
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except OSError:
            pass  # another user's
        # A number is given again after a while; a process that started at another time is another.
        # A system that hides it says nothing.
        started = _started(self.pid)
        return started is not None and started != self.started


@cache
def _machine() -> str:
    parts = [platform.node()]
    if _BOOT.exists():
        parts.append(_BOOT.read_text().strip())
    else:
        parts.append(f"{uuid.getnode():x}")  # two machines may have one name
    if _PIDS.exists():
        parts.append(str(_PIDS.stat().st_ino))
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """Return when a process started, in ticks since the boot; None where the system has no say.

    One that has ended and that nobody has waited for did not start at all.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field is the program's name in parentheses, which may hold anything.
    fields = status.rpartition(")")[2].split()
    state, started = fields[0], fields[19]
    return "" if state == "Z" else started
