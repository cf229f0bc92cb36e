"""Version 1's studies go on, and its numbers come out the same.

``version1/`` holds what version 1 wrote: a database of three studies as an SQLite file and as a
PostgreSQL dump, and its own values. In the study "first" 13 was lost with its worker and repeated
as 15, 14 was running when its worker was killed, 16 was interrupted and not repeated yet, all with
checkpoints; 17 and 18 were enqueued, the last with a dropout that no config can have. In "second"
3 waits to repeat 2. "finished" has as many trials as it was to have; ``best.toml`` is its best, as
written where its prices were a file acme.csv. ``space.toml`` is a space of its own.
"""

import gzip
import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from command_line import Run
from optuna.trial import FrozenTrial, TrialState

from foretune.datasets import PriceSeries, load_sample, read_prices
from foretune.datasets.common.errors import ConfigError
from foretune.models import Forecaster, TrialConfig, fit
from foretune.search import (
    FloatRange,
    SearchSpace,
    best_config,
    finished_trials,
    load_study,
    replay,
    run_study,
    study_status,
    write_results,
)
from foretune.search.figures.study import learning_curves_figure
from foretune.search.storage.optuna_internals import storage_of
from foretune.search.storage.version1 import was_running
from foretune.search.study.agreed import agreed_spec
from foretune.search.study.best_file import BestDocument
from foretune.search.study.data import held_data
from foretune.search.study.spec import required_spec, store_spec
from foretune.search.study.trials import format_states

FOLDER = Path(__file__).parent / "version1"
VALUES = json.loads((FOLDER / "values.json").read_text())


