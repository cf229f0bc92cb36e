"""A saved forecaster: the same bits in another process, whole or not at all, and never guessed."""

import hashlib
import io
import json
import os
import pickle
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import tomli_w

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.sources.samples import ar1
from foretune.models import Forecaster
from foretune.models.forecaster import files as forecaster_files
from foretune.models.forecaster.arrays import decode_arrays, encode_arrays
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
    moved = forecaster.with_prices(ar1(333))
    moved.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert bits(loaded) == bits(moved) != bits(forecaster)
    # Saved, loaded and moved on is moved on.
    assert bits(loaded.with_prices(ar1(350))) == bits(forecaster.with_prices(ar1(350)))
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
    assert {"foretune", "jax", "flax", "numpy"} <= table["versions"].keys()
    files = content(saved)
    assert files.keys() == {"forecaster.toml", arrays_named(saved)}
    assert hashlib.sha256(files[arrays_named(saved)]).hexdigest() == table["arrays"]
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
    # Its intervals stay as wide as they are.
    newer = loaded.with_prices(ar1(333))
    assert newer.widths.tobytes() == loaded.widths.tobytes()
    # Replaced by itself in the format of today, and by another one.
    loaded.save(of_format_1)
    assert sorted(os.listdir(of_format_1)) == [arrays_of(of_format_1).name, "forecaster.toml"]
    assert bits(Forecaster.load(of_format_1)) == bits(loaded)
    other.save(of_format_1)
    assert bits(Forecaster.load(of_format_1)) == bits(other)


@pytest.fixture
def of_format_2(tmp_path: Path) -> Path:
    """A forecaster that the code before covariates saved, and what it forecast."""
    with tarfile.open(Path(__file__).with_name("format2.tar.gz")) as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "model"


def test_a_forecaster_from_before_covariates_forecasts_what_it_did(of_format_2: Path) -> None:
    loaded = Forecaster.load(of_format_2)
    then = json.loads((of_format_2 / "../forecast.json").read_text())
    for rows, ours in (("300", loaded), ("333", loaded.with_data(ar1(333)))):
        ahead = ours.forecast()
        for name, values in then[rows].items():
            np.testing.assert_allclose(ahead[name], values, rtol=1e-6)
    loaded.save(of_format_2)
    assert bits(Forecaster.load(of_format_2)) == bits(loaded)
    # What has no covariates and no regression says nothing of them.
    assert (
        not {"encoding", "skip"}
        & tomllib.loads((of_format_2 / "forecaster.toml").read_text()).keys()
    )


# Damage


def test_every_file_removed_cut_or_flipped_is_named(saved: Path, tmp_path: Path) -> None:
    for name in content(saved):
        for damage in ("removed", "emptied", "cut", "flipped"):
            folder = Path(shutil.copytree(saved, tmp_path / f"{name}-{damage}"))
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
            assert name in message, (name, damage)


def test_a_flipped_bit_anywhere_in_the_document_is_seen(model: Path) -> None:
    file = model / "forecaster.toml"
    data = file.read_bytes()
    for place in range(0, len(data), 31):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        assert str(model) in refusal(model), place


def test_arrays_that_are_not_there_or_cannot_be_read_are_not_called_damaged(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> bytes:
        raise PermissionError(13, "Permission denied")

    file = arrays_of(model)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refuse)
        assert refusal(model) == f"{file} cannot be read: Permission denied"
    file.unlink()
    assert refusal(model) == f"{file} cannot be read: No such file or directory"


def test_what_macos_leaves_in_a_folder_is_ignored(model: Path, other: Forecaster) -> None:
    before = bits(Forecaster.load(model))
    (model / ".DS_Store").write_text("icons")
    assert bits(Forecaster.load(model)) == before
    place = model.with_name("empty")
    place.mkdir()
    (place / ".DS_Store").write_text("icons")
    other.save(place)
    assert bits(Forecaster.load(place)) == bits(other)
    assert (place / ".DS_Store").exists()


def test_a_path_that_is_too_long_holds_no_forecaster(tmp_path: Path) -> None:
    assert "must be a folder of a saved forecaster" in refusal(tmp_path / ("a" * 300))


