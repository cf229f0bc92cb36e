"""A task trains onward from wherever it is told to, whatever its process still holds."""

import pickle
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from foretune.datasets import PriceSeries
from foretune.datasets.splits import DevelopmentData, chronological_split, development_folds
from foretune.models import TrialConfig, fit
from foretune.models.networks.params import parameter_count
from foretune.models.training import lanes, tasks
from foretune.models.training.folds import FoldsTraining
from foretune.models.training.tasks import (
    Budget,
    DataRef,
    Missing,
    Progress,
    TaskState,
    advance,
)

CONFIG = TrialConfig(
    units=(4,), unroll_length=8, batch_size=8, epochs=5, steps_per_epoch=5, dropout=0.2
)
BESIDE_A_RIDGE = CONFIG.replace(
    head="direct", skip="linear", head_units=4, window_scaling="last", segment_length=2
)
CONFIGS = pytest.mark.parametrize("config", [CONFIG, BESIDE_A_RIDGE], ids=["plain", "skip"])
LONG = 1e9


def progress(answer: tasks.Answer) -> Progress:
    assert not isinstance(answer, Missing)
    return answer[0]


def forget() -> None:
    """Be another process, as far as tasks can tell."""
    tasks._trainings.clear()
    tasks._data.clear()
    lanes._held = None


@pytest.fixture
def data(tiny_data: DevelopmentData) -> DataRef:
    forget()
    return DataRef.of([tiny_data])


@CONFIGS
@pytest.mark.parametrize("elsewhere", [False, True])
def test_tasks_of_one_epoch_are_the_training(
    elsewhere: bool, config: TrialConfig, data: DataRef, tiny_data: DevelopmentData
) -> None:
    """In one process by tokens, and in a new one each time from pickled snapshots: every bit."""
    expected = list(fit(config, tiny_data))
    state = TaskState(config=config)
    found = []
    while True:
        if elsewhere:
            forget()
            state = pickle.loads(pickle.dumps(state))
        sent = state if elsewhere else state.by_token()
        made = progress(advance((sent,), data, Budget(seconds=LONG, epochs=1)))
        found += made.epochs
        assert made.state is not None
        state = made.state
        if found[-1].is_last:
            break
    assert len(found) == len(expected)
    for results, result in zip(found, expected, strict=True):
        (sent_result,) = results.folds
        assert sent_result.without_arrays() == result.without_arrays()
        if result.is_best:
            np.testing.assert_array_equal(sent_result.forecasts, result.forecasts)
        else:
            assert sent_result.forecasts.size == 0


@pytest.mark.parametrize("shared_epoch", [True, False])
def test_folds_go_on_where_they_were(shared_epoch: bool, walk: PriceSeries) -> None:
    forget()
    folds = development_folds(
        walk.series("mid"), chronological_split(len(walk), horizon=5, history=8), 2
    )
    data = DataRef.of(folds)
    expected = list(FoldsTraining(CONFIG, folds, shared_epoch=shared_epoch))
    state = TaskState(config=CONFIG, shared_epoch=shared_epoch)
    found: list[Any] = []
    while not (found and found[-1].is_last):
        forget()
        made = progress(advance((state,), data, Budget(seconds=LONG, epochs=3)))
        found += made.epochs
        assert made.state is not None
        state = made.state
    assert [r.relative_mse for r in found] == [r.relative_mse for r in expected]
    assert [r.is_last for r in found] == [r.is_last for r in expected]
    for results, then in zip(found, expected, strict=True):
        for result, whole in zip(results.folds, then.folds, strict=True):
            assert result.without_arrays() == whole.without_arrays()
            if result.is_best:
                np.testing.assert_array_equal(result.forecasts, whole.forecasts)


def test_what_a_worker_lacks_it_says(data: DataRef) -> None:
    by_digest = replace(data, folds=None)
    state = TaskState(config=CONFIG)
    budget = Budget(seconds=LONG, epochs=1)
    assert isinstance(advance((state,), by_digest, budget), Missing)
    first = progress(advance((state,), data, budget))
    assert first.state is not None
    second = progress(advance((first.state.by_token(),), by_digest, budget))
    assert second.epochs[0].epoch == 2
    # A token is good for once: the state that it named has gone on.
    assert isinstance(advance((first.state.by_token(),), by_digest, budget), Missing)
    again = progress(advance((first.state,), by_digest, budget))
    assert again.epochs[0].relative_mse == second.epochs[0].relative_mse


def test_a_budget_ends_a_task_after_one_epoch_at_least(data: DataRef) -> None:
    made = progress(advance((TaskState(config=CONFIG),), data, Budget(seconds=0)))
    assert len(made.epochs) == 1
    assert 0 < made.longest_epoch <= made.seconds


