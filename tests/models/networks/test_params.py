"""Padding: a padded network is the network, weight for weight and number for number."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretune.models.config import CellName, TrialConfig
from foretune.models.networks.params import initial_params, resize_params
from foretune.models.networks.stacked import Architecture
from foretune.models.runtime.compile import compile_count
from foretune.models.training.epoch import train_epoch
from foretune.models.training.loop import TrainingRun, fit

CELLS: list[CellName] = ["lstm", "peephole_lstm", "gru"]
widths = st.lists(st.integers(1, 7), min_size=1, max_size=3)
shapes = st.sampled_from(
    (
        {},
        {"segment_length": 3, "columns": 4, "known": 2},
        {"steps": 5, "head_units": 3},
        {"segment_length": 2, "columns": 3, "known": 1, "steps": 4, "head_units": 2},
    )
)


@settings(max_examples=30)
@given(st.sampled_from(CELLS), widths, st.integers(0, 3), st.integers(0, 9), shapes)
def test_padding_moves_every_weight_and_cropping_brings_it_back(
    cell: CellName, units: list[int], more: int, seed: int, shape: dict[str, int]
) -> None:
    narrow = Architecture(cell, tuple(units), **shape)
    wide = Architecture(cell, tuple(unit + more for unit in units), **shape)
    # Numbered weights: none is zero and no two are equal.
    params, last = initial_params(narrow, seed), 0
    leaves, structure = jax.tree.flatten(params)
    numbered = []
    for leaf in leaves:
        numbered.append(np.arange(last + 1, last + 1 + leaf.size, dtype=np.float32))
        numbered[-1] = numbered[-1].reshape(leaf.shape)
        last += leaf.size
    params = jax.tree.unflatten(structure, numbered)
    padded = resize_params(params, narrow, wide)
    shapes_of_wide = [leaf.shape for leaf in jax.tree.leaves(initial_params(wide, seed))]
    assert [leaf.shape for leaf in jax.tree.leaves(padded)] == shapes_of_wide
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(padded)])
    assert sorted(values[values != 0].tolist()) == list(range(1, last + 1))
    back = resize_params(padded, wide, narrow)
    for ours, expected in zip(jax.tree.leaves(back), numbered, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_units_are_rounded_up() -> None:
    config = TrialConfig(units=(20, 32, 33), pad_units_to=16)
    assert Architecture.of(config).padded(config).units == (32, 32, 48)
    plain = TrialConfig(units=(20, 5))
    assert Architecture.of(plain).padded(plain).units == (20, 5)


@pytest.mark.parametrize(
    ("cell", "optimizer"),
    [("lstm", "adam"), ("peephole_lstm", "adamw"), ("gru", "rmsprop"), ("gru", "sgd_momentum")],
)
def test_a_padded_network_trains_to_the_same_numbers(
    cell: CellName, optimizer: Any, small: SimpleNamespace
) -> None:
    # Clipping at a norm that bites: padding must not change the global norm.
    for dropout in (0.0, 0.4):
        config = small.changed(
            cell=cell, optimizer=optimizer, units=(3, 2), dropout=dropout, clip_norm=0.05
        )
        plain = list(fit(config, small.data))
        padded = list(fit(config.replace(pad_units_to=4), small.data))
        for ours, expected in zip(padded, plain, strict=True):
            assert ours.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
            np.testing.assert_allclose(ours.forecasts, expected.forecasts, rtol=1e-4, atol=1e-6)
            pairs = zip(jax.tree.leaves(ours.params), jax.tree.leaves(expected.params), strict=True)
            for our_leaf, leaf in pairs:
                assert our_leaf.shape == leaf.shape
                np.testing.assert_allclose(our_leaf, leaf, rtol=1e-3, atol=1e-5)


def test_padded_weights_stay_exactly_zero(small: SimpleNamespace) -> None:
    config = small.changed(units=(3, 2), pad_units_to=4, dropout=0.4, optimizer="adamw")
    run = TrainingRun(config, small.data)
    state = run.first_state()
    ones = jax.tree.map(np.ones_like, initial_params(Architecture.of(config), 0))
    places = resize_params(ones, Architecture.of(config), run.program.architecture)
    for _ in range(2):
        for leaf, place in zip(jax.tree.leaves(state.params), jax.tree.leaves(places), strict=True):
            assert not np.asarray(leaf)[np.asarray(place) == 0].any()
        state, *_ = train_epoch(run.program, run.data, run.hyperparameters(), state)


def test_widths_of_one_bucket_share_a_program(small: SimpleNamespace) -> None:
    def trained(*units: int) -> int:
        before = compile_count()
        list(fit(small.changed(units=units, pad_units_to=5, epochs=1), small.data))
        return compile_count() - before

    assert trained(5, 4) == 1
    assert [trained(4, 5), trained(1, 1), trained(3, 2)] == [0, 0, 0]
    assert trained(6, 1) == 1


def test_both_scalings_share_a_program(small: SimpleNamespace) -> None:
    config = small.changed(units=(4,), epochs=1, scaling_window=100)
    list(fit(config, small.data))
    before = compile_count()
    list(fit(config.replace(scaling="windowed_min_max"), small.data))
    assert compile_count() == before
