"""What a forecaster reads beside the target: a ridge regression, covariates and the calendar."""

import dataclasses
import hashlib
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tomli_w
from regressors import one

from foretune.datasets.calendar import infer_calendar
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.history import History
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import split_without_test
from foretune.models import Forecaster, TrialConfig
from foretune.models.forecaster.arrays import decode_arrays, encode_arrays
from foretune.models.forecasts.intervals import adaptive_widths, running_volatility
from foretune.models.forecasts.ridge import choose_ridge, fit_ridge
from foretune.models.networks.params import initial_params
from foretune.models.networks.stacked import Architecture

ROWS, HORIZON = 200, 4
TIME = pd.date_range("2024-03-01", periods=ROWS + 40, freq="h", name="when")
_RNG = np.random.default_rng(5)
WIND, LOAD = _RNG.normal(5, 2, len(TIME)), _RNG.normal(size=len(TIME))
SKY = np.where(_RNG.random(len(TIME)) < 0.3, "rain", "clear")
TARGET = 3 * WIND + np.where(SKY == "rain", -4.0, 0.0) + 0.1 * _RNG.normal(size=len(TIME))
SMALL = TrialConfig(
    units=(3,), unroll_length=6, segment_length=2, batch_size=4, steps_per_epoch=3, epochs=1
).replace(scaling="standard", skip="linear", past_covariates=True, future_covariates=True)
DIRECT = SMALL.replace(head="direct", window_scaling="last", head_units=4)
RECURSIVE = SMALL.replace(calendar_features=True, static_covariates=True)


def make(stop: int = ROWS, beyond: int = 0, **changes: Any) -> TimeSeries:
    """The first rows of a series of 3 x wind, 4 less in the rain."""
    fields: dict[str, Any] = {
        "name": "site",
        "time": TIME[:stop],
        "target": TARGET[:stop],
        "calendar": infer_calendar(TIME),
        "past": {"load": LOAD[:stop]},
        "future": {"wind": WIND[: stop + beyond], "sky": SKY[: stop + beyond]},
        "static": {"region": "north"},
        "target_name": "power",
        "source": "made up",
    }
    return TimeSeries(**fields | changes)


def plan(stop: int = ROWS, rows: int = HORIZON) -> dict[str, Any]:
    """What is known of the rows ahead."""
    return {"wind": WIND[stop : stop + rows], "sky": SKY[stop : stop + rows]}


@pytest.fixture(scope="module")
def direct() -> Forecaster:
    """A direct head beside a ridge; trained with the rows ahead unknown."""
    return Forecaster.train(DIRECT, make(), horizon=HORIZON)


@pytest.fixture(scope="module")
def recursive() -> Forecaster:
    """A recursive head beside a ridge, with calendar and static covariates."""
    return Forecaster.train(RECURSIVE, make(), horizon=HORIZON)


def bits(forecaster: Forecaster, **given: Any) -> bytes:
    return forecaster.forecast(**given).iloc[:, 1:].to_numpy().tobytes()


# What is forecast


def test_a_direct_forecast_beside_a_ridge_by_numpy(
    direct: Forecaster, oracle: SimpleNamespace
) -> None:
    # Weights that are not 0 in the last layer, whatever training did.
    shape = Architecture.of(DIRECT, HORIZON, columns=4, known=3)
    ours = dataclasses.replace(direct, params=initial_params(shape, 7))
    train_stop = round((ROWS - HORIZON) * 0.75)
    # Of the rows that the network was trained on; the regression was fitted to all.
    mean, std = TARGET[:train_stop].mean(), TARGET[:train_stop].std()

    def scaled(values: Any) -> Any:
        return (values - values[:train_stop].mean()) / values[:train_stop].std()

    until = ROWS + HORIZON
    known = np.stack([scaled(WIND[:until]), SKY[:until] == "clear", SKY[:until] == "rain"], axis=1)
    load = scaled(LOAD[:ROWS])

    assert ours.skip is not None
    ridge = ours.skip.ridge
    last, back = ROWS - 1, min(ridge.lags, 24)
    reads = [TARGET[last - lag] - TARGET[last] for lag in range(ridge.lags - 1, 0, -1)]
    reads += [load[last - step] for step in range(back)]
    reads += [value for step in range(HORIZON, -back, -1) for value in known[last + step]]
    path = TARGET[last] + np.array(reads) @ ridge.weights + ridge.intercept

    window = (TARGET[ROWS - 6 : ROWS] - mean) / std
    stack = oracle.NumpyStack.of_params(shape, ours.params)
    state = stack.zero_state(1)
    for first in range(0, 6, 2):
        rows = [first, first + 1]
        values = [window[row] - window[-1] for row in rows]
        others = [[*known[ROWS - 6 + row], load[ROWS - 6 + row]] for row in rows]
        state, features = stack.step(state, np.array([[*values, *others[0], *others[1]]]))
    outputs = stack.all_steps(features[0], known[ROWS:])
    expected = path + outputs * std
    frame = ours.forecast(future=plan())
    assert np.abs(outputs * std).min() > 1e-3, "the network adds nothing"
    np.testing.assert_allclose(frame["forecast"], expected, rtol=1e-5)
    assert frame["when"].tolist() == TIME[ROWS:until].tolist()
    np.testing.assert_allclose(frame["upper"] - frame["forecast"], ours.widths * ours.space.unit)


