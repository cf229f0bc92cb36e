"""A table as a notebook shows it; nothing in it is read as HTML."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import chain, repeat


def html_table(
    rows: Iterable[Sequence[str]],
    *,
    header: Sequence[str] = (),
    caption: str = "",
    hints: Iterable[str] = (),
) -> str:
    """Return rows of cells as an HTML table.

    Args:
        rows: the cells of each row; the first one names it.
        header: names of the columns.
        caption: of the table; none where it is empty.
        hints: what hovering over each row shows.

    Example:
        >>> html_table([("units", "32 & 64")])
        '<table><tr><th ...>units</th><td ...>32 &amp; 64</td></tr></table>'
    """
    above = _cells("caption", [caption] if caption else [])
    top = f"<tr>{_cells('th', header)}</tr>" if header else ""
    titles = (f' title="{escape(hint)}"' for hint in hints)
    lines = (
        f"<tr{title}>{_cells('th', row[:1])}{_cells('td', row[1:])}</tr>"
        for row, title in zip(rows, chain(titles, repeat("")), strict=False)
    )
    return f"<table>{above}{top}{''.join(lines)}</table>"


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f'<{tag} style="text-align: left">{escape(t)}</{tag}>' for t in texts)
