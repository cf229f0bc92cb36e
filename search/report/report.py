"""The report on a study: what it found, measured on validation and, when opened, on the test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import optuna
import pandas as pd
from numpy.typing import NDArray
from optuna.importance import get_param_importances

from foretune.datasets.calendar import local_clock
from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.common.html_table import html_table
from foretune.datasets.panel import Panel
from foretune.datasets.series import TimeSeries
from foretune.datasets.splits import DevelopmentData, walk_forward
from foretune.datasets.transforms import ErrorSpace, levels_of
from foretune.models.config import MetricName
from foretune.models.forecasts.baselines import baseline_changes
from foretune.models.forecasts.intervals import (
    adaptive_widths,
    coverage_by_step,
    coverage_by_volatility,
    volatility_by_series,
)
from foretune.models.forecasts.metrics import (
    METRICS,
    Assessment,
    Growth,
    Metrics,
    assess,
    assess_each,
    mase_season,
    mase_units,
    on_validation,
)
from foretune.models.forecasts.predict import evaluate
from foretune.models.forecasts.ridge import Ridge
from foretune.models.training.results import EpochResult
from foretune.search.report.access_log import HeldOutAccess, read_access_log
from foretune.search.report.evidence import Evidence, ScoredTrials, gather_evidence, scored_trials
from foretune.search.report.held_out import HeldOutTest
from foretune.search.report.replay import RetrainedTrial, best_distinct, ensemble, retrain
from foretune.search.report.significance import diebold_mariano
from foretune.search.report.tables import as_text, rich_table
from foretune.search.report.verdict import OutcomeOnTest, Verdict, p_cell, verdict_of
from foretune.search.study.baselines import AssessedBaselines, assess_baselines
from foretune.search.study.best import errors_naming
from foretune.search.study.data import study_data
from foretune.search.study.spec import (
    OBJECTIVE_NAME,
    StudySpec,
    format_value,
    required_spec,
)
from foretune.search.trial.record import OnEpoch

# Complete trials that it takes to say which parameters matter.
_ENOUGH_TRIALS = 5

# A network that is its ridge, to single precision, is no better than that.
_ROUNDING = 1e-6

# Of many series a table has so many of the worst, and of the best.
_FEW_SERIES = 5

# Of many series that a mean leaves out, so many are named.
_NAMED = 3

# How a forecast of the regression that a winner's network starts at is called.
_RIDGE = ", its ridge alone"


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationSet:
    """One part of the rows, validation or test, with every model's forecasts scored on it.

    ``data`` are all rows up to its end, S series, and ``time`` [N] and ``values`` [S, N] theirs.
    ``growth`` [S, O, H] are the winner's forecasts from ``origins`` [O], of which ``overlap`` in a
    row have target rows in common; ``actual`` [S, O, H] is what came, both as changes in
    ``spaces``, one a series. The interval is ``growth`` give or take ``widths`` [S, O, H], each
    from what was known at its origin; NaN where nothing was. ``coverage`` [H] is the share of
    series and origins where it held at each step, None where there are too few to tell, and
    ``coverage_by_volatility`` the same by thirds of each series' origins: low, middle, high [3].
    ``models`` are by name, the winner first, and ``by_series`` their metrics of each series [S].
    """

    name: str
    data: TimeSeries | Panel
    time: pd.Index
    values: NDArray[np.float64]
    origins: NDArray[np.int32]
    overlap: int
    growth: Growth
    actual: Growth
    widths: NDArray[np.float64]
    coverage: NDArray[np.float64] | None
    coverage_by_volatility: NDArray[np.float64] | None
    models: dict[str, Assessment]
    by_series: dict[str, list[Metrics]]
    spaces: Sequence[ErrorSpace]

    @property
    def names(self) -> list[str]:
        """What the series are called [S]."""
        return [one.name for one in self.data.members]

    @property
    def dates(self) -> NDArray[Any]:
        """The times as an array: days, local times, or whole numbers."""
        return local_clock(self.time)

    def own_rows(self, series: int) -> tuple[pd.Index, NDArray[np.float64], NDArray[np.int32]]:
        """Return the times and values of one series from its first row on, and the origins."""
        first = self.data.firsts[series]
        return self.data.members[series].time, self.values[series, first:], self.origins - first

    def errors(self, model: str, metric: MetricName) -> NDArray[np.float64]:
        """Return a metric of each series [S]; NaN where it has none."""
        return np.array([own.known().get(metric, np.nan) for own in self.by_series[model]])


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Report:
    """Everything that a report says; printed or in a notebook, its verdict and main table.

    ``season`` is how many steps the seasonal naive looks back whose error is the unit of MASE.
    """

    study: optuna.Study
    spec: StudySpec
    winner: RetrainedTrial
    members: list[int]
    finding: Verdict
    evidence: Evidence
    validation: EvaluationSet
    test: EvaluationSet | None
    importances: dict[str, float]
    openings: list[HeldOutAccess]
    season: int

    @property
    def parts(self) -> list[EvaluationSet]:
        """The parts that are open: validation, and the test unless it is sealed."""
        return [part for part in (self.validation, self.test) if part is not None]

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return str(self.finding)

    @property
    def optimism(self) -> float | None:
        """The winner's value on the test less that on validation; None while sealed."""
        outcome = self.finding.test
        return None if outcome is None else outcome.value - self.finding.value

    @property
    def shrinkage(self) -> float | None:
        """The optimism, by its name in the first version."""
        return self.optimism

    @property
    def model_table(self) -> tuple[list[str], list[list[str]]]:
        """Header, and one row for each forecast that every part has, the winner's first."""
        header, models = ["forecast"], [part.models for part in self.parts]
        columns = _columns(self.spec.metric)
        first, *others = (METRICS[column].label for column in columns)
        for part in self.parts:
            header += [f"{part.name}: {first}", *others, "right direction (95 %; p)"]
        names = [name for name in models[0] if all(name in others for others in models)]
        return header, [
            [name, *(cell for scored in models for cell in _cells(scored[name].metrics, columns))]
            for name in names
        ]

    @property
    def names(self) -> list[str]:
        """What the series are called [S]."""
        return self.validation.names

    @property
    def relative_errors(self) -> NDArray[np.float64]:
        """The winner's error of each series [S] in units of the best baseline's.

        On the test, where it is open; else on validation.
        """
        part = self.parts[-1]
        own, baseline = (part.errors(model, self.spec.metric) for model in self._compared[:2])
        # Of a baseline that is never wrong on a series, nothing is a multiple but no error at all.
        without = np.where(own > 0, np.inf, 1.0)
        return np.divide(own, baseline, out=without, where=baseline > 0)

    @property
    def series_table(self) -> tuple[list[str], list[list[str]]]:
        """Header, and one row for each series: its errors on every part, the worst first.

        They are the winner's, the best baseline's and, where the winner's network starts at one,
        its ridge's alone, ordered by the first relative to the second. Of many series there are the
        worst and the best few, and a row of dots between them.
        """
        metric = self.spec.metric
        header = ["series"] + [
            f"{part.name}: {METRICS[metric].label} of {model}"
            if model == self._compared[0]
            else model
            for part in self.parts
            for model in self._compared
        ]
        errors = [part.errors(model, metric) for part in self.parts for model in self._compared]
        order = np.argsort(-self.relative_errors, kind="stable")
        rows = [
            [
                self.names[series],
                *(
                    "none" if np.isnan(own[series]) else format_value(own[series], metric, 4)
                    for own in errors
                ),
            ]
            for series in order
        ]
        if len(rows) > 2 * _FEW_SERIES:
            rows[_FEW_SERIES:-_FEW_SERIES] = [["..."] * len(header)]
        return header, rows

    @property
    def series_better(self) -> str:
        """Say on how many series of each part the winner is better than the best baseline."""
        winner, baseline, *_ = self._compared
        metric, counts = self.spec.metric, []
        for part in self.parts:
            own, other = (part.errors(model, metric) for model in (winner, baseline))
            known = np.sum(~np.isnan(own))
            better = np.sum(own < other * (1 - _ROUNDING))
            counts.append(f"{better} of {known} series on {part.name}")
        label, where = METRICS[metric].label, " and ".join(counts)
        return f"By {label}, {winner} is better than {baseline} on {where}."

    @property
    def _compared(self) -> list[str]:
        """The forecasts that a table by series has: the winner, the best baseline, its ridge."""
        winner, *others = self.validation.models
        return [
            winner,
            self.evidence.benchmark,
            *(name for name in others if name.endswith(_RIDGE)),
        ]

    def __repr__(self) -> str:
        header, rows = self.model_table
        narrow = [name.replace(": ", ":\n").replace(" (", "\n(") for name in header]
        said = [self.verdict, *self.of_series]
        return as_text(rich_table(self._title, rows, header=narrow), *said, width=115)

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        header, rows = self.model_table
        table = html_table(rows, header=header, caption=self._title)
        said = "".join(f"<p>{escape(text)}</p>" for text in self.of_series)
        return f"<p><b>{escape(self.verdict)}</b></p>{table}{said}"

    @property
    def of_series(self) -> list[str]:
        """What is said of several series: where the winner is better, and what means leave out."""
        if len(self.names) == 1:
            return []
        said, winner = [self.series_better], self._compared[0]
        for part in self.parts:
            for metric in _columns(self.spec.metric):
                absent = np.flatnonzero(np.isnan(part.errors(winner, metric)))
                if len(absent):
                    some = ", ".join(part.names[series] for series in absent[:_NAMED])
                    said.append(
                        f"The mean {METRICS[metric].label} on {part.name} leaves out {some}"
                        + ", ..." * (len(absent) > _NAMED)
                        + f" ({len(absent)} of {len(part.names)} series), which stand still or "
                        "repeat, so that it has no unit."
                    )
        return said

    @property
    def _title(self) -> str:
        return f"report on study {self.study.study_name}"


