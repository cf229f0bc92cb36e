"""The verdict on a study: is its winner more than luck, and better than what trains nothing?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna

from foretune.datasets.common.errors import ConfigError, ForetuneError
from foretune.models.config import MetricName
from foretune.models.forecasts.metrics import METRICS
from foretune.search.report.access_log import format_access_log, read_access_log
from foretune.search.report.evidence import Evidence, ScoredTrials, gather_evidence, scored_trials
from foretune.search.report.significance import DieboldMariano, SPAResult
from foretune.search.report.tables import counted
from foretune.search.study.baselines import persistence_value
from foretune.search.study.best import best_so_far
from foretune.search.study.losses import load_baseline_losses
from foretune.search.study.spec import (
    OBJECTIVE_NAME,
    StudySpec,
    format_value,
    required_spec,
    study_metric,
)
from foretune.search.study.trials import stored_numbers

# Skill is claimed below this p-value.
SIGNIFICANCE = 0.05

# With fewer origins that do not overlap, a reader is told that they are few.
_MANY_ORIGINS = 50

_MEAN_LOSS = "mean_loss"


def _shown(value: float, score: str) -> str:
    return format_value(value, score, _fewest_digits(score))


def _fewest_digits(score: str) -> int:
    return 3 if score == OBJECTIVE_NAME else 4


def _side_by_side(value: float, other: float, score: str) -> tuple[str, str]:
    """Write two values with as many digits, up to 6, as it takes to see that they differ."""
    pairs = (
        (format_value(value, score, digits), format_value(other, score, digits))
        for digits in range(_fewest_digits(score), 7)
    )
    shortest = next(pairs)
    return next((pair for pair in (shortest, *pairs) if pair[0] != pair[1]), shortest)


@dataclass(frozen=True, kw_only=True)
class OutcomeOnTest:
    """What the opened test said of the winner.

    ``against_benchmark`` is Diebold and Mariano's test, one-sided, of its losses and those of the
    baseline that was the best one on validation; ``relative_mse`` and ``benchmark_relative_mse``
    are theirs, and ``scores`` those by the metric of the study, ``score``, where it is another.
    ``ahead`` are other baselines that are better than the winner there, with theirs.
    """

    origins: int
    relative_mse: float
    benchmark_relative_mse: float
    against_benchmark: DieboldMariano
    ahead: Mapping[str, float]
    score: MetricName = OBJECTIVE_NAME
    scores: tuple[float, float] | None = None

    @property
    def value(self) -> float:
        """The winner's, by the metric of the study."""
        return self.relative_mse if self.scores is None else self.scores[0]

    @property
    def benchmark_value(self) -> float:
        """The benchmark's."""
        return self.benchmark_relative_mse if self.scores is None else self.scores[1]

    @property
    def claim(self) -> bool:
        """Whether the winner beats the benchmark there, beyond chance."""
        return is_significant(self.against_benchmark.p_value)

    def document(self) -> dict[str, Any]:
        """Return the outcome as JSON has it."""
        found = self.against_benchmark
        beside: dict[str, Any] = {}
        if self.scores is not None:
            beside = {self.score: self.value, f"benchmark_{self.score}": self.benchmark_value}
        return {
            "claim": self.claim,
            "p_value": found.p_value,
            "statistic": found.statistic if np.isfinite(found.statistic) else None,
            "origins": self.origins,
            "relative_mse": self.relative_mse,
            "benchmark_relative_mse": self.benchmark_relative_mse,
            **beside,
        }


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a search has found a trial that beats the best baseline; printed, in words.

    ``score`` names what ``value``, the winner's on validation, and ``benchmark_value`` are: the
    study's metric, or ``mean_loss`` in a study of any other objective, whose winner ``trial`` is
    that of the lowest mean loss. ``against`` has Hansen's
    test of all completed trials against each baseline by name, and ``benchmark`` is the best of
    these. ``test`` is None where the report left the test closed, or where what it holds cannot be
    scored, for the reason ``why_not_scored``. ``left_out`` says which completed trials are not
    counted, and why, and ``best_by_value`` which trial is the best one by the value of another
    objective. ``series`` is how many a loss is the mean over.

    Example:
        >>> verdict(load_study("sp500")).claim
        False
    """

    trial: int
    score: str
    value: float
    benchmark: str
    benchmark_value: float
    against: Mapping[str, SPAResult]
    test: OutcomeOnTest | None = None
    why_not_scored: str | None = None
    left_out: str = ""
    best_by_value: int | None = None
    series: int = 1

    @property
    def skill(self) -> SPAResult:
        """The test of all completed trials against the best baseline."""
        return self.against[self.benchmark]

    @property
    def claim(self) -> bool:
        """Whether some trial is said to beat the best baseline."""
        return is_significant(self.p_value)

    @property
    def p_value(self) -> float:
        """That of the test against the best baseline."""
        return self.skill.p_value

    @property
    def trials(self) -> int:
        """How many completed trials were judged."""
        return self.skill.alternatives

    @property
    def origins(self) -> int:
        """How many forecast origins of validation they were judged on."""
        return self.skill.origins

    def document(self) -> dict[str, Any]:
        """Return the verdict as ``verdict.json`` has it."""
        return {
            "claim": self.claim,
            "p_value": self.p_value,
            "benchmark": self.benchmark,
            "trials": self.trials,
            "origins": self.origins,
            "independent_origins": self.skill.independent,
            **({"series": self.series} if self.series > 1 else {}),
            "trial": self.trial,
            self.score: self.value,
            f"benchmark_{self.score}": self.benchmark_value,
            "p_values": {name: found.p_value for name, found in self.against.items()},
            "test": None if self.test is None else self.test.document(),
            "why_not_scored": self.why_not_scored,
        }

    def __str__(self) -> str:
        """Return the verdict in words: of the opened test first, then of the search."""
        sentences = [self._on_test(), self.on_validation(), self.left_out, self._on_power()]
        if self.best_by_value not in (None, self.trial):
            sentences.append(f"By its value trial {self.best_by_value} is the study's best.")
        if not self._is_opened and self.score != _MEAN_LOSS:
            sentences.append("This verdict does not use the test.")
        return " ".join(filter(None, sentences))

    def on_validation(self) -> str:
        """Say whether the search has found a trial that beats the best baseline."""
        found = "some trial" if self.claim else "no trial"
        judged = f"{self.trials} trial{'s' if self.trials != 1 else ''}"
        text = (
            f"{'on validation ' if self._is_opened else ''}{found} beats {self._best_baseline} "
            f"beyond chance ({format_p(self.p_value)}, {judged}): trial {self.trial}, the best "
            f"one, has {self._scores()}."
        )
        return text[0].upper() + text[1:]

    @property
    def _best_baseline(self) -> str:
        """Name the benchmark, and once that it is the best of several baselines."""
        if len(self.against) == 1 or self._is_opened:
            return self.benchmark
        return f"{self.benchmark}, the best baseline,"

    @property
    def _is_opened(self) -> bool:
        return self.test is not None or self.why_not_scored is not None

    def _scores(self) -> str:
        value, benchmark = _side_by_side(self.value, self.benchmark_value, self.score)
        labels: dict[str, str] = {name: metric.label for name, metric in METRICS.items()}
        return f"{labels.get(self.score, 'mean loss')} {value} against {benchmark}"

    def _on_test(self) -> str:
        if self.why_not_scored is not None:
            return f"The opened test cannot be scored: {self.why_not_scored}."
        if self.test is None:
            return ""
        test = self.test
        value, benchmark = _side_by_side(test.value, test.benchmark_value, test.score)
        beats, beyond = ("beats", "") if test.claim else ("does not beat", " beyond chance")
        text = (
            f"On the opened test trial {self.trial} {beats} {self.benchmark}, the best baseline on "
            f"validation{',' if beyond else ''}{beyond}: {METRICS[test.score].label} {value} "
            f"against {benchmark} "
            f"({format_p(test.against_benchmark.p_value)})."
        )
        if test.ahead:
            ahead = min(test.ahead, key=test.ahead.__getitem__)
            text += f" There {ahead} is ahead of it with {_shown(test.ahead[ahead], test.score)}."
        return text

    def _on_power(self) -> str:
        skill = self.skill
        if self.claim or skill.independent >= _MANY_ORIGINS:
            return ""
        if skill.origins < 2 * skill.block:
            few, together = [counted(skill.origins, "validation origin")], ""
            if self.series > 1:
                together = f": what moves one of {self.series} series at a time may move all"
                if self.test is not None and self.test.origins < 2 * skill.block:
                    few.append(counted(self.test.origins, "test origin"))
            be = "is" if few == ["1 validation origin"] else "are"
            return f"{' and '.join(few)} {be} too few to claim anything{together}."
        return (
            f"With {skill.independent} validation origins that do not overlap, a small gain would "
            "go unnoticed."
        )


def verdict(study: optuna.Study) -> Verdict:
    """Judge the completed trials of a study on validation, by what the study stores.

    Args:
        study: one of :func:`run_study`, or any other whose objective calls :func:`record_losses`.

    Raises:
        ConfigError: no trial is complete, or none can be judged.

    Example:
        >>> print(verdict(study))
        No trial beats ridge on lags, the best baseline, beyond chance (p = 0.41, 30 trials): ...
    """
    scored = scored_trials(study)
    return verdict_of(study, scored, gather_evidence(scored), unit=_unit_of_losses(study))


def verdict_of(
    study: optuna.Study,
    scored: ScoredTrials,
    evidence: Evidence,
    *,
    unit: float = 1.0,
    test: OutcomeOnTest | None = None,
    why_not_scored: str | None = None,
) -> Verdict:
    """Put evidence on a study, and what an opened test said, into a verdict.

    ``unit`` is what losses are in units of, as a value of the study.
    """
    value = float(np.mean(scored.losses[:, 0]))
    spec = StudySpec.stored(study)
    if spec is not None:
        assert scored.best.value is not None  # a scored trial has one
        value = scored.best.value
    return Verdict(
        trial=scored.best.number,
        score=_MEAN_LOSS if spec is None else spec.metric,
        value=value,
        benchmark=evidence.benchmark,
        benchmark_value=evidence.mean_losses[evidence.benchmark] * unit,
        against=evidence.against,
        test=test,
        why_not_scored=why_not_scored,
        left_out=evidence.left_out,
        best_by_value=_best_by_value(study) if spec is None else None,
        series=1 if spec is None else spec.prices.series_count,
    )


def _unit_of_losses(study: optuna.Study) -> float:
    unit = persistence_value(study, study_metric(study))
    if unit is None:
        raise ConfigError(f"study {study.study_name!r} must store its baselines, but has none")
    return unit


def _best_by_value(study: optuna.Study) -> int | None:
    found = best_so_far(study) if len(study.directions) == 1 else None
    return None if found is None else found.number


def is_significant(p: float) -> bool:
    """Whether a p-value, as it is printed, supports a claim."""
    return round(p, 3) < SIGNIFICANCE


def format_p(p: float) -> str:
    """Return a p-value as it is printed: "p = 0.041", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2f}" if p >= 0.095 else f"p = {p:.3f}"


