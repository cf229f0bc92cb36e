"""Known configs: enqueue them in a study, or search the space around one."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import optuna

from foretune.datasets.common.errors import ConfigError
from foretune.models.config import TrialConfig
from foretune.search.space.dimensions import (
    Dimension,
    FloatRange,
    IntRange,
    can_draw,
    ends,
    is_fixed,
)
from foretune.search.space.space import SearchSpace, not_of

_ROUNDING = 1e-9

_SHAPE = ("layers", "units", "pad_units_to")


def enqueue_configs(
    study: optuna.Study, space: SearchSpace, configs: Iterable[TrialConfig]
) -> None:
    """Let the next trials of ``study`` train known configs; one that is known there is left out.

    What the space fixes, such as the number of epochs, is the space's own also for them.

    Raises:
        ConfigError: a config has a value that the space cannot draw; none is enqueued then.
    """
    every = [params_of(space, config) for config in configs]
    for params in every:
        study.enqueue_trial(params, skip_if_exists=True)


def params_of(space: SearchSpace, config: TrialConfig) -> dict[str, Any]:
    """Return the parameters with which ``space`` suggests what is searched of ``config``.

    The inverse of :meth:`SearchSpace.suggest`.

    Raises:
        ConfigError: names the first value that the space cannot draw.

    Example:
        >>> params_of(SearchSpace(layers=1), TrialConfig(units=(32,), dropout=0.1))["dropout"]
        0.1
    """
    values: dict[str, tuple[Dimension, Any]] = {"layers": (space.layers, len(config.units))}
    for number, units in enumerate(config.units, 1):
        values[f"units_{number}"] = space.units, units
    for name in SearchSpace.model_fields:
        if name not in (*_SHAPE, *not_of(config.head)):
            values[name] = getattr(space, name), getattr(config, name)
    params = {}
    for name, (dimension, value) in values.items():
        # Layers, their widths and the head are the config's shape: no other will do.
        if is_fixed(dimension) and not name.startswith(("layers", "units_")) and name != "head":
            continue
        if not can_draw(dimension, value):
            field = "units" if name.startswith("units_") else name
            raise ConfigError(f"{field} of the config must be in {dimension!r}, but is {value!r}")
        if not is_fixed(dimension):
            params[name] = value
    return params


def space_around(space: SearchSpace, config: TrialConfig, width: float = 0.25) -> SearchSpace:
    """Return the part of ``space`` around ``config``.

    Every range shrinks to ``width`` of its length, on its own scale, with the config's value in
    the middle, or as near to it as the range's ends allow. Of choices, the config's is left. What
    ``space`` does not say was chosen for the data: where its default cannot be the config's value,
    that value stays.

    Args:
        space: what was searched.
        config: what came out best.
        width: share of each range to keep, above 0 and at most 1.

    Raises:
        ConfigError: ``width`` is out of range, or a value is not in ``space``.

    Example:
        >>> space_around(space, best_config(study)).to_toml()
    """
    said = space.model_fields_set
    if not 0 < width <= 1:
        raise ConfigError(f"width must be above 0 and at most 1, but got {width!r}")
    # For a direct head everything was chosen, else the scaling alone.
    direct = "direct" in ends(space.head) or ("head" not in said and config.head == "direct")
    chosen = {*SearchSpace.model_fields} - {*_SHAPE} if direct else {"scaling"}
    own = {name: getattr(config, name) for name in chosen - said}
    space = space.fix(**{k: v for k, v in own.items() if not can_draw(getattr(space, k), v)})
    params_of(space, config)  # refuses a config from elsewhere
    # The padding stays, or one config would be two: that of a narrower range is another.
    narrowed: dict[str, Any] = {"layers": len(config.units), "pad_units_to": config.pad_units_to}
    narrowed["units"] = _around(space.units, config.units, width)
    for name in SearchSpace.model_fields:
        if name in not_of(config.head):  # the other head is searched no more
            narrowed[name] = getattr(config, name)
        elif name not in _SHAPE:
            dimension = getattr(space, name)
            narrowed[name] = _around(dimension, (getattr(config, name),), width)
    return space.fix(**narrowed)


def _around(dimension: Dimension, values: tuple[Any, ...], width: float) -> Dimension:
    """Narrow a dimension around one value, or around several that it is drawn for."""
    if is_fixed(dimension):
        return dimension
    if isinstance(dimension, FloatRange):
        low, high = _interval(dimension, values, width)
        return FloatRange(low=low, high=high, log=dimension.log)
    if isinstance(dimension, IntRange):
        low, high = _interval(dimension, values, width)
        step = dimension.step
        # Outwards to whole steps, but not for the rounding of a logarithm.
        first = dimension.low + step * int(np.floor((low - dimension.low) / step + _ROUNDING))
        last = dimension.low + step * int(np.ceil((high - dimension.low) / step - _ROUNDING))
        return IntRange(low=first, high=last, step=step, log=dimension.log)
    distinct = tuple(choice for choice in dimension if choice in values)  # type: ignore[union-attr]
    return distinct[0] if len(distinct) == 1 else distinct


def _interval(
    range_: FloatRange | IntRange, values: tuple[Any, ...], width: float
) -> tuple[float, float]:
    """Return the ends of ``width`` of a range around values, inside the range."""
    scale, back = (np.log, np.exp) if range_.log else (float, float)
    low, high = float(scale(range_.low)), float(scale(range_.high))
    half = width * (high - low) / 2
    first, last = float(scale(min(values))) - half, float(scale(max(values))) + half
    # Pushed back inside where it sticks out; the ends come back to the last bit.
    if first < low:
        first, last = low, min(last + (low - first), high)
    if last > high:
        first, last = max(first - (last - high), low), high
    ends = (float(range_.low), first, low), (float(range_.high), last, high)
    return tuple(exact if abs(at - end) < _ROUNDING else float(back(at)) for exact, at, end in ends)  # type: ignore[return-value]
