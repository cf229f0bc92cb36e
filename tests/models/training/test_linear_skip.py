"""Networks beside a linear skip: epoch 0 is the regression, and all that follows is repeatable."""

import dataclasses
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from regressors import one

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.transforms import levels_of
from foretune.models.forecasts.ridge import choose_ridge, fit_ridge
from foretune.models.networks.params import initial_params, named_arrays, network, resize_params
from foretune.models.runtime.compile import compile_count
from foretune.models.training.epoch import train_epoch
from foretune.models.training.folds import FoldsTraining
from foretune.models.training.lanes import Lanes
from foretune.models.training.loop import TrainingRun, fit
from foretune.models.training.refit import train_and_refit
from foretune.models.training.results import EpochResult, FoldResults
from foretune.models.training.tasks import TaskState
from foretune.search.study.baselines import assess_baselines

HEADS = pytest.mark.parametrize("head", ["direct", "recursive"])


def bits(*values: Any) -> list[bytes]:
    """Every number in results or weights, bit for bit."""
    results = [
        {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, EpochResult)
        else value
        for value in values
    ]
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(results)]


def near(ours: EpochResult, expected: EpochResult) -> None:
    """To float tolerance: XLA sums batched or padded products in another order."""
    flags = ("epoch", "is_best", "is_last", "learning_rate")
    assert [getattr(ours, f) for f in flags] == [getattr(expected, f) for f in flags]
    assert ours.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
    np.testing.assert_allclose(ours.forecasts, expected.forecasts, rtol=1e-3, atol=1e-5)
    pairs = zip(jax.tree.leaves(ours.params), jax.tree.leaves(expected.params), strict=True)
    for leaf, wanted in pairs:
        assert leaf.shape == wanted.shape
        np.testing.assert_allclose(leaf, wanted, rtol=1e-3, atol=1e-5)


@HEADS
def test_epoch_0_is_the_regression(head: str, mixed: SimpleNamespace) -> None:
    """Its forecasts, by hand from the regression's changes; and its training loss."""
    config, data = mixed.configs[head], mixed.data
    split, values = data.split, data.values[0]
    first = next(fit(config, data))
    assert (first.epoch, first.is_best, first.is_last) == (0, True, False)
    assert first.learning_rate == config.learning_rate
    ahead = np.concatenate([data.covariates.future[0], data.covariates.calendar[0]], axis=1)
    known: dict[str, Any] = {"past": data.covariates.past[0], "future": ahead}
    (ridge,) = choose_ridge(one(values, **known), [split])
    train = values[: split.train_stop]
    changes = ridge.changes(values, split.validation_origins, **known)
    np.testing.assert_allclose(first.forecasts[0], changes / train.std(), rtol=1e-4, atol=1e-6)

    # A direct head is trained on all steps of a window, a recursive one on a segment's, both from
    # rows with a whole horizon of training rows after them.
    steps = split.horizon if head == "direct" else config.segment_length
    errors = []
    for origin in range(ridge.lags - 1, split.train_stop - split.horizon):
        made = ridge.changes(values, np.array([origin]), **known)[0, :steps]
        came = values[origin + 1 : origin + 1 + steps] - values[origin]
        errors.extend((made - came) / train.std())
    loss = float(np.mean(np.square(errors))) / 2
    rows = 1 if head == "direct" else config.context  # a sum over the unroll
    assert first.train_loss == pytest.approx(rows * loss, rel=1e-5)
    # Its network says nothing yet, but has weights.
    run = TrainingRun(config, data, skip=fit(config, data).skip)
    model = network(run.architecture, first.params)
    assert all(not np.asarray(weights[...]).any() for weights in model.last_weights)
    assert named_arrays(first.params)["layers.0.kernel"].all()


