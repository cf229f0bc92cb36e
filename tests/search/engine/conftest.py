"""What the tests of the engine share; more of it lies in ``real_processes.py``."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from real_processes import Cluster, SureStudy

# Trials of two seconds or so on a slow core, and of a tenth of one.
LONG, SHORT = SureStudy(trials=30, epochs=60, steps=100), SureStudy(3, 4, 5)


@pytest.fixture(scope="session")
def long_study() -> SureStudy:
    """Known configs that train long enough to be killed in the middle."""
    return LONG


@pytest.fixture(scope="session")
def short_study() -> SureStudy:
    """Known configs that are trained at once."""
    return SHORT


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[Callable[[int], Cluster]]:
    """Start a Dask cluster of separate processes, which is ended at the end."""
    clusters: list[Cluster] = []

    def start(workers: int) -> Cluster:
        clusters.append(Cluster(tmp_path, workers))
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.end()
