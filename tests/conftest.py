"""No test asserts a time: a busy machine is no failure, neither of a property nor of its inputs.

But a test may be watched, so that what hangs fails instead of hanging the suite.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# What tests of several folders share lies beside this file.
sys.path.insert(0, str(Path(__file__).parent))
pytest_plugins = ["command_line", "postgresql_server", "small_study"]

# A shell starts what runs in its background deaf to Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hostile input that is refused takes less than a tenth of it.
CPU_SECONDS, WALL_SECONDS = 2.0, 60.0

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@contextmanager
def _under_watch() -> Iterator[None]:
    """End what works for longer than two seconds, or waits for longer than a minute."""

    def stop(*_: Any) -> None:
        raise AssertionError("it hangs")

    before = {sign: signal.signal(sign, stop) for sign in (signal.SIGPROF, signal.SIGALRM)}
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for sign, handler in before.items():
            signal.signal(sign, handler)


@pytest.fixture
def under_watch() -> Callable[[], AbstractContextManager[None]]:
    """A context in which two seconds of work, or a minute of waiting, are a failure."""
    return _under_watch
