"""The sealed test: the one way to score its rows, which writes down each opening."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import optuna
from numpy.typing import NDArray

from foretune.datasets.history import moment
from foretune.datasets.panel import Panel
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import Split, last_closes
from foretune.datasets.transforms import LOG, ErrorSpace, changes_of
from foretune.models.config import TrialConfig
from foretune.search.report.access_log import record_access
from foretune.search.study.data import StudyData


@dataclass(frozen=True, eq=False, kw_only=True)
class HeldOutTest:
    """The test rows, opened; made by :meth:`open` alone, and read when they are first asked for."""

    data: StudyData
    split: Split
    spaces: tuple[ErrorSpace, ...]

    @classmethod
    def open(
        cls,
        study: optuna.Study,
        data: StudyData,
        split: Split,
        *,
        trial: int,
        config: TrialConfig,
        spaces: tuple[ErrorSpace, ...] = (LOG,),
    ) -> Self:
        """Record the opening in ``study``, then return the test rows.

        Args:
            study: the study whose test it is.
            data: its data.
            split: where the test part begins.
            trial: number of the trial that the test is opened for.
            config: its config.
            spaces: what errors are measured in.

        Example:
            >>> HeldOutTest.open(study, data, split, trial=3, config=config).origins
        """
        # Before anything is read: a report that fails afterwards has still seen the test.
        record_access(
            study,
            trial,
            config,
            prices=data.digest,
            test_start=str(moment(data.time, split.test_start)),
        )
        return cls(data=data, split=split, spaces=spaces)

    @cached_property
    def series(self) -> TimeSeries | Panel:
        """All rows with all that they hold.

        Raises:
            DataError: the study holds them, and they are damaged.
        """
        return self.data.whole()

    @property
    def values(self) -> NDArray[np.float64]:
        """The target in all rows [S, N]."""
        return self.series.values

    @property
    def origins(self) -> NDArray[np.int32]:
        """Where forecasts start [O]."""
        return self.split.test_origins

    @cached_property
    def actual(self) -> NDArray[np.float64]:
        """The changes that came after each origin, in ``spaces`` [S, O, H]."""
        return changes_of(self.spaces, self.values, self.origins, self.split.horizon)

    @property
    def close(self) -> NDArray[np.float64] | None:
        """The last prices [S, N], where the target is the mid price."""
        return last_closes(self.series)
