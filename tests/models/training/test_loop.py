"""Training: gradient steps, whole epochs and their forecasts against NumPy; what fit promises."""

import dataclasses
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources.samples import random_walk
from foretune.models.config import TrialConfig
from foretune.models.forecasts.predict import WindowOptions
from foretune.models.forecasts.windows import NetworkData
from foretune.models.networks.params import initial_params, parameter_count
from foretune.models.networks.stacked import Architecture
from foretune.models.training.epoch import (
    Hyperparameters,
    Program,
    TrainingData,
    TrainState,
    train_epoch,
)
from foretune.models.training.loop import fit
from foretune.models.training.optimizers import initial_optimizer_state
from foretune.models.training.results import EpochResult, NonFiniteLossError

ARCHITECTURE = Architecture(cell="lstm", units=(3,))
UNROLL, BATCH, LENGTH = 5, 4, 60
PROGRAM = Program(
    architecture=ARCHITECTURE,
    optimizer="sgd_momentum",
    batch_size=BATCH,
    unroll_length=UNROLL,
    horizon=5,
    rows_read=UNROLL,
)


@pytest.fixture
def series(numbers: np.random.Generator) -> Any:
    return numbers.normal(size=LENGTH).astype(np.float32)


@pytest.fixture
def step(small: SimpleNamespace) -> Callable[..., tuple[TrainState, float]]:
    """Returns a function that takes one step on a series; its shapes are those of `small`."""
    origins = small.data.split.validation_origins
    padded = np.zeros(small.data.split.validation_stop - 1, np.float32)

    def take_step(
        series: Any, state: TrainState, *, length: int = LENGTH, **changes: float
    ) -> tuple[TrainState, float]:
        padded[: len(series)] = series
        data = TrainingData(
            inputs=NetworkData(jnp.asarray(padded)[None], jnp.zeros((1, len(padded), 0)), None),
            train_length=jnp.int32(length),
            firsts=jnp.zeros(1, jnp.int32),
            origins=jnp.asarray(origins),
        )
        state, loss, _ = train_epoch(PROGRAM, data, hyperparameters(**changes), state)
        return state, float(loss)

    return take_step


def hyperparameters(**changes: float) -> Hyperparameters:
    """One step at learning rate 0.1 without dropout, unless changed."""
    values = {
        "learning_rate": np.float32(0.1),
        "dropout": np.float32(0),
        "clip_norm": np.float32(1e6),
        "label_offset": np.int32(1),
        "steps": np.int32(1),
        "seed": np.uint32(0),
        "epoch": np.int32(1),
    }
    changed = {name: values[name].dtype.type(value) for name, value in changes.items()}
    options = jax.tree.map(jnp.asarray, WindowOptions.of(TrialConfig()))
    return Hyperparameters(
        carry_state=jnp.bool_(True),
        averaging=jnp.float32(0),
        options=options,
        **{n: jnp.asarray(v) for n, v in (values | changed).items()},
    )


def first_state(cursors: list[int], recurrent: Any = None) -> TrainState:
    params = initial_params(ARCHITECTURE, 0)
    zero = jnp.zeros((BATCH, 3))
    return TrainState(
        params=params,
        optimizer_state=initial_optimizer_state("sgd_momentum", params),
        cursors=jnp.asarray(cursors, jnp.int32),
        recurrent_state=((zero, zero),) if recurrent is None else recurrent,
    )


def batch(series: Any, cursors: list[int]) -> tuple[Any, Any]:
    """Inputs and labels [U, B], read off the series one by one."""
    inputs = [[float(series[cursor + day]) for cursor in cursors] for day in range(UNROLL)]
    labels = [[float(series[cursor + day + 1]) for cursor in cursors] for day in range(UNROLL)]
    return np.array(inputs), np.array(labels)


def global_norm(arrays: list[Any]) -> float:
    return math.sqrt(sum(float((array**2).sum()) for array in arrays))


