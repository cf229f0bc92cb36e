"""A long trial goes on where the worker before it was lost, to the same bits."""

import contextlib
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from command_line import FORETUNE
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from foretune.datasets import PriceSeries
from foretune.datasets.errors import ConfigError
from foretune.datasets.splits import Development
from foretune.models.training import TrainingRun, fit
from foretune.search import SearchSpace, load_study, run_study
from foretune.search.checkpoint import Checkpoint, FoldCheckpoint, without_arrays
from foretune.search.checkpoint_rows import checkpoint_id
from foretune.search.lane_worker import run_trials_in_lanes
from foretune.search.lost_trials import give_up
from foretune.search.pruners import PRUNERS
from foretune.search.sampler import TrialSeededSampler
from foretune.search.spec import required_spec
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.connect import behind_cache, storage_of
from foretune.search.trial_record import TrialRecord
from foretune.search.worker import Listener, Work, run_trials

ALWAYS = 1e-9  # seconds between two checkpoints: one after every epoch


def new_study(
    path: Path, prices: PriceSeries, space: SearchSpace, folds: int, n_trials: int = 1
) -> optuna.Study:
    return run_study(
        "s",
        prices,
        space=space,
        n_trials=n_trials,
        storage=f"sqlite:///{path / 'studies.db'}",
        horizon=5,
        folds=folds,
        workers=0,
    )


