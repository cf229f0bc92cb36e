"""Forecasts of both heads against NumPy: what they read, and the rollout that feeds them back."""

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from foretune.models.forecasts import predict
from foretune.models.forecasts.predict import WindowOptions, forecast_from, forecasts_of
from foretune.models.forecasts.windows import WINDOW_SCALINGS, NetworkData
from foretune.models.networks.stacked import Architecture, StackedRNN

SERIES, ROWS, HORIZON = 2, 40, 7
LAST = np.array([9, 17, 28], np.int32)


@dataclass
class Case:
    """A network and data that have what it reads."""

    architecture: Architecture
    rows_read: int
    model: StackedRNN
    data: NetworkData

    def __call__(self, scaling: str = "none", **changed: Any) -> np.ndarray[Any, Any]:
        """Forecast after each of the rows ``LAST`` [S, O, H]."""
        data = self.data._replace(**changed)
        forecasts = forecast_from(
            self.architecture,
            nnx.split(self.model)[1],
            jax.tree.map(jnp.asarray, data),
            jnp.asarray(LAST),
            options(scaling, data.skip is None or not data.skip.any()),
            rows_read=self.rows_read,
            horizon=HORIZON,
        )
        return np.asarray(forecasts)


def options(scaling: str, keep_offset: bool) -> WindowOptions:
    index = [*WINDOW_SCALINGS].index(scaling)  # type: ignore[arg-type]
    return WindowOptions(jnp.int32(index), jnp.float32(keep_offset))


SHAPES: dict[str, tuple[Architecture, int]] = {
    "recursive": (Architecture("lstm", (3, 2)), 5),
    "recursive, past covariates": (Architecture("gru", (3,), columns=2), 5),
    "recursive, segments, covariates": (
        Architecture("lstm", (3, 2), segment_length=3, columns=3, known=2),
        6,
    ),
    "direct": (Architecture("gru", (3,), steps=HORIZON, head_units=4), 6),
    "direct, segments, covariates": (
        Architecture(
            "lstm", (3, 2), segment_length=3, columns=3, known=2, steps=HORIZON, head_units=4
        ),
        6,
    ),
}
DIRECT = [name for name in SHAPES if name.startswith("direct")]


