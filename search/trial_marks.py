"""The marks that workers leave on trials: system attributes, by name, and how they are read."""

import math
import time

from optuna.trial import FrozenTrial

# The process that runs a trial, this one taking of it, and the process's heartbeat.
OWNER = "foretune:owner"
TICKET = "foretune:ticket"
BEAT = "foretune:beat"

# Why a trial was given up, the number of the trial that it repeats, and how many workers its config
# was lost with.
GIVEN_UP = "foretune:given_up"
REPEATS = "foretune:repeats"
LOSSES = "foretune:losses"

# The names under which Optuna and its dashboard know a trial that is run again.
FIXED, FIRST, HISTORY = "fixed_params", "failed_trial", "retry_history"

# Seconds between two beats of a worker, and what they may be.
DEFAULT_BEAT = 10.0
SHORTEST_BEAT, LONGEST_BEAT = 0.1, 600.0

# A heart that has missed so many beats stands still.
MISSED = 6


def beat_mark(count: int, seconds: float) -> list[float]:
    """Return a heartbeat: a count, the seconds between two, and this machine's time, for people."""
    return [count, seconds, round(time.time(), 3)]


def seconds_between_beats(trial: FrozenTrial) -> float:
    """Return the seconds between two beats of the worker of ``trial``."""
    seconds = _number(trial, 1)
    if seconds is None:
        return DEFAULT_BEAT
    return min(max(seconds, SHORTEST_BEAT), LONGEST_BEAT)


def seconds_until_lost(trial: FrozenTrial) -> float:
    """Return after how many seconds without a beat the worker of ``trial`` is taken for lost."""
    return MISSED * seconds_between_beats(trial)


def seconds_since_beat(trial: FrozenTrial, now: float) -> float | None:
    """Return the seconds since the last beat, by two machines' clocks; None if there is none."""
    beaten = _number(trial, 2)
    return None if beaten is None else max(now - beaten, 0.0)


def earlier_trials(trial: FrozenTrial) -> list[int]:
    """Return the numbers of the trials that ``trial`` repeats, the first one first."""
    numbers = trial.system_attrs.get(HISTORY)
    if not isinstance(numbers, list):
        return []
    return [number for number in numbers if type(number) is int and 0 <= number < trial.number]


def _number(trial: FrozenTrial, place: int) -> float | None:
    """Return one of the three numbers of a heartbeat; None where the mark is none."""
    beat = trial.system_attrs.get(BEAT)
    if not isinstance(beat, list) or len(beat) != 3:
        return None
    number = beat[place]
    if not isinstance(number, int | float) or not math.isfinite(number):
        return None
    return float(number)
