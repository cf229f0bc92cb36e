"""What a trained model remembers of its series, what continues it, and when the next steps are.

Shapes: ``N`` is the number of known rows.
"""

from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import Calendar, local_clock, zone_name
from foretune.datasets.common.errors import DataError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.series import TimeSeries
from foretune.datasets.transforms import SpaceName

# Up to this relative difference two values of one time are one value, written with other digits:
# single precision differs by 6e-8, two decimals of a price of 500 by 1e-5. A dividend is more.
SAME_VALUE = 1e-5

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
    """Known rows of one series.

    ``values`` [N] are the target at ``time`` [N], which is on ``calendar``; ``digest`` is that of
    the series which they were last taken from. The array is read-only.
    """

    name: str
    digest: str
    time: pd.Index
    values: NDArray[np.float64]
    calendar: Calendar
    error_space: SpaceName = "log"
    target_name: str = "mid price"
    unit: str | None = None

    @classmethod
    def of(cls, data: TimeSeries | PriceSeries) -> Self:
        """Return what is remembered of ``data``."""
        series = data.series() if isinstance(data, PriceSeries) else data
        return cls(
            name=series.name,
            digest=series.digest,
            time=series.time,
            values=series.target,
            calendar=series.calendar,
            error_space=series.error_space,
            target_name=series.target_name,
            unit=series.unit,
        )

    @classmethod
    def of_mid_prices(
        cls, *, name: str, digest: str, dates: NDArray[np.datetime64], values: NDArray[np.float64]
    ) -> Self:
        """Return a history of the arrays that version 1 kept.

        Raises:
            DataError: a date or a price that no series may have; names it.
        """
        same: dict[str, Any] = dict.fromkeys(("open", "high", "low", "close"), values)
        prices = PriceSeries(name=name, dates=dates, volume=None, source=name, **same)
        return replace(cls.of(prices.series("mid")), digest=digest)

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

    def continued(self, data: TimeSeries | PriceSeries) -> "History":
        """Append the rows of ``data`` after the last known one.

        Args:
            data: newer rows of the same series. They reach back to the last known one at least; at
                every time from there back to where either of them begins, both must have the same
                value up to rounding (:data:`SAME_VALUE`), or none. Of prices the same target is
                taken.

        Returns:
            The known rows as they were, and the new ones after them.

        Raises:
            DataError: ``data`` do not continue the known rows; names the first that differs.

        Example:
            >>> History.of(prices.head(900)).continued(prices).last
            '2015-12-31'
        """
        series = data.series(self.target_name) if isinstance(data, PriceSeries) else data
        if type(series.time) is not type(self.time) or zone_name(series.time) != zone_name(
            self.time
        ):
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
        begin = max(self.time[0], series.time[0])
        known = np.asarray(self.time >= begin)
        given = np.asarray((series.time >= begin) & (series.time <= last))
        self._require_same(self.time[known], self.values[known], series, given)
        new = np.asarray(series.time > last)
        values = np.concatenate([self.values, series.target[new]])
        values.setflags(write=False)
        time = self.time.append(series.time[new]).rename(self.time.name)
        self.calendar.check(time)
        return replace(self, digest=series.digest, time=time, values=values)

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

    def _require_same(
        self,
        time: pd.Index,
        values: NDArray[np.float64],
        series: TimeSeries,
        given: NDArray[np.bool_],
    ) -> None:
        """Refuse the first time at which the value is not the same in both."""
        both = time.union(series.time[given])
        before, now = np.full(len(both), np.nan), np.full(len(both), np.nan)
        before[both.get_indexer(time)] = values
        now[both.get_indexer(series.time[given])] = series.target[given]
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
