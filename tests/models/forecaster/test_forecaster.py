"""Forecaster: which days train, what it forecasts, and which prices may follow the known ones."""

import dataclasses
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.datasets.calendar import local_clock
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.history import History
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.samples import ar1
from foretune.datasets.splits import Split, split_without_test
from foretune.models import EpochResult, Forecaster, TrialConfig, best_epoch, fit
from foretune.models.forecasts.intervals import adaptive_widths, running_volatility
from foretune.models.forecasts.predict import evaluate
from foretune.models.networks.stacked import Architecture

HORIZON = 5


@pytest.fixture(scope="module")
def split(small: SimpleNamespace) -> Split:
    found: Split = small.data.split
    return found


@pytest.fixture(scope="module")
def forecaster(small: SimpleNamespace, split: Split) -> Forecaster:
    """Trained and refitted on training and validation days; the test days are known."""
    return Forecaster.train(small.config, small.prices, split=split, target="mid")


def weights(params: Any) -> bytes:
    return b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params))


def fitted(forecaster: Forecaster) -> tuple[Any, ...]:
    """Everything that training leaves."""
    assert forecaster.calibration is not None
    return (
        weights(forecaster.params),
        forecaster.scaling,
        forecaster.calibration.errors.tobytes(),
        forecaster.training.relative_mse,
        forecaster.training.epochs,
    )


def changed_day(prices: PriceSeries, day: int) -> PriceSeries:
    """The same prices but for one day, 3 % higher."""
    mid = prices.mid.copy()
    mid[day] *= 1.03
    return dataclasses.replace(prices, open=mid, high=mid, low=mid, close=mid)


# What is trained


def test_without_a_refit_the_weights_are_those_of_the_best_epoch_of_fit(
    small: SimpleNamespace, split: Split
) -> None:
    kept = Forecaster.train(small.config, small.prices, split=split, refit=False, target="mid")
    best = best_epoch(fit(small.config, small.data))
    assert weights(kept.params) == weights(best.params)
    assert kept.training.relative_mse == best.relative_mse
    assert kept.training.epochs == best.epoch
    assert kept.training.days == split.train_stop
    assert not kept.training.refit

    # The intervals start from the errors on validation, and from the volatility at the last day.
    log_mid, origins = np.log(small.prices.mid), split.validation_origins
    errors = [
        [
            abs(log_mid[origin + step + 1] - log_mid[origin] - best.forecasts[0, number, step])
            for step in range(HORIZON)
        ]
        for number, origin in enumerate(origins.tolist())
    ]
    assert kept.calibration is not None
    np.testing.assert_allclose(kept.calibration.errors, errors, rtol=1e-12)
    assert kept.widths.tolist() == pytest.approx(widths_by_hand(log_mid, origins, errors))


def widths_by_hand(log_mid: Any, origins: Any, errors: Any) -> Any:
    """Return the half-widths at the last day, of the days and the errors that are known by then."""
    at = np.append(origins, len(log_mid) - 1)
    errors = np.concatenate([errors, np.full((1, HORIZON), np.nan)])
    return adaptive_widths(errors, at, running_volatility(log_mid)[at], overlap=1)[-1]


def test_replayed_learning_rates_give_the_same_training_bit_for_bit(
    small: SimpleNamespace,
) -> None:
    config = decaying(small)
    first = list(fit(config, small.data))
    rates = [result.learning_rate for result in first]
    assert min(rates) < max(rates)
    # The replay knows no decay, no patience and no number of epochs of its own.
    bare = config.replace(epochs=1, decay_factor=1.0, stop_patience=1, learning_rate=7.0)
    again = list(fit(bare, small.data, learning_rates=rates))
    assert [result.learning_rate for result in again] == rates
    for a, b in zip(first, again, strict=True):
        assert weights(a.params) == weights(b.params)
        assert (a.train_loss, a.relative_mse) == (b.train_loss, b.relative_mse)
    assert [result.is_last for result in again] == [False] * (len(rates) - 1) + [True]
    with pytest.raises(ConfigError, match="learning_rates must hold one rate per epoch"):
        next(fit(bare, small.data, learning_rates=[]))


