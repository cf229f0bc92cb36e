"""What a calibration runs: cells of simulated losses, and cells of trained studies."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import optuna

from foretune.datasets import PriceSeries
from foretune.datasets.sources.samples import random_walk
from foretune.search import FloatRange, SearchSpace, run_study
from foretune.search.report.significance import in_confidence_set, model_confidence_set, spa_test
from foretune.search.report.verdict import is_significant, verdict
from foretune.search.study.pruners import PRUNERS
from foretune.search.study.trials import finished_trials
from foretune.studies.simulated_losses import (
    Losses,
    astray,
    equally_good,
    garch_volatility,
    with_skill,
)

DAYS = 4000
# Prices within a day, whose highest and lowest are the day's.
TICKS = 64


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The least and the greatest share of studies that may make a claim."""

    low: float = 0.0
    high: float = 1.0

    def is_met(self, share: float) -> bool:
        """Whether a share is within."""
        return self.low <= share <= self.high

    def __str__(self) -> str:
        low, high = f"{100 * self.low:.0f}", f"{100 * self.high:.0f} %"
        if self.high == 0:
            return "none"
        if self.low == 0:
            return f"at most {high}"
        return f"at least {low} %" if self.high == 1 else f"{low} to {high}"


BOUNDARY = Goal(low=0.02, high=0.08)
NOTHING_THERE = Goal(high=0.1)
NO_CLAIM = Goal(high=0.0)
FOUND = Goal(low=0.9)


