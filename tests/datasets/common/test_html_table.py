"""A table is read back by a parser as what went in."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.common.html_table import html_table


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.rows: list[list[str]] = []
        self.caption = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self.tags[-1] == "caption":
            self.caption += data
        else:
            self.rows[-1][-1] += data


words = st.text(st.sampled_from("ab <>&\"'/;x#3=[]`"), max_size=20)


@given(st.lists(st.lists(words, min_size=1, max_size=4), max_size=4), words)
def test_whatever_is_in_a_cell_comes_back_as_text(rows: list[list[str]], caption: str) -> None:
    read = Reader(html_table(rows, caption=caption))
    assert read.rows == rows
    assert read.caption == caption
    assert set(read.tags) <= {"table", "caption", "tr", "th", "td"}


def test_a_header_stands_above_the_rows() -> None:
    page = html_table([("units", "<b>")], header=("name", "<i>"))
    assert Reader(page).rows == [["name", "<i>"], ["units", "<b>"]]
    assert page.endswith("&lt;b&gt;</td></tr></table>")
