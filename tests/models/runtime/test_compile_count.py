"""Compilations: counted, and none for anything that a search changes besides shapes."""

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from foretune.models.runtime.compile import compile_count
from foretune.models.training.loop import fit

# A shape that no other test uses: what is compiled here was not compiled before.
FRESH = {"cell": "gru", "units": (2,), "batch_size": 3}


@pytest.fixture
def compiled(caplog: pytest.LogCaptureFixture) -> Callable[[Callable[[], Any]], list[str]]:
    """Returns what JAX says that it compiled while something ran; checks `compile_count`."""

    def names(run: Callable[[], Any]) -> list[str]:
        caplog.clear()
        before = compile_count()
        with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
            run()
        start = "Finished XLA compilation of "
        logged = [
            record.getMessage().removeprefix(start).split(" in ")[0]
            for record in caplog.records
            if record.getMessage().startswith(start)
        ]
        assert compile_count() - before == len(logged)
        return logged

    return names


def test_compilations_are_counted(compiled: Any) -> None:
    def fresh(x: jax.Array) -> jax.Array:
        return 3 * x + 1

    function, short, long = jax.jit(fresh), jnp.ones(3), jnp.ones(4)
    assert compiled(lambda: function(short)) == ["jit(fresh)"]
    assert compiled(lambda: function(2 * short)) in ([], ["jit(multiply)"])
    assert compiled(lambda: function(short)) == []
    assert compiled(lambda: function(long)) == ["jit(fresh)"]


def test_a_new_shape_compiles_one_program_and_new_numbers_compile_none(
    compiled: Any, small: SimpleNamespace
) -> None:
    def trained(**changes: Any) -> list[str]:
        config = small.changed(**FRESH | changes)
        return compiled(lambda: list(fit(config, small.data)))

    assert trained() == ["jit(one_epoch)"]
    for changes in (
        {},
        {"learning_rate": 0.5},
        {"dropout": 0.0},
        {"dropout": 0.7},
        {"clip_norm": 0.01},
        {"steps_per_epoch": 7},
        {"epochs": 5},
        {"label_offset": 3},
        {"smoothing": 0.9},
        {"seed": 2**32 - 1},
        {"decay_factor": 0.1, "decay_patience": 0, "min_learning_rate": 0.1},
        {"stop_patience": 1},
    ):
        assert trained(**changes) == [], changes


def test_other_prices_of_the_same_length_compile_nothing(
    compiled: Any, small: SimpleNamespace
) -> None:
    config = small.changed(epochs=1)
    list(fit(config, small.data))
    other = small.development(small.series_of_mids(2 * small.prices.mid, small.prices))
    assert compiled(lambda: list(fit(config, other))) == []
