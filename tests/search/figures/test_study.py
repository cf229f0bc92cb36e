"""What the figures show, read from their lines; how they look is for eyes."""

import json

import matplotlib.dates
import numpy as np
import optuna
import pandas as pd
import pytest
from small_study import data_of

from foretune.datasets import Panel, PriceSeries, TimeSeries
from foretune.datasets.splits import (
    DevelopmentData,
    chronological_split,
    development,
    development_folds,
)
from foretune.models import fit
from foretune.search import Objective, SearchSpace, best_config
from foretune.search.figures.forecasts import ForecastWindow
from foretune.search.figures.study import (
    forecasts_figure,
    history_figure,
    learning_curves_figure,
    series_figure,
)


def test_the_sealed_test_is_not_drawn(walk: PriceSeries) -> None:
    split = chronological_split(len(walk), horizon=5, history=8)
    data = data_of(walk.series("mid"), split.validation_stop)
    (axes,) = series_figure(data, split).axes
    (line,) = axes.lines
    drawn = np.asarray(line.get_ydata())
    np.testing.assert_array_equal(drawn, walk.mid[: split.validation_stop])
    assert {text.get_text() for text in axes.texts} == {"train", "validation", "test (sealed)"}


def test_forecasts_begin_at_their_origin_and_follow_their_growth(
    tiny_data: DevelopmentData,
) -> None:
    origins = tiny_data.split.validation_origins
    growth = np.random.default_rng(0).normal(0, 0.02, (len(origins), 5))
    whole, _ = forecasts_figure(tiny_data, growth[None], title="t").axes
    drawn = [line for line in whole.lines if len(line.get_xdata()) == 6]
    # Stride 1, horizon 5: every fifth is drawn, so that none overlaps another.
    assert len(drawn) == 19
    for line, origin, path in zip(drawn, origins[::5], growth[::5], strict=True):
        start = tiny_data.values[0, origin]
        np.testing.assert_allclose(line.get_ydata(), [start, *start * np.exp(path)])
        first = matplotlib.dates.num2date(line.get_xdata(orig=False)[0]).date()
        assert np.datetime64(first) == tiny_data.dates[origin]


@pytest.fixture
def three() -> Panel:
    """Series of 60, 58 and 56 days that do not begin together, and end together."""
    rng = np.random.default_rng(1)
    return Panel(
        name="p",
        source="a DataFrame",
        series=tuple(
            TimeSeries.from_frame(
                pd.DataFrame(
                    {
                        "day": pd.date_range("2024-03-01", periods=60)[2 * number :],
                        "y": 10**number + rng.normal(size=60 - 2 * number),
                    }
                ),
                name=f"n{number}",
            )
            for number in range(3)
        ),
    )


def test_of_several_series_each_is_drawn_from_its_first_row(three: Panel) -> None:
    split = chronological_split(60, horizon=2, history=8)
    shown = [2, 0]
    rows = series_figure(data_of(three, split.validation_stop), split, shown).axes
    for axes, number in zip(rows, shown, strict=True):
        (line,) = axes.lines
        drawn = three.values[number, 2 * number : split.validation_stop]
        assert np.asarray(line.get_ydata()).tolist() == drawn.tolist()
        first = matplotlib.dates.num2date(line.get_xdata(orig=False)[0]).date()
        assert np.datetime64(first) == np.datetime64("2024-03-01") + 2 * number
        assert axes.get_ylabel() == f"n{number}\ny"


def test_of_several_series_the_last_forecasts_of_each_are_drawn(three: Panel) -> None:
    data = development(three, chronological_split(60, horizon=2, history=8, stride=1))
    origins = data.split.validation_origins
    growth = np.random.default_rng(0).normal(size=(3, len(origins), 2))
    shown = {2: "the worst", 0: "the median"}
    figure = forecasts_figure(data, growth, title="t", shown=shown)
    for axes, (number, place) in zip(figure.axes, shown.items(), strict=True):
        assert axes.get_title().startswith(f"n{number}, {place}")
        drawn = [line for line in axes.lines if len(line.get_xdata()) == 3]
        last = origins[::2][-6:]  # those that do not overlap
        assert len(drawn) == len(last)
        for line, origin, path in zip(drawn, last, growth[number, ::2][-6:], strict=True):
            now, unit = data.values[number, origin], data.spaces[number].unit
            np.testing.assert_allclose(line.get_ydata(), [now, *now + path * unit])


