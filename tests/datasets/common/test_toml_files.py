import os
from pathlib import Path

import pytest

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.toml_files import MAX_BYTES, parse_toml, read_text


def test_toml_is_parsed() -> None:
    assert parse_toml("a = [1, 2]\n[b]\nc = 'x'", "it") == {"a": [1, 2], "b": {"c": "x"}}


@pytest.mark.parametrize("text", ["a = [", "a=" + "[" * 5000, "a = " + "1" * 5000, "= 3"])
def test_what_is_no_toml_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="it must be valid TOML"):
        parse_toml(text, "it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.b" * 2 + ".c" * 15 + " = 1", "it must have keys of at most 16 parts, but not line 1"),
        ("\n\n[" + "a . 'b.' ." * 8 + "c]", "keys of at most 16 parts, but not line 3"),
        ("a = {" + '"\\"." . ' * 16 + "c = 1}", "keys of at most 16 parts, but not line 1"),
        ("a = {" + "b." * 500_000 + "c = 1}", "keys of at most 16 parts, but not line 1"),
        ("a = " + "[" * 17 + "]" * 17, "it must have tables and arrays nested at most 16 deep"),
        ("a = [{b = 9223372036854775808}]", r"a\.0\.b must be a whole number of at most 64 bits"),
        ("a = -9223372036854775809", "^a must be a whole number of at most 64 bits"),
        ("a = 0x" + "f" * 10_000, "^a must be a whole number of at most 64 bits"),
    ],
)
def test_what_no_file_of_ours_has_is_refused_before_it_costs_time(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_toml(text, "it")


def test_what_a_file_of_ours_may_have_is_read() -> None:
    text = "# " + "A sentence. " * 20 + "\n" + "a = [" + "1.5, " * 200 + "9223372036854775807]"
    assert parse_toml(text, "it")["a"][-1] == 2**63 - 1
    assert parse_toml("a = " + "[" * 15 + "]" * 15, "it")
    assert parse_toml("x" + ".x" * 14 + " = 1", "it")


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"#" * (MAX_BYTES + 1))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, message in (
        ("pipe", "regular file"),
        (".", "regular file"),
        ("large", "at most 256 KiB"),
        ("binary", "readable text file"),
        ("nowhere", "No such file"),
        ("x" * 300, "File name too long"),
        ("a\0b", "readable text file"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_text(tmp_path / name, "it")
