"""Forecasts of a network: from any origins at once, scored, and after the last known row."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.covariates import Covariates
from foretune.datasets.transforms import LOG, ErrorSpace, Scaling
from foretune.models.config import TrialConfig
from foretune.models.forecasts.inputs import architecture_of, network_inputs, window_at
from foretune.models.forecasts.metrics import Growth
from foretune.models.forecasts.scoring import Scorer, Scores, scale
from foretune.models.forecasts.skip import LinearSkip, require_skip
from foretune.models.forecasts.windows import (
    WINDOW_SCALINGS,
    Array,
    NetworkData,
    direct_forecast,
    read_context,
    read_forecast,
)
from foretune.models.networks.params import Params, network, resize_params
from foretune.models.networks.stacked import Architecture, StackedRNN, StackState
from foretune.models.runtime.compile import jit_for_backend

# Windows at a time, which bounds the memory of a forecast from thousands of origins.
MOST_WINDOWS = 512


class WindowOptions(NamedTuple):
    """Traced scalars of a direct head's windows: changing them compiles nothing."""

    scaling: Array  # index into WINDOW_SCALINGS
    keep_offset: Array  # 0 with a linear skip, whose forecast is a level; 1 without

    @classmethod
    def of(cls, config: TrialConfig) -> "WindowOptions":
        """Return those of ``config``."""
        return cls(
            scaling=np.int32(WINDOW_SCALINGS.index(config.window_scaling)),
            keep_offset=np.float32(config.skip == "none"),
        )


