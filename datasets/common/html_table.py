"""A table as a notebook shows it; nothing in it is read as HTML."""

from collections.abc import Iterable, Sequence
from html import escape

_LEFT = 'style="text-align: left"'


def html_table(
    rows: Iterable[Sequence[str]], *, header: Sequence[str] = (), caption: str = ""
) -> str:
    """Return rows of cells as an HTML table.

    Args:
        rows: the cells of each row; the first one names it.
        header: names of the columns.
        caption: what stands above the table.

    Example:
        >>> html_table([("units", "32 & 64")])
        '<table><tr><th ...>units</th><td ...>32 &amp; 64</td></tr></table>'
    """
    above = f"<caption {_LEFT}>{escape(caption)}</caption>" if caption else ""
    names = "".join(f"<th {_LEFT}>{escape(name)}</th>" for name in header)
    top = f"<tr>{names}</tr>" if header else ""
    return f"<table>{above}{top}{''.join(map(_row, rows))}</table>"


def _row(cells: Sequence[str]) -> str:
    name, *values = cells
    shown = "".join(f"<td {_LEFT}>{escape(value)}</td>" for value in values)
    return f"<tr><th {_LEFT}>{escape(name)}</th>{shown}</tr>"
