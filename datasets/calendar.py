"""`Calendar`: when the next steps of a series are, and how long its season is.

Times are a DatetimeIndex or an Index of whole numbers; ``N`` is how many. Steps of hours and less
are equal in absolute time; days and longer ones follow the local clock, so that a day in Berlin is
a day when the clocks change too.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import offsets
from pandas.tseries.frequencies import to_offset

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.exchange import Exchange, exchange_name, how_to_name_one, load_exchange

SESSIONS, STEPS = "sessions", "steps"

_DAY = 86_400 * 10**9  # nanoseconds
_TICKS = {"h": _DAY // 24, "min": _DAY // 1440, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = tuple(offsets.YearBegin(month=month).freqstr[-3:] for month in range(1, 13))  # JAN, ...
_UNITS = {  # of an offset's rule: what it is called, and how many of them are a season
    "D": ("day", "daily", 7),
    "W": ("week", "weekly", 52),
    "M": ("month", "monthly", 12),
    "Q": ("quarter", "quarterly", 4),
    "Y": ("year", "yearly", None),
    "h": ("hour", "hourly", None),
    "min": ("minute", "every minute", None),
    "s": ("second", "every second", None),
}
_KINDS = {
    "S": "",
    "E": ", on the last day",
    "BS": ", on the first business day",
    "BE": ", on the last business day",
}
_CYCLES: dict[str, Callable[[Any], Any]] = {  # each from 0 to 1, by the local clock
    "minute": lambda time: (time.minute + time.second / 60) / 60,
    "hour": lambda time: (time.hour + time.minute / 60 + time.second / 3600) / 24,
    "weekday": lambda time: time.day_of_week / 7,
    "day_of_month": lambda time: (time.day - 1) / time.days_in_month,
    "month": lambda time: (time.month - 1) / 12,
    "day_of_year": lambda time: (time.day_of_year - 1) / (365 + time.is_leap_year),
}
_MOST_STEPS = 10_000_000

# A calendar that fewer pairs of neighbouring rows follow is none.
_LEAST_FIT = 0.5

_RECENT_WEEKS = 4

# Of a shorter stretch nobody knows which weekdays are missing.
_LEAST_DAYS_OF_SESSIONS = 14


def shown(time: Any) -> str:
    """Write a time without what is always zero."""
    return str(time).removesuffix(" 00:00:00")


def row_number(row: int) -> str:
    """Name a row in an error message, counted from 0."""
    return f"row {row}"


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """What the next step of a series is.

    Args:
        frequency: a pandas offset alias ("h", "15min", "D", "B", "W-FRI", "MS", "QE-DEC", ...);
            "sessions" for trading days, of which holidays are missing; "steps" for whole numbers;
            or an exchange, whose holidays are known, by its name in exchange_calendars ("XNYS").
        weekdays: of sessions; Monday is 0.
        step: of whole-numbered time.
        seasonality: steps in a season; None where nothing is known.

    Raises:
        ConfigError: a field out of range; names it.

    Example:
        >>> Calendar(frequency="ME").after(pd.Timestamp("2024-01-31"), 2).strftime("%F").tolist()
        ['2024-02-29', '2024-03-31']
    """

    frequency: str
    weekdays: tuple[int, ...] = ()
    step: int = 1
    seasonality: int | None = None

    def __post_init__(self) -> None:
        if self.frequency not in (SESSIONS, STEPS):
            object.__setattr__(self, "frequency", _one_name(self.frequency))
        weekdays = tuple(sorted(set(self.weekdays)))
        if bool(weekdays) != (self.frequency == SESSIONS) or not set(weekdays) <= set(range(7)):
            raise ConfigError(
                "weekdays must be numbers from 0 (Monday) to 6 for the frequency 'sessions', and "
                f"none for others, but got {self.weekdays} for {self.frequency!r}"
            )
        object.__setattr__(self, "weekdays", weekdays)
        for field, value in (("step", self.step), ("seasonality", self.seasonality)):
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise ConfigError(f"{field} must be a whole number from 1, but got {value!r}")

    def __str__(self) -> str:
        if self.frequency == STEPS:
            return f"whole numbers, step {self.step}"
        if self.frequency == SESSIONS:
            return f"sessions ({_join(self.weekdays)})"
        if self.exchange is not None:
            return f"sessions of {self.frequency}"
        if self.frequency == "B":
            return "business days (Monday to Friday)"
        count, unit, kind = _parts(self.frequency)
        if unit not in _UNITS:
            return f"every {self.frequency}"
        name, adverb, _ = _UNITS[unit]
        if unit == "W":
            kind = f", on {_WEEKDAYS[_offset(self.frequency).weekday]}s"
        return (adverb if count == 1 else f"every {count} {name}s") + _KINDS.get(kind, kind)

    @property
    def exchange(self) -> Exchange | None:
        """The exchange whose sessions the steps are, and which knows its holidays."""
        is_other = self.frequency in (SESSIONS, STEPS) or _is_offset(self.frequency)
        return None if is_other else load_exchange(self.frequency)

    @property
    def step_name(self) -> str:
        """What a step is called: "day", "hour", "month", ...; "step" where no word fits."""
        if self._counts_days or self.frequency == "B":
            return "day"
        count, unit, _ = (0, "", "") if self.frequency == STEPS else _parts(self.frequency)
        return _UNITS[unit][0] if count == 1 and unit in _UNITS else "step"

    def after(self, last: pd.Timestamp | int, count: int) -> pd.Index:
        """Return the ``count`` times after ``last``, in its time zone and by its local clock.

        Raises:
            DataError: they lie beyond the year 2262, where nanoseconds end, or beyond what is known
                of an exchange.
        """
        if self.frequency == STEPS:
            return pd.Index(int(last) + self.step * np.arange(1, count + 1), dtype="int64")
        first = pd.DatetimeIndex([pd.Timestamp(last)])
        clock = self._clock(first)
        try:
            if self._counts_days:
                return self._at_clock_of(first, self._sessions_after(_to_days(clock)[0], count))
            # One more than needed, for ``last`` may lie between two times of the calendar.
            times = pd.date_range(clock[0], periods=count + 2, freq=self.frequency)
            return _localise(times[times > clock[0]][:count].as_unit("ns"), first.tz)
        except (pd.errors.OutOfBoundsDatetime, OverflowError):
            raise DataError(f"{count} steps after {last} end beyond the year 2262") from None

    def between(self, first: Any, last: Any) -> pd.Index:
        """Return all times from ``first`` to ``last``; not of sessions without an exchange.

        Raises:
            DataError: they are millions.
        """
        if self.exchange is not None:
            days = self._days(pd.DatetimeIndex([first, last]))
            return self._at_clock_of(
                pd.DatetimeIndex([first]), self.exchange.between(days[0], days[1])
            )
        if (last - first) / (self.after(first, 1)[0] - first) > _MOST_STEPS:
            raise DataError(f"from {first} to {last} are more than {_MOST_STEPS} steps ({self})")
        if self.frequency == STEPS:
            return pd.Index(np.arange(first, last + 1, self.step), dtype="int64")
        ends = self._clock(pd.DatetimeIndex([first, last]))
        times = pd.date_range(ends[0], ends[1], freq=self.frequency).as_unit("ns")
        return _localise(times, first.tz)

    def missing(self, time: pd.Index) -> pd.Index:
        """Return the times of which ``time`` [N], which fits but for gaps, has no row.

        Those are none of sessions without an exchange, whose holidays nobody knows.
        """
        if self.frequency == SESSIONS:
            return time[:0]
        every = self.between(time[0], time[-1])
        if self.exchange is None:
            return every.difference(time)
        return every[~np.isin(self._days(every), self._days(time))]

    def remarks(self, time: pd.Index) -> tuple[str, ...]:
        """Say what :meth:`check` accepts of ``time`` [N], though an exchange has it otherwise.

        Example:
            >>> Calendar(frequency="XNYS").remarks(pd.DatetimeIndex(["2024-01-02", "2024-01-05"]))
            ('2 sessions of XNYS have no row; the first is 2024-01-03',)
        """
        if self.exchange is None:
            return ()
        before = int((self._days(time) < self.exchange.first).sum())
        absent, found = self.missing(time), []
        if before:
            rows = "1 row is" if before == 1 else f"{before} rows are"
            found.append(
                f"{rows} before {self.exchange.first}, from when on the sessions of "
                f"{self.frequency} are known, and not checked"
            )
        if len(absent):
            some = len(absent) > 1
            found.append(
                f"{len(absent)} session{'s' * some} of {self.frequency} {'have' if some else 'has'}"
                f" no row; the first is {shown(absent[0])}"
            )
        return tuple(found)

    def check(
        self, time: pd.Index, where: Callable[[int], str] = row_number, *, gaps: bool = False
    ) -> None:
        """Refuse the first row of ``time`` [N], which increases, that is not on the calendar.

        Args:
            time: the times of the rows.
            where: how a message calls a row.
            gaps: whether rows may be missing.

        Raises:
            DataError: names the row, its time, what was expected and what to do.
        """
        if (self.frequency == STEPS) == isinstance(time, pd.DatetimeIndex):
            kind = "whole numbers" if self.frequency == STEPS else "dates"
            raise DataError(
                f"time must be {kind} where the frequency is {self.frequency!r}, but its type is "
                f"{time.dtype}; leave freq= out, or convert the time"
            )
        if self.exchange is not None:
            self._require_sessions(self.exchange, time, where)
            return
        clock = self._clock(time)
        if self.frequency == SESSIONS:
            expected = clock[:1].append(np.maximum(clock[:-1] + pd.Timedelta(days=1), clock[1:]))
        elif self.frequency == STEPS:
            expected = clock[:1].append(self._next(clock[:-1]))
        else:
            first = pd.DatetimeIndex([_offset(self.frequency).rollforward(clock[0])])
            expected = first.as_unit("ns").append(self._next(clock[:-1]))
        wrong = np.asarray(expected != clock)
        if gaps and wrong.any() and self.frequency != SESSIONS:
            wrong = ~np.asarray(time.isin(self.between(time[0], time[-1])))
        if wrong.any():
            row = int(wrong.argmax())
            absent = not gaps and row > 0 and bool(clock[row] > expected[row])
            remedy = "fill missing rows with missing='ffill' or missing='interpolate', or" * absent
            raise DataError(
                f"{where(row)}: time must be {shown(expected[row])} ({self}"
                + f", one step after {shown(time[row - 1])}" * (row > 0)
                + f"), but got {shown(time[row])}; {remedy or 'remove the row, or'} give freq=, "
                "which may be 'steps' to count rows"
            )

    def _require_sessions(
        self, exchange: Exchange, time: pd.Index, where: Callable[[int], str]
    ) -> None:
        """Refuse the first row on no session, or on that of the row before.

        Before the first day that is known all days are sessions.
        """
        days = self._days(time)
        again = np.append(False, days[1:] == days[:-1])
        wrong = again | (~exchange.are_sessions(days) & (days >= exchange.first))
        if not wrong.any():
            return
        row = int(wrong.argmax())
        if days[row] > exchange.last:
            raise DataError(f"{where(row)}: {exchange.unknown(f'a session on {days[row]}')}")
        day = f"{_WEEKDAYS[time[row].day_of_week]} {days[row]}"
        rule = f"{where(row)}: time must be a session of {exchange.name}"
        if again[row]:
            raise DataError(f"{rule}, one row each, but {day} has two; remove one")
        raise DataError(
            f"{rule}, but {day} is none; remove the row, or give freq='sessions', which knows no "
            "holidays"
        )

    def features(self, time: pd.Index, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Return sine and cosine of where each time stands in a cycle.

        Args:
            time: dates [N], read by their local clock.
            names: of "minute", "hour", "weekday", "day_of_month", "month", "day_of_year".

        Returns:
            ``{"hour_sin": [N], "hour_cos": [N], ...}``

        Raises:
            ConfigError: there is no such feature, or time is whole numbers.
        """
        found: dict[str, NDArray[np.float64]] = {}
        for name in names:
            if name not in _CYCLES or not isinstance(time, pd.DatetimeIndex):
                raise ConfigError(
                    f"calendar features must be of {', '.join(_CYCLES)}, for time that is dates, "
                    f"but got {name!r} for {self}"
                )
            angle = 2 * np.pi * np.asarray(_CYCLES[name](time), dtype=np.float64)
            found |= {f"{name}_sin": np.sin(angle), f"{name}_cos": np.cos(angle)}
        return found

    def default_features(self) -> tuple[str, ...]:
        """Return the names of :meth:`features` that tell one step of a year from another.

        Example:
            >>> Calendar(frequency="15min").default_features()
            ('minute', 'hour', 'weekday')
        """
        if self.frequency == STEPS:
            return ()
        offset = None if self._counts_days else _offset(self.frequency)
        if offset is None or isinstance(offset, offsets.BusinessDay):
            return ("weekday",)
        if _is_tick(offset) or isinstance(offset, offsets.Day):
            step = pd.Timedelta(offset).value if _is_tick(offset) else _DAY
            if step >= _DAY:
                return ("weekday", "day_of_year")
            return ("minute",) * (step % _TICKS["h"] > 0) + ("hour", "weekday")
        unit = _parts(self.frequency)[1]
        return {"Y": (), "Q": ("month",), "M": ("month",)}.get(unit, ("day_of_year",))

    @property
    def _counts_days(self) -> bool:
        """Whether steps are from one session to the next, at any time of the day."""
        return self.frequency == SESSIONS or self.exchange is not None

    def _fit(self, time: pd.Index) -> float:
        """Return the share of rows of ``time`` [N] that the next step follows."""
        clock = self._clock(time)
        return float(np.mean(self._next(clock[:-1]) == clock[1:]))

    def _clock(self, time: Any) -> Any:
        """Return times [N] as those among which every step is as long as it says."""
        if self._counts_days:
            return _wall(time).normalize()
        if self.frequency == STEPS or _is_tick(_offset(self.frequency)):
            return time
        return _wall(time)

    def _next(self, clock: Any) -> Any:
        """Return the time one step after each [N]."""
        if self.frequency == SESSIONS:
            return pd.DatetimeIndex(self._weekdays_after(_to_days(clock), 1)).as_unit("ns")
        return clock + (self.step if self.frequency == STEPS else _offset(self.frequency))

    def _days(self, time: Any) -> NDArray[np.datetime64]:
        return _to_days(self._clock(time))

    def _at_clock_of(self, first: pd.DatetimeIndex, days: NDArray[np.datetime64]) -> pd.Index:
        """Return days at the time of day, and in the zone, of ``first`` [1]."""
        wall = pd.DatetimeIndex(days).as_unit("ns") + (_wall(first) - self._clock(first))[0]
        return _localise(wall, first.tz)

    def _sessions_after(self, day: np.datetime64, count: int) -> NDArray[np.datetime64]:
        if self.exchange is not None:
            return self.exchange.after(day, count)
        return self._weekdays_after(day, np.arange(1, count + 1))

    def _weekdays_after(self, days: Any, counts: Any) -> NDArray[np.datetime64]:
        mask = [day in self.weekdays for day in range(7)]
        after: NDArray[np.datetime64] = np.busday_offset(
            days, counts, roll="backward", weekmask=mask
        )
        return after


