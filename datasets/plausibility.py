"""Rows of prices that are hard to believe: a split that nobody adjusted, a close off its range.

What is found is a remark and changes no value. Shapes: ``N`` is the number of rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# How many new shares a split makes of one; the inverse is a reverse split.
SPLIT_FACTORS = (2, 3, 4, 5, 7, 10, 20)
# How far from such a factor a jump may be, in logarithms, for the price also moves on that day.
# Above that, a jump could be of two factors: those of 4 and 5 are log(5 / 4) / 2 = 0.11 apart.
NEAR = 0.1
# A split is so many times the size of an ordinary move: their root mean square without the largest
# of every _TRIMMED. A year of prices, or a penny share, may double without a split.
_ORDINARY_MOVES = 8
_TRIMMED = 50
# Fewer moves do not say what is ordinary.
_FEWEST_MOVES = 20
# Adjusted prices are rounded to cents, which moves one of 0.20 by 2.5 %. A close that was adjusted
# beside a low and high that were not is farther outside, as is one of another row.
_OUTSIDE = 0.05


def split_jumps(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows whose price is near a multiple of the row before, as after a split.

    Args:
        values: prices, all above 0, [N].

    Returns:
        Rows whose price is that before times or divided by one of `SPLIT_FACTORS`, up to `NEAR`.

    Example:
        >>> calm = 100 + np.sin(np.arange(60.0))
        >>> split_jumps(np.where(np.arange(60) < 40, calm, calm / 4))
        array([40])
    """
    moves = np.diff(np.log(values))
    if len(moves) < _FEWEST_MOVES:
        return np.empty(0, np.int64)
    sizes = np.abs(moves)
    usual = np.sort(sizes)[: len(sizes) - max(1, len(sizes) // _TRIMMED)]
    factors = np.log(np.array(SPLIT_FACTORS, np.float64))
    near = (np.abs(sizes[:, None] - factors) <= NEAR).any(axis=1)
    large = sizes > _ORDINARY_MOVES * np.sqrt(np.mean(usual**2))
    return np.flatnonzero(near & large) + 1


def outside_range(
    close: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the rows whose close is far outside ``[low, high]``, each [N].

    Example:
        >>> outside_range(np.array([9.99, 5.0]), np.array([10.0, 10.0]), np.array([11.0, 11.0]))
        array([1])
    """
    return np.flatnonzero((close < low * (1 - _OUTSIDE)) | (close > high * (1 + _OUTSIDE)))


def jump_remarks(
    times: Any,
    values: NDArray[np.float64],
    *,
    what: str = "close",
    adjusted: NDArray[np.float64] | None = None,
) -> tuple[str, ...]:
    """Say in one line where prices jump as at a split, by what factor, and what to do.

    Args:
        times: when each row is, [N].
        values: the prices, [N].
        what: what they are called.
        adjusted: the adjusted closes beside them, [N], where there are any.

    Returns:
        One remark, or none.

    Example:
        >>> jump_remarks(days, closes)
        ('close falls from 400 to 101 on 2020-08-31, by a factor of 3.96, as at a split that is ...
    """
    rows = split_jumps(values)
    if not len(rows):
        return ()
    row = int(rows[0])
    before, after = values[row - 1], values[row]
    way, factor = ("rises", after / before) if after > before else ("falls", before / after)
    more = f"; {len(rows)} rows jump so" if len(rows) > 1 else ""
    # One that jumps as well is no remedy.
    if adjusted is not None and not len(split_jumps(adjusted)):
        remedy = "target='adj_close' (--target adj_close) takes the adjusted prices"
    else:
        remedy = "if it was a split, adjust the prices before"
    return (
        f"{what} {way} from {before:.10g} to {after:.10g} on {_day(times[row])}, by a factor of "
        f"{factor:.3g}, as at a split that is not adjusted{more}; {remedy}",
    )


def range_remarks(
    times: Any,
    close: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    *,
    adjusted: bool = False,
) -> tuple[str, ...]:
    """Say in one line where the close is far outside the day's range, and what to do.

    Args:
        times: when each row is, [N].
        close: the last prices, [N].
        low: the lowest ones, [N].
        high: the highest ones, [N].
        adjusted: whether there are adjusted closes beside them.

    Returns:
        One remark, or none.
    """
    rows = outside_range(close, low, high)
    if not len(rows):
        return ()
    row = int(rows[0])
    factor = low[row] / close[row] if close[row] < low[row] else close[row] / high[row]
    more = f"; {len(rows)} rows are so" if len(rows) > 1 else ""
    remedy = (
        "target='adj_close' (--target adj_close) takes the adjusted prices"
        if adjusted
        else "adjust the prices before, all or none of them"
    )
    return (
        f"close on {_day(times[row])}, {close[row]:.10g}, is far outside low and high, "
        f"{low[row]:.10g} to {high[row]:.10g}, by a factor of {factor:.3g}"
        f"{more}; {remedy}",
    )


def _day(time: Any) -> str:
    return str(time).removesuffix(" 00:00:00")
