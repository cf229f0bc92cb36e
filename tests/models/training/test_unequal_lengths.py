"""Series of different lengths: what stands before the first row of one is read by nothing."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foretune.datasets import DataError, Panel
from foretune.datasets.splits import DevelopmentData, development_folds
from foretune.models.config import TrialConfig
from foretune.models.forecasts.metrics import require_mase_units
from foretune.models.forecasts.skip import choose_skips
from foretune.models.training.loop import fit
from foretune.search.study.baselines import assess_baselines

BEGIN = 0, 20, 61  # rows; training ends at row 139 or later


def with_other_rows_before(fold: DevelopmentData, numbers: np.random.Generator) -> DevelopmentData:
    """Put arbitrary values and covariates before the first row of each series."""
    values = fold.values.copy()
    covariates = {name: getattr(fold.covariates, name).copy() for name in ("past", "future")}
    for number, first in enumerate(fold.firsts):
        values[number, :first] = np.exp(3 * numbers.normal(size=first))
        for columns in covariates.values():
            columns[number, :first] = 10 * numbers.normal(size=columns[number, :first].shape)
    return replace(fold, values=values, covariates=replace(fold.covariates, **covariates))


@pytest.fixture(scope="module")
def folds(mixed: SimpleNamespace) -> tuple[DevelopmentData, ...]:
    whole = mixed.series
    series = tuple(
        replace(whole[first:], name=f"from {first:02d}", target=(1 + number) * whole.target[first:])
        for number, first in enumerate(BEGIN)
    )
    panel = Panel(name="unequal", series=series, source="simulated")
    return development_folds(panel, mixed.split, 2)


@pytest.fixture(scope="module")
def others(folds: tuple[DevelopmentData, ...]) -> tuple[DevelopmentData, ...]:
    numbers = np.random.default_rng(11)
    return tuple(with_other_rows_before(fold, numbers) for fold in folds)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "direct", "scaling": "differences"},
        {"head": "recursive", "scaling": "standard"},
        {"head": "recursive", "skip": "none", "scaling": "differences", "smoothing": 0.5},
    ],
    ids=str,
)
def test_of_networks(
    changes: dict[str, Any],
    mixed: SimpleNamespace,
    folds: tuple[DevelopmentData, ...],
    others: tuple[DevelopmentData, ...],
) -> None:
    known = mixed.configs[changes["head"]].model_dump()
    # Cursors jump many times.
    config = TrialConfig(**known | changes | {"steps_per_epoch": 20, "epochs": 1})
    made = []
    for each in (folds, others):
        skip = choose_skips(config, each)[0]
        results = fit(config, each[0], skip=skip)  # beside a skip, that of the skip first
        made.append([(one.train_loss, one.forecasts.tobytes()) for one in results])
    assert made[0] == made[1]


def test_of_baselines_and_units(
    folds: tuple[DevelopmentData, ...], others: tuple[DevelopmentData, ...]
) -> None:
    ours, same = (assess_baselines(each).changes for each in (folds, others))
    assert [*ours] == ["persistence", "drift", "seasonal naive 24", "ridge on lags"]
    for name, changes in ours.items():
        for fold, again in zip(changes, same[name], strict=True):
            np.testing.assert_array_equal(fold, again)
    assert require_mase_units(folds[0]) == require_mase_units(others[0])


def test_the_series_that_is_too_short_is_named(
    mixed: SimpleNamespace, folds: tuple[DevelopmentData, ...]
) -> None:
    config = mixed.configs["direct"].replace(skip="none", unroll_length=100)
    stop = folds[0].split.train_stop
    with pytest.raises(DataError, match=f"but there are {stop - 61} of from 61, the shortest ser"):
        next(fit(config, folds[0]))


def test_the_regression_leaves_a_window_of_the_shortest_series(
    mixed: SimpleNamespace, folds: tuple[DevelopmentData, ...]
) -> None:
    config, stop = mixed.configs["direct"], folds[0].split.train_stop
    most = 6
    room = stop - BEGIN[-1] - folds[0].split.horizon - (most - 1)
    chosen, fewer = (
        choose_skips(config.replace(unroll_length=length), folds) for length in (6, room)
    )
    assert chosen[0] is not None
    assert fewer[0] is not None
    assert chosen[0].history > most
    assert fewer[0].history in (2, 6)
    assert [skip and skip.history for skip in fewer] == [fewer[0].history] * 2
    assert np.isfinite(
        [*fit(config.replace(unroll_length=room, epochs=1), folds[0])][-1].forecasts
    ).all()
