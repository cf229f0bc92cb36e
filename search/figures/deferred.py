"""Figures kept as recipes: what is to be drawn, drawn when somebody looks.

Drawing the figures of a trial takes as long as a tenth of a small trial's training, and most of
them are never looked at. So a trial leaves their data under the name of a PNG file, and an artifact
store draws it when it is opened.
"""

import io
import json
import threading
from functools import lru_cache
from typing import Any

_MAGIC = b"foretune figure 1\n"

# Drawing is not safe in several threads at once, and a dashboard has one for each request.
_drawing = threading.Lock()


def recipe(kind: str, **data: Any) -> bytes:
    """Return the recipe of a figure, to be saved under the name of a PNG file.

    Args:
        kind: a key of ``DRAWINGS`` in ``figure_drawings.py``.
        data: what that drawing is made from, as JSON knows it.

    Example:
        >>> recipe("learning curve", title="trial 3", epochs=[1, 2], values=[1.1, 0.9], ...)
    """
    return _MAGIC + json.dumps({"kind": kind, "data": data}).encode()


def drawn(content: bytes) -> bytes:
    """Return the PNG file that ``content`` is the recipe of; other content as it is."""
    return _draw(content) if content.startswith(_MAGIC) else content


@lru_cache(maxsize=64)
def _draw(content: bytes) -> bytes:
    # Only here: most who open a storage draw nothing, and need not wait for matplotlib.
    from foretune.search.figures.drawings import draw

    document = json.loads(content.removeprefix(_MAGIC))
    written = io.BytesIO()
    with _drawing:
        figure = draw(document["kind"], document["data"])
        figure.savefig(written, format="png", dpi=120)
    return written.getvalue()
