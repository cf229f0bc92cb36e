"""What is searched where nothing is said: chosen for the data."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from foretune.datasets.covariates import covariate_names
from foretune.datasets.splits import Split
from foretune.datasets.transforms import ScalingName
from foretune.models.config import LossName
from foretune.search.space.dimensions import FloatRange, ends
from foretune.search.space.space import OF_HEAD, SearchSpace

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries

Chosen = TypeVar("Chosen")

_OF_RECURSIVE = set(OF_HEAD["recursive"])


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """What depends on how many windows there are to learn from.

    A context is one of ``contexts`` rows long, which with the horizon are no more than one of so
    many ``parts`` of the training rows; ``segments`` are the rows that are read at a time.
    """

    parts: int
    contexts: tuple[int, ...]
    segments: tuple[int, ...]
    units: int | tuple[int, ...]
    dropout: tuple[float, ...]
    loss: LossName
    scaling: tuple[ScalingName, ...]
    batch_size: int


_OF_ONE_SERIES = _Sizes(
    parts=3,
    contexts=(48, 96, 168),
    segments=(6, 24),
    units=(32, 64),
    dropout=(0.0, 0.1, 0.2, 0.3, 0.5),
    loss="mse",
    scaling=("standard", "differences"),
    batch_size=64,
)
_OF_PANEL = _Sizes(
    parts=2,
    contexts=(96, 168, 336),
    segments=(24, 48),
    units=128,
    dropout=(0.0, 0.1, 0.2, 0.3),
    loss="mae",
    scaling=("standard",),
    batch_size=256,
)
# A direct head needs whole windows of context and horizon to train on.
_FEWEST_WINDOWS = 16
# Gradient steps of an epoch.
_FEWEST_STEPS = 5


def space_for(data: "TimeSeries | Panel", rows: Split) -> SearchSpace:
    """Return what a study of ``data`` searches where nothing is said.

    It depends on sign, length, number of series, calendar and covariates alone. Context and horizon
    take at most a third of the training rows; where several series have many windows together, half
    of the median one's. (A context is rounded up to whole segments when it is read.) Of prices a
    recursive network reads log returns. Of all else a direct head is searched beside a ridge
    regression, with the covariates and the features of the calendar; but a recursive one alone
    where the training rows hold hardly a window.
    """
    windows = int((rows.train_stop - data.firsts).sum())
    is_panel = len(data.members) > 1 and windows >= _OF_PANEL.batch_size * _FEWEST_STEPS
    sizes = _OF_PANEL if is_panel else _OF_ONE_SERIES
    typical = rows.train_stop - int(np.median(data.firsts))
    most = max(typical // sizes.parts - rows.horizon, 2)
    scalings = sizes.scaling
    if (data.values[:, : rows.validation_stop] > 0).all():
        scalings = (*scalings, "log")
    is_price = data.error_space == "log"
    if is_price or typical < rows.horizon + _FEWEST_WINDOWS:
        space = SearchSpace() if is_price else SearchSpace(scaling=_one_or_more(scalings))
        if space.history > most:
            space = space.fix(unroll_length=_short_unrolls(most))
        return space
    groups = covariate_names(data)
    contexts = tuple(length for length in sizes.contexts if length <= most) or (most,)
    parts = tuple(length for length in sizes.segments if length <= contexts[0]) or (1,)
    if is_panel and contexts == (most,):
        # Whole segments, because rounded up to them half of the rows may be nearly all.
        contexts = (most - most % parts[-1],)
    return SearchSpace(
        layers=1,
        units=sizes.units,
        unroll_length=_one_or_more(contexts),
        segment_length=_one_or_more(parts),
        head="direct",
        skip="linear",
        window_scaling=("none", "last", "mean", "standard", "step"),
        dropout=sizes.dropout,
        averaging=0.99,
        loss=sizes.loss,
        batch_size=sizes.batch_size,
        learning_rate=FloatRange(low=3e-4, high=1e-2, log=True),
        scaling=_one_or_more(scalings),
        past_covariates=(False, True) if groups["past"] else False,
        future_covariates=bool(groups["future"]),
        static_covariates=bool(groups["static"]),
        calendar_features=(False, True) if groups["calendar"] else False,
        epochs=60,
        steps_per_epoch=_steps_per_epoch(windows, sizes.batch_size),
        stop_patience=10,
    )


def _steps_per_epoch(windows: int, batch: int) -> int:
    """Return how many steps pass over so many windows once, or over part of a long series.

    With more, a short series is learnt by heart within the epoch before validation can stop it.
    """
    return min(max(windows // batch, _FEWEST_STEPS), SearchSpace().steps_per_epoch)


def _short_unrolls(most: int) -> int | tuple[int, ...]:
    return (max(most // 2, 2), most) if most > 2 else 2


def _one_or_more(choices: tuple[Chosen, ...]) -> Chosen | tuple[Chosen, ...]:
    return choices if len(choices) > 1 else choices[0]


def complete_space(space: SearchSpace, default: SearchSpace) -> SearchSpace:
    """Return ``space`` with what it does not say chosen as in ``default``.

    A space with a recursive head, or with what only such a head has, gets the defaults of
    :class:`SearchSpace` but for the scaling, and for unrolls that a short series has no room for:
    the others were chosen for a direct head. Segments are no longer than the shortest context that
    was said.
    """
    said = space.model_fields_set
    recursive = "direct" not in ends(space.head) if "head" in said else said & _OF_RECURSIVE
    names = ("scaling",) if recursive else tuple(SearchSpace.model_fields)
    chosen = {name: getattr(default, name) for name in names if name not in said}
    longest = max(ends(default.unroll_length))
    if recursive and "unroll_length" not in said and longest < _OF_ONE_SERIES.contexts[0]:
        chosen["unroll_length"] = _short_unrolls(longest)
    if "unroll_length" in said and "segment_length" in chosen:
        shortest = min(ends(space.unroll_length))
        fitting = tuple(length for length in ends(chosen["segment_length"]) if length <= shortest)
        chosen["segment_length"] = _one_or_more(fitting or (1,))
    return space.fix(**chosen)
