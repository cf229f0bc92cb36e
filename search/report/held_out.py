"""The sealed test: the one way to the test days, which writes down each opening."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import optuna
from numpy.typing import NDArray

from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import Split
from foretune.datasets.transforms import log_growth_between
from foretune.models.config import TrialConfig
from foretune.search.report.access_log import record_access


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOutTest:
    """The test days, opened; made by :meth:`open` alone.

    ``values`` are the mid prices of all days [N]; forecasts start at ``origins`` [O], and
    ``actual`` [O, H] is the log growth that came after each.
    """

    dates: NDArray[np.datetime64]
    values: NDArray[np.float64]
    split: Split
    origins: NDArray[np.int32]
    actual: NDArray[np.float64]

    @classmethod
    def open(
        cls,
        study: optuna.Study,
        prices: PriceSeries,
        split: Split,
        *,
        trial: int,
        config: TrialConfig,
    ) -> Self:
        """Record the opening in ``study``, then return the test days.

        Args:
            study: the study whose test it is.
            prices: all its prices.
            split: where the test part begins.
            trial: number of the trial that the test is opened for.
            config: its config.

        Example:
            >>> HeldOutTest.open(study, prices, split, trial=3, config=config).origins
        """
        # Before anything is read: a report that fails afterwards has still seen the test.
        record_access(
            study,
            trial,
            config,
            prices=prices.digest,
            test_start=str(prices.dates[split.test_start]),
        )
        return cls(
            dates=prices.dates,
            values=prices.mid,
            split=split,
            origins=split.test_origins,
            actual=log_growth_between(prices.mid, split.test_origins, split.horizon),
        )
