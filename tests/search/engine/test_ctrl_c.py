"""Ctrl-C in a terminal, at any moment: exit code 130, nobody left, and the study goes on later."""

import os
import pty
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import pytest
from command_line import FORETUNE, wait_until, write_prices
from optuna.trial import TrialState
from real_processes import descendants, require_gone

from foretune.search import SearchSpace, finished_trials, load_study

CTRL_C = b"\x03"

# An epoch and two seconds are what is meant; so long is a failure on any machine.
HANGS = 30.0


@dataclass
class Terminal:
    """``foretune run`` in a terminal of its own."""

    process: subprocess.Popen[bytes]
    keyboard: int
    said: bytearray = field(default_factory=bytearray)

    def press(self, keys: bytes) -> None:
        os.write(self.keyboard, keys)

    def read(self) -> None:
        """Read until everybody has closed the terminal."""
        with suppress(OSError):  # the end of a terminal is an error
            while chunk := os.read(self.keyboard, 4096):
                self.said += chunk

    @property
    def text(self) -> str:
        """What is there to read, without colours, moves of the cursor and the keys pressed."""
        plain = re.sub(r"\x1b\[[?\d;]*[A-Za-z]|\^C", "", self.said.decode(errors="replace"))
        return plain.replace("\r", "\n")


@contextmanager
def in_terminal(arguments: list[str], folder: Path) -> Iterator[Terminal]:
    """Run a command as a shell does, in the foreground of a terminal."""
    keyboard, screen = pty.openpty()
    # setsid makes the terminal that of the new session, so that its keys are signals.
    command = ["setsid", "--ctty", *arguments]
    process = subprocess.Popen(command, stdin=screen, stdout=screen, stderr=screen, cwd=folder)
    os.close(screen)
    terminal = Terminal(process, keyboard)
    with ThreadPoolExecutor(1) as thread:
        reading = thread.submit(terminal.read)
        try:
            yield terminal
        finally:
            process.kill()
            process.wait()
            reading.result()
            os.close(keyboard)


def is_importing(process: subprocess.Popen[bytes]) -> bool:
    """Whether the command is under way, and not Python's own start: that is nobody's to mend."""
    maps = Path(f"/proc/{process.pid}/maps")
    return process.poll() is not None or "site-packages" in maps.read_text()


def command(folder: Path, *options: str) -> list[str]:
    """The command line of a study that nobody waits for to end."""
    write_prices(folder / "prices.csv")
    space = SearchSpace(layers=1, units=8, batch_size=16, unroll_length=16, epochs=40)
    (folder / "space.toml").write_text(space.fix(steps_per_epoch=100).to_toml())
    always = ["--study", "s", "--storage", f"sqlite:///{folder / 'studies.db'}"]
    always += ["--prices", str(folder / "prices.csv"), "--space", str(folder / "space.toml")]
    return [FORETUNE, "run", *always, "--horizon", "5", "--workers", "2", *options]


@dataclass(frozen=True)
class Ending:
    """What came of a Ctrl-C: after so many seconds the command had ended, and its workers too."""

    pressed: float
    code: int
    text: str
    seconds: float
    workers: int
    gone: float


def interrupted(folder: Path, pressed: float, times: int = 1) -> Ending:
    """Run the study and press Ctrl-C so many seconds after its start."""
    with in_terminal(command(folder, "--trials", "1000"), folder) as terminal:
        wait_until(lambda: is_importing(terminal.process))
        time.sleep(pressed)
        workers = descendants(terminal.process.pid)
        began = time.monotonic()
        terminal.press(CTRL_C)
        for _ in range(times - 1):
            time.sleep(0.1)
            terminal.press(CTRL_C)
        code = terminal.process.wait(timeout=HANGS)
        seconds = time.monotonic() - began
        gone = require_gone(workers)
    return Ending(pressed, code, terminal.text, seconds, len(workers), gone)


def require_told(ending: Ending) -> str:
    """Exit code 130 and no traceback, but one line; returns it."""
    assert ending.code == 130, ending
    assert "Traceback" not in ending.text
    assert "Error" not in ending.text
    said = [line for line in ending.text.splitlines() if line.startswith("foretune: interrupted")]
    assert len(said) == 1, ending.text
    return said[0]


def require_told_how_to_go_on(ending: Ending) -> None:
    """The one line says how to go on, once the study has begun."""
    begun = "Stopping after this epoch" in ending.text
    assert ("run the same command again to continue" in require_told(ending)) == begun


def goes_on(folder: Path) -> None:
    """Two more trials, those that were interrupted among them, and not one more."""
    study = load_study("s", f"sqlite:///{folder / 'studies.db'}")
    wanted = finished_trials(study) + 2
    again = command(folder, "--trials", str(wanted))
    done = subprocess.run(again, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert finished_trials(study) == wanted
    numbers = [trial.number for trial in study.trials]
    assert numbers == list(range(len(numbers)))
    assert not study.get_trials(states=(TrialState.RUNNING, TrialState.FAIL))


@pytest.mark.slow
def test_ctrl_c_at_twenty_moments(tmp_path: Path) -> None:
    """From 0 to 20 s; two studies side by side, each of which goes on from one to the next."""
    moments = [second * 20 / 19 for second in range(20)]

    def lane(number: int) -> list[Ending]:
        folder = tmp_path / str(number)
        folder.mkdir()
        endings = [interrupted(folder, moment) for moment in moments[number::2]]
        goes_on(folder)
        return endings

    with ThreadPoolExecutor(2) as threads:
        endings = sorted(chain(*threads.map(lane, range(2))), key=lambda ending: ending.pressed)
    for ending in endings:
        print(
            f"at {ending.pressed:4.1f} s: {ending.seconds:.1f} s with {ending.workers} processes, "
            f"which had ended {ending.gone:.1f} s later"
        )
    for ending in endings:
        require_told_how_to_go_on(ending)


@pytest.mark.parametrize(
    "pressed",
    [0.0, 3.4, 6.0],
)
def test_ctrl_c(tmp_path: Path, pressed: float) -> None:
    require_told_how_to_go_on(interrupted(tmp_path, pressed))


@pytest.mark.parametrize("pressed", [2.0, 4.0, 8.0])
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path, pressed: float) -> None:
    ending = interrupted(tmp_path, pressed, times=2)
    print(f"twice at {pressed} s: {ending.seconds:.1f} s")
    require_told(ending)
