"""jit with options: they are passed, and a JAX that does not know one still compiles."""

import jax
import jax.numpy as jnp
import pytest
from jax.errors import JaxRuntimeError

from foretune.models.runtime import compile as module
from foretune.models.runtime.compile import (
    compile_count,
    compiler_options,
    evict_compiled_programs,
    jit_for_backend,
)


def double(x: jax.Array, times: int) -> jax.Array:
    return x * 2**times


def test_results_and_static_arguments_are_those_of_jit() -> None:
    call = jit_for_backend(static_argnames="times")(double)
    assert call(jnp.float32(3), times=2) == 12
    before = compile_count()
    assert call(jnp.float32(4), times=2) == 16
    assert compile_count() == before


def test_every_option_is_known_to_this_jax() -> None:
    assert compiler_options()
    jax.jit(lambda x: x + 1, compiler_options=compiler_options())(1.0)


def test_an_unknown_option_is_left_out_and_only_tried_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def options() -> dict[str, bool | int | str]:
        asked.append(1)
        return {"xla_no_such_option": True}

    with pytest.raises(JaxRuntimeError):
        jax.jit(double, static_argnums=1, compiler_options=options())(1.0, 1)
    monkeypatch.setattr(module, "compiler_options", options)
    call = jit_for_backend(static_argnames="times")(double)
    asked.clear()
    assert [float(call(jnp.float32(1), times=n)) for n in (1, 2)] == [2, 4]
    assert len(asked) == 1


def test_other_errors_are_raised() -> None:
    @jit_for_backend(static_argnames=())
    def wrong(x: jax.Array) -> jax.Array:
        raise JaxRuntimeError("out of memory")

    with pytest.raises(JaxRuntimeError, match="out of memory"):
        wrong(jnp.float32(1))


def test_many_programs_are_forgotten_few_are_kept_and_the_users_are_not_touched() -> None:
    call, users = jit_for_backend(static_argnames="times")(double), jax.jit(lambda x: x + 7)
    one = jnp.float32(1)

    def compiled() -> int:
        before = compile_count()
        for times in (3, 4, 5):
            call(one, times=times)
        users(one)
        return compile_count() - before

    assert compiled() == 4
    evict_compiled_programs(most=1000)
    assert compiled() == 0
    evict_compiled_programs(most=2)
    assert compiled() == 3
