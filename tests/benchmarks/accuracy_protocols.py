"""Six series and three panels, how each is split, scored and checked: what ``accuracy.py`` runs.

Shapes: ``S`` series, ``N`` rows, ``F`` columns of future covariates, ``O`` test origins, ``H``
steps.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray

from foretune.datasets import (
    Panel,
    Split,
    TimeSeries,
    as_series,
    chronological_split,
    load_sample,
    read_panel,
)
from foretune.datasets.splits import parts_of
from foretune.models.forecasts.baselines import baseline_changes

Array = NDArray[np.float64]

# Names a folder with ETTh1.csv.gz, ETTh2.csv.gz, M4-Hourly-train.csv.gz and M4-Hourly-test.csv.gz.
DATA_VARIABLE = "FORETUNE_BENCHMARK_DATA"

# sMAPE and MASE of Naive2, the benchmark of the M4 competition, on its hourly series: an overall
# weighted average of 1 is as good as that (Makridakis, Spiliotis & Assimakopoulos 2020).
_NAIVE2 = {"smape": 18.383, "mase": 2.395}

# Every row an origin, no gap, as published protocols have it. What is not said is foretune's
# default: shares of 0.6, 0.2 and 0.2, a gap of the horizon, an origin every fifth of the horizon.
_EVERY_ROW: Mapping[str, Any] = {"stride": 1, "gap": 0}
_ETT: Mapping[str, Any] = {"horizon": 96, "split": (8640, 2880, 2880), **_EVERY_ROW}
# What the errors of several series are compared by is their MSE.
_ETT_OF_ALL: Mapping[str, Any] = {**_ETT, "metric": "mse"}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How one series, or a panel, is split and scored.

    Args:
        name: what the command line calls it.
        data: where it comes from.
        arguments: of ``run_study``: horizon, stride, gap, split, metric.
        season: steps in a season, for the seasonal naive.
        goal: the error that a default search should reach.
        error: what is measured. The MSE is in units of each series' variance in its training part,
            OWA is M4's overall weighted average of sMAPE and MASE.
        known: errors of simple forecasts that this must give, measured elsewhere: by season (1 is
            the naive forecast), and whether errors are those of logarithms.
    """

    name: str
    data: str
    arguments: Mapping[str, Any]
    season: int
    goal: float
    error: Literal["relative MSE", "MSE", "OWA"] = "relative MSE"
    known: Mapping[tuple[int, bool], float] = field(default_factory=dict)

    def split(self, data: TimeSeries | Panel) -> Split:
        """Return which rows train, validate and test."""
        arguments = {key: value for key, value in self.arguments.items() if key != "metric"}
        if parts := arguments.pop("split", None):
            arguments |= parts_of(data.time, arguments["gap"], split=parts)
        return chronological_split(len(data), **arguments)

    def score(self, data: TimeSeries | Panel, forecasts: Array) -> float:
        """Return the test error of forecast values [S, O, H]."""
        split = self.split(data)
        actual, now = data.values[:, _rows(split)], data.values[:, split.test_origins, None]
        if self.error == "OWA":
            return owa(symmetric_error(forecasts, actual), self._scaled_error(data, forecasts))
        squares = np.mean(np.square(forecasts - actual), axis=(1, 2))
        if self.error == "relative MSE":
            return float(np.mean(squares / np.mean(np.square(actual - now), axis=(1, 2))))
        _, deviations = scale_of(data, split)
        return float(np.mean(squares / deviations**2))

    def _scaled_error(self, data: TimeSeries | Panel, forecasts: Array) -> float:
        """Return the MASE: in units of each series' seasonal changes before the test."""
        split = self.split(data)
        actual = data.values[:, _rows(split)]
        before = [
            own[first : split.test_start]
            for own, first in zip(data.values, data.firsts, strict=True)
        ]
        units = [np.mean(np.abs(own[self.season :] - own[: -self.season])) for own in before]
        return float(np.mean(np.mean(np.abs(forecasts - actual), axis=(1, 2)) / units))


def symmetric_error(forecasts: Array, actual: Array) -> float:
    """Return the sMAPE of forecasts, from 0 to 200."""
    size = np.abs(forecasts) + np.abs(actual)
    return float(np.mean(200 * np.abs(forecasts - actual) / size))


