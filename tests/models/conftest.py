"""Shared by the tests of the models: a NumPy network, finite differences, small training runs."""

import dataclasses
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foretune.datasets.prices import PriceSeries
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.samples import ar1
from foretune.datasets.splits import (
    DevelopmentData,
    Split,
    chronological_split,
    development,
    development_folds,
)
from foretune.models.config import TrialConfig
from foretune.models.networks.params import network
from foretune.models.networks.stacked import Architecture, StackedRNN

Array = NDArray[np.float64]
Weights = dict[str, Array]
State = tuple[Array, ...]  # h, and what else a layer remembers, [B, H] each

# Every shape costs a compilation of seconds, so tests share this one.
SMALL_LENGTH, SMALL_HORIZON = 300, 5
SMALL = TrialConfig(
    units=(3,), unroll_length=5, batch_size=4, steps_per_epoch=4, epochs=3, learning_rate=0.01
)


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def weights_of(cell: Any) -> Weights:
    """Copy the weights of one layer, by name."""
    names = ("kernel", "peepholes", "input_kernel", "hidden_kernel", "bias", "hidden_bias")
    return {
        name: np.array(getattr(cell, name)[...], np.float64)
        for name in names
        if hasattr(cell, name)
    }


def cell_step(weights: Weights, state: State, x: Array) -> State:
    """One step of whatever cell the weights are of."""
    return (gru_step if "hidden_bias" in weights else lstm_step)(weights, state, x)


def lstm_step(weights: Weights, state: State, x: Array) -> State:
    """One LSTM step, gate by gate, in float64: the textbook's sums of products.

    With peepholes the gates also see the memory.
    """
    h, c = state
    inputs, units = x.shape[1], h.shape[1]
    see_input, see_forget, see_output = weights.get("peepholes", np.zeros((3, units)))

    def gate(number: int) -> Array:
        columns = slice(number * units, (number + 1) * units)
        kernel = weights["kernel"][:, columns]
        return x @ kernel[:inputs] + h @ kernel[inputs:] + weights["bias"][columns]

    write, keep = sigmoid(gate(0) + see_input * c), sigmoid(gate(1) + see_forget * c)
    c = keep * c + write * np.tanh(gate(2))
    return sigmoid(gate(3) + see_output * c) * np.tanh(c), c


def gru_step(weights: Weights, state: State, x: Array) -> State:
    """One GRU step: the reset gate applies to the product of state and weights."""
    (h,) = state
    units = h.shape[1]

    def part(number: int) -> tuple[Array, Array]:
        columns = slice(number * units, (number + 1) * units)
        of_input = x @ weights["input_kernel"][:, columns] + weights["bias"][columns]
        return of_input, h @ weights["hidden_kernel"][:, columns]

    reset, update = sigmoid(sum(part(0))), sigmoid(sum(part(1)))
    of_input, of_state = part(2)
    new = np.tanh(of_input + reset * (of_state + weights["hidden_bias"]))
    return ((1 - update) * new + update * h,)


RECURSIVE_HEAD = ("head_kernel", "head_bias")
DIRECT_HEAD = ("state_kernel", "ahead_kernel", "step_bias", "output_kernel", "output_bias")


