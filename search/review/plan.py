"""What a study is about to do, in one line: also what was decided because nothing was said."""

from typing import TYPE_CHECKING

from foretune.datasets.covariates import covariate_names
from foretune.models.config import COVARIATE_OPTIONS
from foretune.search.space.dimensions import ends, format_dimension
from foretune.search.study.spec import StudySpec

if TYPE_CHECKING:
    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries


def plan_line(spec: StudySpec, series: "TimeSeries | Panel", *, by_default: bool = False) -> str:
    """Say how far ahead a study forecasts, how its rows are split, and what a network reads.

    Args:
        spec: the study's.
        series: its data, or their rows before the test.
        by_default: whether nobody said the horizon: then it is said why it is what it is.

    Example:
        >>> plan_line(spec, as_series("bikes"), by_default=True)
        'horizon 24 hours (a season), stride 4, gap 24; 10,498 hours train, 3,499 validate, 3,499
        test; scaling is one of standard, differences, log; networks may read holiday, workingday,
        weather, temp, hum, windspeed, calendar (hour, weekday)'
    """
    split, step = spec.whole_split, spec.prices.step
    why = f" ({_reason(series, split.horizon)})" if by_default else ""
    folds = f", {spec.split.folds} folds" if spec.split.folds > 1 else ""
    parts = (
        f"{split.train_stop:,} {step}s train",
        f"{split.validation_stop - split.validation_start:,} validate",
        f"{split.test_stop - split.test_start:,} test",
    )
    scaling, kind = format_dimension(spec.space.scaling)
    several = f"{count:,} series; " if (count := len(series.members)) > 1 else ""
    return (
        f"{several}horizon {split.horizon} {step}{'s' * (split.horizon != 1)}{why}, "
        f"stride {split.stride}, "
        f"gap {split.gap}{folds}; {', '.join(parts)}; scaling "
        f"{scaling if kind == 'fixed' else f'is one of {scaling}'}{_reads(spec, series)}"
    )


def _reads(spec: StudySpec, series: "TimeSeries | Panel") -> str:
    """Say what networks may read beside the target."""
    groups = {group: [*names] for group, names in covariate_names(series).items()}
    if features := ", ".join(name.replace("_", " ") for name in groups["calendar"]):
        groups["calendar"] = [f"calendar ({features})"]
    read: list[str] = []
    left: list[str] = []
    for group, names in groups.items():
        which = read if True in ends(getattr(spec.space, COVARIATE_OPTIONS[group])) else left
        which += names
    text = f"; networks may read {', '.join(read)}" if read else ""
    # Of prices a network reads the target alone, and their calendar tells little.
    ignored = [] if series.error_space == "log" else left
    who = "they" if read else "networks"
    return text + (f"; {who} do not read {', '.join(ignored)}" if ignored else "")


def _reason(series: "TimeSeries | Panel", horizon: int) -> str:
    """Say why :func:`default_horizon` is ``horizon``."""
    if series.error_space == "log":
        return "the default for prices"
    if horizon == series.calendar.seasonality:
        return "a season"
    return "a twelfth of the rows" if horizon < 50 else "the default where no season is known"
