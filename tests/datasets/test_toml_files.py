import os
from pathlib import Path

import pytest

from foretune.datasets.errors import ConfigError
from foretune.datasets.toml_files import MAX_BYTES, parse_toml, read_text


def test_toml_is_parsed() -> None:
    assert parse_toml("a = [1, 2]\n[b]\nc = 'x'", "it") == {"a": [1, 2], "b": {"c": "x"}}


@pytest.mark.parametrize("text", ["a = [", "a=" + "[" * 5000, "a = " + "1" * 5000, "= 3"])
def test_what_is_no_toml_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="it must be valid TOML"):
        parse_toml(text, "it")


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, message in (
        ("pipe", "regular file"),
        (".", "regular file"),
        ("large", "at most 1 MiB"),
        ("binary", "readable text file"),
        ("nowhere", "No such file"),
        ("x" * 300, "File name too long"),
        ("a\0b", "readable text file"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_text(tmp_path / name, "it")
