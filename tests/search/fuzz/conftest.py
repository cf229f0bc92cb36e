"""One valid document of each kind that foretune reads, and what reads it."""

import json
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import optuna
import pytest
import tomli_w

from foretune.datasets import ConfigError, PriceSeries
from foretune.models import Forecaster, TrialConfig
from foretune.models.forecaster.document import ForecasterDocument
from foretune.models.runtime.versions import versions
from foretune.search import SearchSpace
from foretune.search.study.best_file import BestDocument
from foretune.search.study.spec import PricesSpec, SplitSpec, StudySpec

CONFIG = TrialConfig(units=(4,), unroll_length=8, batch_size=8, epochs=3, steps_per_epoch=5)


@dataclass(frozen=True)
class Kind:
    """A kind of document: a valid one, and what reads a file of it."""

    table: dict[str, Any]
    load: Callable[[Path], object]
    prefix: str = ""  # where the file's own tables stand below another one

    @property
    def text(self) -> str:
        return tomli_w.dumps(self.table)


def space_table() -> dict[str, Any]:
    table = SearchSpace(units=(4, 8)).model_dump(mode="json")
    table["units"] = {"low": 4, "high": 12, "step": 4, "log": False}
    return table


def best_table(walk: PriceSeries) -> dict[str, Any]:
    days = [day.item() for day in walk.dates[[0, 293, 299, 396, 402, 499]]]
    document = {
        "config": CONFIG.model_dump(),
        "result": {"study": "s", "trial": 0, "relative_mse": 0.9, "best_epoch": 2},
        "prices": PricesSpec.of(walk.series("mid")).model_dump(),
        "split": SplitSpec(horizon=5).model_dump(),
        "parts": {
            name: days[2 * i : 2 * i + 2] for i, name in enumerate(("train", "validation", "test"))
        },
        "seed": 11,
        "versions": versions("optuna"),
    }
    return tomllib.loads(tomli_w.dumps(document))


def forecaster_table() -> dict[str, Any]:
    first, last = date(1970, 1, 2), date(1971, 2, 25)
    document = {
        "format": 2,
        "arrays": "0" * 64,
        "horizon": 2,
        "config": CONFIG.model_dump(),
        "scaling": {"log_returns": {"mean": 0.0, "std": 0.01}},
        "training": {
            "digest": "0" * 64,
            "days": 300,
            "first_date": first,
            "last_date": last,
            "validation_first_date": first,
            "validation_last_date": last,
            "epochs": 3,
            "refit": True,
            "relative_mse": 0.9,
        },
        "history": {"name": "s", "digest": "0" * 64, "days": 300, "last_date": last},
        "series": {
            "target": "mid price",
            "space": "log",
            "space_unit": 1.0,
            "time": "date",
            "zone": "Europe/Berlin",
            "frequency": "sessions",
            "weekdays": [0, 1, 2, 3, 4],
            "step": 1,
            "seasonality": 5,
        },
        "intervals": {"coverage": 0.9, "widths": [0.1, 0.2]},
        "weights": {"digest": "0" * 64, "parameters": 64},
        "versions": versions("optuna"),
    }
    return tomllib.loads(tomli_w.dumps(document))


def load_forecaster(path: Path) -> object:
    """Load a model whose forecaster.toml is this one, and which has no arrays."""
    folder = path.parent / "model"
    folder.mkdir(exist_ok=True)
    (folder / "forecaster.toml").write_bytes(path.read_bytes())
    try:
        return Forecaster.load(folder)
    except ConfigError as error:
        if ".npz cannot be read: No such file" in str(error):  # what comes after it
            return ForecasterDocument.from_toml(path.read_text())
        raise


def read_spec(path: Path) -> object:
    """Read a spec from a study that stores what a JSON file says."""
    study = optuna.create_study(study_name=str(path))
    study.set_user_attr("foretune_spec", json.loads(path.read_text()))
    return StudySpec.stored(study)


@pytest.fixture(scope="session")
def kinds(walk: PriceSeries) -> dict[str, Kind]:
    """What foretune reads as TOML."""
    return {
        "config": Kind({"config": CONFIG.model_dump()}, TrialConfig.load, "config."),
        "space": Kind(space_table(), SearchSpace.load),
        "best": Kind(best_table(walk), BestDocument.load),
        "forecaster": Kind(forecaster_table(), load_forecaster),
    }


@pytest.fixture(scope="session")
def spec_table(walk: PriceSeries) -> dict[str, Any]:
    """What a study stores of itself."""
    spec = StudySpec(
        prices=PricesSpec.of(walk.series("mid")),
        split=SplitSpec(horizon=5),
        space=SearchSpace(),
        seed=11,
        versions=versions("optuna"),
    )
    table: dict[str, Any] = spec.model_dump(mode="json")
    return table


@pytest.fixture
def load_spec() -> Callable[[Path], object]:
    """See :func:`read_spec`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return read_spec


Refused = Callable[[Callable[[Path], object], Path], str]


@pytest.fixture
def refused(under_watch: Callable[[], AbstractContextManager[None]]) -> Refused:
    """Load a file that must be refused, soon and in one line that prints; returns the line."""

    def refused(load: Callable[[Path], object], path: Path) -> str:
        try:
            with under_watch():
                loaded = load(path)
        except ConfigError as error:
            message = str(error)
            assert message.isprintable()
            assert str(path.parent) in message
            return message
        raise AssertionError(f"not refused, but read as {loaded!r}")

    return refused
