"""What a regression reads of one series."""

from typing import Any

from numpy.typing import NDArray

from foretune.models.forecasts.ridge import Regressors


def one(
    levels: NDArray[Any], past: NDArray[Any] | None = None, future: NDArray[Any] | None = None
) -> Regressors:
    """Read levels [N] and covariates [N, P] and [N, F]."""
    return Regressors(
        levels=levels[None],
        past=None if past is None else past[None],
        future=None if future is None else future[None],
    )