def made(shape: str, numbers: np.random.Generator, *, skip: bool = False) -> Case:
    architecture, rows_read = SHAPES[shape]
    model = StackedRNN(architecture, rng=numbers)
    if architecture.steps:  # biases start at 0, and would hide a fault
        model.step_bias[...] = jnp.float32(numbers.normal(size=model.step_bias.shape))
        model.output_bias[...] = jnp.float32(numbers.normal(size=model.output_bias.shape))
    paths = None
    if skip or architecture.steps:
        paths = numbers.normal(size=(SERIES, ROWS, HORIZON)).astype(np.float32) * np.float32(skip)
    data = NetworkData(
        series=np.float32(2 + numbers.normal(size=(SERIES, ROWS))),
        covariates=numbers.normal(size=(SERIES, ROWS, architecture.columns)).astype(np.float32),
        skip=paths,
    )
    return Case(architecture, rows_read, model, data)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_forecasts_agree_with_numpy(
    shape: str, skip: bool, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    case = made(shape, numbers, skip=skip)
    stack = oracle.NumpyStack.of(case.model)
    seen = []
    for scaling in WINDOW_SCALINGS if shape in DIRECT else ("none",):
        forecasts = case(scaling)
        assert forecasts.shape == (SERIES, len(LAST), HORIZON)
        for number in range(SERIES):
            forecaster = oracle.NumpyForecaster(
                case.architecture,
                stack,
                case.data.series[number],
                np.float64(case.data.covariates[number]),
                np.float64(case.data.skip[number]) if skip else None,
            )
            for place, origin in enumerate(LAST.tolist()):
                if shape in DIRECT:
                    expected = forecaster.direct(origin, case.rows_read, scaling, not skip)
                else:
                    expected = forecaster.recursive(origin, case.rows_read, HORIZON)
                ours = forecasts[number, place]
                np.testing.assert_allclose(ours, expected, rtol=2e-4, atol=2e-5)
        seen.append(forecasts)
    # Not vacuous: kinds, series, origins and steps differ.
    every = np.stack(seen)
    for axis in range(4):
        if every.shape[axis] > 1:
            assert (np.ptp(every, axis=axis) > 1e-4).all()


@pytest.mark.parametrize("shape", ["recursive, segments, covariates", DIRECT[1]])
def test_forecasts_in_blocks_are_those_of_one_block(
    shape: str, numbers: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made(shape, numbers, skip=True)
    whole = case("mean" if shape in DIRECT else "none")
    monkeypatch.setattr(predict, "MOST_WINDOWS", 4)
    forecast = partial(
        forecasts_of, case.architecture, case.model, rows_read=case.rows_read, horizon=HORIZON
    )
    traced = options("mean" if shape in DIRECT else "none", keep_offset=False)
    data = jax.tree.map(jnp.asarray, case.data)
    last = np.array([*LAST, 20, 22], np.int32)  # 10 windows: 3 blocks of 4, 2 of them filled up
    blocks = jax.jit(lambda data, last: forecast(data, last, traced))(data, jnp.asarray(last))
    assert blocks.shape == (SERIES, len(last), HORIZON)
    np.testing.assert_allclose(blocks[:, :3], whole, rtol=1e-6, atol=1e-6)
    assert (np.ptp(np.asarray(blocks), axis=1) > 1e-4).all()


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_after_an_origin_is_read_but_what_is_known_ahead(
    shape: str, skip: bool, numbers: np.random.Generator
) -> None:
    """Bit for bit: other values, and other covariates known up to it alone, change nothing."""
    case = made(shape, numbers, skip=skip)
    known, last = case.architecture.known, LAST[-1] + 1
    before = case()

    def other(rows: Any, columns: slice = slice(None)) -> Any:
        changed = rows.copy()
        changed[:, last:, ..., columns] = numbers.normal(size=changed[:, last:, ..., columns].shape)
        return changed

    values = case.data.series.copy()
    values[:, last:] = 77.0
    held = other(case.data.covariates, slice(known, None))
    np.testing.assert_array_equal(case(series=values, covariates=held)[:, 2], before[:, 2])
    if skip:
        paths = case.data.skip.copy()
        paths[:, last:] = 5.0
        np.testing.assert_array_equal(case(skip=paths)[:, 2], before[:, 2])
    # Not vacuous: at the origin they do.
    held[:, last - 1, known:] += 1
    at_origin = values.copy()
    at_origin[:, last - 1] += 1
    assert (case(series=at_origin)[:, 2] != before[:, 2]).any(axis=-1).all()
    if case.architecture.columns > known:
        assert (case(covariates=held)[:, 2] != before[:, 2]).any(axis=-1).all()
    if known:
        beyond = case.data.covariates.copy()
        beyond[:, last + HORIZON :] = 88.0
        np.testing.assert_array_equal(case(covariates=beyond)[:, 2], before[:, 2])
        ahead = case(covariates=other(case.data.covariates, slice(0, known)))
        assert (ahead[:, 2] != before[:, 2]).any(axis=-1).all()
        # And each step's own: with a direct head no other step knows of them.
        later = case.data.covariates.copy()
        later[:, last + 4, :known] += 1
        changed = case(covariates=later)[:, 2] != before[:, 2]
        if shape in DIRECT:
            assert changed.tolist() == [[step == 4 for step in range(HORIZON)]] * SERIES
        else:
            # A segment of three is forecast with its own: steps 3, 4 and 5, and all that follow.
            assert changed.tolist() == [[step >= 3 for step in range(HORIZON)]] * SERIES


def test_a_forecast_by_hand(numbers: np.random.Generator) -> None:
    # A head that ignores the layer says its bias, every day.
    case = made("recursive", numbers)
    case.model.head_kernel[...] = jnp.zeros((2, 1))
    case.model.head_bias[...] = jnp.array([0.25])
    assert case().tolist() == [[[0.25] * HORIZON] * len(LAST)] * SERIES


@pytest.mark.parametrize("shape", ["recursive", *DIRECT])
def test_a_zero_last_layer_leaves_the_skip_alone(shape: str, numbers: np.random.Generator) -> None:
    """Bit for bit, whatever the window is scaled by."""
    case = made(shape, numbers, skip=True)
    for weights in case.model.last_weights:
        weights[...] = jnp.zeros_like(weights[...])
    for scaling in WINDOW_SCALINGS if shape in DIRECT else ("none",):
        np.testing.assert_array_equal(case(scaling), case.data.skip[:, LAST])


def test_an_origins_forecast_does_not_depend_on_its_neighbours(
    numbers: np.random.Generator,
) -> None:
    case = made("recursive", numbers)
    series = case.data.series.copy()
    series[:, 10:] = 9.0
    together, others = case(), case(series=series)
    np.testing.assert_array_equal(together[:, 0], others[:, 0])
    assert (together[:, 1:] != others[:, 1:]).any(axis=-1).all()
