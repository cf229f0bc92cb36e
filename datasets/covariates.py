"""Covariates as numbers: categories, scale and calendar features, fitted to the training part.

Shapes: ``S`` series, ``N`` rows, ``K`` further rows for which only future covariates and the
calendar are known; ``P``, ``F``, ``C`` and ``V`` columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    from foretune.datasets.calendar import Calendar
    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries

GROUPS = ("past", "future", "static")

# A column that varies less than this beside its size is constant but for rounding.
_SMALLEST_VARIATION = 1e-12

_MOST_SHOWN = 10  # categories

# Lets a record of pydantic hold an encoding as one of its fields, and a TOML file a record of it.
_RECORD = {"extra": "forbid", "allow_inf_nan": False, "strict": False}

# Says where the value of a covariate is, given the covariate's name and its row.
Place = Callable[[str, int], str]


def _nothing(*shape: int) -> Callable[[], NDArray[np.float64]]:
    return lambda: np.empty((*shape, 0))


@dataclass(frozen=True, eq=False, kw_only=True)
class Covariates:
    """Numbers known beside the target; a group that is not there has 0 columns.

    Args:
        past: known up to the origin of a forecast [S, N, P].
        future: known beyond it too [S, N + K, F].
        calendar: sine and cosine of where each time stands in its cycles [S, N + K, C].
        static: the same in all rows [S, V].
    """

    past: NDArray[np.float64] = field(default_factory=_nothing(1, 0))
    future: NDArray[np.float64] = field(default_factory=_nothing(1, 0))
    calendar: NDArray[np.float64] = field(default_factory=_nothing(1, 0))
    static: NDArray[np.float64] = field(default_factory=_nothing(1))

    @classmethod
    def none(cls, series: int, rows: int) -> Self:
        """Return those of S series of N rows that have none."""
        each = np.empty((series, rows, 0))
        return cls(past=each, future=each, calendar=each, static=np.empty((series, 0)))

    @property
    def arrays(self) -> tuple[NDArray[np.float64], ...]:
        """Past, future, calendar and static, in this order."""
        return self.past, self.future, self.calendar, self.static

    def rows(self, start: int, stop: int) -> Self:
        """Take rows ``start:stop`` of all groups that have rows."""
        past, future, calendar = (array[:, start:stop] for array in self.arrays[:3])
        return type(self)(past=past, future=future, calendar=calendar, static=self.static)


@dataclass(frozen=True, kw_only=True)
class Column:
    """How one covariate becomes numbers.

    Args:
        name: of the covariate.
        categories: of a text, each of which is one column of 0 and 1; none of numbers.
        mean: over the training rows.
        std: over the training rows; 0 where nothing changes there, and all rows become 0.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _RECORD

    name: str
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 0.0

    @classmethod
    def fit(cls, name: str, values: NDArray[Any]) -> Self:
        """Fit to the training values [N], numbers or text.

        Raises:
            DataError: the numbers are so large that their squares overflow.
        """
        if values.dtype.kind != "f":
            return cls(name=name, categories=tuple(np.unique(values).tolist()))
        with np.errstate(over="ignore", invalid="ignore"):
            mean, std, size = float(values.mean()), float(values.std()), np.abs(values).max()
        if not std < np.inf:
            raise DataError(
                f"{name} must have a standard deviation, but has values of size {size:.3g}; "
                "rescale the column, or leave it out"
            )
        return cls(name=name, mean=mean, std=std if std > _SMALLEST_VARIATION * size else 0.0)

    @property
    def columns(self) -> tuple[str, ...]:
        """What its columns are called: "wind", or "sky=clear" and "sky=rain"."""
        return tuple(f"{self.name}={category}" for category in self.categories) or (self.name,)

    def encode(self, values: NDArray[Any], place: Place) -> NDArray[np.float64]:
        """Return numbers [N, 1], or 0 and 1 for each category [N, categories].

        Args:
            values: numbers or text [N].
            place: what a message calls a row of it.

        Raises:
            DataError: text where training had numbers, or a category that it did not have.
        """
        if self.categories:
            found = values.astype(str)[:, None] == np.array(self.categories)
            unseen = ~found.any(axis=1)
            if unseen.any():
                row = int(unseen.argmax())
                known = ", ".join(self.categories[:_MOST_SHOWN])
                known += ", ..." * (len(self.categories) > _MOST_SHOWN)
                raise DataError(
                    f"{place(self.name, row)} must be a category of the training part ({known}), "
                    f"but got {str(values[row])!r}; leave the column out, or merge its rare "
                    "categories"
                )
            return np.asarray(found, dtype=np.float64)
        if values.dtype.kind != "f":
            raise DataError(
                f"{place(self.name, 0)} must be a number, as in the training part, but got "
                f"{str(values[0])!r}"
            )
        scaled = np.zeros(len(values)) if self.std == 0 else (values - self.mean) / self.std
        return scaled[:, None]


