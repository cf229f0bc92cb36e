"""Forecasts that need no gradient: what a network has to beat.

Simple rules share one interface. They see a series of levels (values in the study's error space:
scaled ones, or logarithms of prices) up to a row and forecast the rows after it; beyond one row
they feed their own forecasts back. :func:`baseline_changes` computes all baselines of a study, the
regression on lags (:mod:`foretune.models.forecasts.ridge`) among them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import DataError
from foretune.datasets.splits import Split
from foretune.datasets.transforms import exponential_moving_average
from foretune.models.forecasts.ridge import Regressors, Ridge, choose_ridge

Levels = NDArray[np.float64]
Days = NDArray[np.int32]


class Baseline(Protocol):
    """A forecast rule; a frozen dataclass of its few numbers."""

    @property
    def name(self) -> str:
        """What tables and figures call it."""

    @property
    def history(self) -> int:
        """How many days it needs before its first forecast."""

    def forecast(self, series: Levels, origins: Days, horizon: int) -> Levels:
        """Forecast the ``horizon`` days after each origin from the days up to it.

        Args:
            series: levels [N], oldest first; nothing after an origin is read for it.
            origins: index of the last day each forecast may see [O].
            horizon: days to forecast, H.

        Returns:
            Levels [O, H].

        Raises:
            DataError: an origin has fewer than ``history`` days up to it.
        """


def one_step_forecasts(baseline: Baseline, series: Levels) -> Levels:
    """Forecast every day of ``series`` [N] from the days before it.

    Returns:
        [N - history]: the forecast of day ``history`` first.
    """
    origins = np.arange(baseline.history - 1, len(series) - 1, dtype=np.int32)
    return baseline.forecast(series, origins, 1)[:, 0]


def _require_history(baseline: Baseline, origins: Days) -> None:
    """Refuse an origin with too few days before it: its index would wrap to the future."""
    if np.min(origins) < baseline.history - 1:
        raise DataError(
            f"{baseline.name} needs {baseline.history} days up to each origin, but got the origin "
            f"{np.min(origins)}"
        )


@dataclass(frozen=True, kw_only=True)
class Persistence:
    """Tomorrow is like today."""

    name: str = "persistence"
    history: int = 1

    def forecast(self, series: Levels, origins: Days, horizon: int) -> Levels:
        """Repeat the last level: [O, H]."""
        _require_history(self, origins)
        return np.repeat(series[origins][:, None], horizon, axis=1)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Tomorrow is today and the average change of the training days."""

    slope: float
    name: str = "drift"
    history: int = 1

    @classmethod
    def fit(cls, train: Levels) -> Self:
        """Take the mean daily change of the training levels [N]."""
        return cls(slope=float((train[-1] - train[0]) / (len(train) - 1)))

    def forecast(self, series: Levels, origins: Days, horizon: int) -> Levels:
        """Climb by ``slope`` a day from the last level: [O, H]."""
        _require_history(self, origins)
        return series[origins][:, None] + self.slope * np.arange(1, horizon + 1)


@dataclass(frozen=True, kw_only=True)
class SeasonalNaive:
    """Each step is like the last known one at its place in the season of ``season`` steps."""

    season: int

    @property
    def name(self) -> str:
        """With the season, because a study may have more than one."""
        return f"seasonal naive {self.season}"

    @property
    def history(self) -> int:
        """A full season."""
        return self.season

    def forecast(self, series: Levels, origins: Days, horizon: int) -> Levels:
        """Repeat the last season up to each origin: [O, H]."""
        _require_history(self, origins)
        steps = np.arange(horizon) % self.season + 1 - self.season
        forecasts: Levels = series[origins[:, None] + steps]
        return forecasts


@dataclass(frozen=True, kw_only=True)
class StandardAverage:
    """Tomorrow is the mean of the last ``window`` days (the tutorial's step 7)."""

    window: int = 100
    name: str = "standard average"

    @property
    def history(self) -> int:
        """A full window."""
        return self.window

    def forecast(self, series: Levels, origins: Days, horizon: int) -> Levels:
        """Average the last ``window`` days, forecasts among them: [O, H]."""
        _require_history(self, origins)
        known = series[origins[:, None] + np.arange(1 - self.window, 1)]
        for _ in range(horizon):
            following = known[:, -self.window :].mean(axis=1, keepdims=True)
            known = np.concatenate([known, following], axis=1)
        forecasts: Levels = known[:, self.window :]
        return forecasts


@dataclass(frozen=True, kw_only=True)
class ExponentialAverage:
    """Tomorrow is the exponential moving average of all days so far (the tutorial's step 8).

    Beyond one day it is a flat line: its own forecast, fed back, changes nothing.
    """

    past_weight: float = 0.5
    name: str = "exponential moving average"
    history: int = 1

    def forecast(self, series: Levels, origins: Days, horizon: int) -> Levels:
        """Repeat the average up to each origin: [O, H]."""
        _require_history(self, origins)
        average = exponential_moving_average(series, self.past_weight)
        return np.repeat(average[origins][:, None], horizon, axis=1)


@dataclass(frozen=True, kw_only=True)
class Momentum:
    """Tomorrow moves on as the days before did: a smoothed daily change, added day by day.

    The rule that the tutorial proposes in place of the flat line. The smoothed change, fed back,
    stays as it is, so the forecast is a straight line.
    """

    past_weight: float = 0.9
    name: str = "momentum"
    history: int = 2

    def forecast(self, series: Levels, origins: Days, horizon: int) -> Levels:
        """Go on from the last level at the smoothed change of the days so far: [O, H]."""
        _require_history(self, origins)
        change = exponential_moving_average(np.diff(series), self.past_weight)
        steps = np.arange(1, horizon + 1)
        return series[origins][:, None] + change[origins - 1][:, None] * steps


