"""Simulated losses: what is said of them is so."""

import numpy as np
import pytest

from foretune.studies.simulated_losses import astray, equally_good, garch_volatility, with_skill

DAILY = {"horizon": 1, "stride": 1, "trials": 6}


@pytest.mark.parametrize("correlation", [0.5, 0.9])
@pytest.mark.parametrize("garch", [False, True])
def test_every_trial_is_as_good_as_the_benchmark(correlation: float, garch: bool) -> None:
    losses = equally_good(
        0, origins=2000, **DAILY, correlation=correlation, garch=garch, studies=20
    )
    assert losses.shape == (20, 2000, 7)
    gains = (losses[..., -1:] - losses[..., :-1]).reshape(-1, 6)
    # Of 40,000 days: within three standard errors.
    assert (np.abs(gains.mean(axis=0)) < 3 * gains.std(axis=0) / 200).all()
    between = np.corrcoef(gains, rowvar=False)[np.triu_indices(6, 1)]
    assert between == pytest.approx(correlation, abs=0.05)
    # Without a forecast a day is missed by its return, of variance 1.02.
    assert losses[..., -1].mean() == pytest.approx(1.02, rel=0.1 if garch else 0.03)


def test_a_loss_is_the_mean_over_the_horizon_and_neighbours_share_days() -> None:
    alike = {"origins": 300, "stride": 5, "trials": 1, "correlation": 0.5, "studies": 40}
    benchmark = equally_good(1, horizon=20, **alike)[..., -1]
    # The path's variance grows by 1.02 a day: 1.02 times the mean of 1 to 20.
    assert benchmark.mean() == pytest.approx(1.02 * 10.5, rel=0.05)
    moves = benchmark - benchmark.mean(axis=1, keepdims=True)

    def correlation(lag: int) -> float:
        return float(np.mean(moves[:, lag:] * moves[:, : 300 - lag]) / np.mean(moves**2))

    assert correlation(1) > 0.4
    assert abs(correlation(4)) < 0.06  # 20 days later


def test_volatility_comes_in_spells_about_1() -> None:
    volatility = garch_volatility(np.random.default_rng(0), 2000, 400)
    assert np.mean(volatility**2) == pytest.approx(1, rel=0.1)
    moves = volatility**2 - 1
    assert np.mean(moves[1:] * moves[:-1]) / np.mean(moves**2) > 0.95


def test_skill_is_so_many_standard_errors() -> None:
    losses = equally_good(
        2, origins=30, horizon=5, stride=5, trials=3, correlation=0.5, studies=400
    )
    gained = losses - with_skill(losses, 2.0)
    assert not gained[..., 1:].any()
    of_others = (losses[..., -1:] - losses[..., :-1]).mean(axis=1)
    assert gained[..., 0] == pytest.approx(2 * np.std(of_others))


def test_one_trial_goes_wrong_at_one_origin() -> None:
    losses = equally_good(3, origins=9, horizon=2, stride=1, trials=3, correlation=0.5, studies=2)
    times = astray(losses, 3.0) / losses
    assert times[:, 4, 2] == pytest.approx(9)
    assert np.count_nonzero(times != 1) == 2  # once in each study
