"""The sealed test: the one door to the test days, which writes down who went through it."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

import numpy as np
import optuna
from numpy.typing import NDArray

from foretune.datasets.prices import PriceSeries
from foretune.datasets.scaling import log_growth_between
from foretune.datasets.splits import Split
from foretune.models.config import TrialConfig

# One attribute an opening: two reports at the same moment do not overwrite one another.
_OPENING = "test_opening:"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One look at the test: when (UTC), for which trial, with which config."""

    time: str
    trial: int
    config_digest: str


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenedTest:
    """The test days, opened; made by :meth:`open` alone.

    ``mid`` are the mid prices of all days [N]; forecasts start at ``origins`` [O], and
    ``actual`` [O, H] is the log growth that came after each.
    """

    dates: NDArray[np.datetime64]
    mid: NDArray[np.float64]
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
            >>> OpenedTest.open(study, prices, split, trial=3, config=config).origins
        """
        opening = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "trial": trial,
            "config_digest": hashlib.sha256(config.to_toml().encode()).hexdigest()[:16],
        }
        # Before anything is read: a report that fails afterwards has still seen the test.
        study.set_user_attr(f"{_OPENING}{uuid.uuid4().hex}", opening)
        return cls(
            dates=prices.dates,
            mid=prices.mid,
            split=split,
            origins=split.test_origins,
            actual=log_growth_between(prices.mid, split.test_origins, split.horizon),
        )


def openings(study: optuna.Study) -> list[Opening]:
    """Return every opening of the study's test, the first one first."""
    found = (value for name, value in study.user_attrs.items() if name.startswith(_OPENING))
    return sorted((Opening(**value) for value in found), key=lambda opening: opening.time)


def openings_in_words(found: Sequence[Opening]) -> str:
    """Say how often the test has been opened, and what that means."""
    if not found:
        return "The test is sealed: it has never been opened."
    if len(found) == 1:
        return f"The test has been opened once, at {found[0].time}."
    return (
        f"The test has been opened {len(found)} times, first at {found[0].time}; "
        "whatever was decided after that may have been decided on it."
    )
