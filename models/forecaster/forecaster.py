"""Forecaster: a trained model with all that a forecast takes; trained, saved, loaded, used."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.calendar import zone_name
from foretune.datasets.common.checks import given_data, require_whole_number
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.common.html_table import html_table
from foretune.datasets.covariates import GROUPS, CovariateEncoding
from foretune.datasets.history import History, moment
from foretune.datasets.panel import Panel
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.load import as_newer_series, as_series
from foretune.datasets.splits import Split, default_horizon, development, split_without_test
from foretune.datasets.transforms import LOG, ErrorSpace, Scaling, StandardisedLogs, fit_scaling
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecaster.arrays import weights_digest
from foretune.models.forecaster.document import (
    ForecasterDocument,
    HistoryDocument,
    IntervalsDocument,
    ScalingDocument,
    SeriesDocument,
    SkipDocument,
    TrainingDocument,
    WeightsDocument,
    encoding_read,
)
from foretune.models.forecaster.files import load_model, save_model
from foretune.models.forecaster.stored import Stored
from foretune.models.forecasts.intervals import COVERAGE, Calibration, interval
from foretune.models.forecasts.metrics import METRICS, validation_growth
from foretune.models.forecasts.predict import changes_ahead
from foretune.models.forecasts.skip import LinearSkip
from foretune.models.networks.params import Params, named_arrays, parameter_count
from foretune.models.runtime.versions import versions
from foretune.models.training.refit import OnEpoch, train_and_refit


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Forecaster:
    """A trained model, its scaling, the rows it knows, and how wide its intervals are.

    Made by :meth:`train`, :meth:`load` and :meth:`with_prices`. Nothing in it changes.

    Args:
        config: what was trained.
        params: the weights.
        scaling: fitted to the rows that trained.
        space: what errors were measured in.
        history: the known rows; a forecast begins after the last one.
        training: which rows it was trained on, for how many epochs, and the validation result.
        widths: half-widths of the intervals in ``space``, one a step [H].
        coverage: share of outcomes that the intervals were made to cover, step by step.
        versions: of what trained.
        calibration: what newer rows move the widths from; None where they stay as they are, as
            those that the first version saved.
        skip: the ridge regression beside the network, where the config has one.
        encoding: how the covariates that the config reads become numbers.

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
    space: ErrorSpace
    history: History
    training: TrainingDocument
    widths: NDArray[np.float64]
    coverage: float
    versions: dict[str, str]
    calibration: Calibration | None = None
    skip: LinearSkip | None = None
    encoding: CovariateEncoding = field(default_factory=CovariateEncoding)

    def __post_init__(self) -> None:
        errors = () if self.calibration is None else (self.calibration.errors,)
        ridge = None if self.skip is None else self.skip.ridge
        regression = () if ridge is None else (ridge.weights, ridge.intercept)
        for array in (self.widths, *errors, *regression, *jax.tree.leaves(self.params)):
            array.setflags(write=False)

    @classmethod
    def train(
        cls,
        config: TrialConfig,
        data: Any = None,
        *,
        prices: Any = None,
        target: str | None = None,
        horizon: int | None = None,
        days: int | None = None,
        split: Split | None = None,
        metric: MetricName = "relative_mse",
        refit: bool = True,
        coverage: float = COVERAGE,
        on_epoch: OnEpoch | None = None,
        whole: Callable[[], TimeSeries | Panel] | None = None,
    ) -> Self:
        """Train ``config``: validation chooses the epoch, then its rows are used too.

        Beside a ridge regression, the regression alone is fitted again to the validation rows as
        well; without one the network is trained again (:func:`train_and_refit`).

        Which rows are trained on:

        - By default: all. This is for someone who wants to forecast tomorrow. The first
          three quarters train while the last quarter, after a gap of ``horizon`` rows, chooses the
          epoch; then all are used.
        - ``days=n``: the same with the first n rows. Later ones are used for neither; they are
          only known, so that a forecast begins after the last of them.
        - ``split=``: its training part, then with its gap and its validation part. Its test rows
          are not used: so a study's test stays what it was. ``foretune fit best.toml``
          does this.

        The intervals come from the errors on validation of the model that had not seen it, and
        from the volatility at the last known row (:func:`adaptive_widths`). The refitted one has
        seen every row there is to measure it on; how its forecasts turn out counts from
        :meth:`with_data` on.

        Args:
            config: what to train.
            data: a TimeSeries, prices, a DataFrame, a path or a sample's name.
            prices: the same, as ``data`` was first called.
            target: what to forecast of prices or of a table; None for the default.
            horizon: steps ahead, H; None for the split's, or a season, or 50.
            days: rows from the first on that may train and decide; None for all.
            split: where training and validation lie, in place of ``days``.
            metric: what validation chooses the epoch by, such as a study's.
            refit: False keeps the model of the first training at the chosen epoch: that of
                ``best_epoch(fit(config, data))``, bit for bit.
            coverage: share of outcomes that the intervals should cover.
            on_epoch: called with the stage, "choice" or "refit", and the result of every epoch.
            whole: reads all rows once training has ended, where ``data`` are only those before the
                test of ``split``: the model knows the others too, and they are scored on nothing.

        Raises:
            ConfigError: a parameter out of range, or two that contradict one another.
            DataError: too few rows, or values that stand still.
            NonFiniteLossError: the loss or a forecast is NaN or infinite.
        """
        if not 0 < coverage < 1:
            raise ConfigError(f"coverage must be above 0 and below 1, but is {coverage}")
        series = as_series(given_data(data, prices), target=target)
        if split is None:
            horizon = default_horizon(series) if horizon is None else horizon
            split = split_without_test(
                len(series), days=days, horizon=horizon, history=config.history
            )
        elif days is not None:
            raise ConfigError(f"days must not be given beside a split, but got {days!r}")
        elif horizon not in (None, split.horizon):
            raise ConfigError(f"horizon must be the split's, {split.horizon}, but got {horizon!r}")
        part = development(series, split)
        trained = train_and_refit(config, part, metric=metric, refit=refit, on_epoch=on_epoch)
        if whole is not None:
            series = whole()
        train_values, time = series.target[: trained.train_stop], series.time
        calibration = Calibration(
            errors=np.abs(trained.chosen.forecasts - validation_growth(part))[0],
            first=int(split.validation_origins[0]),
            stride=split.stride,
            since=len(series) - 1,
        )
        none_yet = np.empty((0, split.horizon))
        encoding = encoding_read(config, part.encoding)
        return cls(
            config=config,
            params=jax.tree.map(np.asarray, trained.params),
            scaling=fit_scaling(config.scaling, train_values, window=config.scaling_window),
            space=part.spaces[0],
            history=History.of(series, [group for group in GROUPS if getattr(encoding, group)]),
            training=TrainingDocument(
                digest=series.digest,
                days=trained.train_stop,
                first_date=moment(time, 0),
                last_date=moment(time, trained.train_stop - 1),
                validation_first_date=moment(time, split.validation_start),
                validation_last_date=moment(time, split.validation_stop - 1),
                epochs=trained.epochs,
                refit=trained.train_stop == split.validation_stop,
                regression_days=trained.skip_stop,
                relative_mse=trained.chosen.relative_mse,
                metric=metric,
                value=None if metric == "relative_mse" else trained.chosen.value,
            ),
            widths=calibration.widths(
                part.spaces[0].levels(series.target), none_yet, coverage=coverage
            ),
            coverage=coverage,
            versions=versions(),
            calibration=calibration,
            skip=trained.skip,
            encoding=encoding,
        )

    @property
    def horizon(self) -> int:
        """Steps ahead that a forecast reaches at most, H."""
        return len(self.widths)

    def forecast(
        self,
        steps: int | None = None,
        future: pd.DataFrame | Mapping[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Forecast the target at the times after the last known one.

        The times continue the calendar of the series; holidays are not known. Each interval was
        made to hold its share of the outcomes at its step; a whole path stays inside less often.
        Further ahead than the horizon there is no forecast: validation measured nothing there.

        Args:
            steps: how many ahead, 1 to H; None for H.
            future: values of the future covariates that the model reads, for all of the next H
                steps, also where fewer are forecast: a column for each, by time in an index or a
                column, or one row a step without times. Not needed where the known data go on so
                far, nor for calendar features; a column that the model does not read is left out.

        Returns:
            A row a step: its time, in a column that is called as in the series ("date" of prices),
            and ``forecast``, ``lower`` and ``upper`` in the unit of the target.

        Raises:
            ConfigError: ``steps`` is out of range.
            DataError: the network's output or a value is not finite; or a future covariate is not
                known for H steps: names it and the first time that is missing.

        Example:
            >>> forecaster.forecast(steps=5).set_index("date")["forecast"].plot()
            >>> forecaster.forecast(future={"holiday": ["no"] * 24, "temperature": expected})
        """
        steps = self.horizon if steps is None else steps
        require_whole_number("steps", steps)
        if steps > self.horizon:
            raise ConfigError(
                f"steps must be at most {self.horizon}, how far ahead validation measured this "
                f"model, but got {steps}; train with a longer horizon"
            )
        history = self.history if future is None else self.history.with_future(future)
        # Numbers that are too large are refused below.
        with np.errstate(over="ignore", invalid="ignore"):
            columns = self._ahead(history)
        is_log = self.space.name == "log"
        for name, values in columns.items():
            if not np.all(np.isfinite(values) & ((values > 0) | (not is_log))):
                kind = "prices above 0" if is_log else "numbers"
                raise DataError(
                    f"the {name} after {self.history.last} must be finite {kind}, but is not; the "
                    "scaling, the weights or the widths did not come from training"
                )
        ahead = {name: values[:steps] for name, values in columns.items()}
        times = self.history.ahead(steps)
        return pd.DataFrame({str(times.name or "time"): times} | ahead)

    def with_data(self, data: Any) -> Self:
        """Return this forecaster with newer rows; nothing is trained and no scaling is fitted.

        The intervals follow: the volatility is that of the newer rows, and where forecasts since
        the training have turned out by now, how often their intervals held moves the widths. Rows
        that come bit by bit and all at once give the same.

        Prices that are the known ones times one factor were adjusted again, after a dividend or a
        split: a model that reads logarithms or log returns of them alone goes on. Its known prices
        are multiplied by the factor, and forecasts are in the new prices.

        Args:
            data: rows of the same series that reach back to the last known one at least, and agree
                with the known ones up to rounding; as for :meth:`train`. The target is the model's,
                and past and future covariates are the columns of those names; static ones need not
                be there again. Future covariates may go on beyond the target.

        Raises:
            DataError: they do not; names the first day that differs.

        Warns:
            DataWarning: prices were adjusted again; says by what factor.

        Example:
            >>> forecaster.with_data("acme-today.csv").forecast()
        """
        series = as_newer_series(data, self.history.series)
        if self._ignores_factors:
            factor = self.history.adjustment(series)
            if factor != 1:
                warnings.warn(
                    f"{series.source}: prices up to {self.history.last} are those known of "
                    f"{self.history.name} times {factor:.6g}, so they were adjusted again; "
                    "forecasts are in the new prices",
                    DataWarning,
                    stacklevel=2,
                )
                self = self._adjusted(factor)
        history, calibration = self.history.continued(series), self.calibration
        if calibration is None:
            return replace(self, history=history)
        origins = calibration.origins(len(history))
        if self.encoding.future:
            # The last ones may reach beyond the known future covariates.
            known = len(history) + history.series.beyond - self.horizon
            origins = origins[origins < known]
        forecasts = self._changes(history, origins.tolist())
        levels = self.space.levels(history.values)
        widths = calibration.widths(levels, forecasts, coverage=self.coverage)
        return replace(self, history=history, widths=widths)

    def with_prices(self, prices: Any) -> Self:
        """Return this forecaster with newer prices: :meth:`with_data`, as it was first called."""
        return self.with_data(prices)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write the forecaster into ``folder``, whole or not at all.

        A forecaster that was saved there is replaced once this one is complete. Other files in the
        folder stay as they are.

        Raises:
            ConfigError: the folder cannot be written, or holds something else; names it.
        """
        history = self.history
        document = ForecasterDocument(
            horizon=self.horizon,
            config=self.config,
            scaling=ScalingDocument.of(self.scaling),
            training=self.training,
            history=HistoryDocument(
                name=history.name,
                digest=history.digest,
                days=len(history),
                last_date=moment(history.time, -1),
            ),
            series=SeriesDocument(
                target=history.target_name,
                unit=history.unit,
                space=self.space.name,
                space_unit=self.space.unit,
                time=None if history.time.name is None else str(history.time.name),
                zone=zone_name(history.time) or None,
                **asdict(history.calendar),
            ),
            encoding=None if self.encoding == CovariateEncoding() else self.encoding,
            skip=None if self.skip is None else SkipDocument.of(self.skip),
            intervals=IntervalsDocument.of(self.coverage, self.widths, self.calibration),
            weights=WeightsDocument(
                digest=weights_digest(named_arrays(self.params)),
                parameters=parameter_count(self.params),
            ),
            versions=self.versions,
        )
        stored = Stored(
            params=self.params,
            history=history,
            encoding=self.encoding,
            errors=None if self.calibration is None else self.calibration.errors,
            skip=self.skip,
        )
        save_model(folder, document, stored)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a forecaster: on the same machine it forecasts what the saved one did, bit for bit.

        Raises:
            ConfigError: a file is missing, damaged or not what :meth:`save` writes; names it.
        """
        document, stored = load_model(folder)
        return cls(
            config=document.config,
            params=stored.params,
            scaling=document.scaling.fitted(),
            space=LOG if document.series is None else document.series.error_space(),
            history=stored.history,
            training=document.training,
            widths=np.array(document.intervals.widths),
            coverage=document.intervals.coverage,
            versions=document.versions,
            calibration=document.intervals.calibration(stored.errors),
            skip=stored.skip,
            encoding=stored.encoding,
        )

    def __repr__(self) -> str:
        return f"Forecaster({'; '.join(f'{name}: {text}' for name, text in self._facts())})"

    def _repr_html_(self) -> str:
        """Show a table in a notebook."""
        return html_table(self._facts(), caption="Forecaster")

    def _facts(self) -> list[tuple[str, str]]:
        """Return the rows of the table: name and text."""
        training, config = self.training, self.config
        step = self.history.calendar.step_name
        kind = f"trained again with the validation {step}s" if training.refit else "as validated"
        network = (
            f"{config.cell} of {' and '.join(map(str, config.units))} units, "
            f"{parameter_count(self.params)} weights"
        )
        if config.head == "direct":
            network += f", direct head over {config.context} {step}s"
        if self.skip is not None:
            network += f", beside a ridge regression on {self.skip.history} lags"
            if training.regression_days is not None:
                network += f", fitted to {training.regression_days} {step}s"
        names = {
            group: [column.name for column in getattr(self.encoding, group)] for group in GROUPS
        }
        read = [f"{', '.join(names[group])} ({group})" for group in GROUPS if names[group]]
        read += [f"{', '.join(self.encoding.calendar)} (calendar)"] * bool(self.encoding.calendar)
        epochs, days, last = f"{training.epochs} epochs", training.days, str(training.last_date)
        if training.epochs == 0:
            epochs = "the ridge regression alone, for no epoch was better,"
            days = training.regression_days or days
            last = str(moment(self.history.time, days - 1))
        value = f"relative MSE {training.relative_mse:.4f}"
        if training.value is not None:
            value = f"{METRICS[training.metric].label} {training.value:.4g}, {value}"
        return [
            (
                "prices" if self.space.name == "log" else "series",
                f"{self.history.name}, {len(self.history)} {step}s to {self.history.last}",
            ),
            ("network", network),
            *[("covariates", "; ".join(read))] * bool(read),
            (
                "trained",
                f"{epochs} on {days} {step}s, {training.first_date} to {last}, {kind}",
            ),
            (
                "validation",
                f"{value}, {training.validation_first_date} to {training.validation_last_date}",
            ),
            ("forecast", f"up to {self.horizon} {step}s ahead, {self.coverage:.0%} intervals"),
        ]

    @property
    def _ignores_factors(self) -> bool:
        """Whether the changes that it forecasts are the same of prices times any factor.

        Past covariates may be prices too, or volumes, which are adjusted otherwise.
        """
        return (
            self.space.name == "log"
            and self.config.scaling in ("log_returns", "log")
            and (self.skip is None or self.skip.log)
            and not self.encoding.past
        )

    def _adjusted(self, factor: float) -> Self:
        """Return what forecasts the same changes of prices times ``factor``."""
        scaling = self.scaling
        if isinstance(scaling, StandardisedLogs):  # which are all higher by as much as their mean
            scaling = replace(scaling, mean=scaling.mean + float(np.log(factor)))
        return replace(self, history=self.history.adjusted(factor), scaling=scaling)

    def _changes(
        self, history: History, origins: Sequence[int], ahead: int = 0
    ) -> NDArray[np.float64]:
        """Forecast changes since rows of a history [O, H].

        Future covariates must be known for ``ahead`` rows after its last one.
        """
        # Calendar features always are.
        ahead = ahead if self.encoding.future else self.horizon
        return changes_ahead(
            self.config,
            self.params,
            self.scaling,
            history.values,
            horizon=self.horizon,
            space=self.space,
            origins=origins,
            covariates=self.encoding.encode(history.series, ahead=ahead),
            skip=self.skip,
            when=lambda row: moment(history.time, row),
        )

    def _ahead(self, history: History) -> dict[str, NDArray[np.float64]]:
        """Forecast values after a history and the ends of their intervals [H], by name."""
        changes = self._changes(history, [-1], ahead=self.horizon)[0]
        lower, upper = interval(changes, self.widths)
        columns = {"forecast": changes, "lower": lower, "upper": upper}
        last = np.array([len(history) - 1], np.int32)
        return {
            name: self.space.after(values, last, history.values)[0]
            for name, values in columns.items()
        }