def standard_baselines(train: Levels) -> tuple[Baseline, ...]:
    """Return every baseline, those that need it fitted to the training levels [N]."""
    return (
        Persistence(),
        Drift.fit(train),
        StandardAverage(),
        ExponentialAverage(),
        Momentum(),
    )


def baseline_growth(
    values: NDArray[np.float64], *, train_stop: int, origins: Days, horizon: int
) -> dict[str, NDArray[np.float64]]:
    """Forecast log growth with every baseline, as networks are scored: on log prices.

    A baseline that needs more days than the first origin has is left out.

    Args:
        values: mid prices [N], up to the last origin at least.
        train_stop: where the training days end; baselines are fitted to them.
        origins: last day each forecast may see [O].
        horizon: days to forecast, H.

    Returns:
        By name, the log growth since each origin [O, H].

    Example:
        >>> baseline_growth(values, train_stop=100, origins=origins, horizon=5)["drift"]
    """
    levels = np.log(values)
    now = levels[origins][:, None]
    return {
        baseline.name: baseline.forecast(levels, origins, horizon) - now
        for baseline in standard_baselines(levels[:train_stop])
        if baseline.history <= np.min(origins) + 1
    }


def baseline_changes(
    levels: Levels,
    folds: Sequence[Split],
    *,
    test: bool = False,
    seasonality: int | None = None,
    past: Levels | None = None,
    future: Levels | None = None,
    close: Levels | None = None,
    firsts: NDArray[np.int32] | None = None,
    ridges: Sequence[Ridge] | None = None,
) -> dict[str, list[Levels]]:
    """Forecast with every baseline of a study, in its error space.

    They are fitted to the training rows of each fold, the drift to each series by itself and the
    ridge to all of them; its lags and penalty are chosen on validation. The seasonal naive and the
    ridge are left out where the rows are too few for them: those of the median series, and of the
    shortest one. A shorter series without a season repeats its last value in the seasonal naive.

    Args:
        levels: values in the error space, such as log prices [S, N]: up to the last validation row,
            or with ``test`` to the last test row.
        folds: where the rows of each fold lie.
        test: forecast at the test origins, with what is fitted to the last fold.
        seasonality: steps in a season; None or 1 where there is none.
        past: covariates known up to an origin [S, N, P], for the ridge.
        future: covariates known beyond it too [S, N, F] or longer, for the ridge.
        close: levels of the last price of each day [S, N], where ``levels`` are those of another.
        firsts: the first row of each series [S]; None for row 0.
        ridges: what :func:`choose_ridge` returned for the same folds; None to choose here.

    Returns:
        By name, the changes since each origin [S, O, H]: one array a fold, or with ``test`` one.

    Example:
        >>> levels, close = np.log(prices.mid)[None], np.log(prices.close)[None]
        >>> list(baseline_changes(levels, [split], close=close))
        ['persistence', 'drift', 'last close', 'ridge on lags']
    """
    read = Regressors(levels=levels, past=past, future=future, firsts=firsts)
    ridges = choose_ridge(read, folds) if ridges is None else ridges
    closes = [None] * len(levels) if close is None else [*close]
    begin = folds[0].validation_start
    typical = int(np.median([first for *_, first in read.each()]))
    season = seasonality if 1 < (seasonality or 0) <= begin - typical else None
    of_series = [
        _changes_of_one(*own, folds, test, season, close, ridges)
        for own, close in zip(read.each(), closes, strict=True)
    ]
    return {
        name: [np.stack(fold) for fold in zip(*(one[name] for one in of_series), strict=True)]
        for name in of_series[0]
    }


def _changes_of_one(
    levels: Levels,
    past: Levels | None,
    future: Levels | None,
    first: int,
    folds: Sequence[Split],
    test: bool,
    seasonality: int | None,
    close: Levels | None,
    ridges: Sequence[Ridge],
) -> dict[str, list[Levels]]:
    """Forecast one series [N] as :func:`baseline_changes`: changes [O, H]."""
    horizon = folds[0].horizon
    found: dict[str, list[Levels]] = {}
    fitted = zip(folds, ridges or (None,) * len(folds), strict=True)
    for split, ridge in list(fitted)[-1 if test else 0 :]:
        origins = split.test_origins if test else split.validation_origins
        now = levels[origins][:, None]
        rules: list[Baseline] = [Persistence(), Drift.fit(levels[first : split.train_stop])]
        changes = {rule.name: rule.forecast(levels, origins, horizon) - now for rule in rules}
        if seasonality is not None:
            naive = SeasonalNaive(season=seasonality)
            # A series that has no season yet repeats its last value, as persistence does.
            has_season = seasonality <= folds[0].validation_start - first
            rule = naive if has_season else Persistence()
            changes[naive.name] = rule.forecast(levels, origins, horizon) - now
        if close is not None:
            changes["last close"] = Persistence().forecast(close, origins, horizon) - now
        if ridge is not None:
            changes[ridge.name] = ridge.changes(levels, origins, past=past, future=future)
        for name, forecast in changes.items():
            found.setdefault(name, []).append(forecast)
    return found
