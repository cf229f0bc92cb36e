"""A study holds its data: its storage alone is enough, and the test part stays behind its doors."""

import io
import sqlite3
import threading
import tomllib
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np
import optuna
import pandas as pd
import pytest
from command_line import Run
from small_study import planned_series, planned_table

from foretune.datasets import Panel, TimeSeries
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.models import Forecaster
from foretune.search import (
    SearchSpace,
    best_config,
    load_study,
    make_report,
    replay,
    run_study,
    write_report,
    write_results,
)
from foretune.search.storage.artifact_store import data_store
from foretune.search.study import data as study_data_module
from foretune.search.study.data import held_data, hold_data, study_data
from foretune.search.study.spec import required_spec

QUIET: dict[str, Any] = {"workers": 1, "show_progress_bar": False, "horizon": 4}


@pytest.fixture
def space(tiny_space: SearchSpace) -> SearchSpace:
    return tiny_space.fix(scaling="standard", past_covariates=True, future_covariates=True)


def storage_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'studies.db'}"


def search(folder: Path, data: Any, space: SearchSpace, name: str = "s", **more: Any) -> Any:
    return run_study(
        name, data, **{"n_trials": 2} | QUIET | more, space=space, storage=storage_in(folder)
    )


def rows_of(folder: Path, table: str = "foretune_data") -> dict[str, bytes]:
    with sqlite3.connect(folder / "studies.db") as connection:
        return dict(connection.execute(f"SELECT artifact_id, content FROM {table}"))


def change(folder: Path, part: str, content: bytes | None) -> None:
    """Write something else in the place of a part, or remove it."""
    with sqlite3.connect(folder / "studies.db") as connection:
        where = f"WHERE artifact_id LIKE '%/{part}'"
        if content is None:
            connection.execute(f"DELETE FROM foretune_data {where}")
        else:
            connection.execute(f"UPDATE foretune_data SET content = ? {where}", (content,))


def test_every_command_works_without_the_file(command: Run, tmp_path: Path) -> None:
    """A study made in one folder goes on in another, from a copy of its database."""
    made, other = tmp_path / "made", tmp_path / "other"
    made.mkdir()
    other.mkdir()
    file = made / "plan.csv"
    planned_table().to_csv(file)
    (tmp_path / "space.toml").write_text(
        'head = "direct"\nlayers = 1\nunits = 4\nunroll_length = 8\nbatch_size = 8\n'
        'scaling = "standard"\nskip = "none"\nsteps_per_epoch = 2\nepochs = 2\n'
        "past_covariates = true\nfuture_covariates = true\nsegment_length = 1\n"
    )
    small = ("--study", "s", "--workers", "1")
    columns = ("--target", "level", "--past", "wind", "--future", "plan", "--horizon", "4")
    code, _, err = command(
        *("run", "--data", str(file), *columns, *small, "--trials", "2"),
        *("--space", "space.toml", "--storage", storage_in(made), "--out", str(made / "out")),
    )
    assert code == 0, err
    assert "plan.csv: 400 rows, 2024-03-01 to 2024-03-17 15:00:00, hourly, level" in err
    assert "; stored with the study, " in err.splitlines()[0]
    file.unlink()
    (made / "studies.db").rename(other / "studies.db")
    newer, said = other / "plan.csv", dict[str, str]()
    planned_table(420).to_csv(newer)
    planned_table(420)[["plan"]].iloc[400:404].to_csv(other / "ahead.csv")
    there = ("--storage", storage_in(other))
    best = str(made / "out" / "best.toml")
    for arguments in (
        ("run", *small, "--trials", "3", "--out", str(other / "out")),
        ("report", "--study", "s", "--out", str(other / "report")),
        ("replay", "--study", "s", "--trial", "1"),
        ("best", "--study", "s", "--out", str(other / "best.toml")),
        ("report", "--study", "s", "--open-test", "--out", str(other / "report")),
        ("compare", "s", "s"),
        ("fit", best, "--out", str(other / "model")),
        # Newer data, from the study's best config.
        (
            "run",
            "--data",
            str(newer),
            *columns,
            "--study",
            "newer",
            "--workers",
            "1",
            "--trials",
            "1",
            "--space",
            "space.toml",
            "--start-from",
            "s",
            "--out",
            str(other / "newer"),
        ),
    ):
        code, out, err = command(*arguments, *there)
        said[arguments[0]] = out
        assert code == 0, (arguments, err)
        assert "warning" not in err.lower()
    # As in the study, and of the same times, though nothing was read.
    assert "as in the study" in said["fit"]
    newest, old = (load_study(name, storage_in(other)) for name in ("newer", "s"))
    assert best_config(newest) == best_config(old)
    ahead = ("--future", str(other / "ahead.csv"))
    code, out, err = command("forecast", str(other / "model"), *ahead)
    assert code == 0, err
    assert "2024-03-17 16:00:00" in out
    assert (other / "best.toml").read_text() == (other / "out" / "best.toml").read_text()
    model = Forecaster.load(other / "model")
    assert len(model.history) == 400
    assert "are known, but were neither trained on nor scored" in said["fit"]
    # Parts that are not those of the data are refused, as with data that are read.
    text = Path(best).read_text()
    begins = str(tomllib.loads(text)["parts"]["validation"][0])
    Path(best).write_text(text.replace(begins, f"{begins[:-5]}30:00"))
    code, _, err = command("fit", best, "--out", str(other / "again"), *there)
    assert code == 2
    assert "parts.validation must be " in err
    Path(best).write_text(text)
    # And without the storage there is nothing to fit to.
    code, _, err = command("fit", best, "--out", str(other / "again"))
    assert code == 2
    assert "the data of study 's' must be given, as --data: plan.csv: there is no such file" in err
    assert err.endswith("; or name a storage where the study holds them, as --storage\n")


