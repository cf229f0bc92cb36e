"""The spec that a study has, or that a new one would get: what is given against what is stored."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.study import StudyDirection

from foretune.datasets.common.errors import ConfigError, DataError
from foretune.datasets.covariates import covariate_names
from foretune.datasets.sources.load import as_data
from foretune.datasets.splits import default_horizon, parts_of
from foretune.datasets.transforms import LOGARITHMS
from foretune.models.config import COVARIATE_OPTIONS, MetricName
from foretune.models.runtime.versions import versions
from foretune.search.space.default_space import complete_space, space_for
from foretune.search.space.dimensions import ends
from foretune.search.space.space import SearchSpace
from foretune.search.study.data import StudyData, study_data
from foretune.search.study.spec import OBJECTIVE_NAME, PricesSpec, SplitSpec, StudySpec

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries

# Of many series that cannot be used, a message names so many.
_NAMED = 3

_PARTS = ("split", "train_end", "validation_end", "test_end")

# Where series are of different lengths: of the median one's rows, what validates, and what tests.
_SHARE_OF_MEDIAN = 0.2


def agreed_spec(
    study: optuna.Study | None,
    data: Any,
    split: Mapping[str, Any],
    *,
    target: str | None = None,
    space: SearchSpace | None,
    epochs: int | None,
    seed: int | None,
    metric: MetricName | None = None,
    store_data: bool | None = None,
) -> tuple[StudySpec, StudyData]:
    """Return the spec that ``study`` has, or that a new one would get; nothing is written.

    ``data`` may be None where the study exists and holds them. ``split`` holds fields of
    :class:`SplitSpec` and arguments of :func:`parts_of`. What is None is taken from the study, or
    is the default for a new one.

    Returns:
        The spec, and the data of the study.

    Raises:
        ConfigError: a value out of range, or one that contradicts the study's own; or the study
            is another program's.
        DataError: the study does not hold its data, and they are not where they were.
    """
    stored = None if study is None else StudySpec.stored(study)
    given = {key: value for key, value in split.items() if value is not None}
    parts = {key: given.pop(key) for key in _PARTS if key in given}
    if study is not None and stored is not None and (data is None or isinstance(data, StudyData)):
        known = study_data(study, data)
        other = target not in (None, stored.prices.target_key)
        prices = stored.prices.replace(target=target) if other else stored.prices
        series, time = known.development, known.time
    else:
        known = None
        series = as_data(data, target=target) if stored is None or target else stored.series(data)
        prices, time = PricesSpec.of(series), series.time
    before = stored.split.model_dump() if stored else {"horizon": default_horizon(series)}
    agreed = SplitSpec(**before | given)
    if stored is None:
        agreed = agreed.replace(shared_epoch=agreed.folds > 1)
        if not parts and agreed.rows is None and series.firsts.any():
            # Shares of the longest series may leave shorter ones nothing to train on.
            length = int(np.median([len(one) for one in series.members]))
            fifth = max(round(_SHARE_OF_MEDIAN * length), agreed.horizon)
            parts = {"split": ("rest", fifth, fifth)}
    if parts:
        _require_one_time_a_row(series, parts)
        gap = agreed.horizon if agreed.gap is None else agreed.gap
        agreed = agreed.replace(**parts_of(time, gap, **parts))
    default = stored.space if stored else default_space(series, agreed)
    space = default if space is None else complete_space(space, default)
    spec = StudySpec(
        prices=prices,
        split=agreed,
        space=space if epochs is None else space.fix(epochs=epochs),
        seed=(stored.seed if stored else 0) if seed is None else seed,
        metric=(stored.metric if stored else OBJECTIVE_NAME) if metric is None else metric,
        store_data=(stored is None or stored.store_data) if store_data is None else store_data,
        versions=versions("optuna"),
    )
    if stored is None:
        _require_training_rows(spec, series)
        _require_positive(spec, series)
        _require_groups(spec.space, series)
        _require_next_label(spec.space)
    elif study is not None:
        stored.require_same(spec, study.study_name)
        return stored, known or StudyData.of(series, stored)
    if study is not None and (
        study.get_trials(deepcopy=False) or study.directions != [StudyDirection.MINIMIZE]
    ):
        raise ConfigError(
            f"study {study.study_name!r} was not made by foretune; give another study name"
        )
    return spec, StudyData.of(series, spec)


def default_space(data: "TimeSeries | Panel", split: SplitSpec) -> SearchSpace:
    """Return what a study searches where nothing is said; see :func:`space_for`."""
    return space_for(data, split.split(len(data), history=2))


def _require_one_time_a_row(data: "TimeSeries | Panel", parts: Mapping[str, Any]) -> None:
    """Refuse times that end a part, where a row of a panel is no one time."""
    from foretune.datasets.panel import is_aligned

    given = [name for name in _PARTS if name in parts and name != "split"]
    if given and not is_aligned([one.time for one in data.members]):
        raise ConfigError(
            f"{given[0]} must not be given for {data.name}, whose series end at different times or "
            "lack rows: their rows are counted from the end; give rows as split=('rest', 48, 48) "
            "(--split rest,48,48)"
        )


def _require_training_rows(spec: StudySpec, data: "TimeSeries | Panel") -> None:
    """Refuse series that hold no window to train on where others do; count and name them."""
    space, train_stop = spec.space, spec.whole_split.train_stop
    # As in training: a direct head and a linear skip need all steps ahead of a window.
    ahead = "direct" in ends(space.head) or "linear" in ends(space.skip)
    needed = space.history + (spec.split.horizon if ahead else 2)
    rows = train_stop - data.firsts
    short = [
        (one.name, int(count))
        for one, count in zip(data.members, rows, strict=True)
        if count < needed
    ]
    if not short or len(short) == len(rows):  # then the space is too large for all
        return
    some = ", ".join(f"{name} ({max(count, 0)})" for name, count in short[:_NAMED])
    least = needed + len(data) - train_stop
    raise DataError(
        f"{len(short)} of {len(rows)} series have fewer than the {needed} training rows of a "
        f"window, {space.history} rows and what follows them: {some}"
        + ", ..."
        * (len(short) > _NAMED)
        + f"; leave them out with short='drop', least={least} (--short drop --least {least}), or "
        "give a shorter unroll_length"
    )


def _require_positive(spec: StudySpec, data: "TimeSeries | Panel") -> None:
    """Refuse scalings that take logarithms of values that have none."""
    wrong = data.values[:, : spec.whole_split.validation_stop] <= 0
    logarithms = [name for name in ends(spec.space.scaling) if name in LOGARITHMS]
    if logarithms and wrong.any():
        number, row = map(int, np.unravel_index(wrong.argmax(), wrong.shape))
        one, row = data.members[number], row - int(data.firsts[number])
        of = f" of {one.name}" if len(data.members) > 1 else ""
        raise ConfigError(
            f"scaling must not be {logarithms[0]!r} unless all values are above 0, but "
            f"{one.target_name}{of} at {one.time[row]} is {one.target[row]}; differences, "
            "standard and none take any"
        )


def _require_groups(space: SearchSpace, data: "TimeSeries | Panel") -> None:
    """Refuse a space that reads covariates which the series does not have."""
    for group, names in covariate_names(data).items():
        option = COVARIATE_OPTIONS[group]
        if True in ends(getattr(space, option)) and not names:
            what = option.replace("_", " ")
            raise ConfigError(f"{option} must be false, because {data.name} has no {what}")


def _require_next_label(space: SearchSpace) -> None:
    """Refuse labels further ahead than the next row where a network reads changes.

    The change from row 4 to row 5 is not the change that follows row 1: on AR(1) returns the
    relative MSE was 0.898 with them and 0.833 without.
    """
    changes = [name for name in ends(space.scaling) if name in ("log_returns", "differences")]
    furthest = max(ends(space.label_offset))
    if furthest > 1 and changes:
        raise ConfigError(
            f"label_offset must be 1 where scaling is {changes[0]!r}, but is {furthest}; labels "
            "further ahead are for networks that read levels"
        )
