"""``Panel``: several series of one kind, which one network learns and forecasts.

Shapes: ``S`` series, ``N`` rows of the longest one.
"""

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import Calendar, zone_name
from foretune.datasets.common.errors import DataError, DataWarning
from foretune.datasets.common.html_table import html_table
from foretune.datasets.frames import ID, Missing
from foretune.datasets.panel_frames import PanelColumns, Short, read_panel_frame
from foretune.datasets.series import TimeSeries
from foretune.datasets.transforms import SpaceName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Of many series that cannot be used, a message names so many.
_NAMED = 3
# And a table so many of all.
_LISTED = 10

_GROUPS = ("past", "future", "static")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Panel:
    """Series of one calendar and one target, in the order of their names.

    Rows are counted from the end: the last row of every series is the last one of the panel, and
    shorter ones begin later. Where all end at the same time, a row of the panel is one time; where
    they end apart, rows that test one series may be earlier than rows that train another.

    Args:
        name: a short label, such as "m4_hourly".
        series: the series; each is called as its id.
        source: where they come from.
        remarks: what reading left out, filled or decided; not part of the digest.
        reading: the arguments with which :func:`as_data` read it from its source.
        file: the path of the file that it was read from, if any.

    Raises:
        DataError: there is none, two have one name, or they are of different kinds; names the first
            that differs and what differs.

    Example:
        >>> panel = Panel.from_frame(frame)    # unique_id, ds, y
        >>> panel
        Panel('panel', 414 series of 700 to 960 rows, hourly)
        >>> panel.values.shape, panel["H1"]
        ((414, 960), TimeSeries('H1', 700 rows, hourly, ...))
    """

    name: str
    series: tuple[TimeSeries, ...]
    source: str
    remarks: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None

    def __post_init__(self) -> None:
        for one in self.series:
            if not isinstance(one, TimeSeries):
                raise DataError(
                    f"{self.name}: series must be TimeSeries, but got {type(one).__name__}; "
                    "prices.series('close') makes one of prices"
                )
        series = tuple(sorted(self.series, key=lambda one: one.name))
        if not series:
            raise DataError(f"{self.name} must have at least 1 series, but has none")
        twice = [name for name, count in Counter(one.name for one in series).items() if count > 1]
        if twice:
            raise DataError(f"{self.name}: {twice[0]!r} must be one series, but is several")
        for other in series[1:]:
            _require_kind(series[0], other, self.name)
        object.__setattr__(self, "series", series)
        object.__setattr__(self, "remarks", tuple(self.remarks))

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        id: str | None = None,
        time: str | None = None,
        target: str | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        static: Sequence[str] = (),
        wide: bool = False,
        series: str | Sequence[str] | None = None,
        leave_out: str | Sequence[str] = (),
        short: Short = "raise",
        least: int | None = None,
        freq: str | None = None,
        seasonality: int | None = None,
        missing: Missing = "raise",
        day_first: bool | None = None,
        name: str = "panel",
    ) -> Self:
        """Read a panel from a DataFrame: long, with a row for each series and time, or wide.

        Times are read once for all series, and follow the calendar of the longest one.

        Args:
            df: long, a column or a level of its index names the series.
            id: that column; None to find it.
            time: the column of times; None to find it.
            target: the column to forecast; None to find it.
            past: columns known up to the origin of a forecast.
            future: columns known beyond it; they may go on where the target is missing at the end.
            static: columns with one value a series.
            wide: every column of numbers that is nothing else is a series, which begins at its
                first value. Covariates are those of all, and the target is called "value".
            series: names of the series to take; None for all.
            leave_out: names of series to leave out.
            short: what to do with series of fewer than ``least`` values: "raise" an error, or
                "drop" them, which is said.
            least: values that a series must have.
            freq: a pandas offset alias, "sessions", an exchange such as "XNYS", or "steps", which
                counts rows that follow no calendar; None to infer it.
            seasonality: steps in a season; None for the calendar's own.
            missing: what to do with missing values, as in :meth:`TimeSeries.from_frame`.
            day_first: whether 01/02/2024 is in February; None to find out.
            name: label of the panel.

        Raises:
            DataError: there is no such column; a series cannot be read, is too short, or follows
                another calendar: names it.
            ConfigError: an argument is none of its values.

        Warns:
            DataWarning: what was left out, filled or decided; also in ``remarks``.

        Example:
            >>> Panel.from_frame(frame)    # a MultiIndex of unique_id and ds, or columns
            Panel('panel', 414 series of 700 to 960 rows, hourly)
            >>> Panel.from_frame(loads, wide=True, future=["holiday"])
            Panel('panel', 20 series of 8760 rows, hourly)
        """
        try:
            read = read_panel_frame(
                df,
                id=id,
                time=time,
                target=target,
                past=past,
                future=future,
                static=static,
                wide=wide,
                series=series,
                leave_out=leave_out,
                short=short,
                least=least,
                freq=freq,
                seasonality=seasonality,
                missing=missing,
                day_first=day_first,
            )
        except DataError as error:
            raise DataError(f"{name}: {error}") from None
        for remark in read.remarks:
            warnings.warn(f"{name}: {remark}", DataWarning, stacklevel=2)
        return cls(
            name=name,
            series=tuple(series_of(read, "a DataFrame")),
            source="a DataFrame",
            remarks=read.remarks,
            # Without which the same table would be read as one series.
            reading={"wide": True} if read.id is None else {"series_column": read.id},
        )

    def __len__(self) -> int:
        return max(map(len, self.series))

    def __iter__(self) -> Iterator[TimeSeries]:
        return iter(self.series)

    def __contains__(self, name: object) -> bool:
        """Whether a series is called so."""
        return name in self.names

    def __getitem__(self, name: str) -> TimeSeries:
        """Return the series of this name.

        Raises:
            DataError: there is none; says how many there are, and the first ones.
        """
        for one in self.series:
            if one.name == name:
                return one
        first = ", ".join(self.names[:_NAMED]) + ", ..." * (len(self.names) > _NAMED)
        raise DataError(f"{self.name} has no series {name!r}; its {len(self.names)} are {first}")

    def __repr__(self) -> str:
        return f"Panel({self.name!r}, {len(self.series)} series of {self._rows}, {self.calendar})"

    def _repr_html_(self) -> str:
        names = ", ".join(self.names[:_LISTED]) + ", ..." * (len(self.names) > _LISTED)
        last = "all end together" if self.is_aligned else "counted from the end of each"
        rows = [
            ("series", f"{len(self.series)}: {names}"),
            ("rows", f"{self._rows}, {last}"),
            ("calendar", str(self.calendar)),
            ("target", f"{self.target_name} [{self.unit}]" if self.unit else self.target_name),
            *(
                (f"{group} covariates", ", ".join(getattr(self.series[0], group)))
                for group in _GROUPS
            ),
            ("source", self.source),
            *(("remark", remark) for remark in self.remarks),
        ]
        return html_table([row for row in rows if row[1]], caption=self.name)

    @property
    def _rows(self) -> str:
        shortest, longest = min(map(len, self.series)), len(self)
        return f"{longest} rows" if shortest == longest else f"{shortest} to {longest} rows"

    @property
    def members(self) -> tuple[TimeSeries, ...]:
        """The series, in the order of all arrays [S]."""
        return self.series

    @property
    def error_space(self) -> SpaceName:
        """What errors are measured in, of all."""
        return self.series[0].error_space

    @property
    def target_name(self) -> str:
        """What the target is called, of all."""
        return self.series[0].target_name

    @property
    def unit(self) -> str | None:
        """The unit of the target, of all."""
        return self.series[0].unit

    @property
    def names(self) -> tuple[str, ...]:
        """What the series are called, in the order of all arrays [S]."""
        return tuple(one.name for one in self.series)

    @property
    def calendar(self) -> Calendar:
        """What the next step is, of all."""
        return self.series[0].calendar

    @cached_property
    def firsts(self) -> NDArray[np.int32]:
        """The first row of each series [S], counted from that of the longest one."""
        return np.array([len(self) - len(one) for one in self.series], np.int32)

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The target of each series [S, N]; before its first row stands its first value."""
        values = np.empty((len(self.series), len(self)))
        for own, one, first in zip(values, self.series, self.firsts, strict=True):
            own[:first], own[first:] = one.target[0], one.target
        values.setflags(write=False)
        return values

    @cached_property
    def is_aligned(self) -> bool:
        """Whether a row is one time: all series end together, and none lacks a row."""
        return is_aligned([one.time for one in self.series])

    @cached_property
    def time(self) -> pd.Index:
        """When each row is [N]; whole numbers from 0 where a row is no one time."""
        return common_time([one.time for one in self.series])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the names and digests of all series: the same in any order of rows."""
        content = hashlib.sha256(b"foretune panel 1\n")
        for one in self.series:
            content.update(f"{one.name!r} {one.digest}\n".encode())
        return content.hexdigest()

    def to_frame(self) -> pd.DataFrame:
        """Copy into a long DataFrame that ``from_frame`` reads back.

        Returns:
            A row for each series and time, by series: its name as "unique_id", the time, and what
            :meth:`TimeSeries.to_frame` has.
        """
        parts = {one.name: one.to_frame() for one in self.series}
        return pd.concat(parts, names=[ID]).reset_index()

    def plot(self, *names: str) -> "Figure":
        """Draw series one below another: those of these names, or the first few."""
        from matplotlib import pyplot as plt

        shown = [self[name] for name in names] or self.series[:_NAMED]
        size = (9, 2 + 2 * len(shown))
        figure, axes = plt.subplots(len(shown), squeeze=False, figsize=size, layout="constrained")
        for ax, one in zip(axes.flat, shown, strict=True):
            one.plot(ax)
        return figure

    def before(self, row: int) -> Self:
        """Take the rows before ``row`` of every series, as :meth:`TimeSeries.before` does.

        Raises:
            DataError: a series begins later.
        """
        late = [
            one.name for one, first in zip(self.series, self.firsts, strict=True) if first >= row
        ]
        if late:
            raise DataError(
                f"{self.name}: {len(late)} series have no row before row {row}, the first of them "
                f"is {late[0]}; leave them out"
            )
        cut = len(self) - row
        series = tuple(one.before(len(one) - cut) for one in self.series)
        return replace(self, series=series, remarks=(), file=None)


