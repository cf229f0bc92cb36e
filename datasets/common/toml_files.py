"""TOML that a user wrote: a mistake in it is one line."""

import os
import tomllib
from pathlib import Path
from typing import Any, ClassVar, Self

import tomli_w

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.common.records import StrictModel


class TomlModel(StrictModel):
    """A record that is kept as a TOML file."""

    _WHAT: ClassVar[str]  # what messages call such a file
    _MOST_BYTES: ClassVar[int] = 2**18

    def to_toml(self) -> str:
        """Return the record as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a record; fields that are left out keep their defaults.

        Raises:
            ConfigError: not TOML, an unknown key, a wrong type or value, or two that contradict
                one another.
        """
        try:
            table = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError: a huge number, too
            raise ConfigError(f"{cls._WHAT} must be valid TOML, but: {error}") from None
        record = cls(**cls._fields_of(table))
        record._require_consistent()
        return record

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read the record in the file ``path``.

        Raises:
            ConfigError: the file cannot be read or holds no valid record; names the file.
        """
        path = Path(path)
        try:
            if path.exists() and not path.is_file():  # a pipe may never end
                raise ConfigError(f"{path}: {cls._WHAT} must be a regular file")
            with path.open("rb") as file:
                content = file.read(cls._MOST_BYTES + 1)
            if len(content) > cls._MOST_BYTES:
                most = cls._MOST_BYTES >> 10
                raise ConfigError(f"{path}: {cls._WHAT} must have at most {most} KiB")
            text = content.decode("utf-8-sig")  # Notepad begins a file with a mark
        except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in the path
            raise ConfigError(
                f"{path}: {cls._WHAT} must be a readable text file: {error}"
            ) from None
        try:
            return cls.from_toml(text)
        except ForetuneError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def _fields_of(cls, table: dict[str, Any]) -> dict[str, Any]:
        """Return the fields in a file's ``table``."""
        return table

    def _require_consistent(self) -> None:
        """Refuse values that are allowed, but not together."""
