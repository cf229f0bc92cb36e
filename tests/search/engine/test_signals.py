import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from foretune.search.engine.signals import stop_on_signal


def test_first_signal_is_noted_second_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with stop_on_signal() as stop:
        stop.check_stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert "press Ctrl-C again to stop at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            stop.check_stop()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_stop_swallowed_by_a_callback_prints_nothing_and_is_remembered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """JAX has a callback of the garbage collector, in which Python ignores whatever is raised."""

    class Pressed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)  # where the handler runs, at the latest

    class Broken:
        def __del__(self) -> None:
            raise ValueError("said")

    other = sys.unraisablehook
    said: list[type[BaseException]] = []
    sys.unraisablehook = lambda error: said.append(error.exc_type)
    try:
        with stop_on_signal() as stop:
            stop.requested = True
            Pressed()
            Broken()
            with pytest.raises(KeyboardInterrupt):
                stop.check_stop()
        Broken()
    finally:
        sys.unraisablehook = other
    assert said == [ValueError, ValueError]
    assert "Traceback" not in capsys.readouterr().err


def test_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_on_signal():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_other_threads_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with stop_on_signal() as stop:
            stop.check_stop()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_context_inside_another_is_the_same_request() -> None:
    with stop_on_signal() as outer:
        with stop_on_signal() as inner:
            signal.raise_signal(signal.SIGINT)
        assert inner is outer
        assert outer.requested


STARTS = """
import os, time
from pathlib import Path
from foretune.search.engine.devices import Devices, slot_environments
from foretune.search.engine.executors import LokySlots
slots = LokySlots(slot_environments(Devices("cpu", ()), 1), cache=False)
while not slots.ready():
    time.sleep(0.1)
status = Path(f"/proc/{slots.submit(0, os.getpid).result()}/status").read_text()
slots.close()
print(status.split("SigBlk:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc to look at")
def test_signals_of_the_terminal_are_blocked_in_the_first_worker() -> None:
    """What starts with it, a tracker of resources, would unblock them."""
    done = subprocess.run([sys.executable, "-c", STARTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    blocked = int(done.stdout, 16)
    assert all(blocked & (1 << (number - 1)) for number in (signal.SIGINT, signal.SIGTERM))


def test_an_ignored_signal_stays_ignored() -> None:
    """As that of a command which a script has started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_on_signal() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
