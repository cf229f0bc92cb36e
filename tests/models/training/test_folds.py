"""Walk-forward training: every fold has its own weights, and all decide together."""

import dataclasses
import logging
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from foretune.datasets.sources.samples import random_walk
from foretune.datasets.splits import DevelopmentData, development_folds
from foretune.models.config import TrialConfig
from foretune.models.runtime.compile import compile_count
from foretune.models.training.folds import FoldsTraining
from foretune.models.training.loop import fit
from foretune.models.training.results import EpochResult, FoldResults

FOLDS = 3
# With this seed the folds alone stop after different numbers of epochs, and no two values of a
# fold, or of their mean, are so near that another machine could rank them otherwise.
STAGGERED = {
    "epochs": 30,
    "stop_patience": 3,
    "decay_patience": 0,
    "learning_rate": 0.1,
    "seed": 7,
}


@pytest.fixture(scope="module")
def folds(small: SimpleNamespace) -> tuple[DevelopmentData, ...]:
    """Three blocks of 19 validation days, 3 origins each."""
    return development_folds(small.prices.series("mid"), small.data.split, FOLDS)


def bits(*values: Any) -> list[bytes]:
    """Every number in results or weights, bit for bit."""
    results = [
        {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, EpochResult)
        else value
        for value in values
    ]
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(results)]


def decided_by(values: list[float], config: TrialConfig) -> tuple[list[float], int]:
    """The learning rate of every epoch that is trained, and the best epoch, by a plain loop."""
    rates, rate, best, since_best, since_decay = [], config.learning_rate, 0, 0, 0
    for epoch, value in enumerate(values, 1):
        rates.append(rate)
        if epoch == 1 or value < values[best - 1]:
            best, since_best, since_decay = epoch, 0, 0
            continue
        since_best, since_decay = since_best + 1, since_decay + 1
        if since_best == config.stop_patience:
            break
        if since_decay > config.decay_patience:
            rate, since_decay = max(rate * config.decay_factor, config.min_learning_rate), 0
    return rates, best


def test_folds_share_the_epoch_of_the_lowest_mean(
    small: SimpleNamespace, folds: tuple[DevelopmentData, ...]
) -> None:
    """At a constant rate each fold is trained as if alone; the mean of their curves chooses."""
    config = small.changed(**STAGGERED | {"epochs": 8, "stop_patience": 8, "decay_patience": 8})
    alone = [list(fit(config, fold)) for fold in folds]
    curves = np.array([[result.relative_mse for result in run] for run in alone])
    best = int(np.argmin(curves.mean(axis=0)))
    assert len({*np.argmin(curves, axis=1), best}) > 2  # the folds' own are others

    together = list(FoldsTraining(config, folds))
    assert [result.epoch for result in together] == list(range(1, 9))
    assert [result.is_last for result in together] == [False] * 7 + [True]
    means = [result.relative_mse for result in together]
    assert means == pytest.approx(curves.mean(axis=0).tolist(), rel=1e-14)
    for number, run in enumerate(alone):
        ours = [result.folds[number] for result in together]
        assert [at for at, result in enumerate(ours) if result.is_best][-1] == best
        for mine, theirs in zip(ours, run, strict=True):
            assert bits(mine.params, mine.forecasts) == bits(theirs.params, theirs.forecasts)
    # Not vacuous: no two folds are alike.
    assert len({tuple(bits(fold)) for fold in together[0].folds}) == FOLDS


def test_folds_decay_and_stop_together(
    small: SimpleNamespace, folds: tuple[DevelopmentData, ...]
) -> None:
    config = small.changed(**STAGGERED)
    together = list(FoldsTraining(config, folds))
    means = [float(np.mean([fold.relative_mse for fold in result.folds])) for result in together]
    rates, best = decided_by(means, config)
    assert len(means) == len(rates) == best + config.stop_patience < config.epochs
    assert len(set(rates)) > 2
    for number, fold in enumerate(folds):
        ours = [result.folds[number] for result in together]
        assert [result.learning_rate for result in ours] == rates
        assert [result.is_last for result in ours] == [False] * (len(rates) - 1) + [True]
        assert [result.epoch for result in ours if result.is_best][-1] == best
        alone = list(fit(config, fold, learning_rates=rates))
        assert bits(*[r.forecasts for r in ours]) == bits(*[r.forecasts for r in alone])


