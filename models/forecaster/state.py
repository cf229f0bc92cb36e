"""What a trained model knows of one series, beside the network and the regression of all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.history import History
from foretune.datasets.transforms import ErrorSpace, Scaling
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
