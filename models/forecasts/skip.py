"""The linear skip: a ridge regression that a network's output is added to.

It is fitted in closed form and stays as it is; the network starts at zero beside it. (The
autoregressive highway of Lai et al. 2018, "Modeling long- and short-term temporal patterns with
deep neural networks", with the closed form in it.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.covariates import Covariates
from foretune.datasets.splits import DevelopmentData
from foretune.datasets.transforms import LOGARITHMS, Scaling
from foretune.models.config import COVARIATE_OPTIONS, TrialConfig
from foretune.models.forecasts.ridge import LAGS, Regressors, Ridge, choose_ridge, fit_ridge

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Which covariates a model reads."""

    past: bool = False
    future: bool = False
    static: bool = False
    calendar: bool = False

    @classmethod
    def of(cls, config: TrialConfig) -> "Groups":
        """Return those that ``config`` switches on."""
        return cls(
            **{group: getattr(config, option) for group, option in COVARIATE_OPTIONS.items()}
        )

    def known_ahead(self, covariates: Covariates) -> Array | None:
        """Return what is known for the steps ahead and changes [S, N + K, C], if anything."""
        parts = [covariates.future] * self.future + [covariates.calendar] * self.calendar
        columns = [part for part in parts if part.shape[-1]]
        return np.concatenate(columns, axis=-1) if columns else None

    def known_up_to(self, covariates: Covariates) -> Array | None:
        """Return what is known up to an origin alone [S, N, P], if anything."""
        return covariates.past if self.past and covariates.past.shape[-1] else None

    def read(
        self,
        values: Array,
        covariates: Covariates,
        *,
        log: bool,
        scales: Sequence[float],
        firsts: NDArray[np.int32] | None = None,
    ) -> Regressors:
        """Return what a regression reads of values [S, N] and of these groups.

        Args:
            values: the target.
            covariates: of the same rows, and of more.
            log: whether it reads logarithms.
            scales: what the levels of each series are divided by [S].
            firsts: the first row of each series.
        """
        levels = np.log(values) if log else values
        return Regressors(
            levels=levels / np.asarray(scales)[:, None],
            past=self.known_up_to(covariates),
            future=self.known_ahead(covariates),
            firsts=firsts,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearSkip:
    """A fitted regression, one for all series.

    Args:
        ridge: on the series' values or their logarithms, each divided by its scale.
        log: whether it is their logarithms, which a network reads too where its scaling has them.
        groups: which covariates it reads.
        scales: one a series, as multiples of the first one's.
    """

    ridge: Ridge
    log: bool
    groups: Groups
    scales: tuple[float, ...] = (1.0,)

    @property
    def history(self) -> int:
        """Rows that it needs up to an origin."""
        return self.ridge.history

    def refitted(self, data: DevelopmentData, train_stop: int) -> "LinearSkip":
        """Fit the same lags and penalty to the rows of ``data`` before ``train_stop``."""
        read = self.groups.read(
            data.values, data.covariates, log=self.log, scales=self.scales, firsts=data.firsts
        )
        ridge = fit_ridge(
            read,
            train_stop=train_stop,
            horizon=data.split.horizon,
            lags=self.ridge.lags,
            penalty=self.ridge.penalty,
        )
        return replace(self, ridge=ridge)

    def scaled_paths(
        self,
        scalings: Sequence[Scaling],
        values: Array,
        covariates: Covariates,
        origins: NDArray[np.int32],
    ) -> Iterator[Array]:
        """Forecast each series after each origin [O], scaled as a network's outputs are: [O, H].

        One after another: of many series they are large together.

        Args:
            scalings: of each series.
            values: the target [S, N].
            covariates: of the same rows, and of H more where an origin is the last one.
            origins: rows [O], at least :attr:`history` - 1.

        Raises:
            DataError: future covariates end before the steps that are forecast.
        """
        read = self.groups.read(values, covariates, log=self.log, scales=self.scales)
        for factor, scaling, own, (level, p, f, _) in zip(
            self.scales, scalings, values, read.each(), strict=True
        ):
            changes = self.ridge.changes(level, origins, past=p, future=f)
            ahead = (level[origins][:, None] + changes) * factor
            # Beyond what a number holds it is refused as a forecast that is not finite.
            with np.errstate(over="ignore"):
                path = np.exp(ahead) if self.log else ahead
            yield scaling.scale_path(path, origins, own)


def require_skip(config: TrialConfig, skip: LinearSkip | None) -> None:
    """Refuse a network without the regression that it was trained beside, or with one too many.

    Raises:
        ConfigError: ``skip`` is not there, and ``config`` has one; or the other way round.
    """
    if (skip is None) != (config.skip == "none"):
        raise ConfigError(
            "skip must be the regression that was trained with config where config.skip is "
            f"'linear', and left out where it is 'none', but config.skip is {config.skip!r} and "
            f"skip is {'left out' if skip is None else 'given'}"
        )


def choose_skips(
    config: TrialConfig, folds: Sequence[DevelopmentData]
) -> tuple[LinearSkip | None, ...]:
    """Fit the skip of ``config`` to each fold; None for each where it has none.

    Lags and penalty are chosen on validation, the same in all folds; where so many lags leave the
    network no window of the shortest series, from fewer. What was chosen last is remembered: trials
    of a study differ in little that it depends on.

    Raises:
        DataError: the training rows are too few for any regression.
    """
    if config.skip == "none":
        return (None,) * len(folds)
    of = config.scaling in LOGARITHMS, Groups.of(config), tuple(folds)
    skips, most = _choose(*of), _most_lags(config, folds)
    return _choose(*of, max(most, LAGS[0])) if most < skips[0].history else skips


def _most_lags(config: TrialConfig, folds: Sequence[DevelopmentData]) -> int:
    """Return how many lags leave every series a window to train on and one to forecast from.

    A network beside a regression reads no row that has fewer lags before it.
    """
    split = min((fold.split for fold in folds), key=lambda split: split.train_stop)
    first = int(folds[0].firsts.max())
    rows = (
        split.train_stop - config.context - split.horizon,
        split.validation_start - config.rows_read,
    )
    return min(rows) - first + 1


@lru_cache(maxsize=16)
def _choose(
    log: bool, groups: Groups, folds: tuple[DevelopmentData, ...], most: int = LAGS[-1]
) -> tuple[LinearSkip, ...]:
    splits, last = [fold.split for fold in folds], folds[-1]
    # Logarithms have no unit. Of one series the scale is 1.
    units = [1.0 if log else space.unit for space in last.spaces]
    scales = tuple(unit / units[0] for unit in units)
    read = groups.read(last.values, last.covariates, log=log, scales=scales, firsts=last.firsts)
    ridges = choose_ridge(read, splits, most=most)
    if not ridges:
        raise DataError(
            f"{splits[0].train_stop} training rows are too few for a ridge regression over a "
            f"horizon of {splits[0].horizon}; give skip = 'none', more rows or a shorter horizon"
        )
    made = [LinearSkip(ridge=ridge, log=log, groups=groups, scales=scales) for ridge in ridges]
    # Each fold has covariates scaled on its own training rows.
    return tuple(
        skip if fold is last else skip.refitted(fold, fold.split.train_stop)
        for skip, fold in zip(made, folds, strict=True)
    )
