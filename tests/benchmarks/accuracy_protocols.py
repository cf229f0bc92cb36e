"""Six series and how each is split, scored and checked: the protocols of ``accuracy.py``.

Shapes: ``N`` rows, ``F`` columns of future covariates, ``O`` test origins, ``H`` steps.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray

from foretune.datasets import Split, TimeSeries, as_series, chronological_split, load_sample
from foretune.models.forecasts.baselines import baseline_changes

Array = NDArray[np.float64]

# Names a folder with ETTh1.csv.gz.
DATA_VARIABLE = "FORETUNE_BENCHMARK_DATA"

# Every row an origin, no gap, as published protocols have it. What is not said is foretune's
# default: shares of 0.6, 0.2 and 0.2, a gap of the horizon, an origin every fifth of the horizon.
_EVERY_ROW = {"stride": 1, "gap": 0}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How one series is split and scored.

    Args:
        name: what the command line calls it.
        data: where it comes from.
        arguments: of ``run_study``: horizon, stride, gap, split.
        season: steps in a season, for the seasonal naive.
        goal: the error that a default search should reach.
        relative: whether the error is relative to persistence's; else it is the MSE in units of
            the training part's variance.
        known: errors of simple forecasts that this must give, measured elsewhere: by season (1 is
            the naive forecast), and whether errors are those of logarithms.
    """

    name: str
    data: str
    arguments: Mapping[str, Any]
    season: int
    goal: float
    relative: bool = True
    known: Mapping[tuple[int, bool], float] = field(default_factory=dict)

    def split(self, series: TimeSeries) -> Split:
        """Return which rows train, validate and test."""
        arguments = dict(self.arguments)
        rows = arguments.pop("split", None)
        return chronological_split(len(series), rows=rows, **arguments)

    @property
    def error(self) -> str:
        """What is measured, in words."""
        return "relative MSE" if self.relative else "MSE"

    def score(self, forecasts: Array, levels: Array, split: Split) -> float:
        """Return the test error of forecast levels [O, H], given all levels [N]."""
        actual = levels[_rows(split)]
        error = np.mean(np.square(forecasts - actual))
        if self.relative:
            error /= np.mean(np.square(actual - levels[split.test_origins][:, None]))
        return float(error)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="ETTh1",
            data=f"ETTh1, oil temperature alone, from ${DATA_VARIABLE}",
            arguments={"horizon": 96, "split": (8640, 2880, 2880), **_EVERY_ROW},
            season=24,
            goal=0.053,
            relative=False,
            known={(1, False): 0.0693, (24, False): 0.0715},
        ),
        Protocol(
            name="bikes",
            data="foretune's sample, weather and holidays known ahead",
            arguments={"horizon": 24, **_EVERY_ROW},
            season=168,
            goal=0.285,
            relative=False,
            known={(1, False): 4.83, (24, False): 0.992, (168, False): 0.786},
        ),
        Protocol(
            name="load",
            data="half-hourly demand, `taylor` in pmdarima",
            arguments={"horizon": 24},
            season=48,
            goal=0.0050,
            known={(48, True): 0.188},
        ),
        Protocol(
            name="sunspots",
            data="monthly sunspots, in pmdarima, + 50",
            arguments={"horizon": 12},
            season=12,
            goal=0.555,
            known={(12, False): 1.615},
        ),
        Protocol(
            name="co2",
            data="weekly CO2, in statsmodels, missing weeks as the week before",
            arguments={"horizon": 24},
            season=52,
            goal=0.0320,
            known={(52, True): 0.380},
        ),
        Protocol(
            name="elnino",
            data="monthly sea temperatures, in statsmodels",
            arguments={"horizon": 12},
            season=12,
            goal=0.115,
            known={(12, True): 0.163},
        ),
    )
}

# Which series are read by pmdarima, which the peers' environment has.
OF_PMDARIMA = ("load", "sunspots")


