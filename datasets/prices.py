"""``PriceSeries``: a validated daily price history, the one thing everything else starts from.

Shapes: ``N`` is the number of trading days.
"""

import dataclasses
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.plausibility import jump_remarks, range_remarks

if TYPE_CHECKING:  # half of what a command that only reads a study would wait for
    import pandas as pd

    from foretune.datasets.series import TimeSeries

PRICE_FIELDS = ("open", "high", "low", "close")
# What can be forecast of prices, and which of them is where nothing is said.
TARGETS = (*PRICE_FIELDS, "mid", "adj_close")
DEFAULT_TARGET = "close"

# A row every few days at the most is usual where rows are trading days.
_MOST_DAYS = 3

# The mid price adds two prices, so the largest one has to stay clear of float64's overflow.
_MAX_PRICE = 1e300
# 0001-01-01 and 9999-12-31 stand for a missing date in many programs, and cannot be plotted.
FIRST_YEAR, LAST_YEAR = 1000, 8999
PRICE_RULE = "a finite number above 0"
VOLUME_RULE = "a finite number of at least 0"


def bad_prices(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the values that are no price: NaN, infinite, zero or negative.

    Args:
        values: prices in the currency of their source, [N].

    Returns:
        [N], true where the value breaks ``PRICE_RULE``.

    Example:
        >>> bad_prices(np.array([1.5, 0.0, np.nan])).tolist()
        [False, True, True]
    """
    return ~((values > 0) & (values < _MAX_PRICE))


def bad_volumes(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mark the values that are no volume: NaN, infinite or negative.

    Args:
        values: shares or contracts a day, [N].

    Returns:
        [N], true where the value breaks ``VOLUME_RULE``.

    Example:
        >>> bad_volumes(np.array([0.0, -1.0])).tolist()
        [False, True]
    """
    return ~((values >= 0) & np.isfinite(values))


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class PriceSeries:
    """Daily prices of one instrument: validated, immutable, in ascending order of date.

    The arrays are copied, cast and made read-only, so a series never changes after it was
    checked. Open and close may lie outside ``[low, high]``: rounding of adjusted prices does that
    in real files. Two series are the same data when their ``digest``s are equal.

    Args:
        name: a short label, such as "sp500".
        dates: one day per row, strictly increasing, of the years 1000 to 8999, [N] with N >= 1.
        open: first price of the day, [N], in the currency of the source; finite and above 0.
        high: highest price of the day, [N].
        low: lowest price of the day, [N], at most ``high``.
        close: last price of the day, [N].
        volume: shares traded, [N], at least 0; None where the source has none.
        adj_close: last price, adjusted for dividends and splits, [N]; None where the source has
            none. Not part of the digest.
        source: where the data come from, in words: a sample's or a file's name.
        dropped: rows that a reader left out because a cell was missing; not part of the digest.
        remarks: what reading left out, filled or decided; not part of the digest.

    Raises:
        DataError: a field breaks one of these rules; names series, date, field and value.

    Example:
        >>> series = PriceSeries(name="demo", dates=["2020-01-02", "2020-01-03"], open=[1.0, 2.0],
        ...     high=[3.0, 4.0], low=[1.0, 2.0], close=[2.0, 3.0], volume=None, source="typed in")
        >>> series
        PriceSeries('demo', 2 rows, 2020-01-02 to 2020-01-03)
        >>> series.mid
        array([2., 3.])
    """

    name: str
    dates: NDArray[np.datetime64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64] | None
    source: str
    adj_close: NDArray[np.float64] | None = None
    dropped: int = 0
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("name", "source"):
            label = getattr(self, field)
            if not isinstance(label, str) or not label.strip():
                raise DataError(
                    f"{field} of a price series must be a non-empty string, but got {label!r}"
                )
        object.__setattr__(self, "dates", _checked_dates(self.name, self.dates))
        for field in (*PRICE_FIELDS, "volume", "adj_close"):
            if getattr(self, field) is None and field not in PRICE_FIELDS:
                continue
            values = _cast(self.name, field, getattr(self, field), "float64")
            object.__setattr__(self, field, values)
            _check_values(self, field, values)
        _check_range(self)

    def __len__(self) -> int:
        return len(self.dates)

    def __repr__(self) -> str:
        rows = f"{len(self)} row" + "s" * (len(self) != 1)
        return f"PriceSeries({self.name!r}, {rows}, {self.dates[0]} to {self.dates[-1]})"

    @cached_property
    def mid(self) -> NDArray[np.float64]:
        """Middle of each day's range, ``(high + low) / 2``, [N]: the price that is forecast."""
        middle = (self.high + self.low) / 2
        middle.setflags(write=False)
        return middle

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the dates, prices and volumes in hex: the same on every machine.

        Name, source and ``dropped`` take no part, so a renamed or reordered file keeps its digest.
        """
        content = hashlib.sha256(b"foretune prices 1\n")
        content.update(self.dates.astype("<M8[D]").tobytes())
        for field in PRICE_FIELDS:
            content.update(getattr(self, field).astype("<f8").tobytes())
        if self.volume is not None:
            content.update(b"volume")
            # Adding 0.0 makes -0.0, which compares equal to 0.0, hash like it too.
            content.update((self.volume + 0.0).astype("<f8").tobytes())
        return content.hexdigest()

    def doubts(self, target: str | None = None) -> tuple[str, ...]:
        """Say which rows are hard to believe: a jump as at a split, a close off its range.

        Args:
            target: what is forecast; None for the close. The adjusted close stands for itself, any
                other price for the close.

        Returns:
            A line each with date, factor and remedy; none for most series.

        Example:
            >>> prices.doubts()
            ('close falls from 400 to 101 on 2020-08-31, by a factor of 3.96, as at a split ...
        """
        adjusted = self.adj_close
        if target in ("adj_close", _target_name("adj_close")) and adjusted is not None:
            return jump_remarks(self.dates, adjusted, what="adj_close")
        has_adjusted = adjusted is not None
        return jump_remarks(self.dates, self.close, adjusted=adjusted) + range_remarks(
            self.dates, self.close, self.low, self.high, adjusted=has_adjusted
        )

    def slice(self, start: int, stop: int) -> Self:
        """Take rows ``start`` to ``stop - 1``.

        Args:
            start: first row, counted from 0.
            stop: the row after the last one, at most ``len(self)``.

        Returns:
            A series of ``stop - start`` rows with the same name and source.

        Raises:
            DataError: unless ``0 <= start < stop <= len(self)``.

        Example:
            >>> from foretune.datasets.sources.samples import ar1
            >>> len(ar1(100).slice(10, 30))
            20
        """
        if not 0 <= start < stop <= len(self):
            raise DataError(
                f"{self.name}: a slice must satisfy 0 <= start < stop <= {len(self)} (its rows), "
                f"but got {start=}, {stop=}"
            )
        changes: dict[str, Any] = {
            field: getattr(self, field)[start:stop] for field in ("dates", *PRICE_FIELDS)
        }
        for field in ("volume", "adj_close"):
            if (values := getattr(self, field)) is not None:
                changes[field] = values[start:stop]
        return dataclasses.replace(self, **changes)

    def series(
        self,
        target: str | None = None,
        *,
        freq: str | None = None,
        seasonality: int | None = None,
    ) -> "TimeSeries":
        """Return the prices as a series to forecast.

        Its calendar is inferred; where days are missing of it, rows are trading days (sessions).

        Args:
            target: "open", "high", "low", "close", "mid" or "adj_close", or the name of the target
                of such a series; None for the close.
            freq: a pandas offset alias, "sessions", "steps" or an exchange such as "XNYS", in place
                of what is inferred.
            seasonality: steps in a season; None for the calendar's own.

        Raises:
            DataError: there is no such target, a date is outside the years 1678 to 2261, or the
                dates are weeks or months that follow no calendar.

        Example:
            >>> from foretune.datasets.sources.samples import ar1
            >>> ar1(100).series("close")
            TimeSeries('ar1', 100 rows, business days (Monday to Friday), 1970-01-02 to 1970-05-21)
        """
        import pandas as pd

        from foretune.datasets.calendar import infer_calendar, trading_days
        from foretune.datasets.series import TimeSeries

        target = DEFAULT_TARGET if target is None else target
        named = {_target_name(name): name for name in TARGETS}
        target = named.get(target, target)
        values = getattr(self, target) if target in TARGETS else None
        if values is None:
            there = [name for name in TARGETS if getattr(self, name) is not None]
            raise DataError(
                f"{self.name}: target must be one of {', '.join(there)}, but got {target!r}"
            )
        digest = self.digest  # as in version 1, whose target was the mid
        if target != "mid":
            words = f"foretune target 1\n{digest} {target}\n".encode()
            adjusted = values.astype("<f8").tobytes() if target == "adj_close" else b""
            digest = hashlib.sha256(words + adjusted).hexdigest()
        time = pd.DatetimeIndex(self.dates, name="date")
        try:
            calendar = infer_calendar(time, frequency=freq)
        except DataError:
            # Weeks or months, of which some are moved, are no days with holidays.
            apart = np.diff(self.dates).astype(np.int64)
            if freq is not None or (len(apart) > 1 and np.median(apart) > _MOST_DAYS):
                raise
            calendar = trading_days(time)
        # A few days in a row are not every day.
        if freq is None and calendar.frequency == "D" and not (time.day_of_week > 4).any():
            calendar = trading_days(time)
        if seasonality is not None:
            calendar = dataclasses.replace(calendar, seasonality=seasonality)
        return TimeSeries(
            name=self.name,
            time=time,
            target=values,
            calendar=calendar,
            # Whoever forecasts the mid price has a better naive forecast than the last mid price.
            past={"close": self.close} if target == "mid" else {},
            error_space="log",
            target_name=_target_name(target),
            source=self.source,
            remarks=(*self.remarks, *self.doubts(target), *calendar.remarks(time)),
            data_digest=digest,
        )

    def head(self, n: int) -> Self:
        """Take the first ``n`` rows; ``n`` must be from 1 to ``len(self)``, else ``DataError``."""
        return self.slice(0, n)

    def to_frame(self) -> "pd.DataFrame":
        """Copy into a DataFrame: index ``date``, columns open, high, low, close (and volume)."""
        columns = {field: getattr(self, field) for field in PRICE_FIELDS}
        for field in ("volume", "adj_close"):
            if (values := getattr(self, field)) is not None:
                columns[field] = values
        import pandas as pd

        return pd.DataFrame(columns, index=pd.DatetimeIndex(self.dates, name="date"), copy=True)


def _target_name(target: str) -> str:
    return f"{target.replace('adj_', 'adjusted ')} price"


def _cast(name: str, field: str, values: ArrayLike, dtype: str) -> NDArray[Any]:
    """Copy to a read-only vector of ``dtype``."""
    try:
        array: NDArray[Any] = np.array(values, dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{name}: {field} cannot be read as {dtype}: {error}") from None
    if array.ndim != 1:
        raise DataError(f"{name}: {field} must be one-dimensional, but got shape {array.shape}")
    array.setflags(write=False)
    return array


def _checked_dates(name: str, values: ArrayLike) -> NDArray[np.datetime64]:
    dates = _cast(name, "dates", values, "datetime64[D]")
    if not len(dates):
        raise DataError(f"{name}: a price series needs at least one row, but got none")
    if np.isnat(dates).any():
        raise DataError(f"{name}: dates[{np.isnat(dates).argmax()}] must be a date, but got NaT")
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    wrong = (years < FIRST_YEAR) | (years > LAST_YEAR)
    if wrong.any():
        raise DataError(
            f"{name}: dates must be of the years {FIRST_YEAR} to {LAST_YEAR}, but got "
            f"{dates[wrong.argmax()]}"
        )
    wrong = dates[1:] <= dates[:-1]
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{name}: dates must be strictly increasing, but {dates[row]} is followed by "
            f"{dates[row + 1]}"
        )
    return dates


def _check_values(series: PriceSeries, field: str, values: NDArray[np.float64]) -> None:
    if len(values) != len(series):
        raise DataError(
            f"{series.name}: {field} must hold one value per date, but got {len(values)} values "
            f"for {len(series)} dates"
        )
    is_volume = field == "volume"
    bad = bad_volumes(values) if is_volume else bad_prices(values)
    if bad.any():
        row, rule = int(bad.argmax()), VOLUME_RULE if is_volume else PRICE_RULE
        raise DataError(
            f"{series.name}: {field} on {series.dates[row]} must be {rule}, but got {values[row]}"
        )


def _check_range(series: PriceSeries) -> None:
    wrong = series.low > series.high
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{series.name}: high on {series.dates[row]} must be at least the low of "
            f"{series.low[row]}, but got {series.high[row]}"
        )