def infer_calendar(
    time: pd.Index,
    *,
    frequency: str | None = None,
    seasonality: int | None = None,
    where: Callable[[int], str] = row_number,
    gaps: bool = False,
) -> Calendar:
    """Find the calendar that times follow, or check the one that is given.

    Args:
        time: dates or whole numbers [N], strictly increasing.
        frequency: a pandas offset alias, "sessions", "steps" or an exchange; None to infer it.
        seasonality: steps in a season; None for the calendar's own (24 of "h", 7 of "D", ...).
        where: how a message calls a row.
        gaps: whether rows may be missing, because they will be filled.

    Raises:
        DataError: no calendar fits; names the first row that does not, and what to do.
        ConfigError: there is no such frequency or seasonality.

    Example:
        >>> print(infer_calendar(pd.date_range("2024-01-31", periods=12, freq="ME")))
        monthly, on the last day
    """
    time = checked_time(time, where)
    calendar = _guess(time) if frequency is None else _given(frequency, time)
    calendar.check(time, where, gaps=gaps)
    return replace(calendar, seasonality=_season(calendar) if seasonality is None else seasonality)


def trading_days(time: pd.DatetimeIndex) -> Calendar:
    """Return the calendar of days [N] that follow no other: sessions from Monday to Friday.

    Saturday or Sunday are among them too where most of the last four weeks had a row on it.
    """
    recent = time[time > time[-1] - pd.Timedelta(weeks=_RECENT_WEEKS)].day_of_week
    weekend = [day for day in (5, 6) if (recent == day).sum() > _RECENT_WEEKS / 2]
    return Calendar(frequency=SESSIONS, weekdays=(*range(5), *weekend))


