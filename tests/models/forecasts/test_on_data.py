"""Networks on a series with covariates: what they read of it, and what they must not."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.covariates import Covariates
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import DevelopmentData, chronological_split, development
from foretune.datasets.transforms import fit_scaling
from foretune.models.config import TrialConfig
from foretune.models.forecasts.inputs import architecture_of, network_inputs
from foretune.models.forecasts.predict import Known, changes_ahead, evaluate
from foretune.models.forecasts.scoring import scale
from foretune.models.forecasts.windows import WINDOW_SCALINGS
from foretune.models.networks.params import initial_params
from foretune.models.training.loop import best_epoch, fit

HEADS = pytest.mark.parametrize("head", ["direct", "recursive"])
SKIPS = pytest.mark.parametrize("skip", ["none", "linear"])


def forecasts(
    config: TrialConfig,
    data: DevelopmentData,
    *,
    values: Any = None,
    skip: Any = None,
    **covariates: Any,
) -> NDArray[np.float64]:
    """Changes that a network of random weights forecasts [O, H], with data in place of others."""
    architecture = architecture_of(config, data.covariates, data.split.horizon)
    return evaluate(
        config,
        initial_params(architecture, 7),
        data.values if values is None else values,
        train_stop=data.split.train_stop,
        origins=data.split.validation_origins,
        horizon=data.split.horizon,
        spaces=data.spaces,
        covariates=dataclasses.replace(data.covariates, **covariates),
        skip=skip if skip is not None else fit(config, data).skip,
    ).changes[0]


@SKIPS
@HEADS
def test_rows_after_an_origin_change_no_forecast_bit_for_bit(
    head: str, skip: Any, mixed: SimpleNamespace
) -> None:
    """But what is known ahead does; the regression is the same throughout, and reads the same."""
    config, data = mixed.configs[head].replace(skip=skip), mixed.data
    fitted = fit(config, data).skip
    place, origins = 6, data.split.validation_origins
    after = int(origins[place]) + 1

    def with_other(**changed: Any) -> NDArray[np.float64]:
        return forecasts(config, data, skip=fitted, **changed)

    def later(rows: NDArray[np.float64], first: int = after) -> NDArray[np.float64]:
        other = rows.copy()
        other[:, first:] += np.linspace(1, 2, rows.shape[1] - first).reshape(
            -1, *[1] * (rows.ndim - 2)
        )
        return other

    before = with_other()
    for changed in (
        {"values": later(data.values)},
        {"past": later(data.covariates.past)},
        {"future": later(data.covariates.future, after + data.split.horizon)},
    ):
        assert with_other(**changed)[: place + 1].tobytes() == before[: place + 1].tobytes()
    # Not vacuous: what it read a row earlier did change it, and so does what is known ahead.
    for changed in (
        {"values": later(data.values, after - 1)},
        {"past": later(data.covariates.past, after - 1)},
        {"future": later(data.covariates.future)},
        {"calendar": later(data.covariates.calendar)},
    ):
        assert (with_other(**changed)[place] != before[place]).any()
    static = data.covariates.static + 1
    assert (with_other(static=static)[place] != before[place]).any()


@pytest.mark.parametrize("skip", ["none", "linear"])
def test_what_is_read_stands_where_it_belongs(skip: Any, mixed: SimpleNamespace) -> None:
    """What is known ahead comes first: future, calendar, static; then the past ones."""
    data = mixed.data
    every: Covariates = data.covariates
    rows = len(data.time)
    columns = {
        "future_covariates": every.future[0],
        "calendar_features": every.calendar[0],
        "static_covariates": np.repeat(every.static, rows, axis=0),
        "past_covariates": every.past[0],
    }
    for number in range(16) if skip == "none" else (0, 15):
        chosen = {name: bool(number >> n & 1) for n, name in enumerate(columns)}
        config = TrialConfig(skip=skip, scaling="differences", **chosen)
        scaled = scale(config, data.values, data.split.train_stop)
        fitted = fit(config, data).skip
        inputs = network_inputs(config, scaled, data.values, every, fitted, 4)
        start = 1 if fitted is None else fitted.history - 1
        assert inputs.start == start
        wanted = [array for name, array in columns.items() if chosen[name]]
        expected = np.concatenate([np.empty((rows, 0)), *wanted], axis=1)[start:]
        np.testing.assert_allclose(inputs.data.covariates[0], expected, rtol=1e-6)
        moves = np.diff(data.values[0])
        train = moves[: data.split.train_stop - 1]
        expected = (moves[start - 1 :] - train.mean()) / train.std()
        np.testing.assert_allclose(inputs.data.series[0], expected, rtol=1e-4, atol=1e-5)
        known = sum(columns[n].shape[1] for n in [*columns][:3] if chosen[n])
        shape = architecture_of(config, every, 4)
        assert (shape.columns, shape.known) == (inputs.data.covariates.shape[2], known)


@HEADS
def test_one_forecast_alone_is_that_among_many(head: str, mixed: SimpleNamespace) -> None:
    """Segments of three over four steps: of the last one nothing is known beyond the horizon."""
    segment = {"direct": 2, "recursive": 3}[head]
    config, data = mixed.configs[head].replace(segment_length=segment), mixed.data
    fitted, origins = fit(config, data).skip, data.split.validation_origins
    together = forecasts(config, data)
    params = initial_params(architecture_of(config, data.covariates, 4), 7)
    (own,) = data.values
    for number in (0, 5):
        row = int(origins[number])
        covariates = dataclasses.replace(
            data.covariates.rows(0, row + 5), past=data.covariates.past[:, : row + 1]
        )
        known = Known(
            values=own[: row + 1],
            scaling=fit_scaling("standard", own[: data.split.train_stop], window=2),
            space=data.spaces[0],
            covariates=covariates,
        )
        (alone,) = changes_ahead(config, params, [known], horizon=4, skip=fitted)
        np.testing.assert_allclose(alone[0], together[number], rtol=1e-4, atol=1e-5)


@HEADS
def test_a_network_without_its_regression_is_refused(head: str, mixed: SimpleNamespace) -> None:
    config, data = mixed.configs[head], mixed.data
    alone, beside = config.replace(skip="none"), config.replace(skip="linear")
    fitted = fit(beside, data).skip
    params = initial_params(architecture_of(config, data.covariates, 4), 7)
    rows, split = data.values, data.split
    given: dict[str, Any] = {"horizon": 4, "covariates": data.covariates}
    places: dict[str, Any] = {"train_stop": split.train_stop, "origins": split.validation_origins}
    scaling = fit_scaling(config.scaling, rows[0, : split.train_stop], window=2)
    known = Known(values=rows[0], scaling=scaling, origins=[-5], covariates=data.covariates)
    for wrong, skip, said in ((beside, None, "left out"), (alone, fitted, "given")):
        message = f"config.skip is '{wrong.skip}' and skip is {said}$"
        with pytest.raises(ConfigError, match=message):
            evaluate(wrong, params, rows, skip=skip, **given, **places)
        with pytest.raises(ConfigError, match=message):
            changes_ahead(wrong, params, [known], skip=skip, horizon=4)


@SKIPS
@pytest.mark.parametrize("scaling", ["none", "standard"])
def test_a_shifted_series_is_forecast_shifted(
    scaling: Any, skip: Any, mixed: SimpleNamespace
) -> None:
    data = mixed.data
    for window_scaling in WINDOW_SCALINGS:
        config = mixed.configs["direct"].replace(
            scaling=scaling, window_scaling=window_scaling, skip=skip
        )
        fitted = fit(config, data).skip
        before = forecasts(config, data, skip=fitted)
        after = forecasts(config, data, skip=fitted, values=data.values + 64)
        if window_scaling == "none" and scaling == "none":
            assert abs(after - before).max() > 0.1
        else:
            np.testing.assert_allclose(after, before, rtol=1e-3, atol=2e-4)
        assert np.ptp(before, axis=0).min() > 0.01


@SKIPS
def test_where_a_series_stands_still_for_days_all_stays_finite(
    skip: Any, mixed: SimpleNamespace
) -> None:
    values = mixed.data.values.copy()
    still = mixed.data.split.validation_origins[3]
    values[:, 40:90] = 21.0
    values[:, still - 12 : still + 3] = 21.0
    data = dataclasses.replace(mixed.data, values=values)
    for window_scaling in WINDOW_SCALINGS:
        config = mixed.configs["direct"].replace(window_scaling=window_scaling, skip=skip)
        for result in fit(config, data):
            assert np.isfinite([result.train_loss, result.relative_mse]).all()
            assert abs(result.forecasts).max() < 100


def test_what_is_known_ahead_explains_all_but_the_noise() -> None:
    """y = 3 x + noise: with x the error is the noise's, without it half of persistence's."""
    rng = np.random.default_rng(11)
    x, noise = rng.normal(size=(2, 900))
    frame = pd.DataFrame(
        {"y": 3 * x + 0.5 * noise, "x": x}, index=pd.date_range("2000-01-01", periods=900)
    )
    series = TimeSeries.from_frame(frame, target="y", future=["x"])
    data = development(series, chronological_split(900, horizon=2, history=4))
    config = TrialConfig(
        head="direct",
        units=(4,),
        head_units=8,
        unroll_length=4,
        batch_size=64,
        epochs=8,
        learning_rate=0.02,
        dropout=0.0,
        scaling="standard",
    )
    steps = data.split.validation_origins[:, None] + np.array([1, 2])
    came = frame["y"].to_numpy()[steps] - frame["y"].to_numpy()[steps[:, :1] - 1]
    floor = 0.25 * np.square(noise[steps]).mean() / np.square(came).mean()
    informed = best_epoch(fit(config.replace(future_covariates=True), data)).relative_mse
    assert informed == pytest.approx(floor, rel=0.15)
    blind = best_epoch(fit(config, data)).relative_mse
    assert 0.4 < blind < 0.6
    ridge = next(fit(config.replace(skip="linear", future_covariates=True), data)).relative_mse
    assert ridge == pytest.approx(floor, rel=0.1)
