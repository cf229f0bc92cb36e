"""TOML that a user wrote: read whole, and refused in one line."""

import os
import tomllib
from pathlib import Path
from typing import Any

from foretune.datasets.errors import ConfigError

MAX_BYTES = 2**20


def parse_toml(text: str, what: str) -> dict[str, Any]:
    """Parse ``text``; ``what`` it should hold is named in the error.

    Raises:
        ConfigError: it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or an endless number
        raise ConfigError(f"{what} must be valid TOML, but: {error}") from None


def read_text(path: str | os.PathLike[str], what: str) -> str:
    """Read a text file of at most 1 MiB.

    Raises:
        ConfigError: there is none, or it is too large, no regular file or not UTF-8.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path}: {what} must be a regular file")
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: {what} must have at most 1 MiB")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
        raise ConfigError(f"{path}: {what} must be a readable text file: {error}") from None
