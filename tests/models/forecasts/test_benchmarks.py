"""Baselines on published protocols: every row an origin, no gap, errors of standardised values."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foretune.datasets import Panel
from foretune.datasets.covariates import CovariateEncoding
from foretune.datasets.sources.samples import load_sample
from foretune.datasets.splits import Split, chronological_split, development, parts_of
from foretune.datasets.transforms import changes_of, levels_of
from foretune.models.forecasts.baselines import baseline_changes
from foretune.models.forecasts.metrics import Metrics, assess, seasonal_naive_error

Array = NDArray[np.float64]
Errors = dict[str, tuple[float, float]]


def split_of(length: int, train_stop: int, validation_stop: int, horizon: int) -> Split:
    return Split(
        length=length,
        train_stop=train_stop,
        validation_start=train_stop,
        validation_stop=validation_stop,
        test_start=validation_stop,
        horizon=horizon,
        stride=1,
    )


def errors_on_test(
    values: Array, split: Split, *, seasonality: int, future: Array | None = None
) -> Errors:
    """MSE and MAE of each baseline over test windows and steps."""
    train = values[: split.train_stop]
    levels = (values - train.mean()) / train.std()
    origins = split.test_origins
    actual = np.array([levels[o + 1 : o + 1 + split.horizon] - levels[o] for o in origins])
    known = None if future is None else future[None]
    found = baseline_changes(
        levels[None], [split], test=True, seasonality=seasonality, future=known
    )
    errors = {name: forecasts[0][0] - actual for name, forecasts in found.items()}
    return {name: (float(np.mean(e**2)), float(np.mean(abs(e)))) for name, e in errors.items()}


def folder_of(*files: str) -> Path:
    """Return the folder of data that may not be in the project."""
    folder = os.environ.get("FORETUNE_BENCHMARK_DATA")
    if folder is None:
        pytest.skip(f"FORETUNE_BENCHMARK_DATA is unset: name a folder with {' and '.join(files)}")
    return Path(folder)


def test_etth1_96() -> None:
    oil = pd.read_csv(folder_of("ETTh1.csv.gz") / "ETTh1.csv.gz")["OT"].to_numpy()
    parts = parts_of(pd.RangeIndex(len(oil)), 0, split="8640,2880,2880")
    split = chronological_split(len(oil), horizon=96, stride=1, gap=0, **parts)
    assert split.left_out == 3_020
    assert len(split.test_origins) == 2_785
    errors = errors_on_test(oil, split, seasonality=24)
    assert errors["persistence"] == pytest.approx((0.0693, 0.203), abs=5e-4)
    assert errors["seasonal naive 24"] == pytest.approx((0.0715, 0.211), abs=5e-4)
    mse, mae = errors["ridge on lags"]
    assert mse <= 0.0535
    assert mae <= 0.178


def metrics_on_test(panel: Panel, split: Split, season: int) -> dict[str, Metrics]:
    """Every baseline of a panel on its test, as reports assess them."""
    spaces = development(panel, split).spaces
    levels = levels_of(spaces, panel.values)
    found = baseline_changes(levels, [split], test=True, seasonality=season, firsts=panel.firsts)
    origins = split.test_origins
    pairs = zip(levels, panel.firsts, strict=True)
    units = [seasonal_naive_error(own[first : split.test_start], season) for own, first in pairs]
    actual = changes_of(spaces, panel.values, origins, split.horizon)
    return {
        name: assess(
            model,
            [actual],
            now=[panel.values[:, origins]],
            units=units,
            overlap=split.overlap,
            spaces=spaces,
        ).metrics
        for name, model in found.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "naive", "seasonal", "ridge"),
    [
        ("ETTh1", (1.294, 0.713), (0.512, 0.433), 0.374),
        ("ETTh2", (0.432, 0.422), (0.391, 0.380), 0.285),
    ],
)
def test_ett_96_of_all_columns(
    name: str, naive: tuple[float, float], seasonal: tuple[float, float], ridge: float
) -> None:
    table = pd.read_csv(folder_of("ETTh1.csv.gz", "ETTh2.csv.gz") / f"{name}.csv.gz")
    panel = Panel.from_frame(table[:14_400], wide=True)
    split = chronological_split(14_400, horizon=96, stride=1, gap=0, rows=(8640, 2880, 2880))
    found = metrics_on_test(panel, split, 24)
    assert (found["persistence"].mse, found["persistence"].mae) == pytest.approx(naive, abs=5e-4)
    other = found["seasonal naive 24"]
    assert (other.mse, other.mae) == pytest.approx(seasonal, abs=5e-4)
    assert found["ridge on lags"].mse <= ridge


@pytest.mark.slow
def test_m4_hourly() -> None:
    folder = folder_of("M4-Hourly-train.csv.gz", "M4-Hourly-test.csv.gz")
    train, test = (
        pd.read_csv(folder / f"M4-Hourly-{part}.csv.gz", index_col=0) for part in ("train", "test")
    )
    rows = [
        (name, hour, value)
        for name in train.index
        for hour, value in enumerate([*train.loc[name].dropna(), *test.loc[name]])
    ]
    long = pd.DataFrame(rows, columns=["unique_id", "ds", "y"])
    panel = Panel.from_frame(long, seasonality=24)
    assert repr(panel).startswith("Panel('panel', 414 series of 748 to 1008 rows")
    parts = parts_of(panel.time, 0, split=("rest", 48, 48))
    split = chronological_split(len(panel), horizon=48, gap=0, history=2, **parts)
    found = metrics_on_test(panel, split, 24)
    for name, smape, mase in (
        ("persistence", 43.003, 11.608),
        ("seasonal naive 24", 13.912, 1.193),
    ):
        metrics = found[name]
        assert (metrics.smape, metrics.mase) == pytest.approx((smape, mase), abs=5e-4)


def test_bikes_24() -> None:
    series = load_sample("bikes")
    split = split_of(17_544, 10_526, 14_035, 24)
    future = CovariateEncoding.fit([series], [split.train_stop]).encode(series).future[0]
    errors = errors_on_test(series.target, split, seasonality=168)
    assert errors["persistence"][0] == pytest.approx(4.83, abs=5e-3)
    assert errors["seasonal naive 168"][0] == pytest.approx(0.786, abs=5e-4)
    assert errors["ridge on lags"][0] <= 0.44
    known = errors_on_test(series.target, split, seasonality=24, future=future)
    assert known["seasonal naive 24"][0] == pytest.approx(0.992, abs=5e-4)
    assert known["ridge on lags"][0] <= 0.335
