"""Plateau: against a plain loop, and the tutorial's rule by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foretune.models.config import TrialConfig
from foretune.models.training.plateau import Plateau


def rates_of(values: list[float], config: TrialConfig) -> list[float]:
    """The learning rate of each epoch until training stops."""
    plateau, rates = Plateau.start(config), []
    for value in values:
        rates.append(plateau.learning_rate)
        plateau = plateau.after(value, config)
        if plateau.exhausted(config):
            break
    return rates


def rates_by_loop(values: list[float], config: TrialConfig) -> list[float]:
    """The same, told by counting."""
    rate, rates = config.learning_rate, []
    best, since_best, count = math.inf, 0, 0
    for value in values:
        rates.append(rate)
        if value < best:
            best, since_best, count = value, 0, 0
            continue
        since_best += 1
        count += 1
        if count > config.decay_patience:
            count = 0
            if rate > config.min_learning_rate:
                rate = max(rate * config.decay_factor, config.min_learning_rate)
        if since_best >= config.stop_patience:
            break
    return rates


# Few distinct values: ties and long waits are what matters.
histories = st.lists(st.integers(0, 6).map(float) | st.just(math.inf), max_size=40)


@given(
    histories,
    st.floats(1e-4, 1),
    st.floats(0.1, 1),
    st.integers(0, 4),
    st.floats(0, 0.1),
    st.integers(1, 12),
)
def test_plateau_agrees_with_a_plain_loop(
    values: list[float], rate: float, factor: float, patience: int, floor: float, stop: int
) -> None:
    config = TrialConfig(
        learning_rate=rate,
        decay_factor=factor,
        decay_patience=patience,
        min_learning_rate=floor,
        stop_patience=stop,
    )
    assert rates_of(values, config) == rates_by_loop(values, config)


def test_the_tutorials_rule_by_hand() -> None:
    # Halve when more than two checks in a row were not better; then count anew.
    config = TrialConfig(learning_rate=0.8, decay_patience=2, decay_factor=0.5, stop_patience=100)
    values = [5, 6, 5, 7, 6, 6, 6, 4, 5, 5, 3, 4, 4, 4, 2]
    #         -  1  2  3  1  2  3  -  1  2  -  1  2  3  -
    rates = [0.8] * 4 + [0.4] * 3 + [0.2] * 7 + [0.1]
    assert rates_of([float(value) for value in values], config) == pytest.approx(rates)


def test_patience_zero_decays_after_every_epoch_that_is_not_better() -> None:
    config = TrialConfig(learning_rate=1.0, decay_patience=0, stop_patience=9)
    assert rates_of([3.0, 3.0, 2.0, 4.0, 4.0, 4.0], config) == [1, 1, 0.5, 0.5, 0.25, 0.125]


def test_the_floor_holds() -> None:
    config = TrialConfig(
        learning_rate=0.8, decay_patience=0, min_learning_rate=0.3, stop_patience=9
    )
    assert rates_of([1.0] * 6, config) == [0.8, 0.8, 0.4, 0.3, 0.3, 0.3]


def test_a_rate_that_starts_below_the_floor_is_not_raised() -> None:
    config = TrialConfig(
        learning_rate=0.1, decay_patience=0, min_learning_rate=0.3, stop_patience=9
    )
    assert rates_of([1.0] * 4, config) == [0.1] * 4


def test_training_stops_when_the_best_has_stood_for_long() -> None:
    config = TrialConfig(learning_rate=1.0, decay_patience=9, stop_patience=3)
    assert len(rates_of([2.0, 2.0, 3.0, 1.0, 1.0, 2.0, 1.5, 0.0, 0.0], config)) == 7


def test_nan_is_never_the_best() -> None:
    config = TrialConfig()
    plateau = Plateau.start(config).after(math.nan, config)
    assert (plateau.best_value, plateau.epochs_since_best) == (math.inf, 1)
