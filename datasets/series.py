"""`TimeSeries`: when, what, and what is known beside it; the one thing everything else starts from.

Shapes: ``N`` is the number of rows, ``K`` of further rows for which only the future covariates are
known.
"""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import Calendar, checked_time, local_clock, shown, zone_name
from foretune.datasets.common.errors import DataError, DataWarning
from foretune.datasets.common.html_table import html_table
from foretune.datasets.frames import Missing, read_frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GROUPS = ("past", "future", "static")


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class TimeSeries:
    """A series: validated, immutable, in ascending order of time.

    The arrays are copied, cast and made read-only. Two series are the same data when their
    ``digest``s are equal.

    Args:
        name: a short label, such as "bikes".
        time: dates, with or without a time zone, or whole numbers [N], on the calendar.
        target: what is forecast [N]; finite.
        calendar: what the next step is.
        past: covariates known up to the origin of a forecast [N]; finite numbers, or text.
        future: covariates known beyond it too [N + K], one K for all.
        static: what is the same in all rows: numbers or text.
        error_space: "log" for prices, whose errors are those of logarithms: the target must be
            above 0; "value" for all else.
        target_name: what axes and tables call the target.
        unit: of the target.
        source: where the data come from: a sample's or a file's name.
        remarks: what reading dropped or decided; not part of the digest.
        data_digest: what ``digest`` is, where it is that of other data which the series comes from.
        reading: the arguments with which :func:`as_series` read it from its source.
        file: the path of the file that it was read from, if any.

    Raises:
        DataError: a field breaks one of these rules; names series, field, time and value.

    Example:
        >>> days = pd.date_range("2024-01-01", periods=3)
        >>> series = TimeSeries(name="demo", time=days, target=[1.0, 2.0, 3.0],
        ...     calendar=Calendar(frequency="D"), source="typed in")
        >>> series
        TimeSeries('demo', 3 rows, daily, 2024-01-01 to 2024-01-03)
        >>> series.calendar.after(series.time[-1], 1)[0].day
        4
    """

    name: str
    time: pd.Index
    target: NDArray[np.float64]
    calendar: Calendar
    past: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    future: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    static: Mapping[str, float | str] = field(default_factory=dict)
    error_space: Literal["value", "log"] = "value"
    target_name: str = "value"
    unit: str | None = None
    source: str
    remarks: tuple[str, ...] = ()
    data_digest: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None

    def __post_init__(self) -> None:
        for label in ("name", "target_name", "source"):
            value = getattr(self, label)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"{label} of a series must be a non-empty text, but got {value!r}")
        if self.error_space not in ("value", "log"):
            raise DataError(
                f"{self.name}: error_space must be 'value' or 'log', but got {self.error_space!r}"
            )
        time = checked_time(pd.Index(self.time, copy=True), self._row)
        self.calendar.check(time, self._row)
        self._set("time", time)
        self._set("target", self._numbers(self.target_name, self.target, len(time)))
        if self.error_space == "log" and not (self.target > 0).all():
            row = int((self.target <= 0).argmax())
            raise DataError(
                f"{self.name}: {self.target_name} at {shown(time[row])} must be above 0 where "
                f"errors are those of logarithms, but got {self.target[row]}; "
                "error_space='value' takes any"
            )
        beyond = max([0, *(np.size(values) - len(time) for values in self.future.values())])
        past = {name: self._covariate(name, self.past[name], len(time)) for name in self.past}
        future = {
            name: self._covariate(name, self.future[name], len(time) + beyond)
            for name in self.future
        }
        static = {name: self._constant(name, value) for name, value in self.static.items()}
        names = [self.target_name, *past, *future, *static]
        if len(set(names)) < len(names):
            name = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{self.name}: {name!r} must name one column, but names several")
        self._set("past", MappingProxyType(past))
        self._set("future", MappingProxyType(future))
        self._set("static", MappingProxyType(static))
        self._set("remarks", tuple(self.remarks))

    def _set(self, label: str, value: object) -> None:
        object.__setattr__(self, label, value)

    def _row(self, row: int) -> str:
        return f"{self.name}, row {row}"

    def _covariate(self, name: str, values: Any, length: int) -> NDArray[Any]:
        array = np.asarray(values)
        if array.dtype.kind not in "bUO":
            return self._numbers(name, values, length)
        absent = pd.isna(array)
        if absent.any():
            raise DataError(
                f"{self.name}: {name} in row {absent.argmax()} must be text, but is missing"
            )
        return self._vector(name, array.astype(str), length)

    def _constant(self, name: str, value: Any) -> float | str:
        text = isinstance(value, str | bool | np.bool_)
        return str(value) if text else float(self._numbers(name, [value], 1)[0])

    def _numbers(self, name: str, values: Any, length: int) -> NDArray[np.float64]:
        try:
            array = self._vector(name, np.array(values, dtype=np.float64), length)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"{self.name}: {name} must be numbers: {error}") from None
        if not np.isfinite(array).all():
            row = int((~np.isfinite(array)).argmax())
            raise DataError(
                f"{self.name}: {name} in row {row} must be a finite number, but got {array[row]}"
            )
        return array

    def _vector(self, name: str, array: NDArray[Any], length: int) -> NDArray[Any]:
        if array.shape != (length,):
            raise DataError(
                f"{self.name}: {name} must have shape ({length},), a value for each time, but got "
                f"{array.shape}"
            )
        array.setflags(write=False)
        return array

    def __len__(self) -> int:
        return len(self.target)

    def __repr__(self) -> str:
        rows = f"{len(self)} row" + "s" * (len(self) != 1)
        return f"TimeSeries({self.name!r}, {rows}, {self.calendar}, {self._span})"

    def _repr_html_(self) -> str:
        rows = [
            ("rows", f"{len(self):,}"),
            ("time", self._span),
            ("calendar", str(self.calendar)),
            ("target", self._label),
            *((f"{group} covariates", ", ".join(getattr(self, group))) for group in _GROUPS),
            ("source", self.source),
            *(("remark", remark) for remark in self.remarks),
        ]
        return html_table([row for row in rows if row[1]], caption=self.name)

    @property
    def _span(self) -> str:
        return " to ".join(map(shown, self.time[[0, -1]]))

    @property
    def _label(self) -> str:
        return f"{self.target_name} [{self.unit}]" if self.unit else self.target_name

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what the constructor takes, so that a copy is validated and read-only too."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return partial(type(self), **values | {group: dict(values[group]) for group in _GROUPS}), ()

    def __getitem__(self, rows: slice) -> Self:
        """Take rows ``a:b``; future covariates keep what lies beyond them.

        Raises:
            DataError: no slice, one with a step, or no rows in it.
        """
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise DataError(f"{self.name}: rows must be a slice such as 0:100, but got {rows!r}")
        start, stop, _ = rows.indices(len(self))
        if start >= stop:
            raise DataError(
                f"{self.name}: rows {rows.start}:{rows.stop} of {len(self)} must be at least one"
            )
        if stop - start == len(self):
            return self
        part = None if self.data_digest is None else f"{self.data_digest} {start}:{stop}"
        return replace(
            self,
            time=self.time[start:stop],
            target=self.target[start:stop],
            past={name: values[start:stop] for name, values in self.past.items()},
            future={name: values[start:] for name, values in self.future.items()},
            file=None,
            data_digest=part and hashlib.sha256(part.encode()).hexdigest(),
        )

    def before(self, row: int) -> Self:
        """Take the rows before ``row`` alone: no later value of a covariate that is known ahead.

        What reading said is left out too: it may have been of later rows.

        Example:
            >>> series.before(100).beyond
            0
        """
        part = self[:row]
        future = {name: values[:row] for name, values in part.future.items()}
        return replace(part, future=future, remarks=())

    @cached_property
    def dates(self) -> NDArray[Any]:
        """The times [N] as an array: days, local times, or whole numbers."""
        return local_clock(self.time)

    @property
    def members(self) -> tuple[Self, ...]:
        """The series alone, as a panel has several."""
        return (self,)

    @property
    def values(self) -> NDArray[np.float64]:
        """The target as a panel has it [1, N]."""
        return self.target[None]

    @property
    def firsts(self) -> NDArray[np.int32]:
        """The first row of each series [1], as a panel has them."""
        return np.zeros(1, np.int32)

    @property
    def beyond(self) -> int:
        """K, the number of rows after the last one for which future covariates are known."""
        return len(next(iter(self.future.values()), self.target)) - len(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of times, target, covariates and calendar in hex: the same on every machine.

        Name, source, words and remarks take no part.
        """
        if self.data_digest is not None:
            return self.data_digest
        content = hashlib.sha256(b"foretune series 1\n")

        def add(label: object, values: Any) -> None:
            array = np.asarray(values)
            if array.dtype.kind in "iM":
                data = array.astype("<i8").tobytes()
            elif array.dtype.kind == "f":
                data = (array + 0.0).astype("<f8").tobytes()  # -0.0 equals 0.0 and becomes it
            else:
                data = json.dumps(array.tolist()).encode()
            content.update(f"{json.dumps(label)} {array.dtype.kind} {len(data)}\n".encode() + data)

        add("calendar", json.dumps(asdict(self.calendar), sort_keys=True))
        add("zone", zone_name(self.time))
        add("time", self.time.to_numpy(dtype="M8[ns]" if self._dates else "int64"))
        add("target", self.target)
        for group in _GROUPS:
            for name, values in sorted(getattr(self, group).items()):
                add((group, name), values)
        return content.hexdigest()

    @property
    def _dates(self) -> bool:
        return isinstance(self.time, pd.DatetimeIndex)

    @classmethod
    def from_frame(
        cls,
        df: pd.DataFrame,
        *,
        time: str | None = None,
        target: str | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        static: Sequence[str] = (),
        freq: str | None = None,
        seasonality: int | None = None,
        missing: Missing = "raise",
        series: str | None = None,
        day_first: bool | None = None,
        name: str = "series",
    ) -> Self:
        """Read a series from a DataFrame.

        Args:
            df: its index or a column is the time; a row may also be ``unique_id, ds, y``.
            time: the column of times; None to find it.
            target: the column to forecast; None to find it.
            past: columns known up to the origin of a forecast.
            future: columns known beyond it; they may go on where the target is missing at the end.
            static: columns with one value.
            freq: a pandas offset alias, "sessions", an exchange such as "XNYS", or "steps", which
                counts rows that follow no calendar; None to infer it.
            seasonality: steps in a season; None for the calendar's own.
            missing: what to do with missing values: "raise" an error, "drop" their rows, or fill
                them, and missing rows of a regular calendar too: "ffill" repeats the last value,
                "interpolate" draws a line between numbers.
            series: which ``unique_id`` to take, where there are several.
            day_first: whether 01/02/2024 is in February; None to find out.
            name: label of the series.

        Raises:
            DataError: names row, column and value that cannot be used, and what to do.

        Warns:
            DataWarning: what was dropped, filled or decided; also in ``remarks``.

        Example:
            >>> TimeSeries.from_frame(pd.DataFrame({"ds": ["2024-01", "2024-02", "2024-03"],
            ...     "y": [1, 2, 3]}))
            TimeSeries('series', 3 rows, monthly, 2024-01-01 to 2024-03-01)
        """
        columns = read_frame(
            df,
            time=time,
            target=target,
            past=past,
            future=future,
            static=static,
            freq=freq,
            seasonality=seasonality,
            missing=missing,
            series=series,
            day_first=day_first,
        )
        for remark in columns.remarks:
            warnings.warn(f"{name}: {remark}", DataWarning, stacklevel=2)
        values = {item.name: getattr(columns, item.name) for item in fields(columns)}
        return cls(name=name, source="a DataFrame", **values)

    def to_frame(self) -> pd.DataFrame:
        """Copy into a DataFrame that ``from_frame`` reads back.

        Returns:
            Rows [N + K] by time; in the last K only future and static covariates are there.
        """
        time = self.time
        if self.beyond:
            time = time.append(self.calendar.after(time[-1], self.beyond))
        frame = pd.DataFrame(index=time.rename(self.time.name or "time"))
        for name, values in {self.target_name: self.target, **self.past, **self.future}.items():
            column = pd.Series(values.copy(), index=time[: len(values)])
            frame[name] = column.reindex(time).to_numpy()
        return frame.assign(**dict(self.static))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the target over time, by the local clock, into ``ax`` or a new figure."""
        from matplotlib import pyplot as plt

        if ax is None:
            _, ax = plt.subplots(figsize=(9, 3), layout="constrained")
        time = self.time
        clock = time.tz_localize(None) if isinstance(time, pd.DatetimeIndex) else time
        ax.plot(clock.to_numpy(), self.target, linewidth=1)
        ax.set(title=self.name, xlabel=str(time.name or "time"), ylabel=self._label)
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label):
            text.set_parse_math(False)  # dollar signs are no mathematics
        return ax