def time_numbers(time: pd.Index) -> NDArray[np.int64]:
    """Return times [N] as numbers: of dates nanoseconds since 1970 in UTC."""
    return np.asarray(time.asi8 if isinstance(time, pd.DatetimeIndex) else time, dtype=np.int64)


def time_index(
    numbers: NDArray[np.int64], *, calendar: Calendar, name: str | None, zone: str | None
) -> pd.Index:
    """Return the times [N] that :func:`time_numbers` has made numbers of.

    Raises:
        ConfigError: there is no such time zone.
    """
    if calendar.frequency == STEPS:
        return pd.Index(numbers, name=name)
    index = pd.DatetimeIndex(numbers.astype("<M8[ns]"), name=name)
    try:
        return index if zone is None else index.tz_localize("UTC").tz_convert(zone)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"zone must be a time zone, but got {zone!r}") from None


def local_clock(time: pd.Index) -> NDArray[Any]:
    """Return times [N] as an array to draw and to write: days, local times, or whole numbers."""
    array: NDArray[Any] = time.to_numpy()
    if isinstance(time, pd.DatetimeIndex):
        wall = time.tz_localize(None)
        is_day = (wall == wall.normalize()).all()
        array = wall.to_numpy("datetime64[D]" if is_day else "datetime64[ns]")
    array = array.view()
    array.setflags(write=False)
    return array


