"""Markdown made of a user's words and of tables."""

import re
from collections.abc import Sequence


def plain(text: str) -> str:
    """Keep Markdown, and HTML made of it, from reading marks in a user's text as their own."""
    return re.sub(r"([\\`*_{}\[\]<>&#|!~])", r"\\\1", " ".join(text.split()))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first column is text, the others are numbers."""
    marks = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, marks, *rows))
