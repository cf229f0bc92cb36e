"""``best.toml``: a study's best config, its value, and the data and rows that it comes from."""

import contextlib
from datetime import date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.records import StrictModel, list_to_tuple
from foretune.datasets.common.toml_files import TomlModel
from foretune.datasets.splits import Split, walk_forward
from foretune.models.config import MetricName, TrialConfig
from foretune.search.study.spec import MAX_DAYS, OBJECTIVE_NAME, PricesSpec, SplitSpec

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    import pandas as pd

    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries


def _require_table(value: Any) -> Any:
    if not isinstance(value, dict | SplitSpec):
        raise ValueError("a table")
    return value


def _moment(value: str) -> int | date | datetime | None:
    """Return the time that ``value`` writes; None if it writes none."""
    with contextlib.suppress(ValueError):
        return int(value) if str(int(value)) == value else None
    with contextlib.suppress(ValueError):
        if date.fromisoformat(value).isoformat() == value:
            return date.fromisoformat(value)
    with contextlib.suppress(ValueError):
        found = datetime.fromisoformat(value)
        return found if str(found) == value else None
    return None


def _require_moment(value: str) -> str:
    if _moment(value) is None:
        raise ValueError("a day written YYYY-MM-DD, a time or a whole number")
    return value


def _require_time(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, date | int):
        raise ValueError("a valid date, time or whole number")
    return value


def _in_order(*moments: Any) -> bool:
    """Whether none is before the one ahead of it; those of other kinds are in no order."""
    try:
        return all(earlier <= later for earlier, later in pairwise(moments))
    except TypeError:
        return False


Moment = Annotated[Any, PlainValidator(_require_time)]
FirstAndLast = Annotated[tuple[Moment, Moment], BeforeValidator(list_to_tuple)]
Time = Annotated[str, AfterValidator(_require_moment)]


class ResultTable(StrictModel):
    """The best trial: its value is the best epoch's relative MSE on validation.

    Where the study chose by another ``metric``, ``value`` is that, and the relative MSE beside it.
    With folds the value is the mean over them at the epoch that they share; in studies of version
    0.1 each had its own, and the epoch is the last fold's.
    """

    study: str = Field(min_length=1)
    trial: int = Field(ge=0, lt=2**31)
    relative_mse: float = Field(ge=0)
    metric: MetricName = Field(
        default=OBJECTIVE_NAME, exclude_if=lambda metric: metric == OBJECTIVE_NAME
    )
    value: float | None = Field(default=None, ge=0)
    best_epoch: int = Field(ge=0)


class PricesTable(PricesSpec):
    """Which data, as in the study's spec."""

    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    days: int = Field(ge=2, le=MAX_DAYS)
    first_date: Time
    last_date: Time


class PartsTable(StrictModel):
    """First and last time of each part; between them are the gaps.

    With folds, each fold trains up to the gap before its block of the validation part.
    """

    train: FirstAndLast
    validation: FirstAndLast
    test: FirstAndLast

    @classmethod
    def of(cls, time: "pd.Index", split: Split) -> Self:
        """Look up the times [N] at which the parts begin and end."""
        from foretune.datasets.history import moment

        def days(start: int, stop: int) -> tuple[Any, Any]:
            return moment(time, start), moment(time, stop - 1)

        return cls(
            train=days(0, split.train_stop),
            validation=days(split.validation_start, split.validation_stop),
            test=days(split.test_start, split.test_stop),
        )


