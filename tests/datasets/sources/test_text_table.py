"""Bytes to a table: encodings, archives, header, title lines, footers; the line of every row."""

import contextlib
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.common.errors import DataError
from foretune.datasets.sources import text_table
from foretune.datasets.sources.text_table import (
    Table,
    is_missing,
    parse_text_table,
    read_text_table,
)

TEXT = "date,Wärme\n2020-01-01,1.5\n2020-01-02,2.5\n"


def parse(text: str) -> Table:
    return parse_text_table("f.csv", text)


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return file.getvalue()


CONTENTS = {
    "UTF-8": TEXT.encode(),
    "byte order mark": TEXT.encode("utf-8-sig"),
    "UTF-16": TEXT.encode("utf-16"),
    "UTF-16, the other order": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "latin-1": TEXT.encode("latin-1"),
    "gzip": gzip.compress(TEXT.encode()),
    "gzip of UTF-16": gzip.compress(TEXT.encode("utf-16")),
    "zip": zipped("a/"[:0] + "p.csv"),
    "zip from a Mac": zipped("p.csv", "__MACOSX/._p.csv"),
    "carriage returns": TEXT.replace("\n", "\r").encode(),
    "both": TEXT.replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_contents(case: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENTS[case])
    table = read_text_table("f", tmp_path / "f")
    assert table.columns == ("date", "Wärme")
    assert table.cells.tolist() == [["2020-01-01", "1.5"], ["2020-01-02", "2.5"]]
    assert table.lines.tolist() == [2, 3]
    remark = ("is no UTF-8; read as Windows-1252 (latin-1)",)
    assert table.remarks == (remark if case == "latin-1" else ())


WRONG_CONTENTS = {
    "nothing": (b"", ": the file is empty (0 bytes)"),
    "NUL": (
        TEXT.encode() + b"\0\n",
        ", line 4, character 1: must be text, UTF-8 or UTF-16, but has the byte 0x00",
    ),
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0", ", line 1, character 1: must be text"),
    "a pickle": (b"\x80\x04\x95\x10\x00.", ", line 1, character 1: must be text"),
    "no byte of Windows-1252": (b"caf\x81\n", ", line 1, character 4: must be text"),
    "UTF-16 cut in two": (TEXT.encode("utf-16")[:-1], ", line 1, character 1: must be text"),
    "UTF-32": (TEXT.encode("utf-32"), ", line 1, character 1: must be text"),
    "gzip cut short": (gzip.compress(TEXT.encode())[:-9], ": is not a valid gzip file: "),
    "gzip of nothing": (gzip.compress(b""), ": the file is empty (0 bytes)"),
    "zip cut short": (zipped("p.csv")[:-9], ": is not a valid zip file: "),
    "zip of two": (zipped("p.csv", "q.csv"), ": must be a zip archive of one file, but holds 2"),
    "blank": (b" \n\t\n", ": must start with a header line, but holds only blank lines"),
    "a bomb": (gzip.compress(bytes(2**26)), ": must hold at most 32 MiB of text, but has more"),
}


@pytest.mark.parametrize("case", WRONG_CONTENTS)
def test_refuses_contents(case: str, tmp_path: Path) -> None:
    content, message = WRONG_CONTENTS[case]
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_text_table("f", tmp_path / "f")
    assert str(caught.value).startswith("f" + message)


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path, "must be a text file, but is a directory"),
        (tmp_path / "a", "there is no such file"),
        (Path("/dev/null"), "must be a text file, but is not a regular file"),
        ("a\0b", "cannot be read: its name has a NUL in it"),
    ):
        with pytest.raises(DataError) as caught:
            read_text_table("f", path)
        assert str(caught.value) == f"f: {message}"


def test_large_files_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_table, "MAX_BYTES", 10)
    (tmp_path / "f").write_text(TEXT)
    with pytest.raises(DataError, match="must hold at most"):
        read_text_table("f", tmp_path / "f")