def decaying(small: SimpleNamespace) -> TrialConfig:
    """A config whose learning rate falls before its best epoch, on the small series."""
    config: TrialConfig = small.changed(
        epochs=12, learning_rate=0.05, decay_patience=0, stop_patience=4
    )
    return config


def test_the_refit_replays_epochs_and_rates_on_training_gap_and_validation(
    small: SimpleNamespace, split: Split
) -> None:
    seen: dict[str, list[EpochResult]] = {"choice": [], "refit": []}
    config = decaying(small)
    refitted = Forecaster.train(
        config,
        small.prices,
        split=split,
        on_epoch=lambda stage, r: seen[stage].append(r),
        target="mid",
    )
    chosen = best_epoch(seen["choice"])
    rates = [result.learning_rate for result in seen["choice"]][: chosen.epoch]
    assert min(rates) < max(rates), "nothing to replay"
    assert [result.learning_rate for result in seen["refit"]] == rates
    assert refitted.training.epochs == chosen.epoch < len(seen["choice"])
    assert refitted.training.relative_mse == chosen.relative_mse
    assert weights(refitted.params) == weights(seen["refit"][-1].params) != weights(chosen.params)

    # By hand: the mean and deviation of all returns up to the end of validation.
    returns = np.diff(np.log(small.prices.mid[: split.validation_stop]))
    assert refitted.scaling.mean == pytest.approx(returns.mean(), rel=1e-12)
    assert refitted.scaling.std == pytest.approx(returns.std(), rel=1e-12)
    assert refitted.training.days == split.validation_stop
    assert refitted.training.last_date == small.prices.dates[split.validation_stop - 1].item()
    assert refitted.training.validation_first_date == (
        small.prices.dates[split.validation_start].item()
    )


def test_a_refit_at_a_constant_rate_is_a_plain_training_on_more_days(
    small: SimpleNamespace, split: Split
) -> None:
    # Without the argument that replays: an ordinary training whose training part is longer.
    config = small.changed(decay_factor=1.0, epochs=3)
    refitted = Forecaster.train(config, small.prices, split=split, target="mid")
    longer = dataclasses.replace(split, train_stop=split.validation_stop)
    data = dataclasses.replace(small.data, split=longer)
    plain = list(fit(config.replace(epochs=refitted.training.epochs), data))[-1]
    assert weights(refitted.params) == weights(plain.params)


def test_of_a_split_the_test_days_train_and_decide_nothing(
    small: SimpleNamespace, split: Split, forecaster: Forecaster
) -> None:
    for day in (split.validation_stop, split.test_start, split.length - 1):
        other = Forecaster.train(
            small.config, changed_day(small.prices, day), split=split, target="mid"
        )
        assert fitted(other) == fitted(forecaster)
    # The last validation day does train, and the last day is what a forecast starts from.
    other = Forecaster.train(
        small.config,
        changed_day(small.prices, split.validation_stop - 1),
        split=split,
        target="mid",
    )
    assert weights(other.params) != weights(forecaster.params)
    last = Forecaster.train(small.config, changed_day(small.prices, -1), split=split, target="mid")
    assert last.forecast().iloc[0]["forecast"] != forecaster.forecast().iloc[0]["forecast"]


@pytest.mark.parametrize("days", [None, 260])
def test_all_days_train_or_the_first_ones_that_are_asked_for(
    days: int | None, small: SimpleNamespace
) -> None:
    def train(prices: PriceSeries) -> Forecaster:
        return Forecaster.train(small.config, prices, horizon=HORIZON, days=days, target="mid")

    first, stop = train(small.prices), 260 if days else 300
    assert first.training.days == stop
    assert first.training.first_date == small.prices.dates[0].item()
    assert first.training.last_date == small.prices.dates[stop - 1].item()
    assert first.forecast()["date"][0] == pd.Timestamp(small.prices.dates[-1]) + pd.offsets.BDay()
    assert weights(train(changed_day(small.prices, stop - 1)).params) != weights(first.params)
    if days:
        assert fitted(train(changed_day(small.prices, stop))) == fitted(first)


