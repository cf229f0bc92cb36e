"""A series or a panel as bytes in two parts: the rows before its test, and the rest, sealed.

The first part depends on no value of the second: only the times of all rows are in it. Both are
compressed arrays with a table in JSON; nothing is pickled, and reading them runs nothing.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field

from foretune.datasets.calendar import Calendar, time_index, time_numbers, zone_name
from foretune.datasets.common.errors import DataError, ForetuneError
from foretune.datasets.common.records import StrictModel, list_to_tuple
from foretune.datasets.panel import Panel, common_time
from foretune.datasets.series import TimeSeries
from foretune.datasets.transforms import SpaceName

_TABLE = "table"
_COLUMNS = ("past", "future")

Texts = Annotated[tuple[str, ...], BeforeValidator(list_to_tuple)]


class _First(StrictModel):
    """What is known of a series beside its rows."""

    name: str
    source: str
    target: str
    unit: str | None
    space: SpaceName
    stop: int = Field(ge=1, description="rows before the test")
    time: str | None = Field(description="name of the times")
    zone: str | None
    calendar: dict[str, Any]
    past: Texts
    future: Texts
    static: dict[str, float | str]
    reading: dict[str, Any]


class _Rest(StrictModel):
    """What may tell something of the rows after that: what reading said, and a digest of all."""

    remarks: Texts
    digest: str | None


class _PanelFirst(StrictModel):
    """What is known of a panel beside the rows of its series."""

    name: str
    source: str
    reading: dict[str, Any]
    series: Annotated[tuple[dict[str, Any], ...], BeforeValidator(list_to_tuple)]


class _PanelRest(StrictModel):
    """What may tell something of the rows after that."""

    remarks: Texts
    series: Annotated[tuple[dict[str, Any], ...], BeforeValidator(list_to_tuple)]


def encode_series(data: TimeSeries | Panel, stop: int) -> tuple[bytes, bytes]:
    """Return the first ``stop`` rows with the times of all rows, and all other values.

    Example:
        >>> first, rest = encode_series(series, 13_993)
        >>> decode_series(first, rest).digest == series.digest
        True
    """
    if isinstance(data, TimeSeries):
        first, rest = _first(data, stop), _rest(data)
        rows, later = _columns(data, slice(stop)), _columns(data, slice(stop, None))
        return _bytes(first, rows | {"time": time_numbers(data.time)}), _bytes(rest, later)
    firsts, rests, rows, later = list[Any](), list[Any](), dict[str, Any](), dict[str, Any]()
    for number, (one, begin) in enumerate(zip(data.members, data.firsts, strict=True)):
        own = stop - int(begin)
        firsts.append(_first(one, own).model_dump(mode="json"))
        rests.append(_rest(one).model_dump(mode="json"))
        rows |= _numbered(number, _columns(one, slice(own)) | {"time": time_numbers(one.time)})
        later |= _numbered(number, _columns(one, slice(own, None)))
    about = _PanelFirst(
        name=data.name, source=data.source, reading=dict(data.reading), series=tuple(firsts)
    )
    sealed = _PanelRest(remarks=data.remarks, series=tuple(rests))
    return _bytes(about, rows), _bytes(sealed, later)


def decode_first(content: bytes) -> tuple[TimeSeries | Panel, pd.Index]:
    """Return the rows before the test, and the times of all rows.

    Raises:
        DataError: it is nothing that :func:`encode_series` wrote.
    """
    table, arrays = _read(content)
    with _refusing():
        if "series" not in table:
            return _decoded_first(table, arrays)
        about = _PanelFirst(**table)
        pairs = [_decoded_first(*own) for own in _each(about.series, arrays)]
        return _panel(about, [one for one, _ in pairs]), common_time([time for _, time in pairs])


def decode_series(first: bytes, rest: bytes) -> TimeSeries | Panel:
    """Return the whole of its two parts.

    Raises:
        DataError: they are nothing that :func:`encode_series` wrote.
    """
    (table, arrays), (later_table, later) = _read(first), _read(rest)
    if {name for name in arrays if name.rpartition(".")[2] != "time"} != later.keys():
        raise DataError("both parts of a stored series must have the same columns, but have not")
    with _refusing():
        if "series" not in table:
            return _decoded(table, arrays, later_table, later)
        about, sealed = _PanelFirst(**table), _PanelRest(**later_table)
        parts = zip(_each(about.series, arrays), _each(sealed.series, later), strict=True)
        whole = [_decoded(*own, *others) for own, others in parts]
        return replace(_panel(about, whole), remarks=sealed.remarks)


def _first(series: TimeSeries, stop: int) -> _First:
    return _First(
        name=series.name,
        source=series.source,
        target=series.target_name,
        unit=series.unit,
        space=series.error_space,
        stop=stop,
        time=None if series.time.name is None else str(series.time.name),
        zone=zone_name(series.time) or None,
        calendar=asdict(series.calendar),
        past=tuple(series.past),
        future=tuple(series.future),
        static=dict(series.static),
        reading=dict(series.reading),
    )


def _rest(series: TimeSeries) -> _Rest:
    return _Rest(remarks=series.remarks, digest=series.data_digest)


def _numbered(number: int, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{number}.{name}": values for name, values in arrays.items()}


def _each(
    tables: Sequence[dict[str, Any]], arrays: Mapping[str, NDArray[Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, NDArray[Any]]]]:
    """Return table and arrays of each series of a panel."""
    of_series: list[dict[str, NDArray[Any]]] = [{} for _ in tables]
    for name, values in arrays.items():
        number, _, column = name.partition(".")
        of_series[int(number)][column] = values
    return zip(tables, of_series, strict=True)


def _panel(about: _PanelFirst, series: Sequence[TimeSeries]) -> Panel:
    return Panel(name=about.name, series=tuple(series), source=about.source, reading=about.reading)


def _decoded_first(
    table: dict[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[TimeSeries, pd.Index]:
    first = _First(**table)
    time = _times(first, arrays)
    return _series(first, time[: first.stop], arrays), time


def _decoded(
    table: dict[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    later_table: dict[str, Any],
    later: Mapping[str, NDArray[Any]],
) -> TimeSeries:
    about, sealed = _First(**table), _Rest(**later_table)
    joined = {name: np.concatenate([arrays[name], values]) for name, values in later.items()}
    return _series(
        about,
        _times(about, arrays),
        joined,
        remarks=sealed.remarks,
        data_digest=sealed.digest,
    )


def _times(first: _First, arrays: Mapping[str, NDArray[Any]]) -> pd.Index:
    return time_index(
        arrays["time"], calendar=Calendar(**first.calendar), name=first.time, zone=first.zone
    )


def _series(
    first: _First, time: pd.Index, arrays: Mapping[str, NDArray[Any]], **further: Any
) -> TimeSeries:
    groups: dict[str, Any] = {
        group: {
            name: arrays[f"{group}.{number}"] for number, name in enumerate(getattr(first, group))
        }
        for group in _COLUMNS
    }
    return TimeSeries(
        name=first.name,
        time=time,
        target=arrays["target"],
        calendar=Calendar(**first.calendar),
        **groups,
        static=first.static,
        error_space=first.space,
        target_name=first.target,
        unit=first.unit,
        source=first.source,
        reading=first.reading,
        **further,
    )


def _columns(series: TimeSeries, rows: slice) -> dict[str, NDArray[Any]]:
    """Return target and covariates of some rows; text no wider than they need."""
    columns: dict[str, NDArray[Any]] = {"target": series.target}
    for group in _COLUMNS:
        for number, values in enumerate(getattr(series, group).values()):
            columns[f"{group}.{number}"] = values
    cut = {name: values[rows] for name, values in columns.items()}
    return {
        name: values if values.dtype.kind == "f" else np.array(values.tolist(), dtype=np.str_)
        for name, values in cut.items()
    }


def _bytes(table: StrictModel, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    text = json.dumps(table.model_dump(mode="json"))
    written = io.BytesIO()
    named: dict[str, Any] = {**arrays, _TABLE: np.frombuffer(text.encode(), np.uint8)}
    np.savez_compressed(written, allow_pickle=False, **named)
    return written.getvalue()


def _read(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    with _refusing(), np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file.items())
        return json.loads(arrays.pop(_TABLE).tobytes()), arrays


@contextmanager
def _refusing() -> Iterator[None]:
    """Refuse what nobody stored, whatever zip files, NumPy, pandas and JSON raise of it."""
    try:
        yield
    except ForetuneError:
        raise
    except Exception as error:
        raise DataError(
            f"stored data must be arrays of NumPy and a table: {type(error).__name__}: {error}"
        ) from None