def _columns(metric: MetricName) -> list[MetricName]:
    """Return the metrics that a table of forecasts has, the study's first."""
    shown: list[MetricName] = [metric, OBJECTIVE_NAME, "mase"]
    return list(dict.fromkeys(shown))


def _cells(metrics: Metrics, columns: Sequence[MetricName]) -> list[str]:
    direction, low = metrics.directional_accuracy, metrics.directional_low
    formatted = "none"
    if direction is not None:
        p = metrics.directional_p_value
        known = "" if p is None else f"; {p_cell(p)}"
        formatted = f"{direction:.0%} ({low:.0%} to {metrics.directional_high:.0%}{known})"
    there = metrics.known()
    numbers = [
        "none"
        if name not in there
        else f"{there[name]:.2f}"
        if name == "mase"
        else format_value(there[name], name, 4)
        for name in columns
    ]
    return [*numbers, formatted]


def make_report(
    study: optuna.Study,
    data: Any = None,
    *,
    prices: Any = None,
    open_test: bool = False,
    sealed: bool | None = None,
    top: int = 5,
    on_epoch: OnEpoch | None = None,
    before_opening: Callable[[], None] | None = None,
) -> Report:
    """Judge a study: test for significance on validation, and on request on the sealed test.

    The best ``top`` distinct configs are trained once more, which gives the values they had.

    Args:
        study: a study of :func:`run_study` with a complete trial.
        data: the data it was run on, as :func:`run_study` took them; None for those that the study
            holds, or knows the place of.
        prices: the same, as ``data`` was first called.
        open_test: open the test, and record in the study that it was.
        sealed: the opposite of ``open_test``, as the first version asked for it.
        top: how many configs the ensemble has.
        on_epoch: called with (trial number, config, results) after every epoch.
        before_opening: called when all is ready for the test to be opened; what it raises keeps
            it closed.

    Raises:
        ConfigError: no complete trial, or other data.

    Example:
        >>> make_report(study, load_sample("sp500")).verdict
    """
    require_whole_number("top", top)
    if sealed is not None and sealed == open_test:
        raise ConfigError(
            f"sealed must be the opposite of open_test={open_test}, but got {sealed}; "
            "open_test=True alone opens the test"
        )
    held = study_data(study, data if prices is None else prices)
    spec = required_spec(study)
    folds = spec.development(held.development)
    scored = scored_trials(study)
    baselines = assess_baselines(folds, spec.metric)
    evidence = gather_evidence(
        scored, {name: model.losses for name, model in baselines.models.items()}
    )
    with errors_naming(study):
        retrained = [
            retrain(
                trial,
                folds,
                on_epoch,
                shared_epoch=spec.split.shared_epoch,
                metric=spec.metric,
            )
            for trial in best_distinct(scored.trials, top)
        ]
    winner = retrained[0]
    validation = _validation_part(held.development, folds, retrained, baselines, spec.metric)
    importances = _importances(study, scored)
    test: EvaluationSet | str | None = None
    if open_test:
        if before_opening is not None:
            before_opening()
        opened = HeldOutTest.open(
            study,
            held,
            spec.whole_split,
            trial=winner.trial.number,
            config=winner.config,
            spaces=folds[0].spaces,
        )
        # The test is open and that is recorded: whatever it holds, there is a report.
        try:
            test = _test_part(opened, folds, retrained, validation, baselines.ridges, spec.metric)
        except ForetuneError as error:
            test = str(error)
    return Report(
        study=study,
        spec=spec,
        winner=winner,
        members=[member.trial.number for member in retrained],
        finding=verdict_of(
            study,
            scored,
            evidence,
            unit=baselines.models["persistence"].persistence,
            test=_outcome(test, evidence, spec.metric) if isinstance(test, EvaluationSet) else None,
            why_not_scored=test if isinstance(test, str) else None,
        ),
        evidence=evidence,
        validation=validation,
        test=test if isinstance(test, EvaluationSet) else None,
        importances=importances,
        openings=read_access_log(study, prices=spec.prices.digest),
        season=mase_season(folds[0].seasonality, folds[0].split.validation_start),
    )