def test_the_split_without_a_test_is_three_quarters_a_gap_and_the_rest() -> None:
    split = split_without_test(1000, horizon=20, days=900)
    assert (split.train_stop, split.validation_start, split.validation_stop) == (660, 680, 900)
    assert (split.length, split.horizon, split.stride) == (1000, 20, 4)
    assert split.validation_origins[[0, -1]].tolist() == [679, 879]
    assert split_without_test(1000).validation_stop == 1000
    # The shortest one: 4 horizons outside the gap leave one for validation.
    assert split_without_test(25, horizon=5, history=13).validation_start == 20
    with pytest.raises(
        DataError, match=r"^24 rows leave 14 for the training part, but .* 15; .* or warm_up$"
    ):
        split_without_test(24, horizon=5, history=13)
    assert split_without_test(24, horizon=5, history=12).train_stop == 14
    with pytest.raises(
        DataError, match=r"^23 rows leave 4 for the validation part, but .* 5; .* horizon$"
    ):
        split_without_test(23, horizon=5, history=12)


# What is forecast


@pytest.mark.parametrize("scaling", ["log_returns", "windowed_min_max"])
@pytest.mark.parametrize("refit", [True, False])
def test_forecast_and_interval_by_numpy(
    scaling: str, refit: bool, small: SimpleNamespace, oracle: SimpleNamespace
) -> None:
    config = small.changed(scaling=scaling, scaling_window=40)
    # One day less has as many levels as the others have returns, so nothing compiles.
    prices = small.prices if scaling == "log_returns" else small.prices.head(299)
    split = small.development(prices).split
    ours = Forecaster.train(config, prices, split=split, refit=refit, target="mid")
    frame = ours.forecast()

    mid, stop = prices.mid, split.validation_stop if refit else split.train_stop
    stack = oracle.NumpyStack.of_params(Architecture.of(config), ours.params)
    if scaling == "log_returns":
        returns = np.diff(np.log(mid))
        mean, std = returns[: stop - 1].mean(), returns[: stop - 1].std()
        window = (returns[-config.unroll_length :, None] - mean) / std
        output = stack.forecast(window, HORIZON)[0]
        growth = [sum(output[: k + 1] * std + mean) for k in range(HORIZON)]
    else:
        # Windows of 40 days from day 0; the last one of the training days scales what follows.
        last = mid[(stop - 1) // 40 * 40 : stop]
        low, width = last.min(), last.max() - last.min()
        output = stack.forecast((mid[-config.unroll_length :, None] - low) / width, HORIZON)[0]
        growth = [math.log((level * width + low) / mid[-1]) for level in output]
    assert frame.columns.tolist() == ["date", "forecast", "lower", "upper"]
    assert len(frame) == HORIZON
    for k, row in enumerate(frame.itertuples(index=False)):
        assert row.date == np.busday_offset(prices.dates[-1], k + 1)
        assert row.forecast == pytest.approx(mid[-1] * math.exp(growth[k]), rel=1e-4)
        for bound, sign in ((row.lower, -1), (row.upper, 1)):
            expected = row.forecast * math.exp(sign * ours.widths[k])
            assert bound == pytest.approx(expected, rel=1e-12)
        assert row.lower < row.forecast < row.upper


@pytest.mark.parametrize("refit", [True, False])
def test_a_forecast_is_what_evaluate_gives_from_the_last_day(
    refit: bool, small: SimpleNamespace, split: Split
) -> None:
    ours = Forecaster.train(small.config, small.prices, split=split, refit=refit, target="mid")
    # evaluate wants the days after an origin, to score; what they hold is not read before.
    mid = np.concatenate([small.prices.mid, np.full(HORIZON, 50.0)])
    growth = evaluate(
        small.config,
        ours.params,
        mid[None],
        train_stop=ours.training.days,
        origins=np.array([len(small.prices) - 1], np.int32),
        horizon=HORIZON,
    ).changes[0, 0]
    frame = ours.forecast()
    np.testing.assert_allclose(np.log(frame["forecast"] / mid[299]), growth, rtol=1e-6)


def test_fewer_steps_are_the_first_rows(forecaster: Forecaster) -> None:
    whole = forecaster.forecast()
    for steps in (1, 3, HORIZON):
        pd.testing.assert_frame_equal(forecaster.forecast(steps), whole.head(steps), rtol=0)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (0, "steps must be a whole number of at least 1, but got 0"),
        (-1, "at least 1, but got -1"),
        (2.0, r"at least 1, but got 2\.0"),
        (True, "at least 1, but got True"),
        ("3", "at least 1, but got '3'"),
        (6, "^steps must be at most 5, how far ahead validation measured .* but got 6"),
    ],
)
def test_steps_that_were_not_measured_are_refused(
    steps: Any, message: str, forecaster: Forecaster
) -> None:
    with pytest.raises(ConfigError, match=message):
        forecaster.forecast(steps)