def test_its_value_is_that_of_the_studys_baseline(mixed: SimpleNamespace) -> None:
    """In every fold; the calendar is no covariate of the baseline."""
    config = mixed.configs["direct"].replace(calendar_features=False)
    folds = next(FoldsTraining(config, mixed.folds)).folds
    baseline = assess_baselines(mixed.folds)
    for ridge, result, fold in zip(baseline.ridges, folds, mixed.folds, strict=True):
        origins, (values,) = fold.split.validation_origins, levels_of(fold.spaces, fold.values)
        came = np.array([values[o + 1 : o + 5] - values[o] for o in origins])
        last = mixed.folds[-1].covariates
        made = ridge.changes(values, origins, past=last.past[0], future=last.future[0])
        relative = np.square(made - came).mean() / np.square(came).mean()
        assert result.relative_mse == pytest.approx(relative, rel=1e-4)
    whole = baseline.models["ridge on lags"].metrics.relative_mse
    mean = np.mean([result.relative_mse for result in folds])
    assert mean == pytest.approx(whole, rel=1e-2)  # a mean of folds beside one over all origins
    (alone,) = next(FoldsTraining(config, [mixed.data])).folds
    value = assess_baselines([mixed.data]).models["ridge on lags"].metrics.relative_mse
    assert alone.relative_mse == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(("head", "rate"), [("direct", 3.0), ("direct", 0.003), ("recursive", 3.0)])
def test_the_regression_alone_is_fitted_again(
    head: str, rate: float, mixed: SimpleNamespace
) -> None:
    """Whether or not epoch 0 is the best: the network is the one that validation chose."""
    config, data, seen = mixed.configs[head].replace(learning_rate=rate), mixed.data, []
    trained = train_and_refit(config, data, on_epoch=lambda *each: seen.append(each))
    assert (trained.chosen.epoch == 0) == (rate == 3)
    assert trained.epochs == trained.chosen.epoch
    stop = data.split.validation_stop
    assert (trained.train_stop, trained.skip_stop) == (data.split.train_stop, stop)
    assert {stage for stage, _ in seen} == {"choice"}
    kept = train_and_refit(config, data, refit=False)
    assert (kept.train_stop, kept.skip_stop) == (data.split.train_stop, data.split.train_stop)
    chosen = fit(config, data).skip
    assert chosen is not None
    assert trained.skip is not None
    ahead = np.concatenate([data.covariates.future[0], data.covariates.calendar[0]], axis=1)
    expected = fit_ridge(
        one(data.values[0], past=data.covariates.past[0], future=ahead),
        train_stop=stop,
        horizon=data.split.horizon,
        lags=chosen.ridge.lags,
        penalty=chosen.ridge.penalty,
    )
    np.testing.assert_array_equal(trained.skip.ridge.weights, expected.weights)
    assert (trained.skip.ridge.weights != chosen.ridge.weights).all()
    assert kept.skip is not None
    np.testing.assert_array_equal(kept.skip.ridge.weights, chosen.ridge.weights)
    assert bits(trained.params) == bits(trained.chosen.params) == bits(kept.params)
    assert len(set(bits(*(result.params for _, result in seen)))) > 1


@HEADS
def test_a_training_with_its_rates_given_begins_with_the_regression_it_is_given(
    head: str, mixed: SimpleNamespace
) -> None:
    config, data = mixed.configs[head].replace(epochs=2), mixed.data
    results = list(fit(config, data))
    assert [result.epoch for result in results] == [0, 1, 2]
    skip = fit(config, data).skip
    assert skip is not None
    split = dataclasses.replace(data.split, train_stop=data.split.validation_stop)
    again = list(
        fit(
            config,
            dataclasses.replace(data, split=split),
            learning_rates=[0.02, 0.01],
            skip=skip.refitted(data, split.train_stop),
        )
    )
    assert [result.epoch for result in again] == [0, 1, 2]
    assert [result.learning_rate for result in again[1:]] == [0.02, 0.01]
    assert [result.is_last for result in again] == [False, False, True]
    with pytest.raises(ConfigError, match="learning_rates must hold one rate per epoch"):
        fit(config.replace(skip="none"), data, learning_rates=[])


RESUME = """
import pickle, sys
from foretune.models.training.loop import fit
with open(sys.argv[1], "rb") as file:
    work = pickle.load(file)
made = [
    [(r.epoch, r.train_loss, r.relative_mse, r.is_best, r.forecasts.tobytes()) for r in run]
    for run in (fit(config, data, snapshot=snapshot) for config, data, snapshot in work)
]
with open(sys.argv[1], "wb") as file:
    pickle.dump(made, file)
"""