def test_a_forecaster_that_is_replaced_while_it_is_read_is_read_again(
    model: Path, other: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, saves = forecaster_files._content, [other, other]

    def replaced(*arguments: Any) -> bytes:
        if saves:
            saves.pop().save(model)
        return read(*arguments)

    monkeypatch.setattr(forecaster_files, "_content", replaced)
    assert bits(Forecaster.load(model)) == bits(other)
    assert not saves


def sum_again(folder: Path) -> None:
    """Let the digests that format 1 kept be those of the files as they are."""
    names = ("forecaster.toml", "history.npy")
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in names]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")


@pytest.mark.parametrize("name", ["forecaster.toml", "history.npy"])
def test_a_changed_number_of_format_1_is_refused(name: str, of_format_1: Path) -> None:
    file = of_format_1 / name
    if name == "history.npy":
        days = np.load(file)
        days["mid"][-1] *= 1.01
        np.save(file, days)
    else:
        text = file.read_text()
        file.write_text(text.replace("std = 0.01", "std = 0.02"))
        assert file.read_text() != text
    damaged = f"{file} is damaged: its SHA-256 must be the one in SHA256SUMS"
    assert refusal(of_format_1) == damaged
    sums = of_format_1 / "SHA256SUMS"
    sums.write_text(sums.read_text().replace(name, "another"))
    assert refusal(of_format_1) == damaged
    sums.unlink()
    assert refusal(of_format_1) == f"{sums} cannot be read: No such file or directory"


