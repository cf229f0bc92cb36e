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
            "sessions" for trading days, of which holidays are missing; "steps" for whole numbers.
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
            offset = _offset(self.frequency)
            alias = _tick(pd.Timedelta(offset).value) if _is_tick(offset) else offset.freqstr
            object.__setattr__(self, "frequency", alias)  # 60min is h
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
    def step_name(self) -> str:
        """What a step is called: "day", "hour", "month", ...; "step" where no word fits."""
        if self.frequency in (SESSIONS, "B"):
            return "day"
        count, unit, _ = (0, "", "") if self.frequency == STEPS else _parts(self.frequency)
        return _UNITS[unit][0] if count == 1 and unit in _UNITS else "step"

    def after(self, last: pd.Timestamp | int, count: int) -> pd.Index:
        """Return the ``count`` times after ``last``, in its time zone and by its local clock.

        Raises:
            DataError: they lie beyond the year 2262, where nanoseconds end.
        """
        if self.frequency == STEPS:
            return pd.Index(int(last) + self.step * np.arange(1, count + 1), dtype="int64")
        first = pd.DatetimeIndex([pd.Timestamp(last)])
        clock = self._clock(first)
        try:
            if self.frequency == SESSIONS:
                days = self._sessions_after(clock, np.arange(1, count + 1))
                return _localise(days + (_wall(first) - clock)[0], first.tz)
            # One more than needed, for ``last`` may lie between two times of the calendar.
            times = pd.date_range(clock[0], periods=count + 2, freq=self.frequency)
            return _localise(times[times > clock[0]][:count].as_unit("ns"), first.tz)
        except (pd.errors.OutOfBoundsDatetime, OverflowError):
            raise DataError(f"{count} steps after {last} end beyond the year 2262") from None

    def between(self, first: Any, last: Any) -> pd.Index:
        """Return all times from ``first`` to ``last`` of a calendar without holidays.

        Raises:
            DataError: they are millions.
        """
        if (last - first) / (self.after(first, 1)[0] - first) > _MOST_STEPS:
            raise DataError(f"from {first} to {last} are more than {_MOST_STEPS} steps ({self})")
        if self.frequency == STEPS:
            return pd.Index(np.arange(first, last + 1, self.step), dtype="int64")
        ends = self._clock(pd.DatetimeIndex([first, last]))
        times = pd.date_range(ends[0], ends[1], freq=self.frequency).as_unit("ns")
        return _localise(times, first.tz)

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
        offset = None if self.frequency == SESSIONS else _offset(self.frequency)
        if offset is None or isinstance(offset, offsets.BusinessDay):
            return ("weekday",)
        if _is_tick(offset) or isinstance(offset, offsets.Day):
            step = pd.Timedelta(offset).value if _is_tick(offset) else _DAY
            if step >= _DAY:
                return ("weekday", "day_of_year")
            return ("minute",) * (step % _TICKS["h"] > 0) + ("hour", "weekday")
        unit = _parts(self.frequency)[1]
        return {"Y": (), "Q": ("month",), "M": ("month",)}.get(unit, ("day_of_year",))

    def _fit(self, time: pd.Index) -> float:
        """Return the share of rows of ``time`` [N] that the next step follows."""
        clock = self._clock(time)
        return float(np.mean(self._next(clock[:-1]) == clock[1:]))

    def _clock(self, time: Any) -> Any:
        """Return times [N] as those among which every step is as long as it says."""
        if self.frequency == SESSIONS:
            return _wall(time).normalize()
        if self.frequency == STEPS or _is_tick(_offset(self.frequency)):
            return time
        return _wall(time)

    def _next(self, clock: Any) -> Any:
        """Return the time one step after each [N]."""
        if self.frequency == SESSIONS:
            return self._sessions_after(clock, 1)
        return clock + (self.step if self.frequency == STEPS else _offset(self.frequency))

    def _sessions_after(self, days: Any, counts: Any) -> pd.DatetimeIndex:
        mask = [day in self.weekdays for day in range(7)]
        days = days.to_numpy().astype("datetime64[D]")
        after = np.busday_offset(days, counts, roll="backward", weekmask=mask)
        return pd.DatetimeIndex(after).as_unit("ns")


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
        frequency: a pandas offset alias, "sessions" or "steps"; None to infer it.
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


def _offset(frequency: str) -> Any:
    try:
        offset = to_offset(frequency)
    except (ValueError, TypeError) as error:
        hint = str(error).rpartition(": ")[2].strip("\"')")
        raise ConfigError(
            "freq must be a pandas frequency such as h, 15min, D, B, W-FRI, MS or QE-DEC, or "
            f"{SESSIONS} or {STEPS}, but got {frequency!r} ({hint})"
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
    if calendar.frequency in (SESSIONS, STEPS):
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