@pytest.mark.parametrize("name", ["direct", "recursive"])
def test_more_wind_ahead_is_three_times_as_much_power(
    name: str, request: pytest.FixtureRequest
) -> None:
    ours = request.getfixturevalue(name)
    calm = ours.forecast(future=plan())["forecast"]
    windy = ours.forecast(future=plan() | {"wind": plan()["wind"] + 1})["forecast"]
    np.testing.assert_allclose(windy - calm, 3, rtol=0.1)
    rainy = ours.forecast(future=plan() | {"sky": ["rain"] * HORIZON})["forecast"]
    clear = ours.forecast(future=plan() | {"sky": ["clear"] * HORIZON})["forecast"]
    np.testing.assert_allclose(rainy - clear, -4, rtol=0.1)
    np.testing.assert_allclose(calm, TARGET[ROWS : ROWS + HORIZON], atol=1.5)


@pytest.mark.parametrize("name", ["direct", "recursive"])
def test_past_covariates_are_read_up_to_the_last_row(
    name: str, request: pytest.FixtureRequest
) -> None:
    ours = request.getfixturevalue(name)

    def after(load: Any) -> bytes:
        history = History.of(make(past={"load": load}))
        member = dataclasses.replace(ours.members[0], history=history)
        return bits(dataclasses.replace(ours, members=(member,)), future=plan())

    other = LOAD[:ROWS].copy()
    other[-1] += 1
    assert after(other) != after(LOAD[:ROWS])
    other = LOAD[:ROWS].copy()
    other[: ROWS // 2] += 1
    assert after(other) == after(LOAD[:ROWS]), "nothing reads so far back"


def test_future_values_come_in_any_form(direct: Forecaster) -> None:
    expected, columns = bits(direct, future=plan()), plan()
    times = TIME[ROWS : ROWS + HORIZON]
    for future in (
        {name: list(values) for name, values in columns.items()},
        pd.DataFrame(columns),
        pd.DataFrame(columns, index=times),
        pd.DataFrame(columns | {"when": times.astype(str)}),
        pd.DataFrame(plan(ROWS - 9, 24), index=TIME[ROWS - 9 : ROWS + 15]),
        columns | {"tide": [1.0] * HORIZON},
    ):
        assert bits(direct, future=future) == expected
    # Known from the start, they need not be given.
    assert bits(Forecaster.train(DIRECT, make(beyond=9), horizon=HORIZON)) == expected
    assert (
        direct.forecast(2, plan())["forecast"].tolist()
        == (direct.forecast(future=plan())["forecast"].tolist()[:2])
    )


@pytest.mark.parametrize("steps", [None, 1])
def test_what_is_missing_ahead_is_named_with_its_first_time(
    steps: int | None, direct: Forecaster, recursive: Forecaster
) -> None:
    end = "2024-03-09 11:00:00, 4 hours ahead"
    how = "; give forecast(future=...) (--future)"
    for ours in (direct, recursive):
        for future, start in ((None, "08"), (plan(rows=3), "11")):
            with pytest.raises(DataError) as caught:
                ours.forecast(steps, future)
            assert str(caught.value) == (
                f"wind and sky must be known up to {end}, but are missing from 2024-03-09 "
                f"{start}:00:00 on{how}"
            )
    with pytest.raises(DataError, match=r"^sky must be known up to .* missing from .* 10:00:00 on"):
        direct.forecast(future=plan() | {"sky": ["rain"] * 2})
    with pytest.raises(DataError, match="sky at 2024-03-09 08:00:00 must be a category of the"):
        direct.forecast(future=plan() | {"sky": ["snow"] * HORIZON})


def test_calendar_features_alone_need_nothing_from_the_user() -> None:
    config = DIRECT.replace(past_covariates=False, future_covariates=False, calendar_features=True)
    ours = Forecaster.train(config, make(), horizon=HORIZON)
    assert ours.encoding.calendar == ("hour", "weekday")
    assert dict(ours.history.series.future) == dict(ours.history.series.past) == {}
    newer = ours.with_data(make(ROWS + 9))
    for each in (ours, newer):
        assert np.isfinite(each.forecast()["forecast"]).all()
    # What is not read changes nothing.
    assert bits(ours, future=plan()) == bits(ours)
    assert bits(ours.with_data(make(ROWS + 9, past={}, future={}))) == bits(newer)
    assert "hour, weekday (calendar)" in repr(ours)


# Which rows the ridge is fitted to


@pytest.mark.parametrize("refit", [True, False])
def test_the_ridge_is_fitted_to_the_rows_that_train(refit: bool) -> None:
    ours = Forecaster.train(DIRECT, make(), horizon=HORIZON, refit=refit)
    assert ours.skip is not None
    ridge = ours.skip.ridge
    covariates = ours.encoding.encode(make())
    beside = {"past": covariates.past[0], "future": covariates.future[0]}
    split = split_without_test(ROWS, horizon=HORIZON, history=6)
    (chosen,) = choose_ridge(one(TARGET[:ROWS], **beside), [split])
    assert (ridge.lags, ridge.penalty) == (chosen.lags, chosen.penalty)
    expected = chosen
    if refit:
        expected = fit_ridge(
            one(TARGET[:ROWS], **beside),
            train_stop=ROWS,
            horizon=HORIZON,
            lags=ridge.lags,
            penalty=ridge.penalty,
        )
    np.testing.assert_allclose(ridge.weights, expected.weights, rtol=1e-9)
    np.testing.assert_allclose(ridge.intercept, expected.intercept, rtol=1e-9)
    assert np.allclose(ridge.weights, chosen.weights) != refit


def test_where_no_epoch_is_better_the_ridge_alone_forecasts(tmp_path: Path) -> None:
    # Steps that are far too long: epoch 0 stays the best.
    wild = DIRECT.replace(learning_rate=10.0)
    series = make(beyond=HORIZON)
    ours = Forecaster.train(wild, series, horizon=HORIZON)
    assert ours.training.epochs == 0
    assert ours.training.relative_mse < 0.1
    assert ours.skip is not None
    covariates = ours.encoding.encode(series, ahead=HORIZON)
    (path,) = ours.skip.scaled_paths(
        (ours.scaling,), TARGET[None, :ROWS], covariates, np.array([ROWS - 1], np.int32)
    )
    stop = ours.training.days
    assert (stop, ours.training.regression_days) == (147, ROWS)
    expected = path[0] * TARGET[:stop].std() + TARGET[:stop].mean()
    np.testing.assert_allclose(ours.forecast()["forecast"], expected, rtol=1e-6)
    assert "the ridge regression alone, for no epoch was better, on 200 hours" in repr(ours)
    ours.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    assert bits(loaded) == bits(ours)
    assert loaded.training.epochs == 0
    kept = Forecaster.train(wild, series, horizon=HORIZON, refit=False)
    assert (kept.training.epochs, kept.training.days) == (0, 147)
    assert kept.training.regression_days == 147


# Newer rows


def as_frame(series: TimeSeries) -> pd.DataFrame:
    return series.to_frame().drop(columns="region")


def test_newer_rows_are_read_with_the_columns_that_the_model_needs(
    direct: Forecaster, tmp_path: Path
) -> None:
    newer = make(ROWS + 20, HORIZON)
    expected = direct.with_data(newer)
    frame = as_frame(newer)
    frame.to_csv(tmp_path / "newer.csv")
    frame.reset_index().to_csv(tmp_path / "index.csv", index=False)
    forms = (frame, frame.assign(tide=1.0), tmp_path / "newer.csv", str(tmp_path / "index.csv"))
    for data in forms:
        moved = direct.with_data(data)
        np.testing.assert_array_equal(moved.widths, expected.widths)
        assert bits(moved) == bits(expected)
        assert moved.history.series.beyond == HORIZON
    with pytest.raises(DataError, match="'sky' must be a column, and the columns are"):
        direct.with_data(frame.drop(columns="sky"))
    with pytest.raises(DataError, match="must have the covariates known of site, but lacks load"):
        direct.with_data(make(ROWS + 1, past={}))
    # Rows that come bit by bit are as all at once.
    by_bits = direct.with_data(make(ROWS + 7)).with_data(make(ROWS + 8, 2)).with_data(newer)
    assert bits(by_bits) == bits(expected)


def test_outcomes_move_the_widths_as_far_as_their_forecasts_had_covariates(
    direct: Forecaster,
) -> None:
    """A forecast that reads covariates further ahead than known cannot be made again."""
    stop, calibration = ROWS + 12, direct.calibration
    moved = direct.with_data(make(stop))
    assert calibration is not None
    levels = direct.space.levels(TARGET[:stop])
    since = np.arange(ROWS - 1, stop - HORIZON)  # those of which all steps came
    errors = []
    for last in since:
        ahead = direct.with_data(make(last + 1, HORIZON)).forecast()["forecast"].to_numpy()
        errors.append(np.abs(ahead - TARGET[last + 1 : last + 1 + HORIZON]) / direct.space.unit)
    earlier = calibration.first + np.arange(len(calibration.errors))
    origins = np.concatenate([earlier, since, [stop - 1]])
    expected = adaptive_widths(
        np.concatenate([calibration.errors, errors, np.full((1, HORIZON), np.nan)]),
        origins,
        running_volatility(levels)[origins],
        overlap=HORIZON,
    )[-1]
    np.testing.assert_allclose(moved.widths, expected, rtol=1e-4)
    assert np.abs(moved.widths / direct.widths - 1).max() > 0.01


# There and back


@pytest.mark.parametrize("name", ["direct", "recursive"])
def test_what_is_loaded_forecasts_the_same_bits(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    ours = request.getfixturevalue(name).with_data(make(ROWS + 3, 2))
    ours.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    future = plan(ROWS + 3)
    assert bits(loaded, future=future) == bits(ours, future=future)
    assert loaded.encoding == ours.encoding
    assert loaded.widths.tobytes() == ours.widths.tobytes()
    before, after = ours.history.series, loaded.history.series
    assert after.beyond == before.beyond == 2
    assert dict(after.static) == dict(before.static)
    assert dict(after.static) == ({"region": "north"} if name == "recursive" else {})
    for group in ("past", "future"):
        own, others = getattr(before, group), getattr(after, group)
        assert list(own) == list(others)
        for column, values in own.items():
            assert values.tolist() == others[column].tolist()
    assert repr(loaded) == repr(ours)
    newer = make(ROWS + 9, HORIZON)
    assert bits(loaded.with_data(as_frame(newer))) == bits(ours.with_data(newer))
    table = tomllib.loads((tmp_path / "model" / "forecaster.toml").read_text())
    assert table["format"] == 2
    assert [column["name"] for column in table["encoding"]["future"]] == ["wind", "sky"]
    assert table["encoding"]["future"][1]["categories"] == ["clear", "rain"]
    assert loaded.skip is not None
    with pytest.raises(ValueError, match="read-only"):
        loaded.skip.ridge.weights[0] = 0


def test_it_says_what_it_reads(direct: Forecaster, recursive: Forecaster) -> None:
    lags = direct.skip.ridge.lags if direct.skip else 0
    assert f"direct head over 6 hours, beside a ridge regression on {lags} lags" in repr(direct)
    assert "covariates: load (past); wind, sky (future); trained" in repr(direct)
    assert "wind, sky (future); region (static); hour, weekday (calendar)" in repr(recursive)


@pytest.fixture(scope="module")
def saved(direct: Forecaster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    direct.save(folder)
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    folder = tmp_path / "model"
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Forecaster.load(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def spoiled(array: Any, value: Any) -> Any:
    array = array.copy()
    array.ravel()[3] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history.future.1": None}, "history.future.1 must be sky, text [N], but is float64 ()"),
        ({"history.past.0": None}, "history.past.0 must be load, numbers [N], but is"),
        ({"history.past.0": lambda a: a.astype(str)}, "history.past.0 must be load, numbers"),
        ({"history.future.1": lambda a: a == "rain"}, "must be sky, text [N], but is bool"),
        ({"history.past.0": lambda a: a[:-1]}, "site: load must have shape (200,)"),
        ({"history.future.0": lambda a: a[:-1]}, "site: wind must have shape (200,)"),
        ({"history.past.0": lambda a: spoiled(a, np.nan)}, "load in row 3 must be a finite"),
        ({"history.past.1": lambda a: a}, "but differs in history.past.1"),
        ({"skip.weights": None}, "must hold skip.weights, finite numbers ["),
        ({"skip.weights": lambda a: a[:-1]}, "must hold skip.weights, finite numbers ["),
        ({"skip.weights": lambda a: a.astype(np.float32)}, "but has float32 ["),
        ({"skip.intercept": lambda a: spoiled(a, np.inf)}, "must hold skip.intercept, finite"),
        ({"skip.intercept": lambda a: a.astype(str)}, "skip.intercept, finite numbers [4], but ha"),
    ],
)
def test_arrays_that_cannot_be_right_are_named(
    changes: dict[str, Callable[[Any], Any] | None], message: str, model: Path
) -> None:
    """As somebody would have to write them who makes the digest right again."""
    (file,) = model.glob("arrays-*")
    arrays = decode_arrays(file, file.read_bytes())
    for name, change in changes.items():
        if change is None:
            del arrays[name]
        else:
            arrays[name] = change(arrays.get(name, np.zeros(ROWS)))
    data = encode_arrays(arrays)
    digest = hashlib.sha256(data).hexdigest()
    file.unlink()
    (model / f"arrays-{digest[:12]}.npz").write_bytes(data)
    document = model / "forecaster.toml"
    document.write_text(re.sub('arrays = ".*"', f'arrays = "{digest}"', document.read_text()))
    assert message in refusal(model)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("skip", None, "skip must be a table where config.skip is 'linear', and left out where"),
        ("config.skip", "none", "skip must be a table where config.skip is 'linear', and left out"),
        ("skip.lags", 0, "skip.lags must be greater than or equal to 1"),
        ("skip.lags", 1000, "must hold skip.weights, finite numbers ["),
        ("skip.penalty", 0.0, "skip.penalty must be greater than 0"),
        ("encoding", None, "must hold skip.weights, finite numbers ["),
        ("config.past_covariates", False, "encoding must hold nothing but the groups"),
        ("encoding.calendar", ["hour"], "encoding must hold nothing but the groups"),
        ("encoding.past.0.std", -1.0, "encoding must have each name once, and std of at least 0"),
        ("encoding.past.0.name", "wind", "encoding must have each name once, and std of at least"),
        ("encoding.past.0.mean", float("nan"), "encoding.past.0.mean must be a finite number"),
        ("encoding.past.0.name", "power", "'power' must name one column, but names several"),
        ("encoding.future.1.categories", ["rain"], "must hold skip.weights, finite numbers ["),
        ("encoding.tide", [], "unknown key 'encoding.tide'"),
        ("config.unroll_length", 202, "config.unroll_length must be at most 200, what the 200"),
        ("training.epochs", -1, "training.epochs must be greater than or equal to 0"),
    ],
)
def test_a_document_that_cannot_be_right_is_named(
    path: str, value: Any, message: str, model: Path
) -> None:
    file = model / "forecaster.toml"
    table = tomllib.loads(file.read_text())
    *above, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    inner: Any = table
    for part in above:
        inner = inner[part]
    inner[last] = value
    if value is None:
        del inner[last]
    file.write_text(tomli_w.dumps(table))
    assert message in refusal(model)


def test_every_changed_number_of_the_encoding_is_damage(model: Path) -> None:
    file = model / "forecaster.toml"
    table = tomllib.loads(file.read_text())
    table["encoding"]["past"][0]["mean"] += 1e-9
    file.write_text(tomli_w.dumps(table))
    assert refusal(model) == f"{file} is damaged: it must be as it was saved"
