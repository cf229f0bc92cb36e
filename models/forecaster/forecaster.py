"""Forecaster: a trained model with all that a forecast takes; trained, saved, loaded, used."""

import os
from dataclasses import dataclass, replace
from typing import Self

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.common.checks import require_whole_number
from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.common.html_table import html_table
from foretune.datasets.history import History
from foretune.datasets.prices import PriceSeries
from foretune.datasets.splits import Split, development, split_without_test
from foretune.datasets.transforms import Scaling, fit_scaling, prices_after
from foretune.models.config import TrialConfig
from foretune.models.forecaster.arrays import weights_digest
from foretune.models.forecaster.document import (
    ForecasterDocument,
    HistoryDocument,
    IntervalsDocument,
    ScalingDocument,
    TrainingDocument,
    WeightsDocument,
)
from foretune.models.forecaster.files import load_model, save_model
from foretune.models.forecasts.intervals import COVERAGE, conformal_widths, interval
from foretune.models.forecasts.metrics import validation_growth
from foretune.models.forecasts.predict import growth_ahead
from foretune.models.networks.params import Params, named_arrays, parameter_count
from foretune.models.runtime.versions import versions
from foretune.models.training.refit import OnEpoch, train_and_refit


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Forecaster:
    """A trained model, its scaling, the days it knows, and how wide its intervals are.

    Made by :meth:`train`, :meth:`load` and :meth:`with_prices`. Nothing in it changes.

    Args:
        config: what was trained.
        params: the weights.
        scaling: fitted to the days that trained.
        history: the known days; a forecast begins after the last one.
        training: which days it was trained on, for how many epochs, and the validation result.
        widths: half-widths of the intervals in log growth, one a step [H].
        coverage: share of outcomes that the intervals were made to cover, step by step.
        versions: of what trained.

    Example:
        >>> forecaster = Forecaster.train(TrialConfig.load("best.toml"), read_prices("acme.csv"))
        >>> forecaster.forecast().tail(1)
                 date  forecast  lower  upper
        49 2024-03-08      51.3   44.8   58.7
        >>> forecaster.save("model")
        >>> Forecaster.load("model").with_prices(read_prices("acme-new.csv")).forecast(steps=5)
    """

    config: TrialConfig
    params: Params
    scaling: Scaling
    history: History
    training: TrainingDocument
    widths: NDArray[np.float64]
    coverage: float
    versions: dict[str, str]

    def __post_init__(self) -> None:
        for array in (self.widths, *jax.tree.leaves(self.params)):
            array.setflags(write=False)

    @classmethod
    def train(
        cls,
        config: TrialConfig,
        prices: PriceSeries,
        *,
        horizon: int | None = None,
        days: int | None = None,
        split: Split | None = None,
        refit: bool = True,
        coverage: float = COVERAGE,
        on_epoch: OnEpoch | None = None,
    ) -> Self:
        """Train ``config`` twice: validation chooses the epoch, then its days are trained on too.

        Which days are trained on:

        - By default: all. This is for someone who wants to forecast tomorrow. The first
          three quarters train while the last quarter, after a gap of ``horizon`` days, chooses the
          epoch; then all train, for as many epochs and at the same learning rates.
        - ``days=n``: the same with the first n days. Later ones are used for neither; they are
          only known, so that a forecast begins after the last of them.
        - ``split=``: its training part, then with its gap and its validation part. Its test days
          are not used: so a study's test stays what it was. ``foretune fit best.toml``
          does this.

        The intervals are as wide as the errors on validation of the model that had not seen it
        (:func:`conformal_widths`). The refitted one has seen every day there is to measure it on;
        the widths are those of its predecessor.

        Args:
            config: what to train.
            prices: daily prices.
            horizon: days ahead, H; None for the split's, or 50.
            days: days from the first on that may train and decide; None for all.
            split: where training and validation lie, in place of ``days``.
            refit: False keeps the weights of the first training at the chosen epoch: those of
                ``best_epoch(fit(config, data))``, bit for bit.
            coverage: share of outcomes that the intervals should cover.
            on_epoch: called with the stage, "choice" or "refit", and the result of every epoch.

        Raises:
            ConfigError: a parameter out of range, or two that contradict one another.
            DataError: too few prices, or some that stand still.
            NonFiniteLossError: the loss or a forecast is NaN or infinite.
        """
        if not 0 < coverage < 1:
            raise ConfigError(f"coverage must be above 0 and below 1, but is {coverage}")
        if split is None:
            horizon = 50 if horizon is None else horizon
            split = split_without_test(
                len(prices), days=days, horizon=horizon, history=config.history
            )
        elif days is not None:
            raise ConfigError(f"days must not be given beside a split, but got {days!r}")
        elif horizon not in (None, split.horizon):
            raise ConfigError(f"horizon must be the split's, {split.horizon}, but got {horizon!r}")
        data = development(prices, split)
        trained = train_and_refit(config, data, refit=refit, on_epoch=on_epoch)
        train_values, dates = prices.mid[: trained.train_stop], prices.dates
        return cls(
            config=config,
            params=jax.tree.map(np.asarray, trained.params),
            scaling=fit_scaling(config.scaling, train_values, window=config.scaling_window),
            history=History.of(prices),
            training=TrainingDocument(
                digest=prices.digest,
                days=trained.train_stop,
                first_date=dates[0].item(),
                last_date=dates[trained.train_stop - 1].item(),
                validation_first_date=dates[split.validation_start].item(),
                validation_last_date=dates[split.validation_stop - 1].item(),
                epochs=trained.epochs,
                refit=refit,
                relative_mse=trained.chosen.relative_mse,
            ),
            widths=conformal_widths(
                trained.chosen.forecasts, validation_growth(data), coverage=coverage
            ),
            coverage=coverage,
            versions=versions(),
        )

    @property
    def horizon(self) -> int:
        """Days ahead that a forecast reaches at most, H."""
        return len(self.widths)

    def forecast(self, steps: int | None = None) -> pd.DataFrame:
        """Forecast the mid prices of the days after the last known one.

        The days are those of the week on which the instrument has prices; holidays are not known.
        Each interval was made to hold its share of the outcomes at its step; a whole path stays
        inside less often. Further ahead than the horizon there is no forecast: validation
        measured nothing there.

        Args:
            steps: days ahead, 1 to H; None for H.

        Returns:
            A row a day: ``date``, and ``forecast``, ``lower`` and ``upper`` in the currency of the
            source.

        Raises:
            ConfigError: ``steps`` is out of range.
            DataError: the network's output or a price is not finite.

        Example:
            >>> forecaster.forecast(steps=5).set_index("date")["forecast"].plot()
        """
        steps = self.horizon if steps is None else steps
        require_whole_number("steps", steps)
        if steps > self.horizon:
            raise ConfigError(
                f"steps must be at most {self.horizon}, the days ahead that validation measured "
                f"this model on, but got {steps}; train with a longer horizon"
            )
        # Numbers that are too large are refused below.
        with np.errstate(over="ignore", invalid="ignore"):
            prices = self._prices_ahead()
        for name, values in prices.items():
            if not np.all(np.isfinite(values) & (values > 0)):
                raise DataError(
                    f"the {name} after {self.history.dates[-1]} must be finite prices above 0, but "
                    "is not; the scaling, the weights or the widths did not come from training"
                )
        ahead = {name: values[:steps] for name, values in prices.items()}
        return pd.DataFrame({"date": self.history.days_ahead(steps)} | ahead)

    def with_prices(self, prices: PriceSeries) -> Self:
        """Return this forecaster with newer prices; nothing is trained and no scaling is fitted.

        Args:
            prices: prices of the same instrument that reach back to the last known day at least,
                and agree with the known ones up to rounding.

        Raises:
            DataError: they do not; names the first day that differs.

        Example:
            >>> forecaster.with_prices(read_prices("acme-today.csv")).forecast()
        """
        return replace(self, history=self.history.continued(prices))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the forecaster into ``folder``, whole or not at all.

        A forecaster that was saved there is replaced once this one is complete. Other files in the
        folder stay as they are.

        Raises:
            ConfigError: the folder cannot be written, or holds something else; names it.
        """
        document = ForecasterDocument(
            horizon=self.horizon,
            config=self.config,
            scaling=ScalingDocument.of(self.scaling),
            training=self.training,
            history=HistoryDocument(
                name=self.history.name,
                digest=self.history.digest,
                days=len(self.history),
                last_date=self.history.dates[-1].item(),
            ),
            intervals=IntervalsDocument(
                coverage=self.coverage, widths=tuple(map(float, self.widths))
            ),
            weights=WeightsDocument(
                digest=weights_digest(named_arrays(self.params)),
                parameters=parameter_count(self.params),
            ),
            versions=self.versions,
        )
        save_model(folder, document, self.params, self.history)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a forecaster: on the same machine it forecasts what the saved one did, bit for bit.

        Raises:
            ConfigError: a file is missing, damaged or not what :meth:`save` writes; names it.
        """
        document, params, history = load_model(folder)
        return cls(
            config=document.config,
            params=params,
            scaling=document.scaling.fitted(),
            history=history,
            training=document.training,
            widths=np.array(document.intervals.widths),
            coverage=document.intervals.coverage,
            versions=document.versions,
        )

    def __repr__(self) -> str:
        return f"Forecaster({'; '.join(f'{name}: {text}' for name, text in self._facts())})"

    def _repr_html_(self) -> str:
        """Show a table in a notebook."""
        return html_table(self._facts(), caption="Forecaster")

    def _facts(self) -> list[tuple[str, str]]:
        """Return the rows of the table: name and text."""
        training, units = self.training, " and ".join(map(str, self.config.units))
        kind = "trained again with the validation days" if training.refit else "as validated"
        return [
            (
                "prices",
                f"{self.history.name}, {len(self.history)} days to {self.history.dates[-1]}",
            ),
            (
                "network",
                f"{self.config.cell} of {units} units, {parameter_count(self.params)} weights",
            ),
            (
                "trained",
                f"{training.epochs} epochs on {training.days} days, {training.first_date} to "
                f"{training.last_date}, {kind}",
            ),
            (
                "validation",
                f"relative MSE {training.relative_mse:.4f}, {training.validation_first_date} to "
                f"{training.validation_last_date}",
            ),
            ("forecast", f"up to {self.horizon} days ahead, {self.coverage:.0%} intervals"),
        ]

    def _prices_ahead(self) -> dict[str, NDArray[np.float64]]:
        """Forecast prices and the ends of their intervals [H], by name."""
        growth = growth_ahead(
            self.config, self.params, self.scaling, self.history, horizon=self.horizon
        )
        lower, upper = interval(growth, self.widths)
        columns = {"forecast": growth, "lower": lower, "upper": upper}
        last = np.array([len(self.history) - 1], np.int32)
        return {
            name: prices_after(values[None], last, self.history.values)[0]
            for name, values in columns.items()
        }
