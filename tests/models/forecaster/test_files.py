"""A saved forecaster: the same bits in another process, whole or not at all, and never guessed."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import tomli_w

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.models import Forecaster
from foretune.models.forecaster import files as forecaster_files
from foretune.models.forecaster.arrays import (
    folder_digest,
    read_arrays,
    write_arrays,
)
from foretune.models.forecaster.document import ForecasterDocument
from foretune.models.forecaster.files import require_model_place


@pytest.fixture(scope="module")
def forecaster(small: SimpleNamespace) -> Forecaster:
    return Forecaster.train(small.config, small.prices, split=small.data.split, target="mid")


@pytest.fixture(scope="module")
def other(small: SimpleNamespace) -> Forecaster:
    return Forecaster.train(
        small.changed(seed=1), small.prices, split=small.data.split, coverage=0.5, target="mid"
    )


@pytest.fixture(scope="module")
def saved(forecaster: Forecaster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved forecaster; tests change copies of it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    forecaster.save(folder)
    return folder


@pytest.fixture
def of_format_1(tmp_path: Path) -> Path:
    """A forecaster that the code before format 2 saved, and what it forecast."""
    with tarfile.open(Path(__file__).with_name("format1.tar.gz")) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "model"


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy of the saved forecaster, to change."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def bits(forecaster: Forecaster) -> str:
    """All numbers of a forecast, in hex."""
    return forecaster.forecast().drop(columns="date").to_numpy().tobytes().hex()


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def refusal(folder: Path) -> str:
    """The one line that loading ``folder`` ends with."""
    with pytest.raises(ConfigError) as caught:
        Forecaster.load(folder)
    message = str(caught.value)
    assert "\n" not in message
    return message


# There and back


@pytest.mark.parametrize("scaling", ["log_returns", "windowed_min_max"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_what_is_loaded_is_what_was_saved(
    scaling: str, cell: str, small: SimpleNamespace, tmp_path: Path
) -> None:
    config = small.changed(cell=cell, units=(3, 2), pad_units_to=4, scaling=scaling, epochs=1)
    split = small.data.split
    ours = Forecaster.train(
        config, small.prices, split=split, refit=False, coverage=0.8, target="mid"
    )
    ours.save(tmp_path / "model")
    loaded = Forecaster.load(str(tmp_path / "model"))
    assert bits(loaded) == bits(ours)
    for name in ("config", "scaling", "training", "coverage", "versions", "horizon"):
        assert getattr(loaded, name) == getattr(ours, name)
        assert type(getattr(loaded, name)) is type(getattr(ours, name))
    assert loaded.widths.tobytes() == ours.widths.tobytes()
    for name in ("name", "digest"):
        assert getattr(loaded.history, name) == getattr(ours.history, name)
    for name in ("dates", "values"):
        before, after = getattr(ours.history, name), getattr(loaded.history, name)
        assert (after.tobytes(), after.dtype) == (before.tobytes(), before.dtype)
    assert jax.tree.structure(loaded.params) == jax.tree.structure(ours.params)
    for a, b in zip(jax.tree.leaves(loaded.params), jax.tree.leaves(ours.params), strict=True):
        assert (a.tobytes(), a.dtype, a.shape) == (b.tobytes(), b.dtype, b.shape)
        assert not a.flags.writeable
    assert repr(loaded) == repr(ours)


def test_newer_prices_are_saved_too(forecaster: Forecaster, tmp_path: Path) -> None:
    from foretune.datasets.sources.samples import ar1

    moved = forecaster.with_prices(ar1(333))
    moved.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert bits(loaded) == bits(moved) != bits(forecaster)
    assert len(loaded.history) == 333
    assert loaded.training.days == forecaster.training.days


FRESH = """
import sys
from foretune.datasets.sources.samples import ar1
from foretune.datasets.splits import chronological_split
from foretune.models import Forecaster, TrialConfig
def bits(forecaster):
    return forecaster.forecast().drop(columns="date").to_numpy().tobytes().hex()
