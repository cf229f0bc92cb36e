"""Tables of reports and summaries: for a terminal, as plain text, and as Markdown."""

import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from foretune.datasets.common.errors import printable
from foretune.search.study.spec import StudySpec

Rows = Iterable[Sequence[str]]


def rich_table(
    title: str, *sections: Rows, header: Sequence[str] = (), caption: str | None = None
) -> Table:
    """Return sections of rows as a table for a terminal.

    Args:
        title: what stands above it.
        sections: rows of cells; a line parts the sections.
        header: names of the columns.
        caption: what stands below it.
    """
    # Text, because rich would read marks such as [b] in a string as its own.
    named = Text(printable(title))
    table = Table(title=named, title_justify="left", caption=caption, show_header=bool(header))
    for name in header:
        table.add_column(Text(name))
    for section in sections:
        for row in section:
            table.add_row(*map(Text, row))
        table.add_section()
    return table


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
    console = Console(file=written, width=width, force_jupyter=False, force_terminal=False)
    for renderable in shown:
        console.print(renderable, markup=False, highlight=False, emoji=False)
    return "\n".join(line.rstrip() for line in written.getvalue().rstrip().splitlines())


def plain(text: str) -> str:
    """Keep Markdown, and HTML made of it, from reading marks in a user's text as their own."""
    return re.sub(r"([\\`*_{}\[\]<>&#|!~])", r"\\\1", " ".join(text.split()))


def markdown_table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> str:
    """Return rows as a Markdown table: with a header, all columns but the first are numbers."""
    others = len(rows[0]) - 1
    marks = ["---", *["---:" if header else "---"] * others]
    lines = (header or [""] * (others + 1), marks, *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def shown(time: Any) -> str:
    """Write a day, a moment or a whole number of an array."""
    return str(time).removesuffix(".000000000").replace("T", " ")


def counted(count: int, what: str) -> str:
    """Write a number of things: 1 hour, 2 hours."""
    return f"{count} {what}{'s' * (count != 1)}"


def provenance_rows(spec: StudySpec) -> list[list[str]]:
    """Return what and value, in Markdown, of everything that a study's values depend on."""
    prices, split = spec.prices, spec.split
    is_hex = re.fullmatch("[0-9a-f]+", prices.digest)
    what, step = "prices" if prices.space == "log" else "data", plain(prices.step)
    unit = f" [{prices.unit}]" if prices.unit else ""
    # A row of series that begin or end apart is no one time.
    when = "rows" if prices.series_count > 1 and prices.first_date.isdigit() else "dates"
    return [
        [what, f"{plain(prices.name)} ({plain(prices.source)}), {plain(prices.size)}"],
        ["target", plain(prices.target + unit)],
        *([["calendar", plain(prices.calendar)]] if prices.calendar else []),
        [when, plain(f"{prices.first_date} to {prices.last_date}")],
        [f"digest of the {what}", f"`{prices.digest}`" if is_hex else plain(prices.digest)],
        ["horizon, stride", f"{counted(split.horizon, step)}, {counted(split.stride, step)}"],
        ["folds", str(split.folds)],
        ["seed of the sampler", str(spec.seed)],
        ["versions", plain(", ".join(f"{name} {n}" for name, n in spec.versions.items()))],
    ]