def test_resumed_here_and_in_another_process_it_is_the_same_bit_for_bit(
    mixed: SimpleNamespace, tmp_path: Path
) -> None:
    """After epoch 0 and after epoch 2, with both heads."""
    work, expected = [], []
    for config in mixed.configs.values():
        whole = list(fit(config, mixed.data))
        assert [result.epoch for result in whole] == [0, 1, 2, 3]
        assert bits(*list(fit(config, mixed.data))) == bits(*whole)
        for after in (0, 2):
            training = fit(config, mixed.data)
            begun = [next(training) for _ in range(after + 1)]
            snapshot = training.snapshot()
            rest = list(fit(config, mixed.data, snapshot=snapshot))
            assert bits(*begun, *rest) == bits(*whole)
            work.append((config, mixed.data, snapshot))
            expected.append(
                [
                    (r.epoch, r.train_loss, r.relative_mse, r.is_best, r.forecasts.tobytes())
                    for r in whole[after + 1 :]
                ]
            )
    file = tmp_path / "work.pickle"
    file.write_bytes(pickle.dumps(work))
    subprocess.run([sys.executable, "-c", RESUME, file], check=True, env=os.environ)
    assert pickle.loads(file.read_bytes()) == expected


DIFFERENT: tuple[dict[str, Any], ...] = (
    {"learning_rate": 0.02, "dropout": 0.0, "seed": 1},
    {"learning_rate": 0.05, "dropout": 0.4, "seed": 2, "units": (2,), "scaling": "log"},
    {"learning_rate": 0.01, "dropout": 0.1, "seed": 3, "epochs": 2},
)


@HEADS
def test_lanes_have_epoch_0_too_and_a_refilled_one_begins_there(
    head: str, mixed: SimpleNamespace
) -> None:
    scalings = ("last", "standard", "step") if head == "direct" else ("none",) * 3
    configs = [
        mixed.configs[head].replace(pad_units_to=4, window_scaling=scaling, **different)
        for scaling, different in zip(scalings, DIFFERENT, strict=True)
    ]
    first, second, third = (list(fit(config, mixed.data)) for config in configs)
    states = [TaskState(config=config) for config in configs]
    lanes = Lanes(states[:2], mixed.data, 2)

    def check(outcomes: list[Any], *expected: EpochResult | None) -> None:
        for outcome, alone in zip(outcomes, expected, strict=True):
            if alone is None:
                assert outcome is None
            else:
                assert isinstance(outcome, FoldResults)
                near(outcome.folds[0], alone)

    check(lanes.skip_epochs([0, 1]), first[0], second[0])
    check(lanes.epoch([0, 1]), first[1], second[1])
    before = compile_count()
    lanes.refill(1, states[2], mixed.data)
    check(lanes.skip_epochs([0, 1]), None, third[0])
    check(lanes.epoch([0, 1]), first[2], third[1])
    assert compile_count() == before
    # From its snapshot after epoch 0 a lane goes on as it would have.
    elsewhere = Lanes(states[:2], mixed.data, 2)
    elsewhere.skip_epochs([0, 1])
    snapshots = elsewhere.snapshots([0, 1])
    assert [snapshot.epochs for snapshot in snapshots] == [0, 0]
    rest = list(fit(configs[0], mixed.data, snapshot=snapshots[0]))
    assert bits(*rest) == bits(*first[1:])


@HEADS
def test_what_is_traced_compiles_nothing_new(head: str, mixed: SimpleNamespace) -> None:
    config = mixed.configs[head].replace(epochs=1)
    list(fit(config, mixed.data))
    before = compile_count()
    own = {"direct": "window_scaling", "recursive": "carry_state"}[head]
    for name, value in (
        (own, {"direct": "step", "recursive": False}[head]),
        ("learning_rate", 0.3),
        ("dropout", 0.0),
        ("scaling", "differences"),
        ("smoothing", 0.5),
        ("seed", 8),
        ("steps_per_epoch", 2),
    ):
        changed = list(fit(config.replace(**{name: value}), mixed.data))
        assert compile_count() == before
        if name in (own, "learning_rate", "dropout"):  # not vacuous: another training
            assert changed[1].train_loss != list(fit(config, mixed.data))[1].train_loss
    list(fit(config.replace(loss="mae"), mixed.data))
    assert compile_count() == before + 1