def why_left_out(name: str, pmdarima: Path | None) -> str | None:
    """Return why a series cannot be measured here; None where it can."""
    if name == "ETTh1" and DATA_VARIABLE not in os.environ:
        return f"{DATA_VARIABLE} is unset: name a folder with ETTh1.csv.gz there"
    if name in OF_PMDARIMA and pmdarima is None:
        return "it comes from pmdarima, which the peers' environment has: give --peers"
    return None


def read(name: str, pmdarima: Path | None) -> TimeSeries:
    """Read a series.

    Args:
        name: one of :data:`PROTOCOLS`.
        pmdarima: file with the arrays of :data:`OF_PMDARIMA`.
    """
    if name == "bikes":
        return load_sample("bikes")
    if name == "ETTh1":
        file = Path(os.environ[DATA_VARIABLE]) / "ETTh1.csv.gz"
        values = pd.read_csv(file, index_col="date", parse_dates=True)["OT"]
    elif name in OF_PMDARIMA:
        if pmdarima is None:
            raise SystemExit(f"{name}: {why_left_out(name, pmdarima)}")
        first, frequency, shift = {
            "load": ("2000-06-05", "30min", 0.0),
            "sunspots": ("1749-01-01", "MS", 50.0),
        }[name]
        array = np.load(pmdarima)[name] + shift
        time = pd.date_range(first, periods=len(array), freq=frequency)
        values = pd.Series(array, index=time)
    elif name == "co2":
        values = sm.datasets.co2.load_pandas().data["co2"].ffill()
    else:
        array = sm.datasets.elnino.load_pandas().data.iloc[:, 1:].to_numpy(dtype=float).ravel()
        values = pd.Series(array, index=pd.date_range("1950-01-01", periods=len(array), freq="MS"))
    return as_series(values.rename(name))


def future_columns(series: TimeSeries, train_stop: int) -> Array:
    """Return future covariates [N, F]: numbers as z-scores, texts as a 0 or 1 for each of them."""
    if not series.future:
        return np.empty((len(series), 0))
    table = pd.DataFrame(dict(series.future))[: len(series)]
    numbers = table.select_dtypes("number")
    train = numbers[:train_stop]
    scaled = (numbers - train.mean()) / train.std(ddof=0).replace(0.0, 1.0)
    texts = pd.get_dummies(table.drop(columns=numbers.columns), dtype=float)
    columns: Array = pd.concat([scaled, texts], axis=1).to_numpy()
    return columns


def scaled_levels(series: TimeSeries, train_stop: int) -> Array:
    """Return the target [N] as z-scores by mean and deviation of the training part."""
    train = series.target[:train_stop]
    levels: Array = (series.target - train.mean()) / train.std()
    return levels


def baselines(protocol: Protocol, series: TimeSeries) -> dict[str, float]:
    """Return the test error of foretune's baselines that train nothing, by name."""
    split = protocol.split(series)
    levels = scaled_levels(series, split.train_stop)
    found = baseline_changes(
        levels[None],
        [split],
        test=True,
        seasonality=protocol.season,
        future=future_columns(series, split.train_stop)[None],
    )
    now = levels[split.test_origins][:, None]
    return {
        name: protocol.score(change[0][0] + now, levels, split) for name, change in found.items()
    }


def deviations(protocol: Protocol, series: TimeSeries) -> dict[str, tuple[float, float]]:
    """Return each known error and the same as computed here, by NumPy alone."""
    split = protocol.split(series)
    found = {}
    for (season, logarithms), known in protocol.known.items():
        levels = np.log(series.target) if logarithms else scaled_levels(series, split.train_stop)
        steps = np.arange(split.horizon) % season + 1 - season
        forecasts = levels[split.test_origins[:, None] + steps]
        name = "naive" if season == 1 else f"seasonal naive {season}"
        name += " of logarithms" if logarithms else ""
        found[name] = known, protocol.score(forecasts, levels, split)
    return found


def _rows(split: Split) -> NDArray[np.int64]:
    """Return the target rows of every test origin [O, H]."""
    rows: NDArray[np.int64] = split.test_origins[:, None] + np.arange(1, split.horizon + 1)
    return rows
