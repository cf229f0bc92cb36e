"""What a driver asks, reports, prunes and tells; what it says when it cannot go on."""

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from small_study import search_planned
from stub_executor import StubExecutor, by_rate

from foretune.datasets import PriceSeries, TimeSeries
from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.search import (
    SearchSpace,
    finished_trials,
    join_study,
    load_study,
    run_study,
    study_status,
)
from foretune.search.engine import driver as engine
from foretune.search.engine.executors import GivenExecutor
from foretune.search.storage.artifacts import artifact_names
from foretune.search.storage.lease import StudyTakenError
from foretune.search.study.target import StudyTarget
from foretune.search.study.trials import DRIVER_MARK
from foretune.search.trial.record import TrialRecord


@pytest.fixture
def shape(tiny_data: DevelopmentData) -> tuple[int, int]:
    """Of the forecasts of the tests' data."""
    return len(tiny_data.split.validation_origins), tiny_data.split.horizon


def search(walk: PriceSeries, name: str = "s", **kwargs: Any) -> optuna.Study:
    kwargs.setdefault("storage", optuna.storages.InMemoryStorage())
    kwargs.setdefault("horizon", 5)
    if "executor" not in kwargs:
        kwargs.setdefault("workers", 1)
    return run_study(name, walk, show_progress_bar=False, **kwargs, target="mid")


def values(study: optuna.Study) -> list[Any]:
    return [(t.state, t.value, t.params, t.intermediate_values) for t in study.trials]


# Chunks and executors


