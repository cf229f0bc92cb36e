"""Chronological splits: train | gap | validation | gap | test, and their forecast origins."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.prices import PriceSeries
from foretune.datasets.transforms import log_growth_between


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where the parts of a series of ``length`` days begin and end.

    Days are counted from 0 and every part is half open: training days are ``0 ..
    train_stop - 1``, validation days ``validation_start .. validation_stop - 1``, test days
    ``test_start .. length - 1``. The days between two parts are the gap.

    An *origin* is the last day a forecast may see. It is followed by ``horizon`` target days,
    all of them inside one part. Origins depend on the split alone, so every trial is scored on
    the same dates.
    """

    length: int
    train_stop: int
    validation_start: int
    validation_stop: int
    test_start: int
    horizon: int
    stride: int

    @property
    def overlap(self) -> int:
        """How many origins in a row have target days in common."""
        return -(-self.horizon // self.stride)

    @property
    def validation_origins(self) -> NDArray[np.int32]:
        """Day indices [O] of the validation origins, ``stride`` days apart."""
        return _origins(self.validation_start, self.validation_stop, self.horizon, self.stride)

    @property
    def test_origins(self) -> NDArray[np.int32]:
        """Day indices [O] of the test origins, ``stride`` days apart."""
        return _origins(self.test_start, self.length, self.horizon, self.stride)


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
) -> Split:
    """Split ``length`` days into train, validation and test, ``horizon`` days apart.

    Args:
        length: number of days in the series.
        horizon: days forecast from each origin; also the width of both gaps, so that no target
            of one part is seen by another.
        stride: days from one origin to the next; None for a fifth of the horizon.
        history: days that the longest unroll of a search and its furthest label span.
        train_fraction: share of the days outside the gaps that are trained on.
        validation_fraction: share of the days outside the gaps that choose epoch and trial.

    Raises:
        ConfigError: a parameter out of range.
        DataError: the series is too short; the message has both numbers.

    Example:
        >>> split = chronological_split(13_594)
        >>> split.train_stop, split.validation_start, split.test_start
        (8096, 8146, 10895)
    """
    require_whole_number("horizon", horizon)
    require_whole_number("history", history)
    stride = default_stride(horizon) if stride is None else stride
    require_whole_number("stride", stride)
    test_fraction = 1.0 - train_fraction - validation_fraction
    # Not min(...) <= 0: NaN would pass, and so would 0.7 and 0.3, which leave 5.6e-17.
    if not (train_fraction > 0 and validation_fraction > 0 and test_fraction > 1e-9):
        raise ConfigError(
            "train_fraction and validation_fraction must be above 0 and leave a test part, but "
            f"got {train_fraction} and {validation_fraction}"
        )
    usable = max(length - 2 * horizon, 0)
    train_stop = round(usable * train_fraction)
    validation_start = train_stop + horizon
    validation_stop = validation_start + round(usable * validation_fraction)
    test_start = validation_stop + horizon
    _require_room(
        length,
        history,
        horizon,
        training=train_stop,
        validation=validation_stop - validation_start,
        test=length - test_start,
    )
    return Split(
        length=length,
        train_stop=train_stop,
        validation_start=validation_start,
        validation_stop=validation_stop,
        test_start=test_start,
        horizon=horizon,
        stride=stride,
    )


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


def default_stride(horizon: int) -> int:
    """Return the days between forecast origins: a fifth of the horizon.

    Forecasts that overlap say more together than those that do not: of 40 studies on AR(1) returns,
    5 days ahead, skill was found in 40 with a stride of 1 and in 35 with 5, and on random walks no
    more often by mistake.
    """
    return max(horizon // 5, 1)


def _require_room(days: int, history: int, horizon: int, **parts: int) -> None:
    """Refuse parts of ``days`` that are too short for an unroll or a forecast."""
    forecast = horizon, f"a forecast over a horizon of {horizon} days"
    # An unroll needs one more day for its last label, and returns need one day before it.
    unroll = history + 2, f"an unroll of {history} days"
    for part, count in parts.items():
        needed, purpose = unroll if part == "training" else forecast
        if count < needed:
            raise DataError(
                f"{days} days leave {max(count, 0)} for the {part} part, but {purpose} needs at "
                f"least {needed}; give a longer series or a shorter horizon or unroll"
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
            f"{days} validation days leave {block} for each of {folds} folds, but a forecast over "
            f"a horizon of {split.horizon} days needs at least {split.horizon}; give fewer folds"
        )
    starts = split.validation_stop - block * np.arange(folds, 0, -1)
    return tuple(
        replace(
            split,
            train_stop=int(start) - split.horizon,
            validation_start=int(start),
            validation_stop=int(start) + block,
        )
        for start in starts
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class DevelopmentData:
    """The days that trials may see: train, gap and validation. The test days are not in it.

    ``dates`` and ``values`` (mid price) have shape [validation_stop]. ``capacity`` is the number of
    days that a program which trains on them has room for: folds with one capacity share it.
    """

    dates: NDArray[np.datetime64]
    values: NDArray[np.float64]
    split: Split
    capacity: int


# Its name in the first version.
Development = DevelopmentData


def development_folds(prices: PriceSeries, split: Split, folds: int) -> tuple[DevelopmentData, ...]:
    """Return what trials may see in each fold of :func:`walk_forward`, oldest fold first.

    Raises:
        ConfigError: the split was made for a series of another length, or ``folds`` is no count.
        DataError: a fold is too short, or its prices stand still.
    """
    parts = (development(prices, fold) for fold in walk_forward(split, folds))
    return tuple(replace(part, capacity=split.validation_stop) for part in parts)


def development(prices: PriceSeries, split: Split) -> DevelopmentData:
    """Return the part of ``prices`` before the test: copies, so that no view reaches the test.

    Raises:
        ConfigError: the split was made for a series of another length.
        DataError: the training prices stand still, or the validation price does after every
            origin, so that persistence is never wrong and nothing can be measured against it.
    """
    if len(prices) != split.length:
        raise ConfigError(
            f"split must be for the {len(prices)} days of {prices.name}, but got {split.length}"
        )
    stop = split.validation_stop
    values = prices.mid[:stop].copy()
    if np.ptp(values[: split.train_stop]) == 0:
        raise DataError(
            f"the {split.train_stop} training prices of {prices.name} must change, but stand still"
        )
    if not np.any(log_growth_between(values, split.validation_origins, split.horizon)):
        raise DataError(
            f"the validation prices of {prices.name}, days {split.validation_start} to {stop - 1}, "
            "must change after some forecast origin, but stand still"
        )
    return DevelopmentData(
        dates=prices.dates[:stop].copy(), values=values, split=split, capacity=stop
    )
