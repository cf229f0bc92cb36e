"""The forecaster of a panel: one network for all series, each scaled, continued and measured."""

import dataclasses
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

from foretune.datasets import Panel, TimeSeries
from foretune.datasets.calendar import infer_calendar
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.splits import Split, chronological_split, split_without_test
from foretune.models import Forecaster, TrialConfig
from foretune.models.forecaster.arrays import decode_arrays, encode_arrays
from foretune.models.forecasts import predict
from foretune.models.forecasts.intervals import running_volatility
from foretune.models.forecasts.predict import evaluate

HORIZON, ROWS = 4, 200
CONFIG = TrialConfig(
    units=(3,), unroll_length=6, segment_length=2, batch_size=4, steps_per_epoch=3, epochs=1
).replace(scaling="standard", skip="linear", future_covariates=True, learning_rate=0.05)
TIME = pd.date_range("2024-03-01", periods=ROWS + 40, freq="h", name="ds")
LENGTHS = {"a": 200, "b": 160, "c": 185, "d": 200}


def one(name: str, stop: int = ROWS, *, length: int = 0, beyond: int = HORIZON) -> TimeSeries:
    """A day's wave in the wind, each name in its own unit; it ends before row ``stop`` of all."""
    first = ROWS - (length or LENGTHS.get(name, ROWS))
    random = np.random.default_rng(sum(map(ord, name)))
    unit, wind = 10.0 ** random.integers(-1, 3), random.normal(size=len(TIME))
    noise = 0.2 * random.normal(size=len(TIME))
    target = unit * (5 + np.sin(np.arange(len(TIME)) * np.pi / 12) + wind + noise)
    return TimeSeries(
        name=name,
        time=TIME[first:stop],
        target=target[first:stop],
        calendar=infer_calendar(TIME),
        future={"wind": wind[first : stop + beyond]},
        target_name="y",
        source="made up",
    )


def panel(names: Sequence[str] = "abcd", **changes: Any) -> Panel:
    return Panel(name="demo", series=tuple(one(n, **changes) for n in names), source="made up")


def parts() -> Split:
    return split_without_test(ROWS, horizon=HORIZON, days=180, history=6)


def train(data: Any, **changes: Any) -> Forecaster:
    return Forecaster.train(CONFIG, data, split=parts(), **changes)


@pytest.fixture(scope="module")
def split() -> Split:
    return parts()


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return train(panel())


@pytest.fixture
def model(forecaster: Forecaster, tmp_path: Path) -> Path:
    forecaster.save(tmp_path / "model")
    return tmp_path / "model"


def weights(forecaster: Forecaster) -> bytes:
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(forecaster.params))


def learned(forecaster: Forecaster) -> dict[str, Any]:
    """All that training leaves, by series where it is of one."""
    assert forecaster.skip is not None
    found: dict[str, Any] = {
        "weights": weights(forecaster),
        "ridge": forecaster.skip.ridge.weights.tobytes(),
        "value": forecaster.training.relative_mse,
    }
    for member, scale in zip(forecaster.members, forecaster.skip.scales, strict=True):
        assert member.calibration is not None
        errors = member.calibration.errors.tobytes()
        found[member.history.name] = (member.scaling, member.space, scale, errors)
    return found


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# What is trained


def test_a_panel_of_one_is_the_single_series_bit_for_bit() -> None:
    single, alone = train(one("a")), train(panel("a"))
    assert learned(single) == learned(alone)
    assert single.widths.tobytes() == alone.widths.tobytes()
    frame = alone.forecast()
    assert frame.pop("unique_id").tolist() == ["a"] * HORIZON
    same(frame, single.forecast())
    same(
        alone.with_data(one("a", 215)).forecast().drop(columns="unique_id"),
        single.with_data(one("a", 215)).forecast(),
    )


def test_the_order_of_series_changes_nothing(forecaster: Forecaster) -> None:
    other = train(panel("cadb"))
    assert learned(other) == learned(forecaster)
    same(other.forecast(), forecaster.forecast())