def checked_time(time: pd.Index, where: Callable[[int], str] = row_number) -> pd.Index:
    """Return times [N] in nanoseconds, or as whole numbers of 64 bits; they must increase.

    Raises:
        DataError: names the first row that breaks a rule.
    """
    if not isinstance(time, pd.DatetimeIndex) and not pd.api.types.is_integer_dtype(time.dtype):
        raise DataError(
            f"time must be dates of one time zone or whole numbers, but its type is {time.dtype}; "
            "mixed zones become one by pd.to_datetime(..., utc=True).tz_convert('Europe/Berlin')"
        )
    if not len(time):
        raise DataError("time must have at least one row, but has none")
    if time.hasnans:
        raise DataError(f"{where(int(time.isna().argmax()))}: time must be given, but is missing")
    if isinstance(time, pd.DatetimeIndex):
        zone_name(time)
        try:
            time = time.as_unit("ns")
        except pd.errors.OutOfBoundsDatetime:
            row = int(((time.year < 1678) | (time.year > 2261)).argmax())
            raise DataError(
                f"{where(row)}: time must be of the years 1678 to 2261, but got "
                f"{shown(time[row])}; whole numbers, such as the year alone, may be any"
            ) from None
    else:
        time = time.astype("int64")
    values = time.to_numpy()
    wrong = values[1:] <= values[:-1]
    if wrong.any():
        row = int(wrong.argmax()) + 1
        now, before = time[row], time[row - 1]
        problem = "is there twice" if now == before else f"follows {shown(before)}"
        raise DataError(
            f"{where(row)}: time must increase from row to row, but {shown(now)} {problem}; "
            + ("keep one row of each time" if now == before else "sort the rows")
        )
    return time


