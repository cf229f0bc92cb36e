"""What a trained model remembers of its series, what continues it, and when the next steps are.

Shapes: ``N`` is the number of known rows, ``K`` of further ones with future covariates, ``M`` of
values that are given.
"""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import Calendar, local_clock, shown, zone_name
from foretune.datasets.common.errors import DataError, DataWarning
from foretune.datasets.covariates import GROUPS, require_known_ahead
from foretune.datasets.frames import future_table
from foretune.datasets.prices import PriceSeries
from foretune.datasets.series import TimeSeries
from foretune.datasets.transforms import SpaceName

# Up to this relative difference two values of one time are one value, written with other digits:
# single precision differs by 6e-8, two decimals of a price of 500 by 1e-5. A dividend is more.
SAME_VALUE = 1e-5

# So many known prices must be times one factor to be the same prices, adjusted again: of any one
# row there is a factor, and a few may stand still.
_FEWEST_ADJUSTED = 10

# When a row is: a day, a moment, or a whole number.
Moment = int | date | datetime


def moment(time: pd.Index, row: int) -> Moment:
    """Return the time of a row as what TOML can hold: a day, a moment, or a whole number.

    Example:
        >>> moment(series.time, -1)
        datetime.date(2015, 12, 31)
    """
    if not isinstance(time, pd.DatetimeIndex):
        return int(time[row])
    is_day = time.tz is None and local_clock(time).dtype == "datetime64[D]"
    found: datetime = time[row].floor("us").to_pydatetime()
    return found.date() if is_day else found