def test_each_series_has_its_own_scaling_by_hand(forecaster: Forecaster, split: Split) -> None:
    assert forecaster.names == ("a", "b", "c", "d")
    assert forecaster.skip is not None
    units = []
    for member in forecaster.members:
        train = member.history.values[: split.train_stop - (ROWS - len(member.history))]
        units.append(np.std(train))
        assert member.scaling == dataclasses.replace(
            member.scaling, mean=pytest.approx(np.mean(train)), std=pytest.approx(np.std(train))
        )
        assert member.space.unit == pytest.approx(np.std(train))
    assert forecaster.skip.scales == pytest.approx(np.array(units) / units[0])


@pytest.mark.parametrize("changed", ["a", "c"])
def test_rows_after_validation_change_only_what_is_known(
    changed: str, forecaster: Forecaster
) -> None:
    series = [
        dataclasses.replace(s, target=np.append(s.target[:-20], 3 * s.target[-20:]))
        if s.name == changed
        else s
        for s in panel()
    ]
    other = train(Panel(name="demo", series=tuple(series), source="made up"))
    assert learned(other) == learned(forecaster)
    mine, theirs = forecaster.forecast(), other.forecast()
    differs = mine[(mine != theirs).any(axis=1)]
    assert set(differs["unique_id"]) == {changed}


# What is forecast


def test_forecasts_are_what_evaluate_gives_from_the_last_row(
    forecaster: Forecaster, split: Split
) -> None:
    # evaluate wants the rows after an origin, to score; what they hold is not read before.
    longer = [one(name, ROWS + HORIZON, beyond=0) for name in forecaster.names]
    longer = [
        dataclasses.replace(s, target=np.append(s.target[:-HORIZON], [50.0] * HORIZON))
        for s in longer
    ]
    data = Panel(name="longer", series=tuple(longer), source="made up")
    scores = evaluate(
        CONFIG,
        forecaster.params,
        data.values,
        train_stop=split.train_stop,
        origins=np.array([ROWS - 1], np.int32),
        horizon=HORIZON,
        spaces=[member.space for member in forecaster.members],
        covariates=forecaster.encoding.encode_all(data.series, data.firsts.tolist()),
        skip=forecaster.skip,
        firsts=data.firsts,
    )
    frame = forecaster.forecast()
    assert frame.columns.tolist() == ["unique_id", "ds", "forecast", "lower", "upper"]
    assert frame["unique_id"].tolist() == [name for name in "abcd" for _ in range(HORIZON)]
    assert frame["ds"].tolist() == [*TIME[ROWS : ROWS + HORIZON]] * 4
    for number, member in enumerate(forecaster.members):
        own = frame[frame["unique_id"] == member.history.name]
        unit, last = member.space.unit, member.history.values[-1]
        expected = last + scores.changes[number, 0] * unit
        np.testing.assert_allclose(own["forecast"], expected, rtol=1e-5)
        np.testing.assert_allclose(own["upper"] - own["forecast"], member.widths * unit, rtol=1e-9)
        np.testing.assert_allclose(own["forecast"] - own["lower"], member.widths * unit, rtol=1e-9)


@pytest.mark.parametrize("series", ["b", ["d", "b"], ("a", "b", "c", "d")])
def test_some_series_are_the_same_rows_of_all(series: Any, forecaster: Forecaster) -> None:
    every = forecaster.forecast(3)
    some = every[every["unique_id"].isin([series] if isinstance(series, str) else series)]
    same(forecaster.forecast(3, series=series), some.reset_index(drop=True))


@pytest.mark.parametrize("series", ["e", ["a", "e"], []])
def test_series_that_the_model_does_not_know_are_refused(
    series: Any, forecaster: Forecaster
) -> None:
    said = r"one or several of the 4 that the model knows \(a, b, c, ...\), but got ('e'|none)$"
    with pytest.raises(ConfigError, match=said):
        forecaster.forecast(series=series)


def test_what_is_of_one_series_must_be_chosen(forecaster: Forecaster) -> None:
    with pytest.raises(ConfigError, match="one series must be chosen of demo, which has 4"):
        _ = forecaster.history


