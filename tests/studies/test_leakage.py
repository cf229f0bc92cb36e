"""The leakage study: its interval by hand, its two splits, and a small run of the command."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foretune.datasets import chronological_split, development, load_sample
from foretune.models import fit
from foretune.models.forecasts.predict import evaluate
from foretune.search import FloatRange, SearchSpace, best_config
from foretune.search.cli.main import run_command
from foretune.studies import leakage

TINY = SearchSpace(
    layers=1,
    units=3,
    unroll_length=5,
    batch_size=4,
    learning_rate=FloatRange(low=1e-3, high=1e-1, log=True),
    dropout=0.0,
    epochs=4,
    steps_per_epoch=3,
    decay_patience=4,  # no decay: the epochs of both are the same
)


def test_the_interval_by_hand() -> None:
    # Differences 0.01, 0.03, 0.02, 0.04, 0.05: mean 0.03; squares about it 0.001, so the
    # standard error is sqrt(0.001 / 4 / 5) = 0.00707107. Student's t with 4 degrees of freedom
    # is 2.776445 at 97.5 %: 0.03 -+ 0.0196324.
    leaked = [0.95, 0.90, 0.97, 0.91, 0.92]
    honest = [0.96, 0.93, 0.99, 0.95, 0.97]
    found = leakage.summarise(leaked, honest)
    assert (found.leaked, found.honest) == (leaked, honest)
    assert found.flattery == pytest.approx(0.03, rel=1e-9)
    assert found.low == pytest.approx(0.0103676, abs=1e-7)
    assert found.high == pytest.approx(0.0496324, abs=1e-7)


@given(st.lists(st.tuples(*[st.floats(0.5, 1.5)] * 2), min_size=2, max_size=9))
def test_the_interval_is_that_of_the_paired_t_test(pairs: list[tuple[float, float]]) -> None:
    leaked, honest = (list(values) for values in zip(*pairs, strict=True))
    differences = [h - f for f, h in pairs]
    found = leakage.summarise(leaked, honest)
    assert found.flattery == pytest.approx(math.fsum(differences) / len(pairs), abs=1e-12)
    assert found.low <= found.flattery + 1e-12
    assert found.high >= found.flattery - 1e-12
    if len(set(differences)) == 1:
        assert (found.low, found.high) == pytest.approx((differences[0],) * 2)
    elif np.ptp(differences) > 1e-6:
        expected = stats.ttest_rel(honest, leaked).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx(tuple(expected), rel=1e-6, abs=1e-9)


def test_the_leak_puts_the_test_days_where_validation_belongs() -> None:
    prices = load_sample("random_walk", length=600)
    split = chronological_split(len(prices), horizon=5, history=5)
    honest, leaked = development(prices.series("mid"), split), leakage.leaked_data(prices, split)
    np.testing.assert_array_equal(
        leaked.values[:, : split.train_stop], honest.values[:, : split.train_stop]
    )
    np.testing.assert_array_equal(leaked.split.validation_origins, split.test_origins)
    days = slice(leaked.split.validation_start, leaked.split.validation_stop)
    np.testing.assert_array_equal(leaked.values[0, days], prices.mid[split.test_start :])
    assert leaked.values.shape == (1, len(prices))
    assert (leaked.split.horizon, leaked.split.stride) == (split.horizon, split.stride)


def values_by_epoch(seed: int) -> tuple[list[float], list[float]]:
    """Validation and test values of the one trial, whose training days are those of both."""
    prices = load_sample("random_walk", seed=seed)
    split = chronological_split(len(prices), horizon=50, history=5)
    data = development(prices.series("mid"), split)
    config = best_config(leakage.search(data, seed, 1))
    run = list(fit(config, data))
    opened = [
        evaluate(
            config,
            result.params,
            prices.mid[None],
            train_stop=split.train_stop,
            origins=split.test_origins,
            horizon=50,
        )
        for result in run
    ]
    return [result.relative_mse for result in run], [scores.relative_mse for scores in opened]


def test_a_small_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leakage, "SPACE", TINY)
    out = tmp_path / "new" / "folder"
    arguments = ["--prices", "random_walk", "--seeds", "2", "--trials", "1", "--out", str(out)]
    run_command(leakage.leakage, "leakage", arguments)
    found = json.loads((out / "leakage.json").read_text())
    assert set(found) == {"leaked", "honest", "flattery", "low", "high"}
    assert len(found["leaked"]) == len(found["honest"]) == 2
    assert found["flattery"] == pytest.approx(
        np.mean(np.subtract(found["honest"], found["leaked"]))
    )
    assert found["low"] <= found["flattery"] <= found["high"]
    for seed in range(2):
        on_validation, on_test = values_by_epoch(seed)
        assert found["leaked"][seed] == pytest.approx(min(on_test), rel=1e-5)
        chosen = on_test[int(np.argmin(on_validation))]
        assert found["honest"][seed] == pytest.approx(chosen, rel=1e-5)
    said = capsys.readouterr().out
    for seed, (leaked, honest) in enumerate(zip(found["leaked"], found["honest"], strict=True)):
        assert f"seed {seed}: decided on test {leaked:.4f}, on validation {honest:.4f}" in said
    assert f"by {found['flattery']:.4f} (95 % interval {found['low']:.4f} to" in said
    assert [path.name for path in out.iterdir()] == ["leakage.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "1"], "Invalid value for '--seeds': 1"),
        (["--trials", "0"], "Invalid value for '--trials': 0"),
        (["--prices", "nowhere.csv"], "nowhere.csv"),
        (["--epoch", "3"], "No such option '--epoch'"),
    ],
)
def test_mistakes_end_with_two_and_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["leakage", *arguments])
    with pytest.raises(SystemExit) as ended:
        leakage.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("leakage: ")
    assert message in said.err
    assert not list(tmp_path.iterdir())
