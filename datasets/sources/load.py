"""Data by one word or object: a sample, a file, a download, a DataFrame."""

import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from foretune.datasets.common.checks import as_names
from foretune.datasets.common.errors import ConfigError, DataError, DataWarning
from foretune.datasets.common.records import StrictModel
from foretune.datasets.prices import PriceSeries
from foretune.datasets.sources.alpha_vantage import PREFIX, download_prices
from foretune.datasets.sources.samples import SAMPLES, load_sample, load_simulated

if TYPE_CHECKING:  # pandas is half of what a command that only reads a study would wait for
    import pandas as pd

    from foretune.datasets.panel import Panel
    from foretune.datasets.series import TimeSeries


# The source of what was no file.
NOT_FROM_A_FILE = "a DataFrame"


def _one_or_several(value: Any) -> Any:
    """Return the name of one series as it is, and names of several as a tuple."""
    names = as_names(value)
    return names[0] if len(names) == 1 else names or None


Names = Annotated[tuple[str, ...], BeforeValidator(as_names)]
Series = Annotated[str | tuple[str, ...] | None, BeforeValidator(_one_or_several)]

# What says nothing of one series alone.
_OF_PANELS = ("series_column", "wide", "leave_out", "short", "least")


class Reading(StrictModel):
    """How data are read: the arguments of :func:`read_series` or :func:`read_panel`.

    A study stores them.
    """

    time: str | None = None
    target: str | None = None
    past: Names = ()
    future: Names = ()
    static: Names = ()
    freq: str | None = None
    seasonality: int | None = Field(default=None, ge=1)
    missing: Literal["raise", "drop", "ffill", "interpolate"] = "raise"
    day_first: bool | None = None
    decimal: Literal[".", ","] | None = None
    columns: dict[str, str] = Field(default_factory=dict)
    series: Series = None
    series_column: str | None = None
    wide: bool = False
    leave_out: Names = ()
    short: Literal["raise", "drop"] = "raise"
    least: int | None = Field(default=None, ge=1)

    @property
    def of_panel(self) -> bool:
        """Whether several series are to be read."""
        return self.wide or self.series_column is not None or isinstance(self.series, tuple)

    def given(self) -> dict[str, Any]:
        """Return the arguments that are not at their defaults."""
        return self.model_dump(exclude_defaults=True)


def as_series(data: Any, target: str | None = None, **reading: Any) -> "TimeSeries":
    """Return data of any kind as a series.

    Args:
        data: a TimeSeries; a PriceSeries; a DataFrame, or a pandas Series by date; the path of a
            file; or a word: a sample's name, a simulation such as ``ar1(length=4000, seed=3)``, or
            ``alphavantage:SYMBOL``.
        target: the column or the price to forecast; None to find it.
        **reading: further arguments of :func:`read_series`, such as ``missing="ffill"``.

    Raises:
        DataError: ``data`` is nothing of that kind, or cannot be read.
        ConfigError: an argument is none of its values, or says nothing of such data.

    Warns:
        DataWarning: what was left out, filled or decided; also in ``remarks``.

    Example:
        >>> as_series("sp500", "close")
        TimeSeries('sp500', 13594 rows, sessions (Monday to Friday), 1962-01-02 to 2015-12-31)
    """
    from foretune.datasets.panel import Panel

    how = Reading(target=target, **reading)
    _require_one(how)
    if isinstance(data, Panel):
        names = ", ".join(data.names[:3]) + ", ..." * (len(data.names) > 3)
        raise DataError(
            f"data must be one series, but {data.name} is a panel of {len(data.names)}: {names}; "
            f"panel[{data.names[0]!r}] is one of them"
        )
    series = _series(data, how)
    known = {**series.reading, **how.given()}
    return series if known == series.reading else replace(series, reading=known)