def _named(
    retrained: Sequence[RetrainedTrial],
    forecasts: Sequence[list[Growth]],
    ridge: list[Growth] | None,
) -> dict[str, list[Growth]]:
    """Return forecasts of each fold by the names in tables: the winner's and the ensemble's.

    Between them are those of the regression that the winner's network starts at, if it has one.
    """
    named = {f"trial {retrained[0].trial.number}": forecasts[0]}
    if ridge is not None:
        named[f"trial {retrained[0].trial.number}{_RIDGE}"] = ridge
    if len(retrained) > 1:
        named[f"ensemble of {len(retrained)}"] = ensemble(forecasts)
    return named


def _validation_part(
    data: TimeSeries | Panel,
    folds: Sequence[DevelopmentData],
    retrained: Sequence[RetrainedTrial],
    baselines: AssessedBaselines,
    metric: MetricName,
) -> EvaluationSet:
    came = on_validation(folds)
    winner = retrained[0]
    ridge = [result.forecasts for result in winner.first] or None
    forecasts = _named(retrained, [member.forecasts for member in retrained], ridge)
    models = {name: assess(model, metric=metric, **came) for name, model in forecasts.items()}
    growth, actual = (np.concatenate(c, axis=1) for c in (winner.forecasts, came["actuals"]))
    last = folds[-1]
    origins = np.concatenate([fold.split.validation_origins for fold in folds])
    overlap = last.split.overlap
    levels = levels_of(last.spaces, last.values)
    volatility = volatility_by_series(levels, last.firsts)[:, origins]
    widths = adaptive_widths(np.abs(growth - actual), origins, volatility, overlap=overlap)
    # The first intervals rest on few outcomes, and some steps have none yet.
    later = np.arange(len(origins)) >= len(origins) // 2
    later &= np.all(np.isfinite(widths), axis=(0, 2))
    return EvaluationSet(
        name="validation",
        data=data,
        time=last.time,
        values=last.values,
        origins=origins,
        overlap=overlap,
        growth=growth,
        actual=actual,
        widths=widths,
        **_coverage(growth[:, later], actual[:, later], widths[:, later], volatility[:, later]),
        models=models | baselines.models,
        by_series=_by_series(forecasts | baselines.changes, came),
        spaces=last.spaces,
    )


