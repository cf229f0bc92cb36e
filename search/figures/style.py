"""The look that all figures share."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from foretune.datasets.common.files import write_atomically

WIDTH = 9.0  # inches: a page's width at the default font size

# Colours that can be told apart in greyscale and for colour-blind readers (Okabe & Ito).
BLACK, BLUE, ORANGE, GREY = "#000000", "#0072B2", "#D55E00", "#999999"


def page_figure(height: float) -> Figure:
    """Return an empty figure as wide as a page; ``height`` is in inches."""
    return Figure(figsize=(WIDTH, height), layout="constrained")


def legend_below(figure: Figure, axes: Axes) -> None:
    """Explain below the figure what ``axes`` shows."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=4)


def whole_number_ticks(axes: Axes) -> None:
    """Put the ticks of the horizontal axis at whole numbers: of epochs, trials or steps."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def literal(text: str) -> str:
    """Keep matplotlib from reading dollar signs in a user's text as mathematics."""
    return text.replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """Return ``figure`` as a PNG file."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=150)
    return written.getvalue()


def save_figure(path: Path, figure: Figure) -> None:
    """Write ``figure`` as a PNG file, whole or not at all."""
    write_atomically(path, png(figure))