print(bits(Forecaster.load(sys.argv[1])))
config = TrialConfig.load(sys.argv[1] + "/forecaster.toml")
split = chronological_split(300, horizon=5, stride=5, history=5)
forecaster = Forecaster.train(config, ar1(300), split=split, target="mid")
print(bits(forecaster))
forecaster.save(sys.argv[2])
"""


def test_a_fresh_process_loads_trains_and_saves_the_same_bits(
    model: Path, tmp_path: Path, forecaster: Forecaster
) -> None:
    # Elsewhere than it was saved, and by a relative path.
    model.rename(tmp_path / "moved")
    command = [sys.executable, "-c", FRESH, "moved", "again"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [bits(forecaster)] * 2
    again = Forecaster.load(tmp_path / "again")
    assert bits(again) == bits(forecaster)
    documents = [
        ForecasterDocument.load(tmp_path / n / "forecaster.toml") for n in ("again", "moved")
    ]
    assert documents[0] == documents[1].replace(arrays=documents[0].arrays)


def test_the_folder_says_what_it_is_and_where_nothing_was(saved: Path, tmp_path: Path) -> None:
    table = tomllib.loads((saved / "forecaster.toml").read_text())
    assert table["horizon"] == 5
    assert table["history"]["name"] == "ar1"
    assert {"foretune", "jax", "orbax-checkpoint", "numpy"} <= table["versions"].keys()
    files = content(saved)
    assert {name.split("/")[0] for name in files} == {"forecaster.toml", arrays_of(saved).name}
    assert arrays_of(saved).name == f"arrays-{table['arrays'][:12]}"
    # Orbax would say in which temporary folder it wrote.
    assert not any(str(saved.parent).encode() in data for data in files.values())


def test_nothing_is_pickled(
    forecaster: Forecaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("pickle")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    forecaster.save(tmp_path / "model")
    assert bits(Forecaster.load(tmp_path / "model")) == bits(forecaster)


def test_a_forecaster_of_format_1_forecasts_what_it_did(
    of_format_1: Path, other: Forecaster
) -> None:
    loaded = Forecaster.load(of_format_1)
    ahead, then = loaded.forecast(), json.loads((of_format_1 / "../forecast.json").read_text())
    for name, values in then.items():
        np.testing.assert_allclose(ahead[name], values, rtol=1e-6)
    # Replaced by itself in the format of today, and by another one.
    loaded.save(of_format_1)
    assert sorted(os.listdir(of_format_1)) == [arrays_of(of_format_1).name, "forecaster.toml"]
    assert bits(Forecaster.load(of_format_1)) == bits(loaded)
    other.save(of_format_1)
    assert bits(Forecaster.load(of_format_1)) == bits(other)


# Damage


def test_every_file_removed_cut_or_flipped_is_named(saved: Path, tmp_path: Path) -> None:
    names = list(content(saved))
    assert len(names) >= 8
    for number, name in enumerate(names):
        for damage in ("removed", "emptied", "cut", "flipped"):
            folder = Path(shutil.copytree(saved, tmp_path / f"{number}-{damage}"))
            file = folder / name
            data = file.read_bytes()
            if damage == "removed":
                file.unlink()
            elif damage == "flipped":
                half = len(data) // 2
                file.write_bytes(data[:half] + bytes([data[half] ^ 1]) + data[half + 1 :])
            else:
                file.write_bytes(b"" if damage == "emptied" else data[: len(data) // 2])
            message = refusal(folder)
            assert str(folder) in message, (name, damage)
            assert name.split("/")[0] in message, (name, damage)


def test_a_file_too_many_among_the_arrays_is_refused(model: Path) -> None:
    (arrays_of(model) / "more").write_text("")
    message = f"{arrays_of(model)} is damaged: it must have the SHA-256 that forecaster.toml says"
    assert refusal(model) == message


def test_damage_of_a_forecaster_of_format_1_is_refused(
    of_format_1: Path, other: Forecaster, tmp_path: Path
) -> None:
    other.save(tmp_path / "other")
    arrays = read_arrays(arrays_of(tmp_path / "other"))
    shutil.rmtree(of_format_1 / "weights")
    write_arrays(
        of_format_1 / "weights", {n: a for n, a in arrays.items() if not n.startswith("history")}
    )
    assert "weights must hold weights of SHA-256 de7547aa5824..., as in" in refusal(of_format_1)
    np.save(of_format_1 / "history.npy", np.load(of_format_1 / "history.npy")[:-1])
    assert "history.npy must have 300 rows to 1971-02-25, as in" in refusal(of_format_1)
    shutil.rmtree(of_format_1 / "weights")
    assert "weights cannot be restored: " in refusal(of_format_1)


@pytest.mark.parametrize("what", ["missing", "a file", "empty"])
def test_what_is_no_model_is_one_line(what: str, tmp_path: Path) -> None:
    place = tmp_path / "model"
    if what == "a file":
        place.write_text("")
    elif what == "empty":
        place.mkdir()
    message = refusal(place)
    assert message == f"{place} must be a folder of a saved forecaster, with a forecaster.toml"


def test_links_and_pipes_among_the_arrays_are_not_followed(model: Path, tmp_path: Path) -> None:
    folder = arrays_of(model)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert refusal(model) == f"{folder} must be a regular file or folder"
    folder.unlink()
    shutil.copytree(tmp_path / "elsewhere", folder)
    (folder / "_METADATA").unlink()
    os.mkfifo(folder / "_METADATA")
    assert refusal(model) == f"{folder / '_METADATA'} must be a regular file or folder"


def arrays_of(model: Path) -> Path:
    """The folder of arrays in a saved forecaster."""
    (folder,) = model.glob("arrays-*")
    return folder


SCALING = {"log_returns": {"mean": 0.0, "std": 0.01}}
WINDOWS = {"starts": [0, 40], "minima": [1.0, 2.0], "maxima": [2.0, 3.0]}
CONTRADICTIONS: list[tuple[str, Any, str]] = [
    ("format", 4, "format must be 1, 2 or 3, but got 4"),
    ("format", "1", "format must be 1, 2 or 3"),
    ("config.unroll_length", 4000, "config.unroll_length must be at most "),
    ("horizon", 0, "horizon must be greater than or equal to 1"),
    ("horizon", 6, "intervals.widths must hold one width for each of horizon's 6 steps"),
    ("horizn", 5, "unknown key 'horizn'"),
    ("config", 3, "config must be"),
    ("config.cell", "../lstm", "config.cell must be 'lstm', 'peephole_lstm' or 'gru'"),
    ("config.unit", [3], "unknown key 'config.unit'"),
    ("config.units", [4], "must hold the weights that config asks for, but differs in head_kernel"),
    ("config.units", [3, 3], "must hold the weights that config asks for, but differs in layers.1"),
    ("config.cell", "gru", "must hold the weights that config asks for"),
    ("config.scaling", "windowed_min_max", "scaling must be a table of windowed_min_max alone"),
    ("scaling", {}, "scaling must be a table of log_returns alone, as in config.scaling, but got"),
    ("scaling.log_returns.std", 0.0, "scaling.log_returns.std must be greater than 0"),
    ("scaling.log_returns.mean", float("nan"), "scaling.log_returns.mean must be a finite number"),
    ("scaling.windowed_min_max", WINDOWS, "but got log_returns, windowed_min_max"),
    ("training.days", 0, "training.days must be greater than or equal to 1"),
    ("training.days", 301, "training.days must be at most history.days, 300, but got 301"),
    ("training.first_date", "1970-01-02", "training.first_date must be a valid date"),
    ("training.refit", 1, "training.refit must be a valid boolean"),
    ("training.relative_mse", float("inf"), "training.relative_mse must be a finite number"),
    ("training.digest", "ab", "training.digest must match pattern"),
    ("history.days", 299, "must have 299 rows to 1971-02-25, as in forecaster.toml, but has 300"),
    ("history.name", "", "history.name must have at least 1 character"),
    ("history.name", " ", "name of a series must be a non-empty text"),
    ("intervals.coverage", 1.0, "intervals.coverage must be less than 1"),
    ("intervals.widths", [0.1] * 4, "intervals.widths must hold one width for each"),
    ("intervals.widths", [0.1] * 4 + [-0.1], "intervals.widths.4 must be greater than or equal"),
    ("intervals.widths", 0.1, "intervals.widths must be a valid tuple"),
    ("format", 1, "arrays must be the SHA-256 of the arrays in format 2, and in format 1 be left"),
    ("arrays", "0" * 64, "arrays-000000000000 is damaged"),
    ("arrays", "../../etc", "arrays must match pattern"),
    ("arrays", None, "arrays must be the SHA-256 of the arrays in format 2"),
    ("weights.digest", "0" * 64, "must hold weights of SHA-256 000000000000..., as in"),
    ("weights.parameters", "64", "weights.parameters must be a valid integer"),
    ("versions.jax", 1, "versions.jax must be a valid string"),
    ("versions", None, "versions is missing"),
    ("training", None, "training is missing"),
]


def changed(table: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path; None removes it."""
    *above, last = path.split(".")
    for name in above:
        table = table[name]
    table[last] = value
    if value is None:
        del table[last]