def _by_series(
    forecasts: dict[str, list[Growth]], came: dict[str, Any]
) -> dict[str, list[Metrics]]:
    return {name: assess_each(model, **came) for name, model in forecasts.items()}


def _test_part(
    test: HeldOutTest,
    folds: Sequence[DevelopmentData],
    retrained: Sequence[RetrainedTrial],
    validation: EvaluationSet,
    ridges: Sequence[Ridge],
    metric: MetricName,
) -> EvaluationSet:
    last = folds[-1]
    covariates = last.encoding.encode_all(test.series.members, last.firsts.tolist())
    places: dict[str, Any] = {
        "train_stop": last.split.train_stop,
        "origins": test.origins,
        "horizon": test.split.horizon,
        "spaces": test.spaces,
        "covariates": covariates,
        "firsts": last.firsts,
    }

    def on_test(member: RetrainedTrial, result: EpochResult) -> Growth:
        scores = evaluate(member.config, result.params, test.values, skip=member.skip, **places)
        return scores.changes

    winner = retrained[0]
    members = [on_test(member, member.best[-1]) for member in retrained]
    ridge = [on_test(winner, winner.first[-1])] if winner.first else None
    forecasts = _named(retrained, [[member] for member in members], ridge)
    levels = levels_of(test.spaces, test.values)
    forecasts |= baseline_changes(
        levels,
        walk_forward(test.split, len(folds)),
        test=True,
        seasonality=last.seasonality,
        past=covariates.past,
        future=covariates.future,
        close=None if test.close is None else levels_of(test.spaces, test.close),
        firsts=last.firsts,
        ridges=ridges,
    )
    came: dict[str, Any] = {
        "actuals": [test.actual],
        "now": [test.values[:, test.origins]],
        "units": mase_units(levels, last.firsts, test.split.test_start, last.seasonality),
        "overlap": test.split.overlap,
        "spaces": test.spaces,
    }
    growth, actual = members[0], test.actual
    # What validation has taught the intervals goes on.
    earlier, count = np.abs(validation.growth - validation.actual), len(validation.origins)
    origins = np.concatenate([validation.origins, test.origins])
    volatility = volatility_by_series(levels, last.firsts)
    widths = adaptive_widths(
        np.concatenate([earlier, np.abs(growth - actual)], axis=1),
        origins,
        volatility[:, origins],
        overlap=test.split.overlap,
    )[:, count:]
    return EvaluationSet(
        name="test",
        data=test.series,
        time=test.series.time,
        values=test.values,
        origins=test.origins,
        overlap=test.split.overlap,
        growth=growth,
        actual=actual,
        widths=widths,
        **_coverage(growth, actual, widths, volatility[:, test.origins]),
        models={name: assess(model, metric=metric, **came) for name, model in forecasts.items()},
        by_series=_by_series(forecasts, came),
        spaces=test.spaces,
    )


