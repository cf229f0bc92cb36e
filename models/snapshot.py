"""Snapshot: a training between two epochs."""

from dataclasses import dataclass

from foretune.models.epoch import TrainState
from foretune.models.plateau import Plateau


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All that the next epoch of a training depends on, besides its config and data.

    ``state`` is on the host; ``finished`` says that no epoch follows.
    """

    epochs: int
    plateau: Plateau
    finished: bool
    state: TrainState
