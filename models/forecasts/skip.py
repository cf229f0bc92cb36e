"""The linear skip: a ridge regression that a network's output is added to.

It is fitted in closed form and stays as it is; the network starts at zero beside it. (The
autoregressive highway of Lai et al. 2018, "Modeling long- and short-term temporal patterns with
deep neural networks", with the closed form in it.)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.covariates import Covariates
from foretune.datasets.splits import DevelopmentData
from foretune.datasets.transforms import LOGARITHMS, Scaling
from foretune.models.config import COVARIATE_OPTIONS, TrialConfig
from foretune.models.forecasts.ridge import Ridge, choose_ridge, fit_ridge

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

    def each(
        self, values: Array, covariates: Covariates, log: bool
    ) -> Iterator[tuple[Array, Array | None, Array | None]]:
        """Return of each series its levels [N], past [N, P] and future covariates [N + K, C]."""
        past, ahead = self.known_up_to(covariates), self.known_ahead(covariates)
        for number, own in enumerate(np.log(values) if log else values):
            yield own, *(None if every is None else every[number] for every in (past, ahead))


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearSkip:
    """A fitted regression for each series.

    Args:
        ridges: one a series, on the series' values or their logarithms.
        log: whether it is their logarithms, which a network reads too where its scaling has them.
        groups: which covariates they read.
    """

    ridges: tuple[Ridge, ...]
    log: bool
    groups: Groups

    @property
    def history(self) -> int:
        """Rows that it needs up to an origin."""
        return max(ridge.history for ridge in self.ridges)

    def refitted(self, data: DevelopmentData, train_stop: int) -> "LinearSkip":
        """Fit the same lags and penalties to the first ``train_stop`` rows of ``data``."""
        read = self.groups.each(data.values, data.covariates, self.log)
        ridges = tuple(
            fit_ridge(
                own,
                train_stop=train_stop,
                horizon=data.split.horizon,
                lags=ridge.lags,
                penalty=ridge.penalty,
                past=p,
                future=f,
            )
            for ridge, (own, p, f) in zip(self.ridges, read, strict=True)
        )
        return LinearSkip(ridges=ridges, log=self.log, groups=self.groups)

    def scaled_paths(
        self,
        scalings: Sequence[Scaling],
        values: Array,
        covariates: Covariates,
        origins: NDArray[np.int32],
    ) -> Array:
        """Forecast after each origin [O], scaled as a network's outputs are: [S, O, H].

        Args:
            scalings: of each series.
            values: the target [S, N].
            covariates: of the same rows, and of H more where an origin is the last one.
            origins: rows [O], at least :attr:`history` - 1.

        Raises:
            DataError: future covariates end before the steps that are forecast.
        """
        paths = []
        read = self.groups.each(values, covariates, self.log)
        for ridge, scaling, own, (level, p, f) in zip(
            self.ridges, scalings, values, read, strict=True
        ):
            ahead = level[origins][:, None] + ridge.changes(level, origins, past=p, future=f)
            # Beyond what a number holds it is refused as a forecast that is not finite.
            with np.errstate(over="ignore"):
                path = np.exp(ahead) if self.log else ahead
            paths.append(scaling.scale_path(path, origins, own))
        return np.stack(paths)


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

    Lags and penalty are chosen on validation, the same in all folds. What was chosen last is
    remembered: trials of a study differ in little that it depends on.

    Raises:
        DataError: the training rows are too few for any regression.
    """
    if config.skip == "none":
        return (None,) * len(folds)
    return _choose(config.scaling in LOGARITHMS, Groups.of(config), tuple(folds))


@lru_cache(maxsize=16)
def _choose(
    log: bool, groups: Groups, folds: tuple[DevelopmentData, ...]
) -> tuple[LinearSkip, ...]:
    splits, last = [fold.split for fold in folds], folds[-1]
    of_series = [
        choose_ridge(levels, splits, past=past, future=future)
        for levels, past, future in groups.each(last.values, last.covariates, log)
    ]
    if not all(of_series):
        raise DataError(
            f"{splits[0].train_stop} training rows are too few for a ridge regression over a "
            f"horizon of {splits[0].horizon}; give skip = 'none', more rows or a shorter horizon"
        )
    made = [
        LinearSkip(ridges=ridges, log=log, groups=groups) for ridges in zip(*of_series, strict=True)
    ]
    # Each fold has covariates scaled on its own training rows.
    return tuple(
        skip if fold is last else skip.refitted(fold, fold.split.train_stop)
        for skip, fold in zip(made, folds, strict=True)
    )