def test_smoothed_training_days_are_read_as_they_are(
    small: SimpleNamespace, oracle: SimpleNamespace
) -> None:
    # All days trained smoothed; a forecast reads its window as validation did, unsmoothed.
    config = small.changed(smoothing=0.6)
    split = dataclasses.replace(small.data.split, length=small.data.split.validation_stop)
    prices = small.prices.head(split.length)
    ours = Forecaster.train(config, prices, split=split, target="mid")
    returns = np.diff(np.log(prices.mid))
    window = (returns[-config.unroll_length :, None] - returns.mean()) / returns.std()
    output = oracle.NumpyStack.of_params(Architecture.of(config), ours.params).forecast(window, 1)
    growth = output[0, 0] * returns.std() + returns.mean()
    first = ours.forecast().iloc[0]["forecast"]
    assert first == pytest.approx(prices.mid[-1] * math.exp(growth), rel=1e-5)


def test_padded_widths_forecast_the_same(small: SimpleNamespace, split: Split) -> None:
    plain, padded = (
        Forecaster.train(
            small.changed(dropout=0.0, pad_units_to=n), small.prices, split=split, target="mid"
        )
        for n in (1, 4)
    )
    shapes = [[leaf.shape for leaf in jax.tree.leaves(f.params)] for f in (plain, padded)]
    assert shapes[0] == shapes[1]
    np.testing.assert_allclose(
        padded.forecast()["forecast"], plain.forecast()["forecast"], rtol=1e-5
    )


def test_an_output_that_is_not_finite_is_an_error(forecaster: Forecaster) -> None:
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), forecaster.params)
    with pytest.raises(DataError, match="forecast after 1971-02-25 must be finite"):
        dataclasses.replace(forecaster, params=broken).forecast()


