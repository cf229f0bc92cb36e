"""A report on a real study, recomputed from what it writes."""

import base64
import dataclasses
import io
import json
import re
import struct
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import scipy.stats
from markdown_it import MarkdownIt
from optuna.trial import TrialState

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.common.errors import ConfigError
from foretune.datasets.splits import chronological_split
from foretune.datasets.transforms import LOG
from foretune.models import best_epoch, fit
from foretune.models.forecasts.intervals import adaptive_widths, running_volatility
from foretune.models.forecasts.predict import evaluate
from foretune.search import SearchSpace, run_study, trial_config
from foretune.search.report import access_log
from foretune.search.report.access_log import HeldOutAccess, format_access_log
from foretune.search.report.document import html, markdown
from foretune.search.report.files import forecasts_table, metrics_table, write_report
from foretune.search.report.replay import best_distinct, ensemble
from foretune.search.report.report import Report, make_report
from foretune.search.report.significance import diebold_mariano, spa_test
from foretune.search.report.tables import plain

HORIZON, TRIALS = 5, 6


@pytest.fixture(scope="module")
def prices() -> PriceSeries:
    return load_sample("ar1", length=900, seed=2)


@pytest.fixture(scope="module")
def study(prices: PriceSeries, tiny_space: SearchSpace) -> optuna.Study:
    return run_study(
        "skill",
        prices,
        n_trials=TRIALS,
        space=tiny_space.fix(steps_per_epoch=20, batch_size=16),
        horizon=HORIZON,
        storage=optuna.storages.InMemoryStorage(),
        pruner=optuna.pruners.NopPruner(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )


@pytest.fixture(scope="module")
def sealed(study: optuna.Study, prices: PriceSeries) -> Report:
    report = make_report(study, prices, sealed=True, top=3)
    assert access_log.read_access_log(study, prices=prices.digest) == []
    return report


@pytest.fixture(scope="module")
def opened(study: optuna.Study, prices: PriceSeries, sealed: Report) -> Report:
    return make_report(study, prices, open_test=True, top=3)


def test_a_sealed_report_opens_nothing_and_says_so(sealed: Report) -> None:
    assert sealed.test is None
    assert sealed.shrinkage is None
    assert "This verdict does not use the test." in sealed.verdict
    assert set(metrics_table(sealed)["part"]) == {"validation"}
    assert set(forecasts_table(sealed)["part"]) == {"validation"}


def test_every_opening_is_counted(study: optuna.Study, prices: PriceSeries, opened: Report) -> None:
    assert len(opened.openings) == 1
    assert opened.openings[0].trial == opened.winner.trial.number
    again = make_report(study, prices, open_test=True, top=1)
    assert len(again.openings) == 2
    said = format_access_log(again.openings, "skill")
    assert said.startswith("The test has been opened 2 times, first")


def test_the_winner_is_the_best_trial_trained_again(study: optuna.Study, opened: Report) -> None:
    assert opened.winner.trial.number == study.best_trial.number
    assert opened.winner.is_same
    assert opened.finding.value == study.best_value


def test_test_figures_are_those_of_the_chosen_epoch(prices: PriceSeries, opened: Report) -> None:
    """By the way of the library: train, keep the best epoch, evaluate on the test."""
    split = opened.spec.split_days(len(prices))
    (data,) = opened.spec.development(prices)
    scores = evaluate(
        opened.winner.config,
        best_epoch(fit(opened.winner.config, data)).params,
        prices.mid[None],
        train_stop=split.train_stop,
        origins=split.test_origins,
        horizon=HORIZON,
    )
    assert opened.finding.test is not None
    assert opened.finding.test.relative_mse == scores.relative_mse
    optimism = scores.relative_mse - opened.finding.value
    assert opened.optimism == opened.shrinkage == optimism  # its name in the first version
    # Diebold and Mariano's test on losses computed here, against the best baseline on validation.
    on_validation = {
        name: model.metrics.relative_mse
        for name, model in opened.validation.models.items()
        if not name.startswith(("trial", "ensemble"))
    }
    assert opened.finding.benchmark == min(on_validation, key=on_validation.__getitem__)
    assert opened.finding.benchmark == "ridge on lags"
    assert opened.test is not None
    benchmark = opened.test.models["ridge on lags"].losses
    actual = LOG.changes(prices.mid, split.test_origins, HORIZON)
    losses = np.mean((scores.changes[0] - actual) ** 2, axis=1) / np.mean(actual**2)
    both_sides = diebold_mariano(losses, benchmark, overlap=5)
    t = both_sides.statistic
    # 165 origins, of which every fifth shares no day with the one before.
    p = scipy.stats.t.cdf(t, -(-len(split.test_origins) // 5) - 1)
    assert opened.finding.test.against_benchmark.statistic == pytest.approx(t)
    assert opened.finding.test.against_benchmark.p_value == pytest.approx(p)


def test_significance_counts_all_complete_trials(
    study: optuna.Study, prices: PriceSeries, sealed: Report
) -> None:
    """The losses that the trials stored, against those of each trial trained here."""
    (data,) = sealed.spec.development(prices)
    origins = data.split.validation_origins
    actual = LOG.changes(data.values[0], origins, HORIZON)
    trials = [t for t in study.trials if t.state == TrialState.COMPLETE]
    losses = [
        np.mean((best_epoch(fit(trial_config(t), data)).forecasts[0] - actual) ** 2, axis=1)
        for t in trials
    ]
    persistence = np.mean(actual**2, axis=1)
    unit = persistence.mean()
    found = spa_test(np.column_stack(losses) / unit, persistence / unit, horizon=HORIZON, stride=1)
    assert sorted(sealed.evidence.trials) == [t.number for t in trials]
    assert sealed.finding.against["persistence"] == found
    ridge = sealed.validation.models["ridge on lags"].losses
    found = spa_test(np.column_stack(losses) / unit, ridge, horizon=HORIZON, stride=1)
    assert sealed.finding.skill == found
    assert sealed.finding.skill.alternatives == TRIALS
    assert sealed.finding.skill.origins == len(origins)


def test_the_ensemble_is_the_mean_forecast(prices: PriceSeries, opened: Report) -> None:
    (data,) = opened.spec.development(prices)
    actual = LOG.changes(data.values[0], data.split.validation_origins, HORIZON)
    trials = best_distinct(opened.study.trials, 3)
    assert opened.members == [t.number for t in trials]
    forecasts = [best_epoch(fit(trial_config(t), data)).forecasts for t in trials]
    mean = (forecasts[0] + forecasts[1] + forecasts[2]) / 3
    expected = np.mean((mean - actual) ** 2) / np.mean(actual**2)
    for part in opened.parts:
        assert list(part.models)[:2] == [f"trial {trials[0].number}", "ensemble of 3"]
    assert opened.validation.models["ensemble of 3"].metrics.relative_mse == pytest.approx(expected)


def test_ensemble_by_hand() -> None:
    one, two = (
        (np.array([[1.0, 2.0]]), np.array([[0.0, 0.0]])),
        (
            np.array([[3.0, 6.0]]),
            np.array([[2.0, -2.0]]),
        ),
    )
    first, second = ensemble([one, two])
    assert first.tolist() == [[2.0, 4.0]]
    assert second.tolist() == [[1.0, -1.0]]


def test_the_best_configs_are_distinct(prices: PriceSeries, tiny_space: SearchSpace) -> None:
    """A space of two configs draws them again and again; each counts once."""
    study = run_study(
        "two",
        prices,
        n_trials=6,
        space=tiny_space.fix(learning_rate=(0.01, 0.03), dropout=0.1, epochs=1),
        horizon=HORIZON,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    best = best_distinct(study.trials, 5)
    assert len(best) == len({t.params["learning_rate"] for t in study.trials}) == 2
    assert best[0].value is not None
    assert best[0].value <= (best[1].value or 0)
    report = make_report(study, prices, sealed=True)
    assert report.members == [t.number for t in best]
    assert report.evidence.skill.alternatives == 6


def test_forecasts_csv_holds_what_the_report_says(opened: Report) -> None:
    """Relative MSE and coverage, recomputed from the prices in the table."""
    table = forecasts_table(opened)
    metrics = metrics_table(opened).set_index(["part", "forecast"])
    winner = f"trial {opened.winner.trial.number}"
    for part in opened.parts:
        rows = table[table["part"] == part.name]
        days = dict(zip(part.dates.astype(str), part.values[0], strict=True))
        start = rows["origin"].astype(str).map(days).to_numpy()
        # The split of the CSV's own rows: its dates are `step` business days after the origin.
        assert rows["actual"].tolist() == pytest.approx(rows["date"].astype(str).map(days).tolist())
        error = np.log(rows["forecast"] / rows["actual"])
        persistence = np.log(start / rows["actual"])
        relative = np.mean(error**2) / np.mean(persistence**2)
        assert relative == pytest.approx(metrics.loc[(part.name, winner), "relative_mse"])
        mae = metrics.loc[(part.name, winner), "mae"]
        assert np.mean(np.abs(error)) == pytest.approx(mae)
        # At the first origin nothing is known of any step, after it of one step more at each.
        missing = rows["lower"].isna()
        rank = rows["origin"].rank(method="dense")
        unknown = (rank <= rows["step"]) & (part is opened.validation)
        assert missing.tolist() == unknown.tolist()
        assert (missing | (rows["lower"] < rows["forecast"])).all()
        assert (missing | (rows["forecast"] < rows["upper"])).all()
        # Validation's are counted from its middle on.
        if part is opened.validation:
            rows = rows[rank > len(part.origins) // 2]
        inside = (rows["lower"] <= rows["actual"]) & (rows["actual"] <= rows["upper"])
        assert part.coverage is not None
        assert inside.mean() == pytest.approx(part.coverage.mean())
        by_step = inside.groupby(rows["step"]).mean()
        assert part.coverage.tolist() == pytest.approx(by_step.tolist())
        assert part.coverage_by_volatility is not None
        assert inside.mean() == pytest.approx(part.coverage_by_volatility.mean(), abs=0.01)


def test_intervals_go_on_from_validation_to_the_test(
    prices: PriceSeries, sealed: Report, opened: Report
) -> None:
    assert opened.test is not None
    validation, test = opened.parts
    assert sealed.validation.widths.tobytes() == validation.widths.tobytes()
    origins = np.concatenate([part.origins for part in opened.parts])
    widths = adaptive_widths(
        np.concatenate([np.abs(part.growth[0] - part.actual[0]) for part in opened.parts]),
        origins,
        running_volatility(np.log(prices.mid))[origins],
        overlap=HORIZON,
    )
    assert np.concatenate([validation.widths[0], test.widths[0]]).tobytes() == widths.tobytes()


def test_files_are_complete_and_the_page_needs_no_other(tmp_path: Path, opened: Report) -> None:
    files = write_report(opened, tmp_path / "out")
    assert {str(f.relative_to(tmp_path / "out")) for f in files} == {
        "report.html",
        "report.md",
        "verdict.json",
        "metrics.csv",
        "forecasts.csv",
        "figures/forecasts.png",
        "figures/errors_by_step.png",
        "figures/importance.png",
        "figures/history.png",
    }
    page = Page()
    page.feed((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert page.open_tags == []
    assert len(page.images) == 4
    for source in page.images:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        width, height = struct.unpack(">II", base64.b64decode(data)[16:24])
        assert width > 1000
        assert height > 100
    assert page.links == []
    assert "script" not in page.tags
    # The verdict is the first sentence after the title, in both.
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert text.split("\n\n")[1] == f"**{plain(opened.verdict)}**"
    assert page.paragraphs[0] == opened.verdict
    for name in re.findall(r"\]\((.+?)\)", text):
        assert (tmp_path / "out" / name).is_file()
    assert pd.read_csv(tmp_path / "out" / "metrics.csv").shape[0] == 2 * 6
    stored = json.loads((tmp_path / "out" / "verdict.json").read_text())
    assert stored == opened.finding.document()
    assert stored["test"]["origins"] == len(opened.parts[1].origins)


def test_the_page_says_what_a_reader_asks(tmp_path: Path, opened: Report) -> None:
    write_report(opened, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for part in opened.parts:
        for name, model in part.models.items():
            assert name in text
            assert f"{model.metrics.relative_mse:.4f}" in text
        assert part.coverage is not None
        assert part.coverage_by_volatility is not None
        low, middle, high = part.coverage_by_volatility
        by_step = f"{min(part.coverage):.0%} to {max(part.coverage):.0%}"
        row = (
            f"| {np.mean(part.coverage):.0%} | {by_step} | {low:.0%} | {middle:.0%} | {high:.0%} |"
        )
        assert row in text
        direction = part.models[f"trial {opened.winner.trial.number}"].metrics
        assert direction.directional_p_value is not None
        assert f"({direction.directional_low:.0%} to {direction.directional_high:.0%}; " in text
    assert opened.spec.prices.digest in text
    assert opened.winner.config.to_toml().strip() in text
    assert format_access_log(opened.openings, "skill") in text
    assert f"jax {opened.spec.versions['jax']}" in text
    assert f"is {opened.optimism:+.4f}." in text
    assert "came out identical to the last bit" in text


def test_a_winner_that_rounds_otherwise_shows_how(opened: Report) -> None:
    winner = opened.winner
    one = dataclasses.replace(winner.best[0], value=np.nextafter(winner.value, np.inf))
    again = dataclasses.replace(winner, best=(one,))
    text = markdown(dataclasses.replace(opened, winner=again))
    said = re.search(r"came out with relative MSE (\S+), not (\S+) as before", text)
    assert said is not None
    assert [float(value) for value in said.groups()] == [again.value, winner.trial.value]
    assert said[1] != said[2]


class Page(HTMLParser):
    """What a browser would find in a page."""

    void = frozenset({"meta", "img", "br", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.open_tags: list[str] = []
        self.tags: set[str] = set()
        self.images: list[str] = []
        self.links: list[str] = []
        self.paragraphs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"] or "")
        if tag in ("a", "link", "iframe", "object"):
            self.links.append(str(values))
        if tag == "p":
            self.paragraphs.append("")
        if tag not in self.void:
            self.open_tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if "p" in self.open_tags:
            self.paragraphs[-1] += data


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "a|b",
        "*x* _y_ `z` [l](http://e)",
        "# head",
        "![i](x)",
        "1~~2",
        "&lt;b&gt;",
    ],
)
def test_a_users_text_stays_text(text: str) -> None:
    """In Markdown as another renderer reads it, and in the page."""
    rendered = MarkdownIt("gfm-like", {"linkify": False}).render(f"| {plain(text)} |\n| --- |\n")
    page = Page()
    page.feed(rendered.replace("<th>", "<p>").replace("</th>", "</p>"))
    assert page.paragraphs[0] == text
    page = Page()
    page.feed(html(f"# {plain(text)}\n\n{plain(text)}\n", text, {}))
    assert page.paragraphs[0] == text
    assert not {"script", "a", "img", "em", "code"} & page.tags


def test_marks_of_any_source_stay_text(sealed: Report) -> None:
    """Names of prices, versions and other studies come from other people's files."""
    evil = "![a](b) <b>x</b> | `c` &lt;i&gt; [d](e)"
    fields = {"name": evil, "source": evil, "first_date": evil, "last_date": evil, "digest": evil}
    spec = sealed.spec.model_copy(
        update={"versions": {evil: evil}, "prices": sealed.spec.prices.model_copy(update=fields)}
    )
    opening = HeldOutAccess.read(None, evil)
    shown = dataclasses.replace(sealed, spec=spec, openings=[opening])
    page = html(markdown(shown), "title", {})
    # Seven in the table of provenance, and one in the opening's.
    assert page.count(escape(evil, quote=True).replace("&#x27;", "'")) == 8
    assert not re.search(r"<(b|i|a)[ >]", page)
    names = ("forecasts", "errors_by_step", "history", "importance")  # the report's own images
    assert page.count("<img ") == sum(f'<img src="figures/{name}.png"' in page for name in names)


def test_openings_in_words() -> None:
    opening = HeldOutAccess(
        time="2026-01-02T03:04:05+00:00",
        study="s",
        trial=1,
        config_digest="c0ffee",
        prices="d",
        test_start="2020-01-01",
    )
    sealed = "The test is sealed: no study of this storage has opened it."
    assert format_access_log([], "s") == sealed
    once = format_access_log([opening], "s")
    assert once.startswith("The test has been opened once, at 2026-01-02T03:04:05+00:00; whatever")
    assert "once by study 's', at" in format_access_log([opening], "t")
    assert "opened 3 times, first" in format_access_log([opening] * 3, "s")
    assert "3 times (3 of them by other studies of" in format_access_log([opening] * 3, "t")


@pytest.mark.parametrize(
    "record", [None, "yes", {"time": "2020", "trial": 1}, {"time": 5, "prices": ["d"], "trial": {}}]
)
def test_an_opening_of_another_shape_counts(record: object) -> None:
    """Written by hand or by another version; of any study of the storage."""
    study = optuna.create_study(study_name="s")
    other = optuna.create_study(study_name="[/b]", storage=study._storage)
    other.set_user_attr("test_opening:x", record)
    (opening,) = found = access_log.read_access_log(study, prices="d")
    assert (opening.study, opening.prices, opening.is_complete) == ("[/b]", None, False)
    said = format_access_log(found, "s")
    assert said.startswith("The test has been opened once by study '[/b]', at an unknown time; ")
    assert said.endswith(
        "For 1 of these openings the record does not say when or for which data; "
        "they count nevertheless."
    )


def test_a_look_by_another_study_of_the_same_prices_counts(
    prices: PriceSeries, tiny_space: SearchSpace
) -> None:
    storage = optuna.storages.InMemoryStorage()
    for name in ("first", "second"):
        study = run_study(
            name,
            prices,
            n_trials=1,
            space=tiny_space,
            horizon=HORIZON,
            storage=storage,
            show_progress_bar=False,
            target="mid",
            workers=1,
        )
        make_report(study, prices, open_test=True, top=1)
    assert [
        opening.study for opening in access_log.read_access_log(study, prices=prices.digest)
    ] == [
        "first",
        "second",
    ]


def test_folds_are_judged_together(prices: PriceSeries, tiny_space: SearchSpace) -> None:
    study = run_study(
        "folds",
        prices,
        n_trials=3,
        space=tiny_space,
        horizon=HORIZON,
        folds=3,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    report = make_report(study, prices, open_test=True, top=2)
    folds = report.spec.development(prices)
    counts = [len(fold.split.validation_origins) for fold in folds]
    assert report.evidence.skill.origins == sum(counts) == len(report.validation.origins)
    assert report.winner.is_same
    # A baseline's value is the mean over folds, as a trial's is.
    drift = []
    for fold in folds:
        log = np.log(fold.values[0])
        stop = fold.split.train_stop
        slope = (log[stop - 1] - log[0]) / (stop - 1)
        actual = LOG.changes(fold.values[0], fold.split.validation_origins, HORIZON)
        error = slope * np.arange(1, HORIZON + 1) - actual
        drift.append(np.mean(error**2) / np.mean(actual**2))
    found = report.validation.models["drift"].metrics.relative_mse
    assert found == pytest.approx(np.mean(drift))


def test_one_trial_and_equal_values_still_make_a_report(
    tmp_path: Path, prices: PriceSeries, tiny_space: SearchSpace
) -> None:
    study = run_study(
        "one",
        prices,
        n_trials=1,
        space=tiny_space,
        horizon=HORIZON,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    report = make_report(study, prices, sealed=True)
    assert report.importances == {}
    assert not any(name.startswith("ensemble") for name in report.validation.models)
    assert (tmp_path / "figures" / "importance.png") not in write_report(report, tmp_path)


@pytest.mark.parametrize(("stride", "origins"), [(94, 1), (47, 2)])
def test_few_origins_still_make_a_report(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace, stride: int, origins: int
) -> None:
    study = run_study(
        "few",
        walk,
        n_trials=2,
        space=tiny_space,
        epochs=1,
        horizon=5,
        stride=stride,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    report = make_report(study, walk, open_test=True)
    write_report(report, tmp_path)
    said = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert len(report.validation.origins) == origins
    assert "On validation no trial beats ridge on lags beyond chance (p = 1.00" in report.verdict
    are = "origin is" if origins == 1 else "origins are"
    assert f"Not known: {origins} validation {are} too few to compare trials." in said
    if origins == 1:
        assert "1 validation origin is too few to tell whether they hold" in said
    else:
        assert "| validation, later half | " in said


def test_overlapping_origins_leave_no_honest_halves(
    walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    """Of 20 origins a day apart, each forecasting 50 days, all share days with all others."""
    study = run_study(
        "overlap",
        walk,
        n_trials=1,
        space=tiny_space,
        epochs=1,
        horizon=50,
        stride=1,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    report = make_report(study, walk, sealed=True)
    assert len(report.validation.origins) < 50
    assert report.validation.coverage is None


def test_a_test_that_cannot_be_scored_still_leaves_a_report(
    tmp_path: Path, walk: PriceSeries, tiny_space: SearchSpace
) -> None:
    split = chronological_split(len(walk), horizon=HORIZON, history=8)
    day = np.minimum(np.arange(len(walk)), split.test_start - 1)
    fields = {name: getattr(walk, name)[day] for name in ("open", "high", "low", "close")}
    still = PriceSeries(name="still", dates=walk.dates, volume=None, source="still", **fields)
    study = run_study(
        "still",
        still,
        n_trials=1,
        space=tiny_space,
        epochs=1,
        horizon=HORIZON,
        storage=optuna.storages.InMemoryStorage(),
        show_progress_bar=False,
        target="mid",
        workers=1,
    )
    report = make_report(study, still, open_test=True)
    write_report(report, tmp_path)
    assert len(report.openings) == 1
    assert "The opened test cannot be scored: values must change after some" in report.verdict
    assert "It was opened, but cannot be scored: values" in (tmp_path / "report.md").read_text()
    assert set(metrics_table(report)["part"]) == {"validation"}


def test_mistakes_are_named(prices: PriceSeries, study: optuna.Study, walk: PriceSeries) -> None:
    with pytest.raises(ConfigError, match="prices must be those of study 'skill'"):
        make_report(study, walk)
    for opposite in ({"sealed": False}, {"sealed": True, "open_test": True}):
        with pytest.raises(ConfigError, match="sealed must be the opposite of open_test="):
            make_report(study, prices, **opposite)
    with pytest.raises(ConfigError, match="top must be a whole number of at least 1, but got 0"):
        make_report(study, prices, top=0)
    foreign = optuna.create_study()
    with pytest.raises(ConfigError, match="must be one that foretune made"):
        make_report(foreign, prices)


def test_figures_are_drawn_to_the_page(opened: Report, tmp_path: Path) -> None:
    """At 150 dots an inch a page's width of 9 inches; nothing is cut off or blank."""
    from matplotlib.image import imread

    write_report(opened, tmp_path)
    for file in (tmp_path / "figures").glob("*.png"):
        picture = imread(io.BytesIO(file.read_bytes()))
        assert picture.shape[1] == 1350
        assert picture.std() > 0.05


def test_a_notebook_shows_verdict_and_models(opened: Report, sealed: Report) -> None:
    for report in (opened, sealed):
        text, page = repr(report), report._repr_html_()
        assert report.verdict in " ".join(text.split())
        assert text.startswith("report on study skill\n")
        for part in report.parts:
            assert f">{part.name}: relative MSE</th>" in page
            for name, assessment in part.models.items():
                value = f"{assessment.metrics.relative_mse:.4f}"
                assert f">{name}</th>" in page
                assert f">{value}</td>" in page
                assert value in text
        assert ("test: relative MSE" in page) == (report is opened)
        assert text.count("\n│") == len(report.model_table[1])  # a line for each forecast


def test_marks_in_a_studys_name_are_shown_and_not_read(sealed: Report) -> None:
    marks = "<b>[red]A&B[/red] :smile: [/]"
    named = dataclasses.replace(sealed, study=optuna.create_study(study_name=marks))
    assert repr(named).startswith(f"report on study {marks}\n")
    assert "report on study &lt;b&gt;[red]A&amp;B[/red] :smile: [/]" in named._repr_html_()
    assert named._repr_html_().count("<b>") == 1  # the verdict's own
