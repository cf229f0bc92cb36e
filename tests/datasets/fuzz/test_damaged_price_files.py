"""Two thousand damaged price files: each is read as prices, or refused in one line with its place.

File ``n`` is made by a generator that ``n`` seeds, so a failure names the file to make again.
"""

import gzip
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import people_formats as people
import pytest

from foretune.datasets.common.errors import ForetuneError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.load import as_series

FILES, MANY_FILES = 2000, 20_000

ROWS = [
    ("2020-01-02", "10.5", "12.25", "10.0", "11.0", "1000"),
    ("2020-01-03", "11.0", "13.0", "10.75", "12.5", "2000"),
    ("2020-01-06", "12.5", "14.0", "12.25", "13.0", "1500"),
    ("2020-01-07", "13.0", "13.5", "11.0", "11.5", "0"),
    ("2020-01-08", "11.5", "11.5", "11.5", "11.5", "3000"),
    ("2020-01-09", "1.15e1", "12.0", "11.25", "12.0", "2500"),
]
TITLES = ("Date", "Open", "High", "Low", "Close", "Volume")


def table(
    *, titles: tuple[str, ...] = TITLES, delimiter: str = ",", end: str = "\n", quote: str = ""
) -> bytes:
    rows = [titles, *ROWS]
    lines = [delimiter.join(f"{quote}{cell}{quote}" for cell in row) for row in rows]
    return (end.join(lines) + end).encode()


def yfinance() -> bytes:
    lines = ["Price,Close,High,Low,Open,Volume", "Ticker" + ",A" * 5, "Date,,,,,"]
    lines += [f"{day},{close},{high},{low},{first},{v}" for day, first, high, low, close, v in ROWS]
    return "\n".join(lines).encode()


SEEDS = [
    table(),
    table(titles=("timestamp", "open", "high", "low", "close", "volume")),
    table(titles=("date", "1. open", "2. high", "3. low", "4. close", "5. volume"), quote='"'),
    table(titles=("<DATE>", "<OPEN>", "<HIGH>", "<LOW>", "<CLOSE>", "<VOL>")),
    table(delimiter=";", end="\r\n"),
    table(delimiter="\t", end="\r"),
    b"\xef\xbb\xbf" + table(),
    table().replace(b"-", b""),
    table().replace(b",1000\n", b',"a\nnote, of two lines"\n').replace(b"Volume", b"Note"),
    yfinance(),
    gzip.compress(table(), mtime=0),
]
TOKENS = [
    *(b"", b",", b";", b"\t", b"\n", b"\r", b"\r\n", b'"', b'""', b"'", b"\\", b"\0", b"\x1a"),
    *(b"\x1b[2J", b"\xff", b"\xc3", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xc2\x85", b"\x0c", b"#"),
    *(b"nan", b"inf", b"-inf", b"null", b"-", b"0", b"-1", b"1e999", b"1e-999", b"1,000.5", b"1,5"),
    *(b"0x10", b"1_0", b"=1+1", b"True", b"0000-01-01", b"9999-12-31", b"2020-02-30", b"1/2/2020"),
    *(b"20200102", b"99999999999999999999", b"9" * 5000, b"x" * 5000, b"," * 2000, b"\n" * 2000),
    *(
        b'"' * 2000,
        b"Date",
        b"Ticker",
        b"Price",
        b"../../etc/passwd",
        b"{}",
        b"[",
        b"%s%n",
        b"$(ls)",
    ),
]


def flip(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :]


def delete(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content))
    return content[:at] + content[at + random.randint(1, 30) :]


def duplicate(content: bytes, random: Random) -> bytes:
    at, length = random.randrange(len(content)), random.randint(1, 60)
    return content[: at + length] + content[at:]


def insert(content: bytes, random: Random) -> bytes:
    at = random.randrange(len(content) + 1)
    return content[:at] + random.choice(TOKENS) + content[at:]


def replace_field(content: bytes, random: Random) -> bytes:
    field = random.choice(list(re.finditer(rb"[^,;\t\r\n]*", content)))
    return content[: field.start()] + random.choice(TOKENS) + content[field.end() :]


