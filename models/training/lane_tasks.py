"""Lanes: several trials of one shape in one task, trained side by side under ``vmap``."""

import threading
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.training.results import FoldProgress, FoldResults
from foretune.models.training.tasks import (
    Answer,
    Budget,
    Clock,
    Missing,
    Progress,
    TrainingState,
    new_token,
    sent,
)

if TYPE_CHECKING:
    from foretune.models.training.lanes import Lanes


def lane_shape(config: TrialConfig) -> Hashable:
    """Return what configs of one study must have in common to be trained side by side."""
    multiple = config.pad_units_to
    padded = tuple(-(-unit // multiple) * multiple for unit in config.units)
    same = ("cell", "optimizer", "batch_size", "unroll_length", "steps_per_epoch")
    return padded, *(getattr(config, name) for name in same)


@dataclass
class _Held:
    """The lanes of this process, and the state that each one holds, by token."""

    lanes: "Lanes"
    shape: Hashable
    tokens: list[str | None]


_held: _Held | None = None
_lock = threading.Lock()


def advance_lanes(
    work: tuple[TrainingState, ...], fold: DevelopmentData, budget: Budget, device: str
) -> Answer:
    """Train configs of one shape side by side, until one of them ends or the budget is spent."""
    from foretune.models.networks.params import parameter_count
    from foretune.models.training.results import NonFiniteLossError

    with _lock:  # one program of lanes fills a device
        clock = Clock()
        places = _places(work, fold, budget.lanes)
        if places is None or _held is None:
            return Missing()
        lanes = _held.lanes
        live = [lane in places for lane in range(budget.lanes)]
        epochs: list[list[FoldResults]] = [[] for _ in work]
        errors: list[str | None] = [None] * len(work)
        parameters, going = 0, True
        while going:
            outcomes = lanes.epoch(live)
            clock.epoch_ended()
            for number, lane in enumerate(places):
                outcome = outcomes[lane]
                assert outcome is not None
                if isinstance(outcome, NonFiniteLossError):
                    errors[number], going = str(outcome), False
                    continue
                parameters = parameter_count(outcome.params)
                epochs[number].append(sent(FoldResults.of_one(outcome)))
                going = going and not outcome.is_last
            going = going and not budget.is_spent(clock.started, max(map(len, epochs)))
        snapshots, measured = lanes.snapshots(), clock.measured()
        _held.tokens = [None] * budget.lanes
        answer = []
        for number, lane in enumerate(places):
            after = None
            if errors[number] is None:
                token = _held.tokens[lane] = new_token()
                progress = FoldProgress(snapshots[lane], None)
                after = replace(work[number], token=token, folds=(progress,))
            answer.append(
                Progress(
                    epochs=tuple(epochs[number]),
                    state=after,
                    error=errors[number],
                    parameters=parameters,
                    device=device,
                    **measured,
                )
            )
            measured |= {"compiles": 0, "cache_hits": 0}  # one trial counts them for all
        return tuple(answer)


def _places(work: tuple[TrainingState, ...], fold: DevelopmentData, count: int) -> list[int] | None:
    """Give every config a lane, its own if there is one; None where a state is missing."""
    global _held
    from foretune.models.training.lanes import Lanes
    from foretune.models.training.loop import TrainingRun

    shape = lane_shape(work[0].config), count, fold.split, fold.capacity
    if _held is not None and _held.shape != shape:
        _held = None
    tokens = [] if _held is None else _held.tokens
    kept = {token: lane for lane, token in enumerate(tokens) if token is not None}
    if any(state.folds is None and state.token not in kept for state in work):
        return None

    def run(state: TrainingState) -> TrainingRun:
        assert state.folds is not None
        return TrainingRun(
            state.config, fold, snapshot=state.folds[0].snapshot if state.folds else None
        )

    if _held is None:
        runs = [run(state) for state in work]
        # A lane without a trial trains along with the first one's numbers, and nobody looks.
        filled = runs + [run(work[0]) for _ in range(count - len(runs))]
        _held = _Held(Lanes(filled), shape, [None] * count)
        return list(range(len(work)))
    mine = {state.token for state in work}
    free = [lane for lane, token in enumerate(tokens) if token is None or token not in mine]
    places = []
    for state in work:
        if state.token in kept:
            places.append(kept[state.token])
        else:
            lane = free.pop(0)
            _held.lanes.refill(lane, run(state))
            places.append(lane)
    return places
