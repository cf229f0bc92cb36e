"""Recipes of figures in a store, and the store that a dashboard shows."""

import io
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.artifacts.exceptions import ArtifactNotFound

from foretune.search.figures.deferred import DrawnArtifacts, _learning_curve, recipe
from foretune.search.figures.style import page_figure
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.artifacts import load_artifact, save_artifacts

CURVE: dict[str, Any] = {
    "fold": 1,
    "epochs": [1, 2],
    "values": [1.1, 0.9],
    "losses": [2.0, 1.0],
    "best": 2,
}


def test_a_dashboards_store_draws_what_is_stored_as_a_recipe() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(storage=storage)
    written = recipe("learning curve", title="t", folds=[CURVE])
    (figure,) = save_artifacts(storage, study, {"a.png": written})
    (table,) = save_artifacts(storage, study, {"b.csv": "1,2"})
    assert load_artifact(storage, study, "a.png") == written
    store = DrawnArtifacts(artifact_store(storage))
    assert store.open_reader(figure).read().startswith(b"\x89PNG")
    assert store.open_reader(table).read() == b"1,2"
    store.write(table, io.BytesIO(b"3"))
    assert load_artifact(storage, study, "b.csv") == b"3"
    store.remove(table)
    with pytest.raises(ArtifactNotFound):
        store.open_reader(table)


@pytest.mark.parametrize(
    ("epochs", "values", "best", "star"),
    [
        ([1, 2], [1.1, 0.9], 2, [2, 0.9]),
        # Of a network that starts as a regression.
        ([0, 1, 2], [0.4, 0.3, 0.5], 1, [1, 0.3]),
        ([0, 1, 2], [0.4, 0.6, 0.5], 0, [0, 0.4]),
    ],
)
def test_the_star_is_at_the_best_epoch(
    epochs: list[int], values: list[float], best: int, star: list[float]
) -> None:
    curve = CURVE | {"epochs": epochs, "values": values, "losses": values, "best": best}
    figure = page_figure(4.2)
    _learning_curve(figure, title="t", folds=[curve])
    (marked,) = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    assert [*marked.get_xdata(), *marked.get_ydata()] == star


def test_a_learning_curve_names_its_metric_and_draws_its_persistence() -> None:
    more: dict[str, Any]
    for more, label, persistence in (
        ({}, "relative MSE", 1.0),
        ({"label": "MAE", "persistence": 0.3}, "MAE", 0.3),
    ):
        figure = page_figure(4.2)
        _learning_curve(figure, title="t", folds=[CURVE], **more)
        left, _ = figure.axes
        assert left.get_ylabel().startswith(f"validation {label}\n")
        (dotted,) = [line for line in left.lines if line.get_linestyle() == ":"]
        assert list(np.unique(dotted.get_ydata())) == [persistence]


def test_persistence_far_above_the_values_is_not_drawn() -> None:
    figure = page_figure(4.2)
    _learning_curve(figure, title="t", folds=[CURVE], persistence=4 * max(CURVE["values"]))
    left, _ = figure.axes
    assert not [line for line in left.lines if line.get_linestyle() == ":"]
    assert left.get_ylabel() == "validation relative MSE\n(star: best epoch)"