def _coverage(
    growth: Growth, actual: Growth, widths: Growth, volatility: Growth
) -> dict[str, NDArray[np.float64] | None]:
    """Count how often intervals of all series held, as far as the origins are enough."""
    count, by_step, thirds = growth.shape[1], None, None
    if count:
        by_step = np.mean(coverage_by_step(growth, actual, widths), axis=0)
    if count >= 3:
        thirds = np.mean(coverage_by_volatility(growth, actual, widths, volatility), axis=0)
    return {"coverage": by_step, "coverage_by_volatility": thirds}


def _outcome(test: EvaluationSet, evidence: Evidence, metric: MetricName) -> OutcomeOnTest:
    """Compare the winner with the best baseline on validation, on the opened test."""
    winner, *_ = test.models.values()
    benchmark = evidence.benchmark
    scores = {name: test.models[name].metrics.of(metric) for name in evidence.against}
    value = winner.metrics.of(metric)
    return OutcomeOnTest(
        origins=len(test.origins),
        relative_mse=winner.metrics.relative_mse,
        benchmark_relative_mse=test.models[benchmark].metrics.relative_mse,
        score=metric,
        scores=None if metric == OBJECTIVE_NAME else (value, scores[benchmark]),
        against_benchmark=diebold_mariano(
            winner.losses,
            test.models[benchmark].losses,
            overlap=test.overlap,
            one_sided=True,
            degrees=-(-len(test.origins) // test.overlap) - 1,
        ),
        ahead={
            name: score for name, score in scores.items() if name != benchmark and score < value
        },
    )


def _importances(study: optuna.Study, scored: ScoredTrials) -> dict[str, float]:
    """Return each parameter's share in the values; none where they are not known."""
    # PED-ANOVA compares the best trials with all, and a handful tells nothing.
    if len({trial.value for trial in scored.trials}) < _ENOUGH_TRIALS:
        return {}
    try:
        return get_param_importances(study)
    except (RuntimeError, ValueError):
        return {}