@pytest.mark.parametrize(("path", "value", "message"), CONTRADICTIONS)
def test_a_document_that_cannot_be_right_is_named(
    path: str, value: Any, message: str, model: Path
) -> None:
    file = model / "forecaster.toml"
    table = tomllib.loads(file.read_text())
    changed(table, path, value)
    file.write_text(tomli_w.dumps(table))
    said = refusal(model)
    assert message in said
    assert str(model) in said


def test_a_scaling_that_forecasts_no_price_is_told(model: Path) -> None:
    """What no look at the document alone can tell."""
    file = model / "forecaster.toml"
    table = tomllib.loads(file.read_text())
    table["scaling"] = {"log_returns": {"mean": 1e300, "std": 0.01}}
    file.write_text(tomli_w.dumps(table))
    with pytest.raises(DataError, match=r"the forecast after .* must be finite prices above 0"):
        Forecaster.load(model).forecast()


@pytest.mark.parametrize(
    "windows",
    [
        {"starts": [1, 40]},
        {"starts": [0, 0]},
        {"starts": [0]},
        {"maxima": [2.0, 1.0]},
        {"minima": [1.0]},
    ],
)
def test_windows_that_no_scaling_has_are_refused(windows: dict[str, Any], model: Path) -> None:
    file = model / "forecaster.toml"
    table = tomllib.loads(file.read_text())
    table["config"]["scaling"] = "windowed_min_max"
    table["scaling"] = {"windowed_min_max": WINDOWS}
    file.write_text(tomli_w.dumps(table))
    Forecaster.load(model)
    table["scaling"] = {"windowed_min_max": WINDOWS | windows}
    file.write_text(tomli_w.dumps(table))
    assert "scaling.windowed_min_max must have windows that start at 0" in refusal(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history.time": lambda times: times[::-1]}, "time must increase from row to row"),
        ({"history.values": lambda mids: mids[:-1]}, "must have shape (300,), a value for each"),
        ({"history.values": lambda mids: mids[None]}, "must have shape (300,), a value"),
        (
            {"history.time": lambda times: times[:-1], "history.values": lambda mids: mids[:-1]},
            "must have 300 rows to 1971-02-25, as in forecaster.toml",
        ),
        ({"history.values": lambda mids: with_price(mids, np.nan)}, "in row 3 must be a finite"),
        ({"history.values": lambda mids: with_price(mids, -1.0)}, "at 1970-01-07 must be above 0"),
        ({"head_bias": lambda bias: bias.astype(np.float64)}, "but differs in head_bias"),
    ],
)
def test_arrays_that_cannot_be_right_are_named(
    changes: dict[str, Callable[[Any], Any]], message: str, model: Path
) -> None:
    """As somebody would have to write them who makes the digest right again."""
    arrays = read_arrays(arrays_of(model))
    with_arrays(model, arrays | {name: change(arrays[name]) for name, change in changes.items()})
    said = refusal(model)
    assert message in said
    assert str(arrays_of(model)) in said


