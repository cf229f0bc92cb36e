"""Optuna's own contract tests, which it ships for others, on foretune's storage and sampler."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase
from optuna.testing.pytest_storages import StorageTestCase
from postgresql_server import PostgreSQL

from foretune.search.storage.connect import open_storage
from foretune.search.study.samplers import TrialSeededSampler


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without studies; to make its tables takes longer than most cases."""
    file = tmp_path_factory.mktemp("empty") / "studies.db"
    open_storage(f"sqlite:///{file}")
    return file


class TestSQLite(StorageTestCase):
    @pytest.fixture
    def storage(self, empty: Path, tmp_path: Path) -> BaseStorage:
        return open_storage(f"sqlite:///{shutil.copy(empty, tmp_path)}", timeout=5)


class TestPostgreSQL(StorageTestCase):
    @pytest.fixture
    def storage(self, postgresql: PostgreSQL) -> BaseStorage:
        return open_storage(postgresql.new_database(), timeout=5)


class TestSampler(BasicSamplerTestCase, RelativeSamplerTestCase):
    """Over plain TPE: with ``group=True`` Optuna's own does not pass the relative cases either."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        # As Optuna tests TPE's relative sampling: the model draws from the first trial on.
        def make(seed: int) -> BaseSampler:
            return TPESampler(seed=seed, multivariate=True, n_startup_trials=0)

        return lambda: TrialSeededSampler(0, make)