@dataclass(frozen=True, kw_only=True)
class LossesCell:
    """Simulated losses of many studies, judged by the tests of the verdict.

    Every trial is as good as the benchmark; with ``skill`` the first one is better by so many
    standard errors of its mean gain, with ``astray`` the last one's errors at one origin are so
    many times as large. ``confidence_set`` counts the studies whose 90 % set keeps all trials,
    instead of those in which Hansen's test makes a claim at 5 %.
    """

    origins: int
    horizon: int
    stride: int
    trials: int
    correlation: float
    garch: bool = False
    skill: float = 0.0
    astray: float = 1.0
    confidence_set: bool = False
    goal: Goal = BOUNDARY

    kind: ClassVar[str] = "simulated losses"

    @property
    def independent(self) -> int:
        """How many origins have no day in common."""
        return -(-self.origins // -(-self.horizon // self.stride))

    def __str__(self) -> str:
        parts = [
            f"{self.origins} origins ({self.independent} independent), horizon {self.horizon}",
            f"{self.trials} trials, gains correlating by {self.correlation}",
        ]
        if self.garch:
            parts.append("GARCH")
        if self.skill:
            parts.append(f"one trial better by {self.skill:g} standard errors")
        if self.astray != 1:
            parts.append(f"one gone wrong by {self.astray:,.0f} times")
        if self.confidence_set:
            parts.append("90 % set keeps all")
        return ", ".join(parts)

    def losses(self, seed: int, studies: int) -> Losses:
        """Return the losses [studies, O, K + 1], those of the benchmark last."""
        losses = equally_good(
            seed,
            origins=self.origins,
            horizon=self.horizon,
            stride=self.stride,
            trials=self.trials,
            correlation=self.correlation,
            garch=self.garch,
            studies=studies,
        )
        if self.skill:
            losses = with_skill(losses, self.skill)
        return astray(losses, self.astray) if self.astray != 1 else losses

    def judge(self, studies: int, on_study: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """Return the ``count`` of studies that claim something or keep all, and the seconds."""
        start = time.perf_counter()
        count = 0
        for seed, losses in enumerate(self.losses(0, studies)):
            count += self.counts(losses, seed)
            on_study()
        return {"count": count, "seconds": time.perf_counter() - start}

    def counts(self, losses: Losses, seed: int, reps: int = 1000) -> bool:
        """Whether the study of these losses [O, K + 1] makes a claim, or its set keeps all."""
        trials, benchmark = losses[:, :-1], losses[:, -1]
        alike: dict[str, Any] = {"horizon": self.horizon, "stride": self.stride, "reps": reps}
        if self.confidence_set:
            p_values = model_confidence_set(trials, seed=seed, **alike)
            return bool(in_confidence_set(p_values).all())
        return is_significant(spa_test(trials, benchmark, seed=seed, **alike).p_value)


FEW = LossesCell(origins=74, horizon=50, stride=10, trials=24, correlation=0.5)


def _losses_cells() -> tuple[LossesCell, ...]:
    cells = []
    for correlation, least in ((0.5, 0.35), (0.9, 0.5)):
        few = replace(FEW, correlation=correlation)
        skilled = replace(few, skill=3.0, goal=Goal(low=least))
        cells += [
            few,
            replace(few, trials=60),
            replace(few, garch=True),
            replace(few, origins=146),
            replace(few, origins=266),
            replace(few, origins=794, horizon=5, stride=1),
            *(replace(skilled, astray=times) for times in (1.0, 3.0, 100.0, 1e6)),
            replace(few, confidence_set=True, goal=Goal(low=0.87)),
        ]
    return tuple(cells)


LOSSES_CELLS = _losses_cells()


# One shape: whatever is drawn, what has been compiled serves again.
SPACE = SearchSpace(
    head="recursive",
    layers=1,
    units=(4, 8),
    pad_units_to=8,
    unroll_length=10,
    batch_size=16,
    learning_rate=FloatRange(low=1e-3, high=3e-2, log=True),
    dropout=FloatRange(low=0.0, high=0.5),
    epochs=6,
    steps_per_epoch=20,
)


MONTHS = SPACE.fix(unroll_length=24, epochs=10, steps_per_epoch=30, scaling="differences")
HOURS = SPACE.fix(
    units=(24, 32),
    pad_units_to=32,
    unroll_length=48,
    batch_size=64,
    learning_rate=FloatRange(low=3e-3, high=3e-2, log=True),
    dropout=0.0,
    scaling="log",
    epochs=15,
    steps_per_epoch=100,
)


@dataclass(frozen=True, kw_only=True)
class StudyCell:
    """Studies that train networks, each judged by its verdict on validation.

    They differ by the seed of sampler and weights and, where the series is simulated, by that of
    the series. A claim is one about the best baseline, or about the one that ``against`` names.
    ``series`` is a sample as :func:`run_study` takes it, without its seed, or ``garch``.
    """

    series: str
    horizon: int
    target: str | None = None
    trials: int = 8
    pruner: str = "median"
    space: SearchSpace = SPACE
    against: str | None = None
    goal: Goal

    kind: ClassVar[str] = "trained studies"

    def __str__(self) -> str:
        parts = [self.series if self.target is None else f"{self.series}, {self.target}"]
        parts.append(f"horizon {self.horizon}, {self.trials} trials")
        if self.pruner == "none":
            parts.append("no pruning")
        if self.against:
            parts.append(f"against {self.against}")
        return ", ".join(parts)

    def data(self, seed: int) -> PriceSeries | str:
        """Return the series of a study, or what :func:`run_study` knows it by."""
        if self.series == "garch":
            return garch_prices(seed)
        if "(" not in self.series:
            return self.series
        return f"{self.series[:-1]}, seed={seed})"

    def judge(self, seed: int) -> dict[str, Any]:
        """Train one study, and return what its verdict says.

        Raises:
            KeyboardInterrupt: the user stopped it.
        """
        start = time.perf_counter()
        study = run_study(
            f"calibration {seed}",
            self.data(seed),
            target=self.target,
            n_trials=self.trials,
            space=self.space.fix(seed=seed),
            horizon=self.horizon,
            seed=seed,
            pruner=PRUNERS[self.pruner](),
            storage=optuna.storages.InMemoryStorage(),
            workers=1,
            show_progress_bar=False,
        )
        if finished_trials(study) < self.trials:
            raise KeyboardInterrupt
        found = verdict(study)
        against = found.against[self.against or found.benchmark]
        return {
            "claim": is_significant(against.p_value),
            "p_value": against.p_value,
            "benchmark": found.benchmark,
            "relative_mse": found.value,
            "benchmark_relative_mse": found.benchmark_value,
            "trials": found.trials,
            "origins": found.origins,
            "independent_origins": against.independent,
            "seconds": time.perf_counter() - start,
        }


def garch_prices(seed: int) -> PriceSeries:
    """Simulate days of a random walk whose volatility is that of a GARCH(1, 1)."""
    walk = random_walk(DAYS, seed=seed, ticks=TICKS)
    volatility = garch_volatility(np.random.default_rng([seed, 1]), DAYS, 1)[:, 0]
    levels = np.log([walk.open, walk.high, walk.low, walk.close]) - np.log(100)
    # Of each day, from the close before it.
    moves = volatility * (levels - np.concatenate([[0.0], levels[3, :-1]]))
    closes = np.concatenate([[0.0], np.cumsum(moves[3])])
    first, high, low, last = 100 * np.exp(closes[:-1] + moves)
    return PriceSeries(
        name="garch",
        source=f"a random walk of {DAYS} days with GARCH volatility, seed {seed}",
        dates=walk.dates,
        open=first,
        high=high,
        low=low,
        close=last,
        volume=None,
    )


WALK = f"random_walk(length={DAYS}, ticks={TICKS})"


def _walks() -> tuple[StudyCell, ...]:
    """Return the cells in which there is nothing to find."""
    close = StudyCell(series=WALK, target="close", horizon=1, goal=NOTHING_THERE)
    many = replace(close, horizon=5, trials=24)
    horizons = (1, 5, 50)
    return (
        *(replace(close, horizon=horizon) for horizon in horizons),
        # Which is the true model, and never ahead of it by luck.
        *(replace(close, horizon=horizon, against="persistence") for horizon in horizons),
        *(replace(close, horizon=horizon, target="mid") for horizon in horizons),
        *(replace(close, horizon=horizon, series="garch") for horizon in horizons[1:]),
        many,
        replace(many, pruner="none"),
    )


WALK_CELLS = _walks()

# Also nothing to find, as far as is known; one series, so the studies are no independent ones.
MARKET_CELLS = tuple(
    StudyCell(series="sp500", target=target, horizon=horizon, goal=NO_CLAIM)
    for target in ("close", "mid")
    for horizon in (1, 5)
)

_AR1 = StudyCell(
    series=f"ar1(length={DAYS}, phi=0.6)",
    target="mid",  # of which it is known what can be forecast
    horizon=5,
    against="persistence",
    goal=FOUND,
)
SKILL_CELLS = (
    _AR1,
    # Of 4,000 days even the true model would be told from luck in every other study alone.
    replace(_AR1, series="ar1(length=20000, phi=0.2)"),
    # In fewer months there are too few origins for any claim.
    StudyCell(
        series="trend_season(length=600)",
        horizon=12,
        space=MONTHS,
        against="seasonal naive 12",
        goal=FOUND,
    ),
    StudyCell(
        series="bikes",
        horizon=24,
        trials=16,
        space=HOURS,
        against="seasonal naive 24",
        goal=FOUND,
    ),
)
