"""The arrays that a network reads, made on the host from values, covariates and the skip."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.covariates import Covariates
from foretune.models.config import COVARIATE_OPTIONS, TrialConfig
from foretune.models.forecasts.scoring import ScaledSeries
from foretune.models.forecasts.skip import Array, Groups, LinearSkip, require_skip
from foretune.models.forecasts.windows import NetworkData
from foretune.models.networks.stacked import Architecture


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkInputs:
    """Arrays in which index ``i`` belongs to row ``i + start`` of the series."""

    data: NetworkData
    start: int


def architecture_of(config: TrialConfig, covariates: Covariates, horizon: int) -> Architecture:
    """Return the network that ``config`` asks for on data with these covariates.

    Raises:
        ConfigError: it reads a group of which there are none.
    """
    for field in fields(Groups):
        if getattr(Groups.of(config), field.name) and not getattr(covariates, field.name).shape[-1]:
            name = COVARIATE_OPTIONS[field.name]
            raise ConfigError(f"{name} must be false, because the data have none, but is true")
    known, up_to = (0 if c is None else c.shape[-1] for c in _columns(config, covariates))
    return Architecture.of(config, horizon, columns=known + up_to, known=known)


def network_inputs(
    config: TrialConfig,
    scaled: ScaledSeries,
    values: Array,
    covariates: Covariates,
    skip: LinearSkip | None,
    horizon: int,
    capacity: int = 0,
) -> NetworkInputs:
    """Return what the network of ``config`` reads.

    The first rows are left out where a difference or the skip needs rows before them.

    Args:
        config: which covariates are read, and how.
        scaled: the values as the network reads them.
        values: the target [S, N].
        covariates: of the same rows; of ``horizon`` more where forecasts begin after the last one.
        skip: the regression, where ``config`` has one.
        horizon: steps forecast, H.
        capacity: rows that the arrays have at least; those at the end are zeros.

    Raises:
        ConfigError: ``skip`` is not there and ``config`` has one, or the other way round.
    """
    require_skip(config, skip)
    start = scaled.lag if skip is None else max(scaled.lag, skip.history - 1)
    inputs = scaled.inputs[:, start - scaled.lag :]
    known, up_to = (
        None if every is None else every[:, start:] for every in _columns(config, covariates)
    )
    count, rows = inputs.shape
    # Forecasts after the last row read what is known of later ones; nothing else is there.
    length = max(rows, capacity, 0 if known is None else known.shape[1])
    parts = [part for part in (known, up_to) if part is not None]
    columns = [_filled_up(part, length) for part in (*parts, np.empty((count, rows, 0)))]
    paths = None
    if skip is not None or config.head == "direct":
        paths = np.zeros((count, length, horizon), np.float32)
    if skip is not None and paths is not None:
        ahead = skip.groups.known_ahead(covariates)
        # Where rows end too early for their future covariates, nothing is forecast.
        stop = start + rows if ahead is None else min(start + rows, ahead.shape[1] - horizon)
        origins = np.arange(start, stop, dtype=np.int32)
        made = skip.scaled_paths(scaled.scalings, values, covariates, origins)
        for own, path in zip(paths, made, strict=True):
            own[: len(origins)] = path
    data = NetworkData(_filled_up(inputs, length), np.concatenate(columns, axis=-1), paths)
    return NetworkInputs(data=data, start=start)


def _filled_up(rows: Array, length: int) -> NDArray[np.float32]:
    """Return rows [S, N, ...] in single precision, with zeros up to ``length``."""
    filled = np.zeros((rows.shape[0], length, *rows.shape[2:]), np.float32)
    filled[:, : rows.shape[1]] = rows
    return filled


def _columns(config: TrialConfig, covariates: Covariates) -> tuple[Array | None, Array | None]:
    """Return what is known ahead [S, N + K, A], and up to the origin alone [S, N, P]."""
    groups = Groups.of(config)
    known = groups.known_ahead(covariates)
    if groups.static and covariates.static.shape[-1]:
        rows = covariates.future.shape[:2]
        static = np.broadcast_to(covariates.static[:, None], (*rows, covariates.static.shape[-1]))
        known = static if known is None else np.concatenate([known, static], axis=-1)
    return known, groups.known_up_to(covariates)


def window_at(
    config: TrialConfig,
    scaled: NDArray[np.float64],
    lag: int,
    covariates: Covariates,
    path: Array | None,
    row: int,
    horizon: int,
) -> NetworkData:
    """Return only what a forecast after ``row`` reads, so that no other length compiles.

    Args:
        config: of the network.
        scaled: values of one series as the network reads them [1, N - lag].
        lag: rows at the start without a scaled value.
        covariates: of its rows, and of ``horizon`` more after ``row``.
        path: the skip's scaled forecast after ``row`` [1, 1, H], if there is a skip.
        row: the last one that is read.
        horizon: steps forecast, H.
    """
    first = row + 1 - config.rows_read
    known, up_to = _columns(config, covariates)
    length = config.rows_read + (0 if known is None else horizon)
    parts = [] if known is None else [known[:, first : row + 1 + horizon]]
    parts += [] if up_to is None else [up_to[:, first : row + 1]]
    empty = np.empty((1, length, 0), np.float32)
    paths = None
    if path is not None or config.head == "direct":
        paths = np.zeros((1, length, horizon), np.float32)
    if path is not None and paths is not None:
        paths[:, config.rows_read - 1] = path[:, 0]
    return NetworkData(
        series=_filled_up(scaled[:, first - lag : row + 1 - lag], length),
        covariates=np.concatenate([empty, *(_filled_up(part, length) for part in parts)], axis=-1),
        skip=paths,
    )