def series_of(read: PanelColumns, source: str, **about: Any) -> Iterator[TimeSeries]:
    """Return the series that a table has, which come from ``source``."""
    for name, columns in read.series.items():
        values = {item.name: getattr(columns, item.name) for item in fields(columns)}
        yield TimeSeries(name=name, source=source, **values | about | {"remarks": ()})


def is_aligned(times: Sequence[pd.Index]) -> bool:
    """Whether series with these times end together, and none lacks a row."""
    longest = max(times, key=len)
    return all(time.equals(longest[-len(time) :]) for time in times)


def common_time(times: Sequence[pd.Index]) -> pd.Index:
    """Return when each row of a panel is [N]; whole numbers from 0 where a row is no one time.

    Args:
        times: of each series.
    """
    longest = max(times, key=len)
    return longest if is_aligned(times) else pd.RangeIndex(len(longest), name="row")


def like(series: TimeSeries, first: TimeSeries, name: str) -> TimeSeries:
    """Return ``series`` with the covariates that the first one of a panel has, and no others.

    Raises:
        DataError: it is of another kind, or lacks one of them; the panel is called ``name``.
    """
    groups: dict[str, Any] = {
        group: {
            column: getattr(series, group)[column]
            for column in getattr(first, group)
            if column in getattr(series, group)
        }
        for group in _GROUPS
    }
    own = replace(series, **groups, data_digest=series.digest)
    _require_kind(first, own, name)
    return own


def _require_kind(first: TimeSeries, other: TimeSeries, name: str) -> None:
    for what, mine, theirs in _kinds(first, other):
        if mine != theirs:
            raise DataError(
                f"{name}: all series must have the same {what}, but {first.name} has {mine} and "
                f"{other.name} has {theirs}"
                + "; freq= (--freq) is one for all, as 'sessions' of days on which some are closed"
                * (what == "calendar")
            )


def _kinds(one: TimeSeries, other: TimeSeries) -> Iterator[tuple[str, object, object]]:
    """Return what two series of a panel must have in common: what it is called, of each."""
    yield "calendar", str(one.calendar), str(other.calendar)
    yield "season", one.calendar.seasonality, other.calendar.seasonality
    yield "kind of time", str(one.time.dtype), str(other.time.dtype)
    yield "time zone", zone_name(one.time) or "none", zone_name(other.time) or "none"
    for what in ("target_name", "unit", "error_space"):
        yield what.replace("_", " "), getattr(one, what), getattr(other, what)
    for group in _GROUPS:
        mine, theirs = (", ".join(getattr(each, group)) or "none" for each in (one, other))
        yield f"{group} covariates", mine, theirs
