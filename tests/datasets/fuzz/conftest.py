"""What reads a price file under watch, and what any outcome must look like."""

import codecs
import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from foretune.datasets.common.errors import DataError, DataWarning
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.readers import read_prices

# What is wrong with a file as a whole stands in no line of it.
WHOLE = re.compile(
    r": (the file is empty|must start with a header line|holds no rows below its header"
    r"|a price series needs at least 2 rows|must hold at most"
    r"|is not a valid (gzip|zip|Parquet) file|cannot be read|there is no such file"
    r"|a Parquet file needs pyarrow|must be a text file, but is|must be a zip archive"
    r"|no column of |the (price|time|target) .*may be in the columns|column .* must name one series"
    r"|no column names a series)"
)
# What is wrong with a row or a header as a whole stands in no column.
ROW = re.compile(
    r", line (\d+): (must have \d+ cells like the (header|rows below)"
    r"|must have at most 1000 columns|is not valid CSV)"
)
CELL = re.compile(r", line (\d+), (?:column '(?:.*?)'|column \"(?:.*?)\"|character \d+): must be ")
GOT = re.compile(r"but got ('[^'\\]*'|\"[^\"\\]*\")")

Read = Callable[..., PriceSeries | str]


@pytest.fixture
def read(under_watch: Callable[[], AbstractContextManager[None]]) -> Read:
    """Read a file: the series, which is checked, or the one line that refuses it."""

    def read(path: str | Path, missing: Literal["raise", "drop"] = "raise") -> PriceSeries | str:
        try:
            with warnings.catch_warnings(), under_watch():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", DataWarning)
                series = read_prices(path, missing=missing)
        except DataError as error:
            message = str(error)
            assert message.startswith(str(path)), message
            assert message.isprintable(), "more than one line, or control characters"
            return message
        check_series(series)
        return series

    return read


def check_series(series: PriceSeries) -> None:
    """Whatever was read is what the rest of the program relies on."""
    assert len(series) >= 2
    assert (np.diff(series.dates.astype(int)) > 0).all()
    for name in ("open", "high", "low", "close"):
        values = getattr(series, name)
        assert values.shape == series.dates.shape
        assert values.dtype == np.float64
        assert (np.isfinite(values) & (values > 0)).all()
    assert (series.low <= series.high).all()
    assert np.isfinite(series.mid).all()


def decoded(content: bytes, rest: str) -> str:
    # A NUL that is not what is wrong is half of a letter.
    if b"\0" in content and not re.match(r", line \d+, character ", rest):
        return content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16", errors="replace")
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def check_place(message: str, label: str, content: bytes) -> None:
    """A refusal names the line as an editor counts, and in it what was got."""
    rest = message.removeprefix(label)
    if WHOLE.match(rest):
        return
    found = ROW.match(rest) or CELL.match(rest)
    assert found is not None, f"no place in {message!r}"
    lines = re.split(r"\r\n|\r|\n", decoded(content, rest))
    number = int(found[1])
    assert 1 <= number <= len(lines), message
    got = GOT.search(rest)
    if got is not None and found.re is CELL and not got[1][1:-1].endswith("..."):
        # A row may go on for a few lines, in quotes, of which some are doubled.
        row = "\n".join(lines[number - 1 : number + 5])
        assert got[1][1:-1].replace('"', "") in row.replace('"', ""), message


@pytest.fixture
def check() -> Callable[[str, str, bytes], None]:
    """See :func:`check_place`."""
    return check_place