@dataclass(frozen=True, eq=False, kw_only=True)
class History:
    """Known rows of one series, with its covariates; future ones K rows further.

    ``series.digest`` is that of the data which the rows were last taken from.
    """

    series: TimeSeries

    @classmethod
    def of(cls, data: TimeSeries | PriceSeries, groups: Collection[str] = GROUPS) -> Self:
        """Return what is remembered of ``data``, with these groups of its covariates."""
        series = data.series() if isinstance(data, PriceSeries) else data
        others: dict[str, Any] = {group: {} for group in GROUPS if group not in groups}
        return cls(
            series=replace(series, **others, data_digest=series.digest) if others else series
        )

    @classmethod
    def of_mid_prices(
        cls, *, name: str, digest: str, dates: NDArray[np.datetime64], values: NDArray[np.float64]
    ) -> Self:
        """Return a history of the arrays that version 1 kept, which has no covariates.

        Raises:
            DataError: a date or a price that no series may have; names it.
        """
        same: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), values)
        prices = PriceSeries(name=name, dates=dates, volume=None, source=name, **same)
        return cls(series=replace(prices.series("mid"), past={}, data_digest=digest))

    @property
    def name(self) -> str:
        """What the series is called."""
        return self.series.name

    @property
    def digest(self) -> str:
        """The digest of the series which the rows were last taken from."""
        return self.series.digest

    @property
    def time(self) -> pd.Index:
        """When each row is [N], on ``calendar``."""
        return self.series.time

    @property
    def values(self) -> NDArray[np.float64]:
        """The target [N], read-only."""
        return self.series.target

    @property
    def calendar(self) -> Calendar:
        """What the next step is."""
        return self.series.calendar

    @property
    def error_space(self) -> SpaceName:
        """What errors are measured in."""
        return self.series.error_space

    @property
    def target_name(self) -> str:
        """What the target is called."""
        return self.series.target_name

    @property
    def unit(self) -> str | None:
        """The unit of the target."""
        return self.series.unit

    def __len__(self) -> int:
        return len(self.values)

    @property
    def dates(self) -> NDArray[Any]:
        """The times [N] as an array: days, local times, or whole numbers."""
        return local_clock(self.time)

    @property
    def last(self) -> str:
        """The last known time, as messages show it."""
        return str(moment(self.time, -1))

    def adjustment(self, data: TimeSeries | PriceSeries) -> float:
        """Return by what factor the known prices were adjusted again, after a dividend or split.

        Args:
            data: newer rows of the same series, as for :meth:`continued`.

        Returns:
            What all known prices that ``data`` have too are times in ``data``, up to
            :data:`SAME_VALUE`. 1.0 where they are the same, where there is no such factor, and of
            a series whose errors are not those of logarithms.

        Example:
            >>> History.of(prices.head(900)).adjustment(prices_after_a_split_of_2_to_1)
            0.5
        """
        series = data.series(self.target_name) if isinstance(data, PriceSeries) else data
        if not self.error_space == series.error_space == "log":
            return 1.0
        if zone_name(series.time) != zone_name(self.time):  # which is refused
            return 1.0
        _, before, now = self._together(series)
        ratios = now / before  # NaN where one of both has no price, which is close to nothing
        if len(ratios) < _FEWEST_ADJUSTED or np.allclose(ratios, 1, rtol=SAME_VALUE, atol=0):
            return 1.0
        factor = float(np.median(ratios))
        return factor if np.allclose(ratios, factor, rtol=SAME_VALUE, atol=0) else 1.0

    def adjusted(self, factor: float) -> Self:
        """Return the known rows with the target times ``factor``; covariates stay as they are."""
        values = self.values * factor
        return type(self)(series=replace(self.series, target=values, data_digest=self.digest))

    def continued(self, data: TimeSeries | PriceSeries) -> "History":
        """Append the rows of ``data`` after the last known one.

        Args:
            data: newer rows of the same series. They reach back to the last known one at least; at
                every time from there back to where either of them begins, both must have the same
                value up to rounding (:data:`SAME_VALUE`), or none. Of prices the same target is
                taken. They have the past and future covariates of the known rows, and may have
                others, which are left out.

        Returns:
            The known rows as they were, and the new ones after them; beyond these, the future
            covariates of ``data``.

        Raises:
            DataError: ``data`` do not continue the known rows; names the first that differs.

        Example:
            >>> History.of(prices.head(900)).continued(prices).last
            '2015-12-31'
        """
        series = data.series(self.target_name) if isinstance(data, PriceSeries) else data
        # Dates or whole numbers: these may be a range, or not.
        kinds = {isinstance(time, pd.DatetimeIndex) for time in (series.time, self.time)}
        if len(kinds) > 1 or zone_name(series.time) != zone_name(self.time):
            raise DataError(
                f"time of {series.name} must be of the kind and the zone of {self.name}, "
                f"{self.time.dtype}, but is {series.time.dtype}"
            )
        last = self.time[-1]
        if not series.time[0] <= last <= series.time[-1]:
            first, end = moment(series.time, 0), moment(series.time, -1)
            raise DataError(
                f"{self._what}s must reach from {self.last}, the last {self._when} known of "
                f"{self.name}, or before it, to later {self._when}s, but {series.name} has {first} "
                f"to {end}"
            )
        self._require_same(series)
        new = np.asarray(series.time > last)
        self._require_covariates(series)
        # Beyond its last row, all that the newer series knows is new.
        further = np.concatenate([new, np.ones(series.beyond, dtype=np.bool_)])

        def joined(
            known: Mapping[str, NDArray[Any]], newer: Mapping[str, NDArray[Any]], rows: Any
        ) -> dict[str, NDArray[Any]]:
            stop = len(self)
            return {n: np.concatenate([own[:stop], newer[n][rows]]) for n, own in known.items()}

        return type(self)(
            series=replace(
                self.series,
                time=self.time.append(series.time[new]).rename(self.time.name),
                target=np.concatenate([self.values, series.target[new]]),
                past=joined(self.series.past, series.past, new),
                future=joined(self.series.future, series.future, further),
                data_digest=series.digest,
            )
        )

    def with_future(self, future: pd.DataFrame | Mapping[str, Any]) -> "History":
        """Append values of the future covariates, for the steps after the last known row.

        Args:
            future: a column for each of them, or what :class:`pandas.DataFrame` makes columns of;
                others are left out. Its times are its index, or the column that is called as the
                time of the series, or the only one of dates; without any, its rows are the next
                steps. Rows up to the last known one are left out. Where a value was known beyond
                it, the one given here counts.

        Warns:
            DataWarning: one that was known ahead is not given.

        Raises:
            DataError: a covariate is not there or ends before the others (it is named with the
                first time without a value), a value is none that it may have, a time is none of
                the next steps, or nothing of ``future`` would be used.

        Example:
            >>> history.with_future({"temperature": [3.5, 3.0], "holiday": ["no", "no"]})
        """
        if not self.series.future:
            return self
        table, times = future_table(future, self.series.future, self.time)
        beyond, last = self.series.beyond, self.time[-1]
        # What was known ahead would count without a word.
        if beyond and len(future) and table.empty:
            raise DataError(
                f"future covariates must be called {' or '.join(self.series.future)}, but none is"
            )
        after = self.ahead(beyond + len(table))
        if times is None:
            times = after[: len(table)]
        late = np.asarray(times > last)
        if beyond and len(late) and not late.any():
            raise DataError(
                f"the times of future covariates must go on after {self.last}, the last known one, "
                f"but end at {shown(times.max())}"
            )
        table, times = table[late], times[late]
        wrong = ~np.asarray(times.isin(after)) | times.duplicated()
        if wrong.any():
            steps = f"{shown(after[0])}, one step after {self.last}, and on"
            raise DataError(
                f"the times of future covariates must be {steps} ({self.calendar}), each once, but "
                f"got {shown(times[int(wrong.argmax())])}"
            )
        absent = [name for name in self.series.future if name not in table]
        if beyond and len(table) and absent:
            what = " and ".join(absent)
            warnings.warn(
                f"future covariates were given without {what}: what was known ahead counts",
                DataWarning,
                stacklevel=3,
            )
        columns = {}
        for name, own in self.series.future.items():
            planned = pd.Series(own[len(self) :], index=after[:beyond])
            if name in table:
                given = pd.Series(self._like(name, own, table[name], times), index=times)
                planned = given.combine_first(planned)
            columns[name] = planned.reindex(after)
        known = {name: int(column.notna().cumprod().sum()) for name, column in columns.items()}
        count = max(known.values())
        require_known_ahead(self.calendar, last, known, count)
        joined = {
            name: np.concatenate(
                [own[: len(self)], columns[name].to_numpy()[:count].astype(own.dtype.type)]
            )
            for name, own in self.series.future.items()
        }
        return type(self)(series=replace(self.series, future=joined, data_digest=self.digest))

    def ahead(self, count: int) -> pd.Index:
        """Return the ``count`` times after the last known one; holidays are not known.

        Example:
            >>> history.last, history.ahead(2)    # a Friday
            2015-12-31, [2016-01-01, 2016-01-04]
        """
        return self.calendar.after(self.time[-1], count).rename(self.time.name)

    @property
    def _what(self) -> str:
        return "price" if self.error_space == "log" else "value"

    @property
    def _when(self) -> str:
        return "day" if self.calendar.step_name == "day" else "time"

    def _like(
        self, name: str, known: NDArray[Any], given: "pd.Series[Any]", times: pd.Index
    ) -> NDArray[Any]:
        """Return given values [M] of a covariate, which must be of its kind, or missing."""
        values = given.to_numpy()
        is_number, number = known.dtype.kind == "f", values.dtype.kind == "f"
        wrong = np.isinf(values) if is_number and number else given.notna() & (is_number != number)
        if np.any(wrong):
            row = int(np.asarray(wrong).argmax())
            raise DataError(
                f"{name} at {shown(times[row])} must be "
                f"{'a finite number' if is_number else 'text'}, as in {self.name}, but got "
                f"{values.tolist()[row]!r}"
            )
        return values

    def _require_covariates(self, series: TimeSeries) -> None:
        """Refuse newer rows that lack a covariate of the known ones, or are of something else."""
        known, newer = self.series, series
        lacking = {
            "past": [name for name in known.past if name not in newer.past],
            "future": [name for name in known.future if name not in newer.future],
        }
        if any(lacking.values()):
            names = [f"{name} ({group})" for group in lacking for name in lacking[group]]
            read = {"past": [*known.past], "future": [*known.future]}
            how = ", ".join(f"{group}={names}" for group, names in read.items() if names)
            raise DataError(
                f"{newer.name} must have the covariates known of {self.name}, but lacks "
                f"{' and '.join(names)}; read it with {how}"
            )
        for own, other in ((known.past, newer.past), (known.future, newer.future)):
            for name, values in own.items():
                if values.dtype.kind != other[name].dtype.kind:
                    kinds = [
                        "numbers" if v.dtype.kind == "f" else "text" for v in (values, other[name])
                    ]
                    raise DataError(
                        f"{name} of {newer.name} must be {kinds[0]}, as in {self.name}, but is "
                        f"{kinds[1]}"
                    )
        for name, value in known.static.items():
            if newer.static.get(name, value) != value:
                raise DataError(
                    f"{name} of {newer.name} must be {value!r}, as in {self.name}, but is "
                    f"{newer.static[name]!r}"
                )

    def _together(
        self, series: TimeSeries
    ) -> tuple[pd.Index, NDArray[np.float64], NDArray[np.float64]]:
        """Return the times at which both may have values [M], those known and those of ``series``.

        They are from where the later one begins to the last known one; NaN where one has no value.
        """
        begin, last = max(self.time[0], series.time[0]), self.time[-1]
        known = np.asarray(self.time >= begin)
        given = np.asarray((series.time >= begin) & (series.time <= last))
        both = self.time[known].union(series.time[given])
        before, now = np.full(len(both), np.nan), np.full(len(both), np.nan)
        before[both.get_indexer(self.time[known])] = self.values[known]
        now[both.get_indexer(series.time[given])] = series.target[given]
        return both, before, now

    def _require_same(self, series: TimeSeries) -> None:
        """Refuse the first time at which the value is not the same in both."""
        both, before, now = self._together(series)
        # No value is close to none. Around 0 it is the size of the changes that counts.
        near = 0.0 if self.error_space == "log" else SAME_VALUE * float(np.std(self.values))
        differs = ~np.isclose(now, before, rtol=SAME_VALUE, atol=near)
        if differs.any():
            row = int(differs.argmax())
            raise DataError(
                f"{self._what}s must be those known of {self.name} up to {self.last}, but "
                f"{series.name} differs, first on {moment(both, row)}: {self._shown(now[row])} "
                f"instead of {self._shown(before[row])}; {self._what}s that were adjusted since "
                "need a new training"
            )

    def _shown(self, value: float) -> str:
        if np.isnan(value):
            return f"no {self._what}"
        name = self.target_name
        return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name} of {value:.10g}"
