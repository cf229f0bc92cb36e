"""Values to network inputs and back, errors, and smoothing; fitted to training rows alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError

Array = NDArray[np.float64]

ScalingName = Literal["log_returns", "log", "differences", "standard", "none", "windowed_min_max"]
SpaceName = Literal["log", "value"]

# Those that take logarithms of the values.
LOGARITHMS: tuple[ScalingName, ...] = ("log_returns", "log")

# A level forecast can leave the positive numbers, where logarithms end. Below this share of the
# value at the origin every forecast is equally and hopelessly wrong.
LOWEST_GROWTH = 0.01

# Below this, values differ by their rounding alone.
_SMALLEST_STD = 1e-12


@dataclass(frozen=True, kw_only=True)
class ErrorSpace:
    """How far apart two values are: the space in which forecasts are scored.

    Args:
        name: "log", where a change is the logarithm of a ratio, as for prices; "value", where it is
            a difference in units of ``unit``.
        unit: standard deviation of the training rows; 1 in "log".

    Example:
        >>> ErrorSpace(name="value", unit=2.0).changes(np.array([1.0, 5.0]), np.array([0]), 1)
        array([[2.]])
    """

    name: SpaceName = "log"
    unit: float = 1.0

    @classmethod
    def fit(cls, name: SpaceName, train_values: Array) -> Self:
        """Take the unit of the training rows' values [N].

        Raises:
            DataError: they stand still, so that there is none.
        """
        if name == "log":
            return cls()
        unit = float(np.std(train_values))
        if not 0 < unit < np.inf:
            raise DataError(
                f"the {len(train_values)} training values must change, and by no more than a "
                f"number can hold, but have a standard deviation of {unit}"
            )
        return cls(name=name, unit=unit)

    def levels(self, values: Array) -> Array:
        """Return values [...] as levels, whose differences are changes."""
        levels: Array = np.log(values) if self.name == "log" else values / self.unit
        return levels

    def changes(self, values: Array, origins: NDArray[np.int32], horizon: int) -> Array:
        """Return the actual changes [O, H] of values [N] after each origin [O]."""
        levels = self.levels(values)
        rows = origins[:, None] + np.arange(1, horizon + 1)
        changes: Array = levels[rows] - levels[origins][:, None]
        return changes

    def after(self, changes: Array, origins: NDArray[np.int32], values: Array) -> Array:
        """Turn changes [O, H] since the origins [O] into values [O, H]."""
        now = values[origins][:, None]
        after: Array = now * np.exp(changes) if self.name == "log" else now + changes * self.unit
        return after

    def to(self, values: Array, now: Array) -> Array:
        """Return the changes from ``now`` [O, 1] to values [O, H]; a ratio is floored at 1 %."""
        if self.name == "value":
            return (values - now) / self.unit
        changes: Array = np.log(np.maximum(values / now, LOWEST_GROWTH))
        return changes

    def of_growth(self, growth: Array, now: Array) -> Array:
        """Return the changes since ``now`` [O, 1] that log growth [O, H] is."""
        return growth if self.name == "log" else now * np.expm1(growth) / self.unit


LOG = ErrorSpace()


def levels_of(spaces: Sequence[ErrorSpace], values: Array) -> Array:
    """Return values of several series [S, N] as levels, each in its own space."""
    return np.stack([space.levels(own) for space, own in zip(spaces, values, strict=True)])


def changes_of(
    spaces: Sequence[ErrorSpace], values: Array, origins: NDArray[np.int32], horizon: int
) -> Array:
    """Return the actual changes [S, O, H] of several series [S, N] after each origin [O]."""
    pairs = zip(spaces, values, strict=True)
    return np.stack([space.changes(own, origins, horizon) for space, own in pairs])


class Scaling(Protocol):
    """A fitted transform; ``values[i]`` of :meth:`transform` belongs to row ``i + lag``."""

    @property
    def lag(self) -> int:
        """Rows at the start of the series that have no scaled value."""

    def transform(self, values: Array) -> Array:
        """Scale values [N] to network inputs [N - lag]."""

    def change(
        self, scaled: Array, origins: NDArray[np.int32], values: Array, space: ErrorSpace = LOG
    ) -> Array:
        """Invert scaled values [O, H] of the rows after each origin [O].

        Returns the changes since the origin [O, H] in ``space``; :meth:`ErrorSpace.after` makes
        values of them. Only ``values[origins]`` is read, never a later row.
        """

    def scale_path(self, path: Array, origins: NDArray[np.int32], values: Array) -> Array:
        """Scale values [O, H] of the rows after each origin [O], the inverse of :meth:`change`."""


@dataclass(frozen=True, kw_only=True)
class Standardised:
    """``(v_t - mean) / std``, mean and std over the training rows."""

    lag: ClassVar[int] = 0
    _WHAT: ClassVar[str] = "values"

    mean: float
    std: float

    @classmethod
    def fit(cls, train_values: Array) -> Self:
        """Fit to the training rows' values [N].

        Raises:
            DataError: there is nothing to scale by, for they never change; or a logarithm is taken
                of one that is not above 0.
        """
        raw = cls._raw(train_values)
        std = float(np.std(raw))
        size = 1.0 if "log" in cls._WHAT else float(np.max(np.abs(train_values)))
        if not _SMALLEST_STD * size < std < np.inf:
            raise DataError(
                f"the {len(train_values)} training values must vary, but their {cls._WHAT} have a "
                f"standard deviation of {std}"
            )
        return cls(mean=float(np.mean(raw)), std=std)

    @classmethod
    def _raw(cls, values: Array) -> Array:
        return values

    def transform(self, values: Array) -> Array:
        """Scale values [N] to [N - lag]."""
        return (self._raw(values) - self.mean) / self.std

    def change(
        self, scaled: Array, origins: NDArray[np.int32], values: Array, space: ErrorSpace = LOG
    ) -> Array:
        """Return the changes [O, H] to what ``scaled`` [O, H] are."""
        return space.to(scaled * self.std + self.mean, values[origins][:, None])

    def scale_path(self, path: Array, origins: NDArray[np.int32], values: Array) -> Array:
        """Scale values [O, H] of the rows after each origin."""
        raw = self._raw(np.concatenate([values[origins][:, None], path], axis=1))
        scaled: Array = (raw[:, -path.shape[1] :] - self.mean) / self.std
        return scaled


class StandardisedLogs(Standardised):
    """``(log(v_t) - mean) / std``, mean and std over the training rows."""

    _WHAT: ClassVar[str] = "logarithms"

    @classmethod
    def _raw(cls, values: Array) -> Array:
        return _logarithms(values, "log")

    def change(
        self, scaled: Array, origins: NDArray[np.int32], values: Array, space: ErrorSpace = LOG
    ) -> Array:
        """Return the changes [O, H] to what ``scaled`` [O, H] are the logarithms of."""
        now = values[origins][:, None]
        return space.of_growth(scaled * self.std + self.mean - np.log(now), now)


class StandardisedDifferences(Standardised):
    """``(v_t - v_{t-1} - mean) / std``, mean and std over the training rows."""

    lag: ClassVar[int] = 1
    _WHAT: ClassVar[str] = "differences"

    @classmethod
    def _raw(cls, values: Array) -> Array:
        return np.diff(values)

    def change(
        self, scaled: Array, origins: NDArray[np.int32], values: Array, space: ErrorSpace = LOG
    ) -> Array:
        """Add up scaled differences [O, H] since each origin: changes [O, H]."""
        now = values[origins][:, None]
        return space.to(now + np.cumsum(scaled * self.std + self.mean, axis=1), now)


class StandardisedLogReturns(Standardised):
    """``(log(v_t / v_{t-1}) - mean) / std``, mean and std over the training rows."""

    lag: ClassVar[int] = 1
    _WHAT: ClassVar[str] = "log returns"

    @classmethod
    def _raw(cls, values: Array) -> Array:
        return np.diff(_logarithms(values, "log_returns"))

    def change(
        self, scaled: Array, origins: NDArray[np.int32], values: Array, space: ErrorSpace = LOG
    ) -> Array:
        """Add up scaled returns [O, H] since each origin: changes [O, H]."""
        growth = np.cumsum(scaled * self.std + self.mean, axis=1)
        return space.of_growth(growth, values[origins][:, None])


@dataclass(frozen=True, kw_only=True)
class Unscaled:
    """The values as they are."""

    lag: ClassVar[int] = 0

    def transform(self, values: Array) -> Array:
        """Return values [N]."""
        return values

    def change(
        self, scaled: Array, origins: NDArray[np.int32], values: Array, space: ErrorSpace = LOG
    ) -> Array:
        """Return the changes [O, H] to ``scaled`` [O, H]."""
        return space.to(scaled, values[origins][:, None])

    def scale_path(self, path: Array, origins: NDArray[np.int32], values: Array) -> Array:
        """Return values [O, H] of the rows after each origin."""
        return path


@dataclass(frozen=True, kw_only=True)
class WindowedMinMax:
    """Min-max to [0, 1], separately for each window of training rows (the tutorial's step 5).

    Rows after the training part use the last window's extremes, so they can leave [0, 1]; and
    each window knows its own future extremes. Both are the tutorial's faults, kept to
    reproduce it. A remainder shorter than a tenth of a window joins the window before it,
    because a handful of rows would be a poor scale for everything that follows.

    ``starts``, ``minima`` and ``maxima`` have one entry a window.
    """

    lag: ClassVar[int] = 0

    starts: tuple[int, ...]
    minima: tuple[float, ...]
    maxima: tuple[float, ...]

    @classmethod
    def fit(cls, train_values: Array, window: int) -> "WindowedMinMax":
        """Fit to the training rows' values [N], ``window`` rows at a time."""
        starts = list(range(0, len(train_values), window))
        if len(starts) > 1 and len(train_values) - starts[-1] < max(window / 10, 2):
            starts.pop()
        windows = np.split(train_values, starts[1:])
        return cls(
            starts=tuple(starts),
            minima=tuple(float(w.min()) for w in windows),
            maxima=tuple(float(w.max()) for w in windows),
        )

    def _offset_and_range(self, rows: NDArray[np.int64]) -> tuple[Array, ...]:
        window = np.searchsorted(self.starts, rows, side="right") - 1
        low, high = np.array(self.minima)[window], np.array(self.maxima)[window]
        widest = max(np.subtract(self.maxima, self.minima))
        # A window of one constant value has no range; any scale keeps it invertible. One that
        # hardly varies would make the others overflow.
        return low, np.where(high > low, np.maximum(high - low, _SMALLEST_STD * widest), 1.0)

    def transform(self, values: Array) -> Array:
        """Scale values [N] to [N], in [0, 1] on training rows."""
        low, width = self._offset_and_range(np.arange(len(values)))
        scaled: Array = (values - low) / width
        return scaled

    def change(
        self, scaled: Array, origins: NDArray[np.int32], values: Array, space: ErrorSpace = LOG
    ) -> Array:
        """Return the changes [O, H] to the levels that ``scaled`` [O, H] are."""
        low, width = self._after(origins, scaled.shape[1])
        return space.to(scaled * width + low, values[origins][:, None])

    def scale_path(self, path: Array, origins: NDArray[np.int32], values: Array) -> Array:
        """Scale values [O, H] of the rows after each origin."""
        low, width = self._after(origins, path.shape[1])
        scaled: Array = (path - low) / width
        return scaled

    def _after(self, origins: NDArray[np.int32], horizon: int) -> tuple[Array, ...]:
        rows = origins[:, None].astype(np.int64) + np.arange(1, horizon + 1)
        return self._offset_and_range(rows)


STANDARDISED: dict[str, type[Standardised]] = {
    "log_returns": StandardisedLogReturns,
    "log": StandardisedLogs,
    "differences": StandardisedDifferences,
    "standard": Standardised,
}


def fit_scaling(name: ScalingName, train_values: Array, *, window: int) -> Scaling:
    """Fit the transform called ``name`` to the training rows' values [N].

    Args:
        name: of the transform.
        train_values: values of the training rows [N].
        window: rows per window of ``windowed_min_max``.

    Raises:
        DataError: the values never change, or have no logarithm where one is taken.
    """
    if name == "none":
        return Unscaled()
    if name == "windowed_min_max":
        return WindowedMinMax.fit(train_values, window)
    return STANDARDISED[name].fit(train_values)


def _logarithms(values: Array, scaling: ScalingName) -> Array:
    wrong = ~(values > 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"scaling {scaling!r} needs values above 0, but row {row} is {values[row]}; 'standard' "
            "and 'differences' take any"
        )
    logarithms: Array = np.log(values)
    return logarithms


def exponential_moving_average(values: Array, past_weight: float) -> Array:
    """Return ``m_t = past_weight * m_{t-1} + (1 - past_weight) * x_t`` with ``m`` 0 before x_0.

    The tutorial smooths its training data so with 0.9 (step 6) and forecasts so with 0.5 (step
    8). Starting at 0 pulls the first values down; that is the tutorial's choice.

    Args:
        values: x [N], oldest first.
        past_weight: in [0, 1); 0 returns ``values``.

    Returns:
        The averages m [N].

    Example:
        >>> exponential_moving_average(np.array([1.0, 1.0, 1.0]), 0.5)
        array([0.5  , 0.75 , 0.875])
    """
    import pandas as pd  # a second that only smoothing needs to wait for

    from_zero = pd.Series(np.concatenate([[0.0], values]))
    average = from_zero.ewm(alpha=1 - past_weight, adjust=False).mean().to_numpy()
    return np.asarray(average[1:], np.float64)
