"""Two trainings in a row: validation chooses the epochs, then its days are trained on as well."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from foretune.datasets.splits import DevelopmentData
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecasts.skip import LinearSkip
from foretune.models.networks.params import Params
from foretune.models.training.loop import fit
from foretune.models.training.results import EpochResult

# "choice" is the training that validation watches, "refit" the one on its days too.
Stage = Literal["choice", "refit"]
OnEpoch = Callable[[Stage, EpochResult], object]


@dataclass(frozen=True, eq=False, kw_only=True)
class Trained:
    """The outcome of :func:`train_and_refit`.

    ``chosen`` is the epoch that validation chose. ``params`` are the final weights, ``epochs``
    epochs of training on the days before ``train_stop``; ``skip`` is the regression beside the
    network, fitted to the same days, where the config has one.
    """

    chosen: EpochResult
    params: Params
    epochs: int
    train_stop: int
    skip: LinearSkip | None


def train_and_refit(
    config: TrialConfig,
    data: DevelopmentData,
    *,
    metric: MetricName = "relative_mse",
    refit: bool = True,
    on_epoch: OnEpoch | None = None,
) -> Trained:
    """Train with validation deciding; then train again on training, gap and validation days.

    The second training has no days left to decide on. It replays the first: as many epochs as
    validation chose, each with the learning rate that it had. The weights start at the same draw;
    the scaling is fitted to all days that it trains on.

    Args:
        config: what to train.
        data: training and validation days.
        metric: what validation chooses the epoch by.
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
    training, rates = fit(config, data, metric=metric), list[float]()
    for result in training:
        if result.epoch > 0:
            rates.append(result.learning_rate)
        if on_epoch is not None:
            on_epoch("choice", result)
    chosen = training.best
    assert chosen is not None  # the first epoch is the best so far
    if not refit:
        return Trained(
            chosen=chosen,
            params=chosen.params,
            epochs=chosen.epoch,
            train_stop=data.split.train_stop,
            skip=training.skip,
        )
    # The origins stay where they were, so that the program that was compiled serves again.
    split = replace(data.split, train_stop=data.split.validation_stop)
    skip = training.skip and training.skip.refitted(data, split.train_stop)
    again = replace(data, split=split)
    for result in fit(config, again, learning_rates=rates[: chosen.epoch], skip=skip):
        if on_epoch is not None:
            on_epoch("refit", result)
    return Trained(
        chosen=chosen,
        params=result.params,
        epochs=result.epoch,
        train_stop=split.train_stop,
        skip=skip,
    )
