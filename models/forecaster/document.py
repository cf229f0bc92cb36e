"""``forecaster.toml``: all about a saved forecaster that is not an array of days or weights."""

from datetime import date
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.records import Listed, StrictModel
from foretune.datasets.common.toml_files import TomlModel
from foretune.datasets.transforms import Scaling, StandardisedLogReturns, WindowedMinMax
from foretune.models.config import TrialConfig

Price = Annotated[float, Field(gt=0)]
DayIndex = Annotated[int, Field(ge=0)]
Width = Annotated[float, Field(ge=0)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LogReturnsDocument(StrictModel):
    """A fitted :class:`StandardisedLogReturns`."""

    mean: float
    std: float = Field(gt=0)


class MinMaxDocument(StrictModel):
    """A fitted :class:`WindowedMinMax`."""

    starts: Listed[DayIndex]
    minima: Listed[Price]
    maxima: Listed[Price]


# What each table of a :class:`ScalingDocument` describes, under the name that configs use.
_FITTED: dict[str, type[Any]] = {
    "log_returns": StandardisedLogReturns,
    "windowed_min_max": WindowedMinMax,
}


class ScalingDocument(StrictModel):
    """A fitted scaling: the table of that name alone."""

    log_returns: LogReturnsDocument | None = None
    windowed_min_max: MinMaxDocument | None = None

    @classmethod
    def of(cls, scaling: Scaling) -> Self:
        """Describe ``scaling``."""
        name = next(name for name, kind in _FITTED.items() if isinstance(scaling, kind))
        tables: dict[str, Any] = {name: vars(scaling)}
        return cls(**tables)

    def fitted(self) -> Scaling:
        """Return the scaling."""
        ((name, table),) = ((name, table) for name, table in self if table is not None)
        scaling: Scaling = _FITTED[name](**dict(table))
        return scaling


class TrainingDocument(StrictModel):
    """What the weights come from.

    They were trained for ``epochs`` epochs on the ``days`` days of the prices of that ``digest``
    from ``first_date`` to ``last_date``; with ``refit``, the validation days are among them.
    ``relative_mse`` is the value of the chosen epoch on the days of ``validation``, before the
    refit.
    """

    digest: Digest
    days: int = Field(ge=1)
    first_date: date
    last_date: date
    validation_first_date: date
    validation_last_date: date
    epochs: int = Field(ge=1)
    refit: bool
    relative_mse: float = Field(ge=0)


class HistoryDocument(StrictModel):
    """The known days; ``digest`` is that of the prices they were last taken from."""

    name: str = Field(min_length=1)
    digest: Digest
    days: int = Field(ge=1)
    last_date: date


class IntervalsDocument(StrictModel):
    """Half-widths of the intervals, in log growth, one a step."""

    coverage: float = Field(gt=0, lt=1)
    widths: Listed[Width]


class WeightsDocument(StrictModel):
    """What the weights must be: the SHA-256 of their names, shapes and bytes."""

    digest: Digest
    parameters: int = Field(ge=1)


class ForecasterDocument(TomlModel):
    """A saved forecaster without its arrays.

    ``arrays`` is the SHA-256 of the file of all arrays, weights and days. Format 1 had none.

    Example:
        >>> document = ForecasterDocument.from_toml(text)
        >>> document.horizon, document.config.units
        (50, (32, 32))
    """

    _WHAT: ClassVar[str] = "a forecaster"
    _MOST_BYTES: ClassVar[int] = 2**23  # it holds a width a step

    format: Literal[1, 2] = 2
    arrays: Digest | None = None
    horizon: int = Field(ge=1, description="days ahead")
    config: TrialConfig
    scaling: ScalingDocument
    training: TrainingDocument
    history: HistoryDocument
    intervals: IntervalsDocument
    weights: WeightsDocument
    versions: dict[str, str]

    def _require_consistent(self) -> None:
        """Refuse values that each may have, but not together."""
        windows = self.scaling.windowed_min_max
        scalings = [name for name, table in self.scaling if table is not None]
        rules = (
            (
                (self.arrays is None) == (self.format == 1),
                "arrays must be the SHA-256 of the arrays in format 2, and left out in format 1",
            ),
            (
                scalings == [self.config.scaling],
                f"scaling must be a table of {self.config.scaling} alone, as in config.scaling, "
                f"but got {', '.join(scalings) or 'none'}",
            ),
            (
                len(self.intervals.widths) == self.horizon,
                f"intervals.widths must hold one width for each of horizon's {self.horizon} steps, "
                f"but got {len(self.intervals.widths)}",
            ),
            (
                self.training.days <= self.history.days,
                f"training.days must be at most history.days, {self.history.days}, but got "
                f"{self.training.days}",
            ),
            (
                windows is None or _are_windows(windows),
                "scaling.windowed_min_max must have windows that start at 0, one after another, "
                "each with a maximum that is not below its minimum",
            ),
        )
        for holds, message in rules:
            if not holds:
                raise ConfigError(message)


def _are_windows(windows: MinMaxDocument) -> bool:
    starts = windows.starts
    return (
        len(starts) == len(windows.minima) == len(windows.maxima)
        and starts[0] == 0
        and all(a < b for a, b in pairwise(starts))
        and all(a <= b for a, b in zip(windows.minima, windows.maxima, strict=True))
    )
