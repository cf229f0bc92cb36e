"""The report on a study: what it found, measured on validation and, when opened, on the test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.importance import get_param_importances

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.common.html_table import html_table
from foretune.datasets.splits import DevelopmentData, walk_forward
from foretune.datasets.transforms import ErrorSpace
from foretune.models.forecasts.baselines import baseline_changes
from foretune.models.forecasts.intervals import (
    adaptive_widths,
    coverage_by_step,
    coverage_by_volatility,
    running_volatility,
)
from foretune.models.forecasts.metrics import (
    Assessment,
    Growth,
    Metrics,
    assess,
    assess_folds,
    training_daily_change,
    validation_growth,
)
from foretune.models.forecasts.predict import evaluate
from foretune.search.report.access_log import HeldOutAccess, read_access_log
from foretune.search.report.evidence import Evidence, ScoredTrials, gather_evidence, scored_trials
from foretune.search.report.held_out import HeldOutTest
from foretune.search.report.retrain import RetrainedTrial, best_distinct, ensemble, retrain
from foretune.search.report.significance import diebold_mariano
from foretune.search.report.tables import as_text, rich_table
from foretune.search.report.verdict import Finding, OutcomeOnTest, p_value, verdict
from foretune.search.study.best import errors_naming
from foretune.search.study.spec import StudySpec, required_spec, study_series
from foretune.search.trial.record import OnEpoch

# Complete trials that it takes to say which parameters matter.
_ENOUGH_TRIALS = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationSet:
    """One part of the rows, validation or test, with every model's forecasts scored on it.

    ``growth`` [O, H] are the winner's forecasts from ``origins`` [O], of which ``overlap`` in a row
    have target rows in common; ``actual`` [O, H] is what came, both as changes in ``space``. The
    interval is ``growth`` give or take ``widths`` [O, H], each from what was known at its origin;
    NaN where nothing was. ``coverage`` [H] is the share of origins where it held at each step, None
    where there are too few to tell, and ``coverage_by_volatility`` the same by thirds of the
    origins: low, middle, high [3]. ``models`` are by name, the winner first.
    """

    name: str
    dates: NDArray[np.datetime64]
    values: NDArray[np.float64]
    origins: NDArray[np.int32]
    overlap: int
    growth: Growth
    actual: Growth
    widths: NDArray[np.float64]
    coverage: NDArray[np.float64] | None
    coverage_by_volatility: NDArray[np.float64] | None
    models: dict[str, Assessment]
    space: ErrorSpace


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Report:
    """Everything that a report says; printed or in a notebook, its verdict and main table."""

    study: optuna.Study
    spec: StudySpec
    winner: RetrainedTrial
    members: list[int]
    finding: Finding
    evidence: Evidence
    validation: EvaluationSet
    test: EvaluationSet | None
    importances: dict[str, float]
    openings: list[HeldOutAccess]

    @property
    def parts(self) -> list[EvaluationSet]:
        """The parts that are open: validation, and the test unless it is sealed."""
        return [part for part in (self.validation, self.test) if part is not None]

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        return verdict(self.finding)

    @property
    def shrinkage(self) -> float | None:
        """What the winner's relative MSE gained from validation to test; None while sealed."""
        outcome = self.finding.test
        return None if outcome is None else outcome.relative_mse - self.finding.relative_mse

    @property
    def model_table(self) -> tuple[list[str], list[list[str]]]:
        """Header, and one row for each forecast that every part has, the winner's first."""
        header, models = ["forecast"], [part.models for part in self.parts]
        for part in self.parts:
            header += [f"{part.name}: relative MSE", "MASE", "right direction (95 %; p)"]
        names = [name for name in models[0] if all(name in others for others in models)]
        return header, [
            [name, *(cell for scored in models for cell in _cells(scored[name].metrics))]
            for name in names
        ]

    def __repr__(self) -> str:
        header, rows = self.model_table
        narrow = [name.replace(": ", ":\n").replace(" (", "\n(") for name in header]
        return as_text(rich_table(self._title, rows, header=narrow), self.verdict, width=115)

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        header, rows = self.model_table
        table = html_table(rows, header=header, caption=self._title)
        return f"<p><b>{escape(self.verdict)}</b></p>{table}"

    @property
    def _title(self) -> str:
        return f"report on study {self.study.study_name}"


def _cells(metrics: Metrics) -> list[str]:
    direction, low = metrics.directional_accuracy, metrics.directional_low
    formatted = "none"
    if direction is not None:
        p = metrics.directional_p_value
        known = "" if p is None else f"; {p_value(p).removeprefix('p = ').removeprefix('p ')}"
        formatted = f"{direction:.0%} ({low:.0%} to {metrics.directional_high:.0%}{known})"
    return [f"{metrics.relative_mse:.4f}", f"{metrics.mase:.2f}", formatted]


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
        data: the data it was run on, as :func:`run_study` took them; None to read them where the
            study knows them to be.
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
    series = study_series(study, data if prices is None else prices)
    spec = required_spec(study)
    folds = spec.development(series)
    scored = scored_trials(study)
    evidence = gather_evidence(scored, folds)
    with errors_naming(study):
        retrained = [retrain(t, folds, on_epoch) for t in best_distinct(scored.trials, top)]
    winner = retrained[0]
    validation = _validation_part(folds, retrained, evidence)
    importances = _importances(study, scored)
    test: EvaluationSet | str | None = None
    if open_test:
        if before_opening is not None:
            before_opening()
        opened = HeldOutTest.open(
            study,
            series,
            spec.split_days(len(series)),
            trial=winner.trial.number,
            config=winner.config,
            space=folds[0].space,
        )
        # The test is open and that is recorded: whatever it holds, there is a report.
        try:
            test = _test_part(opened, folds, retrained, validation)
        except ForetuneError as error:
            test = str(error)
    return Report(
        study=study,
        spec=spec,
        winner=winner,
        members=[member.trial.number for member in retrained],
        finding=_finding(winner, evidence, test),
        evidence=evidence,
        validation=validation,
        test=test if isinstance(test, EvaluationSet) else None,
        importances=importances,
        openings=read_access_log(study, prices=series.digest),
    )


