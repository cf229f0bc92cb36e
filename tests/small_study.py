"""What the tests of a study share: one small enough to run in a second."""

import pytest

from foretune.datasets import PriceSeries, load_sample
from foretune.datasets.splits import DevelopmentData, chronological_split, development
from foretune.search import FloatRange, SearchSpace

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