def test_a_loss_that_is_not_finite_is_told(data: DataRef) -> None:
    config = CONFIG.model_copy(
        update={"learning_rate": 10.0, "optimizer": "sgd_momentum", "clip_norm": 1e30, "epochs": 60}
    )
    made = progress(advance((TaskState(config=config),), data, Budget(seconds=LONG)))
    assert made.error is not None
    assert "became" in made.error
    assert made.state is None


def test_the_digest_tells_data_apart(walk: PriceSeries, tiny_data: DevelopmentData) -> None:
    split = chronological_split(len(walk), horizon=5, history=8)
    same = DataRef.of(development_folds(walk.series("mid"), split, 1))
    assert DataRef.of([tiny_data]).digest == same.digest
    mid = tiny_data.values.copy()
    mid[0, -1] = np.nextafter(mid[0, -1], np.inf)
    for other in (
        replace(tiny_data, values=mid),
        replace(tiny_data, split=replace(tiny_data.split, stride=2)),
        replace(tiny_data, capacity=tiny_data.capacity + 1),
        *(
            replace(
                tiny_data, covariates=replace(tiny_data.covariates, **{group: np.ones((1, 1, 1))})
            )
            for group in ("past", "future", "calendar")
        ),
        replace(tiny_data, covariates=replace(tiny_data.covariates, static=np.ones((1, 1)))),
    ):
        assert DataRef.of([other]).digest != same.digest


@CONFIGS
def test_lanes_go_on_here_and_elsewhere(
    config: TrialConfig, data: DataRef, tiny_data: DevelopmentData
) -> None:
    padded = config.model_copy(update={"pad_units_to": 4})
    configs = [
        padded.model_copy(update={"learning_rate": rate, "units": (units,)})
        for rate, units in ((1e-3, 3), (1e-2, 4))
    ]
    expected = [list(fit(config, tiny_data)) for config in configs]
    states = [TaskState(config=config) for config in configs]
    budget = Budget(seconds=LONG, epochs=2, lanes=3)
    found: list[list[float]] = [[], []]
    for turn in range(3):
        if turn == 1:
            work = tuple(state.by_token() for state in states)
        else:  # a new process, and the lanes the other way round
            forget()
            work = tuple(states[::-1])
        answer = advance(work, data, budget)
        assert not isinstance(answer, Missing)
        ordered = answer if turn == 1 else answer[::-1]
        for lane, made in enumerate(ordered):
            found[lane] += [results.relative_mse for results in made.epochs]
            assert made.parameters == parameter_count(expected[lane][0].params)
            if made.state is not None:
                states[lane] = made.state
    for values, results in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, [r.relative_mse for r in results], rtol=1e-5)
    forget()
    missing = advance(tuple(state.by_token() for state in states), data, budget)
    assert isinstance(missing, Missing)


def test_lanes_of_one_shape(data: DataRef) -> None:
    same = CONFIG.model_copy(update={"learning_rate": 0.5, "dropout": 0.4, "seed": 3})
    assert tasks.lane_shape(same) == tasks.lane_shape(CONFIG)
    for change in ({"units": (5,)}, {"unroll_length": 9}, {"optimizer": "adamw"}, {"cell": "gru"}):
        other = CONFIG.model_copy(update=change)
        assert tasks.lane_shape(other) != tasks.lane_shape(CONFIG)
    direct = {"head": "direct"}
    for before, change in (
        ({}, {"segment_length": 2}),
        ({}, {"warm_up": 16}),
        ({}, {"skip": "linear"}),
        ({}, {"loss": "huber"}),
        ({}, {"averaging": 0.9}),
        ({}, direct),
        (direct, {"head_units": 7}),
        *(({}, {f"{group}_covariates": True}) for group in ("past", "future", "static")),
        ({}, {"calendar_features": True}),
    ):
        one, other = CONFIG.replace(**before), CONFIG.replace(**before | change)
        assert tasks.lane_shape(other) != tasks.lane_shape(one)
    for before, change in (
        (direct, {"window_scaling": "step"}),
        ({}, {"carry_state": False}),
        (direct, {"skip": "linear"}),
        ({}, {"warm_up": CONFIG.unroll_length}),  # what 0 means
    ):
        one, other = CONFIG.replace(**before), CONFIG.replace(**before | change)
        assert tasks.lane_shape(other) == tasks.lane_shape(one)
    padded = CONFIG.model_copy(update={"units": (5,), "pad_units_to": 8})
    wide = CONFIG.model_copy(update={"units": (8,), "pad_units_to": 8})
    assert tasks.lane_shape(padded) == tasks.lane_shape(wide)


def test_a_state_travels_without_jax(data: DataRef) -> None:
    made = progress(advance((TaskState(config=CONFIG),), data, Budget(seconds=0)))
    assert made.state is not None
    leaves = jax.tree.leaves([at.snapshot.arrays for at in made.state.folds or ()])
    assert all(type(leaf) is np.ndarray for leaf in leaves)
