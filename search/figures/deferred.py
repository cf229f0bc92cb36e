"""Figures kept as recipes, which are drawn when somebody looks.

Drawing the figures of a trial takes as long as a tenth of a small trial's training, and most of
them are never looked at. So a trial keeps their data as an artifact under the name of a PNG file,
and whoever shows the artifact draws it.
"""

import io
import json
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO

from matplotlib.figure import Figure

from foretune.search.figures.forecasts import ForecastWindow
from foretune.search.figures.style import (
    BLACK,
    BLUE,
    ORANGE,
    legend_below,
    literal,
    page_figure,
    png,
    whole_number_ticks,
)

_MAGIC = b"foretune figure 1\n"

_LINES = ("-", "--", "-.", ":")

# Drawing is not safe in several threads at once, and a dashboard has one for each request.
_drawing = threading.Lock()


def recipe(kind: str, **data: Any) -> bytes:
    """Return the recipe of a figure, to be saved under the name of a PNG file.

    Args:
        kind: ``"forecasts"`` or ``"learning curve"``.
        data: what that drawing is made from, as JSON knows it.

    Example:
        >>> recipe("learning curve", title="trial 3", folds=[{"fold": 1, "epochs": [1, 2], ...}])
    """
    return _MAGIC + json.dumps({"kind": kind, "data": data}).encode()


def drawn(content: bytes) -> bytes:
    """Return the PNG file that ``content`` is the recipe of; other content as it is.

    Example:
        >>> png = drawn(load_artifact(storage, trial, "forecasts.png"))
    """
    return _draw(content) if content.startswith(_MAGIC) else content


class DrawnArtifacts:
    """An Optuna artifact store that hands out figures where another one holds their recipes.

    Example:
        >>> store = DrawnArtifacts(artifact_store(storage))
        >>> optuna_dashboard.run_server(storage, artifact_store=store)
    """

    def __init__(self, store: Any) -> None:
        self._store = store
        self.write, self.remove = store.write, store.remove

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Return the content of an artifact, to be read as a file; of a recipe, its figure.

        Raises:
            ArtifactNotFound: there is none of this id.
        """
        with self._store.open_reader(artifact_id) as reader:
            return io.BytesIO(drawn(reader.read()))


@lru_cache(maxsize=64)
def _draw(content: bytes) -> bytes:
    document = json.loads(content.removeprefix(_MAGIC))
    with _drawing:
        figure = page_figure(4.2)
        _DRAWINGS[document["kind"]](figure, **document["data"])
        return png(figure)


def _forecasts(figure: Figure, *, title: str, window: dict[str, Any]) -> None:
    axes = figure.subplots()
    ForecastWindow.from_json(window).draw(axes)
    axes.set_title(literal(title))
    legend_below(figure, axes)


# Times the largest value.
_FAR = 3.0


def _learning_curve(
    figure: Figure,
    *,
    title: str,
    folds: list[dict[str, Any]],
    label: str = "relative MSE",
    persistence: float = 1.0,
) -> None:
    left, right = figure.subplots(1, 2)
    for curve, style in zip(folds, _LINES * len(folds), strict=False):
        name = f"fold {curve['fold']}" if len(folds) > 1 else None
        look = {"linestyle": style, "marker": "o", "markersize": 3, "label": name}
        left.plot(curve["epochs"], curve["values"], color=ORANGE, **look)
        right.plot(curve["epochs"], curve["losses"], color=ORANGE, **look)
        best = curve["best"]
        marked = best, curve["values"][curve["epochs"].index(best)]
        left.plot(*marked, marker="*", markersize=12, color=BLUE, linestyle="")
    marks = "star: best epoch"
    # Where persistence lies far above the values, its line would press them into another.
    if persistence < _FAR * max(max(curve["values"]) for curve in folds):
        left.axhline(persistence, color=BLACK, linestyle=":", linewidth=1.2)
        marks = f"dotted: persistence; {marks}"
    left.set(xlabel="epoch", ylabel=f"validation {label}\n({marks})")
    right.set(xlabel="epoch", ylabel="training loss\n(of scaled errors)")
    for axes in (left, right):
        whole_number_ticks(axes)
    if len(folds) > 1:
        left.legend(fontsize="small")
    figure.suptitle(literal(title))


_DRAWINGS: dict[str, Callable[..., None]] = {
    "forecasts": _forecasts,
    "learning curve": _learning_curve,
}
