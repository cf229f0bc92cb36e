"""TOML that a user wrote: read whole, and refused in one line."""

import os
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from foretune.datasets.common.errors import ConfigError

MAX_BYTES = 2**18

# Tables and arrays in one another. No file of foretune's has more than three.
_MAX_DEPTH = 16

# A dotted key or a header of more parts: the time that tomllib takes grows with their square.
# What is matched once is not tried again (++, *+), or this would take as long.
_PART = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![\w\\-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_MAX_DEPTH}}}")

# Whole numbers that TOML promises to carry; larger ones fit into no array and no database.
_INTEGERS = range(-(2**63), 2**63)


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Parse ``text``; ``what`` it should hold is named in the error.

    Raises:
        ConfigError: it is not TOML, or nested deeper or with larger whole numbers than any file of
            foretune's.
    """
    long_key = _LONG_KEY.search(text)
    if long_key is not None:
        line = text.count("\n", 0, long_key.start()) + 1
        raise ConfigError(
            f"{what} must have keys of at most {_MAX_DEPTH} parts, but not line {line}"
        )
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or an endless number
        raise ConfigError(f"{what} must be valid TOML, but: {error}") from None
    _require_plain(table, what)
    return table


def _require_plain(table: dict[str, Any], what: str) -> None:
    """Refuse what other code would stumble over, one level after another."""
    level: list[tuple[str, Any]] = list(table.items())
    for _ in range(_MAX_DEPTH):
        for key, value in level:
            if isinstance(value, int) and value not in _INTEGERS:
                raise ConfigError(f"{key[:100]} must be a whole number of at most 64 bits")
        level = [(f"{key}.{inner}", item) for key, value in level for inner, item in _items(value)]
    if level:
        raise ConfigError(f"{what} must have tables and arrays nested at most {_MAX_DEPTH} deep")


def _items(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list) else ()


def read_text(path: str | os.PathLike[str], what: str, most: int = MAX_BYTES) -> str:
    """Read a text file of at most ``most`` bytes.

    Raises:
        ConfigError: there is none, or it is too large, no regular file or not UTF-8.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: {what} must be a regular file")
        with path.open("rb") as file:
            content = file.read(most + 1)  # for some files the system says no size
        if len(content) > most:
            raise ConfigError(f"{path}: {what} must have at most {most >> 10} KiB")
        return content.decode()
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        raise ConfigError(f"{path}: {what} must be a readable text file: {error}") from None
