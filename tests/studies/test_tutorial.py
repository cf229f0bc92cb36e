"""The tutorial: its printed numbers, its faults, and the same put right."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import matplotlib.image
import numpy as np
import pytest

from foretune.datasets import DataError, PriceSeries, load_sample, read_prices
from foretune.datasets.sources.samples import random_walk
from foretune.models import TrialConfig
from foretune.models.forecasts.scoring import scale
from foretune.search.cli.main import run_command
from foretune.studies import tutorial

# One shape for all tests here, small enough to run in moments.
TINY = TrialConfig(
    **{
        **tutorial.SMALL.model_dump(),
        "units": (4,),
        "batch_size": 20,
        "learning_rate": 0.05,
        "steps_per_epoch": 4,
        "epochs": 2,
    }
)
FIGURES = ["averages", "best_epoch", "comparison", "evolution", "prices"]
NAMES = ["persistence", "drift", "standard average", "exponential moving average", "momentum"]


def tiny(**changes: Any) -> TrialConfig:
    return TrialConfig(**(TINY.model_dump() | changes))


def with_mid(prices: PriceSeries, mid: Any) -> PriceSeries:
    return dataclasses.replace(prices, open=mid, high=mid, low=mid, close=mid, volume=None)


def replaced(prices: PriceSeries, first: int) -> PriceSeries:
    """The same prices up to day ``first``, then mirrored: a rise becomes a fall."""
    mid = prices.mid.copy()
    mid[first:] = mid[first - 1] ** 2 / mid[first:]
    return with_mid(prices, mid)


@pytest.fixture(scope="module")
def index() -> PriceSeries:
    return load_sample("sp500")


@pytest.fixture(scope="module")
def hewlett_packard() -> PriceSeries:
    path = os.environ.get("FORETUNE_HPQ_CSV")
    if not path:
        reason = "FORETUNE_HPQ_CSV is unset: name Kaggle's Stocks/hpq.us.txt there to read it here"
        print(reason)
        pytest.skip(reason)
    return read_prices(path)


def scaled_test(prices: PriceSeries) -> Any:
    """Every day after the 11,000, scaled by the last window."""
    return scale(tutorial.FULL, prices.mid[None], 11_000).inputs[0, 11_000:]


def test_the_tutorials_numbers_on_its_own_series(hewlett_packard: PriceSeries) -> None:
    data = tutorial.tutorial_data(hewlett_packard)
    printed, _ = tutorial.as_printed(tiny(epochs=1, steps_per_epoch=1), data)
    assert printed.standard_average_half_mse == pytest.approx(0.0041797846, rel=1e-7)
    assert printed.ema_half_mse == pytest.approx(2.7411486e-05, rel=1e-7)
    assert printed.persistence_half_mse == pytest.approx(0.002683736, rel=1e-7)
    scaling: Any = scale(tutorial.FULL, data.values, 11_000).scalings[0]
    assert scaling.starts == (0, 2500, 5000, 7500, 10_000)
    assert (scaling.minima[-1], scaling.maxima[-1]) == pytest.approx((4.63265, 20.783), rel=1e-12)
    levels = scaled_test(hewlett_packard)
    assert (levels.min(), levels.max()) == pytest.approx((0.232, 1.088), abs=5e-4)


@pytest.mark.slow
def test_the_tutorials_own_training_on_its_own_series(hewlett_packard: PriceSeries) -> None:
    # It reports a training loss of 1.703 after one epoch and about 0.034 after 30, and a test error
    # of 0.00243. The first depends on the draw of the weights: 1.5 to 3.4 over eight seeds. Seed 10
    # starts near the tutorial's and gave 1.493, 0.0341 and 0.002451.
    config = tutorial.FULL.replace(seed=10)
    printed, run = tutorial.as_printed(config, tutorial.tutorial_data(hewlett_packard))
    assert len(run) == 30
    assert 1.2 < printed.lstm_train_loss_by_epoch[0] < 2.0
    assert 0.028 < printed.lstm_train_loss_by_epoch[-1] < 0.040
    assert 0.0020 < printed.lstm_half_mse_by_epoch[-1] < 0.0030


def test_the_full_protocol_is_the_tutorials() -> None:
    full = tutorial.FULL
    assert (full.units, full.batch_size, full.unroll_length) == ((200, 200, 150), 500, 50)
    assert (full.epochs, full.steps_per_epoch, full.stop_patience) == (30, 11_000 // 500, 30)
    assert (full.learning_rate, full.min_learning_rate) == (1e-4, 1e-6)
    assert (full.decay_factor, full.decay_patience) == (0.5, 2)
    assert (full.cell, full.optimizer, full.clip_norm) == ("lstm", "adam", 5.0)
    assert (full.scaling, full.scaling_window) == ("windowed_min_max", 2500)
    assert (full.smoothing, full.dropout) == (0.9, 0.2)


def test_twenty_forecasts_of_fifty_days_follow_one_another(index: PriceSeries) -> None:
    # Each sees the 50 days before its start point 11,000, 11,050, ...: the last is the day before.
    data = tutorial.tutorial_data(index)
    starts = [11_000 + 50 * number for number in range(20)]
    assert (data.split.validation_origins + 1).tolist() == starts
    assert (data.split.train_stop, data.split.horizon) == (11_000, 50)
    assert data.values.shape == (1, 12_000)


def test_too_short_a_series_is_refused_with_both_numbers() -> None:
    with pytest.raises(DataError) as refused:
        tutorial.tutorial_data(random_walk(3_700))
    assert str(refused.value) == (
        "random_walk must have 12000 days, 11000 to train and 1000 to test, but got 3700"
    )
    assert tutorial.tutorial_data(random_walk(12_000)).values.shape == (1, 12_000)


def relative_to_persistence(logs: Any, origins: range, forecast: Any) -> float:
    """Sum the squared errors of ``forecast(origin, step)`` and of persistence, one by one."""
    errors = persistence = 0.0
    for origin in origins:
        for step in range(1, 51):
            errors += (logs[origin + step] - forecast(origin, step)) ** 2
            persistence += (logs[origin + step] - logs[origin]) ** 2
    return errors / persistence


def test_the_command_on_the_index(
    index: PriceSeries,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tutorial, "SMALL", tiny(epochs=9))
    out = tmp_path / "new" / "folder"
    run_command(tutorial.tutorial, "tutorial", ["--out", str(out), "--epochs", "2"])
    found = json.loads((out / "tutorial.json").read_text())

    right = found.pop("corrected")
    assert set(found) == {
        "standard_average_half_mse",
        "ema_half_mse",
        "persistence_half_mse",
        "lstm_half_mse_by_epoch",
        "lstm_train_loss_by_epoch",
    }
    assert found["standard_average_half_mse"] == pytest.approx(0.00406, abs=5e-6)
    assert found["ema_half_mse"] == pytest.approx(0.000027, abs=5e-7)
    levels = scaled_test(index)
    assert (levels.min(), levels.max()) == pytest.approx((-0.23, 2.94), abs=5e-3)
    # Persistence by hand: the last training day is smoothed, and so is what is persisted from it.
    last_window, smoothed = index.mid[10_000:11_000], 0.0
    low, width = last_window.min(), np.ptp(last_window)
    for day in range(10_500, 11_000):  # 0.9^500 is nothing
        smoothed = 0.9 * smoothed + 0.1 * (index.mid[day] - low) / width
    halves = []
    for start in range(11_000, 12_000, 50):
        last = smoothed if start == 11_000 else (index.mid[start - 1] - low) / width
        halves += [((index.mid[start + k] - low) / width - last) ** 2 / 2 for k in range(50)]
    assert found["persistence_half_mse"] == pytest.approx(np.mean(halves), rel=1e-9)
    assert len(found["lstm_half_mse_by_epoch"]) == len(found["lstm_train_loss_by_epoch"]) == 2

    assert set(right) == {"best_epoch", "validation", "test"}
    assert right["best_epoch"] in (1, 2)
    assert set(right["validation"]) == set(right["test"]) == {"lstm", *NAMES}
    # The split of 13,594 days: 8,096 to train, validation to 10,845, test from 10,895.
    logs = np.log(index.mid).tolist()
    average, averages = 0.0, []
    for level in logs:
        average = 0.5 * average + 0.5 * level
        averages.append(average)
    slope = (logs[8_095] - logs[0]) / 8_095
    parts = {"validation": range(8_145, 10_845 - 50, 10), "test": range(10_894, 13_594 - 50, 10)}
    for part, origins in parts.items():
        assert right[part]["persistence"] == 1.0
        drift = relative_to_persistence(logs, origins, lambda o, k: logs[o] + slope * k)
        assert right[part]["drift"] == pytest.approx(drift, rel=1e-9)
        flat = relative_to_persistence(logs, origins, lambda o, k: averages[o])
        assert right[part]["exponential moving average"] == pytest.approx(flat, rel=1e-9)

    assert sorted(file.name for file in out.iterdir()) == sorted(
        [f"{name}.png" for name in FIGURES] + ["tutorial.json"]
    )
    for name in FIGURES:
        picture = matplotlib.image.imread(out / f"{name}.png")
        assert picture.shape[1] >= 1200
        assert len(np.unique(picture)) > 10, name
        assert (picture[..., :3] < 0.9).any(axis=2).mean() > 0.005, name
    said = capsys.readouterr().out
    assert "as printed: epoch 2/2 training loss" in said
    assert f"validation relative MSE {right['validation']['lstm']:.4f}" in said
    assert f"epoch {right['best_epoch']} chosen on validation" in " ".join(said.split())
    assert f"{right['test']['lstm']:.4f}" in said


def test_validation_decides_what_is_put_right_and_the_test_nothing(index: PriceSeries) -> None:
    config = tiny(epochs=4)
    right = tutorial.corrected(config, index)
    other = tutorial.corrected(config, replaced(index, 10_845))
    assert other.best_epoch == right.best_epoch
    assert other.validation == right.validation
    assert all(other.test[name] != right.test[name] for name in right.test if name != NAMES[0])
    # Not vacuous: other validation prices are another validation.
    assert tutorial.corrected(config, replaced(index, 8_500)).validation != right.validation


def test_as_printed_the_test_decides_how_fast_is_learned(index: PriceSeries) -> None:
    # The tutorial's fault, kept on purpose in its column: with other test prices the learning
    # rate decays at other epochs, and the weights become others.
    config = tiny(epochs=6, decay_patience=0, dropout=0.0)
    runs = []
    for prices in (index, replaced(index, 11_000)):
        data = tutorial.tutorial_data(prices)
        printed, run = tutorial.as_printed(config, data)
        assert printed.lstm_half_mse_by_epoch == [result.half_mse for result in run]
        rate, best = config.learning_rate, np.inf
        for result in run:
            assert result.learning_rate == pytest.approx(rate)
            rate, best = (rate, result.half_mse) if result.half_mse < best else (rate / 2, best)
        runs.append(run)
    rates = [[result.learning_rate for result in run] for run in runs]
    assert rates[0] != rates[1]
    first, last = ([weights_of(run[number]) for run in runs] for number in (0, -1))
    np.testing.assert_array_equal(*first)
    assert (last[0] != last[1]).any()


def weights_of(result: Any) -> Any:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(result.params)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "0"], "Invalid value for '--epochs': 0"),
        (["--epochs", "many"], "'many' is not a valid integer"),
        (["--prices", "nowhere.csv"], "nowhere.csv"),
        (["--prices", "short.csv"], "must have 12000 days, 11000 to train and 1000 to test, but"),
        (["--out", "short.csv/out"], "short.csv/out must be a writable folder, but"),
        (["--fully"], "No such option '--fully'"),
    ],
)
def test_mistakes_end_with_two_and_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    random_walk(300).to_frame().to_csv("short.csv")
    monkeypatch.setattr("sys.argv", ["tutorial", *arguments])
    with pytest.raises(SystemExit) as ended:
        tutorial.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("tutorial: ")
    assert message in said.err
    assert [file.name for file in tmp_path.iterdir()] == ["short.csv"]


def test_the_module_is_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "foretune.studies.tutorial", "--epochs", "-1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tutorial: Invalid value for '--epochs': -1")
    assert done.stderr.count("\n") == 1
