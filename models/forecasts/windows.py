"""What a network reads of a series, as index arithmetic that runs inside ``jit``.

Rows of several series lie one after another: row ``t`` of series ``n`` is ``n * N + t``. Shapes:
``T`` rows of a window, ``B`` windows, ``s`` rows of a segment, ``K`` covariates of which the first
``A`` are known for the steps ahead, ``H`` steps.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from foretune.models.config import WindowScalingName
from foretune.models.networks.stacked import Architecture, StackedRNN

# On the host before the first epoch, on the device from then on.
Array = Any

# The number that stands for each in a compiled program.
WINDOW_SCALINGS: tuple[WindowScalingName, ...] = ("none", "last", "mean", "standard", "step")

# A window is divided by no less than this, in scaled units: standard deviations of the training
# part, of most scalings. In some series the value stands still for days.
SMALLEST_SCALE = 0.01


class NetworkData(NamedTuple):
    """Scaled numbers of S series."""

    series: Array  # [S, N]
    covariates: Array  # [S, N, K], those that are known ahead first
    # What a linear skip forecasts after each row [S, N, H]; zeros for a direct head without one,
    # and None for a recursive head without one.
    skip: Array | None


def segments(rows: jax.Array, length: int) -> jax.Array:
    """Lay rows [T, B, K] side by side, ``length`` at a time: [T / s, B, s * K].

    Example:
        >>> segments(jnp.arange(4.0).reshape(4, 1, 1), 2)[:, 0]
        Array([[0., 1.],
               [2., 3.]], dtype=float32)
    """
    count, batch, columns = rows.shape
    parts = rows.reshape(count // length, length, batch, columns)
    return jnp.moveaxis(parts, 1, 2).reshape(count // length, batch, length * columns)


def window_scale(window: jax.Array, scaling: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """Return what is subtracted from windows [T, B], and what they are then divided by: [B] each.

    Args:
        window: scaled values, the last known one at the end.
        scaling: index into :data:`WINDOW_SCALINGS`; may be traced.
    """
    last, mean = window[-1], jnp.mean(window, axis=0)
    zero, one = jnp.zeros_like(last), jnp.ones_like(last)
    std = jnp.maximum(jnp.std(window, axis=0), SMALLEST_SCALE)
    step = jnp.maximum(jnp.mean(jnp.abs(jnp.diff(window, axis=0)), axis=0), SMALLEST_SCALE)
    offsets = jnp.stack([zero, last, mean, mean, last])
    scales = jnp.stack([one, one, one, std, step])
    return offsets[scaling], scales[scaling]


def read_context(
    architecture: Architecture,
    data: NetworkData,
    rows: jax.Array,
    values: jax.Array,
    until: jax.Array | None = None,
) -> jax.Array:
    """Return what a network reads at each step of its unroll: [T / s, B, I].

    Args:
        architecture: which shapes it reads.
        data: the covariates are taken from here.
        rows: which rows [T, B].
        values: scaled values of those rows [T, B].
        until: the last row [B] of which anything is known; in place of later ones it is read.
    """
    parts = [segments(values[:, :, None], architecture.segment_length)]
    if architecture.columns:
        parts.append(segments(_flat(data)[rows], architecture.segment_length))
        parts.extend(_known_next(architecture, data, rows, until))
    return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def read_forecast(
    architecture: Architecture,
    data: NetworkData,
    origins: jax.Array,
    rows: jax.Array,
    values: jax.Array,
    until: jax.Array,
) -> jax.Array:
    """Return the input of a recursive head's next step, its own last segment: [B, I].

    Args:
        architecture: which shapes it reads.
        data: covariates; those that are not known ahead stay as they were at the origins.
        origins: the last known row of each window [B].
        rows: the rows of the segment [s, B].
        values: their forecasts [B, s].
        until: the last row [B] of which anything is known; in place of later ones it is read.
    """
    parts = [values]
    if architecture.columns:
        flat, known = _flat(data), architecture.known
        held = jnp.broadcast_to(flat[origins, known:], (*rows.shape, architecture.columns - known))
        both = jnp.concatenate([flat[rows][..., :known], held], axis=-1)
        parts.append(segments(both, architecture.segment_length)[0])
        parts.extend(part[0] for part in _known_next(architecture, data, rows, until))
    return jnp.concatenate(parts, axis=-1) if len(parts) > 1 else values


def direct_forecast(
    architecture: Architecture,
    model: StackedRNN,
    data: NetworkData,
    origins: jax.Array,
    context: int,
    window_scaling: jax.Array | int,
    keep_offset: jax.Array | float,
    *,
    dropout_key: jax.Array | None = None,
    dropout: jax.Array | float = 0.0,
) -> jax.Array:
    """Forecast H steps after each origin at once, with a direct head.

    Args:
        architecture: of the model.
        model: the network.
        data: scaled numbers; nothing after an origin is read but what is known ahead.
        origins: the last known row of each window [B].
        context: rows up to the origin that are read.
        window_scaling: index into :data:`WINDOW_SCALINGS`.
        keep_offset: 1 adds what was subtracted from the window; 0 where the skip's forecast, which
            is a level, is added in its place.
        dropout_key: draws the masks; without it nothing is dropped.
        dropout: share of outputs and carried states set to zero.

    Returns:
        Scaled forecasts [B, H].
    """
    rows = origins + jnp.arange(1 - context, 1, dtype=origins.dtype)[:, None]
    window = data.series.ravel()[rows]
    offset, scale = window_scale(window, window_scaling)
    inputs = read_context(architecture, data, rows, (window - offset) / scale)
    features, _ = model.unroll(
        model.zero_state(len(origins)), inputs, dropout_key=dropout_key, dropout=dropout
    )
    steps = origins[:, None] + jnp.arange(1, architecture.steps + 1, dtype=origins.dtype)
    ahead = _flat(data)[steps][..., : architecture.known]
    outputs = model.all_steps(features[-1], ahead)
    assert data.skip is not None
    base = (keep_offset * offset)[:, None] + data.skip.reshape(-1, architecture.steps)[origins]
    forecasts: jax.Array = base + scale[:, None] * outputs
    return forecasts


def _flat(data: NetworkData) -> jax.Array:
    """Return the covariates row after row: [S * N, K]."""
    covariates: jax.Array = data.covariates
    return covariates.reshape(covariates.shape[0] * covariates.shape[1], covariates.shape[2])


def _known_next(
    architecture: Architecture, data: NetworkData, rows: jax.Array, until: jax.Array | None
) -> list[jax.Array]:
    """Return what is known of the segment after each, which a recursive head reads beside it."""
    if architecture.steps or not architecture.known:
        return []
    length, known = architecture.segment_length, architecture.known
    ahead = rows + length if until is None else jnp.minimum(rows + length, until)
    return [segments(_flat(data)[ahead][..., :known], length)]