def p_cell(p: float) -> str:
    """Return a p-value as a column of p-values has it: "0.041", "< 0.001"."""
    return format_p(p).removeprefix("p = ").removeprefix("p ")


def caveat(study: optuna.Study) -> str:
    """Say in one paragraph what the best value is, and what it is not."""
    better, scored = better_than_persistence(study)
    metric = study_metric(study)
    below = "are below 1 (persistence)"
    if metric != OBJECTIVE_NAME:
        below = f"have a lower {METRICS[metric].label} than persistence"
    return (
        f"{verdict_so_far(study)} {better} of {scored} trials {below} on "
        "validation, but the winner was chosen on the same rows that it is scored on, so its value "
        f"flatters it. {openings_of_test(study)}"
    )


# Its name in the first version.
caution = caveat


def better_than_persistence(study: optuna.Study) -> tuple[int, int]:
    """Return how many trials are below persistence on validation, and how many have a value."""
    metric = study_metric(study)
    values, persistence = stored_numbers(study, metric), persistence_value(study, metric)
    return sum(persistence is not None and value < persistence for value in values), len(values)


def verdict_so_far(study: optuna.Study) -> str:
    """Say whether the completed trials have beaten the best baseline beyond chance."""
    if best_so_far(study) is None:
        return "No trial is complete yet."
    try:
        found = verdict(study)
    except ForetuneError as error:
        return f"There is no verdict: {error}."
    older = ""
    if not load_baseline_losses(study):
        older = "An earlier version ran the study: `foretune report` compares with all baselines."
    return " ".join(filter(None, [found.on_validation(), found.left_out, older]))


def openings_of_test(study: optuna.Study) -> str:
    """Say how often the study's test has been opened."""
    log = read_access_log(study, prices=required_spec(study).prices.digest)
    return format_access_log(log, study.study_name)