def test_the_model_is_that_of_the_whole_series(tmp_path: Path, space: SearchSpace) -> None:
    """What fit makes of the stored data, which it gets in two steps, is what it made before."""
    series = planned_series(planned_table())
    study = search(tmp_path, series, space)
    held, config = study_data(study), best_config(study)
    split = required_spec(study).whole_split
    epochs: list[int] = []
    before_the_whole: list[int] = []

    def read_the_whole() -> TimeSeries:
        before_the_whole.append(len(epochs))
        return held.whole()

    ours = Forecaster.train(
        config,
        held.development,
        split=split,
        whole=read_the_whole,
        on_epoch=lambda _, result: epochs.append(result.epoch),
    )
    assert before_the_whole == [len(epochs)]  # once, when all training was done
    assert epochs
    whole = Forecaster.train(config, series, split=split)
    plan = {"plan": np.zeros(4)}
    pd.testing.assert_frame_equal(ours.forecast(future=plan), whole.forecast(future=plan))
    assert ours.training == whole.training
    assert ours.history.digest == series.digest


def planned_panel(table: pd.DataFrame, middle: pd.DataFrame) -> Panel:
    """Three series that end together, of which ``middle`` begins later, and another one too."""
    parts = {"first": table, "middle": middle.iloc[60:], "last": table.iloc[20:]}
    series = [replace(planned_series(part), name=name) for name, part in parts.items()]
    return Panel(name="plans", series=tuple(series), source="typed in")