def swap_fields(content: bytes, random: Random) -> bytes:
    parts = re.split(rb"([,;\t\r\n]+)", content)
    one, other = (2 * random.randrange((len(parts) + 1) // 2) for _ in range(2))
    parts[one], parts[other] = parts[other], parts[one]
    return b"".join(parts)


def swap_lines(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    random.shuffle(lines)
    return b"".join(lines)


def drop_line(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[random.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(content: bytes, random: Random) -> bytes:
    lines = content.splitlines(keepends=True)
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))
    return b"".join(lines)


def truncate(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content))]


def recode(content: bytes, random: Random) -> bytes:
    codec = random.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7"])
    return content.decode("latin-1").encode(codec)


def other_ends(content: bytes, random: Random) -> bytes:
    return content.replace(b"\n", random.choice([b"\r", b"\r\n", b"\n\n", b"\n\r", b" \n"]))


def zipped(content: bytes, random: Random) -> bytes:
    return gzip.compress(content, mtime=0)


MUTATIONS = [
    *(flip, delete, duplicate, insert, replace_field, replace_field, replace_field),
    *(swap_fields, swap_lines, drop_line, repeat_line, truncate, recode, other_ends, zipped),
]


def damaged(number: int, seeds: Sequence[bytes] = SEEDS) -> bytes:
    random = Random(number)
    content = random.choice(seeds)
    for _ in range(random.choice([1, 1, 1, 2, 3, 4])):
        content = random.choice(MUTATIONS)(content, random) if content else content
    return content


def unzipped(content: bytes) -> bytes:
    """What stands in the file; as it is, where it is no gzip."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content


def test_the_seeds_are_read_and_the_generator_repeats_itself(
    read: Callable[..., PriceSeries | str], tmp_path: Path
) -> None:
    for number, seed in enumerate(SEEDS):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(seed)
        outcome = read(path)
        assert isinstance(outcome, PriceSeries), outcome
        assert len(outcome) == len(ROWS)
    files = [damaged(number) for number in range(FILES)]
    assert files == [damaged(number) for number in range(FILES)]
    assert len(set(files)) > 0.9 * FILES


@pytest.mark.parametrize(
    "numbers",
    [range(FILES), pytest.param(range(FILES, MANY_FILES), marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_every_damaged_file_is_read_or_refused_with_its_place(
    numbers: range,
    read: Callable[..., PriceSeries | str],
    check: Callable[[str, str, bytes], None],
    tmp_path: Path,
) -> None:
    path = tmp_path / "p.csv"
    count: Counter[str] = Counter()
    for number in numbers:
        content = damaged(number)
        path.write_bytes(content)
        try:
            outcome = read(path, missing=("raise", "drop")[number % 2])
            if isinstance(outcome, str):
                check(outcome, str(path), unzipped(content))
        except BaseException as error:
            error.add_note(f"file {number}: {unzipped(content)[:600]!r}")
            raise
        count[type(outcome).__name__] += 1
    # Not so much damage that nothing is read, nor so little that nothing is refused.
    assert count["str"] > len(numbers) / 4
    assert count["PriceSeries"] > len(numbers) / 8


@pytest.mark.filterwarnings("ignore::foretune.datasets.common.errors.DataWarning")
@pytest.mark.parametrize(
    "numbers",
    [range(500), pytest.param(range(500, 10_000), marks=pytest.mark.slow)],
    ids=["some", "many"],
)
def test_every_damaged_file_is_a_series_or_refused_in_a_line(
    numbers: range, under_watch: Callable[[], AbstractContextManager[None]], tmp_path: Path
) -> None:
    seeds = [write(people.series(frequency)) for frequency, write in people.SERIES.values()]
    seeds += [write(people.prices()) for write in people.PRICES.values()]
    path = tmp_path / "s.csv"
    count: Counter[str] = Counter()
    for number in numbers:
        content = damaged(number, seeds)
        path.write_bytes(content)
        missing = ("raise", "drop", "ffill", "interpolate")[number % 4]
        try:
            with under_watch():
                outcome: TimeSeries | str = as_series(path, missing=missing)
        except ForetuneError as error:
            outcome = str(error)
            assert outcome.isprintable()
        except BaseException as error:
            error.add_note(f"file {number}, missing={missing}: {unzipped(content)[:600]!r}")
            raise
        count[type(outcome).__name__] += 1
    assert count["str"] > len(numbers) / 6
    assert count["TimeSeries"] > len(numbers) / 6
