"""Baselines on published protocols: every row an origin, no gap, errors of standardised values."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foretune.datasets.covariates import CovariateEncoding
from foretune.datasets.sources.samples import load_sample
from foretune.datasets.splits import Split, chronological_split, parts_of
from foretune.models.forecasts.baselines import baseline_changes

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


def test_etth1_96() -> None:
    folder = os.environ.get("FORETUNE_BENCHMARK_DATA")
    if folder is None:
        pytest.skip("FORETUNE_BENCHMARK_DATA is unset: name a folder with ETTh1.csv.gz there")
    oil = pd.read_csv(Path(folder) / "ETTh1.csv.gz")["OT"].to_numpy()
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