# Text -> columns, cells of the first row, lines.
HEAD, ROWS = "date,y\n", "2020-01-01,5\n2020-01-02,6\n"
FIRST = ["2020-01-01", "5"]
TABLES: dict[str, tuple[str, tuple[str, ...], list[str], list[int]]] = {
    "plain": (HEAD + ROWS, ("date", "y"), FIRST, [2, 3]),
    "blank lines": ("\n\n" + HEAD + "\n" + ROWS + "\n\n", ("date", "y"), FIRST, [5, 6]),
    "a URL above": ("https://x.org/a,b\n" + HEAD + ROWS, ("date", "y"), FIRST, [3, 4]),
    "a title above": ("My title\n\n" + HEAD + ROWS, ("date", "y"), FIRST, [4, 5]),
    "a title with commas": ("Source: a, b, 2021\n" + HEAD + ROWS, ("date", "y"), FIRST, [3, 4]),
    "a padded title": ("My title,\n" + HEAD + ROWS, ("date", "y"), FIRST, [3, 4]),
    "many titles": ("a\nb\nc\nd\ne\nf\n" + HEAD + ROWS, ("date", "y"), FIRST, [8, 9]),
    "a line of units": (HEAD + ",MW\n" + ROWS, ("date", "y"), FIRST, [3, 4]),
    "a footer": (HEAD + ROWS + "Source: a\n", ("date", "y"), FIRST, [2, 3]),
    "a long footer": (
        HEAD + ROWS + "\nSource: a,,,\n* preliminary, 2020,b\n",
        ("date", "y"),
        FIRST,
        [2, 3],
    ),
    "a footer with a number": (HEAD + ROWS + "Total,11\n", ("date", "y"), FIRST, [2, 3]),
    "a footer with a date": (HEAD + ROWS + "As of 2020-01-05\n", ("date", "y"), FIRST, [2, 3]),
    "a trailing comma below": (
        "date,y\n2020-01-01,5,\n2020-01-02,6,\n",
        ("date", "y"),
        FIRST,
        [2, 3],
    ),
    "a trailing comma above": ("date,y,\n" + ROWS, ("date", "y"), FIRST, [2, 3]),
    "trailing commas": ("date,y,,\n2020-01-01,5,,\n2020-01-02,6,,\n", ("date", "y"), FIRST, [2, 3]),
    "padded to the end": (HEAD + ROWS + ",\n,\n", ("date", "y"), FIRST, [2, 3]),
    "an unnamed first column": (",y\n" + ROWS, ("column 1", "y"), FIRST, [2, 3]),
    "pandas' unnamed series": (",0\n" + ROWS, ("column 1", "0"), FIRST, [2, 3]),
    "pandas' counted series": (",0\n0,5.5\n1,6.5\n", ("column 1", "0"), ["0", "5.5"], [2, 3]),
    "an unnamed last column": ("date,\n" + ROWS, ("date", "column 2"), FIRST, [2, 3]),
    "no header": (ROWS, ("column 1", "column 2"), FIRST, [1, 2]),
    "a title and no header": ("title\n" + ROWS, ("column 1", "column 2"), FIRST, [2, 3]),
    "semicolons": (
        "date;y\n2020-01-01;1,5\n2020-01-02;1,5\n",
        ("date", "y"),
        ["2020-01-01", "1,5"],
        [2, 3],
    ),
    "semicolons, no header": (
        "2020-01-01;1,5\n2020-01-02;1,5\n",
        ("column 1", "column 2"),
        ["2020-01-01", "1,5"],
        [1, 2],
    ),
    "tabs": ((HEAD + ROWS).replace(",", "\t"), ("date", "y"), FIRST, [2, 3]),
    "bars": ((HEAD + ROWS).replace(",", "|"), ("date", "y"), FIRST, [2, 3]),
    "commas in quotes": (
        'date,y\n"Jan 1, 2020","5"\n"Jan 2, 2020","6"\n',
        ("date", "y"),
        ["Jan 1, 2020", "5"],
        [2, 3],
    ),
    "a blank before quotes": (
        'date, y\n"Jan 1, 2020", "5"\n"Jan 2, 2020", "6"\n',
        ("date", "y"),
        ["Jan 1, 2020", "5"],
        [2, 3],
    ),
    "a cell of three lines": (
        'date,note,y\n2020-01-01,"a\nb\nc",5\n2020-01-02,,6\n',
        ("date", "note", "y"),
        ["2020-01-01", "a\nb\nc", "5"],
        [2, 5],
    ),
    "names twice": (
        "date,y,y\n2020-01-01,5,6\n",
        ("date", "y (column 2)", "y (column 3)"),
        ["2020-01-01", "5", "6"],
        [2],
    ),
    "one column": ("y\n5\n6\n", ("y",), ["5"], [2, 3]),
    "one column, missing at once": ("y\nNaN\n6\n7\n", ("y",), ["NaN"], [2, 3, 4]),
    "one column and a title": ("Title\ny\n5\n6\n", ("y",), ["5"], [3, 4]),
    "one row": (HEAD + "2020-01-01,5\n", ("date", "y"), FIRST, [2]),
    "a missing value at once": (
        HEAD + "2020-01-01,\n2020-01-02,6\n",
        ("date", "y"),
        ["2020-01-01", ""],
        [2, 3],
    ),
    "a missing date at once": (HEAD + ",5\n2020-01-02,6\n", ("date", "y"), ["", "5"], [2, 3]),
    "a wrong date at once": (
        HEAD + "x,5\n2020-01-02,6\n2020-01-03,6\n",
        ("date", "y"),
        ["x", "5"],
        [2, 3, 4],
    ),
    "a wrong value at once": (
        HEAD + "2020-01-01,five\n2020-01-02,6\n2020-01-03,6\n",
        ("date", "y"),
        ["2020-01-01", "five"],
        [2, 3, 4],
    ),
    "a missing date at last": (
        HEAD + "2020-01-02,6\n,5\n",
        ("date", "y"),
        ["2020-01-02", "6"],
        [2, 3],
    ),
    "a missing row at last": (HEAD + ROWS + "2020-01-03,\n", ("date", "y"), FIRST, [2, 3, 4]),
    "a broken date at last": (HEAD + ROWS + "2020-0103,5\n", ("date", "y"), FIRST, [2, 3, 4]),
    "a missing marker at last": ("y\n5\n6\n-\n", ("y",), ["5"], [2, 3, 4]),
    "yfinance": (
        "Price,Close,High\nTicker,A,A\nDate,,\n2020-01-01,5,6\n",
        ("Date", "Close", "High"),
        ["2020-01-01", "5", "6"],
        [4],
    ),
    "yfinance, a day old": (
        "Price,Close\nTicker,A\n2020-01-01,5\n2020-01-02,6\n",
        ("Date", "Close"),
        FIRST,
        [3, 4],
    ),
    "yfinance, two tickers": (
        "Price,Close,Close\nTicker,A,B\nDatetime,,\n2020-01-01,5,6\n",
        ("Datetime", "Close A", "Close B"),
        ["2020-01-01", "5", "6"],
        [4],
    ),
    "pandas_datareader": (
        "Attributes,Close\nSymbols,A\nDate,\n2020-01-01,5\n2020-01-02,6\n",
        ("Date", "Close"),
        FIRST,
        [4, 5],
    ),
    "prices without a header": (
        "2020-01-01,2,4,1,3\n2020-01-02,2,4,1,3\n",
        ("date", "open", "high", "low", "close"),
        ["2020-01-01", "2", "4", "1", "3"],
        [1, 2],
    ),
    "closes before opens without a header": (
        "2020-01-01,2,9,1,3\n2020-01-02,4,9,1,2\n2020-01-03,6,9,1,4\n",
        tuple(f"column {i}" for i in range(1, 6)),
        ["2020-01-01", "2", "9", "1", "3"],
        [1, 2, 3],
    ),
    "no prices without a header": (
        "2020-01-01,2,1,4,3\n2020-01-02,2,4,1,3\n",
        tuple(f"column {i}" for i in range(1, 6)),
        ["2020-01-01", "2", "1", "4", "3"],
        [1, 2],
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables(case: str) -> None:
    text, columns, first, lines = TABLES[case]
    table = parse(text)
    assert (table.columns, table.cells[0].tolist(), table.lines.tolist()) == (columns, first, lines)


def test_what_is_left_out_is_said() -> None:
    table = parse("https://x.org\n" + HEAD + ",MW\n" + ROWS + "Source: a\n")
    assert table.remarks == (
        "lines left out, no rows of the table: 1, 3, 6 (the first is 'https://x.org')",
    )
    assert parse("2020-01-01,2,4,1,3\n2020-01-02,2,4,1,3\n").remarks == (
        "has no header; read as date, open, high, low, close",
    )


REFUSED = {
    "a short row": (
        HEAD + ROWS + "2020-01-03\n2020-01-04,5\n",
        ", line 4: must have 2 cells like the header, but got 1",
    ),
    "a row cut short at last": (
        "date,a,b,c\n2020-01-01,5,6,7\n2020-01-02,6\n",
        ", line 3: must have 4 cells like the header, but got 2",
    ),
    "a long row": (
        HEAD + ROWS + "2020-01-03,5,6\n2020-01-04,5\n",
        ", line 4: must have 2 cells like the header, but got 3",
    ),
    "a short header": (
        "date,y\n2020-01-01,5,6\n2020-01-02,6,7\n",
        ", line 1: must have 3 cells like the rows below, but got 2",
    ),
    "a decimal comma between commas": (
        "date,y\n01.01.2020,1,5\n02.01.2020,1,5\n",
        ", line 1: must have 3 cells like the rows below, but got 2",
    ),
    "header only": (HEAD, ": holds no rows below its header 'date,y'"),
    "a message": ("Exceeded", ": holds no rows below its header 'Exceeded'"),
    "an unclosed quote": (
        HEAD + ROWS + '2020-01-03,"5\n',
        ", line 4: is not valid CSV: unexpected end of data",
    ),
    "a stray quote": (HEAD + ROWS + '2020-01-03,"5"6\n', ", line 4: is not valid CSV: "),
    "too many columns": (
        "\n" + "a," * 1001,
        ", line 2: must have at most 1000 columns, but has 1002",
    ),
    "a long cell": (
        HEAD + f"2020-01-03,{'1' * 200_000}\n",
        ", line 2: is not valid CSV: field larger than",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses(case: str) -> None:
    text, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        parse(text)
    assert str(caught.value).startswith("f.csv" + message)


def test_the_table() -> None:
    table = parse(HEAD + ROWS)
    assert table.column("y").tolist() == ["5", "6"]
    assert table.rows(np.array([False, True])).lines.tolist() == [3]
    assert table.where(1, "y") == "f.csv, line 3, column 'y'"
    error = table.error(1, "y", "below 6", "; try 5")
    assert str(error) == "f.csv, line 3, column 'y': must be below 6, but got '6'; try 5"
    missing = is_missing(np.array(["", "-", "NaN", "n/a", "0", "x"], dtype=object))
    assert missing.tolist() == [True, True, True, True, False, False]


@given(st.text('ab1,;\t|"\n\r-. ', max_size=60))
def test_any_text_is_a_table_or_refused(text: str) -> None:
    with contextlib.suppress(DataError):
        table = parse(text)
        assert table.cells.shape == (len(table.lines), len(table.columns))
        assert len(set(table.columns)) == len(table.columns)
        assert (np.diff(table.lines) > 0).all()


@given(
    st.lists(
        st.lists(st.sampled_from(["", "5", "x", "2020-01-01"]), min_size=3, max_size=3),
        min_size=1,
        max_size=8,
    )
)
def test_lines_are_those_of_the_file(rows: list[list[str]]) -> None:
    lines = [",".join(row) for row in rows]
    try:
        table = parse("\n".join(lines))
    except DataError:
        return
    for line, cells in zip(table.lines, table.cells, strict=True):
        assert ",".join(cells).strip(",") == lines[line - 1].strip(",")
