"""What a trial leaves: pictures that are drawn when they are looked at, and the files beside."""

import io
import struct

import numpy as np
import optuna
import pandas as pd
import pytest
from matplotlib.image import imread
from sqlalchemy import text

from foretune.datasets import PriceSeries
from foretune.models import TrialConfig
from foretune.search import SearchSpace, run_study
from foretune.search.figures.deferred import drawn, recipe
from foretune.search.figures.forecasts import ForecastWindow
from foretune.search.storage.artifacts import artifact_names, load_artifact
from foretune.search.storage.connect import open_storage
from foretune.search.storage.optuna_internals import storage_of


@pytest.fixture(scope="module")
def study(
    walk: PriceSeries, tiny_space: SearchSpace, tmp_path_factory: pytest.TempPathFactory
) -> optuna.Study:
    class PruneSecond(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return trial.number == 1

    return run_study(
        "s",
        walk,
        n_trials=2,
        space=tiny_space,
        horizon=5,
        folds=2,
        storage=f"sqlite:///{tmp_path_factory.mktemp('files') / 'studies.db'}",
        workers=1,
        pruner=PruneSecond(),
        show_progress_bar=False,
        target="mid",
    )


def test_every_trial_leaves_its_files(study: optuna.Study) -> None:
    storage = storage_of(study)
    for trial in study.trials:
        assert artifact_names(storage, trial) == [
            "config.toml",
            "errors_by_step.csv",
            "forecasts.png",
            "learning_curve.png",
            "losses_by_origin.csv",
        ]
        config = load_artifact(storage, trial, "config.toml").decode()
        assert TrialConfig.from_toml(config) == TrialConfig.from_toml(trial.user_attrs["config"])
        for name in ("forecasts.png", "learning_curve.png"):
            content = drawn(load_artifact(storage, trial, name))
            assert content.startswith(b"\x89PNG\r\n")
            assert struct.unpack(">II", content[16:24]) == (1350, 630)
            assert imread(io.BytesIO(content)).std() > 0.05  # not blank


def test_what_is_stored_is_small_and_is_drawn_on_demand(study: optuna.Study) -> None:
    engine = open_storage(str(study_url(study)))._backend.engine  # type: ignore[attr-defined]
    with engine.begin() as connection:
        rows = connection.execute(text("SELECT size, content FROM foretune_artifacts")).all()
    recipes = [content for _, content in rows if content.startswith(b"foretune figure 1\n")]
    assert len(recipes) == 6  # two for each of two trials, and two of the study
    assert max(map(len, recipes)) < 20_000


def study_url(study: optuna.Study) -> object:
    return storage_of(study)._backend.url  # type: ignore[attr-defined]


def test_attributes_are_numbers_that_sort_and_are_rounded(study: optuna.Study) -> None:
    words = {"config", "device", "worker"}
    for trial in study.trials:
        for name, value in trial.user_attrs.items():
            if name in words:
                continue
            assert isinstance(value, int | float), name
            if not name.startswith("relative_mse"):
                assert value == float(f"{value:.6g}"), name


def test_a_window_shows_the_last_forecasts_that_do_not_overlap() -> None:
    """Origins 0..40 two days apart, three days ahead: every second one, the last five."""
    time = pd.date_range("2020-01-01", periods=50)
    mid, origins = np.linspace(10, 20, 50), np.arange(0, 42, 2, dtype=np.int32)
    growth = np.repeat(origins[:, None] / 1000.0, 3, axis=1)
    window = ForecastWindow.of_last(time, mid, origins, growth, np.full(3, 0.1), overlap=2)
    assert (window.origins + 24).tolist() == [24, 28, 32, 36, 40]
    assert window.time.equals(time[24:44])
    assert window.growth[:, 0].tolist() == [0.024, 0.028, 0.032, 0.036, 0.04]
    assert window.values.tolist() == mid[24:44].tolist()
    document = window.to_json()
    assert document["dates"][:2] == ["2020-01-25", "2020-01-26"]
    again = ForecastWindow.from_json(document)
    for name in ("time", "values", "origins", "growth", "widths"):
        np.testing.assert_array_equal(getattr(again, name), getattr(window, name))


def test_other_content_is_left_alone() -> None:
    for content in (b"", b"a,b\n1,2\n", b"\x89PNG\r\n"):
        assert drawn(content) is content
    curve = {"fold": 1, "epochs": [1, 2], "values": [1.1, 0.9], "losses": [2.0, 1.0], "best": 2}
    title = "$5 trial <b>"
    assert drawn(recipe("learning curve", title=title, folds=[curve])).startswith(b"\x89PNG")
