"""The ``foretune`` command's way in: light, so that Ctrl-C is heard while the rest is imported."""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130  # exit codes


def main() -> None:
    """Run the ``foretune`` command."""
    # Otherwise a fifth of the start is spent on looking for garbage in what is imported.
    gc.disable()
    with _leaving_on_signal():
        from foretune.search.cli.main import load_command
        from foretune.search.cli.main import main as run

        for name in sys.argv[1:2]:
            load_command(name)
    gc.freeze()
    gc.enable()
    try:
        run()
    except KeyboardInterrupt:  # before the command was under way
        _leave()


@contextmanager
def _leaving_on_signal() -> Iterator[None]:
    """Leave at once on SIGINT and SIGTERM while the context lasts: nothing has begun yet.

    An exception would be a traceback through other people's imports, or be lost in one of them.
    """
    # A command that was started in the background may have to ignore Ctrl-C.
    heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, _leave) for number in heard}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _leave(_signal: int = 0, _frame: FrameType | None = None) -> NoReturn:
    sys.stderr.write("foretune: interrupted\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)
