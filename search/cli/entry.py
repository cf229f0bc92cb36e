"""The ``foretune`` command's way in: light, so that Ctrl-C is heard while the rest is imported."""

import atexit
import gc
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130  # exit codes


def main() -> None:
    """Run the ``foretune`` command."""
    # Otherwise a fifth of the start is spent on looking for garbage in what is imported.
    gc.disable()
    # Leave at once while nothing has begun: an exception would be a traceback through imports, or
    # be lost in one of them. A command that runs in the background may have to ignore Ctrl-C.
    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, _leave) for number in heard}
    from foretune.search.cli.main import load_command
    from foretune.search.cli.main import main as run

    for name in sys.argv[1:2]:
        load_command(name)
    for number, handler in before.items():
        signal.signal(number, handler)
    gc.freeze()
    gc.enable()
    # Called last of all: a Ctrl-C while the interpreter ends would change the exit code.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    try:
        run()
    except KeyboardInterrupt:  # before the command was under way
        _leave()


def _leave(_signal: int = 0, _frame: FrameType | None = None) -> NoReturn:
    sys.stderr.write("foretune: interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)