@pytest.fixture
def study(tiny_space: SearchSpace, tiny_data: DevelopmentData) -> optuna.Study:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), study_name="s")
    study.optimize(Objective(tiny_space, tiny_data), n_trials=3)
    return study


def test_a_legend_covers_nothing(study: optuna.Study, tiny_data: DevelopmentData) -> None:
    run = list(fit(best_config(study), tiny_data))
    for figure in (
        history_figure(study),
        learning_curves_figure(study, run),
        forecasts_figure(tiny_data, run[-1].forecasts, title="all"),
    ):
        assert len(figure.legends) == 1
        assert [axes.get_legend() for axes in figure.axes] == [None] * len(figure.axes)


def test_history_shows_every_trial_and_the_best_so_far(study: optuna.Study) -> None:
    (axes,) = history_figure(study).axes
    values = [trial.value for trial in study.trials]
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    np.testing.assert_array_equal(lines["complete"], values)
    np.testing.assert_array_equal(lines["best so far"], np.minimum.accumulate(values))
    assert set(lines["persistence"]) == {1.0}
    # Of a study that knows more of them, the one that is to be beaten, and no line far above it.
    known = {"persistence": {"relative_mse": 30.0}, "ridge on lags": {"relative_mse": 0.9}}
    study.set_user_attr("foretune_baselines", known)
    (axes,) = history_figure(study).axes
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    assert set(lines["ridge on lags"]) == {0.9}
    assert "persistence" not in lines
    assert axes.get_ylim()[1] < 30


def test_learning_curves_show_the_best_run(
    study: optuna.Study, tiny_space: SearchSpace, tiny_data: DevelopmentData
) -> None:
    run = list(fit(tiny_space.suggest(study.best_trial), tiny_data))
    left, right = learning_curves_figure(study, run).axes
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in left.lines}
    np.testing.assert_array_equal(lines["best trial"], [r.relative_mse for r in run])
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [r.train_loss for r in run])
    others = [trial for trial in study.trials if trial.number != study.best_trial.number]
    drawn = [np.asarray(line.get_ydata()).tolist() for line in left.lines]
    for trial in others:
        assert list(trial.intermediate_values.values()) in drawn
    assert len(left.lines) == 2 + len(others)
    assert left.get_xlabel().startswith("epoch")


def test_with_folds_all_curves_are_what_the_pruner_saw(
    tiny_space: SearchSpace, walk: PriceSeries
) -> None:
    folds = development_folds(walk, chronological_split(len(walk), horizon=5, history=8), 2)
    study = optuna.create_study(study_name="s")
    study.optimize(Objective(tiny_space, folds), n_trials=1)
    best = study.best_trial
    run = list(fit(tiny_space.suggest(best), folds[-1]))
    left, right = learning_curves_figure(study, run).axes
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in left.lines}
    assert lines["best trial"].tolist() == list(best.intermediate_values.values())
    assert left.get_xlabel().startswith("epoch")
    assert right.get_title() == "training, best trial, last fold"


def test_a_window_without_intervals_is_kept_as_json(tiny_data: DevelopmentData) -> None:
    origins = tiny_data.split.validation_origins
    growth = np.zeros((len(origins), 5))
    window = ForecastWindow.of_last(
        tiny_data.time, tiny_data.values[0], origins, growth, None, overlap=5
    )
    kept = ForecastWindow.from_json(json.loads(json.dumps(window.to_json())))
    assert kept.widths is None
    assert kept.values.tolist() == window.values.tolist()