def zone_name(time: pd.Index) -> str:
    """Return the name of the time zone, which is the same on every machine; "" where is none.

    Raises:
        DataError: it has no such name.
    """
    zone = time.tz if isinstance(time, pd.DatetimeIndex) else None
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if zone is None or name:
        return str(name or "")
    if zone.utcoffset(None) is None:
        raise DataError(
            f"time must have a time zone with a name, but got {zone!r}; convert it, as with "
            "tz_convert('Europe/Berlin')"
        )
    offset = str(pd.Timestamp(0, tz=zone).strftime("%z"))
    return f"UTC{offset[:3]}:{offset[3:]}".removesuffix("+00:00")


def _one_name(frequency: str) -> str:
    """Return the one name of a frequency: 60min is h, and NYSE is XNYS."""
    name = None if _is_offset(frequency) else exchange_name(frequency)
    if name is not None:
        return name
    offset = _offset(frequency)
    return _tick(pd.Timedelta(offset).value) if _is_tick(offset) else str(offset.freqstr)


def _is_offset(frequency: str) -> bool:
    """Whether pandas knows a frequency; it knows no exchange."""
    try:
        return to_offset(frequency) is not None
    except (ValueError, TypeError):
        return False


def _offset(frequency: str) -> Any:
    try:
        offset = to_offset(frequency)
    except (ValueError, TypeError) as error:
        hint = re.search("'[^']*' is no longer .* instead|Did you mean [^?]*[?]", str(error))
        raise ConfigError(
            "freq must be a pandas frequency such as h, 15min, D, B, W-FRI, MS or QE-DEC, "
            f"{SESSIONS}, {STEPS}, or {how_to_name_one(frequency)}, but got {frequency!r}"
            + (f" ({hint[0]})" if hint else "")
        ) from None
    if offset is None or offset.n < 1:
        raise ConfigError(f"freq must be at least one step forward, but got {frequency!r}")
    return offset