def test_damage_of_a_forecaster_of_format_1_is_refused(
    of_format_1: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = of_format_1 / "forecaster.toml"
    file.write_text(file.read_text().replace("de7547aa5824", "000000000000"))
    sum_again(of_format_1)
    assert "weights must hold weights with SHA-256 000000000000..., as in" in refusal(of_format_1)
    np.save(of_format_1 / "history.npy", np.load(of_format_1 / "history.npy")[:-1])
    sum_again(of_format_1)
    assert "history.npy must have 300 rows to 1971-02-25, as in" in refusal(of_format_1)
    shutil.rmtree(of_format_1 / "weights")
    assert "weights cannot be restored: " in refusal(of_format_1)
    assert not caplog.records, "orbax logs tracebacks"


@pytest.mark.parametrize("what", ["missing", "a file", "empty"])
def test_what_is_no_model_is_one_line(what: str, tmp_path: Path) -> None:
    place = tmp_path / "model"
    if what == "a file":
        place.write_text("")
    elif what == "empty":
        place.mkdir()
    message = refusal(place)
    assert message == f"{place} must be a folder of a saved forecaster, with a forecaster.toml"


def test_a_link_a_pipe_or_a_folder_in_place_of_the_arrays_is_refused(
    model: Path, tmp_path: Path
) -> None:
    file = arrays_of(model)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert refusal(model) == f"{file} must be a regular file"
    file.unlink()
    os.mkfifo(file)
    assert refusal(model) == f"{file} must be a regular file"
    file.unlink()
    file.mkdir()
    assert refusal(model) == f"{file} must be a regular file"


def arrays_of(model: Path) -> Path:
    """The only file of arrays in a saved forecaster."""
    (file,) = model.glob("arrays-*")
    return file


def arrays_named(model: Path) -> str:
    """The file of arrays that the document names."""
    return f"arrays-{tomllib.loads((model / 'forecaster.toml').read_text())['arrays'][:12]}.npz"


SCALING = {"log_returns": {"mean": 0.0, "std": 0.01}}
WINDOWS = {"starts": [0, 40], "minima": [1.0, 2.0], "maxima": [2.0, 3.0]}
CONTRADICTIONS: list[tuple[str, Any, str]] = [
    ("format", 4, "format must be 1 or 2, but got 4"),
    ("format", "1", "format must be 1 or 2"),
    ("config.unroll_length", 4000, "config.unroll_length must be at most "),
    ("config.warm_up", 300, "config.warm_up must be at most 299, what the 300 known rows give"),
    ("config.segment_length", 5, "must hold the weights that config asks for, but differs in he"),
    ("config.head", "direct", "must hold the weights that config asks for, but differs in ahead_"),
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
    ("training.days", 301, "must be at most history.days, 300, but got 301 and None"),
    ("training.regression_days", 301, "must be at most history.days, 300, but got 237 and 301"),
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
    ("intervals.since", None, "intervals.since must be there together, or none of them"),
    ("intervals.since", 10, "must hold intervals.errors, finite numbers of at least 0 [O, 5]"),
    ("intervals.since", 300, "known at intervals.since, a known row"),
    ("intervals.stride", 0, "intervals.stride must be greater than or equal to 1"),
    ("format", 1, "arrays must be the SHA-256 of the arrays and series what the values are in"),
    ("arrays", "0" * 64, "arrays-000000000000.npz cannot be read: No such file or directory"),
    ("arrays", "../../etc", "arrays must match pattern"),
    ("arrays", None, "arrays must be the SHA-256 of the arrays and series what the values are"),
    ("series", None, "arrays must be the SHA-256 of the arrays and series what the values are"),
    ("weights.digest", "0" * 64, "must hold weights with SHA-256 000000000000..., as in"),
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


def test_a_forecaster_of_an_exchange_says_what_it_needs(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = model / "forecaster.toml"
    table = tomllib.loads(file.read_text())
    changed(table, "series.frequency", "XNYS")
    file.write_text(tomli_w.dumps(table))
    monkeypatch.setitem(sys.modules, "exchange_calendars", None)
    said = refusal(model)
    assert "series.frequency must be a pandas frequency such as h" in said
    assert "(after pip install 'foretune[exchange]') an exchange such as XNYS or XLON" in said


def test_a_scaling_that_forecasts_no_price_is_told(model: Path) -> None:
    """What no look at the document alone can tell."""
    file = model / "forecaster.toml"
    table = tomllib.loads(file.read_text())
    table["scaling"] = {"log_returns": {"mean": 1e300, "std": 0.01}}
    file.write_text(tomli_w.dumps(table))
    assert refusal(model) == f"{file} is damaged: it must be as it was saved"
    # As if it had been saved so.
    without_arrays = re.sub('arrays = ".*"\n', "", file.read_text()).encode()
    digest = np.frombuffer(bytes(16) + hashlib.sha256(without_arrays).digest(), np.uint8)
    with_arrays(model, decode_arrays(file, arrays_of(model).read_bytes()) | {"save": digest})
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
    ForecasterDocument.load(file)
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
    arrays = read(arrays_of(model))
    with_arrays(model, arrays | {name: change(arrays[name]) for name, change in changes.items()})
    said = refusal(model)
    assert message in said
    assert str(arrays_of(model)) in said


@pytest.mark.parametrize("name", ["history.time", "history.values"])
def test_a_missing_array_of_the_history_is_named(name: str, model: Path) -> None:
    arrays = read(arrays_of(model))
    del arrays[name]
    with_arrays(model, arrays)
    assert f"{arrays_of(model)} must hold {name}" in refusal(model)


def with_price(values: Any, price: float) -> Any:
    values = values.copy()
    values[3] = price
    return values


def read(file: Path) -> dict[str, Any]:
    return decode_arrays(file, file.read_bytes())


def with_arrays(model: Path, arrays: dict[str, Any]) -> None:
    with_content(model, encode_arrays(arrays))


def with_content(model: Path, data: bytes) -> None:
    """Put another file of arrays in, and its digest in the document."""
    arrays_of(model).unlink()
    digest = hashlib.sha256(data).hexdigest()
    (model / f"arrays-{digest[:12]}.npz").write_bytes(data)
    file = model / "forecaster.toml"
    file.write_text(re.sub('arrays = ".*"', f'arrays = "{digest}"', file.read_text()))


@pytest.mark.parametrize("what", ["pickle", "empty", "one array", "objects", "cut", "long header"])
def test_arrays_are_a_file_of_numpys_or_refused(what: str, model: Path) -> None:
    written = io.BytesIO()
    if what == "pickle":
        written.write(pickle.dumps([1]))
    elif what == "one array":
        np.save(written, np.zeros(3))
    elif what == "objects":
        np.savez(written, head_bias=np.array([{}], dtype=object))
    elif what == "cut":
        written.write(arrays_of(model).read_bytes()[:-30])
    elif what == "long header":  # which NumPy refuses in several lines
        np.savez(written, head_bias=np.zeros(1, [(f"name{n}", "f4") for n in range(1000)]))
    with_content(model, written.getvalue())
    assert f"{arrays_of(model)} must be an .npz file of NumPy: " in refusal(model)


@pytest.mark.parametrize(
    "what", ["pickle", "empty", "zip", "long header", "objects", "shape", "pipe"]
)
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
    elif what == "zip":
        file.write_bytes(b"PK\x03\x04")
    elif what == "long header":  # which NumPy refuses in several lines
        np.save(file, np.zeros(1, [(f"name{n}", "f4") for n in range(1000)]))
    elif what == "objects":
        np.save(file, np.array([{}], dtype=object))
    elif what == "shape":
        np.save(file, days.reshape(2, 150))
        rule = "must hold a date and a mid price a day"
    else:
        os.mkfifo(file)
        rule = "must be a regular file"
    if what != "pipe":
        sum_again(of_format_1)
    assert f"{file} {rule}" in refusal(of_format_1)


def test_the_weights_of_another_model_are_refused(
    model: Path, other: Forecaster, tmp_path: Path
) -> None:
    other.save(tmp_path / "other")
    theirs = arrays_of(tmp_path / "other").read_bytes()
    arrays_of(model).write_bytes(theirs)
    assert f"{arrays_of(model)} is damaged: its SHA-256 must be the one in" in refusal(model)
    with_content(model, theirs)
    assert "must hold weights with SHA-256 " in refusal(model)


# Whole or not at all


def test_an_older_model_is_replaced(model: Path, other: Forecaster, tmp_path: Path) -> None:
    other.save(model)
    assert sorted(os.listdir(model)) == [arrays_of(model).name, "forecaster.toml"]
    assert bits(Forecaster.load(model)) == bits(other)
    arrays_of(model).write_bytes(b"")  # a damaged one too
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
    (model / "arrays-of-mine.npz").mkdir()
    other.save(model)
    assert (model / "notes.txt").read_text() == "mine"
    assert (model / "arrays-of-mine.npz").is_dir()
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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("bug")])
@pytest.mark.parametrize("place", ["model", "new"])
def test_a_save_that_fails_leaves_what_was_there(
    place: str, error: Exception, model: Path, other: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = forecaster_files.write_atomically

    def fail(path: Path, data: Any) -> None:
        if path.name == "forecaster.toml":
            raise error
        write(path, data)

    before = content(model.parent)
    monkeypatch.setattr(forecaster_files, "write_atomically", fail)
    expected = ConfigError if isinstance(error, OSError) else RuntimeError
    with pytest.raises(expected, match=r"No space left|bug"):
        other.save(model.with_name(place))
    assert content(model.parent) == before
    assert os.listdir(model.parent) == ["model"]


def test_threads_save_at_once(tmp_path: Path, forecaster: Forecaster, other: Forecaster) -> None:
    places = [tmp_path / name for name in ("a", "b", "same", "same", "same", "c")]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(Forecaster.save, [forecaster, other] * 6, [*places, *places]))
        loaded = list(pool.map(Forecaster.load, places))
    assert {bits(each) for each in loaded} <= {bits(forecaster), bits(other)}


def test_a_save_in_the_middle_of_another_one_takes_nothing_from_it(
    model: Path, forecaster: Forecaster, other: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where one writes what the other one replaces."""
    write, saves = forecaster_files.write_atomically, [other]

    def interrupted(path: Path, data: Any) -> None:
        if path.name == "forecaster.toml" and saves:
            saves.pop().save(model)
        write(path, data)

    monkeypatch.setattr(forecaster_files, "write_atomically", interrupted)
    forecaster.save(model)
    assert bits(Forecaster.load(model)) == bits(forecaster)


def test_a_full_disk_is_one_line(
    model: Path, other: Forecaster, capfd: pytest.CaptureFixture[str]
) -> None:
    before, (soft, hard) = content(model), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**10, hard))
    try:
        with pytest.raises(ConfigError) as caught:
            other.save(model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert re.fullmatch(rf"{model}/\S+ cannot be written: File too large", str(caught.value))
    assert capfd.readouterr() == ("", "")
    assert content(model) == before


@pytest.mark.parametrize("name", ["back\\", "a\\b/model", "\udcff", "ü ["])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path, other: Forecaster) -> None:
    (tmp_path / "a\\b").mkdir()
    other.save(tmp_path / name)
    assert bits(Forecaster.load(tmp_path / name)) == bits(other)
    assert (tmp_path / name / "forecaster.toml").exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a\0b", "embedded null byte"),
        ("loop", "Too many levels of symbolic links"),
        ("a" * 300, "File name too long"),
    ],
)
def test_a_path_that_nothing_can_be_saved_to_is_one_line(
    name: str, reason: str, tmp_path: Path, other: Forecaster
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for refuse in (require_model_place, other.save):
        with pytest.raises(ConfigError, match=f"cannot be written: {reason}$") as caught:
            refuse(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["loop"]


def test_a_current_folder_that_was_deleted_is_one_line(
    tmp_path: Path, other: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for refuse in (require_model_place, other.save):
        with pytest.raises(ConfigError, match=r"^model cannot be written: No such file"):
            refuse("model")


def test_a_save_removes_what_killed_ones_left_but_not_what_others_are_writing(
    model: Path, other: Forecaster
) -> None:
    for name in (".writing-old", ".writing-new"):
        (model / name).mkdir()
        (model / name / "forecaster.toml").write_text("")
    for name in ("arrays-0123456789ab.npz", "arrays-ba9876543210.npz"):
        (model / name).write_text("")
    live, now = arrays_named(model), time.time()
    for name in (live, "arrays-0123456789ab.npz", ".writing-old"):
        os.utime(model / name, (now - 4000, now - 4000))
    other.save(model)
    left = {arrays_named(model), "arrays-ba9876543210.npz", ".writing-new", "forecaster.toml"}
    assert set(os.listdir(model)) == left
    assert live not in left


KILLED = """
import os, shutil, signal, sys, time
from pathlib import Path
from foretune.models import Forecaster

old, new, out, rounds = sys.argv[1:4] + [int(sys.argv[4])]
forecaster = Forecaster.load(new)
rename = Path.replace

def kill_at(when, which):
    # Each file is complete before it is renamed into its place.
    renamed = []
    def replace(self, target):
        renamed.append(target)
        if len(renamed) == which and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rename(self, target)
        if len(renamed) == which and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
    Path.replace = replace

points = [(when, which) for which in (1, 2) for when in ("before", "after")]
for point in [*points, *range(rounds)]:
    place = os.path.join(out, str(point), "model")
    shutil.copytree(old, place)
    ready, say = os.pipe()
    child = os.fork()
    if child == 0:
        if point in points:
            kill_at(*point)
        os.write(say, b".")
        forecaster.save(place)
        time.sleep(60)
    os.read(ready, 1)
    if point not in points:
        time.sleep(0.001 * point)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, status
"""


def test_a_kill_while_saving_leaves_the_old_model_or_the_new_one_whole(
    saved: Path, forecaster: Forecaster, other: Forecaster, tmp_path: Path
) -> None:
    other.save(tmp_path / "other")
    out, rounds = tmp_path / "out", 20
    arguments = [str(saved), str(tmp_path / "other"), str(out), str(rounds)]
    command = [sys.executable, "-c", KILLED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    old, new = bits(forecaster), bits(other)
    assert old != new
    # The arrays are renamed first, then the document that names them.
    expected = {("before", 1): old, ("after", 1): old, ("before", 2): old, ("after", 2): new}
    for point, wanted in expected.items():
        model = out / str(point) / "model"
        assert bits(Forecaster.load(model)) == wanted, point
        # What a kill leaves behind is in nobody's way.
        other.save(model)
        assert bits(Forecaster.load(model)) == new, point
    found = {bits(Forecaster.load(out / str(number) / "model")) for number in range(rounds)}
    assert found <= {old, new}


def test_a_first_save_that_was_killed_is_no_obstacle(tmp_path: Path, other: Forecaster) -> None:
    (tmp_path / "model" / ".writing-x").mkdir(parents=True)
    (tmp_path / "model" / "arrays-0123456789ab.npz").write_text("")
    other.save(tmp_path / "model")
    assert bits(Forecaster.load(tmp_path / "model")) == bits(other)


def test_an_interrupt_while_saving_leaves_the_old_model_and_nothing_else(
    model: Path, other: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write = content(model), forecaster_files.write_atomically

    def interrupted(path: Path, data: Any) -> None:
        write(path, data)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(forecaster_files, "write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        other.save(model)
    assert content(model) == before
    assert os.listdir(model.parent) == ["model"]