@pytest.fixture(params=["sqlite", "postgresql"])
def old_studies(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a copy of version 1's database."""
    if request.param == "sqlite":
        file = tmp_path / "studies.db"
        file.write_bytes(gzip.decompress((FOLDER / "version1.db.gz").read_bytes()))
        return f"sqlite:///{file}"
    server = request.getfixturevalue("postgresql")
    url: str = server.new_database()
    subprocess.run(
        [server.program("psql"), "-q", "-v", "ON_ERROR_STOP=1", url.replace("+psycopg", "")],
        input=gzip.decompress((FOLDER / "version1.sql.gz").read_bytes()),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return url


def go_on(name: str, url: str, walk: PriceSeries, n_trials: int) -> optuna.Study:
    return run_study(
        name, walk, n_trials=n_trials, storage=url, workers=1, show_progress_bar=False, target="mid"
    )


def kept(trials: list[FrozenTrial]) -> list[Any]:
    return [
        (t.number, t.state, t.values, t.params, t.intermediate_values, t.user_attrs)
        for t in trials
        if t.state.is_finished()
    ]


@pytest.mark.filterwarnings("ignore:Fixed parameter dropout with value 5.0:UserWarning")
def test_a_study_of_every_state_goes_on(old_studies: str, walk: PriceSeries) -> None:
    before = kept(load_study("first", old_studies).trials)
    study = go_on("first", old_studies, walk, 18)
    assert finished_trials(study) == 18
    trials = study.trials
    ended = {number for number, *_ in before}
    assert [row for row in kept(trials) if row[0] in ended] == before
    # The one that ran goes on under its own number, the interrupted one as another trial.
    assert trials[14].user_attrs["resumed_after_epoch"] == 4
    (again,) = [t for t in trials if t.system_attrs.get("foretune:repeats") == 16]
    assert again.user_attrs["resumed_after_epoch"] == 4
    assert trials[17].params == {"learning_rate": 0.005, "dropout": 0.25}
    assert trials[18].state == TrialState.FAIL
    assert trials[18].user_attrs["error"].startswith("enqueued parameters: ")
    # What they come to is what version 1 came to from the same database.
    then = {json.dumps(t["params"], sort_keys=True): t for t in VALUES["continued"]["first"]}
    for trial in (trials[14], again, trials[17]):
        expected = then[json.dumps(trial.params, sort_keys=True)]["reported"]
        reported = {str(step): value for step, value in trial.intermediate_values.items()}
        assert reported == pytest.approx(expected, rel=1e-6)
    # Tries that were run again are counted nowhere.
    shown = study_status(load_study("first", old_studies))
    assert (shown.state, shown.finished, shown.wanted) == ("done", 18, 18)
    counted = sum(shown.states.values())
    assert counted == len(trials) - 2
    assert f"{shown.states['complete']} complete" in format_states(study)
    assert replay(study, 14, walk).difference < 1e-6


def test_a_retry_that_waits_goes_on(old_studies: str, walk: PriceSeries) -> None:
    study = go_on("second", old_studies, walk, 4)
    assert finished_trials(study) == 4
    assert study.trials[3].user_attrs["resumed_after_epoch"] == 4
    assert study.trials[3].system_attrs["retry_history"] == [2]
    (then,) = [t for t in VALUES["continued"]["second"] if t["number"] == 3]
    reported = {str(step): v for step, v in study.trials[3].intermediate_values.items()}
    assert reported == pytest.approx(then["reported"], rel=1e-6)


def test_a_finished_study_stays_as_it_is_and_can_be_extended(
    old_studies: str, walk: PriceSeries
) -> None:
    before = kept(load_study("finished", old_studies).trials)
    assert study_status(load_study("finished", old_studies)).state == "done"
    assert kept(go_on("finished", old_studies, walk, 8).trials) == before
    extended = go_on("finished", old_studies, walk, 10)
    assert finished_trials(extended) == 10
    assert kept(extended.trials)[:8] == before


@pytest.fixture
def of_a_file(tmp_path: Path, walk: PriceSeries) -> str:
    """The study "finished" as it is where its prices were a file, which now lies elsewhere."""
    file, url = tmp_path / "studies.db", f"sqlite:///{tmp_path / 'studies.db'}"
    file.write_bytes(gzip.decompress((FOLDER / "version1.db.gz").read_bytes()))
    study = optuna.load_study(study_name="finished", storage=url)
    spec = study.user_attrs["foretune_spec"]
    name_of_a_file = {"name": "acme", "source": "acme.csv"}
    study.set_user_attr("foretune_spec", spec | {"prices": spec["prices"] | name_of_a_file})
    (tmp_path / "moved").mkdir()
    prices = {"Open": walk.open, "High": walk.high, "Low": walk.low, "Close": walk.close}
    table = pd.DataFrame({"Date": walk.dates} | prices | {"Adj Close": walk.close / 2})
    table.to_csv(tmp_path / "moved" / "acme.csv", index=False)
    return url


def test_every_command_works_on_a_study_of_a_file(
    command: Run, tmp_path: Path, of_a_file: str, walk: PriceSeries
) -> None:
    """Before it goes on its prices must be given; then it holds them."""
    there, file = ("--study", "finished", "--storage", of_a_file), tmp_path / "moved" / "acme.csv"
    prices, best = ("--prices", str(file)), str(FOLDER / "best.toml")
    run, small = ("run", *there, "--workers", "1", "--trials"), ("--top", "1")
    fit_it = ("fit", best, "--storage", of_a_file)
    for arguments in (
        (*run, "9"),
        ("report", *there),
        ("replay", "--trial", "0", *there),
        fit_it,
    ):
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        must = "foretune: the data of study 'finished' must be given, as --data: acme.csv: there is"
        assert err.startswith(must)
        assert err.count("\n") == 1
    for arguments in ((*run, "9"), ("report", *there), ("replay", "--trial", "0", *there)):
        code, _, err = command(*arguments, *prices, "--target", "close")
        assert code == 2
        assert "mid price" in err
        assert "close price" in err
        assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moved", "studies.db"]
    # What reads does not write: the study holds its data when it goes on.
    code, out, err = command("replay", "--trial", "0", *there, *prices)
    assert re.match("trial 0 (differs|is bit-identical): relative_mse 1.001635", out), err
    code, _, err = command("report", *small, "--out", "report", *there, *prices)
    assert code == 0, err
    assert held_data(load_study("finished", of_a_file)) is None
    # Its trials stored no baselines; they are computed.
    report = (tmp_path / "report" / "report.md").read_text()
    assert all(f"| {name} | " in report for name in ("persistence", "last close", "ridge on lags"))
    before = kept(load_study("finished", of_a_file).trials)
    code, _, err = command(*run, "9", *prices)
    assert code == 0, err
    assert "business days (Monday to Friday), mid price, with close; stored with the study" in err
    file.unlink()
    for arguments in (
        (*run, "10"),
        ("status", *there),
        ("replay", "--trial", "9", *there),
        ("best", "--out", "best.toml", *there),
        ("compare", "finished", "first", "--storage", of_a_file),
        ("report", "--open-test", *small, "--out", "report", *there),
        (*fit_it, "--out", "model"),
    ):
        code, out, err = command(*arguments)
        assert code == 0, (arguments, err)
    assert "relative_mse 0.992328" in out
    study = load_study("finished", of_a_file)
    assert kept(study.trials)[: len(before)] == before
    held = held_data(study)
    assert held is not None
    mid = (walk.high + walk.low) / 2
    assert held.whole().target.tobytes() == mid.tobytes()
    assert BestDocument.load(tmp_path / "best.toml").config == best_config(study)
    assert Forecaster.load(tmp_path / "model").history.values.tobytes() == mid.tobytes()


def test_prices_are_given_as_they_were(of_a_file: str, tmp_path: Path, walk: PriceSeries) -> None:
    read = read_prices(tmp_path / "moved" / "acme.csv")
    assert isinstance(read, PriceSeries)
    assert read.digest == walk.digest
    study = load_study("finished", of_a_file)
    for prices in (read, walk):
        outcome = replay(study, 0, prices=prices)
        assert outcome.difference < 1e-6
        was = "foretune was 0.1.0 when the study began and is "
        assert any(reason.startswith(was) for reason in outcome.reasons)
        again = run_study("finished", prices=prices, n_trials=8, storage=of_a_file, workers=1)
        assert finished_trials(again) == 8


def test_files_of_version_1_are_read(of_a_file: str) -> None:
    document = BestDocument.load(FOLDER / "best.toml")
    assert document.config == TrialConfig.load(FOLDER / "best.toml")
    assert document.config == best_config(load_study("finished", of_a_file))
    space = SearchSpace.load(FOLDER / "space.toml")
    assert SearchSpace.from_toml(space.to_toml()) == space
    assert space == SearchSpace(
        layers=1,
        units=(4, 6),
        unroll_length=8,
        batch_size=8,
        learning_rate=FloatRange(low=1e-3, high=1e-1, log=True),
        dropout=FloatRange(low=0.0, high=0.5),
        scaling=("log_returns", "windowed_min_max"),
        scaling_window=60,
        smoothing=0.1,
        label_offset=3,
        epochs=4,
        steps_per_epoch=5,
    )


def test_a_worker_of_version_1_that_lives_is_not_robbed(tmp_path: Path) -> None:
    study = optuna.create_study()
    study.ask()
    (trial,) = study.get_trials()
    trial.system_attrs["foretune:owner"] = ["elsewhere boot ns", 7, "1"]
    trial.system_attrs["foretune:beat"] = [3, 10.0, time.time() - 30]
    with pytest.raises(
        ConfigError,
        match=r"still being run by process 7 of host elsewhere, a worker of version 1; stop",
    ):
        was_running(trial)
    trial.system_attrs["foretune:beat"] = [3, 10.0, time.time() - 90]
    assert was_running(trial)


TINY = SearchSpace(
    layers=1,
    units=4,
    unroll_length=8,
    batch_size=8,
    learning_rate=FloatRange(low=1e-3, high=1e-1, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    epochs=6,
    steps_per_epoch=5,
)
WIDE = SearchSpace(
    layers=(1, 2),
    units=(32, 64),
    unroll_length=(25, 50),
    learning_rate=FloatRange(low=1e-4, high=1e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    epochs=4,
)


def begun_by_version_1(
    name: str, prices: PriceSeries, split: dict[str, Any], seed: int | None, space: SearchSpace
) -> optuna.Study:
    """A study without trials whose spec is as version 1 stored it: its folds share no epoch."""
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), study_name=name)
    spec, _ = agreed_spec(None, prices, split, target="mid", space=space, epochs=None, seed=seed)
    store_spec(study, spec.replace(split=spec.split.replace(shared_epoch=False)))
    assert "shared_epoch" not in study.user_attrs["foretune_spec"]["split"]
    return study


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("one", {}),
        ("folds", {"folds": 2, "seed": 4}),
        ("lanes", {"lanes": 3}),
        pytest.param("sp500", {"space": WIDE, "horizon": None}, marks=pytest.mark.slow),
    ],
)
def test_a_seeded_search_finds_what_version_1_found(
    name: str, options: dict[str, Any], walk: PriceSeries
) -> None:
    expected = VALUES["searched"][name]
    given: dict[str, Any] = {"space": TINY, "horizon": 5, "lanes": 1, "seed": None} | options
    prices = load_sample("sp500") if name == "sp500" else walk
    split = {"horizon": given["horizon"], "folds": given.get("folds")}
    begun = begun_by_version_1(name, prices, split, given["seed"], given["space"])
    spec = begun.user_attrs["foretune_spec"]
    study = run_study(
        name,
        prices,
        n_trials=len(expected),
        storage=storage_of(begun),
        workers=1,
        show_progress_bar=False,
        **given,
        target="mid",
    )
    assert study.user_attrs["foretune_spec"] == spec
    for trial, then in zip(study.trials, expected, strict=True):
        assert trial.state.name == then["state"]
        assert trial.value == pytest.approx(then["value"], rel=1e-6)
        assert trial.params == pytest.approx(then["params"], rel=1e-6)
        reported = list(trial.intermediate_values.values())
        assert reported == pytest.approx(then["reported"], rel=1e-6)
    if name == "folds":
        assert all(replay(study, trial.number, prices).is_identical for trial in study.trials)


