"""Tables as plain text, for a ``repr``."""

import io

from rich.console import Console, RenderableType


def as_text(*shown: RenderableType, width: int = 88) -> str:
    """Return tables and paragraphs as the text that a terminal without colours would show.

    Args:
        shown: rich's tables, or strings, in which no mark is read as rich's own.
        width: of a line at most, in characters.

    Example:
        >>> print(as_text(summary_table(study), caveat(study)))
    """
    written = io.StringIO()
    # In a notebook rich would display what it is to print into the string.
    console = Console(
        file=written,
        width=width,
        force_jupyter=False,
        force_terminal=False,
        no_color=True,
        highlight=False,
        markup=False,
        emoji=False,
    )
    for renderable in shown:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in written.getvalue().rstrip().splitlines())
