"""A report on a study of several series, recomputed from what it writes."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from numpy.typing import NDArray

from foretune.datasets import Panel, TimeSeries
from foretune.search import SearchSpace, run_study, summary
from foretune.search.figures.forecasts import to_show
from foretune.search.report.document import markdown
from foretune.search.report.figures import forecasts_with_intervals
from foretune.search.report.files import forecasts_table, metrics_table, series_table, write_report
from foretune.search.report.report import Report, make_report
from foretune.search.review.note import note
from foretune.search.storage.artifacts import load_artifact
from foretune.search.storage.optuna_internals import storage_of

HORIZON, SERIES = 5, 13


def weekly(number: int, rows: int) -> TimeSeries:
    """Days from a day of its own on: a week, of its own size, and a random walk."""
    rng = np.random.default_rng(number)
    walk = 0.3 * rng.normal(size=rows).cumsum()
    # Above 0 on the test too, which a network of logarithms could not be scored on.
    values = 10.0 ** (number % 3) * (12 + np.sin(np.arange(rows) * 2 * np.pi / 7) + walk)
    first = pd.Timestamp("2024-01-01") + pd.Timedelta(days=3 * number)
    days = pd.date_range(first, periods=rows)
    return TimeSeries.from_frame(
        pd.DataFrame({"day": days, "load": values}), name=f"shop {number:02d}"
    )


@pytest.fixture(scope="module")
def panel() -> Panel:
    series = tuple(weekly(number, 160 - number) for number in range(SERIES))
    return Panel(name="shops", series=series, source="a DataFrame")


def run(data: Any, space: SearchSpace, **options: Any) -> optuna.Study:
    return run_study(
        "shops",
        data,
        n_trials=2,
        space=space.fix(epochs=1),
        horizon=HORIZON,
        storage=optuna.storages.InMemoryStorage(),
        pruner=optuna.pruners.NopPruner(),
        show_progress_bar=False,
        workers=1,
        **options,
    )


@pytest.fixture(scope="module")
def study(panel: Panel, tiny_space: SearchSpace) -> optuna.Study:
    return run(panel, tiny_space)


@pytest.fixture(scope="module")
def report(study: optuna.Study) -> Report:
    return make_report(study, open_test=True, top=2)


def test_forecasts_csv_has_each_series_at_its_own_times(report: Report, panel: Panel) -> None:
    table = forecasts_table(report)
    assert table.columns[1] == "series"
    assert len(table) == sum(part.growth.size for part in report.parts)
    for one in panel.members:
        rows = table[table["series"] == one.name]
        came = dict(zip(one.time, one.target, strict=True))
        assert rows["actual"].tolist() == pytest.approx(rows["date"].map(came).tolist())
        assert (rows["date"] - rows["origin"]).dt.days.tolist() == rows["step"].tolist()
    # Rows are counted from the end: the last target of the test is the last row of every series.
    last = table.groupby("series")["date"].max()
    assert last.tolist() == [one.time[-1] for one in panel.members]


def test_series_csv_and_the_mean_over_it_are_those_of_the_forecasts(
    report: Report, panel: Panel
) -> None:
    table, by_series = forecasts_table(report), series_table(report)
    winner, *others = report.validation.models
    assert len(by_series) == 2 * SERIES * (1 + len(others))
    own = by_series[by_series["forecast"] == winner].set_index(["part", "series"])
    means = metrics_table(report).set_index(["part", "forecast"])
    for part in ("validation", "test"):
        relative = []
        for one in panel.members:
            rows = table[(table["part"] == part) & (table["series"] == one.name)]
            start = rows["origin"].map(dict(zip(one.time, one.target, strict=True)))
            error, still = rows["forecast"] - rows["actual"], start - rows["actual"]
            relative.append(np.mean(error**2) / np.mean(still**2))
            assert own.loc[(part, one.name), "relative_mse"] == pytest.approx(relative[-1])
        assert means.loc[(part, winner), "relative_mse"] == pytest.approx(np.mean(relative))
        for name in others:
            each = by_series[(by_series["part"] == part) & (by_series["forecast"] == name)]
            assert means.loc[(part, name), "mae"] == pytest.approx(each["mae"].mean())


def test_coverage_is_that_of_all_series(report: Report) -> None:
    assert report.test is not None
    table = forecasts_table(report)
    rows = table[table["part"] == "test"]
    inside = (rows["lower"] <= rows["actual"]) & (rows["actual"] <= rows["upper"])
    by_step = inside.groupby(rows["step"]).mean()
    assert report.test.coverage is not None
    assert report.test.coverage.tolist() == pytest.approx(by_step.tolist())
    assert report.test.coverage_by_volatility is not None
    assert report.test.coverage_by_volatility.mean() == pytest.approx(inside.mean(), abs=0.02)


def ratios(report: Report) -> dict[str, float]:
    """The winner's relative MSE on the test in units of the best baseline's, by series."""
    table = series_table(report).query("part == 'test'")
    errors = table.pivot_table("relative_mse", index="series", columns="forecast")
    winner = errors[f"trial {report.winner.trial.number}"]
    found: dict[str, float] = (winner / errors[report.evidence.benchmark]).to_dict()
    return found


def test_the_table_by_series_has_the_worst_and_the_best(report: Report) -> None:
    relative = ratios(report)
    order = sorted(relative, key=lambda name: -relative[name])
    header, rows = report.series_table
    assert header[:3] == [
        "series",
        f"validation: relative MSE of trial {report.winner.trial.number}",
        report.evidence.benchmark,
    ]
    assert [row[0] for row in rows] == [*order[:5], "...", *order[-5:]]
    better = sum(ratio < 1 for ratio in relative.values())
    assert f"{better} of {SERIES} series on test." in report.series_better
    for shown in (report.series_better, "## By series", f"| {order[0]} |", f"| {order[-1]} |"):
        assert shown in markdown(report)
    assert report.series_better in " ".join(repr(report).split())
    assert report.series_better in report._repr_html_()
    assert report.names == [f"shop {number:02d}" for number in range(SERIES)]


def test_a_baseline_that_is_never_wrong_is_no_unit(report: Report) -> None:
    winner, benchmark = f"trial {report.winner.trial.number}", report.evidence.benchmark
    part = report.parts[-1]
    of_baseline, own = list(part.by_series[benchmark]), list(part.by_series[winner])
    of_baseline[:2] = [replace(one, relative_mse=0.0) for one in of_baseline[:2]]
    own[1] = replace(own[1], relative_mse=0.0)
    changed = replace(
        report, test=replace(part, by_series=part.by_series | {benchmark: of_baseline, winner: own})
    )
    assert changed.relative_errors[:2].tolist() == [np.inf, 1.0]
    assert changed.relative_errors[2:].tolist() == report.relative_errors[2:].tolist()


def test_figures_show_and_name_the_worst_the_median_and_the_best(
    report: Report, panel: Panel
) -> None:
    relative = ratios(report)
    order = sorted(relative, key=lambda name: -relative[name])
    shown = [
        f"{name}, the {place}, on {part}: the last forecasts that do not overlap"
        for name, place in zip(order[::6], ("worst", "median", "best"), strict=True)
        for part in ("validation", "test")
    ]
    axes = forecasts_with_intervals(report).axes
    assert [one.get_title() for one in axes] == shown
    for name, (_, drawn) in zip(order[::6], zip(axes[::2], axes[1::2], strict=True), strict=True):
        values = np.asarray(drawn.lines[0].get_ydata())
        assert values.tolist() == panel[name].target[-len(values) :].tolist()


def test_what_a_figure_shows_of_few_series() -> None:
    assert to_show(np.array([0.5])) == {0: "the only one"}
    assert to_show(np.array([0.5, 0.2])) == {0: "the worst", 1: "the best"}
    shown = to_show(np.array([0.3, 0.9, 0.5, 0.7, 0.1]))
    assert shown == {1: "the worst", 2: "the median", 4: "the best"}


def test_a_trials_figure_is_of_its_median_series(report: Report, panel: Panel) -> None:
    trial = report.winner.trial
    content = load_artifact(storage_of(report.study), trial, "forecasts.png")
    data = json.loads(content.split(b"\n", 1)[1])["data"]
    errors = {
        name: metrics.relative_mse
        for name, metrics in zip(
            panel.names, report.validation.by_series[f"trial {trial.number}"], strict=True
        )
    }
    median = sorted(errors, key=errors.__getitem__)[SERIES // 2]
    assert data["title"].endswith(f" on validation\n{median}, the median series")
    values = data["window"]["mid"]
    series = panel.names.index(median)
    stop = len(report.validation.time)
    assert values == panel.values[series, stop - len(values) : stop].tolist()
    # Its intervals are those of the report, bit for bit.
    widths = np.array(data["window"]["widths"])
    assert widths[-1].tolist() == report.validation.widths[series, -1].tolist()


def test_of_two_series_a_trials_figure_is_of_the_best(
    panel: Panel, tiny_space: SearchSpace
) -> None:
    # Shops 1 and 2: there is no median, and the first one is the worst.
    study = run(replace(panel, series=panel.series[1:3]), tiny_space)
    made = make_report(study, top=1)
    errors = [own.relative_mse for own in made.validation.by_series[made._compared[0]]]
    content = load_artifact(storage_of(study), made.winner.trial, "forecasts.png")
    title = json.loads(content.split(b"\n", 1)[1])["data"]["title"]
    assert title.endswith(f"\n{made.names[int(np.argmin(errors))]}, the best series")


def test_a_series_that_stands_still_on_the_test_does_not_spoil_it(
    panel: Panel, tiny_space: SearchSpace
) -> None:
    first, second, third = panel.series[:3]
    still = second.target.copy()
    still[-35:] = 7.0  # the test has 30 rows
    study = run(
        replace(panel, series=(first, replace(second, target=still), third)),
        tiny_space.fix(scaling="differences"),
    )
    made = make_report(study, open_test=True, top=1)
    assert made.test is not None
    winner = made._compared[0]
    errors = made.test.errors(winner, "relative_mse")
    assert np.isnan(errors).tolist() == [False, True, False]
    assert made.test.models[winner].metrics.relative_mse == pytest.approx(np.nanmean(errors))
    assert made.finding.test is not None
    assert "of 2 series on test." in made.series_better
    text = markdown(made)
    assert "The mean relative MSE on test leaves out shop 01 (1 of 3 series), which" in text
    assert "on validation leaves out" not in text
    header, rows = made.series_table
    cells = {row[0]: row[header.index(f"test: relative MSE of {winner}")] for row in rows}
    assert [name for name, cell in cells.items() if cell == "none"] == ["shop 01"]


def test_what_stands_before_the_first_row_of_a_series_is_read_by_nothing(
    report: Report, panel: Panel, tiny_space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_other_rows_before(self: Panel) -> NDArray[np.float64]:
        numbers, longest = np.random.default_rng(1), len(self)
        rows = [np.exp(3 * numbers.normal(size=longest - len(one))) for one in self.members]
        return np.stack(
            [np.append(row, one.target) for row, one in zip(rows, self.members, strict=True)]
        )

    monkeypatch.setattr(Panel, "values", property(with_other_rows_before))
    made = make_report(run(panel, tiny_space), open_test=True, top=2)
    for table in (forecasts_table, metrics_table, series_table):
        pd.testing.assert_frame_equal(table(made), table(report), check_exact=True)
    windows = [
        load_artifact(storage_of(each.study), each.winner.trial, "forecasts.png")
        for each in (made, report)
    ]
    assert windows[0] == windows[1]


def test_words_say_how_many_series(report: Report, study: optuna.Study, tmp_path: Path) -> None:
    files = {file.name for file in write_report(report, tmp_path)}
    assert "series.csv" in files
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"{SERIES} series of 148 to 160 days |" in text
    assert "| rows | 0 to 159 |" in text
    said = f"An origin's loss is the mean over the {SERIES} series"
    assert text.count(said) == 1
    assert f"{SERIES} series of 148 to 160 days |" in note(study)
    assert "series, over which values are means" in repr(summary(study))
    assert report.finding.document()["series"] == SERIES


def test_with_one_origin_the_verdict_says_that_it_cannot_tell(
    panel: Panel, tiny_space: SearchSpace
) -> None:
    study = run(panel, tiny_space, split=("rest", HORIZON, HORIZON), gap=0)
    report = make_report(study, open_test=True, top=1)
    assert [len(part.origins) for part in report.parts] == [1, 1]
    why = f"what moves one of {SERIES} series at a time may move all."
    few = "1 validation origin and 1 test origin are too few to claim anything"
    assert f"{few}: {why}" in report.verdict
    assert not report.finding.claim
    sealed = make_report(study, top=1)
    assert f"1 validation origin is too few to claim anything: {why}" in sealed.verdict
    # Nothing was known at the origin of validation; on the test its one error of every series is.
    assert report.test is not None
    assert np.isnan(report.validation.widths).all()
    assert report.validation.coverage is None
    errors = np.abs(report.validation.growth - report.validation.actual)[:, 0]
    unit = np.stack([usual_volatility(report, number) for number in range(SERIES)])[:, None]
    expected = np.sort(errors / unit, axis=0)[-1] * unit  # 0.9 asks for the 13th of 13
    np.testing.assert_allclose(report.test.widths[:, 0], expected, rtol=1e-9)
    assert report.test.coverage is not None
    assert report.test.coverage_by_volatility is None
    assert "too few to tell whether they hold" in markdown(report)
    # So a figure of validation has no interval, and explains none.
    figure = forecasts_with_intervals(report)
    assert [len(axes.collections) for axes in figure.axes] == [0, 1] * 3
    assert any("interval" in text.get_text() for text in figure.legends[0].get_texts())


def usual_volatility(report: Report, series: int) -> NDArray[np.float64]:
    """The mean volatility at both origins, by a loop over the rows of one series."""
    assert report.test is not None
    _, values, origins = report.test.own_rows(series)
    changes = np.diff(values / report.test.spaces[series].unit)
    found = []
    for row in (origins[0] - HORIZON, origins[0]):
        weights = 0.94 ** np.arange(row)[::-1]
        found.append(np.sqrt(np.sum(weights * changes[:row] ** 2) / np.sum(weights)))
    mean: NDArray[np.float64] = np.mean(found)
    return mean


def test_a_panel_of_one_has_the_report_of_the_series(tiny_space: SearchSpace) -> None:
    series = weekly(3, 160)
    of_one = Panel(name=series.name, series=(series,), source=series.source)
    alone, together = (make_report(run(data, tiny_space), top=2) for data in (series, of_one))
    assert markdown(alone) == markdown(together).replace(of_one.digest, series.digest)
    pd.testing.assert_frame_equal(forecasts_table(alone), forecasts_table(together))
    pd.testing.assert_frame_equal(metrics_table(alone), metrics_table(together))
    drawn = [forecasts_with_intervals(made).axes for made in (alone, together)]
    for own, same in zip(*drawn, strict=True):
        assert own.get_title() == same.get_title()
        for line, other in zip(own.lines, same.lines, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), other.get_xydata())
