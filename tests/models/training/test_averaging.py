"""Weights that forecast as a moving average over the steps."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from foretune.models.networks.params import initial_params
from foretune.models.networks.stacked import Architecture
from foretune.models.training.loop import fit


def test_the_average_is_that_of_the_weights_after_each_step(small: SimpleNamespace) -> None:
    """With a step an epoch every step's weights are seen; training goes on from the last ones."""
    past = 0.7
    config = small.changed(steps_per_epoch=1, epochs=4)
    plain = list(fit(config, small.data))
    averaged = list(fit(config.replace(averaging=past), small.data))
    average = jax.tree.leaves(initial_params(Architecture.of(config), config.seed))
    for ours, without in zip(averaged, plain, strict=True):
        assert ours.train_loss == pytest.approx(without.train_loss, rel=1e-6)
        weights = jax.tree.leaves(without.params)
        average = [past * a + (1 - past) * w for a, w in zip(average, weights, strict=True)]
        for leaf, expected in zip(jax.tree.leaves(ours.params), average, strict=True):
            np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-6)
        assert (ours.forecasts != without.forecasts).any()


def test_it_goes_on_from_a_snapshot_bit_for_bit(small: SimpleNamespace) -> None:
    config = small.changed(averaging=0.9)
    training = fit(config, small.data)
    next(training)
    rest = list(fit(config, small.data, snapshot=training.snapshot()))
    for ours, expected in zip(rest, list(training), strict=True):
        assert ours.forecasts.tobytes() == expected.forecasts.tobytes()
        pairs = zip(jax.tree.leaves(ours.params), jax.tree.leaves(expected.params), strict=True)
        assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)
