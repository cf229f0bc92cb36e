"""Lanes: each is what its run would have been alone."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from foretune.models.forecasts.metrics import validation_growth
from foretune.models.runtime.compile import compile_count
from foretune.models.training.lanes import Lanes
from foretune.models.training.loop import fit
from foretune.models.training.results import EpochResult, FoldResults, NonFiniteLossError
from foretune.models.training.tasks import TaskState

DIFFERENT = (
    {"learning_rate": 0.01, "dropout": 0.0, "seed": 1},
    {"learning_rate": 0.1, "dropout": 0.4, "seed": 2, "decay_patience": 0, "stop_patience": 1},
    {"learning_rate": 0.001, "dropout": 0.2, "seed": 3, "epochs": 2, "units": (2,)},
    {"learning_rate": 0.03, "dropout": 0.1, "seed": 4, "label_offset": 3, "smoothing": 0.9},
)


def configs(small: SimpleNamespace, **changes: Any) -> list[Any]:
    common = {"units": (3,), "pad_units_to": 4, "epochs": 4, **changes}
    return [small.changed(**common | different) for different in DIFFERENT]


def start(chosen: list[Any], small: SimpleNamespace, spare: int = 0) -> Lanes:
    work = [TaskState(config=config) for config in chosen]
    return Lanes(work, small.data, len(work) + spare)


def same(ours: EpochResult, alone: EpochResult) -> None:
    """To float tolerance: XLA sums batched products in another order."""
    assert (ours.epoch, ours.is_best, ours.is_last) == (alone.epoch, alone.is_best, alone.is_last)
    assert ours.learning_rate == alone.learning_rate
    assert ours.train_loss == pytest.approx(alone.train_loss, rel=1e-5)
    assert ours.relative_mse == pytest.approx(alone.relative_mse, rel=1e-4)
    np.testing.assert_allclose(ours.forecasts, alone.forecasts, rtol=1e-3, atol=1e-6)
    for leaf, expected in zip(
        jax.tree.leaves(ours.params), jax.tree.leaves(alone.params), strict=True
    ):
        assert leaf.shape == expected.shape
        np.testing.assert_allclose(leaf, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "peephole_lstm", "gru"])
def test_four_lanes_are_four_runs(cell: Any, small: SimpleNamespace) -> None:
    chosen = configs(small, cell=cell)
    lanes = start(chosen, small, spare=1)
    alone = [list(fit(config, small.data)) for config in chosen]
    # Not vacuous: they end at different epochs.
    assert len({len(results) for results in alone}) > 1
    for epoch in range(4):
        live = [lane for lane, results in enumerate(alone) if epoch < len(results)]
        for lane, outcome in zip(live, lanes.epoch(live), strict=True):
            assert isinstance(outcome, FoldResults)
            same(*outcome.folds, alone[lane][epoch])


def test_a_refilled_lane_starts_anew_and_disturbs_nobody(small: SimpleNamespace) -> None:
    first, second, third, _ = configs(small)
    lanes = start([first, second], small)
    lanes.epoch([0, 1])
    before = compile_count()
    lanes.refill(1, TaskState(config=third, metric="mae"), small.data)
    outcomes = lanes.epoch([0, 1])
    assert compile_count() == before
    *_, expected = (r for r in fit(first, small.data) if r.epoch <= 2)
    assert isinstance(outcomes[0], FoldResults)
    same(*outcomes[0].folds, expected)
    assert isinstance(outcomes[1], FoldResults)
    same(*outcomes[1].folds, next(fit(third, small.data)))
    errors = outcomes[1].folds[0].forecasts - validation_growth(small.data)
    assert outcomes[1].value == np.abs(errors).mean()
    assert outcomes[0].value == outcomes[0].relative_mse


def test_a_lane_that_blows_up_ends_alone(small: SimpleNamespace) -> None:
    sound, wild = small.changed(), small.changed(learning_rate=10.0, clip_norm=1e30, seed=5)
    wild = wild.replace(optimizer="sgd_momentum", steps_per_epoch=40, scaling="log_returns")
    sound = sound.replace(optimizer="sgd_momentum", steps_per_epoch=40)
    lanes = start([wild, sound], small)
    seen = [lanes.epoch([0, 1] if epoch == 0 else [1]) for epoch in range(3)]
    assert isinstance(seen[0][0], NonFiniteLossError)
    for (*_, outcome), expected in zip(seen, fit(sound, small.data), strict=False):
        assert isinstance(outcome, FoldResults)
        same(*outcome.folds, expected)


def test_configs_of_another_shape_are_refused(small: SimpleNamespace) -> None:
    config, other = (small.changed(units=(units,)) for units in (3, 4))
    with pytest.raises(ValueError, match="must be of shape"):
        start([config, other], small)
    with pytest.raises(ValueError, match="must be of shape"):
        start([config], small).refill(0, TaskState(config=other), small.data)
