"""Labels some days ahead, drawn anew each time: what training makes of them."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from foretune.datasets.sources.samples import random_walk
from foretune.models.training.loop import fit
from foretune.models.training.results import EpochResult


def weights(result: EpochResult) -> Any:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(result.params)])


def test_training_with_labels_up_to_three_days_ahead(small: SimpleNamespace) -> None:
    config = small.changed(label_offset=3, dropout=0.0, epochs=6, steps_per_epoch=40)
    results = list(fit(config, small.data))
    assert results[-1].train_loss < results[0].train_loss
    assert np.isfinite([result.relative_mse for result in results]).all()
    again = list(fit(config, small.data))
    assert [result.train_loss for result in again] == [result.train_loss for result in results]
    # Not vacuous: in three steps no cursor jumps, and labels of one day are other labels.
    assert 3 * config.unroll_length + 3 < (small.data.split.train_stop - 1) // config.batch_size
    brief = {"dropout": 0.0, "epochs": 1, "steps_per_epoch": 3}
    (ahead,), (next_day,) = (
        fit(small.changed(**brief, label_offset=most), small.data) for most in (3, 1)
    )
    assert ahead.train_loss != pytest.approx(next_day.train_loss, rel=1e-3)


def test_no_label_comes_from_the_validation_days(small: SimpleNamespace) -> None:
    config = small.changed(label_offset=3, epochs=1, steps_per_epoch=80)  # many jumps
    split, mid = small.data.split, small.prices.mid

    def trained(first_changed: int) -> Any:
        other = mid.copy()
        other[first_changed:] = 1.5 * random_walk(len(mid), seed=77).mid[first_changed:]
        (result,) = fit(config, small.development(small.series_of_mids(other, small.prices)))
        return weights(result)

    (untouched,) = fit(config, small.data)
    np.testing.assert_array_equal(trained(split.train_stop), weights(untouched))
    # Not vacuous: the last training day is a label.
    assert (trained(split.train_stop - 1) != weights(untouched)).any()
