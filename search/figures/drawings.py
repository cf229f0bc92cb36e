"""The drawings that recipes of figures name."""

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

from foretune.search.figures.forecast_window import ForecastWindow
from foretune.search.figures.style import BLACK, BLUE, ORANGE, WIDTH, literal, whole_number_ticks

_SIZE = (WIDTH, 4.2)


def draw(kind: str, data: dict[str, Any]) -> Figure:
    """Draw the figure of a recipe.

    Args:
        kind: a key of :data:`DRAWINGS`.
        data: what that drawing is made from, as JSON knows it.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    DRAWINGS[kind](figure, data)
    return figure


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

DRAWINGS: dict[str, Callable[[Figure, dict[str, Any]], None]] = {
    "forecasts": _forecasts,
    "learning curve": _learning_curve,
}