def with_price(values: Any, price: float) -> Any:
    values = values.copy()
    values[3] = price
    return values


def with_arrays(model: Path, arrays: dict[str, Any]) -> None:
    """Put other arrays in, and their digest in the document."""
    shutil.rmtree(arrays_of(model))
    write_arrays(model / "new", arrays)
    digest = folder_digest(model / "new")
    (model / "new").rename(model / f"arrays-{digest[:12]}")
    file = model / "forecaster.toml"
    file.write_text(re.sub('arrays = ".*"', f'arrays = "{digest}"', file.read_text()))


@pytest.mark.parametrize("what", ["pickle", "empty", "objects", "shape", "pipe"])
def test_the_days_of_format_1_are_an_array_of_numpys_or_refused(
    what: str, of_format_1: Path
) -> None:
    file = of_format_1 / "history.npy"
    days = np.load(file)
    file.unlink()
    rule = "must be an array that np.save wrote"
    if what == "pickle":
        file.write_bytes(pickle.dumps([1]))
    elif what == "empty":
        file.write_bytes(b"")
    elif what == "objects":
        np.save(file, np.array([{}], dtype=object))
    elif what == "shape":
        np.save(file, days.reshape(2, 150))
        rule = "must hold a date and a mid price a day"
    else:
        os.mkfifo(file)
        rule = "must be a regular file"
    assert f"{file} {rule}" in refusal(of_format_1)