@dataclasses.dataclass
class NumpyStack:
    """The stacked network as plain loops in float64: day after day, layer after layer."""

    layers: list[Weights]
    head: Weights

    @classmethod
    def of(cls, model: StackedRNN) -> Self:
        """Copy the weights of ``model``."""
        names = DIRECT_HEAD if hasattr(model, "state_kernel") else RECURSIVE_HEAD
        return cls(
            layers=[weights_of(layer) for layer in model.layers],
            head={name: np.array(getattr(model, name)[...], np.float64) for name in names},
        )

    @classmethod
    def of_params(cls, architecture: Architecture, params: Any) -> Self:
        """Copy weights (or gradients, which are shaped alike) out of a tree of parameters."""
        return cls.of(network(architecture, params))

    @property
    def arrays(self) -> list[Array]:
        """Every weight array, the originals: changing them changes the network."""
        of_layers = [array for layer in self.layers for array in layer.values()]
        return [*of_layers, *self.head.values()]

    def zero_state(self, batch: int) -> list[State]:
        return [
            (np.zeros((batch, len(layer["hidden_bias"]))),)
            if "hidden_bias" in layer
            else (np.zeros((batch, len(layer["bias"]) // 4)),) * 2
            for layer in self.layers
        ]

    def step(self, state: list[State], x: Array, masks: Any = None) -> tuple[list[State], Array]:
        """Read x [B, I] to features [B, H]; masks, if any, are one (outputs, state) a layer."""
        features, new_state = x, []
        for number, (weights, layer_state) in enumerate(zip(self.layers, state, strict=True)):
            h, *memory = cell_step(weights, layer_state, features)
            output_mask, state_mask = (1.0, 1.0) if masks is None else masks[number]
            features = h * output_mask
            new_state.append((h * state_mask, *memory))
        return new_state, features

    def unroll(
        self, state: list[State], inputs: Array, masks: Any = None
    ) -> tuple[Array, list[State]]:
        """Read inputs [T, B, I] to features [T, B, H]; masks are one pair [T, B, H] a layer."""
        features = []
        for day, x in enumerate(inputs):
            today = None if masks is None else [(o[day], s[day]) for o, s in masks]
            state, read = self.step(state, x, today)
            features.append(read)
        return np.array(features), state

    def next_segment(self, features: Array) -> Array:
        """Map features [..., H] to the next segment [..., s]."""
        return features @ self.head["head_kernel"] + self.head["head_bias"]

    def all_steps(self, features: Array, ahead: Array) -> Array:
        """Map features [H] and what is known ahead [steps, A] to forecasts [steps], one by one."""
        head, outputs = self.head, []
        for step, known in enumerate(ahead):
            hidden = features @ head["state_kernel"] + known @ head["ahead_kernel"]
            hidden = np.maximum(hidden + head["step_bias"][step], 0)
            outputs.append(sum(hidden * head["output_kernel"][step]) + head["output_bias"][step])
        return np.array(outputs)

    def forecast(self, windows: Array, horizon: int) -> Array:
        """Read windows [W, O] from a zero state, then feed every output back: [O, H]."""
        features, state = self.unroll(self.zero_state(windows.shape[1]), windows[:, :, None])
        forecasts = [self.next_segment(features[-1])]
        while len(forecasts) < horizon:
            state, read = self.step(state, forecasts[-1])
            forecasts.append(self.next_segment(read))
        return np.array(forecasts)[:, :, 0].T

    def loss(self, state: list[State], inputs: Array, labels: Array) -> float:
        """Sum over the days [T, B] of the batch mean of half the squared error."""
        features, _ = self.unroll(state, inputs[:, :, None])
        outputs = self.next_segment(features)[:, :, 0]
        return sum(
            sum(0.5 * (o - y) ** 2 for o, y in zip(day, label, strict=True)) / len(day)
            for day, label in zip(outputs.tolist(), labels.tolist(), strict=True)
        )


@dataclasses.dataclass
class NumpyForecaster:
    """Forecasts after one row of one series, number by number.

    Args:
        architecture: of the network.
        stack: its weights.
        values: scaled [N].
        covariates: [N, K], those that are known ahead first.
        paths: what a linear skip forecasts after each row [N, H]; None without a skip.
    """

    architecture: Architecture
    stack: NumpyStack
    values: Array
    covariates: Array
    paths: Array | None = None

    def segment(
        self, first: int, values: Any, held: int | None = None, until: int = 10**9
    ) -> list[float]:
        """What is read of the segment that begins in row ``first`` and has these values.

        Covariates that are not known ahead are those of row ``held``, if it is given. Nothing is
        known after row ``until``.
        """
        shape, read = self.architecture, [float(value) for value in values]
        rows = range(first, first + shape.segment_length)
        for row in rows:
            for column in range(shape.columns):
                hold = held is not None and column >= shape.known
                read.append(self.covariates[held if hold else row, column])
        if not shape.steps:  # a direct head reads what is known ahead by itself
            for row in rows:
                ahead = min(row + shape.segment_length, until)
                read.extend(self.covariates[ahead, : shape.known])
        return read

    def context(self, origin: int, rows_read: int, values: Array, until: int = 10**9) -> Array:
        """What is read up to ``origin``: [T / s, 1, I]."""
        length, first = self.architecture.segment_length, origin + 1 - rows_read
        starts = range(0, rows_read, length)
        return np.array(
            [
                [self.segment(first + start, values[start : start + length], until=until)]
                for start in starts
            ]
        )

    def direct(self, origin: int, rows_read: int, scaling: str, keep_offset: bool = True) -> Array:
        """All steps at once [H]."""
        window = self.values[origin + 1 - rows_read : origin + 1].astype(np.float64)
        offset, scale = window_scale(window, scaling)
        inputs = self.context(origin, rows_read, (window - offset) / scale)
        features, _ = self.stack.unroll(self.stack.zero_state(1), inputs)
        shape = self.architecture
        ahead = self.covariates[origin + 1 : origin + 1 + shape.steps, : shape.known]
        base = offset * keep_offset + (0 if self.paths is None else self.paths[origin])
        return base + scale * self.stack.all_steps(features[-1, 0], ahead)

    def recursive(self, origin: int, rows_read: int, horizon: int) -> Array:
        """Segment after segment, each fed back [H]."""
        length, forecasts = self.architecture.segment_length, list[float]()
        window = self.values[origin + 1 - rows_read : origin + 1]
        features, state = self.stack.unroll(
            self.stack.zero_state(1), self.context(origin, rows_read, window, origin + horizon)
        )
        read = features[-1]
        while True:
            for value in self.stack.next_segment(read)[0]:
                step = len(forecasts)
                beside = self.paths is not None and step < horizon
                forecasts.append(value + (self.paths[origin, step] if beside else 0))  # type: ignore[index]
            if len(forecasts) >= horizon:
                return np.array(forecasts[:horizon])
            first = origin + 1 + len(forecasts) - length
            x = np.array([self.segment(first, forecasts[-length:], origin, origin + horizon)])
            state, read = self.stack.step(state, x)


def window_scale(window: Array, scaling: str) -> tuple[float, float]:
    """What is subtracted from a window, and what it is then divided by."""
    mean = sum(window) / len(window)
    if scaling == "standard":
        return mean, max((sum((window - mean) ** 2) / len(window)) ** 0.5, 0.01)
    if scaling == "step":
        moves = [abs(b - a) for a, b in itertools.pairwise(window)]
        return window[-1], max(sum(moves) / len(moves), 0.01)
    return {"none": 0.0, "last": window[-1], "mean": mean}[scaling], 1.0


def finite_differences(value: Callable[[], float], array: Array) -> Array:
    """Central differences of ``value()`` with respect to each entry of ``array``."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        before = array[index]
        array[index] = before + 1e-5
        above = value()
        array[index] = before - 1e-5
        below = value()
        array[index] = before
        gradient[index] = (above - below) / 2e-5
    return gradient


def series_of_mids(mid: Any, like: PriceSeries) -> PriceSeries:
    """Return a series with the dates of ``like`` and the mid prices ``mid`` [N]."""
    return dataclasses.replace(like, open=mid, high=mid, low=mid, close=mid, volume=None)


def small_development(prices: PriceSeries | None = None) -> DevelopmentData:
    """Return the training and validation days of a short simulated series."""
    prices = ar1(SMALL_LENGTH) if prices is None else prices
    split = chronological_split(len(prices), horizon=SMALL_HORIZON, stride=5, history=5)
    return development(prices.series("mid"), split)


# With covariates: four hours ahead, one origin after another.
MIXED_LENGTH, MIXED_HORIZON = 240, 4
GROUPS = ("past_covariates", "future_covariates", "static_covariates", "calendar_features")
MIXED = SMALL.replace(
    scaling="standard",
    skip="linear",
    segment_length=2,
    unroll_length=6,
    steps_per_epoch=3,
    dropout=0.2,
    **dict.fromkeys(GROUPS, True),
)
DIRECT = MIXED.replace(head="direct", head_units=4, window_scaling="mean", learning_rate=0.02)
RECURSIVE = MIXED.replace(warm_up=8)


def mixed_series(length: int = MIXED_LENGTH) -> TimeSeries:
    """A day's wave and what moves it: the last hour's rain, this hour's sun, all above 0."""
    numbers = np.random.default_rng(5)
    rain, sun, noise = numbers.normal(size=(3, length))
    hours = np.arange(length)
    target = 20 + 3 * np.sin(hours * np.pi / 12) + np.roll(rain, 1) + 2 * sun + 0.5 * noise
    frame = pd.DataFrame(
        {"y": target, "rain": rain, "sun": sun, "area": np.full(length, 3.5)},
        index=pd.date_range("2024-03-01", periods=length, freq="h"),
    )
    return TimeSeries.from_frame(
        frame, target="y", past=["rain"], future=["sun"], static=["area"], name="mixed"
    )


def mixed_split() -> Split:
    return chronological_split(MIXED_LENGTH, horizon=MIXED_HORIZON, stride=2, history=8)


@pytest.fixture(scope="session")
def mixed() -> SimpleNamespace:
    """A series with every kind of covariate, and a config of each head beside a linear skip."""
    series = mixed_series()
    return SimpleNamespace(
        series=series,
        split=mixed_split(),
        data=development(series, mixed_split()),
        folds=development_folds(series, mixed_split(), 2),
        configs={"direct": DIRECT, "recursive": RECURSIVE},
    )


@pytest.fixture(scope="session")
def oracle() -> SimpleNamespace:
    """What the network is checked against; it shares no code with it."""
    return SimpleNamespace(
        weights_of=weights_of,
        cell_step=cell_step,
        NumpyStack=NumpyStack,
        NumpyForecaster=NumpyForecaster,
        window_scale=window_scale,
        finite_differences=finite_differences,
    )


@pytest.fixture(scope="session")
def small() -> SimpleNamespace:
    """A config and a series of the shape that the tests share."""
    return SimpleNamespace(
        config=SMALL,
        changed=lambda **changes: TrialConfig(**(SMALL.model_dump() | changes)),
        data=small_development(),
        development=small_development,
        prices=ar1(SMALL_LENGTH),
        series_of_mids=series_of_mids,
    )


@pytest.fixture
def numbers() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20170914)
