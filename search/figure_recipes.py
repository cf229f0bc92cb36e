"""Figures kept as recipes: what is to be drawn, drawn when somebody looks.

Drawing the figures of a trial takes as long as a tenth of a small trial's training, and most of
them are never looked at. So a trial leaves their data under the name of a PNG file, and an artifact
store draws it when it is opened.
"""

import io
import json
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from matplotlib.figure import Figure

from foretune.search.figure_style import BLACK, BLUE, ORANGE, WIDTH, literal, whole_number_ticks
from foretune.search.forecast_window import ForecastWindow

_MAGIC = b"foretune figure 1\n"
_SIZE = (WIDTH, 4.2)

# Drawing is not safe in several threads at once, and a dashboard has one for each request.
_drawing = threading.Lock()


def recipe(kind: str, **data: Any) -> bytes:
    """Return the recipe of a figure, to be saved under the name of a PNG file.

    Args:
        kind: a key of the drawings below.
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
    document = json.loads(content.removeprefix(_MAGIC))
    written = io.BytesIO()
    with _drawing:
        figure = Figure(figsize=_SIZE, layout="constrained")
        _DRAWINGS[document["kind"]](figure, document["data"])
        figure.savefig(written, format="png", dpi=120)
    return written.getvalue()


def _forecasts(figure: Figure, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    ForecastWindow.from_json(data["window"]).draw(axes)
    axes.set_title(literal(data["title"]))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def _learning_curve(figure: Figure, data: dict[str, Any]) -> None:
    left, right = figure.subplots(1, 2)
    for curve, style in zip(data["folds"], _LINES * len(data["folds"]), strict=False):
        label = f"fold {curve['fold']}" if len(data["folds"]) > 1 else None
        look = {"linestyle": style, "marker": "o", "markersize": 3, "label": label}
        left.plot(curve["epochs"], curve["values"], color=ORANGE, **look)
        right.plot(curve["epochs"], curve["losses"], color=ORANGE, **look)
        best = curve["best"] - 1
        marked = curve["epochs"][best], curve["values"][best]
        left.plot(*marked, marker="*", markersize=12, color=BLUE, linestyle="")
    left.axhline(1.0, color=BLACK, linestyle=":", linewidth=1.2)
    left.set(
        xlabel="epoch",
        ylabel="validation relative MSE\n(dotted: persistence; star: best epoch)",
    )
    right.set(xlabel="epoch", ylabel="training loss\n(½ squared scaled error)")
    for axes in (left, right):
        whole_number_ticks(axes)
    if len(data["folds"]) > 1:
        left.legend(fontsize="small")
    figure.suptitle(literal(data["title"]))


_LINES = ("-", "--", "-.", ":")

_DRAWINGS: dict[str, Callable[[Figure, dict[str, Any]], None]] = {
    "forecasts": _forecasts,
    "learning curve": _learning_curve,
}