def as_data(data: Any, target: str | None = None, **reading: Any) -> "TimeSeries | Panel":
    """Return data of any kind as a series, or several as a panel.

    Args:
        data: a Panel, or as for :func:`as_series`.
        target: the column or the price to forecast; None to find it.
        **reading: as for :func:`as_series`. Files and DataFrames are read as a panel, with the
            arguments of :func:`read_panel`, where ``series_column``, ``wide`` or several ``series``
            are given.

    Raises:
        DataError: ``data`` is nothing of that kind, or cannot be read.
        ConfigError: an argument is none of its values, or says nothing of such data.

    Warns:
        DataWarning: what was left out, filled or decided; also in ``remarks``.
    """
    from foretune.datasets.panel import Panel

    how = Reading(target=target, **reading)
    if not isinstance(data, Panel):
        return _panel(data, how) if how.of_panel else as_series(data, target, **reading)
    _require_nothing_to_read(how, data.name)
    if how.target not in (None, data.target_name):
        raise ConfigError(
            f"target of {data.name} must be {data.target_name!r}, but got {how.target!r}"
        )
    return data


def _panel(data: Any, how: Reading) -> "Panel":
    import pandas as pd

    from foretune.datasets.sources.readers import panel_of_frame, read_panel

    if isinstance(data, str | os.PathLike):
        if _by_word(os.fspath(data)) is None:
            return read_panel(data, **how.given())
    elif isinstance(data, pd.DataFrame):
        return panel_of_frame(data, **how.given())
    raise DataError(
        "a panel must be read from a DataFrame or a file, but got "
        + (str(data) if isinstance(data, str | os.PathLike) else type(data).__name__)
        + "; Panel(series=[...]) makes one of several series"
    )


def _require_one(how: Reading) -> None:
    """Refuse arguments that say how to read several series."""
    given = how.given()
    wrong = [name for name in _OF_PANELS if name in given]
    if how.of_panel:
        what = " and ".join(wrong) or f"series={list(how.series or ())!r}"
        raise ConfigError(f"{what} must not be given for one series; as_data reads several")
    if wrong:
        raise ConfigError(
            f"{' and '.join(wrong)} must not be given for one series; series_column= "
            "(--series-column) or wide=True (--wide) reads several"
        )


def _series(data: Any, how: Reading) -> "TimeSeries":
    from foretune.datasets.series import TimeSeries

    if isinstance(data, str | os.PathLike):
        found = _by_word(os.fspath(data))
        if found is None:
            from foretune.datasets.sources.readers import read_series

            return read_series(data, **how.given())
        data = found
    if isinstance(data, PriceSeries):
        _require_nothing_to_read(how, data.name)
        made = data.series(how.target, freq=how.freq, seasonality=how.seasonality)
        for remark in made.remarks[len(data.remarks) :]:
            warnings.warn(f"{data.source}: {remark}", DataWarning, stacklevel=3)
        return replace(made, reading=how.given())
    if isinstance(data, TimeSeries):
        _require_nothing_to_read(how, data.name)
        if how.target not in (None, data.target_name):
            raise ConfigError(
                f"target of {data.name} must be {data.target_name!r}, but got {how.target!r}"
            )
        return _on_calendar(data, how)
    import pandas as pd

    if isinstance(data, pd.Series) and isinstance(data.index, pd.DatetimeIndex | pd.PeriodIndex):
        data = data.to_frame("value" if data.name is None else data.name)
    if isinstance(data, pd.DataFrame):
        from foretune.datasets.sources.readers import series_of_frame

        return series_of_frame(data, **how.given())
    shape = getattr(data, "shape", None)
    of = f" of shape {shape}" if isinstance(shape, tuple) else ""
    by = f" by {data.index.dtype}" if isinstance(data, pd.Series) else ""
    raise DataError(
        "data must be a TimeSeries, a PriceSeries, a DataFrame, a pandas Series by date, a path or "
        f"a sample's name, but got {type(data).__name__}{of}{by}; "
        "pd.DataFrame({'y': values}, index=times) makes one of values and their times, and "
        "Panel(name=..., series=[...]) a panel of several series"
    )


