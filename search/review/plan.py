"""What a study is about to do, in one line: also what was decided because nothing was said."""

from typing import TYPE_CHECKING

from foretune.datasets.splits import last_close
from foretune.search.space.dimensions import format_dimension
from foretune.search.study.spec import StudySpec

if TYPE_CHECKING:
    from foretune.datasets.series import TimeSeries


def plan_line(spec: StudySpec, series: "TimeSeries", *, by_default: bool = False) -> str:
    """Say how far ahead a study forecasts, how its rows are split, and what a network reads.

    Args:
        spec: the study's.
        series: its data.
        by_default: whether nobody said the horizon: then it is said why it is what it is.

    Example:
        >>> plan_line(spec, as_series("bikes"), by_default=True)
        'horizon 24 hours (a season), stride 4, gap 24; 10,498 hours train, 3,499 validate, 3,499
        test; scaling is one of standard, differences, log'
    """
    split, step = spec.split_days(len(series)), spec.prices.step
    why = f" ({_reason(series, split.horizon)})" if by_default else ""
    folds = f", {spec.split.folds} folds" if spec.split.folds > 1 else ""
    parts = (
        f"{split.train_stop:,} {step}s train",
        f"{split.validation_stop - split.validation_start:,} validate",
        f"{split.test_stop - split.test_start:,} test",
    )
    reads = format_dimension(spec.space.scaling)
    plan = (
        f"horizon {split.horizon} {step}{'s' * (split.horizon != 1)}{why}, stride {split.stride}, "
        f"gap {split.gap}{folds}; {', '.join(parts)}; scaling "
        + (reads[0] if reads[1] == "fixed" else f"is one of {reads[0]}")
    )
    return plan


def _reason(series: "TimeSeries", horizon: int) -> str:
    """Say why :func:`default_horizon` is ``horizon``."""
    if series.error_space == "log":
        return "the default for prices"
    if horizon == series.calendar.seasonality:
        return "a season"
    return "a twelfth of the rows" if horizon < 50 else "the default where no season is known"
