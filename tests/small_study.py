"""What the tests of a study share: one small enough to run in a second."""

from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from foretune.datasets import Panel, PriceSeries, TimeSeries, load_sample
from foretune.datasets.splits import DevelopmentData, chronological_split, development
from foretune.search import FloatRange, SearchSpace, run_study
from foretune.search.study.data import StudyData

HORIZON = 5


@pytest.fixture(scope="session")
def walk() -> PriceSeries:
    return load_sample("random_walk", length=500, seed=3)


@pytest.fixture(scope="session")
def tiny_space() -> SearchSpace:
    return SearchSpace(
        layers=1,
        units=4,
        unroll_length=8,
        batch_size=8,
        learning_rate=FloatRange(low=1e-3, high=1e-1, log=True),
        dropout=FloatRange(low=0.0, high=0.5),
        epochs=3,
        steps_per_epoch=5,
    )


@pytest.fixture(scope="session")
def tiny_data(walk: PriceSeries) -> DevelopmentData:
    return development(
        walk.series("mid"), chronological_split(len(walk), horizon=HORIZON, history=8)
    )


def data_of(series: TimeSeries | Panel, stop: int) -> StudyData:
    """Data as a study has them, whose first ``stop`` rows trials may see."""
    return StudyData(
        development=series.before(stop),
        time=series.time,
        digest=series.digest,
        whole=lambda: series,
    )


# A series with every group of covariates, and the default space for it of a small network.


def planned_table(rows: int = 400) -> pd.DataFrame:
    """Hours of what the square of a plan and the wind of the hour before make, and noise."""
    rng = np.random.default_rng(0)
    plan, wind = rng.normal(size=(2, rows))
    level = plan**2 + np.roll(wind, 1) + 0.1 * rng.normal(size=rows)
    when = pd.date_range("2024-03-01", periods=rows, freq="h", name="when")
    table = pd.DataFrame({"level": level, "wind": wind, "plan": plan}, index=when)
    return table.assign(site="north")


def planned_series(table: pd.DataFrame) -> TimeSeries:
    return TimeSeries.from_frame(
        table, target="level", past=["wind"], future=["plan"], static=["site"], name="planned"
    )


def search_planned(data: Any, **options: Any) -> optuna.Study:
    """Three trials of one shape, with whatever else the default space has."""
    space = SearchSpace(units=4, segment_length=6, batch_size=16, epochs=2, steps_per_epoch=10)
    space = space.fix(past_covariates=True, calendar_features=True)
    given = {"n_trials": 3, "space": space, "horizon": 4, "workers": 1, "show_progress_bar": False}
    given |= {"storage": optuna.storages.InMemoryStorage()}
    return run_study("planned", data, **given | options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def planned() -> TimeSeries:
    return planned_series(planned_table())


@pytest.fixture(scope="session")
def planned_study(planned: TimeSeries) -> optuna.Study:
    """It is read and not changed."""
    return search_planned(planned)