def as_newer_series(data: Any, known: "TimeSeries", **reading: Any) -> "TimeSeries":
    """Return newer data of a known series, read with its target and its covariates.

    Args:
        data: as for :func:`as_series`. Past and future covariates of ``known`` are the columns of
            their names. Where the calendar is that of an exchange, it is theirs too.
        known: the earlier rows.
        **reading: further arguments, as for :func:`as_series`; those given here count.

    Raises:
        DataError: ``data`` cannot be read, or a column is not there.
        ConfigError: an argument is none of its values, or says nothing of such data.

    Warns:
        DataWarning: what was left out, filled or decided.
    """
    from foretune.datasets.series import TimeSeries

    if isinstance(data, str | os.PathLike):
        found = _by_word(os.fspath(data))
        data = data if found is None else found
    columns: dict[str, Any] = {}
    if not isinstance(data, TimeSeries | PriceSeries):
        of_mid = known.error_space == "log" and known.target_name == "mid price"
        # The last price of a day comes with the mid price.
        past = [name for name in known.past if not (of_mid and name == "close")]
        columns = {"past": past, "future": [*known.future]}
    if known.calendar.exchange is not None:  # which no rows tell
        columns["freq"] = known.calendar.frequency
    return as_series(data, **{"target": known.target_name} | columns | reading)


def as_newer_panel(data: Any, known: "TimeSeries", **reading: Any) -> "TimeSeries | Panel":
    """Return newer data of some series of a panel, read with their target and their covariates.

    Args:
        data: a Panel, a series, or a DataFrame or a file as for :func:`as_data`. Its column
            ``unique_id`` names the series, or ``series_column``; or it is ``wide``, whichever the
            known rows were: what was read is called as their target.
        known: the earlier rows of any of the series.
        **reading: further arguments, as for :func:`as_data`; those given here count.

    Raises:
        DataError: ``data`` cannot be read, or a column is not there.
        ConfigError: an argument is none of its values, or says nothing of such data.

    Warns:
        DataWarning: what was left out, filled or decided.
    """
    from foretune.datasets.frames import ID
    from foretune.datasets.panel import Panel
    from foretune.datasets.panel_frames import VALUE
    from foretune.datasets.series import TimeSeries

    if isinstance(data, TimeSeries | PriceSeries | Panel):
        return as_data(data, **{"target": known.target_name} | reading)
    # Columns of a wide table are called as their series, and the target by no name of its own.
    unnamed = reading.get("wide") or known.target_name == VALUE
    columns: dict[str, Any] = {
        "target": None if unnamed else known.target_name,
        "past": [*known.past],
        "future": [*known.future],
        "static": [*known.static],
        # A few rows do not tell it.
        "freq": known.calendar.frequency,
        "seasonality": known.calendar.seasonality,
        "least": 1,
    }
    if not reading.get("wide"):
        columns["series_column"] = ID
    read = as_data(data, **columns | reading)
    assert isinstance(read, Panel)  # as series_column or wide asks for
    renamed = (replace(one, target_name=known.target_name) for one in read)
    return replace(read, series=tuple(renamed))


def what_was_read(data: "TimeSeries | Panel", time: "pd.Index | None" = None) -> str:
    """Say in one line what data are: rows, first and last time, calendar and target.

    Args:
        data: all rows, or the first ones.
        time: of all rows; None for those of ``series``.

    Example:
        >>> what_was_read(as_series("sp500", "close"))
        'sp500: 13,594 rows, 1962-01-02 to 2015-12-31, sessions (Monday to Friday), close price'
    """
    from foretune.datasets.panel import is_aligned

    one, *others = data.members
    covariates = [*one.past, *one.future, *one.static]
    beside = f", with {', '.join(covariates)}" if covariates else ""
    time = data.time if time is None else time
    first, last = (str(when).removesuffix(" 00:00:00") for when in time[[0, -1]])
    when, rows = f"{first} to {last}", f"{len(time):,} rows"
    if others:
        shortest = len(time) - int(data.firsts.max())
        several = f"{shortest:,} to {rows}" if shortest < len(time) else rows
        rows = f"{len(data.members):,} series of {several}"
        if not is_aligned([one.time for one in data.members]):
            when = "counted from the end of each"
    return f"{data.source}: {rows}, {when}, {data.calendar}, {data.target_name}{beside}"


