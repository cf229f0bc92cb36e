"""Forecaster: a trained model with all that a forecast takes; trained, saved, loaded, used."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import jax
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from foretune.datasets.common.checks import as_names, given_data, require_whole_number
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.common.html_table import html_table
from foretune.datasets.covariates import GROUPS, CovariateEncoding, Covariates
from foretune.datasets.frames import ID
from foretune.datasets.history import History, moment
from foretune.datasets.panel import Panel, like
from foretune.datasets.series import TimeSeries
from foretune.datasets.sources.load import as_data, as_newer_panel, as_newer_series
from foretune.datasets.splits import Split, default_horizon, development, split_without_test
from foretune.datasets.transforms import ErrorSpace, Scaling, fit_scaling
from foretune.models.config import MetricName, TrialConfig
from foretune.models.forecaster.arrays import weights_digest
from foretune.models.forecaster.document import (
    ForecasterDocument,
    HistoryDocument,
    IntervalsDocument,
    KindDocument,
    MemberDocument,
    PanelDocument,
    ScalingDocument,
    SeriesDocument,
    SkipDocument,
    TrainingDocument,
    WeightsDocument,
    encoding_read,
)
from foretune.models.forecaster.files import load_model, save_model
from foretune.models.forecaster.state import SeriesState
from foretune.models.forecaster.stored import Stored
from foretune.models.forecasts.intervals import (
    COVERAGE,
    Calibration,
    calibrated_widths,
    interval,
    pooled_errors,
)
from foretune.models.forecasts.metrics import METRICS, validation_growth
from foretune.models.forecasts.predict import Known, changes_ahead
from foretune.models.forecasts.skip import LinearSkip
from foretune.models.networks.params import Params, named_arrays, parameter_count
from foretune.models.runtime.versions import versions
from foretune.models.training.refit import OnEpoch, train_and_refit

# Of many series, a message names so many.
_NAMED = 3

# Windows of several series that the network reads at once.
_TOGETHER = 64


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Forecaster:
    """A trained model, its scaling, the rows it knows, and how wide its intervals are.

    Made by :meth:`train`, :meth:`load` and :meth:`with_data`. Nothing in it changes.

    Args:
        config: what was trained.
        params: the weights, of one network for all series.
        members: its series, in the order of their names.
        training: which rows it was trained on, for how many epochs, and the validation result.
        coverage: share of outcomes that the intervals were made to cover, step by step.
        versions: of what trained.
        skip: the ridge regression beside the network, where the config has one.
        encoding: how the covariates that the config reads become numbers.
        panel: what the panel of its series is called; None of a single series.

    Example:
        >>> forecaster = Forecaster.train(TrialConfig.load("best.toml"), read_prices("acme.csv"))
        >>> forecaster.forecast().tail(1)
                 date  forecast  lower  upper
        49 2024-03-08      51.3   44.8   58.7
        >>> forecaster.save("model")
        >>> Forecaster.load("model").with_prices(read_prices("acme-new.csv")).forecast(steps=5)
        >>> of_panel = Forecaster.train(config, read_panel("shops.csv"))
        >>> of_panel.forecast(steps=7, series=["shop 01", "shop 13"])    # a long table
    """

    config: TrialConfig
    params: Params
    members: tuple[SeriesState, ...]
    training: TrainingDocument
    coverage: float
    versions: dict[str, str]
    skip: LinearSkip | None = None
    encoding: CovariateEncoding = field(default_factory=CovariateEncoding)
    panel: str | None = None

    def __post_init__(self) -> None:
        ridge = None if self.skip is None else self.skip.ridge
        regression = () if ridge is None else (ridge.weights, ridge.intercept)
        for array in (*regression, *jax.tree.leaves(self.params)):
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
        well; without one the network is trained again (:func:`train_and_refit`). All series of a
        panel share one network and one regression; each has its own scaling.

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
            data: a TimeSeries, a Panel, prices, a DataFrame, a path or a sample's name.
            prices: the same, as ``data`` was first called.
            target: what to forecast of prices or of a table; None for the default.
            horizon: steps ahead, H; None for the split's, or a season, or 50.
            days: rows from the first on that may train and decide; None for all. Of a panel, rows
                of its longest series.
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
        series = as_data(given_data(data, prices), target=target)
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
        encoding, stop, time = encoding_read(config, part.encoding), trained.train_stop, series.time
        groups = [group for group in GROUPS if getattr(encoding, group)]
        errors = np.abs(trained.chosen.forecasts - validation_growth(part))
        members = []
        for one, first, space, own in zip(
            series.members, map(int, series.firsts), part.spaces, errors, strict=True
        ):
            train = one.target[: stop - first]
            member = SeriesState(
                history=History.of(one, groups),
                scaling=fit_scaling(config.scaling, train, window=config.scaling_window),
                space=space,
                widths=np.zeros(split.horizon),
                calibration=Calibration(
                    errors=own,
                    first=int(split.validation_origins[0]) - first,
                    stride=split.stride,
                    since=len(one) - 1,
                ),
            )
            members.append(member)
        made = cls(
            config=config,
            params=jax.tree.map(np.asarray, trained.params),
            members=tuple(members),
            training=TrainingDocument(
                digest=series.digest,
                days=stop,
                first_date=moment(time, 0),
                last_date=moment(time, stop - 1),
                validation_first_date=moment(time, split.validation_start),
                validation_last_date=moment(time, split.validation_stop - 1),
                epochs=trained.epochs,
                refit=stop == split.validation_stop,
                regression_days=trained.skip_stop,
                relative_mse=trained.chosen.relative_mse,
                metric=metric,
                value=None if metric == "relative_mse" else trained.chosen.value,
            ),
            coverage=coverage,
            versions=versions(),
            skip=trained.skip,
            encoding=encoding,
            panel=series.name if isinstance(series, Panel) else None,
        )
        none_yet = [np.empty((0, split.horizon))] * len(members)
        return made._with_widths(range(len(members)), none_yet)

    @property
    def names(self) -> tuple[str, ...]:
        """What its series are called."""
        return tuple(member.history.name for member in self.members)

    @property
    def history(self) -> History:
        """The known rows, of a single series."""
        return self._one.history

    @property
    def scaling(self) -> Scaling:
        """What scales its values, of a single series."""
        return self._one.scaling

    @property
    def space(self) -> ErrorSpace:
        """What errors are measured in, of a single series."""
        return self._one.space

    @property
    def widths(self) -> NDArray[np.float64]:
        """Half-widths of the intervals in :attr:`space`, one a step [H], of a single series."""
        return self._one.widths

    @property
    def calibration(self) -> Calibration | None:
        """What newer rows move the widths from, of a single series."""
        return self._one.calibration

    @property
    def horizon(self) -> int:
        """Steps ahead that a forecast reaches at most, H."""
        return len(self.members[0].widths)

    def forecast(
        self,
        steps: int | None = None,
        future: pd.DataFrame | Mapping[str, Any] | None = None,
        series: str | Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Forecast the target at the times after the last known one, of each series.

        The times continue the calendar of the series; holidays are not known. Each interval was
        made to hold its share of the outcomes at its step; a whole path stays inside less often.
        Further ahead than the horizon there is no forecast: validation measured nothing there.

        Args:
            steps: how many ahead, 1 to H; None for H.
            future: values of the future covariates that the model reads, for all of the next H
                steps, also where fewer are forecast: a column for each, by time in an index or a
                column, or one row a step without times. Not needed where the known data go on so
                far, nor for calendar features; a column that the model does not read is left out.
                Of a panel, those of the series in its column ``unique_id``, or else of all series.
            series: the name of one series of a panel, or several; None for all.

        Returns:
            A row a step: its time, in a column that is called as in the series ("date" of prices),
            and ``forecast``, ``lower`` and ``upper`` in the unit of the target. Of a panel, the
            series one after another, each named in a first column ``unique_id``.

        Raises:
            ConfigError: ``steps`` is out of range, or there is no such series.
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
        chosen = self._chosen(series)
        histories = [self.members[number].history for number in chosen]
        if future is not None:
            histories = [self._with_future(history, future) for history in histories]
        # Numbers that are too large are refused below.
        with np.errstate(over="ignore", invalid="ignore"):
            columns = self._ahead(chosen, histories)
        is_log = histories[0].error_space == "log"
        for name, values in columns.items():
            wrong = ~np.all(np.isfinite(values) & ((values > 0) | (not is_log)), axis=1)
            if wrong.any():
                kind = "prices above 0" if is_log else "numbers"
                raise DataError(
                    f"the {name} after {self._when(histories[wrong.argmax()])} must be finite "
                    f"{kind}, but is not; the scaling, the weights or the widths did not come from "
                    "training"
                )
        times = [history.ahead(steps) for history in histories]
        named: dict[str, Any] = {str(times[0].name or "time"): times[0].append(times[1:])}
        if self.panel is not None:
            names = [history.name for history in histories]
            named = {ID: np.repeat(np.array(names, object), steps)} | named
        ahead = {name: values[:, :steps].ravel() for name, values in columns.items()}
        return pd.DataFrame(named | ahead)

    def read_newer(self, data: Any, **reading: Any) -> TimeSeries | Panel:
        """Read data for :meth:`with_data`: their target and covariates are the model's.

        Args:
            data: as for :meth:`with_data`.
            **reading: how they are read, as for :func:`as_data`.
        """
        known = self.members[0].history.series
        if self.panel is None:
            return as_newer_series(data, known, **reading)
        return as_newer_panel(data, known, **reading)

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
                be there again. Future covariates may go on beyond the target. Of a panel, a Panel,
                a DataFrame with a column ``unique_id``, or one series.

        Of a panel, ``data`` are some or all of its series, found by their names; the others stay as
        they are. One of another name is a new series of the same kind: its scaling is fitted to all
        of its rows, and its intervals come from the errors of the panel's series.

        Raises:
            DataError: they do not; names the first day that differs. Or a new series is of another
                kind, or too short.

        Warns:
            DataWarning: prices were adjusted again; says by what factor. Or series are new, or have
                no newer rows; says how many.

        Example:
            >>> forecaster.with_data("acme-today.csv").forecast()
        """
        if self.panel is None:
            newer, new = {0: self.read_newer(data).members[0]}, list[TimeSeries]()
        else:
            newer, new = self._newer_of_panel(self.read_newer(data).members)
        moved, with_factor = dict[int, SeriesState](), self._ignores_factors
        for number, one in newer.items():
            state = self.members[number].continued(one, with_factor=with_factor)
            with self._errors_naming(state.history):
                state.scaling.transform(state.history.values)  # newer ones may have no logarithm
            moved[number] = state
        members = tuple(moved.get(number, member) for number, member in enumerate(self.members))
        self = replace(self, members=members)
        calibrated = {n: m.calibration for n, m in moved.items() if m.calibration is not None}
        histories = [moved[number].history for number in calibrated]
        origins = [*map(self._origins_since, histories, calibrated.values())]
        later = self._changes([*calibrated], histories, origins)
        self = self._with_widths([*calibrated], later)
        return self._with_new(new) if new else self

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
        stored = Stored(
            params=self.params, members=self.members, encoding=self.encoding, skip=self.skip
        )
        save_model(folder, self._panel_document() if self.panel else self._document(), stored)

    def _document(self) -> ForecasterDocument:
        """Return what is saved of a single series, but for its arrays."""
        history, space = self.history, self.space
        return ForecasterDocument(
            horizon=self.horizon,
            scaling=ScalingDocument.of(self.scaling),
            history=HistoryDocument.of(history),
            series=SeriesDocument(**KindDocument.kind_of(history), space_unit=space.unit),
            intervals=IntervalsDocument.of(self.coverage, self.widths, self.calibration),
            **self._shared(),
        )

    def _panel_document(self) -> PanelDocument:
        """Return what is saved of a panel, but for its arrays."""
        scales = (1.0,) * len(self.members) if self.skip is None else self.skip.scales
        members = [
            MemberDocument.of(member, scale)
            for member, scale in zip(self.members, scales, strict=True)
        ]
        calibration = self.members[0].calibration
        assert calibration is not None  # only the first version saved none, and no panels
        return PanelDocument(
            arrays="0" * 64,
            panel=self.panel or "",
            horizon=self.horizon,
            coverage=self.coverage,
            stride=calibration.stride,
            series=KindDocument(**KindDocument.kind_of(self.members[0].history)),
            members=tuple(members),
            **self._shared(),
        )

    def _shared(self) -> dict[str, Any]:
        """Return the fields that both documents have."""
        return {
            "config": self.config,
            "training": self.training,
            "encoding": None if self.encoding == CovariateEncoding() else self.encoding,
            "skip": None if self.skip is None else SkipDocument.of(self.skip),
            "weights": WeightsDocument(
                digest=weights_digest(named_arrays(self.params)),
                parameters=parameter_count(self.params),
            ),
            "versions": self.versions,
        }

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read a forecaster: on the same machine it forecasts what the saved one did, bit for bit.

        Raises:
            ConfigError: a file is missing, damaged or not what :meth:`save` writes; names it.
        """
        document, stored = load_model(folder)
        if isinstance(document, PanelDocument):
            panel, coverage = document.panel, document.coverage
        else:
            panel, coverage = None, document.intervals.coverage
        return cls(
            config=document.config,
            params=stored.params,
            members=stored.members,
            training=document.training,
            coverage=coverage,
            versions=document.versions,
            skip=stored.skip,
            encoding=stored.encoding,
            panel=panel,
        )

    def __repr__(self) -> str:
        return f"Forecaster({'; '.join(f'{name}: {text}' for name, text in self._facts())})"

    def _repr_html_(self) -> str:
        """Show a table in a notebook."""
        return html_table(self._facts(), caption="Forecaster")

    def _facts(self) -> list[tuple[str, str]]:
        """Return the rows of the table: name and text."""
        training, config = self.training, self.config
        first, rows = self.members[0].history, [len(member.history) for member in self.members]
        step = first.calendar.step_name
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
        epochs, days = f"{training.epochs} epochs", training.days
        when = f"{training.first_date} to {training.last_date}"
        if training.epochs == 0:
            epochs = "the ridge regression alone, for no epoch was better,"
            days = training.regression_days or days
            end = "" if self.panel else f" to {moment(first.time, days - 1)}"
            when = f"{training.first_date}{end or ' on'}"
        value = f"relative MSE {training.relative_mse:.4f}"
        if training.value is not None:
            value = f"{METRICS[training.metric].label} {training.value:.4g}, {value}"
        known = f"{first.name}, {rows[0]} {step}s to {first.last}"
        if self.panel is not None:
            shortest = f"{min(rows)} to " * (min(rows) < max(rows))
            known = f"{self.panel}, {len(rows)} series of {shortest}{max(rows)} {step}s"
        return [
            ("prices" if first.error_space == "log" else "series", known),
            ("network", network),
            *[("covariates", "; ".join(read))] * bool(read),
            ("trained", f"{epochs} on {days} {step}s, {when}, {kind}"),
            (
                "validation",
                f"{value}, {training.validation_first_date} to {training.validation_last_date}",
            ),
            ("forecast", f"up to {self.horizon} {step}s ahead, {self.coverage:.0%} intervals"),
        ]

    @property
    def _one(self) -> SeriesState:
        """The only series."""
        if len(self.members) > 1:
            raise ConfigError(
                f"one series must be chosen of {self.panel}, which has {len(self.members)}: "
                "members[0] is the first"
            )
        return self.members[0]

    def _when(self, history: History, row: int = -1) -> str:
        """Say when a row is; of a panel, in which series."""
        return f"{moment(history.time, row)}" + f" of {history.name}" * (self.panel is not None)

    def _chosen(self, series: str | Sequence[str] | None) -> list[int]:
        """Return the numbers of the series of these names, in the order of all."""
        if series is None:
            return list(range(len(self.members)))
        names, known = as_names(series), self.names
        absent = sorted({*names} - {*known})
        if absent or not names:
            raise ConfigError(
                f"series must be one or several of the {len(known)} that the model knows "
                f"({_some(known)}), but got {_some([*map(repr, absent)]) or 'none'}"
            )
        return [number for number, name in enumerate(known) if name in names]

    @property
    def _ignores_factors(self) -> bool:
        """Whether the changes that it forecasts are the same of prices times any factor.

        Past covariates may be prices too, or volumes, which are adjusted otherwise.
        """
        return (
            self.members[0].space.name == "log"
            and self.config.scaling in ("log_returns", "log")
            and (self.skip is None or self.skip.log)
            and not self.encoding.past
        )

    def _newer_of_panel(
        self, given: Sequence[TimeSeries]
    ) -> tuple[dict[int, TimeSeries], list[TimeSeries]]:
        """Return newer rows of known series by their numbers, and series that are new."""
        numbers = {name: number for number, name in enumerate(self.names)}
        newer = {numbers[one.name]: one for one in given if one.name in numbers}
        new = [one for one in given if one.name not in numbers]
        still = [name for name, number in numbers.items() if number not in newer]
        said = (
            (
                still if newer else [],
                f"of {len(numbers)} known series have no newer rows, and stay as they are",
            ),
            (
                [one.name for one in new],
                "series are new: each is scaled on its own rows, and forecast by what those of "
                f"{self.panel} taught",
            ),
        )
        for names, what in said:
            if names:
                warnings.warn(f"{len(names)} {what}: {_some(names)}", DataWarning, stacklevel=3)
        return newer, new

    def _with_new(self, new: Sequence[TimeSeries]) -> Self:
        """Return the same model with series that it was not trained on."""
        known, skip = self.members[0], self.skip
        assert known.calibration is not None  # of every panel
        least = max(self.config.rows_read + known.scaling.lag, skip.history if skip else 0)
        made = list[SeriesState]()
        for one in new:
            series = like(one, known.history.series, str(self.panel))
            if len(series) < least:
                raise DataError(
                    f"{one.name}, which is new, must have at least {least} rows, which the model "
                    f"reads before a forecast, but has {len(one)}; leave it out by "
                    f"leave_out={one.name!r} (--leave-out), or all like it by short='drop', "
                    f"least={least} (--short drop --least {least})"
                )
            self.encoding.encode(series)
            made.append(SeriesState.of_new(series, self.config, self.horizon, known.calibration))
        count, members = len(self.members), [*self.members, *made]
        order = sorted(range(len(members)), key=lambda number: members[number].history.name)
        if skip is not None:
            unit = 1.0 if skip.log else self.members[0].space.unit / skip.scales[0]
            scales = [*skip.scales, *(1.0 if skip.log else m.space.unit / unit for m in made)]
            skip = replace(skip, scales=tuple(scales[number] for number in order))
        ordered = replace(self, members=tuple(members[number] for number in order), skip=skip)
        numbers = [place for place, number in enumerate(order) if number >= count]
        return ordered._with_widths(numbers, [np.empty((0, self.horizon))] * len(numbers))

    def _origins_since(self, history: History, calibration: Calibration) -> Sequence[int]:
        """Return the rows after the training whose forecasts have begun to turn out."""
        origins = calibration.origins(len(history))
        if self.encoding.future:
            # The last ones may reach beyond the known future covariates.
            origins = origins[origins < len(history) + history.series.beyond - self.horizon]
        return [*map(int, origins)]

    def _with_widths(self, numbers: Sequence[int], later: Sequence[NDArray[np.float64]]) -> Self:
        """Return the same with the widths of some series, from forecasts that turned out since."""
        calibrations, levels = list[Calibration](), list[NDArray[np.float64]]()
        for member in self.members:
            if member.calibration is not None:
                calibrations.append(member.calibration)
                levels.append(member.space.levels(member.history.values))
        if not numbers:
            return self
        pooled = None
        if len(self.members) > 1:
            pooled = pooled_errors(calibrations, levels, coverage=self.coverage)
        widths = calibrated_widths(
            [calibrations[number] for number in numbers],
            [levels[number] for number in numbers],
            later,
            coverage=self.coverage,
            pooled=pooled,
        )
        members = list(self.members)
        for number, own in zip(numbers, widths, strict=True):
            members[number] = replace(members[number], widths=own)
        return replace(self, members=tuple(members))

    def _changes(
        self,
        numbers: Sequence[int],
        histories: Sequence[History],
        origins: Sequence[Sequence[int]],
        ahead: int = 0,
    ) -> list[NDArray[np.float64]]:
        """Forecast changes since rows of some series, with these histories: [O, H] each.

        Future covariates must be known for ``ahead`` rows after its last one.
        """
        if not numbers:
            return []
        # Calendar features always are.
        ahead = ahead if self.encoding.future else self.horizon
        known = [
            Known(
                values=history.values,
                scaling=self.members[number].scaling,
                space=self.members[number].space,
                origins=rows,
                covariates=self._covariates(history, ahead),
                scale=1.0 if self.skip is None else self.skip.scales[number],
                when=partial(self._when, history),
            )
            for number, history, rows in zip(numbers, histories, origins, strict=True)
        ]
        return changes_ahead(
            self.config,
            self.params,
            known,
            horizon=self.horizon,
            skip=self.skip,
            together=1 if len(self.members) == 1 else _TOGETHER,
        )

    def _covariates(self, history: History, ahead: int) -> Covariates:
        with self._errors_naming(history):
            return self.encoding.encode(history.series, ahead=ahead)

    def _with_future(self, history: History, future: pd.DataFrame | Mapping[str, Any]) -> History:
        """Append future covariates of one series, which may be among those of others."""
        if self.panel is not None and isinstance(future, pd.DataFrame):
            table = future.reset_index() if ID in future.index.names else future
            if ID in table:
                own = table[table[ID].astype(str) == history.name].drop(columns=ID)
                future = own.reset_index(drop=True)
        with self._errors_naming(history):
            return history.with_future(future)

    @contextmanager
    def _errors_naming(self, history: History) -> Iterator[None]:
        """Say of which series of a panel an error is."""
        try:
            yield
        except DataError as error:
            of = f"{history.name}: " if self.panel is not None else ""
            raise DataError(f"{of}{error}") from None

    def _ahead(
        self, numbers: Sequence[int], histories: Sequence[History]
    ) -> dict[str, NDArray[np.float64]]:
        """Forecast values after histories and the ends of their intervals [S, H], by name."""
        made = self._changes(numbers, histories, [[-1]] * len(numbers), ahead=self.horizon)
        columns: dict[str, list[NDArray[np.float64]]] = {"forecast": [], "lower": [], "upper": []}
        for number, history, changes in zip(numbers, histories, made, strict=True):
            member, last = self.members[number], np.array([len(history) - 1], np.int32)
            lower, upper = interval(changes, member.widths)
            for name, ends in zip(columns, (changes, lower, upper), strict=True):
                columns[name].append(member.space.after(ends, last, history.values)[0])
        return {name: np.stack(values) for name, values in columns.items()}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