def _is_tick(offset: Any) -> bool:
    """Whether steps are equal in absolute time; before pandas 3 a Day is a Tick too."""
    return isinstance(offset, offsets.Tick) and not isinstance(offset, offsets.Day)


def _tick(step: int) -> str:
    """Return the alias of a step in nanoseconds."""
    alias, length = next(item for item in _TICKS.items() if step % item[1] == 0)
    return f"{step // length}{alias}" if step > length else alias


def _parts(frequency: str) -> tuple[int, str, str]:
    """Split an alias: how many, of which unit, at which of its ends.

    Example:
        >>> _parts("2BQE-DEC"), _parts("W-FRI"), _parts("15min")
        ((2, 'Q', 'BE'), (1, 'W', ''), (15, 'min', ''))
    """
    offset = _offset(frequency)
    rule = offset.rule_code.partition("-")[0]
    match = re.fullmatch("(B?)([MQY])([SE])", rule)
    return (offset.n, match[2], match[1] + match[3]) if match else (offset.n, rule, "")


def _season(calendar: Calendar) -> int | None:
    """Return the steps in a season; 5 is no season of prices, and a year has none."""
    if calendar.frequency == STEPS or calendar._counts_days:
        return None
    count, unit, _ = _parts(calendar.frequency)
    cycle = _UNITS[unit][2] if unit in _UNITS else None
    if unit in ("h", "min"):
        count *= _TICKS[unit]
        count, cycle = (count, _DAY) if count % _DAY else (count // _DAY, 7)
    return cycle // count if cycle and cycle % count == 0 and cycle > count else None


def _given(frequency: str, time: pd.Index) -> Calendar:
    if frequency == STEPS and not isinstance(time, pd.DatetimeIndex):
        return _guess(time)
    if frequency != SESSIONS or not isinstance(time, pd.DatetimeIndex):
        return Calendar(frequency=frequency)
    weekdays = _weekdays(time)
    if not 0 < len(weekdays) < 7:
        raise DataError(
            f"freq={SESSIONS!r} needs two weeks of rows, one a day, and a weekday without any, but "
            f"the rows from {shown(time[0])} to {shown(time[-1])} are on "
            f"{_join(weekdays) or 'no weekday regularly'}; give freq='B' or freq='D'"
        )
    return Calendar(frequency=SESSIONS, weekdays=weekdays)


def _guess(time: pd.Index) -> Calendar:
    if len(time) < 3:
        raise DataError(f"time must have at least 3 rows, but has {len(time)}; give freq=")
    if not isinstance(time, pd.DatetimeIndex):
        return Calendar(frequency=STEPS, step=_mode(np.diff(time.to_numpy())))
    regular = [Calendar(frequency=alias) for alias in _candidates(time)]
    fits = [calendar._fit(time) for calendar in regular]
    best = int(np.argmax(fits))
    if fits[best] == 1:
        return regular[best]
    weekdays = _weekdays(time)
    if 2 <= len(weekdays) <= 6:
        sessions = Calendar(frequency=SESSIONS, weekdays=weekdays)
        if sessions._fit(time) >= _LEAST_FIT:
            return sessions
    if fits[best] >= _LEAST_FIT:
        return regular[best]
    steps = np.diff(time.asi8)
    raise DataError(
        f"time must have equal steps, but they are from {pd.Timedelta(int(steps.min()))} to "
        f"{pd.Timedelta(int(steps.max()))} long and follow no calendar; give freq=, of which "
        f"{STEPS!r} counts the rows"
    )


def _candidates(time: pd.DatetimeIndex) -> list[str]:
    """Return the aliases that come into question, the one that says most first."""
    wall, found = _wall(time), []
    months, month = _mode(np.diff(wall.year * 12 + wall.month)), _mode(wall.month) - 1
    for business, end in (("", "S"), ("", "E"), ("B", "S"), ("B", "E")):
        if months and months % 12 == 0:
            found.append(f"{months // 12}{business}Y{end}-{_MONTHS[month]}")
        elif months == 3:
            found.append(f"{business}Q{end}-{_MONTHS[month % 3 + 9 * (end == 'E')]}")
        elif months:
            found.append(f"{months}{business}M{end}")
    days, rest = divmod(_mode(np.diff(wall.asi8)), _DAY)
    if days > 0 and not rest:
        weekday = _WEEKDAYS[_mode(wall.day_of_week)][:3].upper()
        found.append(f"{days}D" if days % 7 else f"{days // 7}W-{weekday}")
    return [*found, _tick(_mode(np.diff(time.asi8))), *["B"] * (days == 1)]


def _weekdays(time: pd.DatetimeIndex) -> tuple[int, ...]:
    """Return the weekdays that occur in at least half of the weeks of the last year."""
    days = _wall(time).to_numpy().astype("datetime64[D]").astype(np.int64)
    if days[-1] - days[0] < _LEAST_DAYS_OF_SESSIONS - 1 or (days[1:] == days[:-1]).any():
        return ()
    year = np.arange(max(days[0], days[-1] - 52 * 7 + 1), days[-1] + 1)
    there = np.isin(year, days)
    weekday = (year + 3) % 7  # day 0, 1970-01-01, was a Thursday
    return tuple(day for day in range(7) if there[weekday == day].mean() >= 0.5)


def _wall(time: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Return the local clock without its zone; a day whose midnight was skipped begins at it."""
    wall = time.tz_localize(None)
    if time.tz is None:
        return wall
    midnight = wall.normalize()
    return wall.where(_localise(midnight, time.tz) != time, midnight)


def _to_days(clock: Any) -> NDArray[np.datetime64]:
    days: NDArray[np.datetime64] = clock.to_numpy().astype("datetime64[D]")
    return days


def _localise(wall: pd.DatetimeIndex, zone: Any) -> pd.DatetimeIndex:
    """Return local clocks in their zone: the first of two, or the next where there is none."""
    if zone is None or wall.tz is not None:
        return wall
    return wall.tz_localize(
        zone, nonexistent="shift_forward", ambiguous=np.ones(len(wall), dtype=np.bool_)
    )


def _mode(values: Any) -> int:
    """Return the most frequent whole number, the smallest of several."""
    numbers, counts = np.unique(np.asarray(values, dtype=np.int64), return_counts=True)
    return int(numbers[counts.argmax()])


def _join(weekdays: tuple[int, ...]) -> str:
    """Name weekdays: as a range, which may go over Sunday, or one by one."""
    starts = [day for day in weekdays if (day - 1) % 7 not in weekdays]
    if len(starts) == 1 and len(weekdays) > 2:
        return f"{_WEEKDAYS[starts[0]]} to {_WEEKDAYS[(starts[0] + len(weekdays) - 1) % 7]}"
    return " and ".join(_WEEKDAYS[day] for day in weekdays)