def _named(
    retrained: Sequence[RetrainedTrial], forecasts: Sequence[list[Growth]]
) -> dict[str, list[Growth]]:
    """Return forecasts of each fold by the names in tables: the winner's and the ensemble's."""
    named = {f"trial {retrained[0].trial.number}": forecasts[0]}
    if len(retrained) > 1:
        named[f"ensemble of {len(retrained)}"] = ensemble(forecasts)
    return named


def _validation_part(
    folds: Sequence[DevelopmentData], retrained: Sequence[RetrainedTrial], evidence: Evidence
) -> EvaluationSet:
    actuals = [validation_growth(fold) for fold in folds]
    winner = retrained[0]
    forecasts = _named(retrained, [member.forecasts for member in retrained])
    assessments = {name: assess_folds(folds, model) for name, model in forecasts.items()}
    growth, actual = np.concatenate(winner.forecasts), np.concatenate(actuals)
    last = folds[-1]
    origins = np.concatenate([fold.split.validation_origins for fold in folds])
    overlap, volatility = last.split.overlap, running_volatility(last.space.levels(last.values))
    widths = adaptive_widths(np.abs(growth - actual), origins, volatility[origins], overlap=overlap)
    # The first intervals rest on few outcomes, and some steps have none yet.
    later = np.arange(len(origins)) >= len(origins) // 2
    later &= np.all(np.isfinite(widths), axis=1)
    return EvaluationSet(
        name="validation",
        dates=last.dates,
        values=last.values,
        origins=origins,
        overlap=overlap,
        growth=growth,
        actual=actual,
        widths=widths,
        **_coverage(growth[later], actual[later], widths[later], volatility[origins[later]]),
        models=assessments | evidence.baselines,
        space=last.space,
    )


def _test_part(
    test: HeldOutTest,
    folds: Sequence[DevelopmentData],
    retrained: Sequence[RetrainedTrial],
    validation: EvaluationSet,
) -> EvaluationSet:
    places: dict[str, Any] = {
        "train_stop": folds[-1].split.train_stop,
        "origins": test.origins,
        "horizon": test.split.horizon,
        "space": test.space,
    }
    members = [
        evaluate(member.config, member.best[-1].params, test.values, **places).changes
        for member in retrained
    ]
    forecasts = _named(retrained, [[member] for member in members])
    forecasts |= baseline_changes(
        test.space.levels(test.values),
        walk_forward(test.split, len(folds)),
        test=True,
        seasonality=folds[-1].seasonality,
        close=None if test.close is None else test.space.levels(test.close),
    )
    # What validation has taught the intervals goes on.
    earlier, count = np.abs(validation.growth - validation.actual), len(validation.origins)
    volatility = running_volatility(test.space.levels(test.values))
    origins = np.concatenate([validation.origins, test.origins])
    widths = adaptive_widths(
        np.concatenate([earlier, np.abs(members[0] - test.actual)]),
        origins,
        volatility[origins],
        overlap=test.split.overlap,
    )[count:]
    return EvaluationSet(
        name="test",
        dates=test.dates,
        values=test.values,
        origins=test.origins,
        overlap=test.split.overlap,
        growth=members[0],
        actual=test.actual,
        widths=widths,
        **_coverage(members[0], test.actual, widths, volatility[test.origins]),
        models={
            name: assess(
                model,
                [test.actual],
                daily_change=training_daily_change(folds),
                overlap=test.split.overlap,
            )
            for name, model in forecasts.items()
        },
        space=test.space,
    )


def _coverage(
    growth: Growth, actual: Growth, widths: Growth, volatility: Growth
) -> dict[str, NDArray[np.float64] | None]:
    """Count how often intervals held, as far as the origins are enough."""
    by_step = coverage_by_step(growth, actual, widths) if len(growth) else None
    thirds = None
    if len(growth) >= 3:
        thirds = coverage_by_volatility(growth, actual, widths, volatility)
    return {"coverage": by_step, "coverage_by_volatility": thirds}


def _finding(
    winner: RetrainedTrial, evidence: Evidence, test: EvaluationSet | str | None
) -> Finding:
    baseline, outcome = evidence.best_baseline, None
    if isinstance(test, EvaluationSet):
        model = next(iter(test.models.values()))
        outcome = OutcomeOnTest(
            relative_mse=model.metrics.relative_mse,
            against_persistence=diebold_mariano(
                model.losses, model.persistence_losses, overlap=test.overlap
            ),
            baseline_relative_mse=test.models[baseline].metrics.relative_mse,
        )
    return Finding(
        trial=winner.trial.number,
        relative_mse=winner.relative_mse,
        skill=evidence.skill,
        baseline=baseline,
        baseline_relative_mse=evidence.baselines[baseline].metrics.relative_mse,
        against_baseline=evidence.against[baseline],
        test=outcome,
        why_not_scored=test if isinstance(test, str) else None,
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