@pytest.mark.parametrize("clipped", [False, True])
def test_two_steps_agree_with_numpy(
    clipped: bool, series: Any, step: Any, oracle: SimpleNamespace
) -> None:
    # The gradient is that of the loss, by finite differences in float64; the second step
    # starts with the first one's momentum, weights, recurrent state and cursors.
    learning_rate, clip_norm = 0.1, 0.5 if clipped else 1e6
    cursors = [0, 15, 30, 45]
    state = first_state(cursors)
    stack = oracle.NumpyStack.of_params(ARCHITECTURE, state.params)
    recurrent, momentum = stack.zero_state(BATCH), [0.0 * array for array in stack.arrays]
    for number in range(2):
        state, loss = step(
            series, state, learning_rate=learning_rate, clip_norm=clip_norm, seed=number
        )
        inputs, labels = batch(series, cursors)
        value = stack.loss(recurrent, inputs, labels)
        assert loss == pytest.approx(value, rel=1e-5)
        gradients = [
            oracle.finite_differences(lambda: stack.loss(recurrent, inputs, labels), array)  # noqa: B023
            for array in stack.arrays
        ]
        norm = global_norm(gradients)
        assert (norm > clip_norm) == clipped
        _, recurrent = stack.unroll(recurrent, inputs[:, :, None])
        for array, speed, gradient in zip(stack.arrays, momentum, gradients, strict=True):
            speed *= 0.9
            speed += gradient * min(1.0, clip_norm / norm)
            array -= learning_rate * speed
        cursors = [cursor + UNROLL for cursor in cursors]

        ours = oracle.NumpyStack.of_params(ARCHITECTURE, state.params)
        for our_array, array in zip(ours.arrays, stack.arrays, strict=True):
            np.testing.assert_allclose(our_array, array, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(state.recurrent_state[0], recurrent[0], rtol=1e-3, atol=1e-5)
        assert state.cursors.tolist() == cursors


def test_a_step_with_learning_rate_zero_changes_no_weight(series: Any, step: Any) -> None:
    before = first_state([0, 15, 30, 45])
    after, _ = step(series, before, learning_rate=0)
    assert same_weights(before.params, after.params)


def test_a_jump_resets_the_state_of_that_cursor_and_of_no_other(
    series: Any, step: Any, numbers: np.random.Generator, oracle: SimpleNamespace
) -> None:
    # 60 values, unroll 5: the last place to read from is 54. Second and fourth are beyond it.
    cursors = [0, 55, 54, 58]
    h, c = np.tanh(numbers.normal(size=(2, BATCH, 3))).astype(np.float32)
    state = first_state(cursors, ((jnp.asarray(h), jnp.asarray(c)),))
    after, loss = step(series, state, learning_rate=0)
    places = [cursor - UNROLL for cursor in after.cursors.tolist()]
    assert [places[0], places[2]] == [0, 54]
    assert max(places[1], places[3]) <= 54

    stack = oracle.NumpyStack.of_params(ARCHITECTURE, state.params)
    keep = np.array([[1.0], [0.0], [1.0], [0.0]])
    recurrent = [(h * keep, c * keep)]
    inputs, labels = batch(series, places)
    _, expected = stack.unroll(recurrent, inputs[:, :, None])
    assert loss == pytest.approx(stack.loss(recurrent, inputs, labels), rel=1e-5)
    np.testing.assert_allclose(after.recurrent_state[0], expected[0], rtol=1e-4, atol=1e-5)
    # Not vacuous: each of the four states matters.
    _, carried = stack.unroll([(h, c)], inputs[:, :, None])
    _, forgotten = stack.unroll(stack.zero_state(BATCH), inputs[:, :, None])
    assert (abs(np.stack(carried[0]) - np.stack(forgotten[0])).max(axis=(0, 2)) > 1e-3).all()


def test_labels_up_to_three_days_ahead(series: Any, step: Any, oracle: SimpleNamespace) -> None:
    # 60 values, unroll 5, labels up to 3 days ahead: the last place to read from is 52.
    cursors = [0, 52, 53, 58]
    stack = oracle.NumpyStack.of_params(ARCHITECTURE, initial_params(ARCHITECTURE, 0))
    for seed in range(3):
        after, loss = step(series, first_state(cursors), learning_rate=0, label_offset=3, seed=seed)
        places = [cursor - UNROLL for cursor in after.cursors.tolist()]
        assert places[:2] == [0, 52]
        assert max(places[2:]) <= 52
        assert places[2] != 53
        inputs, _ = batch(series, places)
        features, _ = stack.unroll(stack.zero_state(BATCH), inputs[:, :, None])
        outputs = stack.next_segment(features)[:, :, 0]
        ahead = np.array(
            [
                [[series[place + day + offset] for place in places] for day in range(UNROLL)]
                for offset in (1, 2, 3)
            ]
        )
        errors = 0.5 * (outputs - ahead) ** 2 / BATCH
        assert errors.min(axis=0).sum() < loss < errors.max(axis=0).sum()
        # Not simply one offset for all.
        assert min(abs(loss - error.sum()) for error in errors) > 1e-4

    # Drawn anew for each key: nothing jumps here, so nothing else differs.
    losses = [
        step(series, first_state([0, 15, 30, 45]), learning_rate=0, label_offset=3, seed=seed)[1]
        for seed in range(3)
    ]
    assert len(set(losses)) == 3


def test_each_seed_epoch_and_step_draws_masks_of_its_own(series: Any, step: Any) -> None:
    # Six values hold one unroll: every step starts at the first, its state reset, so that two
    # steps with learning rate 0 differ in their masks alone.
    def mean_loss(dropout: float = 0.5, **changes: int) -> float:
        state = first_state([0] * BATCH)
        changes = {"learning_rate": 0, "dropout": dropout, **changes}
        return step(series, state, length=UNROLL + 1, **changes)[1]

    one = mean_loss()
    assert mean_loss() == one
    for other in (mean_loss(seed=1), mean_loss(epoch=2), 2 * mean_loss(steps=2) - one):
        assert other != pytest.approx(one, rel=1e-3)
    # Not vacuous: without dropout they are all the same.
    one = mean_loss(0)
    for changes in ({"seed": 1}, {"epoch": 2}, {"steps": 2}):
        assert mean_loss(0, **changes) == pytest.approx(one, rel=1e-5)


def same_weights(first: Any, second: Any) -> bool:
    """Whether two trees of weights are equal bit for bit."""
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def same_results(first: list[EpochResult], second: list[EpochResult]) -> bool:
    """Whether two trainings left the same, bit for bit."""
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for field in dataclasses.fields(EpochResult):
            ours, theirs = getattr(a, field.name), getattr(b, field.name)
            if field.name == "params":
                same = same_weights(ours, theirs)
            else:
                same = np.asarray(ours).tobytes() == np.asarray(theirs).tobytes()
            if not same:
                return False
    return True


def test_weights_depend_on_the_seed_alone() -> None:
    first, same, other = (initial_params(ARCHITECTURE, seed) for seed in (1, 1, 2))
    assert same_weights(first, same)
    assert not same_weights(first, other)
    # Kernel [1 + 3, 12], bias [12], head [3, 1] and its bias.
    assert parameter_count(first) == 48 + 12 + 3 + 1


@pytest.mark.parametrize("smoothing", [0.0, 0.6])
def test_two_epochs_agree_with_numpy(
    smoothing: float, small: SimpleNamespace, oracle: SimpleNamespace
) -> None:
    # From the prices on: scaling, cursors, gradients by finite differences, momentum, the
    # mean loss, what is carried to the second epoch, and the forecasts back as log growth.
    config = small.changed(
        optimizer="sgd_momentum",
        dropout=0.0,
        clip_norm=1e6,
        steps_per_epoch=3,
        epochs=2,
        smoothing=smoothing,
        seed=3,
    )
    results = list(fit(config, small.data))

    log_mid, split = np.log(small.prices.mid), small.data.split
    returns = np.diff(log_mid)
    of_training = returns[: split.train_stop - 1]
    mean, std = of_training.mean(), of_training.std()
    actual = (returns - mean) / std  # actual[i] leads to day i + 1
    scaled, average = actual.copy(), 0.0
    for day in range(len(of_training)):  # training days alone are smoothed
        average = smoothing * average + (1 - smoothing) * actual[day]
        scaled[day] = average
    segments = [number * len(of_training) // BATCH for number in range(BATCH)]
    assert segments[3] + 6 * UNROLL < len(of_training)  # so nothing jumps

    stack = oracle.NumpyStack.of_params(
        Architecture.of(config), initial_params(Architecture.of(config), config.seed)
    )
    recurrent, momentum = stack.zero_state(BATCH), [0.0 * array for array in stack.arrays]
    for result in results:
        losses = []
        for number in range(3):
            offset = ((result.epoch - 1) * 3 + number) * UNROLL
            inputs, labels = batch(scaled, [segment + offset for segment in segments])

            def value(recurrent: Any = recurrent, read: Any = (inputs, labels)) -> float:
                return stack.loss(recurrent, *read)

            losses.append(value())
            gradients = [oracle.finite_differences(value, array) for array in stack.arrays]
            _, recurrent = stack.unroll(recurrent, inputs[:, :, None])
            for array, speed, gradient in zip(stack.arrays, momentum, gradients, strict=True):
                speed *= 0.9
                speed += gradient
                array -= config.learning_rate * speed
        assert result.train_loss == pytest.approx(sum(losses) / 3, rel=1e-4)
        ours = oracle.NumpyStack.of_params(Architecture.of(config), result.params)
        for our_array, array in zip(ours.arrays, stack.arrays, strict=True):
            np.testing.assert_allclose(our_array, array, rtol=1e-3, atol=1e-4)

        growths, actuals, half_errors = [], [], []
        for origin in split.validation_origins.tolist():
            # The return of day d is scaled[d - 1]; the last one read is the origin's own.
            window = scaled[origin - UNROLL : origin, None]
            forecast = stack.forecast(window, split.horizon)[0]
            half_errors.extend((forecast - actual[origin : origin + split.horizon]) ** 2 / 2)
            growths.append([sum(forecast[: k + 1] * std + mean) for k in range(split.horizon)])
            actuals.append(
                [log_mid[origin + k + 1] - log_mid[origin] for k in range(split.horizon)]
            )
        np.testing.assert_allclose(result.forecasts[0], growths, rtol=1e-3, atol=1e-5)
        errors = (result.forecasts[0] - np.array(actuals)) ** 2
        persistence = np.array(actuals) ** 2
        assert result.half_mse == pytest.approx(np.mean(half_errors), rel=1e-3)
        assert result.persistence_mse == pytest.approx(persistence.mean(), rel=1e-12)
        assert result.relative_mse == pytest.approx(errors.mean() / persistence.mean(), rel=1e-12)


def test_forecasts_of_min_max_levels_agree_with_numpy(
    small: SimpleNamespace, oracle: SimpleNamespace
) -> None:
    config = small.changed(scaling="windowed_min_max", scaling_window=40, epochs=2)
    # One day less has as many levels as the others have returns, so nothing compiles.
    data = small.development(small.prices.head(len(small.prices) - 1))
    split, mid = data.split, data.values[0]
    assert split.train_stop == 173
    # Windows of 40 days start on 0, 40, ..., 160; the last one, of 13 days, scales what follows.
    low, high = mid[160:173].min(), mid[160:173].max()
    for result in fit(config, data):
        stack = oracle.NumpyStack.of_params(Architecture.of(config), result.params)
        for number, origin in enumerate(split.validation_origins.tolist()):
            window = (mid[origin - UNROLL + 1 : origin + 1, None] - low) / (high - low)
            levels = stack.forecast(window, split.horizon)[0]
            growth = np.log((levels * (high - low) + low) / mid[origin])
            np.testing.assert_allclose(result.forecasts[0, number], growth, rtol=1e-3, atol=1e-5)


def test_the_same_config_and_data_give_the_same_results_bit_for_bit(
    small: SimpleNamespace,
) -> None:
    first, second = (list(fit(small.config, small.data)) for _ in range(2))
    assert same_results(first, second)
    other = list(fit(small.changed(seed=1), small.data))
    assert not same_weights(first[0].params, other[0].params)
    assert (first[0].forecasts != other[0].forecasts).all()


def test_a_snapshot_goes_on_bit_for_bit(small: SimpleNamespace) -> None:
    training = fit(small.config, small.data)
    first = next(training)
    rest = list(fit(small.config, small.data, snapshot=training.snapshot()))
    assert rest
    assert same_results(list(fit(small.config, small.data)), [first, *rest])


def test_a_longer_training_begins_like_a_shorter_one(small: SimpleNamespace) -> None:
    # Also: the weights of an epoch outlive the epochs after it.
    long = list(fit(small.config, small.data))
    short = list(fit(small.changed(epochs=2), small.data))
    assert [result.epoch for result in long] == [1, 2, 3]
    assert [result.is_last for result in long] == [False, False, True]
    assert same_results(long[:1], short[:1])
    assert same_results([dataclasses.replace(long[1], is_last=True)], short[1:])
    assert not same_weights(long[0].params, long[1].params)


@pytest.mark.parametrize("criterion", ["relative_mse", "half_mse"])
def test_validation_values_alone_decide_rates_best_epoch_and_end(
    criterion: Any, small: SimpleNamespace
) -> None:
    config = small.changed(
        epochs=40, learning_rate=0.1, decay_patience=1, decay_factor=0.5, stop_patience=6, seed=7
    )  # with this seed the two criteria choose different epochs
    results = list(fit(config, small.data, criterion=criterion))
    values = [getattr(result, criterion) for result in results]
    assert config.stop_patience < len(results) < config.epochs

    rate, best, since_best, since_decay = config.learning_rate, math.inf, 0, 0
    for number, (result, value) in enumerate(zip(results, values, strict=True), start=1):
        assert since_best < config.stop_patience
        assert result.epoch == number
        assert result.learning_rate == pytest.approx(rate)
        better = value < best
        assert result.is_best == better
        best = min(best, value)
        since_best, since_decay = (0, 0) if better else (since_best + 1, since_decay + 1)
        if since_decay > config.decay_patience:
            rate, since_decay = rate / 2, 0
    assert since_best == config.stop_patience
    # The last epoch that was marked is the best of all; every rule above had its turn.
    marked = [result for result in results if result.is_best]
    assert getattr(marked[-1], criterion) == min(values)
    assert results[-1].learning_rate < config.learning_rate
    assert results[0].is_best


@pytest.mark.parametrize("metric", ["relative_mse", "mse", "mae", "mase", "smape", "half_mse"])
def test_an_epochs_value_is_the_metric_that_decides(metric: Any, small: SimpleNamespace) -> None:
    (result, *_) = fit(small.config, small.data, metric=metric)
    split, logs = small.data.split, np.log(small.data.values[0])
    origins = split.validation_origins[:, None]
    actual = logs[origins + np.arange(1, split.horizon + 1)] - logs[origins]
    errors = result.forecasts[0] - actual
    f, a = np.exp(result.forecasts[0]), np.exp(actual)
    expected = {
        "relative_mse": np.mean(errors**2) / np.mean(actual**2),
        "mse": np.mean(errors**2),
        "mae": np.mean(np.abs(errors)),
        "mase": np.mean(np.abs(errors)) / np.mean(np.abs(np.diff(logs[: split.validation_start]))),
        "smape": 200 * np.mean(np.abs(f - a) / (f + a)),
        "half_mse": result.half_mse,
    }
    assert result.value == pytest.approx(expected[metric], rel=1e-12)
    assert result.relative_mse == pytest.approx(expected["relative_mse"], rel=1e-12)


def test_an_unknown_metric_is_refused(small: SimpleNamespace) -> None:
    unknown: Any = "mad"
    said = "metric must be one of relative_mse, mse, mae, mase, smape, but got 'mad'"
    with pytest.raises(ConfigError, match=said):
        fit(small.config, small.data, metric=unknown)


def test_the_learning_rate_of_an_epoch_is_the_one_it_reports(small: SimpleNamespace) -> None:
    # A decay factor of 1e-9 stops the weights at the first decay.
    config = small.changed(
        epochs=12,
        learning_rate=0.1,
        dropout=0.0,
        decay_patience=0,
        decay_factor=1e-9,
        min_learning_rate=0.0,
        stop_patience=2,
    )
    results = list(fit(config, small.data))
    decayed = [result for result in results if result.learning_rate < config.learning_rate]
    assert decayed
    before = results[decayed[0].epoch - 2]
    moved = [
        np.abs(np.asarray(a) - np.asarray(b)).max()
        for a, b in zip(
            jax.tree.leaves(before.params), jax.tree.leaves(decayed[0].params), strict=True
        )
    ]
    assert max(moved) < 1e-6


def replaced(mid: Any, start: int, stop: int | None = None) -> Any:
    """Mid prices with other valid ones from ``start`` on."""
    other = mid.copy()
    other[start:stop] = 1.5 * random_walk(len(mid), seed=77).mid[start:stop]
    return other


def test_test_prices_change_nothing_at_all(small: SimpleNamespace) -> None:
    split = small.data.split
    other = small.series_of_mids(replaced(small.prices.mid, split.validation_stop), small.prices)
    assert other.digest != small.prices.digest
    results = list(fit(small.config, small.data))
    assert same_results(results, list(fit(small.config, small.development(other))))


def test_validation_prices_do_not_reach_the_weights_of_the_first_epoch(
    small: SimpleNamespace,
) -> None:
    split = small.data.split
    mid = replaced(small.prices.mid, split.train_stop)
    other = small.development(small.series_of_mids(mid, small.prices))
    config = small.changed(epochs=1, steps_per_epoch=80)  # cursors jump many times
    (first,), (second,) = (list(fit(config, data)) for data in (small.data, other))
    assert same_weights(first.params, second.params)
    assert first.train_loss == second.train_loss
    assert first.relative_mse != second.relative_mse
    # Not vacuous: the last training day does reach them.
    mid = replaced(small.prices.mid, split.train_stop - 1)
    (third,) = fit(config, small.development(small.series_of_mids(mid, small.prices)))
    assert not same_weights(first.params, third.params)


def test_a_forecast_reads_no_day_after_its_origin(small: SimpleNamespace) -> None:
    split = small.data.split
    origin = int(split.validation_origins[3])
    mid = replaced(small.prices.mid, origin + 1)
    other = small.development(small.series_of_mids(mid, small.prices))
    config = small.changed(epochs=1)
    (first,), (second,) = (list(fit(config, data)) for data in (small.data, other))
    np.testing.assert_array_equal(first.forecasts[:, :4], second.forecasts[:, :4])
    assert (first.forecasts[:, 4:] != second.forecasts[:, 4:]).all()


def test_a_loss_that_explodes_is_an_error_and_no_result(small: SimpleNamespace) -> None:
    config = small.changed(
        optimizer="sgd_momentum", learning_rate=10.0, clip_norm=1e30, steps_per_epoch=40
    )
    results = []
    with pytest.raises(NonFiniteLossError, match=r"training loss became (inf|nan) in epoch 1 at"):
        results.extend(fit(config, small.data))
    assert results == []
    # After some good epochs, those stay.
    config = small.changed(
        optimizer="sgd_momentum", learning_rate=10.0, clip_norm=1e30, epochs=30, stop_patience=30
    )
    with pytest.raises(NonFiniteLossError, match=r"in epoch \d+ at learning rate 10$"):
        results.extend(fit(config, small.data))
    assert results
    assert all(math.isfinite(result.relative_mse) for result in results)


def test_an_unroll_that_the_training_days_cannot_hold_is_refused(small: SimpleNamespace) -> None:
    # 174 training days have 173 returns; the furthest label needs one of them.
    for changes in ({"unroll_length": 173}, {"unroll_length": 170, "label_offset": 4}):
        with pytest.raises(DataError, match=r"need 174 scaled training values, .* are 173$"):
            next(fit(small.changed(**changes), small.data))
