"""Learning against what is possible at all: simulated series whose best forecast is known.

Every value is that of the best epoch on validation days.
"""

import numpy as np
import pytest

from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.samples import ar1, ar1_best_relative_mse, noisy_sine, random_walk
from foretune.datasets.splits import DevelopmentData, chronological_split, development
from foretune.datasets.transforms import LOG
from foretune.models.config import TrialConfig
from foretune.models.forecasts.metrics import relative_mse
from foretune.models.training.loop import fit

PHI, HORIZON = 0.6, 5
SHORT = TrialConfig(
    units=(8,),
    unroll_length=10,
    batch_size=64,
    learning_rate=0.01,
    dropout=0.0,
    epochs=6,
)
SEEDS = pytest.mark.parametrize("seed", range(3))


def days_of(prices: PriceSeries, horizon: int, stride: int) -> DevelopmentData:
    split = chronological_split(len(prices), horizon=horizon, stride=stride)
    return development(prices.series("mid"), split)


def values(config: TrialConfig, data: DevelopmentData) -> list[float]:
    return [result.relative_mse for result in fit(config, data)]


@SEEDS
def test_at_least_four_fifths_of_what_autocorrelation_offers_is_learned(seed: int) -> None:
    data = days_of(ar1(20_000, seed=seed, phi=PHI), HORIZON, 1)
    value = min(values(SHORT, data))
    best = ar1_best_relative_mse(PHI, HORIZON)
    assert 1 - value >= 0.8 * (1 - best)

    # And nobody does better than who knows phi: the conditional mean of the very same days.
    origins = data.split.validation_origins
    (mid,) = data.values
    last_return = np.log(mid[origins] / mid[origins - 1])
    growth = last_return[:, None] * np.cumsum(PHI ** np.arange(1, HORIZON + 1))
    optimum = relative_mse(growth, LOG.changes(mid, origins, HORIZON))
    assert optimum == pytest.approx(best, abs=0.05)
    assert optimum - 0.01 < value < optimum + 0.03


@SEEDS
def test_nothing_is_learned_where_there_is_nothing_to_learn(seed: int) -> None:
    data = days_of(random_walk(20_000, seed=seed), HORIZON, 1)
    every_epoch = values(SHORT, data)
    assert min(every_epoch) > 0.95
    assert max(every_epoch) < 1.1


def test_a_sine_is_forecast_a_whole_period_ahead() -> None:
    data = days_of(noisy_sine(4_000), 50, 10)
    config = TrialConfig(
        units=(8,), unroll_length=50, batch_size=32, learning_rate=0.01, dropout=0.0, epochs=6
    )
    # The noise alone costs 1e-4 of a mean square of 0.0102: 0.0098 is the best that can be.
    assert 0.008 < min(values(config, data)) < 0.1
