"""The sessions of an exchange, by its name in the package exchange_calendars, which is an extra.

The package is imported when such a name is used, and not before. ``D`` is a number of days.
"""

import difflib
import functools
import textwrap
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError

# Where the package sets no bounds of its own.
FIRST, LAST = np.datetime64("1900-01-01"), np.datetime64("2100-12-31")

INSTALL = "pip install 'foretune[exchange]'"


@dataclass(frozen=True, eq=False, kw_only=True)
class Exchange:
    """The sessions of an exchange, as far as they are known.

    Args:
        name: as exchange_calendars calls it, such as "XNYS".
        version: of exchange_calendars.
        first: the first day of which it is known whether there is a session.
        last: the last such day.
        sessions: all between them, in order.
    """

    name: str
    version: str
    first: np.datetime64
    last: np.datetime64
    sessions: NDArray[np.datetime64]

    def between(self, first: np.datetime64, last: np.datetime64) -> NDArray[np.datetime64]:
        """Return the sessions from ``first`` to ``last``; of unknown days none."""
        start = np.searchsorted(self.sessions, first)
        return self.sessions[start : np.searchsorted(self.sessions, last, side="right")]

    def after(self, day: np.datetime64, count: int) -> NDArray[np.datetime64]:
        """Return the ``count`` sessions after ``day``.

        Raises:
            DataError: they are not known.
        """
        found = self.between(day + 1, self.last)[:count]
        if day < self.first or len(found) < count:
            raise self.unknown(f"{count} sessions after {day}")
        return found

    def are_sessions(self, days: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Return whether there is a session on each day [D]."""
        return np.isin(days, self.sessions)

    def unknown(self, what: str) -> DataError:
        """Return the error that it is not known ``what`` sessions are."""
        return DataError(
            f"{what} cannot be known: exchange_calendars {self.version} has the sessions of "
            f"{self.name} from {self.first} to {self.last}; upgrade it, or give freq='sessions', "
            "which knows no holidays"
        )


def exchange_name(word: str) -> str | None:
    """Return the one name of an exchange, XNYS of NYSE; None where it is no name of any."""
    package = _package()
    if package is None or word not in package.get_calendar_names():
        return None
    return str(package.resolve_alias(word))


def how_to_name_one(word: str) -> str:
    """Say what is the name of an exchange, to someone who wrote ``word``."""
    package = _package()
    if package is None:
        return f"(after {INSTALL}) an exchange such as XNYS or XLON"
    near = difflib.get_close_matches(str(word).upper(), package.get_calendar_names(), cutoff=0.7)
    return f"an exchange such as {' or '.join(near or ('XNYS', 'XLON'))}"


@functools.cache
def load_exchange(name: str) -> Exchange:
    """Return the exchange of a name that :func:`exchange_name` returns.

    Raises:
        ConfigError: exchange_calendars is not installed, or fails; says what to do.
    """
    package = _package()
    if package is None:
        raise ConfigError(f"freq={name!r} needs the package exchange_calendars: {INSTALL}")
    version = str(package.__version__)
    try:
        # What a later pandas will change is no matter of the user's.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            default = package.get_calendar(name)
            first, last = _day(default.bound_min(), FIRST), _day(default.bound_max(), LAST)
            known = package.get_calendar(name, start=str(first), end=str(last))
        sessions = known.sessions.to_numpy().astype("datetime64[D]")
    except Exception as error:  # of its own or of pandas, as where one is too new for the other
        reason = textwrap.shorten(str(error), 80)
        raise ConfigError(
            f"exchange_calendars {version} cannot make the calendar of {name} with this pandas "
            f"({type(error).__name__}: {reason}); upgrade it, or give freq='sessions'"
        ) from None
    sessions.setflags(write=False)
    return Exchange(name=name, version=version, first=first, last=last, sessions=sessions)


def _package() -> Any | None:
    try:
        import exchange_calendars
    except ImportError:
        return None
    return exchange_calendars


def _day(bound: Any, default: np.datetime64) -> np.datetime64:
    return default if bound is None else np.datetime64(bound.date(), "D")
