"""The look that all figures share."""

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

WIDTH = 9.0  # inches: a page's width at the default font size

# Colours that keep apart in greyscale and for colour-blind readers (Okabe & Ito).
BLACK, BLUE, ORANGE, GREY = "#000000", "#0072B2", "#D55E00", "#999999"


def whole_number_ticks(axes: Axes) -> None:
    """Put the ticks of the horizontal axis at whole numbers: of epochs, trials or steps."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def literal(text: str) -> str:
    """Keep matplotlib from reading dollar signs in a user's text as mathematics."""
    return text.replace("$", r"\$")
