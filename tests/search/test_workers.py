"""Workers: real processes on a real database."""

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets import PriceSeries
from foretune.datasets.errors import ConfigError
from foretune.models.compilation import forget_many_programs
from foretune.models.lanes import Lanes
from foretune.search import FloatRange, SearchSpace, best_config, load_study, run_study
from foretune.search.study import default_lanes
from foretune.search.tickets import finished_trials
from foretune.search.workers import default_workers


def launch(path: Path, prices: PriceSeries, space: SearchSpace, **kwargs: Any) -> optuna.Study:
    kwargs.setdefault("workers", 2)
    return run_study(
        "s",
        prices,
        space=space,
        storage=f"sqlite:///{path / 'studies.db'}",
        horizon=5,
        show_progress_bar=False,
        **kwargs,
    )


def in_this_process(prices: PriceSeries, space: SearchSpace, **kwargs: Any) -> optuna.Study:
    """The same study without workers and lanes."""
    storage = optuna.storages.InMemoryStorage()
    return run_study(
        "s", prices, space=space, storage=storage, horizon=5, show_progress_bar=False, **kwargs
    )


def test_two_workers_end_with_exactly_n_trials_and_repeat_none(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    # Trials long enough that the second process has started before the first has run them all.
    space = tiny_space.fix(epochs=60, stop_patience=60)
    study = launch(tmp_path, walk, space, n_trials=12, pruner=optuna.pruners.NopPruner())
    assert [t.number for t in study.trials] == list(range(12))
    assert all(t.state.is_finished() for t in study.trials)
    assert len({tuple(t.params.values()) for t in study.trials}) == 12
    # Both worked: some trials ran at the same time.
    spans = sorted((t.datetime_start, t.datetime_complete) for t in study.trials)
    assert any(later[0] < earlier[1] for earlier, later in itertools.pairwise(spans))
    # Extended by three, it ends with three more; asked again, with none.
    assert len(launch(tmp_path, walk, space, n_trials=15).trials) == 15
    assert len(launch(tmp_path, walk, space, n_trials=15).trials) == 15


def test_a_worker_trains_what_this_process_would(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    """Before TPE starts to learn, draws depend on seed and number alone: so do values."""
    pruner = optuna.pruners.NopPruner()
    with_workers = launch(tmp_path, walk, tiny_space, n_trials=6, pruner=pruner)
    alone = in_this_process(walk, tiny_space, n_trials=6, pruner=pruner)
    for ours, expected in zip(with_workers.trials, alone.trials, strict=True):
        assert ours.params == expected.params
        # To the last bit: a worker has one thread, this process as many as cores.
        assert ours.intermediate_values == expected.intermediate_values


def test_a_mistake_in_a_worker_is_the_launchers(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    class Broken(optuna.samplers.RandomSampler):
        def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            if trial.number == 2:
                raise ConfigError("parameter must be right, but got it wrong")

    with pytest.raises(ConfigError, match="must be right"):
        launch(tmp_path, walk, tiny_space, n_trials=6, sampler=Broken(seed=0))
    study = load_study("s", f"sqlite:///{tmp_path / 'studies.db'}")
    assert study.trials[2].state == TrialState.FAIL
    assert all(t.state != TrialState.RUNNING for t in study.trials)


@pytest.mark.parametrize("make", [optuna.samplers.RandomSampler, optuna.samplers.TPESampler])
def test_a_users_seeded_sampler_does_not_repeat_itself_in_every_worker(
    make: Any, tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    study = launch(tmp_path, walk, tiny_space, n_trials=10, sampler=make(seed=0))
    study = launch(tmp_path, walk, tiny_space, n_trials=14, sampler=make(seed=0))
    assert len({t.params["learning_rate"] for t in study.trials}) == 14


def test_a_workers_failure_comes_with_its_traceback(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    class Broken(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            raise ZeroDivisionError("divided")

    with pytest.raises(RuntimeError, match=r"(?s)a worker failed.*prune.*ZeroDivisionError"):
        launch(tmp_path, walk, tiny_space, n_trials=4, pruner=Broken())
    study = load_study("s", f"sqlite:///{tmp_path / 'studies.db'}")
    failed = [t for t in study.trials if t.state == TrialState.FAIL]
    assert failed
    assert failed[0].user_attrs["error"] == "ZeroDivisionError: divided"


def test_an_exhausted_grid_ends_the_study(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    grid = optuna.samplers.GridSampler({"learning_rate": [0.01, 0.02, 0.03], "dropout": [0.2]})
    study = launch(tmp_path, walk, tiny_space, n_trials=9, sampler=grid)
    done = [t.params["learning_rate"] for t in study.trials if t.state == TrialState.COMPLETE]
    assert set(done) == {0.01, 0.02, 0.03}
    assert len(done) < 9


@pytest.mark.parametrize("workers", [-1, 1.5, True, "2"])
def test_workers_must_be_a_count(
    workers: Any, tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    with pytest.raises(ConfigError, match="workers must be a whole number"):
        launch(tmp_path, walk, tiny_space, n_trials=2, workers=workers)


def test_a_storage_in_this_process_cannot_be_shared(
    walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    for storage in (optuna.storages.InMemoryStorage(), "sqlite://"):
        with pytest.raises(ConfigError, match="workers must be 1"):
            run_study("s", walk, space=tiny_space, storage=storage, workers=2)


# No `if __name__ == "__main__"`: workers do not run the user's script again.
SCRIPT = """
from foretune.datasets import load_sample
from foretune.search import FloatRange, SearchSpace, run_study

print("script", flush=True)
space = SearchSpace(layers=1, units=4, unroll_length=8, batch_size=8, epochs=EPOCHS,
                    steps_per_epoch=5, stop_patience=4000,
                    learning_rate=FloatRange(low=1e-4, high=1e-3))
run_study("s", load_sample("random_walk", length=500, seed=3), n_trials=4, space=space, horizon=5,
          workers=2, storage="sqlite:///studies.db")
"""


def start(path: Path, *, epochs: int = 4000) -> subprocess.Popen[str]:
    script = path / "launch.py"
    script.write_text(textwrap.dedent(SCRIPT).replace("EPOCHS", str(epochs)))
    # A session of its own, so that a signal can be sent to the whole group, as a terminal does.
    return subprocess.Popen(
        [sys.executable, str(script)],
        cwd=path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def running(path: Path, process: subprocess.Popen[str], count: int) -> list[FrozenTrial]:
    """Wait until ``count`` trials have reported an epoch."""
    url = f"sqlite:///{path / 'studies.db'}"
    while process.poll() is None:
        if (path / "studies.db").exists():
            try:
                study = load_study("s", url)
            except Exception:  # the tables are being made
                time.sleep(0.2)
                continue
            at_work = [t for t in study.trials if t.state == TrialState.RUNNING and t.last_step]
            if len(at_work) >= count:
                return at_work
        time.sleep(0.2)
    raise AssertionError(process.communicate())


@pytest.mark.parametrize("to_group", [True, False])
def test_one_signal_ends_every_worker_after_its_epoch(tmp_path: Path, to_group: bool) -> None:
    process = start(tmp_path)
    running(tmp_path, process, 2)
    (os.killpg if to_group else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out == "script\n"
    assert "Traceback" not in err
    assert "Run the same again to go on" in err
    trials = load_study("s", f"sqlite:///{tmp_path / 'studies.db'}").trials
    assert [t.state for t in trials] == [TrialState.FAIL] * 2
    assert {t.user_attrs["error"] for t in trials} == {"interrupted"}


def test_workers_do_not_outlive_a_killed_launcher(tmp_path: Path) -> None:
    process = start(tmp_path)
    running(tmp_path, process, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    deadline = time.monotonic() + 60
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    while any(t.state == TrialState.RUNNING for t in load_study("s", url).trials):
        assert time.monotonic() < deadline
        time.sleep(0.3)


def test_as_many_workers_as_cores_and_one_lane_on_a_cpu() -> None:
    assert 1 <= default_workers() <= len(os.sched_getaffinity(0))
    assert default_lanes() == 1


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_trial_made_up_for(tmp_path: Path) -> None:
    process = start(tmp_path, epochs=400)
    trial = running(tmp_path, process, 1)[0]
    os.kill(int(trial.user_attrs["worker"].split(":")[1]), signal.SIGKILL)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0, err
    trials = load_study("s", f"sqlite:///{tmp_path / 'studies.db'}").trials
    states = [t.state for t in trials]
    # What the killed one left was failed, and its config trained once more.
    assert states.count(TrialState.FAIL) == 1
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 4
    repeated = [t for t in trials if t.params == trials[trial.number].params]
    assert repeated[0].number == trial.number
    assert len(repeated) == 2
    assert "was lost" in repeated[0].user_attrs["error"]


class PruneOddTrials(optuna.pruners.BasePruner):
    """Ends every other trial after two epochs."""

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.number % 2 == 1 and trial.last_step == 2


def test_lanes_run_a_study(tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace) -> None:
    """Two shapes, four lanes, pruning on: exactly N trials, and each what it is alone."""
    space = tiny_space.fix(units=(2, 4), epochs=4, learning_rate=FloatRange(low=1e-3, high=0.1))
    pruner = PruneOddTrials()
    forget_many_programs(most=0)  # those of other tests: what is compiled here is counted
    lanes = launch(tmp_path, walk, space, n_trials=14, workers=1, lanes=4, pruner=pruner)
    assert [t.state for t in lanes.trials] == [TrialState.COMPLETE, TrialState.PRUNED] * 7
    alone = in_this_process(walk, space, n_trials=8, pruner=pruner)
    for ours, expected in zip(lanes.trials[:8], alone.trials[:8], strict=True):
        assert ours.params == expected.params
        assert ours.intermediate_values == pytest.approx(expected.intermediate_values, rel=1e-4)
    assert best_config(lanes)
    # A program serves a shape, however many lanes it has and however often one is refilled.
    compiled = [t.user_attrs["compiles"] for t in lanes.trials]
    assert sum(compiled) <= 2


def test_an_error_in_one_lane_leaves_all_trials_to_the_next_run(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = Lanes.epoch
    monkeypatch.setattr(Lanes, "epoch", _out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory"):
        launch(tmp_path, walk, tiny_space, n_trials=6, workers=1, lanes=2)
    monkeypatch.setattr(Lanes, "epoch", epoch)
    failed = load_study("s", f"sqlite:///{tmp_path / 'studies.db'}").trials
    assert {t.state for t in failed} == {TrialState.FAIL}
    assert all("out of memory" in t.user_attrs["error"] for t in failed)
    study = launch(tmp_path, walk, tiny_space, n_trials=6, workers=1, lanes=2)
    assert finished_trials(study) == 6
    # Their configs are trained, in this very process.
    params = [t.params for t in study.trials if t.state != TrialState.FAIL]
    assert all(t.params in params for t in failed)


def _out_of_memory(*_: object) -> None:
    raise RuntimeError("out of memory")


def test_a_second_ctrl_c_leaves_no_ticket_behind(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a notebook that goes on, a trial in nobody's hands is run again."""

    def pressed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lanes, "epoch", pressed)
        patch.setattr("foretune.search.lane_worker.give_up", pressed)
        launch(tmp_path, walk, tiny_space, n_trials=4, workers=1, lanes=2)
    left = load_study("s", f"sqlite:///{tmp_path / 'studies.db'}").trials
    assert {t.state for t in left} == {TrialState.RUNNING}
    assert finished_trials(launch(tmp_path, walk, tiny_space, n_trials=4, workers=1, lanes=2)) == 4
