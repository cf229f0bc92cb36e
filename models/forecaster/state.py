"""What a trained model knows of one series, beside the network and the regression of all."""

import warnings
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError, DataWarning
from foretune.datasets.history import History
from foretune.datasets.series import TimeSeries
from foretune.datasets.transforms import ErrorSpace, Scaling, StandardisedLogs, fit_scaling
from foretune.models.config import TrialConfig
from foretune.models.forecasts.intervals import Calibration


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesState:
    """One series of a trained model. Nothing in it changes.

    Args:
        history: the known rows; a forecast begins after the last one.
        scaling: fitted to the rows that trained; of a series that is new, to all of its rows.
        space: what errors are measured in.
        widths: half-widths of the intervals in ``space``, one a step [H].
        calibration: what newer rows move the widths from; None where they stay as they are, as
            those that the first version saved.
    """

    history: History
    scaling: Scaling
    space: ErrorSpace
    widths: NDArray[np.float64]
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        self.widths.setflags(write=False)
        if self.calibration is not None:
            self.calibration.errors.setflags(write=False)

    @classmethod
    def of_new(
        cls, series: TimeSeries, config: TrialConfig, horizon: int, like: Calibration
    ) -> Self:
        """Return a series that was not trained on: all of its rows scale it, and none measured it.

        Its widths are zeros as yet; ``like`` is the calibration of another one.

        Raises:
            DataError: its values stand still, or have no logarithm where one is taken.
        """
        try:
            scaling = fit_scaling(config.scaling, series.target, window=config.scaling_window)
            space = ErrorSpace.fit(series.error_space, series.target)
        except DataError as error:
            raise DataError(
                f"{series.name}, which is new: {error}; leave it out by "
                f"leave_out={series.name!r} (--leave-out)"
            ) from None
        since = len(series) - 1
        return cls(
            history=History(series=series),
            scaling=scaling,
            space=space,
            widths=np.zeros(horizon),
            calibration=replace(like, errors=np.empty((0, horizon)), first=0, since=since),
        )

    def continued(self, series: TimeSeries, *, with_factor: bool) -> Self:
        """Return the same with newer rows; the widths are still those before them.

        Args:
            series: the rows.
            with_factor: whether they may be prices that were adjusted again by one factor.

        Raises:
            DataError: they do not continue the known rows.

        Warns:
            DataWarning: they were adjusted again; says by what factor.
        """
        history, scaling = self.history, self.scaling
        factor = history.adjustment(series) if with_factor else 1.0
        if factor != 1:
            warnings.warn(
                f"{series.source}: prices up to {history.last} are those known of {history.name} "
                f"times {factor:.6g}, so they were adjusted again; forecasts are in the new prices",
                DataWarning,
                stacklevel=3,
            )
            history = history.adjusted(factor)
            if isinstance(scaling, StandardisedLogs):  # all are higher by as much as their mean
                scaling = replace(scaling, mean=scaling.mean + float(np.log(factor)))
        return replace(self, history=history.continued(series), scaling=scaling)