@HEADS
def test_a_padded_network_trains_to_the_same_numbers(head: str, mixed: SimpleNamespace) -> None:
    config = mixed.configs[head].replace(clip_norm=0.05, dropout=0.4)
    plain = list(fit(config, mixed.data))
    padded = list(fit(config.replace(pad_units_to=4), mixed.data))
    for ours, expected in zip(padded, plain, strict=True):
        near(ours, expected)
    # The padding stays at zero.
    padding = config.replace(pad_units_to=4)
    run = TrainingRun(padding, mixed.data, skip=fit(padding, mixed.data).skip)
    next_epoch = run.decide(run.skip_epoch(run.first_state().params))
    assert next_epoch.epoch == 0
    ones = jax.tree.map(np.ones_like, initial_params(run.architecture, 0))
    places = jax.tree.leaves(resize_params(ones, run.architecture, run.program.architecture))
    state, *_ = train_epoch(run.program, run.data, run.hyperparameters(), run.first_state())
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state.params)]
    assert any((np.asarray(place) == 0).any() for place in places)
    for leaf, place in zip(leaves, places, strict=True):
        assert not leaf[np.asarray(place) == 0].any()
        assert leaf[np.asarray(place) == 1].all()


@HEADS
def test_no_row_of_validation_reaches_the_weights_of_the_first_epoch(
    head: str, mixed: SimpleNamespace
) -> None:
    """But they choose lags and penalty, and so both trainings have the same regression here."""
    config, data = mixed.configs[head].replace(epochs=1, steps_per_epoch=60), mixed.data
    skip = fit(config, data).skip

    def first(start: int) -> EpochResult:
        values = data.values.copy()
        values[:, start:] = 30 + 5 * np.cos(np.arange(values.shape[1] - start))
        rain = data.covariates.past.copy()
        rain[:, start:] = 3.0
        covariates = dataclasses.replace(data.covariates, past=rain)
        other = dataclasses.replace(data, values=values, covariates=covariates)
        _, result = fit(config, other, skip=skip)
        return result

    _, before = fit(config, data, skip=skip)
    after = first(data.split.train_stop)
    assert bits(before.params, before.train_loss) == bits(after.params, after.train_loss)
    assert before.relative_mse != after.relative_mse
    assert bits(first(data.split.train_stop - 1).params) != bits(before.params)


def test_without_a_carried_state_windows_are_drawn_at_random(mixed: SimpleNamespace) -> None:
    """Every batch begins with a state of zero: the last one leaves nothing to the next."""
    config = mixed.configs["recursive"].replace(carry_state=False)
    run = TrainingRun(config, mixed.data, skip=fit(config, mixed.data).skip)
    state, hyper = run.first_state(), run.hyperparameters()._replace(steps=np.int32(2))
    ones = jax.tree.map(np.ones_like, state.recurrent_state)
    outcomes = [
        train_epoch(run.program, run.data, hyper, each)
        for each in (
            state,
            state._replace(recurrent_state=ones),
            state._replace(cursors=state.cursors + np.int32(7)),
        )
    ]
    assert len({tuple(bits(new)) for new, *_ in outcomes}) == 1
    carried = hyper._replace(carry_state=np.bool_(True))
    outcomes = [
        train_epoch(run.program, run.data, carried, each)
        for each in (state, state._replace(recurrent_state=ones))
    ]
    assert len({tuple(bits(new.params)) for new, *_ in outcomes}) == 2


def test_what_the_rows_cannot_hold_is_refused(mixed: SimpleNamespace) -> None:
    config, data = mixed.configs["recursive"], mixed.data
    first = int(data.split.validation_origins[0])
    most = first  # with the fewest lags, 2
    with pytest.raises(
        DataError,
        match=f"^warm_up must be at most {most} rows, those before the first validation origin, "
        f"but is {most + most % 2 + 2}$",
    ):
        fit(config.replace(warm_up=most + 2), data)
    with pytest.raises(
        ConfigError,
        match=r"^segment_length must be at most the horizon, 4, with a recursive head and a linear "
        r"skip, but is 5$",
    ):
        fit(config.replace(segment_length=5), data)
    fit(config.replace(segment_length=5, skip="none"), data)  # alone it may
    rows = data.split.train_stop - 1
    for context in (rows, rows + 2):
        why = rf"need \d+ training rows, but there are {rows} after the 2 lags of its ridge"
        with pytest.raises(DataError, match=why):
            fit(config.replace(unroll_length=context, warm_up=8), data)