@pytest.mark.parametrize(
    "made", [lambda _, changed: planned_series(changed), planned_panel], ids=["series", "panel"]
)
def test_values_of_the_test_reach_the_sealed_object_alone(
    made: Callable[[pd.DataFrame, pd.DataFrame], TimeSeries | Panel],
    tmp_path: Path,
    space: SearchSpace,
) -> None:
    """The leak test, in the database: what is stored differs in a digest and one object.

    Of a panel the values of one series alone are others.
    """
    table = planned_table()
    series = made(table, table)
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    study = search(folders[0], series, space)
    stop = required_spec(study).whole_split.validation_stop
    changed = table.copy()
    changed.iloc[stop:, :3] = np.random.default_rng(5).normal(size=(len(table) - stop, 3)) * 3
    search(folders[1], made(table, changed), space)

    def stored(folder: Path) -> dict[str, Any]:
        with sqlite3.connect(folder / "studies.db") as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            found = {
                name: sorted(map(str, connection.execute(f"SELECT * FROM {name}")))
                for (name,) in list(tables)
                if name not in ("alembic_version", "foretune_data")
            }
        return found | {
            part.partition("/")[2]: content for part, content in rows_of(folder).items()
        }

    one, other = (stored(folder) for folder in folders)
    assert one.keys() == other.keys()
    differ = {name for name in one if one[name] != other[name]}
    # Times of day, and in the artifacts the seconds that training took.
    clocked = {"trials", "study_system_attributes", "trial_system_attributes"}
    clocked |= {"trial_user_attributes", "foretune_artifacts"}
    assert differ - clocked == {"test", "study_user_attributes"}
    digests = [required_spec(load_study("s", storage_in(f))).prices.digest for f in folders]
    attributes = "".join(one["study_user_attributes"])
    assert attributes.replace(*digests) == "".join(other["study_user_attributes"])


def test_a_study_of_a_panel_goes_on_from_its_database_alone(
    tmp_path: Path, space: SearchSpace
) -> None:
    panel = planned_panel(planned_table(), planned_table())
    study = search(tmp_path, panel, space)
    held = held_data(study)
    assert held is not None
    stop = required_spec(study).whole_split.validation_stop
    assert (len(held.development), len(held.time)) == (stop, 400)
    assert held.development.names == ("first", "last", "middle")
    for one, whole in zip(held.development.members, panel.members, strict=True):
        np.testing.assert_array_equal(one.target, whole.target[: len(one)])
    assert held.whole().digest == panel.digest
    assert replay(study, 0).is_identical
    assert len(search(tmp_path, None, space, n_trials=3).trials) == 3
    with pytest.raises(ConfigError, match="must be those of study 's'"):
        replay(study, 0, data=planned_panel(planned_table(), planned_table().assign(level=1.5)))


def test_no_value_of_the_test_can_be_read_where_artifacts_are(
    tmp_path: Path, space: SearchSpace
) -> None:
    """A needle in the test part: no artifact, attribute or page has it, packed or not."""
    table = planned_table()
    table.iloc[-30:, table.columns.get_loc("level")] = 123456.78901
    study = search(tmp_path, planned_series(table), space)
    needles = (b"123456.78", np.float64(123456.78901).tobytes())

    def has_needle(content: bytes) -> bool:
        return any(needle in content for needle in needles)

    raw = rows_of(tmp_path)
    (sealed,) = (content for part, content in raw.items() if part.endswith("/test"))
    (open_part,) = (content for part, content in raw.items() if part.endswith("/development"))
    assert has_needle(arrays_of(sealed))  # so that this test can fail
    assert not has_needle(arrays_of(open_part))
    for content in rows_of(tmp_path, "foretune_artifacts").values():
        assert not has_needle(content)
        assert not has_needle(unpacked(content))
    without = sqlite3.connect(tmp_path / "studies.db")
    without.execute("DELETE FROM foretune_data")
    without.execute("DELETE FROM foretune_artifacts")
    assert not has_needle("\n".join(without.iterdump()).encode())
    without.rollback()
    without.close()
    assert study_data(study).whole().target[-1] == 123456.78901


def arrays_of(content: bytes) -> bytes:
    with np.load(io.BytesIO(content)) as arrays:
        return b"".join(array.tobytes() for array in arrays.values())


def unpacked(content: bytes) -> bytes:
    try:
        return arrays_of(content)
    except Exception:
        try:
            return zlib.decompress(content)
        except zlib.error:
            return b""