def test_nothing_in_it_changes(forecaster: Forecaster) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        forecaster.coverage = 0.5  # type: ignore[misc]
    arrays = (forecaster.history.values, forecaster.history.dates, forecaster.widths)
    for array in (*arrays, *jax.tree.leaves(forecaster.params)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[-1]


def test_a_notebook_shows_what_one_wants_to_know(
    small: SimpleNamespace, split: Split, forecaster: Forecaster
) -> None:
    named = dataclasses.replace(small.prices, name="<b>A&B</b>")
    ours = Forecaster.train(small.config, named, split=split, target="mid")
    shown, page = repr(ours), ours._repr_html_()
    for text in (
        "300 days to 1971-02-25",
        "lstm of 3 units, 64 weights",
        f"{ours.training.epochs} epochs on 237 days, 1970-01-02 to 1970-11-30",
        f"relative MSE {ours.training.relative_mse:.4f}",
        "up to 5 days ahead, 90% intervals",
    ):
        assert text in shown
        assert text in page
    assert split.validation_stop == 237
    assert "<b>A&B</b>" in shown
    assert "&lt;b&gt;A&amp;B&lt;/b&gt;" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coverage": 0.0}, r"coverage must be above 0 and below 1, but is 0\.0"),
        ({"coverage": float("nan")}, "coverage must be above 0 and below 1, but is nan"),
        ({"horizon": 0}, "horizon must be a whole number of at least 1, but got 0"),
        ({"horizon": 2.5}, "horizon must be a whole number"),
        ({"horizon": True}, "horizon must be a whole number"),
        ({"days": 0}, "days must be a whole number from 1 to 300, but got 0"),
        ({"days": 301}, "days must be a whole number from 1 to 300, but got 301"),
        ({"days": 20}, "20 rows leave 11 for the training part"),
        ({"horizon": 100}, "300 rows leave 50 for the validation part"),
        ({"split": True, "days": 200}, "days must not be given beside a split, but got 200"),
        ({"split": True, "horizon": 7}, "horizon must be the split's, 5, but got 7"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    changes: dict[str, Any], message: str, small: SimpleNamespace, split: Split
) -> None:
    given = {"horizon": 5} | changes | ({"split": split} if "split" in changes else {})
    with pytest.raises((ConfigError, DataError), match=message) as refusal:
        Forecaster.train(small.changed(unroll_length=20), small.prices, **given, target="mid")
    assert "\n" not in str(refusal.value)


def test_a_split_of_other_prices_is_refused(small: SimpleNamespace, split: Split) -> None:
    with pytest.raises(ConfigError, match="split must be for the 299 rows of ar1, but got 300"):
        Forecaster.train(small.config, small.prices.head(299), split=split, target="mid")


# Prices that follow the known ones


def series(mid: Any, dates: Any, name: str = "newer") -> PriceSeries:
    return PriceSeries(
        name=name,
        dates=dates,
        open=mid,
        high=mid,
        low=mid,
        close=mid,
        volume=None,
        source="made up",
    )


def test_newer_prices_move_the_start_and_nothing_else(
    small: SimpleNamespace, split: Split, forecaster: Forecaster
) -> None:
    newer = ar1(340)
    np.testing.assert_array_equal(newer.mid[:300], small.prices.mid)
    moved = forecaster.with_prices(newer)
    assert fitted(moved) == fitted(forecaster)
    assert moved.history.digest == newer.digest
    assert moved.history.dates.tolist() == newer.dates.tolist()
    assert len(forecaster.history) == 300, "the first one stays as it was"

    # As if they had been there from the start; only the last days of them are wanted for it.
    longer = dataclasses.replace(split, length=340)
    at_once = Forecaster.train(small.config, newer, split=longer, target="mid")
    assert moved.forecast()["forecast"].tolist() == at_once.forecast()["forecast"].tolist()
    tail = forecaster.with_prices(newer.slice(299, 340))
    pd.testing.assert_frame_equal(moved.forecast(), tail.forecast(), rtol=0)
    assert moved.forecast()["date"][0] > pd.Timestamp(newer.dates[-1])
    assert not moved.forecast()["forecast"].equals(forecaster.forecast()["forecast"])

    same = forecaster.with_prices(small.prices)
    pd.testing.assert_frame_equal(same.forecast(), forecaster.forecast(), rtol=0)


def test_how_forecasts_turned_out_moves_the_intervals(split: Split, forecaster: Forecaster) -> None:
    """From the forecasts that were given, every stride of 5 days since the training."""
    newer = ar1(343)
    moved = forecaster.with_prices(newer)
    log_mid, errors = np.log(newer.mid), np.full((9, HORIZON), np.nan)
    since = np.arange(299, 343, 5)
    for number, last in enumerate(since):
        given = forecaster.with_prices(ar1(int(last) + 1)).forecast()["forecast"].to_numpy()
        came = newer.mid[last + 1 : last + 1 + HORIZON]
        errors[number, : len(came)] = np.abs(np.log(given[: len(came)] / came))
    assert np.isnan(errors).sum() == 2  # the last one has come to its third day
    assert forecaster.calibration is not None
    before = forecaster.calibration.errors
    expected = widths_by_hand(
        log_mid, np.append(split.validation_origins, since), np.concatenate([before, errors])
    )
    assert moved.widths.tolist() == pytest.approx(expected.tolist(), rel=1e-4)
    unmoved = widths_by_hand(log_mid, split.validation_origins, before)
    assert np.abs(moved.widths / unmoved - 1).max() > 0.01
    # Day by day is as all at once.
    by_day = forecaster
    for count in (301, 305, 306, 320, 343):
        by_day = by_day.with_prices(ar1(count))
    pd.testing.assert_frame_equal(by_day.forecast(), moved.forecast(), rtol=0)


def test_prices_written_with_other_digits_are_the_same_prices(forecaster: Forecaster) -> None:
    newer = ar1(310)
    rounded = series(newer.mid.astype(np.float32), newer.dates)
    coarse = series(np.round(newer.mid, 3), newer.dates)
    for prices in (rounded, coarse):
        moved = forecaster.with_prices(prices)
        # The known days stay as they were known.
        assert moved.history.values[:300].tobytes() == forecaster.history.values.tobytes()
        assert moved.history.values[300:].tolist() == prices.mid[300:].tolist()


@pytest.mark.parametrize("day", [0, 17, 150, 299])
@pytest.mark.parametrize("how", ["other price", "one more day", "one day less", "scaled"])
def test_the_first_day_that_differs_is_named(day: int, how: str, forecaster: Forecaster) -> None:
    newer = ar1(310)
    mid, dates = newer.mid.copy(), newer.dates.copy()
    named = str(dates[day])
    if how == "other price":
        mid[day] *= 1.0001
        mid[day + 5 : day + 8] *= 1.5  # later ones are not named
        expected = f"first on {named}: a mid price of {mid[day]:.10g} instead of"
    elif how == "one day less":
        mid, dates = np.delete(mid, day), np.delete(dates, day)
        expected = f"first on {named}: no price instead of a mid price of {newer.mid[day]:.10g}"
        if day == 0:
            # Prices may begin later than the known ones.
            assert len(forecaster.with_prices(series(mid, dates)).history) == 310
            return
    elif how == "one more day":
        # A Saturday in the known weeks.
        extra = np.busday_offset(dates[day], 0, "forward", weekmask="Sat")
        if extra > dates[299]:
            extra -= np.timedelta64(7, "D")
        place = int(np.searchsorted(dates, extra))
        mid, dates = np.insert(mid, place, 80.0), np.insert(dates, place, extra)
        expected = f"first on {extra}: a mid price of 80 instead of no price"
    else:
        mid[: day + 1] *= 0.7  # a dividend, for which later days are not adjusted
        if day == 299:  # all known rows, so that they are adjusted, but for one
            mid[0] *= 1.00003
        expected = f"first on {dates[0]}: "
    with pytest.raises(DataError) as refusal:
        forecaster.with_prices(series(mid, dates))
    message = str(refusal.value)
    assert expected in message
    assert message.startswith("prices must be those known of ar1 up to 1971-02-25, but newer ")
    assert "\n" not in message


@pytest.mark.parametrize("factor", [0.5, 0.98765, 7.0])
@pytest.mark.parametrize("changes", [
    {"scaling": "log_returns"},
    {"scaling": "log"},
    {"scaling": "log", "skip": "linear"},
    {"scaling": "log_returns", "skip": "linear"},
])  # fmt: skip
def test_prices_that_were_adjusted_again_go_on(
    factor: float, changes: dict[str, Any], small: SimpleNamespace, split: Split, tmp_path: Path
) -> None:
    """The same prices in another unit: every forecast and every interval times the factor."""
    config = small.changed(**changes, epochs=1)
    model = Forecaster.train(config, small.prices, split=split, target="mid")
    newer = ar1(320)
    expected = model.with_prices(newer).forecast()
    other = series(newer.mid * factor, newer.dates)
    words = (
        f"made up: prices up to 1971-02-25 are those known of ar1 times {factor:g}, so they were "
        "adjusted again; forecasts are in the new prices"
    )
    with pytest.warns(DataWarning, match=words) as caught:
        moved = model.with_prices(other)
    assert len(caught) == 1
    found = moved.forecast()
    for name in ("forecast", "lower", "upper"):
        np.testing.assert_allclose(found[name], factor * expected[name], rtol=1e-6)
    np.testing.assert_allclose(moved.history.values, other.mid, rtol=1e-12)
    # It goes on from there, saved and loaded too; and back.
    moved.save(tmp_path / "model")
    loaded = Forecaster.load(tmp_path / "model")
    longer = series(ar1(330).mid * factor, ar1(330).dates)
    again = model.with_prices(ar1(330)).forecast()
    np.testing.assert_allclose(
        loaded.with_prices(longer).forecast()["forecast"], factor * again["forecast"], rtol=1e-6
    )
    with pytest.warns(DataWarning, match="times"):
        back = loaded.with_prices(ar1(330)).forecast()
    np.testing.assert_allclose(back["forecast"], again["forecast"], rtol=1e-6)


def test_of_few_prices_a_factor_is_not_believed(forecaster: Forecaster) -> None:
    newer = ar1(310)
    for days, is_enough in ((1, False), (9, False), (10, True)):
        few = series(newer.mid[300 - days :] / 2, newer.dates[300 - days :])
        with pytest.warns(DataWarning) if is_enough else pytest.raises(DataError, match="first on"):
            forecaster.with_prices(few)


@pytest.mark.parametrize("changes", [
    {"scaling": "standard"},
    {"scaling": "windowed_min_max", "scaling_window": 50},
    {"scaling": "differences"},
    {"scaling": "log_returns", "past_covariates": True},
])  # fmt: skip
def test_who_reads_prices_as_they_are_is_trained_anew(
    changes: dict[str, Any], small: SimpleNamespace, split: Split
) -> None:
    model = Forecaster.train(
        small.changed(**changes, epochs=1), small.prices, split=split, target="mid"
    )
    newer = ar1(320)
    with pytest.raises(DataError, match="that were adjusted since need a new training"):
        model.with_prices(series(newer.mid * 0.5, newer.dates))


@pytest.mark.parametrize(("start", "stop"), [(0, 299), (0, 1), (300, 310), (305, 310)])
def test_prices_without_the_last_known_day_are_refused(
    start: int, stop: int, forecaster: Forecaster
) -> None:
    newer = ar1(310).slice(start, stop)
    with pytest.raises(DataError) as refusal:
        forecaster.with_prices(newer)
    message = str(refusal.value)
    assert "prices must reach from 1971-02-25, the last day known of ar1" in message
    assert f"but ar1 has {newer.dates[0]} to {newer.dates[-1]}" in message


def test_days_before_the_first_known_one_are_left_alone(small: SimpleNamespace) -> None:
    known = History.of(small.prices.slice(100, 300).series("mid"))
    continued = known.continued(ar1(305))
    assert continued.dates.tolist() == ar1(305).dates[100:].tolist()
    assert not continued.values.flags.writeable


# The days ahead


@given(st.integers(-20_000, 40_000), st.integers(1, 30), st.integers(1, 60))
def test_days_ahead_are_business_days(last: int, known: int, count: int) -> None:
    end = np.datetime64(last, "D")
    every = end + np.arange(-3 * known, 1).astype("timedelta64[D]")
    dates = every[np.is_busday(every)]
    ahead = local_clock(
        History.of(series(np.full(len(dates), 9.0), dates).series("mid")).ahead(count)
    )
    # By hand: day after day, leaving out Saturdays and Sundays.
    day, expected = dates[-1].item(), list[Any]()
    while len(expected) < count:
        day += pd.Timedelta(days=1).to_pytimedelta()
        if day.weekday() < 5:
            expected.append(day)
    assert ahead.tolist() == expected


def test_who_trades_at_weekends_gets_weekends() -> None:
    daily = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-03-02"))  # ends on a Friday
    ahead = History.of(series(np.full(len(daily), 9.0), daily).series("mid")).ahead(4)
    assert ahead.astype(str).tolist() == ["2024-03-02", "2024-03-03", "2024-03-04", "2024-03-05"]
    # One Saturday session is an exception, and a history that ends on it goes on on Monday.
    weekdays = np.append(daily[np.is_busday(daily)], np.datetime64("2024-03-02"))
    ahead = History.of(series(np.full(len(weekdays), 9.0), weekdays).series("mid")).ahead(6)
    assert ahead.astype(str).tolist()[::5] == ["2024-03-04", "2024-03-11"]
    # Sunday to Thursday is not known apart from Monday to Friday with Sundays.
    sundays = daily[np.is_busday(daily, weekmask="Sun Mon Tue Wed Thu")]
    ahead = History.of(series(np.full(len(sundays), 9.0), sundays).series("mid")).ahead(3)
    assert "2024-03-03" in ahead.astype(str).tolist()