def test_the_weights_of_another_model_are_refused(
    model: Path, other: Forecaster, tmp_path: Path
) -> None:
    other.save(tmp_path / "other")
    theirs = read_arrays(arrays_of(tmp_path / "other"))
    shutil.rmtree(arrays_of(model))
    shutil.copytree(arrays_of(tmp_path / "other"), model / arrays_of(tmp_path / "other").name)
    assert "arrays-" in refusal(model)
    with_arrays(model, theirs)
    assert "must hold weights of SHA-256 " in refusal(model)


# Whole or not at all


def test_an_older_model_is_replaced(model: Path, other: Forecaster, tmp_path: Path) -> None:
    other.save(model)
    assert sorted(os.listdir(model)) == [arrays_of(model).name, "forecaster.toml"]
    assert bits(Forecaster.load(model)) == bits(other)
    for file in arrays_of(model).rglob("manifest.ocdbt"):
        file.write_bytes(b"")  # a damaged one too
    other.save(str(model) + "/")
    assert bits(Forecaster.load(model)) == bits(other)
    (tmp_path / "link").symlink_to(model)
    other.save(tmp_path / "link")
    (tmp_path / "empty").mkdir()
    other.save(tmp_path / "empty")
    assert bits(Forecaster.load(tmp_path / "empty")) == bits(other)
    assert sorted(os.listdir(tmp_path)) == ["empty", "link", "model"]


def test_other_files_beside_a_model_stay(model: Path, other: Forecaster) -> None:
    (model / "notes.txt").write_text("mine")
    (model / "arrays-of-mine").mkdir()
    other.save(model)
    assert (model / "notes.txt").read_text() == "mine"
    assert (model / "arrays-of-mine").is_dir()
    # Of a document that cannot be read nobody knows which arrays were its own.
    (model / "forecaster.toml").write_text("format = ")
    other.save(model)
    assert bits(Forecaster.load(model)) == bits(other)