def test_the_dashboard_serves_neither_object(tmp_path: Path, space: SearchSpace) -> None:
    import urllib.error
    import urllib.request

    from foretune.search.dashboard.app import dashboard_app
    from foretune.search.storage.connect import open_storage

    study = search(tmp_path, planned_series(planned_table()), space)
    app = dashboard_app(open_storage(storage_in(tmp_path)))

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://127.0.0.1:{server.server_port}"

        def status(path: str) -> int:
            try:
                return int(urllib.request.urlopen(at + path).status)
            except urllib.error.HTTPError as error:
                return error.code

        number, trial = study._study_id, study.trials[0]._trial_id
        artifacts = {**rows_of(tmp_path, "foretune_artifacts")}
        of_trial = [
            key.removeprefix("artifacts:")
            for key in study.trials[0].system_attrs
            if key.startswith("artifacts:")
        ]
        # So that this test can fail: a trial's artifact is served under this address.
        assert of_trial[0] in artifacts
        assert status(f"/artifacts/{number}/{trial}/{of_trial[0]}") == 200
        for object_id in rows_of(tmp_path):
            for quoted in (object_id, object_id.replace("/", "%2F")):
                assert status(f"/artifacts/{number}/{quoted}") == 404
                assert status(f"/artifacts/{number}/{trial}/{quoted}") == 404
        page = urllib.request.urlopen(f"{at}/api/studies/{number}").read()
        assert b"/development" not in page
        server.shutdown()


@pytest.mark.parametrize("how", ["bytes", "other rows", "absent"])
def test_a_damaged_test_part_is_said_in_the_report(
    tmp_path: Path, space: SearchSpace, how: str
) -> None:
    series = planned_series(planned_table())
    study = search(tmp_path, series, space)
    if how == "other rows":
        other = planned_table()
        other.iloc[-3:, 0] += 1
        search(tmp_path, planned_series(other), space, name="other", n_trials=1)
        other_id = study_data_module._ids(load_study("other", storage_in(tmp_path)))[1]
        content: bytes | None = rows_of(tmp_path)[other_id]
        mine = study_data_module._ids(study)[1]
        assert content is not None
        data_store(study._storage).write(mine, io.BytesIO(content))
    else:
        content = None if how == "absent" else b"\0" * 100
        change(tmp_path, "test", content)
    # All that does not need it goes on.
    assert replay(study, 0).is_identical
    sealed = make_report(study, top=1)
    assert sealed.openings == []
    opened = make_report(study, open_test=True, top=1)
    assert opened.test is None
    assert len(opened.openings) == 1
    expected = "the test part of the data of study 's' is damaged in the storage"
    assert expected in opened.verdict
    write_report(opened, tmp_path / "report")
    assert expected in (tmp_path / "report" / "report.md").read_text()
    # The data from elsewhere are as good as they were.
    assert make_report(study, series, open_test=True, top=1).test is not None


def test_a_damaged_development_part_is_refused_at_once(tmp_path: Path, space: SearchSpace) -> None:
    series = planned_series(planned_table())
    study = search(tmp_path, series, space)
    change(tmp_path, "development", b"nothing")
    with pytest.raises(DataError, match=r"training and validation part .* is damaged .* --data"):
        replay(study, 0)
    assert replay(study, 0, series).is_identical
    # So are the rows of another study.
    search(tmp_path, planned_series(planned_table(380)), space, name="other", n_trials=1)
    others = study_data_module._ids(load_study("other", storage_in(tmp_path)))[0]
    content = rows_of(tmp_path)[others]
    data_store(study._storage).write(study_data_module._ids(study)[0], io.BytesIO(content))
    with pytest.raises(DataError, match=r"training and validation part .* it has 301 rows of 380"):
        replay(study, 0)
    # Given again, they heal.
    again = search(tmp_path, series, space, n_trials=3)
    assert replay(again, 2).is_identical


def test_data_that_may_not_be_stored_are_read_again(tmp_path: Path, space: SearchSpace) -> None:
    file = tmp_path / "sub" / "plan.csv"
    file.parent.mkdir()
    planned_table().to_csv(file)
    reading = {"target": "level", "past": ["wind"], "future": ["plan"]}
    from foretune.datasets import read_series

    study = search(tmp_path, read_series(file, **reading), space, store_data=False)
    assert held_data(study) is None
    assert "foretune_data" not in tables(tmp_path)
    # From another folder than the file's: the study knows where it was.
    assert replay(study, 0).is_identical
    # The study's own choice counts when it goes on.
    search(tmp_path, None, space, n_trials=3)
    assert held_data(study) is None
    with pytest.raises(ConfigError, match="store_data is False there, but got True"):
        search(tmp_path, None, space, n_trials=3, store_data=True)
    planned_table().assign(level=1.5).to_csv(file)
    with pytest.raises(
        ConfigError, match=r"those of study 's', .* in .*/sub/plan\.csv; give .* as --data"
    ):
        replay(study, 0)
    file.unlink()
    with pytest.raises(
        DataError, match=r"as --data: .*/sub/plan\.csv is gone, and plan\.csv: there"
    ):
        replay(study, 0)


