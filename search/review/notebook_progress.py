"""The bar of a study in a notebook, which draws it anew in its place.

rich would draw there with ipywidgets, and where they are missing it warns instead, several times a
second. What the notebook draws by itself needs nothing, and stays in it when it is saved.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import Progress

_INTERVAL = 0.2  # seconds between two drawings


@contextmanager
def drawn_by_notebook(bar: Progress) -> Iterator[Callable[[], None]]:
    """Have the notebook draw ``bar`` while the context lasts, and once more at its end.

    Args:
        bar: a disabled one, which does not draw itself, with a field ``now`` for what runs.

    Yields:
        What to call when the bar has changed; it seldom draws.

    Example:
        >>> with drawn_by_notebook(bar) as draw:
        ...     bar.advance(task)
        ...     draw()
    """
    from IPython.display import display  # where this is called it is there, and only there

    handle = display(bar, display_id=True)  # type: ignore[no-untyped-call]
    drawn = time.monotonic()

    def draw() -> None:
        nonlocal drawn
        if time.monotonic() >= drawn + _INTERVAL:
            handle.update(bar)
            drawn = time.monotonic()

    try:
        yield draw
    finally:
        for task in bar.tasks:
            bar.update(task.id, now="")
        handle.update(bar)