def with_chunks_of(epochs: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every task end after so many epochs, or train all of them."""
    monkeypatch.setattr(engine, "Budget", partial(engine.Budget, epochs=epochs))
    monkeypatch.setattr("foretune.search.engine.executors.InProcess.chunk_seconds", 1e9)


@pytest.mark.parametrize(("folds", "seed"), [(1, 1), (2, 3)])  # seeds of which a trial is pruned
def test_a_chunks_length_changes_nothing(
    folds: int, seed: int, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    """With one trial at a time the pruner sees the same whatever a task trains."""
    space = tiny_space.fix(epochs=7, stop_patience=7, decay_patience=0)
    found = []
    for epochs in (1, 3, None):
        with pytest.MonkeyPatch.context() as patch:
            with_chunks_of(epochs, patch)
            study = search(walk, n_trials=14, space=space, folds=folds, seed=seed)
        stored = [
            {
                name: value
                for name, value in trial.user_attrs.items()
                if name not in ("seconds", "compiles", "cache_hits", "epochs_dropped")
            }
            for trial in study.trials
        ]
        found.append((values(study), stored))
        states = [trial.state for trial in study.trials]
        assert states.count(TrialState.PRUNED) >= 1
        dropped = [trial.user_attrs["epochs_dropped"] for trial in study.trials]
        if epochs != 3:  # three is where the pruner looks first
            assert (sum(dropped) > 0) == (epochs is None)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_users_executor_gives_the_same_values(
    kind: str, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    alone = search(walk, n_trials=6, space=tiny_space, pruner=optuna.pruners.NopPruner())
    known = [TrialConfig.from_toml(t.user_attrs["config"]) for t in alone.trials]
    executor: Executor
    if kind == "threads":
        executor = ThreadPoolExecutor(2)
    else:
        executor = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    with executor:
        study = search(
            walk,
            n_trials=6,
            space=tiny_space,
            pruner=optuna.pruners.NopPruner(),
            start_from=known,
            executor=executor,
        )
    assert sorted(t.value or 0 for t in study.trials) == pytest.approx(
        sorted(t.value or 0 for t in alone.trials), abs=1e-6
    )
    assert finished_trials(study) == len(study.trials) == 6


def test_slots_of_this_machine_give_the_same_values(
    planned_study: optuna.Study, planned: TimeSeries, tmp_path: Path
) -> None:
    """Networks of the default space, with every group of covariates: to the last bit."""
    study = search_planned(planned, workers=2, storage=f"sqlite:///{tmp_path / 's.db'}")
    assert values(study) == values(planned_study)
    own = ("seconds", "compiles", "cache_hits", "epochs_dropped")
    for trial, alone in zip(study.trials, planned_study.trials, strict=True):
        for name in alone.user_attrs.keys() - own:
            assert trial.user_attrs[name] == alone.user_attrs[name], name


def test_an_executor_of_unknown_size_is_asked_for(walk: PriceSeries) -> None:
    class Unknown(Executor):
        pass

    with pytest.raises(ConfigError, match="workers must say how many tasks Unknown runs"):
        search(walk, executor=Unknown())


# What is asked for


def test_exactly_as_many_trials_as_asked_for(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    storage = optuna.storages.InMemoryStorage()
    for total in (5, 5, 12):
        executor = StubExecutor(size=4, seconds=0.01, forecasts=shape)
        study = search(walk, n_trials=total, space=tiny_space, storage=storage, executor=executor)
        assert finished_trials(study) == len(study.trials) == total


def test_the_sampler_knows_all_that_has_ended(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    """A trial is asked for when a slot is free, and not before."""

    class Counting(RandomSampler):
        def __init__(self) -> None:
            super().__init__(seed=0)
            self.known: list[int] = []

        def before_trial(self, study: Study, trial: FrozenTrial) -> None:
            self.known.append(sum(t.state.is_finished() for t in study.get_trials()))

    sampler = Counting()
    executor = StubExecutor(size=3, seconds=0.05, epochs=3, forecasts=shape)
    search(walk, n_trials=9, space=tiny_space, sampler=sampler, executor=executor)
    assert all(number - known <= 2 for number, known in enumerate(sampler.known[-9:]))


def test_pruning_looks_back_into_a_chunk(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    """What was trained after the pruning is dropped, and the best epoch before it is found."""

    class AfterTwo(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            return trial.last_step == 2

    def rising(config: TrialConfig, epoch: int) -> float:
        return {1: 0.9, 2: 0.8}.get(epoch, 0.1)

    executor = StubExecutor(rising, epochs=5, forecasts=shape)
    study = search(
        walk, n_trials=1, space=tiny_space.fix(epochs=5), pruner=AfterTwo(), executor=executor
    )
    (trial,) = study.trials
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.9, 2: 0.8}
    assert trial.user_attrs["best_epoch"] == 2
    assert trial.user_attrs["epochs"] == 2
    assert trial.user_attrs["epochs_dropped"] == 3


def test_lanes_are_refilled_and_give_the_same_values(
    walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    space = tiny_space.fix(units=(4, 6), epochs=5, stop_patience=2, decay_patience=0)
    options: dict[str, Any] = {"n_trials": 10, "space": space, "pruner": optuna.pruners.NopPruner()}
    alone = search(walk, sampler=RandomSampler(seed=2), lanes=1, **options)
    beside = search(walk, sampler=RandomSampler(seed=2), lanes=3, **options)
    assert [t.params for t in beside.trials] == [t.params for t in alone.trials]
    assert len({t.params["units_1"] for t in beside.trials}) == 2
    for trial, other in zip(beside.trials, alone.trials, strict=True):
        assert trial.value == pytest.approx(other.value, abs=1e-5)
        assert trial.user_attrs["lanes"] == 3
    # Two shapes, each compiled once more at most if other tests have filled the memory.
    assert sum(t.user_attrs["compiles"] for t in beside.trials) <= 4


# Samplers of any kind


def test_an_exhausted_grid_ends_the_study(
    walk: PriceSeries,
    tiny_space: SearchSpace,
    shape: tuple[int, int],
    capfd: pytest.CaptureFixture[str],
) -> None:
    grid = {"learning_rate": [0.01, 0.02, 0.03], "dropout": [0.1, 0.2]}
    storage = optuna.storages.InMemoryStorage()
    executor = StubExecutor(size=4, seconds=0.02, epochs=3, forecasts=shape)
    study = search(
        walk,
        n_trials=30,
        space=tiny_space,
        sampler=GridSampler(grid, seed=0),
        executor=executor,
        storage=storage,
    )
    points = [tuple(sorted(t.params.items())) for t in study.trials]
    assert len(points) == len(set(points)) == 6
    assert "ends with 6 of 30 trials" in capfd.readouterr().err
    shown = study_status(load_study("s", storage))
    assert (shown.state, shown.finished, shown.wanted) == ("exhausted", 6, 30)
    # Once more there is nothing to do, and that is said too.
    search(walk, n_trials=30, sampler=GridSampler(grid, seed=0), storage=storage)
    assert "ends with 6 of 30 trials" in capfd.readouterr().err
    assert len(study.trials) == 6
    # Another sampler goes on.
    more = search(walk, n_trials=7, sampler=RandomSampler(seed=0), storage=storage)
    assert finished_trials(more) == 7


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_space_that_was_searched_whole_stays_so(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    options: dict[str, Any] = {
        "space": tiny_space.fix(learning_rate=(0.01, 0.02), dropout=(0.1, 0.2)),
        "storage": optuna.storages.InMemoryStorage(),
        "n_trials": 6,
    }
    for _ in range(2):
        executor = StubExecutor(size=2, seconds=0.02, forecasts=shape)
        sampler = optuna.samplers.BruteForceSampler(seed=0)
        study = search(walk, **options, sampler=sampler, executor=executor)
        assert len(study.trials) == len({str(t.params) for t in study.trials}) == 4
    assert study_status(load_study("s", options["storage"])).state == "exhausted"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pruner": "median"}, "pruner must be an object of optuna.pruners, but got 'median'"),
        ({"sampler": TPESampler}, "sampler must be an object of optuna.samplers, but got <class"),
        ({"executor": "threads"}, "executor must be a concurrent.futures.Executor, but got 'thr"),
        ({"task_timeout": "5"}, "task_timeout must be a number of seconds above 0, but got '5'"),
        ({"storage_timeout": None}, "storage_timeout must be a number of seconds above 0"),
    ],
)
def test_what_is_of_the_wrong_kind_is_one_line(
    wrong: dict[str, Any], message: str, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    with pytest.raises(ConfigError, match=message):
        search(walk, space=tiny_space, **wrong)


def test_a_grid_with_enqueued_configs(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    """Optuna's grid sampler raises at the end of a trial that was enqueued."""
    grid = {"learning_rate": [0.01, 0.02], "dropout": [0.1]}
    known = TrialConfig(
        units=(4,), unroll_length=8, batch_size=8, learning_rate=0.05, dropout=0.3, epochs=3
    ).model_copy(update={"steps_per_epoch": 5})
    study = search(
        walk,
        n_trials=10,
        space=tiny_space,
        sampler=GridSampler(grid, seed=0),
        start_from=[known],
        executor=StubExecutor(size=2, seconds=0.02, forecasts=shape),
    )
    assert {t.state for t in study.trials} == {TrialState.COMPLETE}
    assert sorted(t.params["learning_rate"] for t in study.trials) == [0.01, 0.02, 0.05]


class Failing(BaseSampler):
    """Raises from a certain trial on."""

    def __init__(self, error: Exception, first: int) -> None:
        self._error = error
        self._first = first

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        if trial.number >= self._first:
            raise self._error
        return RandomSampler(seed=0).sample_independent(study, trial, name, distribution)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ModuleNotFoundError("No module named 'x'"), r"Failing needs a package \(No module named"),
        (ZeroDivisionError("by zero"), "Failing raised ZeroDivisionError: by zero"),
    ],
)
def test_a_sampler_that_will_fail_is_refused_before_the_study_is_made(
    error: Exception, message: str, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(ConfigError, match=message) as refused:
        search(walk, space=tiny_space, sampler=Failing(error, 11), storage=storage)
    assert "\n" not in str(refused.value)
    assert optuna.get_all_study_names(storage=storage) == []


@pytest.mark.parametrize(("make", "extra"), [("GPSampler", "gp"), ("CmaEsSampler", "cmaes")])
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_samplers_missing_package_is_named(
    make: str, extra: str, walk: PriceSeries, tiny_space: SearchSpace, monkeypatch: Any
) -> None:
    missing = {"gp": "torch", "cmaes": "cmaes"}[extra]
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    storage = optuna.storages.InMemoryStorage()
    with pytest.raises(ConfigError, match=rf"{make} needs a package; install foretune\[{extra}\]"):
        search(walk, space=tiny_space, sampler=getattr(optuna.samplers, make)(), storage=storage)
    assert optuna.get_all_study_names(storage=storage) == []


def test_trying_a_sampler_does_not_change_its_draws(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    executor = StubExecutor(forecasts=shape)
    study = search(
        walk, n_trials=3, space=tiny_space, sampler=RandomSampler(seed=5), executor=executor
    )
    plain = optuna.create_study(sampler=RandomSampler(seed=5))
    for trial in study.trials:
        asked = plain.ask()
        tiny_space.suggest(asked)
        assert asked.params == trial.params


def test_a_sampler_that_raises_later_leaves_a_study_that_goes_on(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    storage = optuna.storages.InMemoryStorage()
    options: dict[str, Any] = {"space": tiny_space, "storage": storage, "n_trials": 20}
    with pytest.raises(ValueError, match="not today"):
        search(
            walk,
            **options,
            sampler=Failing(ValueError("not today"), 14),
            executor=StubExecutor(forecasts=shape),
        )
    shown = study_status(load_study("s", storage))
    assert (shown.state, shown.finished, shown.driver) == ("stopped", 14, None)
    study = search(walk, **options, executor=StubExecutor(forecasts=shape))
    assert finished_trials(study) == 20


def test_enqueued_parameters_that_no_config_can_have(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    storage = optuna.storages.InMemoryStorage()
    options: dict[str, Any] = {"space": tiny_space, "storage": storage}
    study = search(walk, **options, n_trials=1, executor=StubExecutor(forecasts=shape))
    study.enqueue_trial({"learning_rate": "fast"})
    study = search(walk, **options, n_trials=3, executor=StubExecutor(forecasts=shape))
    assert study.trials[1].state == TrialState.FAIL
    assert study.trials[1].user_attrs["error"].startswith("enqueued parameters: ")
    assert finished_trials(study) == 3


# What goes wrong


class Losing(StubExecutor):
    """Loses the workers of some trials, by their learning rates' order of arrival."""

    def __init__(self, losses: Sequence[int], shape: tuple[int, int]) -> None:
        super().__init__(forecasts=shape)
        self._losses = dict(enumerate(losses))
        self._arrived: dict[float, int] = {}

    def submit(self, call: Any, /, *arguments: Any, **_: Any) -> "Future[Any]":
        (state,) = arguments[0]
        number = self._arrived.setdefault(state.config.learning_rate, len(self._arrived))
        if self._losses.get(number, 0) and (state.folds or number > 0):
            self._losses[number] -= 1
            future: Future[Any] = Future()
            future.set_exception(BrokenExecutor("a worker has died"))
            return future
        return super().submit(call, *arguments)


def test_a_lost_worker_costs_its_chunk_and_three_in_a_row_the_trial(
    walk: PriceSeries,
    tiny_space: SearchSpace,
    shape: tuple[int, int],
    capfd: pytest.CaptureFixture[str],
) -> None:
    study = search(walk, n_trials=5, space=tiny_space, executor=Losing([2, 0, 3, 1], shape))
    ends = [t.state for t in study.trials]
    assert ends == [TrialState.COMPLETE] * 2 + [TrialState.FAIL] + [TrialState.COMPLETE] * 2
    assert study.trials[2].user_attrs["error"] == (
        "its worker was killed, ran out of memory or was cut off, 3 times in a row"
    )
    assert [len(t.intermediate_values) for t in study.trials] == [3, 3, 0, 3, 3]
    assert finished_trials(study) == 5
    said = capfd.readouterr().err
    assert "a worker of trial 0 was killed, ran out of memory or was cut off" in said
    assert "the trial continues from its last snapshot" in said


def test_workers_that_all_die_at_once_end_the_study(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    class Dying(StubExecutor):
        def submit(self, *_: Any, **__: Any) -> "Future[Any]":
            future: Future[Any] = Future()
            future.set_exception(BrokenExecutor("out of memory"))
            return future

    with pytest.raises(ConfigError, match=r"every worker that ran it was .* memory or the"):
        search(walk, n_trials=5, space=tiny_space, executor=Dying(forecasts=shape))


def test_a_task_that_hangs_is_given_up(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    """An executor that cannot end a task goes on with its other slots."""
    hangs, release = threading.Event(), threading.Event()

    def value(config: TrialConfig, epoch: int) -> float:
        if not hangs.is_set():
            hangs.set()
            release.wait(60)
        return by_rate(config, epoch)

    executor = StubExecutor(value, size=2, seconds=0.01, forecasts=shape)
    study = search(walk, n_trials=4, space=tiny_space, executor=executor, task_timeout=1.0)
    release.set()
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 4


def test_a_mistake_met_by_a_task_is_one_line(walk: PriceSeries, tiny_space: SearchSpace) -> None:
    def value(config: TrialConfig, epoch: int) -> float:
        raise ConfigError("units must fit, but do not")

    storage = optuna.storages.InMemoryStorage()
    executor = StubExecutor(value, forecasts=(1, 1))
    with pytest.raises(ConfigError, match="units must fit"):
        search(walk, n_trials=4, space=tiny_space, executor=executor, storage=storage)
    (trial,) = load_study("s", storage).trials
    assert trial.state == TrialState.FAIL
    assert trial.user_attrs["error"] == "ConfigError: units must fit, but do not"


def test_a_live_trial_of_another_program_is_left_alone(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    """``study.optimize(Objective(...))`` may work on the study too; its trials carry no mark."""
    storage = optuna.storages.InMemoryStorage()
    options: dict[str, Any] = {"space": tiny_space, "storage": storage}
    search(walk, **options, n_trials=1, executor=StubExecutor(forecasts=shape))
    foreign = load_study("s", storage).ask()
    study = search(walk, **options, n_trials=3, executor=StubExecutor(forecasts=shape))
    assert study.trials[foreign.number].state == TrialState.RUNNING
    assert DRIVER_MARK not in study.trials[foreign.number].system_attrs
    assert finished_trials(study) == 3
    load_study("s", storage).tell(foreign, 0.5)


def test_an_interrupted_trial_waits_and_goes_on_from_its_snapshot(
    walk: PriceSeries, tiny_space: SearchSpace, tmp_path: Path, shape: tuple[int, int]
) -> None:
    """It is no failed trial to anybody who looks."""
    url = f"sqlite:///{tmp_path / 's.db'}"
    space = tiny_space.fix(epochs=6)
    trained: list[tuple[float, int]] = []

    def value(config: TrialConfig, epoch: int) -> float:
        if (config.learning_rate, epoch) not in trained:
            trained.append((config.learning_rate, epoch))
        if len(trained) == 4:
            signal.raise_signal(signal.SIGINT)
        return by_rate(config, epoch)

    study = search(
        walk, n_trials=2, space=space, storage=url, executor=StubExecutor(value, forecasts=shape)
    )
    (trial,) = study.trials
    assert trial.state == TrialState.WAITING
    assert trial.intermediate_values.keys() == {1, 2, 3, 4}
    shown = study_status(load_study("s", url))
    assert (shown.state, shown.states) == ("stopped", {"waiting": 1})
    trained.append((0.0, 0))  # no second signal
    study = search(
        walk, n_trials=2, space=space, storage=url, executor=StubExecutor(value, forecasts=shape)
    )
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2
    assert study.trials[0].user_attrs["resumed_after_epoch"] == 4
    assert study.trials[0].intermediate_values.keys() == set(range(1, 7))
    assert np.sum([rate == study.trials[0].params["learning_rate"] for rate, _ in trained]) == 6


def test_a_driver_that_has_lost_its_lease_writes_nothing_more(
    walk: PriceSeries,
    tiny_space: SearchSpace,
    shape: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The driver that has taken it goes on with the trial, which is still marked as running."""

    @contextmanager
    def lost_after_the_first_look(_: Study) -> Iterator[Callable[[], None]]:
        looks = count()

        def check() -> None:
            if next(looks):
                raise StudyTakenError("another driver has it")

        yield check

    monkeypatch.setattr("foretune.search.run.study_lease", lost_after_the_first_look)
    storage = optuna.storages.InMemoryStorage()
    executor = StubExecutor(forecasts=shape)
    with pytest.raises(StudyTakenError):
        search(walk, n_trials=2, space=tiny_space, storage=storage, executor=executor)
    (trial,) = load_study("s", storage).trials
    assert trial.state == TrialState.RUNNING
    assert trial.system_attrs[DRIVER_MARK]
    assert "config" not in trial.user_attrs
    assert artifact_names(storage, trial) == []


def test_a_trial_that_cannot_be_kept_costs_no_other_one(
    walk: PriceSeries,
    tiny_space: SearchSpace,
    shape: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A driver that ends keeps a snapshot of every other trial."""
    keep = TrialRecord.save_snapshot

    def save_snapshot(record: TrialRecord) -> None:
        if record.trial.number == 0:
            raise ConfigError("it is too large")
        keep(record)

    monkeypatch.setattr(TrialRecord, "save_snapshot", save_snapshot)

    def value(config: TrialConfig, epoch: int) -> float:
        if epoch == 3:
            signal.raise_signal(signal.SIGINT)
        return by_rate(config, epoch)

    executor = StubExecutor(value, size=2, forecasts=shape)
    study = search(walk, n_trials=3, space=tiny_space.fix(epochs=9), executor=executor)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING, TrialState.WAITING]


def test_a_driver_says_once_that_it_waits_for_a_worker(
    walk: PriceSeries,
    tiny_space: SearchSpace,
    shape: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ready, looks = GivenExecutor.ready, count()

    def late(slots: GivenExecutor) -> Sequence[int]:
        time.sleep(0.06)  # as a cluster answers
        return ready(slots) if next(looks) > 6 else ()

    monkeypatch.setattr(engine, "_ANNOUNCE_AFTER", 0.01)
    monkeypatch.setattr(GivenExecutor, "ready", late)
    executor = StubExecutor(forecasts=shape)
    study = search(walk, n_trials=1, space=tiny_space, executor=executor)
    assert finished_trials(study) == 1
    assert capfd.readouterr().err.count("waiting for a worker") == 1


# What took the place of version 1's ways


def test_what_is_gone_says_what_took_its_place(walk: PriceSeries) -> None:
    with pytest.raises(ConfigError, match=r"use executor=, or `foretune run --dask`"):
        search(walk, workers=0)
    with pytest.raises(ConfigError, match=r"run_study\(\.\.\., executor="):
        join_study("s", "sqlite:///s.db")


def test_a_second_driver_is_told_of_the_first(
    walk: PriceSeries, tiny_space: SearchSpace, tmp_path: Path, shape: tuple[int, int]
) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    release = threading.Event()

    def value(config: TrialConfig, epoch: int) -> float:
        release.wait(60)
        return by_rate(config, epoch)

    executor = StubExecutor(value, seconds=0.01, forecasts=shape)
    options: dict[str, Any] = {"space": tiny_space, "storage": url, "n_trials": 3}
    first = threading.Thread(target=lambda: search(walk, **options, executor=executor))
    first.start()
    while not executor.tasks:
        time.sleep(0.01)
    with pytest.raises(ConfigError, match=r"is already being run by process \d+ of host .* since"):
        search(walk, **options)
    assert study_status(load_study("s", url)).state == "running"
    release.set()
    first.join()
    study = load_study("s", url)
    assert finished_trials(study) == len(study.trials) == 3
    assert study_status(study).state == "done"


def test_a_study_remembers_its_pruner_and_the_most_trials_asked_for(
    walk: PriceSeries, tiny_space: SearchSpace, shape: tuple[int, int]
) -> None:
    storage = optuna.storages.InMemoryStorage()
    options: dict[str, Any] = {"space": tiny_space, "storage": storage}
    executor = StubExecutor(forecasts=shape)
    search(walk, **options, n_trials=3, pruner=optuna.pruners.NopPruner(), executor=executor)
    search(walk, **options, n_trials=2, executor=executor)
    target = StudyTarget.stored(load_study("s", storage))
    assert target == StudyTarget(trials=3, sampler="tpe", pruner="none")
    search(walk, **options, n_trials=4, sampler=TPESampler(seed=0), executor=executor)
    assert StudyTarget.stored(load_study("s", storage)) == target.model_copy(update={"trials": 4})


def test_what_a_script_gave_and_no_study_stores_is_missed_aloud(
    walk: PriceSeries,
    tiny_space: SearchSpace,
    shape: tuple[int, int],
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Own(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
            return False

    options: dict[str, Any] = {
        "space": tiny_space,
        "storage": optuna.storages.InMemoryStorage(),
        "executor": StubExecutor(forecasts=shape),
    }
    given: dict[str, Any] = {"sampler": RandomSampler(seed=0), "pruner": Own()}
    search(walk, **options, n_trials=1, **given)
    search(walk, **options, n_trials=2, **given)
    assert "began with" not in capfd.readouterr().err
    search(walk, **options, n_trials=3)
    said = capfd.readouterr().err
    assert (
        "study 's' began with a sampler of its own, which is not stored; this run uses TPE" in said
    )
    assert "pruner of its own, which is not stored; this run uses the median rule" in said
    search(walk, **options, n_trials=3)
    assert capfd.readouterr().err == "", "there is nothing left to run"
