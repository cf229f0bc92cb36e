"""The ``foretune`` command's way in: light, so that Ctrl-C is heard while the rest is imported.

Importing JAX, pandas and the rest takes seconds.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED = 130  # as search/cli/options.py has it


def main() -> None:
    """Run the ``foretune`` command."""
    with _leaving_on_signal():
        from foretune.search.cli.main import import_command
        from foretune.search.cli.main import main as run

        import_command(sys.argv[1:])
    try:
        run()
    except KeyboardInterrupt:  # before the command was under way
        _leave()


@contextmanager
def _leaving_on_signal() -> Iterator[None]:
    """Leave at once on SIGINT and SIGTERM while the context lasts: nothing has begun yet.

    An exception would be a traceback through other people's imports, or be lost in one of them.
    """
    # Who starts a command in the background may have it ignore Ctrl-C.
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _leave) for number in heard}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _leave(_signal: int = 0, _frame: FrameType | None = None) -> NoReturn:
    sys.stderr.write("foretune: interrupted\n")
    sys.stderr.flush()
    os._exit(_INTERRUPTED)
