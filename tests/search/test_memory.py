"""A worker that has grown enough makes room for a new process, which goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

from foretune.datasets import PriceSeries
from foretune.search import IntRange, SearchSpace, load_study, run_study
from foretune.search.join import join_study
from foretune.search.memory import Growth, WorkerGrownError, resident_bytes
from foretune.search.tickets import finished_trials


def test_growth_is_since_the_first_look() -> None:
    growth = Growth(50 * 2**20)
    assert not growth.is_enough()
    held = bytearray(b"x" * (100 * 2**20))
    assert growth.is_enough()
    assert not Growth(50 * 2**20).is_enough()
    before = resident_bytes()
    del held
    assert resident_bytes() < before


@pytest.mark.parametrize(("lanes", "begun"), [(1, 1), (2, 4)])
def test_it_ends_between_two_trials(
    lanes: int, begun: int, tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    """With lanes, when those that were asked for have ended."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    study = run_study("s", walk, n_trials=9, space=tiny_space, horizon=5, storage=url, workers=0)
    with pytest.raises(WorkerGrownError):
        join_study("s", url, lanes=lanes, most_growth=-1, show_progress_bar=False)
    assert 1 <= finished_trials(study) == len(study.get_trials()) <= begun


@pytest.mark.slow
def test_many_shapes_in_bounded_memory(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    """Two workers, a new process in the place of each that has grown by 16 MiB."""
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    space = tiny_space.fix(
        units=IntRange(low=1, high=60), unroll_length=(6, 8, 10), epochs=1, pad_units_to=1
    )
    run_study("s", walk, n_trials=120, space=space, horizon=5, storage=url, workers=0)
    join_study("s", url, workers=2, most_growth=16 * 2**20, show_progress_bar=False)
    study = load_study("s", url)
    trials = study.get_trials()
    assert finished_trials(study) == len(trials) == 120
    shapes = {(t.params["units_1"], t.params["unroll_length"]) for t in trials}
    assert len(shapes) > 30
    assert len({t.user_attrs["worker"] for t in trials}) > 2


# The command, with a process that is large enough sooner; it starts itself again with these words.
GROWS = """
import foretune.search.memory
foretune.search.memory.DEFAULT_GROWTH = 8 * 2**20
from foretune.search.entry import main
print("started", flush=True)
main()
"""


@pytest.mark.slow
def test_the_command_goes_on_as_a_new_process(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    space = tiny_space.fix(units=IntRange(low=1, high=60), epochs=1, pad_units_to=1)
    run_study("s", walk, n_trials=10, space=space, horizon=5, storage=url, workers=0)
    command = [sys.executable, "-c", GROWS, "worker", "--study", "s", "--storage", url]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("started") > 1
    assert "study s has 10 of 10 trials" in done.stdout
    trials = load_study("s", url).trials
    assert finished_trials(load_study("s", url)) == len(trials) == 10