@pytest.fixture
def fold_by_fold(walk: PriceSeries) -> optuna.Study:
    """What version 1 found under its Wilcoxon pruner: each fold's best value is a step."""
    study = begun_by_version_1("wilcoxon", walk, {"horizon": 5, "folds": 3}, None, TINY)
    found = VALUES["searched"]["wilcoxon"]
    for then, seen in ((found[0], 3), (found[1], 3), (found[1], 2)):  # the last was pruned
        values = then["reported"][:seen]
        study.enqueue_trial(then["params"])
        trial = study.ask()
        trial.set_user_attr("config", TINY.suggest(trial).to_toml())
        trial.set_user_attr("relative_mse", float(np.mean(values)))
        for fold, value in enumerate(values, 1):
            trial.report(value, fold)
            trial.set_user_attr(f"relative_mse_fold_{fold}", value)
        state = TrialState.COMPLETE if seen == 3 else TrialState.PRUNED
        study.tell(trial, then["value"] if seen == 3 else None, state=state)
    return study


def test_trials_that_were_compared_fold_by_fold_are_replayed(
    fold_by_fold: optuna.Study, walk: PriceSeries
) -> None:
    for number, seen in ((0, 3), (1, 3), (2, 2)):
        again = replay(fold_by_fold, number, walk)
        assert again.compared == 1 + seen
        assert again.difference < 1e-6
    axes, _ = learning_curves_figure(fold_by_fold, []).axes
    assert axes.get_xlabel().startswith("fold")


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_that_was_pruned_fold_by_fold_goes_on_unpruned(
    fold_by_fold: optuna.Study, walk: PriceSeries
) -> None:
    def go_on(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
        return run_study(
            "wilcoxon",
            walk,
            target="mid",
            n_trials=4,
            storage=storage_of(fold_by_fold),
            pruner=pruner,
            workers=1,
            show_progress_bar=False,
        )

    for pruner, why in (
        (None, "pruned fold by fold, and no pruner .* continue it with --pruner none"),
        (optuna.pruners.MedianPruner(), "pruned fold by fold"),
        (optuna.pruners.WilcoxonPruner(), "pruner must not be WilcoxonPruner: no fold has a value"),
    ):
        with pytest.raises(ConfigError, match=why):
            go_on(pruner)
    assert len(fold_by_fold.trials) == 3
    trial = go_on(optuna.pruners.NopPruner()).trials[3]
    assert list(trial.intermediate_values) == list(range(1, trial.user_attrs["epochs"] + 1))
    assert go_on().trials[3] == trial  # its pruner is stored now


@pytest.mark.parametrize(("folds", "is_new"), [(1, True), (2, True), (2, False)])
def test_folds_share_an_epoch_in_new_studies(
    folds: int, is_new: bool, walk: PriceSeries, tmp_path: Path
) -> None:
    """And the figures are of the best trial as it was trained."""
    split, space = {"horizon": 5, "folds": folds}, TINY.fix(learning_rate=0.1, dropout=0.0)
    begun = begun_by_version_1("s", walk, split, None, space)
    study = run_study(
        "s",
        walk,
        **split,
        space=space,
        n_trials=1,
        target="mid",
        storage=optuna.storages.InMemoryStorage() if is_new else storage_of(begun),
        workers=1,
        show_progress_bar=False,
    )
    shared = is_new and folds > 1
    before = {"stride": 1, "train_fraction": 0.6, "validation_fraction": 0.2}
    stored = study.user_attrs["foretune_spec"]["split"]
    assert stored == split | before | ({"shared_epoch": True} if shared else {})
    seen: list[float] = []
    write_results(study, walk, tmp_path, on_epoch=lambda _n, _c, at: seen.append(at.relative_mse))
    last = required_spec(study).development(walk)[-1]
    alone = [result.relative_mse for result in fit(best_config(study), last)]
    assert seen == (list(study.trials[0].intermediate_values.values()) if shared else alone)
    if folds == 2:
        assert list(study.trials[0].intermediate_values.values()) != alone