def recursive_forecast(
    architecture: Architecture,
    model: StackedRNN,
    data: NetworkData,
    origins: jax.Array,
    warm_up: int,
    horizon: int,
) -> jax.Array:
    """Forecast ``horizon`` steps after each origin, each forecast segment the next input.

    The state starts at zero, reads the warm-up, and every output is fed back (the tutorial's step
    13). With a linear skip an output is added to the skip's forecast of its steps. Covariates that
    are not known ahead stay as they were at the origin. Dropout is off.

    Args:
        architecture: of the model.
        model: the network.
        data: scaled numbers.
        origins: the last known row of each window [B].
        warm_up: rows up to the origin that are read, whole segments.
        horizon: steps to forecast, H.

    Returns:
        Scaled forecasts [B, H]; column ``k`` belongs to row ``origin + 1 + k``.
    """
    length = architecture.segment_length
    count = -(-horizon // length)
    rows = origins + jnp.arange(1 - warm_up, 1, dtype=origins.dtype)[:, None]
    until = origins + horizon
    inputs = read_context(architecture, data, rows, data.series.ravel()[rows], until)
    features, state = model.unroll(model.zero_state(len(origins)), inputs)
    paths = None
    if data.skip is not None:
        paths = data.skip.reshape(-1, data.skip.shape[-1])[origins]
        # One segment beyond the last, whose output is not used.
        paths = jnp.pad(paths, ((0, 0), (0, (count + 1) * length - paths.shape[1])))
        paths = jnp.moveaxis(paths.reshape(len(origins), count + 1, length), 1, 0)

    def output(features: jax.Array, segment: jax.Array | int) -> jax.Array:
        outputs = model.next_segment(features)
        return outputs if paths is None else paths[segment] + outputs

    def feed_back(
        carry: tuple[StackState, jax.Array], segment: jax.Array
    ) -> tuple[tuple[StackState, jax.Array], jax.Array]:
        state, forecast = carry
        steps = jnp.arange(1, length + 1, dtype=origins.dtype)[:, None]
        rows = origins + segment * length + steps
        state, features = model.step(
            state, read_forecast(architecture, data, origins, rows, forecast, until)
        )
        return (state, output(features, segment + 1)), forecast

    # Of all steps, of which the last is used: XLA rounds a shorter product otherwise, and studies
    # of the first version are replayed bit for bit.
    first = output(features, 0)[-1]
    _, forecasts = jax.lax.scan(feed_back, (state, first), jnp.arange(count, dtype=origins.dtype))
    return jnp.moveaxis(forecasts, 0, 1).reshape(len(origins), count * length)[:, :horizon]


def forecasts_of(
    architecture: Architecture,
    model: StackedRNN,
    data: NetworkData,
    last: jax.Array,
    options: WindowOptions,
    *,
    rows_read: int,
    horizon: int,
) -> jax.Array:
    """Forecast every series after each of its rows ``last`` [O]: scaled [S, O, H].

    At most :data:`MOST_WINDOWS` windows are read at a time.
    """
    count, length = data.series.shape
    origins = (jnp.arange(count, dtype=last.dtype)[:, None] * length + last).ravel()

    def forecast(some: jax.Array) -> jax.Array:
        if architecture.steps:
            return direct_forecast(architecture, model, data, some, rows_read, *options)
        return recursive_forecast(architecture, model, data, some, rows_read, horizon)

    return _in_blocks(forecast, origins).reshape(count, len(last), horizon)


def _in_blocks(forecast: Callable[[jax.Array], jax.Array], origins: jax.Array) -> jax.Array:
    """Forecast from origins [B], some at a time: [B, H]."""
    total = len(origins)
    if total <= MOST_WINDOWS:
        return forecast(origins)
    blocks = -(-total // MOST_WINDOWS)
    size = -(-total // blocks)
    padded = jnp.pad(origins, (0, blocks * size - total), mode="edge")
    forecasts: jax.Array = jax.lax.map(forecast, padded.reshape(blocks, size))
    return forecasts.reshape(blocks * size, -1)[:total]


@jit_for_backend(static_argnames=("architecture", "rows_read", "horizon"))
def forecast_from(
    architecture: Architecture,
    params: Params,
    data: NetworkData,
    last: jax.Array,
    options: WindowOptions,
    *,
    rows_read: int,
    horizon: int,
) -> jax.Array:
    """Forecast from any rows with trained weights: scaled [S, O, H].

    Args:
        architecture: structure of the network.
        params: its weights.
        data: scaled numbers.
        last: index of each origin in them [O].
        options: of a direct head's windows.
        rows_read: rows read before a forecast.
        horizon: steps to forecast, H.
    """
    model = network(architecture, params)
    return forecasts_of(
        architecture, model, data, last, options, rows_read=rows_read, horizon=horizon
    )


def evaluate(
    config: TrialConfig,
    params: Params,
    values: NDArray[np.float64],
    *,
    train_stop: int,
    origins: NDArray[np.int32],
    horizon: int,
    spaces: Sequence[ErrorSpace] = (LOG,),
    covariates: Covariates | None = None,
    skip: LinearSkip | None = None,
    firsts: NDArray[np.int32] | None = None,
) -> Scores:
    """Forecast from ``origins``, such as those of an opened test, and score the forecasts.

    Args:
        config: what the weights were trained with.
        params: the weights.
        values: the target [S, N], up to the last row that is forecast at least.
        train_stop: where the training rows end; the scaling is fitted to them.
        origins: last row each forecast may see [O].
        horizon: steps to forecast, H.
        spaces: what errors are measured in, one a series.
        covariates: of the same rows, as they were encoded for training; None without any.
        skip: the regression that the network was trained beside, where ``config`` has one.
        firsts: the first row of each series [S]; None for row 0.

    Raises:
        ConfigError: ``skip`` is left out, and ``config`` has one; or the other way round.
        DataError: an origin without enough rows before or after it.

    Example:
        >>> evaluate(config, best.params, series.target[None], train_stop=split.train_stop,
        ...          origins=split.test_origins, horizon=split.horizon).relative_mse
    """
    scaled = scale(config, values, train_stop, firsts)
    given = Covariates.none(*values.shape) if covariates is None else covariates
    inputs = network_inputs(config, scaled, values, given, skip, horizon)
    latest = 0 if firsts is None else int(firsts.max())
    earliest = config.rows_read - 1 + inputs.start + latest
    if np.min(origins) < earliest or np.max(origins) + horizon >= values.shape[1]:
        raise DataError(
            f"origins must be rows {earliest} to {values.shape[1] - 1 - horizon}, to have "
            f"{config.rows_read} values before and {horizon} rows after them, but got "
            f"{np.min(origins)} to {np.max(origins)}"
        )
    architecture = architecture_of(config, given, horizon)
    last = origins - np.int32(inputs.start)
    forecasts = forecast(config, architecture, params, inputs.data, last, horizon)
    return Scorer(values, origins, horizon, scaled, spaces)(forecasts)


def forecast(
    config: TrialConfig,
    architecture: Architecture,
    params: Params,
    data: NetworkData,
    last: NDArray[np.int32],
    horizon: int,
) -> NDArray[np.float64]:
    """Forecast as :func:`forecast_from`, with the padded network that ``config`` trains."""
    padded = architecture.padded(config)
    forecasts = forecast_from(
        padded,
        resize_params(params, architecture, padded),
        jax.device_put(data),
        jax.device_put(last),
        jax.device_put(WindowOptions.of(config)),
        rows_read=config.rows_read,
        horizon=horizon,
    )
    return np.asarray(forecasts, np.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Known:
    """What forecasts of one series are made from.

    Args:
        values: the known rows [N].
        scaling: fitted to the rows that trained.
        space: of the changes that are forecast.
        origins: rows that forecasts begin after, as indices [O]; the last one by default.
        covariates: of the known rows, and of H more; None without any.
        scale: what the regression beside the network divides the levels by.
        when: what an error calls a row.
    """

    values: NDArray[np.float64]
    scaling: Scaling
    space: ErrorSpace = LOG
    origins: Sequence[int] = (-1,)
    covariates: Covariates | None = None
    scale: float = 1.0
    when: Callable[[int], object] = "row {}".format

    @property
    def rows(self) -> NDArray[np.int32]:
        """The origins, counted from the first row [O]."""
        return np.arange(len(self.values))[list(self.origins)].astype(np.int32)

    @property
    def given(self) -> Covariates:
        """The covariates, of which there may be none."""
        return self.covariates or Covariates.none(1, len(self.values))

    def windows(
        self, config: TrialConfig, skip: LinearSkip | None, horizon: int
    ) -> Iterator[NetworkData]:
        """Return what a network reads for each origin, each alone."""
        # Never smoothed, as on validation days.
        scaled, given, rows = self.scaling.transform(self.values)[None], self.given, self.rows
        paths = None
        if skip is not None:
            own = replace(skip, scales=(self.scale,))
            (paths,) = own.scaled_paths((self.scaling,), self.values[None], given, rows)
        for number, row in enumerate(rows):
            path = None if paths is None else paths[None, number : number + 1]
            yield window_at(config, scaled, self.scaling.lag, given, path, int(row), horizon)


def changes_ahead(
    config: TrialConfig,
    params: Params,
    series: Sequence[Known],
    *,
    horizon: int,
    skip: LinearSkip | None = None,
    together: int = 1,
) -> list[Growth]:
    """Forecast changes since the last known row of each series, or since each of some rows.

    Args:
        config: what was trained.
        params: the weights.
        series: what is known of each.
        horizon: steps ahead, H.
        skip: the regression beside the network, where ``config`` has one.
        together: windows that the network reads at once: each as if it were alone, up to rounding.
            Always so many, so that no other number of them compiles, or rounds otherwise.

    Returns:
        Of each series, its forecasts [O, H].

    Raises:
        ConfigError: ``skip`` is left out, and ``config`` has one; or the other way round.
        DataError: the network's output is not finite.

    Example:
        >>> known = Known(values=series.target, scaling=scaling)
        >>> changes_ahead(config, params, [known], horizon=50)[0][0, -1]
        0.0213
    """
    require_skip(config, skip)
    architecture = architecture_of(config, series[0].given, horizon)
    last = np.array([config.rows_read - 1], np.int32)
    windows = (window for known in series for window in known.windows(config, skip, horizon))
    made = [np.empty((0, horizon))]
    while block := list(islice(windows, together)):
        count = len(block)
        block += block[-1:] * (together - count)
        data = NetworkData(
            *(
                None if parts[0] is None else np.concatenate(parts)
                for parts in zip(*block, strict=True)
            )
        )
        made.append(forecast(config, architecture, params, data, last, horizon)[:count, 0])
    ends = np.cumsum([len(known.origins) for known in series])
    changes = []
    for known, scaled in zip(series, np.split(np.concatenate(made), ends[:-1]), strict=True):
        finite = np.isfinite(scaled).all(axis=1)
        if not finite.all():
            row = int(known.rows[(~finite).argmax()])
            raise DataError(
                f"the forecast after {known.when(row)} must be finite, but the network's output is "
                "not; train with a smaller learning_rate"
            )
        changes.append(known.scaling.change(scaled, known.rows, known.values, known.space))
    return changes
