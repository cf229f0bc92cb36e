"""The report on a study: what it found, measured on validation and, when opened, on the test."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.importance import get_param_importances
from rich.table import Table
from rich.text import Text

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.datasets.common.html_table import html_table
from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import DevelopmentData
from foretune.models.config import TrialConfig
from foretune.models.forecasts.assessment import (
    Assessment,
    assess,
    assess_folds,
    training_daily_change,
    validation_growth,
)
from foretune.models.forecasts.baselines import baseline_growth
from foretune.models.forecasts.intervals import conformal_widths, coverage_by_step
from foretune.models.training.results import FoldResults
from foretune.search.report.candidates import Candidate, best_distinct, ensemble, retrain
from foretune.search.report.evidence import Evidence, gather_evidence
from foretune.search.report.held_out import HeldOutTest
from foretune.search.report.model_table import model_table
from foretune.search.report.openings import Opening, openings
from foretune.search.report.scored_trials import ScoredTrials, scored_trials
from foretune.search.report.significance import diebold_mariano
from foretune.search.report.text_table import as_text
from foretune.search.report.verdict import Finding, OutcomeOnTest, verdict
from foretune.search.study.best import best_trial, naming
from foretune.search.study.spec import StudySpec, required_spec

Growth = NDArray[np.float64]
OnEpoch = Callable[[int, TrialConfig, FoldResults], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluationSet:
    """One part of the days, validation or test, with every model's forecasts scored on it.

    ``growth`` [O, H] are the winner's forecasts from ``origins`` [O], of which ``overlap`` in a row
    have target days in common; ``actual`` is what came;
    ``widths`` [H] are added and taken away for the interval, and ``coverage`` [H] is the share of
    origins that it held at each step, None where there are too few to tell. ``models`` are by
    name, the winner first.
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
    models: dict[str, Assessment]


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Report:
    """Everything that a report says; printed or in a notebook, its verdict and main table."""

    study: optuna.Study
    spec: StudySpec
    winner: Candidate
    members: list[int]
    finding: Finding
    evidence: Evidence
    validation: EvaluationSet
    test: EvaluationSet | None
    importances: dict[str, float]
    openings: list[Opening]

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
        """Header and rows of the table of all forecasts, the winner's first."""
        return model_table({part.name: part.models for part in self.parts})

    def __repr__(self) -> str:
        header, rows = self.model_table
        table = Table(title=Text(self._title), title_justify="left")
        for name in header:
            table.add_column(name.replace(": ", ":\n").replace(" (", "\n("))
        for row in rows:
            table.add_row(*row)
        return as_text(table, self.verdict, width=115)

    def _repr_html_(self) -> str:
        """Show the same in a notebook."""
        header, rows = self.model_table
        table = html_table(rows, header=header, caption=self._title)
        return f"<p><b>{escape(self.verdict)}</b></p>{table}"

    @property
    def _title(self) -> str:
        return f"report on study {self.study.study_name}"


def make_report(
    study: optuna.Study,
    prices: PriceSeries,
    *,
    open_test: bool = False,
    sealed: bool | None = None,
    top: int = 5,
    on_epoch: OnEpoch | None = None,
    before_opening: Callable[[], None] | None = None,
) -> Report:
    """Judge a study: test for significance, on validation and on request on the sealed test.

    The best ``top`` distinct configs are trained once more, which gives the values they had.

    Args:
        study: a study of :func:`run_study` with a complete trial.
        prices: the prices it was run on.
        open_test: open the test, and record in the study that it was.
        sealed: the same turned round, as it was given before; True leaves the test closed.
        top: how many configs the ensemble has.
        on_epoch: called with (trial number, config, results) after every epoch.
        before_opening: called when all is ready for the test to be opened; what it raises keeps
            it closed.

    Raises:
        ConfigError: no complete trial, or other prices.

    Example:
        >>> make_report(study, load_sample("sp500")).verdict
    """
    if top < 1:
        raise ConfigError(f"top must be a whole number of at least 1, but got {top}")
    if sealed is not None and sealed == open_test:
        raise ConfigError(
            "sealed=False no longer opens the test; give open_test=True"
            if not sealed
            else "open_test and sealed must not both be True"
        )
    spec = required_spec(study)
    spec.require_prices(prices, study.study_name)
    best_trial(study)  # refuses a study without one
    folds = spec.split.development(prices, history=spec.space.history)
    judged = scored_trials(study)
    evidence = gather_evidence(judged, folds)
    with naming(study):
        candidates = [retrain(t, folds, on_epoch) for t in best_distinct(judged.trials, top)]
    winner = candidates[0]
    validation = _validation_part(folds, candidates, evidence)
    importances = _importances(study, judged)
    test: EvaluationSet | str | None = None
    if open_test:
        if before_opening is not None:
            before_opening()
        opened = HeldOutTest.open(
            study,
            prices,
            spec.split.split(len(prices), history=spec.space.history),
            trial=winner.trial.number,
            config=winner.config,
        )
        # The test is open and that is recorded: whatever it holds, there is a report.
        try:
            test = _test_part(opened, folds, candidates, validation.widths)
        except ForetuneError as error:
            test = str(error)
    return Report(
        study=study,
        spec=spec,
        winner=winner,
        members=[candidate.trial.number for candidate in candidates],
        finding=_finding(winner, evidence, test),
        evidence=evidence,
        validation=validation,
        test=test if isinstance(test, EvaluationSet) else None,
        importances=importances,
        openings=openings(study, prices=prices.digest),
    )


