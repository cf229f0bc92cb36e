import os
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.toml_files import TomlModel


class Window(TomlModel):
    _WHAT: ClassVar[str] = "a window"

    first: int = 0
    last: int = Field(default=9, le=99)
    note: str | None = None

    def _require_consistent(self) -> None:
        if self.last < self.first:
            raise ConfigError(f"last must be at least {self.first}, but got {self.last}")


def test_toml_is_read_and_written() -> None:
    assert Window.from_toml("last = 3  # days") == Window(last=3)
    assert Window(note="x").to_toml() == 'first = 0\nlast = 9\nnote = "x"\n'
    assert Window.from_toml(Window(last=3).to_toml()) == Window(last=3)


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "window.toml"
    path.write_bytes(b"\xef\xbb\xbflast = 3\r\n")
    assert Window.load(path) == Window(last=3)


@pytest.mark.parametrize("text", ["a = [", "a=" + "[" * 5000, "a = " + "1" * 5000, "= 3"])
def test_what_is_no_toml_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^a window must be valid TOML"):
        Window.from_toml(text)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "window.toml"
    for text, message in (
        ("last = 100", "last must be less than or equal to 99, but got 100"),
        ("first = 10", "last must be at least 10, but got 9"),
        ("end = 3", "unknown key 'end'; allowed are first, last, note"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError) as refusal:
            Window.load(path)
        assert str(refusal.value) == f"{path}: {message}"


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"#" * (2**18 + 1))
    for name, message in (
        ("pipe", "regular file"),
        (".", "regular file"),
        ("binary", "readable text file"),
        ("large", "at most 256 KiB"),
        ("nowhere", "No such file"),
        ("x" * 300, "File name too long"),
        ("a\0b", "readable text file"),
    ):
        with pytest.raises(ConfigError, match=f"a window must .*{message}"):
            Window.load(tmp_path / name)