class BestDocument(TomlModel):
    """Everything in ``best.toml``.

    ``parts`` is left out where the data were not found when it was written. ``seed`` is that
    of the study's sampler; the model's own is in ``config``.

    Example:
        >>> document = BestDocument.load("best.toml")
        >>> document.result.relative_mse, document.split.horizon
        (0.9449, 50)
    """

    _WHAT: ClassVar[str] = "a best config"

    config: TrialConfig
    result: ResultTable
    prices: PricesTable
    split: Annotated[SplitSpec, BeforeValidator(_require_table)]
    parts: PartsTable | None = None
    seed: int = Field(ge=0, lt=2**32)
    versions: dict[str, str]

    def split_of(self, data: Any) -> Split:
        """Split ``data`` as the study's were; of several folds, the last one.

        Raises:
            ConfigError: the split has a parameter out of range.
            DataError: too few rows.
        """
        return walk_forward(self._whole_split(len(data)), self.split.folds)[-1]

    def is_of(self, data: Any) -> bool:
        """Whether these are the data of the study."""
        return self.prices.series(data).digest == self.prices.digest

    def load_series(self, where: Any = None, **reading: Any) -> "TimeSeries | Panel":
        """Load the study's data, or others.

        Args:
            where: as for :func:`as_series`; None for where the study knows its data to be: a
                sample, a simulation, a download, or a file of that name in this folder.
            **reading: in place of how the study read them, as for :func:`as_series`.

        Raises:
            ConfigError: without ``where``, these are other data than the study's; or the split
                does not make ``parts`` of the study's data.
            DataError: there are none.
        """
        study, known = self.result.study, self.prices
        series = known.load(study, **reading) if where is None else known.series(where, **reading)
        if self.is_of(series):
            self.require_parts(series.time)
        elif where is None:
            raise ConfigError(
                f"{known.what} must be those of study {study!r} (prices.digest "
                f"{known.digest[:12]}), but {known.source} has {series.digest[:12]}; give the "
                "study's or others as --data"
            )
        return series

    load_prices = load_series  # its name in the first version

    def _whole_split(self, days: int) -> Split:
        # What the config needs; the study's space may have needed more.
        return self.split.split(days, history=self.config.history)

    def _require_consistent(self) -> None:
        """Refuse values that each may have, but not together."""
        epochs, first, last = self.config.epochs, self.prices.first_date, self.prices.last_date
        if (self.result.value is None) != (self.result.metric == OBJECTIVE_NAME):
            raise ConfigError(
                f"result.value must be given with a metric other than {OBJECTIVE_NAME}, and only "
                f"then, but metric is {self.result.metric!r} and value {self.result.value}"
            )
        if self.result.best_epoch > epochs:
            raise ConfigError(
                f"result.best_epoch must be at most config.epochs, {epochs}, but got "
                f"{self.result.best_epoch}"
            )
        if first == last or not _in_order(_moment(first), _moment(last)):
            raise ConfigError(f"prices.last_date must be after {first}, but got {last}")
        walk_forward(self._whole_split(self.prices.days), self.split.folds)
        if self.parts is not None:
            for name, ends in self.parts:
                if {type(end) for end in ends} != {type(_moment(first))}:
                    raise ConfigError(
                        f"parts.{name} must be of the kind of prices.first_date, {first}, but got "
                        f"{ends[0]} and {ends[1]}"
                    )
            days = [*self.parts.train, *self.parts.validation, *self.parts.test]
            # Of a split by rows, some after the test may be left out.
            end = str(days[-1]) if self.split.rows else last
            if [str(days[0]), str(days[-1])] != [first, end] or not _in_order(*days):
                raise ConfigError(
                    f"parts must lie one after another from {first} to {last}, the first and the "
                    f"last of the prices, but got {', '.join(map(str, days))}"
                )

    def require_parts(self, time: "pd.Index") -> None:
        """Refuse parts that the split does not make of the study's data, whose times [N] these are.

        Raises:
            ConfigError: names the first that differs.
        """
        if self.parts is None:
            return
        made = PartsTable.of(time, self._whole_split(len(time)))
        for name, days in made:
            found = getattr(self.parts, name)
            if found != days:
                raise ConfigError(
                    f"parts.{name} must be {days[0]} to {days[1]}, as the split makes it, but got "
                    f"{found[0]} to {found[1]}"
                )