@dataclass(frozen=True, kw_only=True)
class CovariateEncoding:
    """How the covariates of a series become numbers, fitted to its training part.

    Plain values, which a pydantic record may have as a field. Without a group, as in
    ``replace(encoding, past=())``, the others are encoded as before.

    Args:
        past: the columns known up to the origin of a forecast.
        future: those known beyond it too.
        static: those that are the same in all rows.
        calendar: names of calendar features.

    Example:
        >>> encoding = CovariateEncoding.fit([series], [100])  # doctest: +SKIP
        >>> encoding.encode(series, ahead=24).future.shape  # doctest: +SKIP
        (1, 524, 3)
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _RECORD

    past: tuple[Column, ...] = ()
    future: tuple[Column, ...] = ()
    static: tuple[Column, ...] = ()
    calendar: tuple[str, ...] = ()

    @classmethod
    def fit(cls, series: "Sequence[TimeSeries]", stops: Sequence[int]) -> Self:
        """Fit to the rows of each series before its stop; no later row has a part in it."""
        first, pairs = series[0], list(zip(series, stops, strict=True))

        def fitted(group: str) -> tuple[Column, ...]:
            return tuple(
                Column.fit(name, np.concatenate([getattr(s, group)[name][:n] for s, n in pairs]))
                for name in getattr(first, group)
            )

        return cls(
            past=fitted("past"),
            future=fitted("future"),
            static=tuple(
                Column.fit(name, np.array([one.static[name] for one in series]))
                for name in first.static
            ),
            calendar=first.calendar.default_features(),
        )

    def encode_all(self, series: "Sequence[TimeSeries]", firsts: Sequence[int]) -> Covariates:
        """Return the covariates of several series, which end at one row, as numbers.

        Args:
            series: as for :meth:`encode`.
            firsts: the first row of each; the rows before it repeat it.
        """
        every = [self.encode(one) for one in series]

        def joined(group: int) -> NDArray[np.float64]:
            padded = (
                np.pad(one.arrays[group], ((0, 0), (first, 0), (0, 0)), mode="edge")
                for one, first in zip(every, firsts, strict=True)
            )
            return np.concatenate(list(padded))

        return Covariates(
            past=joined(0),
            future=joined(1),
            calendar=joined(2),
            static=np.concatenate([one.static for one in every]),
        )

    def encode(self, series: "TimeSeries", ahead: int = 0) -> Covariates:
        """Return the covariates of one series, S = 1, as numbers; it may have others besides.

        Args:
            series: with the covariates that it was fitted to.
            ahead: rows after the last one that must be there too: K is at least so many.

        Raises:
            DataError: a covariate is not there, ends too early (it is named with the first time
                without a value), or has a category that the training part did not have.
        """
        from foretune.datasets.calendar import shown

        time, last, length = series.time, series.time[-1], len(series)
        for group in GROUPS:
            _require_names(series, group, [column.name for column in getattr(self, group)])
        known = {column.name: series.beyond for column in self.future}
        require_known_ahead(series.calendar, last, known, ahead)
        beyond = max(series.beyond, ahead)

        def place(name: str, row: int) -> str:
            late = row - length + 1
            at = f"at {shown(series.calendar.after(last, late)[-1])}" if late > 0 else ""
            return f"{series.name}: {name} {at or f'in row {row}'}"

        def always(name: str, row: int) -> str:
            return f"{series.name}: {name}"

        static = {name: np.array([value]) for name, value in series.static.items()}
        if beyond and self.calendar:
            time = time.append(series.calendar.after(last, beyond))
        features = series.calendar.features(time, self.calendar)
        rows = length + beyond
        return Covariates(
            past=_side_by_side(length, [c.encode(series.past[c.name], place) for c in self.past]),
            future=_side_by_side(
                rows, [c.encode(series.future[c.name], place) for c in self.future]
            ),
            calendar=_side_by_side(rows, [values[:, None] for values in features.values()]),
            static=_side_by_side(1, [c.encode(static[c.name], always) for c in self.static])[0],
        )


def covariate_names(data: "TimeSeries | Panel") -> dict[str, tuple[str, ...]]:
    """Return what each group holds, of all series: past, future, static, and of the calendar."""
    groups = {group: tuple(getattr(data.members[0], group)) for group in GROUPS}
    return groups | {"calendar": data.calendar.default_features()}


def require_known_ahead(
    calendar: "Calendar", last: Any, known: Mapping[str, int], ahead: int
) -> None:
    """Refuse future covariates that end before ``ahead`` rows after the last one.

    Args:
        calendar: of the series.
        last: the time of its last row.
        known: for how many rows after it each covariate is known.
        ahead: for how many it must be.

    Raises:
        DataError: names each that ends too early, and the first time without a value.
    """
    from foretune.datasets.calendar import shown

    short = {name: count for name, count in known.items() if count < ahead}
    if not short:
        return
    times = [shown(time) for time in calendar.after(last, ahead)]
    if len(set(short.values())) == 1:
        (count,) = set(short.values())
        gap = f"{'is' if len(short) == 1 else 'are'} missing from {times[count]} on"
    else:
        gap = ", ".join(f"{name} is missing from {times[n]} on" for name, n in short.items())
    names = " and ".join(", ".join(short).rsplit(", ", 1))
    raise DataError(
        f"{names} must be known up to {times[-1]}, {ahead} {calendar.step_name}"
        f"{'s' * (ahead != 1)} ahead, but {gap}; give forecast(future=...) (--future)"
    )


def _require_names(series: "TimeSeries", group: str, names: Sequence[str]) -> None:
    there = getattr(series, group)
    absent = [name for name in names if name not in there]
    if absent:
        raise DataError(
            f"{series.name} must have the {group} covariates of the training part, but lacks "
            f"{' and '.join(absent)}; it has {', '.join(there) or 'none'}"
        )


def _side_by_side(rows: int, columns: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Join columns [N, ...] to [1, N, C]; C may be 0."""
    return np.concatenate([np.empty((rows, 0)), *columns], axis=1)[None]