def _by_word(word: str) -> "PriceSeries | TimeSeries | None":
    """Return a sample, a download or a simulation; None where the word must be a path."""
    if word in SAMPLES:
        return load_sample(word)
    if word.startswith(PREFIX):
        # A free key gets 100 days, too few for any split; `full` needs a paid one.
        return download_prices(word.removeprefix(PREFIX), outputsize="full")
    return load_simulated(word)


def _require_nothing_to_read(how: Reading, name: str) -> None:
    others = sorted(set(how.given()) - {"target", "freq", "seasonality"})
    if others:
        raise ConfigError(
            f"{' and '.join(others)} must not be given for {name}: it is no file to read"
        )


def _on_calendar(series: "TimeSeries", how: Reading) -> "TimeSeries":
    """Give a series the frequency and seasonality that are asked for."""
    calendar = series.calendar
    if how.freq is not None:
        from foretune.datasets.calendar import infer_calendar

        calendar = infer_calendar(series.time, frequency=how.freq)
    if how.seasonality is not None:
        calendar = replace(calendar, seasonality=how.seasonality)
    if calendar == series.calendar:
        return series
    remarks = calendar.remarks(series.time)
    for remark in remarks:
        warnings.warn(f"{series.source}: {remark}", DataWarning, stacklevel=4)
    return replace(series, calendar=calendar, remarks=(*series.remarks, *remarks))


def load_prices(where: str) -> PriceSeries:
    """Load prices from where a ``--data`` option says.

    Args:
        where: a sample's name, a simulation such as ``ar1(length=4000, seed=3)``,
            ``alphavantage:SYMBOL``, or the path of a CSV file.

    Raises:
        DataError: there are no such prices; says why.

    Example:
        >>> load_prices("sp500")
        PriceSeries('sp500', 13594 rows, 1962-01-02 to 2015-12-31)
    """
    found = _by_word(where)
    if found is None:
        from foretune.datasets.sources.readers import read_prices

        return read_prices(where)
    if not isinstance(found, PriceSeries):
        raise DataError(f"{where} must be prices, but is a series of {found.target_name}")
    return found


def is_download(where: str) -> bool:
    """Whether data are downloaded."""
    return where.startswith(PREFIX)


def load_series_of(
    study: str, source: str, file: str | None = None, **reading: Any
) -> "TimeSeries | Panel":
    """Load the data of a study from where it knows them to be, and read them as it did.

    What that leaves out, fills or decides was said when the study was made: it stands in
    ``remarks``, and is no warning again.

    Args:
        study: its name.
        source: a sample, a simulation, a download, or a file of that name in this folder.
        file: which they were read from; it counts where it is still there.
        **reading: as for :func:`as_series`, which the study stores.

    Raises:
        ConfigError: ``source`` is no such name.
        DataError: there are no data; says how to name others.
    """
    if source == NOT_FROM_A_FILE:
        raise DataError(
            f"the data of study {study!r} must be given, as data= (--data): they were a DataFrame, "
            "and the study does not hold them"
        )
    try:
        with warnings.catch_warnings(action="ignore", category=DataWarning):
            known = file is not None and Path(file).is_file()
            return as_data(file if known else require_name(source), **reading)
    except DataError as error:
        gone = "" if file is None or known else f"{file} is gone, and "
        raise DataError(
            f"the data of study {study!r} must be given, as --data: {gone}{error}"
        ) from None


def require_name(source: str) -> str:
    r"""Refuse a path where a document names its prices.

    The document may come from someone else.

    Raises:
        ConfigError: ``source`` has a / or a \\ in it.

    Example:
        >>> require_name("acme.csv")
        'acme.csv'
    """
    if Path(source).name != source or "\\" in source:
        raise ConfigError(
            "prices.source must be a name and not a path, because the document may come from "
            f"someone else, but got {source!r}; give --data"
        )
    return source
