"""The compile cache, in processes of their own: JAX reads its settings once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import jax, logging
from foretune.models.runtime.compile import use_compile_cache
from foretune.models.runtime.compile import cache_hits, compile_count
print(use_compile_cache(on={on}))
jax.jit(lambda x: 3 * x + 1)(1.0)
print(cache_hits(), compile_count())
"""


def run(on: bool = True, **environment: str) -> list[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "FORETUNE_"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(on=on)],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split("\n")


def test_a_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    first, second = (run(FORETUNE_CACHE_DIR=str(tmp_path / "kept")) for _ in range(2))
    folder = Path(first[0])
    assert folder.parent == tmp_path / "kept"
    assert folder.name.startswith("jax-")
    assert folder.stat().st_mode & 0o077 == 0
    assert first[1].split()[0] == "0"
    hits, compiled = second[1].split()
    assert int(hits) == int(compiled) >= 1


def test_the_users_cache_folder_is_the_default(tmp_path: Path) -> None:
    assert Path(run(XDG_CACHE_HOME=str(tmp_path))[0]).parent == tmp_path / "foretune"
    assert Path(run(HOME=str(tmp_path))[0]).parent == tmp_path / ".cache/foretune"


def test_it_can_be_left_off(tmp_path: Path) -> None:
    assert run(on=False, FORETUNE_CACHE_DIR=str(tmp_path / "kept"))[0] == "None"
    assert not (tmp_path / "kept").exists()


def test_a_cache_that_jax_has_is_left_alone(tmp_path: Path) -> None:
    other = str(tmp_path / "other")
    assert run(JAX_COMPILATION_CACHE_DIR=other)[0] == other


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    folder = Path(run(FORETUNE_CACHE_DIR=str(tmp_path))[0])
    folder.chmod(mode)
    assert run(FORETUNE_CACHE_DIR=str(tmp_path))[0] == "None"


def test_a_folder_that_cannot_be_made_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run(FORETUNE_CACHE_DIR=str(tmp_path / "file"))[0] == "None"