def test_in_version_1_every_fold_was_trained_as_if_alone(
    small: SimpleNamespace, folds: tuple[DevelopmentData, ...]
) -> None:
    """One that has ended repeats its best result."""
    config = small.changed(**STAGGERED)
    alone = [list(fit(config, fold)) for fold in folds]
    lengths = [len(run) for run in alone]
    assert min(lengths) < max(lengths) < config.epochs
    assert len({tuple(result.learning_rate for result in run[:3]) for run in alone}) > 1

    together = list(FoldsTraining(config, folds, shared_epoch=False))
    assert [result.epoch for result in together] == list(range(1, max(lengths) + 1))
    assert [result.is_last for result in together] == [False] * (max(lengths) - 1) + [True]
    for number, run in enumerate(alone):
        best = min(run, key=lambda result: result.relative_mse)
        assert best is not run[-1]
        expected = run + [best] * (max(lengths) - len(run))
        assert bits(*[result.folds[number] for result in together]) == bits(*expected)


def test_one_fold_is_a_plain_training(
    small: SimpleNamespace, folds: tuple[DevelopmentData, ...]
) -> None:
    config = small.changed(**STAGGERED)
    alone, together = list(fit(config, folds[0])), list(FoldsTraining(config, folds[:1]))
    for plain, rolled in zip(alone, together, strict=True):
        for result in (rolled, FoldResults.of_one(plain)):
            assert bits(*result.folds) == bits(plain)
            assert (result.epoch, result.relative_mse, result.is_last) == (
                plain.epoch,
                plain.relative_mse,
                plain.is_last,
            )


def test_all_folds_share_one_compiled_program(
    small: SimpleNamespace, folds: tuple[DevelopmentData, ...], caplog: pytest.LogCaptureFixture
) -> None:
    # A shape that no other test uses: what is compiled here was not compiled before.
    config = small.changed(units=(2,), batch_size=6)
    before = compile_count()
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        list(FoldsTraining(config, folds))
    start = "Finished XLA compilation of "
    logged = [
        record.getMessage().removeprefix(start).split(" in ")[0]
        for record in caplog.records
        if record.getMessage().startswith(start)
    ]
    assert logged == ["jit(one_epoch)"]
    assert compile_count() - before == 1


@pytest.mark.parametrize("number", range(FOLDS))
def test_the_validation_prices_of_a_fold_do_not_reach_its_first_weights(
    number: int, small: SimpleNamespace, folds: tuple[DevelopmentData, ...]
) -> None:
    split = folds[number].split
    config = small.changed(epochs=1, steps_per_epoch=80)  # cursors jump many times

    def first_epoch(start: int, stop: int) -> FoldResults:
        """Train with other valid prices from ``start`` to ``stop - 1``."""
        mid = small.prices.mid.copy()
        mid[start:stop] = 1.5 * random_walk(len(mid), seed=77).mid[start:stop]
        prices = small.series_of_mids(mid, small.prices)
        (result,) = FoldsTraining(
            config, development_folds(prices.series("mid"), small.data.split, FOLDS)
        )
        return result

    (before,) = FoldsTraining(config, folds)
    after = first_epoch(split.validation_start, split.validation_stop)
    for fold, (ours, theirs) in enumerate(zip(before.folds, after.folds, strict=True)):
        if fold < number:  # the past does not know
            assert bits(ours) == bits(theirs)
        elif fold == number:
            assert bits(ours.params, ours.train_loss) == bits(theirs.params, theirs.train_loss)
            assert ours.relative_mse != theirs.relative_mse
        else:  # a later fold trains on these days
            assert bits(ours.params) != bits(theirs.params)
    # Nor do the days of the gap, which is validation to the fold before.
    after = first_epoch(split.train_stop, split.validation_stop)
    assert bits(before.folds[number].params) == bits(after.folds[number].params)
    # Not vacuous: the last training day does reach them.
    after = first_epoch(split.train_stop - 1, split.train_stop)
    assert bits(before.folds[number].params) != bits(after.folds[number].params)