def owa(smape: float, mase: float) -> float:
    """Return M4's overall weighted average of two errors relative to Naive2's."""
    return 0.5 * (smape / _NAIVE2["smape"] + mase / _NAIVE2["mase"])


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="ETTh1",
            data=f"ETTh1, oil temperature alone, from ${DATA_VARIABLE}",
            arguments=_ETT,
            season=24,
            goal=0.053,
            error="MSE",
            known={(1, False): 0.0693, (24, False): 0.0715},
        ),
        Protocol(
            name="bikes",
            data="foretune's sample, weather and holidays known ahead",
            arguments={"horizon": 24, **_EVERY_ROW},
            season=168,
            goal=0.285,
            error="MSE",
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
        Protocol(
            name="ETTh1-M",
            data=f"ETTh1, its seven columns as seven series, from ${DATA_VARIABLE}",
            arguments=_ETT_OF_ALL,
            season=24,
            goal=0.365,
            error="MSE",
            known={(1, False): 1.294, (24, False): 0.512},
        ),
        Protocol(
            name="ETTh2-M",
            data=f"ETTh2, its seven columns as seven series, from ${DATA_VARIABLE}",
            arguments=_ETT_OF_ALL,
            season=24,
            goal=0.274,
            error="MSE",
            known={(24, False): 0.391},
        ),
        Protocol(
            name="M4",
            data=f"M4 Hourly, 414 series, from ${DATA_VARIABLE}",
            arguments={
                "horizon": 48,
                "split": ("rest", 48, 48),
                "metric": "smape",
                **_EVERY_ROW,
            },
            season=24,
            goal=0.480,
            error="OWA",
            known={(1, False): 3.593, (24, False): 0.628},
        ),
    )
}

# Those of several series, which the peers are not run on.
PANELS = ("ETTh1-M", "ETTh2-M", "M4")
_OF_VARIABLE = ("ETTh1", *PANELS)

# Which series are read by pmdarima, which the peers' environment has.
OF_PMDARIMA = ("load", "sunspots")


def why_left_out(name: str, pmdarima: Path | None) -> str | None:
    """Return why something cannot be measured here; None where it can."""
    if name in _OF_VARIABLE and DATA_VARIABLE not in os.environ:
        return f"{DATA_VARIABLE} is unset: name a folder with its files there"
    if name in OF_PMDARIMA and pmdarima is None:
        return "it comes from pmdarima, which the peers' environment has: give --peers"
    return None


def read(name: str, pmdarima: Path | None) -> TimeSeries | Panel:
    """Read a series or a panel.

    Args:
        name: one of :data:`PROTOCOLS`.
        pmdarima: file with the arrays of :data:`OF_PMDARIMA`.
    """
    if name == "bikes":
        return load_sample("bikes")
    if name == "M4":
        return m4_hourly(Path(os.environ[DATA_VARIABLE]))
    if name in PANELS:
        file = f"{name.removesuffix('-M')}.csv.gz"
        return read_panel(Path(os.environ[DATA_VARIABLE]) / file, wide=True, name=name)
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


def m4_hourly(folder: Path) -> Panel:
    """Read M4's hourly series, of each the rows to train on and the test: a row a series there."""
    train, test = (
        pd.read_csv(folder / f"M4-Hourly-{part}.csv.gz", index_col=0) for part in ("train", "test")
    )
    values = {name: [*train.loc[name].dropna(), *test.loc[name]] for name in train.index}
    long = pd.DataFrame(
        [(name, hour, value) for name, own in values.items() for hour, value in enumerate(own)],
        columns=["unique_id", "ds", "y"],
    )
    return Panel.from_frame(long, seasonality=24, name="M4")


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


def scale_of(data: TimeSeries | Panel, split: Split) -> tuple[Array, Array]:
    """Return mean and standard deviation of each series' training part [S]."""
    pairs = zip(data.values, data.firsts, strict=True)
    train = [own[first : split.train_stop] for own, first in pairs]
    return np.array([own.mean() for own in train]), np.array([own.std() for own in train])


def baselines(protocol: Protocol, data: TimeSeries | Panel) -> dict[str, float]:
    """Return the test error of foretune's baselines that train nothing, by name."""
    split = protocol.split(data)
    means, deviations = (each[:, None] for each in scale_of(data, split))
    future = None
    if isinstance(data, TimeSeries):
        future = future_columns(data, split.train_stop)[None]
    found = baseline_changes(
        (data.values - means) / deviations,
        [split],
        test=True,
        seasonality=protocol.season,
        future=future,
        firsts=data.firsts,
    )
    now = data.values[:, split.test_origins, None]
    return {
        name: protocol.score(data, now + deviations[:, None] * change[0])
        for name, change in found.items()
    }


def deviations(protocol: Protocol, data: TimeSeries | Panel) -> dict[str, tuple[float, float]]:
    """Return each known error and the same as computed here, by NumPy alone."""
    split = protocol.split(data)
    found = {}
    for (season, logarithms), known in protocol.known.items():
        steps = np.arange(split.horizon) % season + 1 - season
        rows = split.test_origins[:, None] + steps
        if logarithms:
            logs = np.log(data.values)
            actual, now = logs[:, _rows(split)], logs[:, split.test_origins, None]
            errors = [np.mean(np.square(x - actual)) for x in (logs[:, rows], now)]
            error = float(errors[0] / errors[1])
        else:
            error = protocol.score(data, data.values[:, rows])
        name = "naive" if season == 1 else f"seasonal naive {season}"
        name += " of logarithms" if logarithms else ""
        found[name] = known, error
    return found


def _rows(split: Split) -> NDArray[np.int64]:
    """Return the target rows of every test origin [O, H]."""
    rows: NDArray[np.int64] = split.test_origins[:, None] + np.arange(1, split.horizon + 1)
    return rows
