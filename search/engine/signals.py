"""Ctrl-C and SIGTERM as a request, answered after an epoch and not in the middle of a write."""

import multiprocessing.resource_tracker
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import loky.backend.resource_tracker

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Whether the user has asked to stop.

    Python may raise KeyboardInterrupt anywhere, also where a library swallows it or where a
    transaction is open. So the first signal only sets a flag; a second one stops at once, or after
    the epoch where it was swallowed.
    """

    def __init__(self) -> None:
        self.requested = False

    def note(self, _signal: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        self.check_stop()
        self.requested = True
        print("\nStopping after this epoch; press Ctrl-C again to stop at once.", file=sys.stderr)

    def check_stop(self) -> None:
        """Stop here if that was asked for.

        Raises:
            KeyboardInterrupt: it was.
        """
        if self.requested:
            raise KeyboardInterrupt


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the context lasts.

    Inside another such context it is that one's request. Outside the main thread Python cannot
    handle signals, and nothing is changed.

    Example:
        >>> with stop_on_signal() as stop:
        ...     for epoch in fit(config, data):
        ...         stop.check_stop()
    """
    outer = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    if isinstance(outer, StopRequest):
        yield outer
        return
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    # A shell may start a background command with Ctrl-C ignored; that stays.
    heard = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, request.note) for number in heard}
    unraisable = sys.unraisablehook

    def swallowed(error: "sys.UnraisableHookArgs") -> None:
        """Say nothing of a KeyboardInterrupt in a callback of the garbage collector, such as JAX's.

        Python prints its traceback and goes on, up to the next look at the request.
        """
        if not isinstance(error.exc_value, KeyboardInterrupt):
            unraisable(error)

    sys.unraisablehook = swallowed
    try:
        yield request
    finally:
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM while the context lasts, for the processes that it starts too.

    They reach the whole process group, but only the driver handles them. One that comes meanwhile
    is delivered at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # A resource tracker would start with the first process, and unblock them.
    for tracker in (multiprocessing.resource_tracker, loky.backend.resource_tracker):
        tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
