"""What a trained model remembers of its prices, the prices that continue them, and the days ahead.

Shapes: ``N`` is the number of known days.
"""

from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.prices import PriceSeries

Value = TypeVar("Value", bound=np.generic)

# Up to this relative difference two prices of one day are one price, written with other digits:
# single precision differs by 6e-8, two decimals of a price of 500 by 1e-5. A dividend is more.
SAME_PRICE = 1e-5

_WEEK = 7  # days
_WEEKS = 4  # looked at to see whether weekends have prices


@dataclass(frozen=True, eq=False, kw_only=True)
class History:
    """Known days of one instrument.

    ``values`` [N] are the mid prices of ``dates`` [N]; ``digest`` is that of the series which they
    were last taken from. Both arrays are read-only.
    """

    name: str
    digest: str
    dates: NDArray[np.datetime64]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, prices: PriceSeries) -> Self:
        """Return what is remembered of ``prices``."""
        return cls(name=prices.name, digest=prices.digest, dates=prices.dates, values=prices.mid)

    @classmethod
    def checked(
        cls, *, name: str, digest: str, dates: NDArray[np.datetime64], values: NDArray[np.float64]
    ) -> Self:
        """Return a history of arrays from a file.

        Raises:
            DataError: a date or a price that no series may have; names it.
        """
        series = PriceSeries(
            name=name,
            dates=dates,
            open=values,
            high=values,
            low=values,
            close=values,
            volume=None,
            source=name,
        )
        return cls(name=name, digest=digest, dates=series.dates, values=series.mid)

    def __len__(self) -> int:
        return len(self.dates)

    def continued(self, prices: PriceSeries) -> "History":
        """Append the days of ``prices`` after the last known one.

        Args:
            prices: newer prices of the same instrument. They reach back to the last known day at
                least; on every day from there back to where either of them begins, both must have
                the same price up to rounding (:data:`SAME_PRICE`), or none.

        Returns:
            The known days as they were, and the new ones after them.

        Raises:
            DataError: ``prices`` do not continue the known ones; names the first day that differs.

        Example:
            >>> History.of(prices.head(900)).continued(prices).dates[-1] == prices.dates[-1]
            True
        """
        last = self.dates[-1]
        if not prices.dates[0] <= last <= prices.dates[-1]:
            raise DataError(
                f"prices must reach from {last}, the last day known of {self.name}, or before it, "
                f"to later days, but {prices.name} has {prices.dates[0]} to {prices.dates[-1]}"
            )
        begin = max(self.dates[0], prices.dates[0])
        known = self.dates >= begin
        given = (prices.dates >= begin) & (prices.dates <= last)
        difference = _first_difference(
            (self.dates[known], self.values[known]), (prices.dates[given], prices.mid[given])
        )
        if difference is not None:
            raise DataError(
                f"prices must be those known of {self.name} up to {last}, but {prices.name} "
                f"differs, first on {difference}; prices that were adjusted since need a new "
                "training"
            )
        new = prices.dates > last
        return History(
            name=self.name,
            digest=prices.digest,
            dates=_joined(self.dates, prices.dates[new]),
            values=_joined(self.values, prices.mid[new]),
        )

    def days_ahead(self, count: int) -> NDArray[np.datetime64]:
        """Return the ``count`` trading days after the last known one [count].

        Monday to Friday; Saturday or Sunday too where most of the last four weeks had a price on
        it. Holidays are not known.

        Example:
            >>> history.dates[-1], history.days_ahead(2)    # a Friday
            2015-12-31, [2016-01-01, 2016-01-04]
        """
        last = self.dates[-1]
        recent = self.dates[self.dates > last - np.timedelta64(_WEEKS * _WEEK, "D")]
        # Day 0, 1970-01-01, was a Thursday; Monday is 0 here.
        weekdays = (recent.astype(np.int64) + 3) % _WEEK
        weekend = [bool(np.sum(weekdays == day) > _WEEKS / 2) for day in (5, 6)]
        mask = [True] * 5 + weekend
        steps = np.arange(1, count + 1)
        days: NDArray[np.datetime64] = np.busday_offset(last, steps, "backward", weekmask=mask)
        return days


_Days = tuple[NDArray[np.datetime64], NDArray[np.float64]]


def _first_difference(known: _Days, given: _Days) -> str | None:
    """Describe the first day whose price is not the same in both; None if there is none."""
    days = np.union1d(known[0], given[0])
    before, now = _on_days(days, *known), _on_days(days, *given)
    differs = ~np.isclose(now, before, rtol=SAME_PRICE, atol=0)  # no price is close to none
    if not differs.any():
        return None
    first = int(differs.argmax())
    return f"{days[first]}: {_format_price(now[first])} instead of {_format_price(before[first])}"


def _on_days(
    days: NDArray[np.datetime64], dates: NDArray[np.datetime64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the prices of ``days``, NaN where there is none."""
    prices = np.full(len(days), np.nan)
    prices[np.searchsorted(days, dates)] = values
    return prices


def _format_price(price: float) -> str:
    return "no price" if np.isnan(price) else f"a mid price of {price:.10g}"


def _joined(first: NDArray[Value], second: NDArray[Value]) -> NDArray[Value]:
    joined = np.concatenate([first, second])
    joined.setflags(write=False)
    return joined
