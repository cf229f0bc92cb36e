"""The command's way in, before anything heavy is there."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

# As a signal that comes while a package is imported, by code that goes on after an exception.
INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "{package}":
            try:
                os.kill(os.getpid(), signal.{signal})
            except BaseException:
                pass

sys.meta_path.insert(0, Interrupting())
sys.argv = ["foretune", *{arguments}]
{before}
from foretune.search.cli.entry import main
assert not {{"click", "numpy"}} & set(sys.modules)
main()
"""


def started(
    signal: str, *arguments: str, package: str = "click", before: str = ""
) -> subprocess.CompletedProcess[str]:
    code = INTERRUPTED.format(signal=signal, arguments=arguments, package=package, before=before)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("signal", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize(
    ("arguments", "package"), [(("--version",), "click"), (("run", "--help"), "jax")]
)
def test_an_interrupt_during_the_imports_is_one_line(
    arguments: tuple[str, ...], package: str, signal: str
) -> None:
    done = started(signal, *arguments, package=package)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "foretune: interrupted\n"


def test_an_ignored_signal_stays_ignored() -> None:
    """As nohup and a shell's & have it."""
    done = started("SIGINT", "--version", before="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (done.returncode, done.stderr) == (0, "")
    assert "version" in done.stdout


def test_the_installed_command_enters_here() -> None:
    (command,) = entry_points(group="console_scripts", name="foretune")
    assert command.value == "foretune.search.cli.entry:main"