def tables(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "studies.db") as connection:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]


def test_large_data_are_kept_by_digest_and_place(
    tmp_path: Path,
    space: SearchSpace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(study_data_module, "MOST_BYTES", 2000)
    series = planned_series(planned_table())
    study = search(tmp_path, series, space, show_progress_bar=True)
    said = capsys.readouterr().err
    assert "not stored with the study, because" in said
    assert "its commands need them again, as --data" in said
    with pytest.raises(DataError, match=r"they were a DataFrame, and the study does not hold them"):
        study_data(study)
    assert replay(study, 0, series).is_identical


def test_a_study_in_memory_holds_its_data_while_it_lives(space: SearchSpace) -> None:
    storage = optuna.storages.InMemoryStorage()
    series = planned_series(planned_table())
    run_study("s", series, n_trials=1, space=space, storage=storage, **QUIET)
    study = run_study("s", n_trials=2, storage=storage, workers=1, show_progress_bar=False)
    assert len(study.trials) == 2
    assert study_data(study).whole().digest == series.digest


def test_data_of_another_study_are_refused(tmp_path: Path, space: SearchSpace) -> None:
    table = planned_table()
    study = search(tmp_path, planned_series(table), space, n_trials=1)
    other = search(
        tmp_path, planned_series(table.assign(level=-table.level)), space, "other", n_trials=1
    )
    with pytest.raises(ConfigError, match="data must be those of study 's'"):
        replay(study, 0, study_data(other))
    with pytest.raises(ConfigError, match="data must be those of study 's'"):
        search(tmp_path, study_data(other), space)


def test_a_new_study_needs_data(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="data must be given for study 'new', which is a new one"):
        run_study("new", storage=storage_in(tmp_path), **QUIET)


def test_newer_data_begin_a_new_study_at_the_old_ones_best(
    command: Run, tmp_path: Path, space: SearchSpace
) -> None:
    old = search(tmp_path, planned_series(planned_table(380)), space)
    newer = planned_series(planned_table(400))
    with pytest.raises(ConfigError, match=r"start_from='s' \(--start-from\)"):
        search(tmp_path, newer, space)
    new = search(tmp_path, newer, space, name="newer", n_trials=1, start_from=["s"])
    assert best_config(new) == best_config(old)
    # A file of a config, whatever it is called, and the same on the command line.
    best_config(old).save(tmp_path / "best.toml")
    file = (tmp_path / "best.toml").rename(tmp_path / "best config")
    again = search(tmp_path, newer, space, name="again", n_trials=1, start_from=file)
    assert best_config(again) == best_config(old)
    code, _, err = command(
        *("run", "--study", "again", "--trials", "2", "--workers", "1", "--start-from", "newer"),
        *("--storage", storage_in(tmp_path)),
    )
    assert code == 0, err
    assert best_config(again) == best_config(old)  # which was trained already
    with pytest.raises(ConfigError, match=r"start_from: study must be .* got 'gone'; available"):
        search(tmp_path, newer, space, name="another", start_from="gone")


def test_an_older_study_gets_its_data_when_it_goes_on(tmp_path: Path, space: SearchSpace) -> None:
    series = planned_series(planned_table())
    study = search(tmp_path, series, space)
    with sqlite3.connect(tmp_path / "studies.db") as connection:
        connection.execute("DROP TABLE foretune_data")
    study = load_study("s", storage_in(tmp_path))
    with pytest.raises(DataError, match="must be given"):
        study_data(study)
    search(tmp_path, series, space, n_trials=3)
    assert study_data(load_study("s", storage_in(tmp_path))).whole().digest == series.digest
    assert hold_data(study, study_data(study)) == "the study holds them"


def test_a_best_config_takes_the_data_of_its_own_study_alone(
    command: Run, tmp_path: Path, space: SearchSpace
) -> None:
    """Another study of its name in the storage has other data or another split."""
    table = planned_table()
    study = search(tmp_path, planned_series(table), space)
    write_results(study, None, tmp_path / "out")
    best = ("fit", str(tmp_path / "out" / "best.toml"), "--storage", storage_in(tmp_path))
    assert command(*best, "--out", "model")[0] == 0
    for others in ({"data": planned_series(table[:390])}, {"gap": 0}):
        optuna.delete_study(study_name="s", storage=storage_in(tmp_path))
        run_study(
            "s",
            **{"data": planned_series(table), "n_trials": 1} | QUIET | others,
            space=space,
            storage=storage_in(tmp_path),
        )
        code, _, err = command(*best, "--out", "model")
        assert code == 2
        assert "study 's' of --storage is another one, of other data or parts" in err
        # In the usual storage it is passed over.
        code, _, err = command(*best[:2], "--out", "model")
        assert code == 2
        assert "the data of study 's' must be given" in err


def test_fit_reads_data_that_the_study_knows_the_place_of(
    command: Run, tmp_path: Path, space: SearchSpace
) -> None:
    from foretune.datasets import read_series

    file = tmp_path / "sub" / "plan.csv"
    file.parent.mkdir()
    planned_table().to_csv(file)
    series = read_series(file, target="level", past=["wind"], future=["plan"])
    study = search(tmp_path, series, space, n_trials=1, store_data=False)
    write_results(study, series, tmp_path / "out")
    fit = ("fit", str(tmp_path / "out" / "best.toml"), "--out", "model")
    code, out, err = command(*fit, "--storage", storage_in(tmp_path))
    assert code == 0, err
    assert "as in the study" in out
    # A reading option that says what the study knows changes nothing.
    again = command(*fit, "--storage", storage_in(tmp_path), "--target", "level")
    assert again[:2] == (code, out)
    file.unlink()
    code, _, err = command(*fit, "--storage", storage_in(tmp_path))
    assert code == 2
    assert "sub/plan.csv is gone, and plan.csv: there is no such file" in err
    assert "name the storage" not in err
    # A storage that was named and has no such study is said, and not silently passed over.
    code, _, err = command(*fit, "--storage", "sqlite:///none.db")
    assert code == 2
    assert "storage must be a database that exists, but got sqlite:///none.db" in err


def test_a_journal_does_not_hold_data(
    tmp_path: Path, space: SearchSpace, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is kept in memory for it ends with the process, and the study does not."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    def storage() -> JournalStorage:
        return JournalStorage(JournalFileBackend(str(tmp_path / "journal.log")))

    file = tmp_path / "sub" / "plan.csv"
    file.parent.mkdir()
    planned_table().to_csv(file)
    columns = {"past_covariates": False, "future_covariates": False}
    given = QUIET | {"show_progress_bar": True, "space": space.fix(**columns), "target": "level"}
    run_study("s", file, n_trials=1, storage=storage(), **given)
    said = capsys.readouterr().err
    assert "not stored with the study, because JournalStorage has no tables: its commands" in said
    assert "sub/plan.csv again" in said
    # As in another process.
    assert len(run_study("s", n_trials=2, storage=storage(), **given).trials) == 2


def test_a_study_on_postgresql_holds_its_data_too(
    request: pytest.FixtureRequest, space: SearchSpace
) -> None:
    url = request.getfixturevalue("postgresql").new_database()
    series = planned_series(planned_table())
    run_study("s", series, n_trials=1, space=space, storage=url, **QUIET)
    study = run_study("s", n_trials=2, storage=url, workers=1, show_progress_bar=False)
    assert len(study.trials) == 2
    assert study_data(load_study("s", url)).whole().digest == series.digest