def model_name(candidate: Candidate) -> str:
    """Return what tables call a trial's model."""
    return f"trial {candidate.trial.number}"


def _ensemble_name(candidates: Sequence[Candidate]) -> str:
    return f"ensemble of {len(candidates)}"


def _validation_part(
    folds: Sequence[DevelopmentData], candidates: Sequence[Candidate], evidence: Evidence
) -> EvaluationSet:
    actuals = [validation_growth(fold) for fold in folds]
    winner = candidates[0]
    forecasts = {model_name(winner): winner.forecasts}
    if len(candidates) > 1:
        forecasts[_ensemble_name(candidates)] = ensemble([c.forecasts for c in candidates])
    assessments = {name: assess_folds(folds, model) for name, model in forecasts.items()}
    growth, actual = np.concatenate(winner.forecasts), np.concatenate(actuals)
    last = folds[-1]
    # Whether intervals hold is seen only on days that they were not made from: the later half,
    # without the origins whose days the earlier half has seen.
    half = len(growth) // 2
    later = half + last.split.overlap - 1
    coverage = None
    if half > 0 and later < len(growth):
        earlier = conformal_widths(growth[:half], actual[:half])
        coverage = coverage_by_step(growth[later:], actual[later:], earlier)
    return EvaluationSet(
        name="validation",
        dates=last.dates,
        values=last.values,
        origins=np.concatenate([fold.split.validation_origins for fold in folds]),
        overlap=last.split.overlap,
        growth=growth,
        actual=actual,
        widths=conformal_widths(growth, actual),
        coverage=coverage,
        models=assessments | evidence.baselines,
    )


def _test_part(
    test: HeldOutTest,
    folds: Sequence[DevelopmentData],
    candidates: Sequence[Candidate],
    widths: NDArray[np.float64],
) -> EvaluationSet:
    train_stop = folds[-1].split.train_stop
    members = [candidate.forecast_test(test, train_stop) for candidate in candidates]
    forecasts = {model_name(candidates[0]): members[0]}
    if len(candidates) > 1:
        forecasts[_ensemble_name(candidates)] = ensemble([(member,) for member in members])[0]
    forecasts |= baseline_growth(
        test.values, train_stop=train_stop, origins=test.origins, horizon=test.split.horizon
    )
    return EvaluationSet(
        name="test",
        dates=test.dates,
        values=test.values,
        origins=test.origins,
        overlap=test.split.overlap,
        growth=members[0],
        actual=test.actual,
        widths=widths,
        coverage=coverage_by_step(members[0], test.actual, widths),
        models={
            name: assess(
                [growth],
                [test.actual],
                daily_change=training_daily_change(folds),
                overlap=test.split.overlap,
            )
            for name, growth in forecasts.items()
        },
    )


def _finding(winner: Candidate, evidence: Evidence, test: EvaluationSet | str | None) -> Finding:
    baseline = evidence.best_baseline
    return Finding(
        trial=winner.trial.number,
        relative_mse=winner.relative_mse,
        skill=evidence.skill,
        baseline=baseline,
        baseline_relative_mse=evidence.baselines[baseline].metrics.relative_mse,
        against_baseline=evidence.against[baseline],
        test=_outcome(winner, test, baseline) if isinstance(test, EvaluationSet) else None,
        why_not_scored=test if isinstance(test, str) else None,
    )


def _outcome(winner: Candidate, test: EvaluationSet, baseline: str) -> OutcomeOnTest:
    assessment = test.models[model_name(winner)]
    return OutcomeOnTest(
        relative_mse=assessment.metrics.relative_mse,
        against_persistence=diebold_mariano(
            assessment.losses, assessment.persistence_losses, overlap=test.overlap
        ),
        independent=-(-len(test.origins) // test.overlap),
        baseline_relative_mse=test.models[baseline].metrics.relative_mse,
    )


# Complete trials that it takes to say which parameters matter.
_ENOUGH_TRIALS = 5


def _importances(study: optuna.Study, judged: ScoredTrials) -> dict[str, float]:
    """Return each parameter's share in the values; none where they cannot be told."""
    values = {trial.value for trial in judged.trials}
    # PED-ANOVA compares the best trials with all, and tells nothing of a handful.
    if len(values) < _ENOUGH_TRIALS:
        return {}
    try:
        return get_param_importances(study)
    except (RuntimeError, ValueError):
        return {}
