"""Linear algebra that rounds alike wherever it runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
R = TypeVar("R")

# The limit is the process's: threads that set it at once would restore it in the wrong order.
_lock = threading.RLock()


@cache
def _controller() -> Any:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let BLAS compute on one thread.

    How it cuts a product for several threads changes how sums are rounded, and workers have one
    thread where a command has all: the same trial would differ in its last bits. For products of
    this size one thread is the fastest, too.
    """
    with _lock, _controller().limit(limits=1, user_api="blas"):
        yield


def on_one_blas_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Return ``function`` under :func:`one_blas_thread`.

    Example:
        >>> @on_one_blas_thread
        ... def gram(x: np.ndarray) -> np.ndarray:
        ...     return x.T @ x
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with one_blas_thread():
            return function(*args, **kwargs)

    return call