def test_the_network_is_called_for_many_series_at_once(
    forecaster: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes, made = [], predict.forecast

    def counted(*args: Any) -> Any:
        shapes.append(args[3].series.shape)
        return made(*args)

    monkeypatch.setattr(predict, "forecast", counted)
    new = panel([f"n{number}" for number in range(70)])
    with pytest.warns(DataWarning):
        many = forecaster.with_data(new)
    assert len(many.forecast()) == 74 * HORIZON
    assert shapes == [(64, CONFIG.rows_read + HORIZON)] * 2


def test_future_covariates_are_of_each_series_or_of_all() -> None:
    ours = train(panel(beyond=0))
    with pytest.raises(DataError, match=r"^a: wind must be known up to .*, 4 hours ahead"):
        ours.forecast()
    wind = {name: one(name).future["wind"][-HORIZON:] for name in ours.names}
    long = pd.DataFrame(
        [
            {"unique_id": name, "ds": time, "wind": value}
            for name, values in wind.items()
            for time, value in zip(TIME[ROWS : ROWS + HORIZON], values, strict=True)
        ]
    )
    expected = train(panel()).forecast()
    same(ours.forecast(future=long.sample(frac=1, random_state=1)), expected)
    of_all = ours.forecast(future={"wind": wind["c"]})
    of_c = slice(2 * HORIZON, 3 * HORIZON)
    same(of_all[of_c], expected[of_c])
    assert not of_all[:HORIZON].equals(expected[:HORIZON])


# Newer rows, and new series


def test_newer_rows_of_some_at_once_or_bit_by_bit(forecaster: Forecaster) -> None:
    with pytest.warns(DataWarning, match=r"^2 of 4 known series .* stay as they are: c, d$"):
        some = forecaster.with_data(panel("ab", stop=212))
    before, after = forecaster.forecast(), some.forecast()
    same(after.iloc[2 * HORIZON :], before.iloc[2 * HORIZON :])
    assert after["ds"][0] == TIME[212]
    for number in (0, 1):
        assert some.members[number].widths.tolist() != forecaster.members[number].widths.tolist()
        assert some.members[number].scaling == forecaster.members[number].scaling

    at_once = forecaster.with_data(panel(stop=225))
    with pytest.warns(DataWarning, match="known series have no newer rows"):
        by_and_by = some.with_data(panel("cd", stop=225)).with_data(panel("ab", stop=225))
    same(by_and_by.forecast(), at_once.forecast())


def test_newer_rows_come_as_a_long_frame_or_as_one_series(forecaster: Forecaster) -> None:
    expected = forecaster.with_data(panel(stop=203)).forecast()
    parts = [one(name, 203)[-5:].to_frame().assign(unique_id=name) for name in "bdac"]
    long = pd.concat(parts).rename_axis("ds").reset_index()
    same(forecaster.with_data(long).forecast(), expected)
    alone = forecaster
    for name in "abcd":
        with pytest.warns(DataWarning, match="3 of 4 known series have no newer rows"):
            alone = alone.with_data(one(name, 203))
    same(alone.forecast(), expected)


def test_a_new_series_is_scaled_on_its_own_rows_and_measured_by_all(
    forecaster: Forecaster,
) -> None:
    wave = one("new", length=60)
    large = dataclasses.replace(wave, name="large", target=1000 * wave.target)
    said = r"^2 series are new: .* by what those of demo taught: large, new$"
    with pytest.warns(DataWarning, match=said):
        both = forecaster.with_data(Panel(name="more", series=(wave, large), source="made up"))
    assert both.names == ("a", "b", "c", "d", "large", "new")
    frame = both.forecast().set_index("unique_id")
    columns = ["forecast", "lower", "upper"]
    same(frame.drop(index=["large", "new"]).reset_index(), forecaster.forecast())
    np.testing.assert_allclose(
        frame.loc["large", columns], 1000 * frame.loc["new", columns], rtol=1e-5
    )
    member = both.members[-1]
    assert member.space.unit == pytest.approx(np.std(wave.target))

    # The 90 % quantile of all errors on validation, each in the volatility of its series.
    scores = []
    for known in forecaster.members:
        assert known.calibration is not None
        volatility = running_volatility(known.history.values / known.space.unit)
        scores.append(known.calibration.errors / volatility[known.calibration.earlier].mean())
    ordered = np.sort(np.concatenate(scores), axis=0)
    quantile = ordered[math.ceil(0.9 * (len(ordered) + 1)) - 1]
    now = running_volatility(wave.target / np.std(wave.target))[-1]
    np.testing.assert_allclose(member.widths, quantile * now, rtol=1e-12)


def test_a_new_series_counts_its_own_outcomes_later(forecaster: Forecaster) -> None:
    with pytest.warns(DataWarning, match="1 series are new"):
        more = forecaster.with_data(one("new", length=60))
    with pytest.warns(DataWarning, match="4 of 5 known"):
        moved = more.with_data(one("new", 230, length=60))
    member = moved.members[-1]
    assert len(member.history) == 90
    assert member.scaling == more.members[-1].scaling, "nothing is fitted again"
    assert not np.array_equal(member.widths, more.members[-1].widths)


def test_series_that_are_numbers_are_chosen_as_numbers(forecaster: Forecaster) -> None:
    with pytest.warns(DataWarning):
        more = forecaster.with_data(one("7", length=60))
    chosen: Any
    for chosen in (7, [7], np.array([7]), pd.Index(["7"])):
        assert set(more.forecast(series=chosen)["unique_id"]) == {"7"}


def test_a_newer_value_without_a_logarithm_is_refused_by_the_name_of_its_series() -> None:
    above = [dataclasses.replace(x, target=np.abs(x.target) + 1) for x in panel().members]
    config = CONFIG.replace(scaling="log", epochs=1)
    positive = Panel(name="demo", series=tuple(above), source="made up")
    ours = Forecaster.train(config, positive, split=parts())
    more = dataclasses.replace(one("b", ROWS + 1), target=np.append(above[1].target, 0.0))
    assert refused(ours, more).startswith("b: scaling 'log' needs values above 0, but row 160 is ")


def refused(forecaster: Forecaster, series: TimeSeries) -> str:
    with pytest.warns(DataWarning), pytest.raises(DataError) as caught:
        forecaster.with_data(series)
    return str(caught.value)


def test_new_series_of_another_kind_or_too_short_are_refused(forecaster: Forecaster) -> None:
    wave, skip = one("new"), forecaster.skip
    assert skip is not None
    least = max(CONFIG.rows_read, skip.history)
    assert refused(forecaster, one("new", length=least - 1)) == (
        f"new, which is new, must have at least {least} rows, which the model reads before a "
        f"forecast, but has {least - 1}; leave it out by leave_out='new' (--leave-out), or all "
        f"like it by short='drop', least={least} (--short drop --least {least})"
    )
    with pytest.warns(DataWarning):
        assert len(forecaster.with_data(one("new", length=least)).names) == 5
    bare = dataclasses.replace(wave, future={})
    assert refused(forecaster, bare) == (
        "demo: all series must have the same future covariates, but a has wind and new has none"
    )
    daily = pd.date_range("2024-01-01", periods=ROWS)
    other = dataclasses.replace(wave, time=daily, calendar=infer_calendar(daily))
    assert "all series must have the same calendar, but a has hourly and new has daily" in refused(
        forecaster, other
    )
    flat = dataclasses.replace(wave, target=np.ones(ROWS))
    said = refused(forecaster, flat)
    assert said.startswith("new, which is new: the 200 training values must vary")
    assert said.endswith("; leave it out by leave_out='new' (--leave-out)")


def test_of_one_origin_the_intervals_come_from_all_series() -> None:
    series = panel([f"s{number}" for number in range(12)])
    rows = (ROWS - 2 * HORIZON, HORIZON, HORIZON)
    one_origin = chronological_split(ROWS, horizon=HORIZON, history=6, rows=rows, gap=0)
    ours = Forecaster.train(CONFIG, series, split=one_origin)
    scores, usual = [], []
    for member in ours.members:
        assert member.calibration is not None
        assert member.calibration.errors.shape == (1, HORIZON)
        levels = member.history.values / member.space.unit
        origin = one_origin.validation_start - 1
        at = running_volatility(levels)[[origin, ROWS - 1]]
        scores.append(member.calibration.errors[0] / at[0])
        usual.append(at.mean())
    # Of 12 scores the 90 % quantile is the 12th.
    expected = np.array(usual)[:, None] * np.max(scores, axis=0)
    found = np.stack([member.widths for member in ours.members])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


# Saved and loaded


def test_what_is_loaded_is_what_was_saved(forecaster: Forecaster, model: Path) -> None:
    loaded = Forecaster.load(model)
    assert learned(loaded) == learned(forecaster)
    assert (repr(loaded), loaded.training) == (repr(forecaster), forecaster.training)
    same(loaded.forecast(), forecaster.forecast())
    with pytest.warns(DataWarning, match="are new"):
        mine, theirs = (each.with_data(panel("abcdn", stop=215)) for each in (forecaster, loaded))
    same(theirs.forecast(), mine.forecast())
    theirs.save(model)
    same(Forecaster.load(model).forecast(), mine.forecast())
    assert len([*model.iterdir()]) == 2


def test_a_model_of_series_that_end_apart_is_saved_too(tmp_path: Path) -> None:
    series = tuple(one(name, stop) for name, stop in (("a", 200), ("b", 190)))
    apart = Panel(name="apart", series=series, source="made up")
    ours = train(apart, horizon=HORIZON)
    frame = ours.forecast()
    assert frame["ds"].tolist() == [*TIME[200:204], *TIME[190:194]]
    ours.save(tmp_path / "model")
    same(Forecaster.load(tmp_path / "model").forecast(), frame)


def test_every_flipped_bit_is_seen(model: Path, tmp_path: Path) -> None:
    for number, file in enumerate(sorted(model.iterdir())):
        content = file.read_bytes()
        for place in np.linspace(200, len(content) - 2, 25).astype(int):
            copy = Path(shutil.copytree(model, tmp_path / f"{number}-{place}"))
            changed = bytearray(content)
            changed[place] ^= 1
            (copy / file.name).write_bytes(bytes(changed))
            with pytest.raises(ConfigError) as caught:
                Forecaster.load(copy)
            assert "\n" not in str(caught.value)


def resaved(
    monkeypatch: pytest.MonkeyPatch, forecaster: Forecaster, folder: Path, **changes: Any
) -> str:
    """What loading says of a model that was saved with other arrays; None leaves one out."""
    from foretune.models.forecaster.stored import Stored

    made = Stored.arrays

    def changed(self: Stored, *, is_panel: bool) -> Any:
        arrays = made(self, is_panel=is_panel) | changes
        return {name: array for name, array in arrays.items() if array is not None}

    monkeypatch.setattr(Stored, "arrays", changed)
    forecaster.save(folder)
    with pytest.raises(ConfigError) as caught:
        Forecaster.load(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("1.history.values", None, "must hold history.values, but does not"),
        ("2.intervals.widths", np.full(HORIZON, -1.0), "must hold intervals.widths, finite"),
        ("2.intervals.widths", np.ones(3), "must hold intervals.widths, finite"),
        ("0.intervals.errors", np.full((2, HORIZON), np.nan), "must hold intervals.errors, finite"),
        ("3.history.extra", np.ones(3), "must not hold 3.history.extra, but does"),
        ("4.history.time", np.ones(3), "must hold the weights that config asks for"),
    ],
)
def test_arrays_that_cannot_be_right_are_named(
    name: str,
    array: Any,
    message: str,
    forecaster: Forecaster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = resaved(monkeypatch, forecaster, tmp_path / "model", **{name: array})
    assert message in said


def test_a_document_that_cannot_be_right_is_named(model: Path) -> None:
    file = model / "forecaster.toml"
    text = file.read_text()
    for old, new, message in (
        ('name = "b"', 'name = "e"', "members must be in the order of their names, each once"),
        ("scale = ", "scale = -", "members.0.scale"),
        ("[[members]]", "[[people]]", "members"),
        ("format = 3", "format = 4", "format"),
    ):
        file.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=message):
            Forecaster.load(model)


def test_nothing_is_pickled(model: Path) -> None:
    (file,) = model.glob("*.npz")
    arrays = decode_arrays(file, file.read_bytes())
    assert all(array.dtype.kind != "O" for array in arrays.values())
    assert encode_arrays(arrays) == file.read_bytes()


def test_it_says_how_many_series(forecaster: Forecaster) -> None:
    assert "series: demo, 4 series of 160 to 200 hours" in repr(forecaster)
    assert "4 series of 160 to 200 hours" in forecaster._repr_html_()
