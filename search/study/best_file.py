"""``best.toml``: a study's best config, its value, and the prices and days that it comes from."""

import contextlib
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BeforeValidator, Field

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.records import StrictModel, list_to_tuple
from foretune.datasets.common.toml_files import TomlModel
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.load import load_prices, load_prices_of
from foretune.datasets.splits import Split, walk_forward
from foretune.models.config import TrialConfig
from foretune.search.study.spec import MAX_DAYS, PricesSpec, SplitSpec


def _require_table(value: Any) -> Any:
    if not isinstance(value, dict | SplitSpec):
        raise ValueError("a table")
    return value


def _require_iso_date(value: str) -> str:
    with contextlib.suppress(ValueError):
        if date.fromisoformat(value).isoformat() == value:
            return value
    raise ValueError("a day written YYYY-MM-DD")


FirstAndLast = Annotated[tuple[date, date], BeforeValidator(list_to_tuple)]
IsoDate = Annotated[str, AfterValidator(_require_iso_date)]


class ResultTable(StrictModel):
    """The best trial: its value is the best epoch's relative MSE on validation.

    With folds the value is the mean over them, and the epoch the last fold's.
    """

    study: str = Field(min_length=1)
    trial: int = Field(ge=0, lt=2**31)
    relative_mse: float = Field(ge=0)
    best_epoch: int = Field(ge=1)


class PricesTable(PricesSpec):
    """Which prices, as in the study's spec."""

    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    days: int = Field(ge=2, le=MAX_DAYS)
    first_date: IsoDate
    last_date: IsoDate


class PartsTable(StrictModel):
    """First and last day of each part; between them are the gaps.

    With folds, each fold trains up to the gap before its block of the validation part.
    """

    train: FirstAndLast
    validation: FirstAndLast
    test: FirstAndLast

    @classmethod
    def of(cls, prices: PriceSeries, split: Split) -> Self:
        """Look up the days at which the parts of ``prices`` begin and end."""

        def days(start: int, stop: int) -> FirstAndLast:
            return prices.dates[start].item(), prices.dates[stop - 1].item()

        return cls(
            train=days(0, split.train_stop),
            validation=days(split.validation_start, split.validation_stop),
            test=days(split.test_start, split.length),
        )


class BestDocument(TomlModel):
    """Everything in ``best.toml``.

    ``parts`` is left out where the prices were not found when it was written. ``seed`` is that
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

    def split_of(self, prices: PriceSeries) -> Split:
        """Split ``prices`` as the study's were; of several folds, the last one.

        Raises:
            ConfigError: the split has a parameter out of range.
            DataError: too few prices.
        """
        return walk_forward(self._whole_split(len(prices)), self.split.folds)[-1]

    def is_of(self, prices: PriceSeries) -> bool:
        """Whether these are the prices of the study."""
        return prices.digest == self.prices.digest

    def load_prices(self, where: str | None = None) -> PriceSeries:
        """Load the study's prices, or others.

        Args:
            where: as for :func:`load_prices`; None for where the study knows its prices to be: a
                sample, a simulation, a download, or a file of that name in this folder.

        Raises:
            ConfigError: without ``where``, these are other prices than the study's; or the split
                does not make ``parts`` of the study's prices.
            DataError: there are no prices.
        """
        study, source = self.result.study, self.prices.source
        prices = load_prices_of(study, source) if where is None else load_prices(where)
        if self.is_of(prices):
            self._require_parts(prices)
        elif where is None:
            raise ConfigError(
                f"prices must be those of study {study!r} (prices.digest "
                f"{self.prices.digest[:12]}), but {source} has {prices.digest[:12]}; give the "
                "study's or others as --data"
            )
        return prices

    def _whole_split(self, days: int) -> Split:
        # What the config needs; the study's space may have needed more.
        return self.split.split(days, history=self.config.history)

    def _require_consistent(self) -> None:
        """Refuse values that each may have, but not together."""
        epochs, first, last = self.config.epochs, self.prices.first_date, self.prices.last_date
        if self.result.best_epoch > epochs:
            raise ConfigError(
                f"result.best_epoch must be at most config.epochs, {epochs}, but got "
                f"{self.result.best_epoch}"
            )
        if not first < last:
            raise ConfigError(f"prices.last_date must be after {first}, but got {last}")
        walk_forward(self._whole_split(self.prices.days), self.split.folds)
        if self.parts is not None:
            days = [*self.parts.train, *self.parts.validation, *self.parts.test]
            ends = [day.isoformat() for day in (days[0], days[-1])]
            if ends != [first, last] or any(later < day for day, later in pairwise(days)):
                raise ConfigError(
                    f"parts must lie one after another from {first} to {last}, the first and the "
                    f"last of the prices, but got {', '.join(map(str, days))}"
                )

    def _require_parts(self, prices: PriceSeries) -> None:
        """Refuse parts that the split does not make of the study's prices."""
        if self.parts is None:
            return
        made = PartsTable.of(prices, self._whole_split(len(prices)))
        for name, days in made:
            found = getattr(self.parts, name)
            if found != days:
                raise ConfigError(
                    f"parts.{name} must be {days[0]} to {days[1]}, as the split makes it, but got "
                    f"{found[0]} to {found[1]}"
                )
