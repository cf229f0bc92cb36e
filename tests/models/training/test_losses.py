"""Losses by hand, and a gradient step of either head on each of them against NumPy."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.models.forecasts.predict import WindowOptions
from foretune.models.forecasts.windows import WINDOW_SCALINGS, NetworkData
from foretune.models.networks.params import initial_params
from foretune.models.networks.randomness import random_key
from foretune.models.networks.stacked import Architecture
from foretune.models.training.epoch import (
    Hyperparameters,
    Program,
    TrainingData,
    TrainState,
    train_step,
)
from foretune.models.training.losses import LOSSES
from foretune.models.training.optimizers import initial_optimizer_state

ROWS, CONTEXT, HORIZON, RATE = 40, 6, 4, 0.1
CURSORS = [0, 11, 28]
take_step = jax.jit(train_step, static_argnames="program")


def by_hand(name: str, error: float) -> float:
    size = abs(error)
    if name == "mae":
        return size
    if name == "mse":
        return size**2 / 2
    return size**2 / 2 if size <= 1 else size - 0.5


@pytest.mark.parametrize("name", LOSSES)
@given(errors=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=5))
def test_a_loss_by_hand(name: Any, errors: list[float]) -> None:
    expected = [by_hand(name, error) for error in errors]
    np.testing.assert_allclose(LOSSES[name](np.array(errors)), expected, rtol=1e-12, atol=1e-300)


def step_of(
    architecture: Architecture, loss: Any, data: NetworkData, scaling: str, train_length: int
) -> tuple[Any, TrainState, float]:
    """The first weights, and the state and loss of one step of gradient descent."""
    program = Program(
        architecture=architecture,
        optimizer="sgd_momentum",
        batch_size=len(CURSORS),
        unroll_length=CONTEXT,
        horizon=HORIZON,
        rows_read=CONTEXT,
        loss=loss,
    )
    params = initial_params(architecture, 4)
    zero = jnp.zeros((len(CURSORS), architecture.units[0]))
    state = TrainState(
        params=params,
        optimizer_state=initial_optimizer_state("sgd_momentum", params),
        cursors=jnp.asarray(CURSORS, jnp.int32),
        recurrent_state=() if architecture.steps else ((zero, zero),),
    )
    hyper = Hyperparameters(
        learning_rate=jnp.float32(RATE),
        dropout=jnp.float32(0),
        clip_norm=jnp.float32(1e6),
        label_offset=jnp.int32(1),
        carry_state=jnp.bool_(True),
        averaging=jnp.float32(0),
        options=WindowOptions(
            jnp.int32([*WINDOW_SCALINGS].index(scaling)),  # type: ignore[arg-type]
            jnp.float32(data.skip is None),
        ),
        steps=jnp.int32(1),
        seed=jnp.uint32(0),
        epoch=jnp.int32(1),
    )
    given_data = TrainingData(
        inputs=jax.tree.map(jnp.asarray, data),
        train_length=jnp.int32(train_length),
        firsts=jnp.zeros(1, jnp.int32),
        origins=jnp.zeros(1, jnp.int32),
    )
    after, value = take_step(program, given_data, hyper, random_key(0), state)
    return params, after, float(value)


def drawn(numbers: np.random.Generator, columns: int) -> NetworkData:
    return NetworkData(
        series=numbers.normal(size=(1, ROWS)).astype(np.float32),
        covariates=numbers.normal(size=(1, ROWS, columns)).astype(np.float32),
        skip=numbers.normal(size=(1, ROWS, HORIZON)).astype(np.float32),
    )


def same_step(stack: Any, after: Any, value: Any, oracle: SimpleNamespace) -> None:
    """Whether a step went down the gradient of ``value``, by finite differences in float64."""
    gradients = [oracle.finite_differences(value, array) for array in stack.arrays]
    assert any(abs(gradient).max() > 0.05 for gradient in gradients)
    for ours, array, gradient in zip(after.arrays, stack.arrays, gradients, strict=True):
        np.testing.assert_allclose(ours, array - RATE * gradient, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("loss", "scaling"), [("mse", "standard"), ("mae", "mean"), ("huber", "last")]
)
def test_a_step_of_a_direct_head_agrees_with_numpy(
    loss: str, scaling: str, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    """As many training rows as one window has: every one that is drawn at random is that one."""
    architecture = Architecture(
        "lstm", (2,), segment_length=2, columns=2, known=1, steps=HORIZON, head_units=3
    )
    data, origin = drawn(numbers, 2), CONTEXT - 1
    params, after, found = step_of(architecture, loss, data, scaling, CONTEXT + HORIZON)
    stack = oracle.NumpyStack.of_params(architecture, params)
    forecaster = oracle.NumpyForecaster(
        architecture, stack, data.series[0], np.float64(data.covariates[0]), data.skip[0]
    )

    def value() -> float:
        forecast = forecaster.direct(origin, CONTEXT, scaling, False)
        errors = forecast - data.series[0, origin + 1 : origin + 1 + HORIZON]
        return sum(by_hand(loss, error) for error in errors) / HORIZON

    assert found == pytest.approx(value(), rel=1e-5)
    same_step(stack, oracle.NumpyStack.of_params(architecture, after.params), value, oracle)


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_step_of_segments_beside_a_skip_agrees_with_numpy(
    loss: str, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    """Each output corrects what the skip forecast at the end of the segment before."""
    architecture = Architecture("lstm", (2,), segment_length=2, columns=2, known=1)
    data = drawn(numbers, 2)
    params, after, found = step_of(architecture, loss, data, "none", ROWS)
    assert after.cursors.tolist() == [cursor + CONTEXT for cursor in CURSORS]
    stack = oracle.NumpyStack.of_params(architecture, params)
    forecaster = oracle.NumpyForecaster(
        architecture, stack, data.series[0], np.float64(data.covariates[0])
    )

    def value() -> float:
        total = 0.0
        for cursor in CURSORS:
            end = cursor + CONTEXT - 1
            window = data.series[0, cursor : end + 1]
            inputs = forecaster.context(end, CONTEXT, window)
            features, _ = stack.unroll(stack.zero_state(1), inputs)
            for segment, outputs in enumerate(stack.next_segment(features)[:, 0]):
                last = cursor + 2 * segment + 1
                for step, output in enumerate(outputs):
                    forecast = output + data.skip[0, last, step]
                    total += by_hand(loss, forecast - data.series[0, last + 1 + step])
        return total / len(CURSORS)

    assert found == pytest.approx(value(), rel=1e-5)
    same_step(stack, oracle.NumpyStack.of_params(architecture, after.params), value, oracle)
