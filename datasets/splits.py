"""Chronological splits: train | gap | validation | gap | test, and their forecast origins."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.covariates import CovariateEncoding, Covariates
from foretune.datasets.prices import PriceSeries
from foretune.datasets.transforms import LOG, ErrorSpace

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    import pandas as pd

    from foretune.datasets.calendar import Calendar
    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries


_ISO = re.compile(r"\d{4}(-\d\d?(-\d\d?([T ]\d\d?(:\d\d){0,2}([+-]\d\d:?\d\d|Z)?)?)?)?")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where the parts of a series of ``length`` rows begin and end.

    Rows are counted from 0 and every part is half open: training rows are ``0 ..
    train_stop - 1``, validation rows ``validation_start .. validation_stop - 1``, test rows
    ``test_start .. test_stop - 1``. The rows between two parts are the gap; those after the test
    are left out.

    An *origin* is the last row a forecast may see. It is followed by ``horizon`` target rows,
    all of them inside one part. Origins depend on the split alone, so every trial is scored on
    the same rows.
    """

    length: int
    train_stop: int
    validation_start: int
    validation_stop: int
    test_start: int
    horizon: int
    stride: int
    left_out: int = 0

    @property
    def test_stop(self) -> int:
        """The row after the last one of the test."""
        return self.length - self.left_out

    @property
    def gap(self) -> int:
        """Rows between the training and the validation part."""
        return self.validation_start - self.train_stop

    @property
    def overlap(self) -> int:
        """How many origins in a row have target rows in common."""
        return -(-self.horizon // self.stride)

    @property
    def validation_origins(self) -> NDArray[np.int32]:
        """Row indices [O] of the validation origins, ``stride`` rows apart."""
        return _origins(self.validation_start, self.validation_stop, self.horizon, self.stride)

    @property
    def test_origins(self) -> NDArray[np.int32]:
        """Row indices [O] of the test origins, ``stride`` rows apart."""
        return _origins(self.test_start, self.test_stop, self.horizon, self.stride)


def _origins(start: int, stop: int, horizon: int, stride: int) -> NDArray[np.int32]:
    """Every origin whose targets ``origin + 1 .. origin + horizon`` lie in [start, stop)."""
    return np.arange(start - 1, stop - horizon, stride, dtype=np.int32)


def chronological_split(
    length: int,
    *,
    horizon: int = 50,
    stride: int | None = None,
    history: int = 50,
    train_fraction: float = 0.6,
    validation_fraction: float = 0.2,
    gap: int | None = None,
    rows: Sequence[int] | None = None,
) -> Split:
    """Split ``length`` rows into train, validation and test, ``gap`` rows apart.

    Args:
        length: number of rows in the series.
        horizon: steps forecast from each origin.
        stride: rows from one origin to the next; None for a fifth of the horizon.
        history: rows that the longest unroll of a search and its furthest label span.
        train_fraction: share of the rows outside the gaps that are trained on.
        validation_fraction: share of the rows outside the gaps that choose epoch and trial.
        gap: rows between two parts; None for the horizon, so that no target of one part is seen
            by another. Published protocols have 0.
        rows: how many rows train, validate and test, in place of shares; see :func:`rows_until`.
            Those after them are left out.

    Raises:
        ConfigError: a parameter out of range.
        DataError: the series is too short; the message has both numbers.

    Example:
        >>> split = chronological_split(13_594)
        >>> split.train_stop, split.validation_start, split.test_start
        (8096, 8146, 10895)
        >>> chronological_split(17_420, horizon=96, gap=0, rows=(8640, 2880, 2880)).left_out
        3020
    """
    require_whole_number("horizon", horizon)
    require_whole_number("history", history)
    stride = default_stride(horizon) if stride is None else stride
    require_whole_number("stride", stride)
    gap = horizon if gap is None else gap
    require_whole_number("gap", gap, 0)
    if rows is not None:
        return _split_by_rows(
            length, rows, horizon=horizon, stride=stride, history=history, gap=gap
        )
    test_fraction = 1.0 - train_fraction - validation_fraction
    # Not min(...) <= 0: NaN would pass, and so would 0.7 and 0.3, which leave 5.6e-17.
    if not (train_fraction > 0 and validation_fraction > 0 and test_fraction > 1e-9):
        raise ConfigError(
            "train_fraction and validation_fraction must be above 0 and leave a test part, but "
            f"got {train_fraction} and {validation_fraction}"
        )
    usable = max(length - 2 * gap, 0)
    training, validation = round(usable * train_fraction), round(usable * validation_fraction)
    # Of a series that is shorter than its gaps, this says how many rows are missing.
    parts = training, validation, length - 2 * gap - training - validation
    return _split_by_rows(length, parts, horizon=horizon, stride=stride, history=history, gap=gap)


def _split_by_rows(
    length: int, rows: Sequence[int], *, horizon: int, stride: int, history: int, gap: int
) -> Split:
    if len(rows) != 3:
        raise ConfigError(f"rows must be three counts, train, validation, test, but got {rows!r}")
    train, validation, test = rows
    _require_room(length, history, horizon, training=train, validation=validation, test=test)
    left_out = length - sum(rows) - 2 * gap
    if left_out < 0:
        raise DataError(
            f"{train}, {validation} and {test} rows and 2 gaps of {gap} are {length - left_out}, "
            f"but there are {length}; give fewer, or a smaller gap"
        )
    validation_start = train + gap
    return Split(
        length=length,
        train_stop=train,
        validation_start=validation_start,
        validation_stop=validation_start + validation,
        test_start=validation_start + validation + gap,
        horizon=horizon,
        stride=stride,
        left_out=left_out,
    )


def parts_of(
    time: "pd.Index",
    gap: int,
    *,
    split: str | Sequence[float | str] | None = None,
    train_end: object = None,
    validation_end: object = None,
    test_end: object = None,
) -> dict[str, Any]:
    """Return how to split rows, by three shares or counts, or by the last time of each part.

    Args:
        time: when each row is [N].
        gap: rows between two parts.
        split: train, validation and test, such as (0.7, 0.15, 0.15), (8640, 2880, 2880) or
            ("rest", 48, 48), or the same as text.
        train_end: in place of ``split``, as in :func:`rows_until`.
        validation_end: as in :func:`rows_until`.
        test_end: as in :func:`rows_until`.

    Returns:
        ``train_fraction`` and ``validation_fraction``, or ``rows``, of :func:`chronological_split`.

    Raises:
        ConfigError: these are no three parts, or both or neither of ``split`` and ends are given.

    Example:
        >>> import pandas as pd
        >>> parts_of(pd.RangeIndex(200), 5, split="rest,48,48")["rows"]
        (94, 48, 48)
    """
    if split is None:
        if train_end is None or validation_end is None:
            raise ConfigError(
                "train_end and validation_end must be given together, but got "
                f"train_end={train_end!r} and validation_end={validation_end!r}"
            )
        ends = {"train_end": train_end, "validation_end": validation_end, "test_end": test_end}
        return {"rows": rows_until(time, gap, **ends)}
    if not (train_end is validation_end is test_end is None):
        raise ConfigError("split and train_end, validation_end or test_end must not be given both")
    parts = [part.strip() for part in split.split(",")] if isinstance(split, str) else [*split]
    try:
        numbers = [None if part == "rest" else float(part) for part in parts]
        known = [number for number in numbers if number is not None]
        if len(numbers) != 3 or len(known) < 2 or not min(known) > 0:
            raise ValueError
        if max(known) < 1:
            rest = 1 - sum(known)
            train, validation, test = [rest if number is None else number for number in numbers]
            if abs(train + validation + test - 1) > 1e-9 or not min(train, validation, test) > 0:
                raise ValueError
            return {"train_fraction": train, "validation_fraction": validation, "rows": None}
        if any(number % 1 for number in known):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise ConfigError(
            "split must be three shares that add up to 1 or three whole numbers of rows, of which "
            f"one may be 'rest', such as 0.6,0.2,0.2 or rest,48,48, but got {split!r}"
        ) from None
    rest = max(len(time) - 2 * gap - int(sum(known)), 0)
    return {"rows": tuple(rest if number is None else int(number) for number in numbers)}


def rows_until(
    time: "pd.Index",
    gap: int,
    *,
    train_end: object,
    validation_end: object,
    test_end: object = None,
) -> tuple[int, int, int]:
    """Count the rows of each part from the time of its last row.

    Args:
        time: when each row is [N].
        gap: rows between two parts.
        train_end: the last time that is trained on; a day, a month or a year is meant whole.
        validation_end: the last time that validates.
        test_end: the last time of the test; None for all that is there.

    Returns:
        ``rows`` of :func:`chronological_split`.

    Raises:
        ConfigError: an end is no time, or they do not follow one another.

    Example:
        >>> import pandas as pd
        >>> days = pd.date_range("2020-01-01", "2023-12-31")
        >>> rows_until(days, 0, train_end="2021", validation_end="2022")
        (731, 365, 365)
    """
    stops = []
    ends = {"train_end": train_end, "validation_end": validation_end, "test_end": test_end}
    for name, end in ends.items():
        if end is None:
            stops.append(len(time))
            continue
        try:
            stops.append(_rows_to(time, end))
        except (ValueError, TypeError, KeyError):
            form = time[-1] if time.dtype.kind == "i" else time[-1].isoformat()
            raise ConfigError(
                f"{name} must be a time written like {form}, or the first parts of it, but got "
                f"{end!r}"
            ) from None
    train, validation, test = stops
    counts = train, validation - train - gap, test - validation - gap
    if min(counts) <= 0:
        raise ConfigError(
            f"train_end, validation_end and test_end must follow one another, more than {gap} rows "
            f"apart (the gap), between {time[0]} and {time[-1]}, but got {train_end}, "
            f"{validation_end} and {test_end}"
        )
    return counts


def _rows_to(time: "pd.Index", end: object) -> int:
    """Count the rows of ``time`` [N] up to ``end``; a day, month or year is meant whole.

    Raises:
        ValueError: it is no time as ISO 8601 writes it. (02/01/2020 may be in January.)
    """
    import pandas as pd

    if time.dtype.kind == "i":
        return int(time.slice_locs(end=int(str(end)))[1])
    if isinstance(end, date) and not isinstance(end, datetime):
        end = end.isoformat()
    if isinstance(end, datetime | np.datetime64):
        end = pd.Timestamp(end)
        end = end if end.tzinfo else end.tz_localize(getattr(time, "tz", None))
    elif not (isinstance(end, str) and _ISO.fullmatch(end)):
        raise ValueError(end)
    return int(time.slice_locs(end=end)[1])


def split_without_test(
    length: int, *, days: int | None = None, horizon: int = 50, history: int = 50
) -> Split:
    """Split the first ``days`` days into train, gap and validation, and leave none for a test.

    The training part is three quarters of the days outside the gap, as in
    :func:`chronological_split`; forecast origins are a fifth of the horizon apart.

    Args:
        length: days in the series.
        days: how many of them, from the first on, may train and decide; None for all.
        horizon: days forecast from each origin, and the width of the gap.
        history: days that an unroll and its furthest label span.

    Raises:
        ConfigError: a parameter out of range.
        DataError: too few days; the message has both numbers.

    Example:
        >>> split = split_without_test(1000)
        >>> split.train_stop, split.validation_start, split.validation_stop
        (712, 762, 1000)
    """
    days = length if days is None else days
    require_whole_number("horizon", horizon)
    require_whole_number("days", days, most=length)
    train_stop = round(max(days - horizon, 0) * 0.75)
    validation_start = train_stop + horizon
    _require_room(days, history, horizon, training=train_stop, validation=days - validation_start)
    return Split(
        length=length,
        train_stop=train_stop,
        validation_start=validation_start,
        validation_stop=days,
        test_start=days,
        horizon=horizon,
        stride=default_stride(horizon),
    )


def default_horizon(data: "TimeSeries | Panel") -> int:
    """Return how many steps ahead to forecast where nothing is said.

    50 of prices; else one season, or 50 where the calendar knows none, but of no more than a
    twelfth of the rows of the shortest series.

    Example:
        >>> default_horizon(series)    # hourly
        24
    """
    if data.error_space == "log":
        return 50
    return min(data.calendar.seasonality or 50, max(min(map(len, data.members)) // 12, 1))


def default_stride(horizon: int) -> int:
    """Return the days between forecast origins: a fifth of the horizon.

    Forecasts that overlap say more together than those that do not: of 40 studies on AR(1) returns,
    5 days ahead, skill was found in 40 with a stride of 1 and in 35 with 5, and on random walks no
    more often by mistake.
    """
    return max(horizon // 5, 1)


def _require_room(days: int, history: int, horizon: int, **parts: int) -> None:
    """Refuse parts of ``days`` that are too short for an unroll or a forecast."""
    forecast = horizon, f"a forecast over a horizon of {horizon} rows"
    # An unroll needs one more day for its last label, and returns need one day before it.
    unroll = history + 2, f"an unroll of {history} rows"
    for part, count in parts.items():
        trains = part == "training"
        needed, purpose = unroll if trains else forecast
        if count < needed:
            raise DataError(
                f"{days} rows leave {max(count, 0)} for the {part} part, but {purpose} needs at "
                f"least {needed}; give a longer series or a shorter horizon"
                + ", unroll_length or warm_up"
                * trains
            )


def walk_forward(split: Split, folds: int) -> tuple[Split, ...]:
    """Cut the validation part into ``folds`` blocks, one after another, each with its own training.

    The training days of a fold are all days up to its gap: its origin rolls forward and its
    training part grows. Blocks are equally long, so that every fold has as many origins; the few
    days that are left over train the first fold. The test part is the same for all.

    Args:
        split: where the parts lie for one fold.
        folds: how many, K; 1 returns ``split`` itself.

    Raises:
        ConfigError: ``folds`` is no count.
        DataError: a block is too short for a forecast; the message has both numbers.

    Example:
        >>> [fold.train_stop for fold in walk_forward(chronological_split(13_594), 3)]
        [8098, 8997, 9896]
    """
    require_whole_number("folds", folds)
    if folds == 1:
        return (split,)
    days = split.validation_stop - split.validation_start
    block = days // folds
    if block < split.horizon:
        raise DataError(
            f"{days} validation rows leave {block} for each of {folds} folds, but a forecast over "
            f"a horizon of {split.horizon} rows needs at least {split.horizon}; give fewer folds"
        )
    starts = split.validation_stop - block * np.arange(folds, 0, -1)
    return tuple(
        replace(
            split,
            train_stop=int(start) - split.gap,
            validation_start=int(start),
            validation_stop=int(start) + block,
        )
        for start in starts
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class DevelopmentData:
    """The rows that trials may see: train, gap and validation. The test rows are not in it.

    Arrays have one entry a series, S.

    Args:
        time: when each row is [validation_stop].
        values: the target [S, validation_stop].
        split: where the parts lie.
        capacity: rows that a program which trains on them has room for: folds of one capacity share
            it.
        spaces: what errors are measured in, one a series.
        covariates: numbers known beside the target, scaled on the training rows; N is
            validation_stop, and K 0.
        encoding: how they became numbers.
        starts: the first row of each series [S]; before it stands its first value, which nothing
            reads. None where all begin at row 0.
        close: last price of each day [S, validation_stop], where the target is the mid price.
        calendar: which the times follow.
        target_name: what figures call the target.
        unit: of the target.
        names: what the series are called [S].
    """

    time: "pd.Index"
    values: NDArray[np.float64]
    split: Split
    capacity: int
    spaces: tuple[ErrorSpace, ...] = (LOG,)
    covariates: Covariates = field(default_factory=Covariates)
    encoding: CovariateEncoding = field(default_factory=CovariateEncoding)
    starts: NDArray[np.int32] | None = None
    close: NDArray[np.float64] | None = None
    calendar: "Calendar | None" = None
    target_name: str = "mid price"
    unit: str | None = None
    names: tuple[str, ...] = ()

    @property
    def firsts(self) -> NDArray[np.int32]:
        """The first row of each series [S]."""
        return np.zeros(len(self.values), np.int32) if self.starts is None else self.starts

    @property
    def past(self) -> NDArray[np.float64]:
        """Numbers known up to the origin [S, validation_stop, P]."""
        return self.covariates.past

    @property
    def future(self) -> NDArray[np.float64]:
        """Numbers known for the steps ahead too [S, validation_stop, F]."""
        return self.covariates.future

    @property
    def seasonality(self) -> int | None:
        """Steps in a season, where the calendar knows."""
        return self.calendar.seasonality if self.calendar else None

    @cached_property
    def dates(self) -> NDArray[Any]:
        """The times as an array: days, local times, or whole numbers."""
        from foretune.datasets.calendar import local_clock

        return local_clock(self.time)


# Its name in the first version.
Development = DevelopmentData


def development_folds(
    data: "TimeSeries | PriceSeries | Panel", split: Split, folds: int
) -> tuple[DevelopmentData, ...]:
    """Return what trials may see in each fold of :func:`walk_forward`, oldest fold first.

    All have the error space of the first one, whose training rows are in every other's.

    Raises:
        ConfigError: the split was made for a series of another length, or ``folds`` is no count.
        DataError: a fold is too short, or its values stand still.
    """
    series = _series_of(data, split)
    first, *others = (_development(series, fold) for fold in walk_forward(split, folds))
    return tuple(
        replace(part, capacity=split.validation_stop, spaces=first.spaces)
        for part in (first, *others)
    )


def development(data: "TimeSeries | PriceSeries | Panel", split: Split) -> DevelopmentData:
    """Return the part of ``data`` before the test: copies, so that no view reaches the test.

    Args:
        data: a series, or prices, of which the default target is taken; or only its rows before the
            test.
        split: where its parts lie.

    Raises:
        ConfigError: the split was made for a series of another length.
        DataError: the training values stand still, or the validation values do after every
            origin, so that persistence is never wrong and nothing can be measured against it.
    """
    return _development(_series_of(data, split), split)


def _series_of(data: "TimeSeries | PriceSeries | Panel", split: Split) -> "TimeSeries | Panel":
    """Return a series of the rows that ``split`` was made for, or of those before its test."""
    if len(data) not in (split.length, split.validation_stop):
        raise ConfigError(
            f"split must be for the {len(data)} rows of {data.name}, but got {split.length}"
        )
    return data.series() if isinstance(data, PriceSeries) else data


def _development(series: "TimeSeries | Panel", split: Split) -> DevelopmentData:
    stop = split.validation_stop
    seen = series.before(stop)
    members, values, firsts = seen.members, seen.values.copy(), seen.firsts
    late = [
        one.name for one, first in zip(members, firsts, strict=True) if first >= split.train_stop
    ]
    if late:
        raise DataError(
            f"{len(late)} of {len(members)} series begin after the training rows, which end before "
            f"row {split.train_stop}; leave them out by leave_out={late} (--leave-out, once for "
            "each)"
        )
    spaces, still = list[ErrorSpace](), list[str]()
    for one, own, first in zip(members, values, firsts, strict=True):
        train = own[first : split.train_stop]
        problem = ""
        if np.ptp(train) == 0:
            problem = f"the {len(train)} training values of {one.name} must change"
        else:
            spaces.append(ErrorSpace.fit(series.error_space, train))
            if not np.any(spaces[-1].changes(own, split.validation_origins, split.horizon)):
                problem = (
                    f"the validation values of {one.name}, rows {split.validation_start} to "
                    f"{stop - 1}, must change after some forecast origin"
                )
        if problem and len(members) == 1:
            raise DataError(f"{problem}, but stand still")
        if problem:
            still.append(one.name)
    if still:
        raise DataError(
            f"the values of {len(still)} of {len(members)} series stand still in all their "
            "training rows, or after every validation origin, where nothing can be measured; leave "
            f"them out by leave_out={still} (--leave-out, once for each)"
        )
    begin = [int(first) for first in firsts]
    encoding = CovariateEncoding.fit(members, [split.train_stop - first for first in begin])
    return DevelopmentData(
        time=series.time[:stop].copy(),
        values=values,
        split=split,
        capacity=stop,
        spaces=tuple(spaces),
        covariates=encoding.encode_all(members, begin),
        encoding=encoding,
        starts=firsts if firsts.any() else None,
        close=last_closes(seen),
        calendar=series.calendar,
        target_name=series.target_name,
        unit=series.unit,
        names=tuple(one.name for one in members),
    )


def last_closes(data: "TimeSeries | Panel") -> NDArray[np.float64] | None:
    """Return the last price of each day [S, N], where the target is the mid price.

    Before the first row of a series stands its first one.
    """
    if data.error_space != "log" or data.target_name != "mid price":
        return None
    if any("close" not in one.past for one in data.members):
        return None
    begin = zip(data.members, data.firsts, strict=True)
    return np.stack([np.pad(one.past["close"], (int(own), 0), mode="edge") for one, own in begin])