class Epochs:
    """Notes the epochs that a worker trains; stops it as Ctrl-C does, after one of them."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.trained: list[int] = []
        self._stop_after = stop_after

    def __call__(self, number: int, config: Any, result: Any) -> None:
        self.trained.append(result.epoch)
        if len(self.trained) == self._stop_after:
            raise KeyboardInterrupt


def work_on(
    study: optuna.Study,
    prices: PriceSeries,
    epochs: Epochs,
    *,
    pruner: BasePruner | None = None,
    lanes: int = 1,
    checkpoint_seconds: float = ALWAYS,
) -> None:
    spec = required_spec(study)
    work = Work(
        study_name="s",
        n_trials=None,
        space=spec.space,
        folds=spec.split.development(prices, history=spec.space.history),
        sampler=TrialSeededSampler(spec.seed),
        pruner=pruner or NopPruner(),
        lanes=lanes,
        checkpoint_seconds=checkpoint_seconds,
    )
    run = run_trials if lanes == 1 else run_trials_in_lanes
    listener = Listener(epochs, on_trial=lambda trial: None, on_idle=lambda: None)
    run(work, storage_of(study), listener)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    return [t for t in study.get_trials() if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def kept(study: optuna.Study) -> int:
    """How many rows of the database are no artifacts: checkpoints."""
    storage = storage_of(study)
    artifact_store(storage)  # makes the table where it is missing
    attributes = [t.system_attrs for t in study.get_trials(deepcopy=False)]
    attributes.append(storage.get_study_system_attrs(study._study_id))
    announced = {name for each in attributes for name in each if name.startswith("artifacts:")}
    with behind_cache(storage).engine.connect() as connection:  # type: ignore[attr-defined]
        rows = connection.execute(text("SELECT count(*) FROM foretune_artifacts")).scalar_one()
    return int(rows) - len(announced)


@pytest.mark.parametrize(
    ("folds", "pruner", "lanes"),
    [(1, "none", 1), (3, "none", 1), (3, "wilcoxon", 1), (1, "none", 2)],
    ids=["one fold", "folds side by side", "folds one by one", "lanes"],
)
@pytest.mark.parametrize("optimizer", ["adam", "sgd_momentum"])
def test_an_interrupted_trial_ends_as_if_it_had_not_been(
    folds: int,
    pruner: str,
    lanes: int,
    optimizer: str,
    tmp_path: Path,
    walk: PriceSeries,
    tiny_space: SearchSpace,
) -> None:
    space = tiny_space.fix(epochs=5, optimizer=optimizer, cell="gru", decay_patience=0)
    (tmp_path / "whole").mkdir()
    whole, rule = new_study(tmp_path / "whole", walk, space, folds), PRUNERS[pruner]()
    all_epochs, first, second = Epochs(), Epochs(stop_after=3), Epochs()
    work_on(whole, walk, all_epochs, pruner=rule, lanes=lanes)
    study = new_study(tmp_path, walk, space, folds)
    with pytest.raises(KeyboardInterrupt):
        work_on(study, walk, first, pruner=rule, lanes=lanes)
    assert kept(study) == 1
    work_on(study, walk, second, pruner=rule, lanes=lanes)
    assert first.trained + second.trained == all_epochs.trained
    (expected,), (resumed,) = finished(whole), finished(study)
    assert resumed.params == expected.params
    assert resumed.values == expected.values
    assert resumed.intermediate_values == expected.intermediate_values
    for name in ("best_epoch", "train_loss", "relative_mse", "mase", "epochs"):
        assert resumed.user_attrs[name] == expected.user_attrs[name]
    assert resumed.user_attrs["resumed_after_epoch"] == 3
    assert kept(study) == 0


def test_who_is_taken_for_lost_at_its_end_leaves_its_checkpoint(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study(tmp_path, walk, tiny_space.fix(epochs=5), 1)
    end = TrialRecord.end

    def end_too_late(record: TrialRecord, error: BaseException | None = None) -> None:
        end(record, error)
        if record.trial.number == 0:
            give_up(study, record.trial._trial_id, "its worker was lost")

    monkeypatch.setattr(TrialRecord, "end", end_too_late)
    work_on(study, walk, Epochs())
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].user_attrs["resumed_after_epoch"] == 4
    assert kept(study) == 0


def test_who_comes_back_after_its_trial_was_repeated_leaves_no_checkpoint(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    study = new_study(tmp_path, walk, tiny_space.fix(epochs=5), 1)
    trial_of_other = []

    class Stopped(Epochs):
        """Stopped by the system for so long that another has run its trial, then on it goes."""

        def __call__(self, number: int, config: Any, result: Any) -> None:
            super().__call__(number, config, result)
            if result.epoch == 2:
                give_up(study, study.trials[number]._trial_id, "its worker was lost")
                work_on(study, walk, Epochs())
                trial_of_other.append(study.trials[1])
                keep(study.trials[number]._trial_id)

    def keep(trial_id: int) -> None:
        store = artifact_store(storage_of(study))
        store.write_all({checkpoint_id(trial_id): b"written late"})

    work_on(study, walk, Stopped())
    (repetition,) = trial_of_other
    assert repetition.state == TrialState.COMPLETE
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert kept(study) == 0


def test_a_trial_goes_on_after_any_number_of_interruptions(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    study = new_study(tmp_path, walk, tiny_space.fix(epochs=6), 1)
    trained = []
    for stop_after in (2, 1, 1, None):
        epochs = Epochs(stop_after)
        with contextlib.suppress(KeyboardInterrupt):
            work_on(study, walk, epochs)
        trained += epochs.trained
    assert trained == [1, 2, 3, 4, 5, 6]
    assert [t.state for t in study.trials] == [TrialState.FAIL] * 3 + [TrialState.COMPLETE]
    assert kept(study) == 0


def test_a_short_trial_keeps_none(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    study = new_study(tmp_path, walk, tiny_space, 1)
    epochs = Epochs(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        work_on(study, walk, epochs, checkpoint_seconds=60)
    assert kept(study) == 0
    again = Epochs()
    work_on(study, walk, again)
    assert again.trained == [1, 2, 3]


@pytest.mark.parametrize("harm", ["UPDATE foretune_artifacts SET content = x'00'", "other version"])
def test_a_checkpoint_that_cannot_be_used_is_spoken_of(
    harm: str,
    tmp_path: Path,
    walk: PriceSeries,
    tiny_space: SearchSpace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = new_study(tmp_path, walk, tiny_space, 1)
    with pytest.raises(KeyboardInterrupt):
        work_on(study, walk, Epochs(stop_after=2))
    if harm == "other version":
        monkeypatch.setattr("foretune.search.checkpoint.versions", lambda: {"jax": "0.0.1"})
    else:
        database = behind_cache(storage_of(study))
        with database.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(text(harm))
    epochs = Epochs()
    work_on(study, walk, epochs)
    assert epochs.trained == [1, 2, 3]
    assert "trial 1 begins anew:" in capsys.readouterr().err
    assert len(finished(study)) == 1


def test_bytes_are_read_as_they_were_written_or_refused(
    tiny_data: Development, tiny_space: SearchSpace
) -> None:
    config = tiny_space.suggest(optuna.trial.FixedTrial({"learning_rate": 0.01, "dropout": 0.1}))
    training = fit(config, tiny_data)
    results = [next(training), next(training)]
    fold = FoldCheckpoint(training.snapshot(), tuple(map(without_arrays, results)), results[0])
    checkpoint = Checkpoint(config, {1: 0.1 + 0.2, 2: 1 / 3}, [fold])
    content = checkpoint.to_bytes()
    again = Checkpoint.from_bytes(content, config, [tiny_data])
    assert again.reported == checkpoint.reported
    (restored,) = again.folds
    assert restored.snapshot.plateau == fold.snapshot.plateau
    assert [r.relative_mse for r in restored.history] == [r.relative_mse for r in results]
    np.testing.assert_array_equal(restored.best.forecasts, results[0].forecasts)
    with pytest.raises(ConfigError, match="another config"):
        Checkpoint.from_bytes(content, config.model_copy(update={"seed": 7}), [tiny_data])
    with pytest.raises(ConfigError):
        Checkpoint.from_bytes(content[: len(content) // 2], config, [tiny_data])
    flipped = bytearray(content)
    flipped[flipped.index(b'"plateau"') + 20] ^= 1
    with pytest.raises(ConfigError, match="checkpoint"):
        Checkpoint.from_bytes(bytes(flipped), config, [tiny_data])
    assert TrainingRun(config, tiny_data, snapshot=restored.snapshot).finished is False


@pytest.mark.slow
def test_a_killed_workers_long_trial_goes_on_in_another(
    database_url: str, tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    """SIGKILL, as the system does when memory is short, then a worker that knows nothing."""
    space = tiny_space.fix(epochs=400, stop_patience=400)
    options = {"space": space, "n_trials": 1, "horizon": 5, "seed": 3}
    study = run_study("s", walk, storage=database_url, workers=0, **options)  # type: ignore[arg-type]
    command = [FORETUNE, "worker", "--storage", database_url]
    command += ["--study", "s", "--checkpoint", "0.5"]
    worker = subprocess.Popen(command, cwd=tmp_path)
    try:
        while not kept(study) or len(study.get_trials()[0].intermediate_values) < 40:
            assert worker.poll() is None
            time.sleep(0.05)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    subprocess.run(command, cwd=tmp_path, check=True)
    killed, resumed = load_study("s", database_url).trials
    assert killed.state == TrialState.FAIL
    assert 0 < resumed.user_attrs["resumed_after_epoch"] < 400
    memory = optuna.storages.InMemoryStorage()
    (whole,) = run_study("s", walk, storage=memory, show_progress_bar=False, **options).trials  # type: ignore[arg-type]
    assert resumed.params == whole.params
    assert resumed.value == whole.value
    assert resumed.intermediate_values == whole.intermediate_values
    assert kept(study) == 0
