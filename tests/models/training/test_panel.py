"""Training on several series of different lengths: one network, one regression, no copies."""

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from foretune.datasets import Panel, TimeSeries
from foretune.datasets.calendar import Calendar
from foretune.datasets.splits import Split, chronological_split, development
from foretune.models import TrialConfig
from foretune.models.forecasts.predict import evaluate
from foretune.models.training.loop import TrainingRun, fit

HORIZON = 4
SMALL: dict[str, Any] = {
    "units": (4,),
    "unroll_length": 12,
    "segment_length": 2,
    "scaling": "standard",
    "batch_size": 8,
    "steps_per_epoch": 6,
    "epochs": 2,
    "learning_rate": 0.01,
}
CONFIGS = {
    "direct": TrialConfig(**SMALL, head="direct", window_scaling="step"),
    "direct beside a ridge": TrialConfig(**SMALL, head="direct", skip="linear"),
    "recursive": TrialConfig(**SMALL, carry_state=True),
    "recursive beside a ridge": TrialConfig(**SMALL, skip="linear", carry_state=False),
}


def series(name: str, rows: int, seed: int) -> TimeSeries:
    """A noisy season of 6 hours, of a size of its own."""
    rng, steps = np.random.default_rng(seed), np.arange(rows)
    wave = np.sin(2 * np.pi * steps / 6) + 0.3 * rng.normal(size=rows)
    return TimeSeries(
        name=name,
        time=pd.date_range(end="2024-03-31 23:00", periods=rows, freq="h"),
        target=10.0**seed * (5 + wave),
        calendar=Calendar(frequency="h", seasonality=6),
        source="made here",
    )


def panel(**lengths: int) -> Panel:
    made = [series(name, rows, seed) for seed, (name, rows) in enumerate(lengths.items())]
    return Panel(name="several", series=tuple(made), source="made here")


def split_of(rows: int) -> Split:
    return chronological_split(rows, horizon=HORIZON, history=12, rows=(rows - 80, 36, 36))


@pytest.mark.parametrize("kind", ["direct beside a ridge", "recursive"])
def test_each_is_forecast_from_its_own_rows(kind: str) -> None:
    """As by the same weights on the series alone."""
    config, several = CONFIGS[kind], panel(a=240, b=150, c=180)
    split = split_of(240)
    data = development(several, split)
    training = fit(config, data)
    *_, result = training
    assert np.isfinite(result.forecasts).all()
    for number in range(len(several.series)):
        skip = training.skip
        if skip is not None:  # the scale is that of this series
            skip = replace(skip, scales=skip.scales[number : number + 1])
        alone = evaluate(
            config,
            result.params,
            data.values[number : number + 1],
            train_stop=split.train_stop,
            origins=split.validation_origins,
            horizon=HORIZON,
            spaces=data.spaces[number : number + 1],
            skip=skip,
            firsts=several.firsts[number : number + 1],
        )
        np.testing.assert_allclose(result.forecasts[number], alone.changes[0], atol=1e-5)


def test_each_series_weighs_in_epoch_0_as_its_windows_do() -> None:
    """The training loss of the ridge alone, by hand."""
    several, split = panel(a=240, b=150), split_of(240)
    data = development(several, split)
    run = fit(CONFIGS["direct beside a ridge"], data)
    skip, result = run.skip, next(run)
    assert skip is not None
    errors = []
    for number, one in enumerate(several):
        stop = split.train_stop - int(several.firsts[number])
        # The ridge reads values in units of their deviation, times that of the first series.
        unit = data.spaces[number].unit / data.spaces[0].unit
        origins = np.arange(skip.history - 1, stop - HORIZON)
        made = unit * skip.ridge.changes(one.target / unit, origins)
        came = np.array([one.target[o + 1 : o + 1 + HORIZON] - one.target[o] for o in origins])
        errors.append((made - came) / data.spaces[number].unit)
    expected = 0.5 * np.mean(np.concatenate(errors) ** 2)
    assert result.train_loss == pytest.approx(expected, rel=1e-4)


def test_trainings_of_one_kind_share_what_they_read() -> None:
    data = development(panel(a=240, b=150), split_of(240))
    config = CONFIGS["direct"]
    first, other = (TrainingRun(config.replace(learning_rate=rate), data) for rate in (0.1, 0.01))
    assert first.data.inputs.series is other.data.inputs.series
    assert first.data_on_device().inputs.series is other.data_on_device().inputs.series
    differences = TrainingRun(config.replace(scaling="differences"), data)
    assert differences.data.inputs.series is not first.data.inputs.series


def test_many_series_train_without_copies_of_what_is_large() -> None:
    """The ridge's forecasts [S, N, H] are made once, in single precision; all else is [S, N]."""
    rows, count = 400, 150
    made = [series(f"s{number}", rows, number % 3) for number in range(count)]
    data = development(Panel(name="many", series=tuple(made), source="here"), split_of(rows))
    config = CONFIGS["direct beside a ridge"]
    training = fit(config, data)  # which chooses the ridge
    tracemalloc.start()
    try:
        TrainingRun(config.replace(skip="linear"), replace(data), skip=training.skip)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    values = count * rows * 8
    paths = count * rows * HORIZON * 4
    assert peak < 1.2 * paths + 8 * values