@pytest.mark.parametrize("place", ["full", "file", "none/model", "file/model"])
def test_what_is_no_model_is_never_written_to(
    place: str, tmp_path: Path, other: Forecaster
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine")
    before = content(tmp_path)
    for refuse in (
        lambda: require_model_place(tmp_path / place),
        lambda: other.save(tmp_path / place),
    ):
        with pytest.raises(ConfigError) as caught:
            refuse()
        assert str(tmp_path / place) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert content(tmp_path) == before


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("orbax")])
def test_a_save_that_fails_leaves_the_old_model(
    error: Exception, model: Path, other: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, _: Any) -> None:
        folder.mkdir()
        (folder / "half").write_text("")
        raise error

    before = content(model)
    monkeypatch.setattr(forecaster_files, "write_arrays", fail)
    expected = ConfigError if isinstance(error, OSError) else RuntimeError
    with pytest.raises(expected, match=r"No space left|orbax"):
        other.save(model)
    assert content(model) == before
    assert os.listdir(model.parent) == ["model"]


def test_a_first_save_that_fails_leaves_nothing(
    tmp_path: Path, other: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(forecaster_files, "write_atomically", fail)
    with pytest.raises(ConfigError, match="No space left"):
        other.save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


KILLED = """
import os, shutil, signal, sys, time
import orbax.checkpoint
from foretune.models import Forecaster
from foretune.models.forecaster import files as forecaster_files

old, new, out, rounds = sys.argv[1:4] + [int(sys.argv[4])]

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def after(module, name):
    before = getattr(module, name)
    def call(*arguments):
        before(*arguments)
        kill()
    setattr(module, name, call)

POINTS = {
    "before arrays": lambda: setattr(forecaster_files, "write_arrays", kill),
    "after arrays": lambda: after(forecaster_files, "write_arrays"),
    "before document": lambda: setattr(forecaster_files, "write_atomically", kill),
    "after document": lambda: after(forecaster_files, "write_atomically"),
}
for point in [*POINTS, *range(rounds)]:
    place = os.path.join(out, str(point), "model")
    shutil.copytree(old, place)
    child = os.fork()
    if child == 0:
        # Loaded here, because threads of a loader do not live on in a fork.
        forecaster = Forecaster.load(new)
        if point in POINTS:
            POINTS[point]()
        open(os.path.join(out, str(point), "loaded"), "w").close()
        forecaster.save(place)
        time.sleep(60)
    if point not in POINTS:
        while not os.path.exists(os.path.join(out, str(point), "loaded")):
            time.sleep(0.001)
        time.sleep(0.006 * point)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, status
"""


def test_a_kill_while_saving_leaves_the_old_model_or_the_new_one_whole(
    saved: Path, forecaster: Forecaster, other: Forecaster, tmp_path: Path
) -> None:
    other.save(tmp_path / "other")
    out, rounds = tmp_path / "out", 10
    arguments = [str(saved), str(tmp_path / "other"), str(out), str(rounds)]
    command = [sys.executable, "-c", KILLED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    old, new = bits(forecaster), bits(other)
    assert old != new
    expected = dict.fromkeys(("before arrays", "after arrays", "before document"), old)
    for point, wanted in (expected | {"after document": new}).items():
        model = out / point / "model"
        assert bits(Forecaster.load(model)) == wanted, point
        # What a kill leaves behind is in nobody's way.
        other.save(model)
        assert bits(Forecaster.load(model)) == new, point
    found = {bits(Forecaster.load(out / str(number) / "model")) for number in range(rounds)}
    assert found <= {old, new}
    assert old in found, "the first one was killed when nothing was written"


def test_a_first_save_that_was_killed_is_no_obstacle(tmp_path: Path, other: Forecaster) -> None:
    for left in ("arrays-0123456789ab.orbax-checkpoint-tmp", ".writing-x"):
        (tmp_path / "model" / left).mkdir(parents=True)
    other.save(tmp_path / "model")
    assert bits(Forecaster.load(tmp_path / "model")) == bits(other)


def test_an_interrupt_while_saving_leaves_the_old_model_and_nothing_else(
    model: Path, other: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write = content(model), forecaster_files.write_arrays

    def interrupted(folder: Path, arrays: Any) -> None:
        write(folder, arrays)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(forecaster_files, "write_arrays", interrupted)
    with pytest.raises(KeyboardInterrupt):
        other.save(model)
    assert content(model) == before
    assert os.listdir(model.parent) == ["model"]
