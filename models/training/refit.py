"""Two trainings in a row: validation chooses the epochs, then its days are trained on as well."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.splits import DevelopmentData, Split, default_stride
from foretune.models.config import TrialConfig
from foretune.models.networks.params import Params
from foretune.models.training.loop import fit
from foretune.models.training.results import EpochResult

# "choice" is the training that validation watches, "refit" the one on its days too.
Stage = Literal["choice", "refit"]
OnEpoch = Callable[[Stage, EpochResult], object]

# Of the days that a study does not keep for its test, three quarters train as well.
_TRAIN_FRACTION = 0.75


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """The outcome of :func:`train_and_refit`.

    ``chosen`` is the epoch that validation chose. ``params`` are the final weights, ``epochs``
    epochs of training on the days before ``train_stop``.
    """

    chosen: EpochResult
    params: Params
    epochs: int
    train_stop: int


def split_without_test(
    length: int, *, days: int | None = None, horizon: int = 50, history: int = 50
) -> Split:
    """Split the first ``days`` days into train, gap and validation, and leave none for a test.

    The training part is three quarters of the days outside the gap, as in
    :func:`chronological_split`; forecast origins are a fifth of the horizon apart.

    Args:
        length: days in the series.
        days: how many of them, from the first on, may train and decide; None for all.
        horizon: days forecast from each origin, and the width of the gap.
        history: days that an unroll and its furthest label span.

    Raises:
        ConfigError: a parameter out of range.
        DataError: too few days; the message has both numbers.

    Example:
        >>> split = split_without_test(1000)
        >>> split.train_stop, split.validation_start, split.validation_stop
        (712, 762, 1000)
    """
    days = length if days is None else days
    for name, value, most in (("horizon", horizon, None), ("days", days, length)):
        _require_count(name, value, most)
    train_stop = round(max(days - horizon, 0) * _TRAIN_FRACTION)
    validation_start = train_stop + horizon
    # An unroll needs one more day for its last label, and returns need one day before it.
    if train_stop < history + 2 or days - validation_start < horizon:
        raise DataError(
            f"{days} days leave {train_stop} for the training part and "
            f"{max(days - validation_start, 0)} for the validation part, but an unroll of "
            f"{history} days needs at least {history + 2} and a forecast at least {horizon}; give "
            "a longer series or a shorter horizon or unroll"
        )
    return Split(
        length=length,
        train_stop=train_stop,
        validation_start=validation_start,
        validation_stop=days,
        test_start=days,
        horizon=horizon,
        stride=default_stride(horizon),
    )


def train_and_refit(
    config: TrialConfig,
    data: DevelopmentData,
    *,
    refit: bool = True,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train with validation deciding; then train anew on training, gap and validation days.

    The second training has no days left to decide on. It replays the first: as many epochs as
    validation chose, each with the learning rate that it had. The weights start at the same draw;
    the scaling is fitted to all days that it trains on.

    Args:
        config: what to train.
        data: training and validation days.
        refit: False ends after the first training and keeps the chosen epoch's weights.
        on_epoch: called with the stage and the result of every epoch. In the refit the validation
            values are of days that are trained on: they measure nothing.

    Raises:
        NonFiniteLossError: the loss or a forecast is NaN or infinite.
        DataError: the training part is too short for the unroll length.

    Example:
        >>> trained = train_and_refit(config, development(prices, split))
        >>> trained.epochs, trained.train_stop == split.validation_stop
        (8, True)
    """
    chosen, rates = _choose(config, data, on_epoch)
    if not refit:
        return Trained(
            chosen=chosen,
            params=chosen.params,
            epochs=chosen.epoch,
            train_stop=data.split.train_stop,
        )
    # The origins stay where they were, so that the program that was compiled serves again.
    split = replace(data.split, train_stop=data.split.validation_stop)
    result = chosen
    for result in fit(config, replace(data, split=split), learning_rates=rates):
        if on_epoch is not None:
            on_epoch("refit", result)
    return Trained(
        chosen=chosen, params=result.params, epochs=result.epoch, train_stop=split.train_stop
    )


def _choose(
    config: TrialConfig, data: DevelopmentData, on_epoch: OnEpoch | None
) -> tuple[EpochResult, list[float]]:
    """Return the epoch that validation chooses, and the learning rates up to it."""
    rates: list[float] = []
    chosen: EpochResult | None = None
    for result in fit(config, data):
        rates.append(result.learning_rate)
        if result.is_best or chosen is None:
            chosen = result
        if on_epoch is not None:
            on_epoch("choice", result)
    assert chosen is not None  # a training has an epoch at least
    return chosen, rates[: chosen.epoch]


def _require_count(name: str, value: object, most: int | None) -> None:
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} must be whole days, at least 1, but got {value!r}")
    if most is not None and int(value) > most:
        raise ConfigError(f"{name} must be at most {most}, those that there are, but got {value}")
