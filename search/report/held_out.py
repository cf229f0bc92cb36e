"""The sealed test: the one way to the test rows, which writes down each opening."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import optuna
from numpy.typing import NDArray

from foretune.datasets.history import moment
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.load import as_series
from foretune.datasets.splits import Split, last_close
from foretune.datasets.transforms import LOG, ErrorSpace, changes_of
from foretune.models.config import TrialConfig
from foretune.search.report.access_log import record_access


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOutTest:
    """The test rows, opened; made by :meth:`open` alone.

    ``values`` are the target in all rows [S, N], ``close`` the last prices where it is the mid
    price; forecasts start at ``origins`` [O], and ``actual`` [S, O, H] are the changes that came
    after each, in ``spaces``. ``series`` has all that the rows hold.
    """

    series: TimeSeries
    dates: NDArray[Any]
    values: NDArray[np.float64]
    split: Split
    origins: NDArray[np.int32]
    actual: NDArray[np.float64]
    spaces: tuple[ErrorSpace, ...]
    close: NDArray[np.float64] | None

    @classmethod
    def open(
        cls,
        study: optuna.Study,
        data: Any,
        split: Split,
        *,
        trial: int,
        config: TrialConfig,
        spaces: tuple[ErrorSpace, ...] = (LOG,),
    ) -> Self:
        """Record the opening in ``study``, then return the test rows.

        Args:
            study: the study whose test it is.
            data: all its rows.
            split: where the test part begins.
            trial: number of the trial that the test is opened for.
            config: its config.
            spaces: what errors are measured in.

        Example:
            >>> HeldOutTest.open(study, data, split, trial=3, config=config).origins
        """
        series = as_series(data)
        # Before anything is read: a report that fails afterwards has still seen the test.
        record_access(
            study,
            trial,
            config,
            prices=series.digest,
            test_start=str(moment(series.time, split.test_start)),
        )
        values, close = series.target[None], last_close(series)
        return cls(
            series=series,
            dates=series.dates,
            values=values,
            split=split,
            origins=split.test_origins,
            actual=changes_of(spaces, values, split.test_origins, split.horizon),
            spaces=spaces,
            close=None if close is None else close[None],
        )
